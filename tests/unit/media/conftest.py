"""Phones made of a socket, and an engine on loopback, for the tests of the engine's face."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from mediaserver.clock import SystemClock
from mediaserver.media.engine import MediaEngine
from mediaserver.model import MediaAddress, MediaEvent
from mediaserver.settings import MediaSettings


class Phone:
    """A UDP socket that speaks RTP by hand."""

    def __init__(self, ssrc: int, host: str = "127.0.0.1") -> None:
        self.host = host
        self.socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.setblocking(False)
        self.ssrc = ssrc
        self.sequence = 0

    @property
    def address(self) -> MediaAddress:
        return MediaAddress(*self.socket.getsockname()[:2])

    def say(self, port: int, payload: bytes) -> None:
        header = struct.pack(">BBHII", 0x80, 0, self.sequence & 0xFFFF, self.sequence * 160, self.ssrc)
        self.sequence += 1
        self.socket.sendto(header + payload, (self.host, port))

    async def hear(self) -> bytes:
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(self.socket, 2000), 5)


async def until(condition: Callable[[], object]) -> None:
    """Gives the loop and the worker time until the condition holds: events come when the loop hears the bell."""
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.001)


@pytest.fixture
def make_phone() -> Iterator[Callable[..., Phone]]:
    phones: list[Phone] = []

    def make(ssrc: int, host: str = "127.0.0.1") -> Phone:
        phones.append(Phone(ssrc, host))
        return phones[-1]

    yield make
    for phone in phones:
        phone.socket.close()


@pytest.fixture
def events() -> list[MediaEvent]:
    return []


@pytest.fixture
async def engine(events: list[MediaEvent]) -> AsyncIterator[MediaEngine]:
    engine = MediaEngine(MediaSettings(port_range="30000-30199", realtime=False), SystemClock(), events.append)
    await engine.start()
    yield engine
    await engine.stop()
