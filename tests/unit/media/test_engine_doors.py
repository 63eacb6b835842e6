"""One port for all browsers: named, bound, moved between workers, reached by TCP."""

import asyncio
import errno
import socket
import struct
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from mediaserver.clock import SystemClock
from mediaserver.errors import MediaError
from mediaserver.limits import ICE_TCP_CONNECTIONS_PER_HOST_MAX
from mediaserver.media.doors import stun_ufrag
from mediaserver.media.engine import MediaEngine, MediaLeg
from mediaserver.model import (
    CodecName,
    CodecParams,
    LegDatagram,
    MediaAddress,
    MediaEvent,
    SrtpKey,
    SrtpProfile,
    StreamSettings,
)
from mediaserver.settings import MediaSettings
from tests.sim.test_worker_sources import Secured
from tests.unit.media.conftest import until

PORT = 30_900
PCMU = (CodecParams(CodecName.PCMU, 0, 8000),)


def stun(ufrag: str, extra: bytes = b"") -> bytes:
    name = f"{ufrag}:them".encode()
    name = extra + struct.pack("!HH", 6, len(name)) + name + bytes(-len(name) % 4)
    return struct.pack("!HHI", 1, len(name), 0x2112A442) + bytes(12) + name


def rtp(sequence: int) -> bytes:
    return struct.pack(">BBHII", 0x80, 0, sequence, sequence * 160, 7) + bytes(160)


@pytest.fixture
async def engine(events: list[MediaEvent]) -> AsyncIterator[MediaEngine]:
    settings = MediaSettings(port_range="30000-30199", realtime=False, workers=2)
    engine = MediaEngine(settings, SystemClock(), events.append, webrtc_port=PORT)
    await engine.start()
    yield engine
    await engine.stop()


def told(events: list[MediaEvent]) -> list[LegDatagram]:
    return [event for event in events if isinstance(event, LegDatagram)]


class Full:
    """A listener of a process that has no descriptor left, until there is one."""

    def __init__(self, listening: socket.socket) -> None:
        self.listening, self.asked, self.left = listening, 0, 0

    def fileno(self) -> int:
        return self.listening.fileno()

    def accept(self) -> tuple[socket.socket, Any]:
        self.asked += 1
        if not self.left:
            raise OSError(errno.EMFILE, "Too many open files")
        return self.listening.accept()


async def set_remote(engine: MediaEngine, leg: MediaLeg, remote: MediaAddress, **keys: SrtpKey) -> None:
    stream = StreamSettings(
        send=PCMU, receive=PCMU, remote=remote, rtcp_mux=True, cname="c", remote_proven=True, **keys
    )
    await engine.set_stream(leg.handle, stream)


async def browser_leg(
    engine: MediaEngine, ufrag: str, remote: MediaAddress, near: MediaLeg | None = None, **keys: SrtpKey
) -> MediaLeg:
    leg = await engine.open_leg("127.0.0.1", datagrams=True, near=near.handle if near else None)
    engine.name_leg(leg.handle, ufrag)
    assert engine.bind_address(leg.handle, remote)
    await set_remote(engine, leg, remote, **keys)
    return leg


async def test_browsers_share_one_port_and_each_is_found_by_its_name(
    engine: MediaEngine, events: list[MediaEvent], make_phone: Callable[[int], Any]
) -> None:
    anna, boris, stranger = make_phone(1), make_phone(2), make_phone(3)
    first = await engine.open_leg("127.0.0.1", datagrams=True)
    second = await engine.open_leg("127.0.0.1", datagrams=True, near=first.handle)
    assert first.rtp_port == first.rtcp_port == first.tcp_port == second.rtp_port == PORT + (first.handle >> 48)
    engine.name_leg(first.handle, "anna")
    engine.name_leg(second.handle, "boris")
    for phone, name in ((stranger, "nobody"), (boris, "boris"), (anna, "anna")):
        phone.socket.sendto(stun(name), ("127.0.0.1", first.rtp_port))
    await until(lambda: len(told(events)) == 2)
    assert {(e.leg, e.source) for e in told(events)} == {(first.handle, anna.address), (second.handle, boris.address)}
    assert engine.send_datagram(first.handle, b"\x16hello", anna.address)
    data, source = await asyncio.get_running_loop().sock_recvfrom(anna.socket, 2_000)
    assert (data, source) == (b"\x16hello", ("127.0.0.1", first.rtp_port))


async def test_an_address_belongs_to_one_leg_until_it_is_given_back(
    engine: MediaEngine, make_phone: Callable[[int], Any]
) -> None:
    anna = make_phone(1)
    first = await browser_leg(engine, "a", anna.address)
    second = await engine.open_leg("127.0.0.1", datagrams=True, near=first.handle)
    assert not engine.bind_address(second.handle, anna.address)
    assert engine.bind_address(first.handle, anna.address)
    for n in range(3):
        anna.socket.sendto(rtp(n), ("127.0.0.1", first.rtp_port))
    await until(lambda: engine.leg_stats(first.handle).packets_received == 3)
    assert engine.leg_stats(second.handle).packets_received == 0
    engine.unbind_address(first.handle, anna.address)
    assert engine.bind_address(second.handle, anna.address)
    await engine.close_leg(second.handle)
    assert engine.bind_address(first.handle, anna.address)


