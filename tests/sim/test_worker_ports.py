"""Browsers at one port and by TCP, in virtual time: whose a datagram is, and what strangers get."""

import struct

from mediaserver.model import MediaAddress, SrtpKey, SrtpProfile, StreamSettings
from tests.sim.test_worker_sources import Secured
from tests.sim.world import MS, PCMU, World

PORT = 200
STUN = b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12)
DTLS = b"\x16\xfe\xff" + bytes(40)


def rtp(sequence: int, ssrc: int = 9) -> bytes:
    return struct.pack(">BBHII", 0x80, 0, sequence, 160 * sequence, ssrc) + bytes(160)


class Gate:
    """A world with one shared port."""

    def __init__(self) -> None:
        self.world = World()
        command, self.port = self.world.worker.open_port(PORT, 1234)
        self.world.do(command)

    def leg(self, remote: MediaAddress | None, **keys: SrtpKey) -> int:
        world = self.world
        command, handle = world.worker.open_leg(PORT, -1, 1, 1, 1, True, True)
        world.do(command)
        stream = StreamSettings(
            send=(PCMU,), receive=(PCMU,), remote=remote, rtcp_mux=True, cname="c", remote_proven=True, **keys
        )
        world.do(world.worker.set_stream(handle, stream))
        return handle

    def bind(self, address: MediaAddress, leg: int) -> None:
        self.world.do(self.world.worker.bind(self.port, address.host, address.port, leg))

    def put(self, data: bytes, source: MediaAddress) -> None:
        self.world.network.deliver(PORT, data, source.host, source.port, self.world.now_ns)
        self.world.step()

    def connect(self, number: int, peer: MediaAddress) -> tuple[int, int]:
        """A connection on socket `number`: handle, via."""
        command, handle, via = self.world.worker.open_conn(number, peer.host, peer.port)
        self.world.do(command)
        return handle, via

    def packets(self, leg: int) -> int:
        self.world.do(self.world.worker.publish(leg))
        return int(self.world.worker.leg_stats(leg)["packets_received"])

    def counters(self) -> dict[str, int]:
        self.world.run(25)
        return dict(self.world.worker.counters())


A, B, C = (MediaAddress("192.0.2.1", port) for port in (4001, 4002, 4003))


def test_each_browser_at_the_port_has_its_own_leg() -> None:
    gate = Gate()
    first, second = gate.leg(A), gate.leg(B)
    gate.bind(A, first)
    gate.bind(B, second)
    for n in range(5):
        gate.put(rtp(n), A)
    gate.put(rtp(0), B)
    assert (gate.packets(first), gate.packets(second)) == (5, 1)
    gate.put(DTLS, B)
    assert [event[:2] for event in gate.world.of("datagram")] == [(second, (B.host, B.port))]


def test_a_stranger_may_ask_by_stun_and_gets_nothing_for_anything_else() -> None:
    gate = Gate()
    gate.bind(A, gate.leg(A))
    for data in (rtp(1), DTLS, b"\x80\xc8" + bytes(26), b"", b"\x05", STUN[:19], b"\0\1\0\0" + bytes(16)):
        gate.put(data, C)
    assert gate.world.of("datagram") == []
    gate.put(STUN, C)
    assert [event[0] for event in gate.world.of("datagram")] == [gate.port]
    assert gate.world.sent_to == set()


def test_a_flood_of_strangers_is_bounded_by_host_and_in_all() -> None:
    gate = Gate()
    gate.leg(A)
    for n in range(100):
        gate.put(STUN, MediaAddress("192.0.2.9", 1000 + n))
    assert len(gate.world.of("datagram")) == 16
    for n in range(200):
        gate.put(STUN, MediaAddress(f"198.51.100.{n}", 1000))
    assert len(gate.world.of("datagram")) == 64
    gate.world.run(101)
    gate.put(STUN, C)
    assert len(gate.world.of("datagram")) == 65
    assert gate.counters()["events_dropped"] == 236


def test_an_address_taken_from_a_leg_is_a_strangers_again() -> None:
    gate = Gate()
    leg = gate.leg(A)
    gate.bind(A, leg)
    gate.put(rtp(0), A)
    gate.bind(A, 0)
    gate.put(rtp(1), A)
    assert gate.packets(leg) == 1
    gate.bind(A, leg)
    gate.world.do(gate.world.worker.close_leg(leg))
    gate.put(rtp(2), A)  # bound to a leg that is gone
    other = gate.leg(A)
    gate.put(rtp(3), A)
    assert gate.packets(other) == 0


def test_without_keys_a_bound_address_that_ice_did_not_nominate_may_shake_hands_but_not_speak() -> None:
    gate = Gate()
    leg = gate.leg(A)
    gate.bind(A, leg)
    gate.bind(B, leg)
    gate.put(STUN, B)
    gate.put(rtp(0), B)
    assert [event[0] for event in gate.world.of("datagram")] == [leg]
    assert gate.packets(leg) == 0
    gate.world.do(gate.world.worker.publish(leg))
    assert gate.world.worker.leg_stats(leg)["packets_stranger"] == 1


