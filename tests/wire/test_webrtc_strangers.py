"""Who knows the port of all browsers and nothing else gets nothing: no answer, no sound, no memory, no delay of others.

On real sockets, with a stranger made by hand: he does what no honest browser would.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from mediaserver.clock import SystemClock
from mediaserver.ext.srtp_harness import SessionForTest
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
from mediaserver.webrtc import stun
from mediaserver.webrtc.dtls import DtlsEndpoint, DtlsIdentity, DtlsState
from mediaserver.webrtc.ice import IceCredentials
from mediaserver.webrtc.stun import Attribute, Kind
from mediaserver.webrtc.transport import WebRtcTransport
from tests.support.lanes import SECOND_SERVER_PORT, SECOND_SERVER_RTP

PORT = SECOND_SERVER_PORT + 4
PCMU = (CodecParams(CodecName.PCMU, 0, 8000),)
US = DtlsIdentity()
HIS = IceCredentials("them", "their-password-of-22-chars")


class Guest:
    """A browser's end: a socket, ICE and DTLS. password: what he believes ours to be."""

    def __init__(self, host: str = "127.0.0.1", *, identity: DtlsIdentity | None = None) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.setblocking(False)
        self.identity = identity or DtlsIdentity()
        self.dtls = DtlsEndpoint(self.identity, client=True)
        self.dtls.expect(US.fingerprint)
        self.answers = 0

    @property
    def address(self) -> MediaAddress:
        return MediaAddress(*self.socket.getsockname())

    def send(self, data: bytes) -> None:
        self.socket.sendto(data, ("127.0.0.1", PORT))

    def check(self, ufrag: str, password: str) -> None:
        attributes = [
            (Attribute.USERNAME, f"{ufrag}:{HIS.ufrag}".encode()),
            (Attribute.ICE_CONTROLLING, bytes(8)),
            (Attribute.USE_CANDIDATE, b""),
        ]
        self.send(stun.write(Kind.REQUEST, secrets.token_bytes(12), attributes, password.encode()))

    async def hear(self, within_s: float = 1.0) -> bytes | None:
        try:
            async with asyncio.timeout(within_s):
                return await asyncio.get_running_loop().sock_recv(self.socket, 2_000)
        except TimeoutError:
            return None

    async def shake(self) -> None:
        """The handshake, until it is done or nobody answers."""
        self.dtls.start(0)
        for _ in range(20):
            for data in self.dtls.poll():
                self.send(data)
            if self.dtls.state is not DtlsState.HANDSHAKE:
                return
            data = await self.hear()
            if data is None:
                return
            if data[0] >= 20:
                self.dtls.receive(data, 0)


class House:
    """An engine with one port, and the transports of its legs."""

    def __init__(self) -> None:
        settings = MediaSettings(port_range=f"{SECOND_SERVER_RTP}-{SECOND_SERVER_RTP + 19}", realtime=False)
        self.engine = MediaEngine(settings, SystemClock(), self._on_event, webrtc_port=PORT)
        self.transports: dict[int, WebRtcTransport] = {}

    def _on_event(self, event: MediaEvent) -> None:
        if isinstance(event, LegDatagram):
            self.transports[event.leg].receive(event.data, event.source)

    async def leg(self, guest: Guest) -> tuple[MediaLeg, WebRtcTransport]:
        """One that expects this guest."""
        engine = self.engine
        leg = await engine.open_leg("127.0.0.1", datagrams=True)
        transport = WebRtcTransport(
            US,
            SystemClock(),
            lambda data, to: engine.send_datagram(leg.handle, data, to),
            lambda: None,
            admit=lambda address: engine.bind_address(leg.handle, address),
            release=lambda address: engine.unbind_address(leg.handle, address),
        )
        self.transports[leg.handle] = transport
        engine.name_leg(leg.handle, transport.ice.local.ufrag)
        transport.describe(HIS.ufrag, HIS.password, [str(guest.identity.fingerprint)], client=False)
        return leg, transport

    async def welcome(self, guest: Guest) -> tuple[MediaLeg, WebRtcTransport]:
        """The whole way: check, handshake, stream."""
        leg, transport = await self.leg(guest)
        guest.check(transport.ice.local.ufrag, transport.ice.local.password)
        assert await guest.hear() is not None
        await guest.shake()
        async with asyncio.timeout(5):
            assert await transport.wait_ready(), transport.failure
        assert transport.keys is not None
        stream = StreamSettings(
            send=PCMU,
            receive=PCMU,
            remote=transport.address,
            remote_proven=True,
            rtcp_mux=True,
            cname="us",
            send_key=transport.keys.send,
            receive_key=transport.keys.receive,
        )
        await self.engine.set_stream(leg.handle, stream)
        return leg, transport


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    await house.engine.start()
    yield house
    for transport in house.transports.values():
        transport.close()
    await house.engine.stop()


@pytest.fixture
def guest() -> Iterator[Guest]:
    guest = Guest()
    yield guest
    guest.socket.close()


@pytest.fixture
def stranger() -> Iterator[Guest]:
    stranger = Guest("127.0.0.3")
    yield stranger
    stranger.socket.close()


def session(key: SrtpKey, *, outbound: bool) -> SessionForTest:
    return SessionForTest(list(SrtpProfile).index(key.profile), key.key_and_salt, outbound)


def rtp(sequence: int) -> bytes:
    return struct.pack(">BBHII", 0x80, 0, sequence, sequence * 160, 7) + bytes(160)