async def test_a_leg_that_moves_to_another_worker_keeps_its_port_and_its_neighbours_theirs(
    engine: MediaEngine, events: list[MediaEvent], make_phone: Callable[[int], Any]
) -> None:
    anna, neighbour, other = make_phone(1), make_phone(2), make_phone(3)
    leg = await browser_leg(engine, "a", anna.address)
    stays = await browser_leg(engine, "n", neighbour.address, near=leg)
    far = await browser_leg(engine, "o", other.address)
    assert far.handle >> 48 != leg.handle >> 48
    bridge = await engine.create_bridge()
    await engine.bridge_add(bridge, far.handle)
    await engine.bridge_add(bridge, leg.handle)
    anna.socket.sendto(rtp(1), ("127.0.0.1", leg.rtp_port))
    assert len(await other.hear()) == 172
    other.socket.sendto(rtp(1), ("127.0.0.1", far.rtp_port))
    data, source = await asyncio.wait_for(asyncio.get_running_loop().sock_recvfrom(anna.socket, 2_000), 5)
    assert (len(data), source[1]) == (172, leg.rtp_port)
    neighbour.socket.sendto(rtp(1), ("127.0.0.1", stays.rtp_port))
    await until(lambda: engine.leg_stats(stays.handle).packets_received == 1)
    # It nominates another address: found by its name at the old port, heard from the new address.
    moved = make_phone(4)
    moved.socket.sendto(stun("a"), ("127.0.0.1", leg.rtp_port))
    await until(lambda: [e for e in told(events) if e.leg == leg.handle and e.source == moved.address])
    assert engine.bind_address(leg.handle, moved.address)
    await set_remote(engine, leg, moved.address)
    moved.socket.sendto(rtp(2), ("127.0.0.1", leg.rtp_port))
    assert len(await other.hear()) == 172
    moved.socket.sendto(b"\x16" + bytes(30), ("127.0.0.1", leg.rtp_port))
    await until(lambda: [e for e in told(events) if e.data[0] == 22 and e.leg == leg.handle])
    assert (await engine.close_leg(leg.handle)).packets_received == 2


async def test_a_moved_browser_that_changes_its_pair_loses_nothing_before_it_nominates_it(
    engine: MediaEngine, make_phone: Callable[[int], Any]
) -> None:
    """As on its port's own worker: what is authentic counts from each address that passed a check (RFC 8445 §12.2)."""
    anna, better, third, other = (make_phone(n) for n in range(1, 5))
    sealed = Secured(SrtpProfile.AEAD_AES_128_GCM)
    leg = await browser_leg(engine, "a", anna.address, **sealed.settings())
    far = await browser_leg(engine, "o", other.address)
    assert far.handle >> 48 != leg.handle >> 48
    bridge = await engine.create_bridge()
    await engine.bridge_add(bridge, far.handle)
    await engine.bridge_add(bridge, leg.handle)
    sent = 0

    async def speaks(phone: Any, count: int = 3) -> None:
        nonlocal sent
        for _ in range(count):
            sent += 1
            phone.socket.sendto(sealed.sealed(rtp(sent)), ("127.0.0.1", leg.rtp_port))
            await until(lambda wanted=sent: engine.leg_stats(leg.handle).packets_received == wanted)

    await speaks(anna)
    assert engine.bind_address(leg.handle, better.address)
    await speaks(better)  # before it is nominated
    await speaks(anna)
    await set_remote(engine, leg, better.address, **sealed.settings())
    await speaks(better)
    await speaks(anna)  # what was still on its way
    assert engine.bind_address(leg.handle, third.address)
    await speaks(third)
    await speaks(better)
    stats = await engine.close_leg(leg.handle)
    assert (stats.packets_received, stats.packets_stranger, stats.packets_lost) == (sent, 0, 0)


async def test_a_leg_that_comes_home_is_heard_at_its_port_again(
    engine: MediaEngine, make_phone: Callable[[int], Any]
) -> None:
    anna, other, second = make_phone(1), make_phone(2), make_phone(3)
    leg = await browser_leg(engine, "a", anna.address)
    far = await browser_leg(engine, "o", other.address)
    neighbour = await browser_leg(engine, "n", second.address, near=leg)
    await engine.move(neighbour.handle, engine.leg_record(far.handle).link)
    home = engine.leg_record(leg.handle).link
    for received, link in enumerate((engine.leg_record(far.handle).link, home), 1):
        await engine.move(leg.handle, link)
        anna.socket.sendto(rtp(received), ("127.0.0.1", leg.rtp_port))
        await until(lambda received=received: engine.leg_stats(leg.handle).packets_received == received)
    second.socket.sendto(rtp(1), ("127.0.0.1", leg.rtp_port))
    await until(lambda: engine.leg_stats(neighbour.handle).packets_received == 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as program:
        program.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):  # nobody else may join
            program.bind(("127.0.0.1", leg.rtp_port))


