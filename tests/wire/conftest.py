"""One real server per module on loopback ports of its own, and phones that are ended whatever happens."""

from __future__ import annotations

import itertools
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest_asyncio

from tests.support.baresip import Baresip
from tests.support.pjsua import Pjsua
from tests.support.server import Server
from tests.support.speech import speech

# Every phone gets ten ports of its own for SIP, 20 for RTP: baresip alone takes three for SIP.
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
_slots = itertools.count()


def next_slot() -> int:
    return next(_slots) % 60


CODECS = {  # name: (baresip's codec, rate of its file source, pjsua's codec)
    "PCMU": ("PCMU/8000/1", 8_000, "PCMU/8000/1"),
    "PCMA": ("PCMA/8000/1", 8_000, "PCMA/8000/1"),
    "G722": ("G722/16000/1", 16_000, "G722/16000/1"),
    "opus": ("opus/48000/1", 48_000, None),
}
USERS = {name: f"secret of {name}" for name in ("ann", "bob", "vera", *(f"u{n}" for n in range(24)))}


class Phones:
    """Makes phones that are registered at the server and stopped at the end of the test."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self._stack = AsyncExitStack()

    async def baresip(
        self, user: str, codec: str, *, says: Path | str = "ann", srtp: bool = False, transport: str = "udp"
    ) -> Baresip:
        slot = 36_000 + WORKER * 1000 + next_slot() * 10
        name, rate, _ = CODECS[codec]
        phone = Baresip(
            self.folder / f"{user}-{slot}",
            slot,
            slot + 2,
            says if isinstance(says, Path) else speech(says, rate, tail_s=60),
            rate,
            (name,),
            srtp="srtp-mand" if srtp else "",
            user=user,
            password=USERS[user],
            server=self.server.sip if transport != "tls" else self.server.tls,
            transport=transport,
            rtp_ports=f"{slot + 2000}-{slot + 2009}",
        )
        self._stack.push_async_callback(phone.stop)
        await phone.start()
        await phone.wait_for("REGISTER_OK")
        return phone

    async def pjsua(
        self,
        user: str,
        codec: str = "PCMU",
        *,
        says: Path | str = "bob",
        srtp: bool = False,
        answer: int = 200,
        transport: str = "udp",
        loop: bool = False,
        codecs: tuple[str, ...] = (),
    ) -> Pjsua:
        slot = 36_000 + WORKER * 1000 + next_slot() * 10
        name = CODECS[codec][2]
        assert name is not None, f"pjsua2 has no {codec}"
        phone = Pjsua(
            self.folder / f"{user}-{slot}",
            slot,
            slot + 2000,
            user,
            self.server.sip if transport != "tls" else self.server.tls,
            says if isinstance(says, Path) else speech(says, 16_000),
            codecs=codecs or (name,),
            password=USERS[user],
            srtp="mandatory" if srtp else "",
            answer=answer,
            transport=transport,
            loop=loop,
        )
        self._stack.push_async_callback(phone.stop)
        await phone.start()
        return phone

    async def close(self) -> None:
        await self._stack.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: object, request: object) -> AsyncIterator[Server]:
    """The server as its README starts it, with users of USERS; a module may set EXTRA_CONFIG and SECTIONS."""
    module = request.module  # type: ignore[attr-defined]
    folder = tmp_path_factory.mktemp("server")  # type: ignore[attr-defined]
    running = Server(
        folder,
        35_100 + WORKER * 20,
        dict(USERS),
        extra=getattr(module, "EXTRA_CONFIG", ""),
        routes=getattr(module, "ROUTES", ""),
        sections=getattr(module, "SECTIONS", {}),
        rtp_ports=f"{21_000 + WORKER * 2000}-{22_999 + WORKER * 2000}",
    )
    try:
        await running.start()
        yield running
    finally:
        await running.stop(timeout_s=20)


@pytest_asyncio.fixture(loop_scope="module")
async def phones(server: Server, tmp_path: Path) -> AsyncIterator[Phones]:
    made = Phones(server, tmp_path)
    try:
        yield made
    finally:
        await made.close()


MakePhones = Callable[[], Phones]