async def test_a_check_with_the_wrong_password_or_name_gets_no_answer(
    house: House, guest: Guest, stranger: Guest
) -> None:
    _, transport = await house.leg(guest)
    local = transport.ice.local
    stranger.check(local.ufrag, "not-the-password-at-all")
    stranger.check("nobody", local.password)
    stranger.send(b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12))
    assert await stranger.hear(0.3) is None
    assert transport.ice.dropped["integrity"] == 1
    assert transport.address is None


async def test_a_handshake_without_a_check_is_not_even_heard(house: House, stranger: Guest) -> None:
    _, transport = await house.leg(stranger)
    stranger.dtls.start(0)
    for data in stranger.dtls.poll():
        stranger.send(data)
    assert await stranger.hear(0.3) is None
    assert house.engine.engine_stats().packets_stranger == 1
    assert not transport.is_ready


async def test_the_wrong_certificate_gets_no_keys_and_no_sound(house: House, guest: Guest, stranger: Guest) -> None:
    leg, transport = await house.leg(stranger)  # his certificate is expected, and the other one comes
    guest.check(transport.ice.local.ufrag, transport.ice.local.password)
    assert await guest.hear() is not None
    await guest.shake()
    assert not await transport.wait_ready()
    assert "fingerprint" in transport.failure
    assert transport.keys is None
    assert house.engine.leg_stats(leg.handle).packets_sent == 0


async def test_media_before_the_handshake_is_dropped(house: House, guest: Guest) -> None:
    leg, transport = await house.leg(guest)
    guest.check(transport.ice.local.ufrag, transport.ice.local.password)
    assert await guest.hear() is not None
    for n in range(10):
        guest.send(rtp(n))
    async with asyncio.timeout(5):
        while house.engine.engine_stats().packets_unroutable < 10:
            await asyncio.sleep(0.01)
    assert house.engine.leg_stats(leg.handle).packets_received == 0


async def test_media_counts_once_and_from_the_proven_address_only(house: House, guest: Guest, stranger: Guest) -> None:
    leg, _ = await house.welcome(guest)
    assert guest.dtls.keys is not None
    protect = session(guest.dtls.keys.send, outbound=True)
    sealed = [protect.step(rtp(n), False)[1] for n in range(20)]
    for data in sealed[:10]:
        guest.send(data)
    for data in sealed[:10]:  # the same again, and by somebody who overheard them
        guest.send(data)
        stranger.send(data)
    for data in sealed[10:]:
        stranger.send(data)
    guest.send(rtp(30))  # plain
    async with asyncio.timeout(5):
        while house.engine.leg_stats(leg.handle).packets_auth_failed < 11:
            await asyncio.sleep(0.01)
    stats = house.engine.leg_stats(leg.handle)
    assert (stats.packets_received, stats.source) == (10, guest.address)
    async with asyncio.timeout(5):
        while house.engine.engine_stats().packets_stranger < 20:
            await asyncio.sleep(0.01)
    assert await stranger.hear(0.2) is None
    for data in sealed[10:]:
        guest.send(data)
    async with asyncio.timeout(5):
        while house.engine.leg_stats(leg.handle).packets_received < 20:
            await asyncio.sleep(0.01)


async def test_a_check_that_somebody_overheard_moves_nothing(house: House, guest: Guest, stranger: Guest) -> None:
    _, transport = await house.welcome(guest)
    attributes = [
        (Attribute.USERNAME, f"{transport.ice.local.ufrag}:{HIS.ufrag}".encode()),
        (Attribute.ICE_CONTROLLING, bytes(8)),
        (Attribute.USE_CANDIDATE, b""),
    ]
    check = stun.write(Kind.REQUEST, secrets.token_bytes(12), attributes, transport.ice.local.password.encode())
    guest.send(check)
    assert await guest.hear() is not None
    stranger.send(check)
    assert await stranger.hear(0.3) is None
    assert transport.address == guest.address


async def test_a_thousand_half_open_handshakes_cost_no_memory_and_nobody_else_anything(
    house: House, guest: Guest
) -> None:
    leg, transport = await house.leg(guest)
    hello = DtlsEndpoint(DtlsIdentity(), client=True)
    hello.start(0)
    (client_hello,) = hello.poll()
    crowd = []
    for n in range(100):
        one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        one.bind((f"127.0.{1 + n % 50}.9", 0))
        crowd.append(one)
    before_kb = _resident_kb()
    ask = stun.write(Kind.REQUEST, bytes(12), [(Attribute.USERNAME, b"somebody:else")], b"guess")
    for _ in range(10):
        for one in crowd:
            one.sendto(client_hello, ("127.0.0.1", PORT))
            one.sendto(ask, ("127.0.0.1", PORT))
        await asyncio.sleep(0)
    start = time.monotonic()
    guest.check(transport.ice.local.ufrag, transport.ice.local.password)
    answer = await guest.hear()
    while answer is None:  # one check may fall to the bound on strangers: browsers repeat theirs
        guest.check(transport.ice.local.ufrag, transport.ice.local.password)
        answer = await guest.hear()
    await guest.shake()
    async with asyncio.timeout(5):
        assert await transport.wait_ready(), transport.failure
    assert time.monotonic() - start < 3.0
    assert _resident_kb() - before_kb < 2_000
    assert house.engine.engine_stats().packets_stranger >= 1_000
    assert house.engine.leg_stats(leg.handle).packets_auth_failed == 0
    for one in crowd:
        one.close()


def _resident_kb() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])