async def test_media_by_tcp_reaches_the_leg_and_follows_it_to_another_worker(
    engine: MediaEngine, events: list[MediaEvent], make_phone: Callable[[int], Any]
) -> None:
    other = make_phone(1)
    far = await browser_leg(engine, "o", other.address)
    leg = await engine.open_leg("127.0.0.1", datagrams=True)
    engine.name_leg(leg.handle, "tcp")
    reader, writer = await asyncio.open_connection("127.0.0.1", leg.tcp_port)

    def say(data: bytes) -> None:
        writer.write(len(data).to_bytes(2, "big") + data)

    async def hear() -> bytes:
        async with asyncio.timeout(5):
            return await reader.readexactly(int.from_bytes(await reader.readexactly(2), "big"))

    say(stun("tcp"))
    await until(lambda: told(events))
    source = told(events)[0].source
    assert (told(events)[0].leg, source.host, source.port) == (leg.handle, *writer.get_extra_info("sockname"))
    assert engine.bind_address(leg.handle, source)
    assert engine.send_datagram(leg.handle, b"\x16dtls", source)
    assert await hear() == b"\x16dtls"
    await set_remote(engine, leg, source)
    say(rtp(0))
    await until(lambda: engine.leg_stats(leg.handle).packets_received == 1)
    assert engine.leg_stats(leg.handle).source == source
    bridge = await engine.create_bridge()
    await engine.bridge_add(bridge, far.handle)
    await engine.bridge_add(bridge, leg.handle)
    say(rtp(1))
    assert len(await other.hear()) == 172
    other.socket.sendto(rtp(1), ("127.0.0.1", far.rtp_port))
    assert len(await hear()) == 172
    assert (await engine.close_leg(leg.handle)).source == source
    assert (await hear())[1] == 200  # RTCP with the goodbye
    with pytest.raises(asyncio.IncompleteReadError):
        await hear()
    writer.close()


async def test_a_host_that_proves_nothing_gets_few_connections(engine: MediaEngine) -> None:
    leg = await engine.open_leg("127.0.0.1", datagrams=True)
    waiting = [
        socket.create_connection(("127.0.0.1", leg.tcp_port)) for _ in range(ICE_TCP_CONNECTIONS_PER_HOST_MAX + 5)
    ]
    await until(lambda: engine.strangers_refused == 5)
    await asyncio.sleep(0)
    gone = 0
    for connection in waiting:
        connection.settimeout(0.05)
        try:
            gone += connection.recv(1) == b""
        except TimeoutError:
            break
    assert gone == 0  # the first ones wait for their check
    for connection in waiting:
        connection.close()


async def test_without_descriptors_left_the_port_waits_and_takes_connections_later(engine: MediaEngine) -> None:
    leg = await engine.open_leg("127.0.0.1", datagrams=True)
    (door,) = engine._doors._doors.values()
    listening = door.tcp
    assert listening is not None
    full = Full(listening)
    door.tcp = full  # type: ignore[assignment]
    with socket.create_connection(("127.0.0.1", leg.tcp_port)):
        await until(lambda: full.asked)
        for _ in range(20):
            await asyncio.sleep(0)
        assert full.asked == 1
        full.left = 1
        await until(lambda: engine._doors._connections)
    door.tcp = listening


async def test_a_port_that_another_program_has_is_named_in_the_error(engine: MediaEngine) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.2", PORT))
        with pytest.raises(MediaError, match=r"webrtc\.port 30900/udp on 127\.0\.0\.2 is taken"):
            await engine.open_leg("127.0.0.2", datagrams=True)


async def test_the_port_serves_ipv6_too(engine: MediaEngine, events: list[MediaEvent]) -> None:
    leg = await engine.open_leg("::1", datagrams=True)
    engine.name_leg(leg.handle, "six")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as browser:
        browser.bind(("::1", 0))
        browser.sendto(stun("six"), ("::1", leg.rtp_port))
        await until(lambda: told(events))
        assert told(events)[0].source == MediaAddress("::1", browser.getsockname()[1])


@pytest.mark.parametrize(
    ("data", "ufrag"),
    [
        (stun("abcd"), "abcd"),
        (stun("abcd", struct.pack("!HH", 0x24, 4) + bytes(4)), "abcd"),
        (stun("x" * 300)[:320], "x" * 256),
        (b"\0\1\0\0" + bytes(16), ""),
        (stun("abcd")[:22], ""),
        (stun("abcd")[:26], "ab"),
        (b"", ""),
        (stun("\xff:"), "\ufffd\ufffd"),
    ],
)
def test_a_ufrag_is_read_from_whatever_comes(data: bytes, ufrag: str) -> None:
    assert stun_ufrag(data) == ufrag