def test_a_browser_that_moves_to_another_pair_loses_nothing_before_it_nominates_it() -> None:
    """Chromium speaks from the better pair at once; its check with USE-CANDIDATE came up to 80 ms later."""
    gate = Gate()
    world = gate.world
    secured = Secured(SrtpProfile.AEAD_AES_128_GCM)
    leg = gate.leg(A, **secured.settings())
    gate.bind(A, leg)
    gate.bind(B, leg)
    listener = world.phone()
    _, bridge = world.worker.open_bridge()
    for handle in (leg, listener.handle):
        world.do(world.worker.bridge_add(bridge, handle))
    for n in range(12):
        gate.put(secured.sealed(rtp(n)), A if n < 5 else B)
        world.run(20)
    first = listener.heard[0].sequence
    assert [p.sequence - first for p in listener.heard] == list(range(12))
    world.do(world.worker.publish(leg))
    heard = world.worker.leg_stats(leg)
    assert (heard["packets_stranger"], heard["packets_lost"], heard["source"]) == (0, 0, (A.host, A.port))
    world.sent_to.clear()
    listener.say(bytes(160))
    world.run(40)
    assert (A.host, A.port) in world.sent_to
    assert (B.host, B.port) not in world.sent_to
    gate.put(rtp(12), B)  # bound, but it has not the key
    gate.put(secured.sealed(rtp(13)), C)  # it has, but it passed no check
    world.do(world.worker.publish(leg))
    assert world.worker.leg_stats(leg)["packets_auth_failed"] == 1
    assert gate.packets(leg) == 12


def test_what_is_too_long_is_counted_at_its_leg() -> None:
    gate = Gate()
    leg = gate.leg(A)
    gate.bind(A, leg)
    gate.put(rtp(0) + bytes(1_600), A)
    gate.world.do(gate.world.worker.publish(leg))
    assert gate.world.worker.leg_stats(leg)["packets_overflow"] == 1


def test_media_by_tcp_is_framed_both_ways_and_comes_in_any_pieces() -> None:
    gate = Gate()
    world = gate.world
    conn, via = gate.connect(300, A)
    address = MediaAddress(A.host, A.port, via)
    leg = gate.leg(address)
    stream = b"".join(len(p).to_bytes(2, "big") + p for p in (STUN, b"", rtp(0), rtp(1), rtp(2)))
    world.network.deliver(300, stream[: 2 + len(STUN)], A.host, A.port, world.now_ns)
    world.step()
    assert [event[:2] for event in world.of("datagram")] == [(conn, (A.host, A.port, via))]
    world.do(world.worker.bind_conn(conn, leg))
    rest = stream[2 + len(STUN) :]
    for at in range(0, len(rest), 100):
        world.network.deliver(300, rest[at : at + 100], A.host, A.port, world.now_ns)
        world.step()
    assert gate.packets(leg) == 3
    assert world.worker.leg_stats(leg)["source"] == (A.host, A.port, via)
    world.network.sent()
    world.do(world.worker.play_tone(leg, [440.0], [], -10.0, 0, play_id=1))
    world.worker.step(world.now_ns + 40 * MS)
    frames = [data for socket, data, _, _ in world.network.sent() if socket == 300]
    assert frames
    assert all(int.from_bytes(frame[:2], "big") == len(frame) - 2 == 172 for frame in frames)


def test_a_slow_reader_costs_it_whole_packets_and_a_bounded_buffer() -> None:
    gate = Gate()
    world = gate.world
    conn, _ = gate.connect(300, A)
    gate.leg(None)
    world.network.take_bytes(100)
    sent = [bytes([n]) * 1_400 for n in range(60)]
    statuses = []
    for data in sent:
        command = world.worker.send_conn(conn, data)
        world.step()
        statuses.append(world.replies.pop(command)[0])
    kept = statuses.count(0)
    assert kept == 46  # 65,536 bytes and the hundred that went out
    world.network.take_bytes(-1)
    world.worker.step(world.now_ns + 40 * MS)
    # The first hundred bytes of frame 0 went out before; what follows is whole and in order.
    rest = b"".join(data for socket, data, _, _ in world.network.sent() if socket == 300)
    assert rest == b"".join(len(p).to_bytes(2, "big") + p for p in sent[:kept])[100:]
    assert world.do(world.worker.close_conn(conn)).frames_dropped == 60 - kept


def test_a_connection_that_ends_or_babbles_is_told_once_and_sends_no_more() -> None:
    gate = Gate()
    world = gate.world
    gate.leg(A)
    closed, _ = gate.connect(300, A)
    babbler, _ = gate.connect(301, B)
    world.network.deliver(300, b"", A.host, A.port, world.now_ns)
    world.network.deliver(301, b"\xff\xff" + bytes(50), B.host, B.port, world.now_ns)
    world.run(5)
    assert world.of("conn_closed") == [(closed,), (babbler,)]
    world.do(world.worker.send_conn(babbler, b"x"), status=3)
    for conn in (closed, babbler):
        world.do(world.worker.close_conn(conn))


def test_a_connections_number_is_not_given_to_the_next() -> None:
    gate = Gate()
    conn, via = gate.connect(300, A)
    gate.world.do(gate.world.worker.close_conn(conn))
    _, next_via = gate.connect(301, A)
    assert next_via != via
