"""HEP3 packets by their layout, and a sender that never makes anybody wait."""

import asyncio
import struct

import pytest
from pydantic import SecretStr

from mediaserver.clock import VirtualClock
from mediaserver.limits import HEP_PACKETS_WAITING_MAX
from mediaserver.model import MediaAddress
from mediaserver.quality.hep import LOG, SIP, HepSender, hep_packet
from mediaserver.settings import HepSettings
from tests.support.hep_decoder import decode

OURS, THEIRS = MediaAddress("192.0.2.1", 5060), MediaAddress("198.51.100.7", 5080)
OPTIONS = (
    b"OPTIONS sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.7:5080;branch=z9hG4bKx\r\nCall-ID: c1@x\r\n\r\n"
)


def chunks(packet: bytes) -> dict[int, bytes]:
    """The chunks of a HEP3 packet by type, read from its layout."""
    assert packet[:4] == b"HEP3"
    assert struct.unpack(">H", packet[4:6])[0] == len(packet)
    at, found = 6, {}
    while at < len(packet):
        vendor, kind, size = struct.unpack(">HHH", packet[at : at + 6])
        assert vendor == 0
        assert size >= 6
        found[kind] = packet[at + 6 : at + size]
        at += size
    assert at == len(packet)
    return found


def test_a_sip_message_carries_its_addresses_time_and_call() -> None:
    got = chunks(hep_packet(SIP, OPTIONS, THEIRS, OURS, 1_790_000_000.25, correlation="c1@x", agent=2001, key="s3cret"))
    assert (got[0x01], got[0x02], got[0x0B]) == (b"\x02", b"\x11", b"\x01")
    assert (got[0x03], got[0x04]) == (bytes([198, 51, 100, 7]), bytes([192, 0, 2, 1]))
    assert struct.unpack(">HH", got[0x07] + got[0x08]) == (5080, 5060)
    assert struct.unpack(">II", got[0x09] + got[0x0A]) == (1_790_000_000, 250_000)
    assert struct.unpack(">I", got[0x0C]) == (2001,)
    assert (got[0x0E], got[0x11], got[0x0F]) == (b"s3cret", b"c1@x", OPTIONS)


def test_an_independent_reader_finds_what_was_sent() -> None:
    for far, near in ((THEIRS, OURS), (MediaAddress("2001:db8::7", 5080), MediaAddress("2001:db8::1", 65_535))):
        for kind, payload in ((SIP, OPTIONS), (LOG, "вызов".encode()), (SIP, b"")):
            packet = hep_packet(kind, payload, far, near, 1_790_000_000.125, correlation="c1@x", agent=7, key="k")
            got = decode(packet)
            assert (got.source, got.source_port, got.destination, got.destination_port) == (
                far.host, far.port, near.host, near.port
            )  # fmt: skip
            assert (got.kind, got.payload, got.agent, got.key, got.correlation) == (kind, payload, 7, "k", "c1@x")
            assert got.wall == 1_790_000_000.125
            for cut in range(len(packet)):
                with pytest.raises(ValueError, match=r"HEP3|header|chunk"):
                    decode(packet[:cut])


def test_ip_version_6_and_tls_have_their_own_chunks() -> None:
    far = MediaAddress("2001:db8::1", 5061)
    got = chunks(hep_packet(LOG, b"hello", far, MediaAddress("2001:db8::2", 2), 1.0, transport="tls"))
    assert (got[0x01], got[0x02], got[0x0B]) == (b"\x0a", b"\x06", b"\x64")
    assert got[0x05][:4] == bytes([0x20, 0x01, 0x0D, 0xB8])
    assert 0x03 not in got


def test_addresses_that_are_none_are_sent_as_unknown() -> None:
    packet = hep_packet(SIP, b"x", MediaAddress("pbx.local", 5060), MediaAddress("::1", 70_000), 0.0)
    assert packet[:4] == b"HEP3"
    assert struct.unpack(">H", packet[4:6])[0] == len(packet)


async def test_what_is_queued_reaches_the_collector_in_order() -> None:
    got: asyncio.Queue[bytes] = asyncio.Queue()

    class Collector(asyncio.DatagramProtocol):
        def datagram_received(self, data: bytes, _address: object) -> None:
            got.put_nowait(data)

    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Collector, ("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    sender = HepSender(HepSettings(host="127.0.0.1", port=port, key=SecretStr("k")), VirtualClock())
    await sender.start()
    for number in range(3):
        sender.send(LOG, {"n": number}, OURS, THEIRS, "c1")
    received = [await asyncio.wait_for(got.get(), 5) for _ in range(3)]
    assert [data[-7:] for data in received] == [b'{"n":0}', b'{"n":1}', b'{"n":2}']
    await sender.stop()
    transport.close()


async def test_a_collector_that_is_away_costs_dropped_packets_only() -> None:
    sender = HepSender(HepSettings(host="127.0.0.1", transport="tcp", port=9), VirtualClock())
    for _ in range(HEP_PACKETS_WAITING_MAX + 5):
        sender.send(LOG, b"x", OURS, THEIRS, "c")
    assert sender.stats.dropped == 5
    HepSender(HepSettings(), VirtualClock()).send(LOG, b"x", OURS, THEIRS, "c")  # switched off: nothing
