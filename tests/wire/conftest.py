"""One real server per module on loopback ports of its own, and phones that are ended whatever happens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio
from _pytest.runner import runtestprotocol

from tests.support.baresip import Baresip
from tests.support.lanes import PHONE_RTP_OFFSET, SERVER_PORT, SERVER_RTP, phone_port
from tests.support.pjsua import Pjsua
from tests.support.server import Server
from tests.support.speech import speech
from tests.support.witness import Witness

HEARINGS = 3  # of a test that failed each time while the machine had no time for it

CODECS = {  # name: (baresip's codec, rate of its file source, pjsua's codec)
    "PCMU": ("PCMU/8000/1", 8_000, "PCMU/8000/1"),
    "PCMA": ("PCMA/8000/1", 8_000, "PCMA/8000/1"),
    "G722": ("G722/16000/1", 16_000, "G722/16000/1"),
    "opus": ("opus/48000/1", 48_000, None),
}
USERS = {name: f"secret-of-{name}" for name in ("ann", "bob", "vera", *(f"u{n}" for n in range(28)))}


class Phones:
    """Makes phones that are registered at the server and stopped at the end of the test."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self._stack = AsyncExitStack()

    async def baresip(
        self,
        user: str,
        codec: str,
        *,
        says: Path | str = "ann",
        srtp: bool = False,
        transport: str = "udp",
        film: Path | None = None,
        video_codec: str = "VP8",
    ) -> Baresip:
        slot = phone_port()
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
            rtp_ports=f"{slot + PHONE_RTP_OFFSET}-{slot + PHONE_RTP_OFFSET + 9}",
            film=film,
            video_codec=video_codec,
        )
        self._stack.push_async_callback(phone.stop)
        await phone.start()
        await phone.registered()
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
        slot = phone_port()
        name = CODECS[codec][2]
        assert name is not None, f"pjsua2 has no {codec}"
        phone = Pjsua(
            self.folder / f"{user}-{slot}",
            slot,
            slot + PHONE_RTP_OFFSET,
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
    """The server as its README starts it, with users of USERS; a module may set EXTRA_CONFIG, SECTIONS and HOST."""
    module = request.module  # type: ignore[attr-defined]
    folder = tmp_path_factory.mktemp("server")  # type: ignore[attr-defined]
    running = Server(
        folder,
        SERVER_PORT,
        dict(USERS),
        extra=getattr(module, "EXTRA_CONFIG", ""),
        routes=getattr(module, "ROUTES", ""),
        sections=getattr(module, "SECTIONS", {}),
        rtp_ports=f"{SERVER_RTP}-{SERVER_RTP + 1_499}",
        host=getattr(module, "HOST", "127.0.0.1"),
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


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """A test that fails while the machine had no time for it is heard again; on a quiet machine it has failed."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    before: list[str] = []  # what failed and how the machine was
    while True:
        with Witness() as witness:
            reports = runtestprotocol(item, nextitem=nextitem, log=False)
        failed = [report for report in reports if report.failed]
        if not failed or not witness.machine.short or len(before) + 1 == HEARINGS:
            break
        before.append(f"{_message(failed[0])} ({witness.machine})")
    for report in reports:
        if report.when == "call":
            report.user_properties += [("heard again", text) for text in before]
        if report.failed:
            report.sections.append(("The machine meanwhile", str(witness.machine)))
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _message(report: pytest.TestReport) -> str:
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash is not None else report.longrepr).strip().partition("\n")[0][:200]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says which tests needed another hearing: one that is always among them has a fault of its own."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            for name, value in report.user_properties:
                if name == "heard again":
                    terminalreporter.write_line(f"{outcome} when heard again: {report.nodeid}; before: {value}")
