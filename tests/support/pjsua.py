"""Drives a PJSIP phone that lives in a child process (`pjsua_child.py`)."""

from __future__ import annotations

import asyncio
import json
import sys
import wave
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHILD = Path(__file__).with_name("pjsua_child.py")


@dataclass
class Pjsua:
    folder: Path
    sip_port: int
    rtp_port: int
    user: str
    server: str  # host:port
    speech: Path
    codecs: tuple[str, ...] = ("PCMU/8000/1",)
    password: str = ""
    transport: str = "udp"
    srtp: str = ""  # "", "optional", "mandatory"
    rate_hz: int = 16_000
    answer: int = 200  # status to answer an incoming call with; 0: let it ring
    loop: bool = False
    register: bool = True
    host: str = "127.0.0.1"
    prefix: tuple[str, ...] = ()  # before the phone's command: where it runs
    events: list[dict[str, Any]] = field(default_factory=list)
    _process: asyncio.subprocess.Process | None = None
    _reader: asyncio.Task[None] | None = None
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def heard(self) -> Path:
        return self.folder / "heard.wav"

    async def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        options = {
            "sip_port": self.sip_port,
            "rtp_port": self.rtp_port,
            "user": self.user,
            "server": self.server,
            "speech": str(self.speech),
            "heard": str(self.heard),
            "codecs": self.codecs,
            "password": self.password,
            "transport": self.transport,
            "srtp": self.srtp,
            "rate_hz": self.rate_hz,
            "answer": self.answer,
            "loop": self.loop,
            "register": self.register,
            "host": self.host,
            "log_file": str(self.folder / "pjsip.log"),
            "log": 5,
        }
        errors = (self.folder / "stderr.txt").open("wb")
        self._process = await asyncio.create_subprocess_exec(
            *self.prefix,
            sys.executable,
            str(CHILD),
            json.dumps(options),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
        )
        errors.close()
        self._reader = asyncio.create_task(self._read())
        await self.wait_for("ready")
        if self.register:
            await self.wait_for("registered")

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if line.startswith(b"{"):
                self.events.append(json.loads(line))
                self._arrived.set()

    async def wait_for(self, kind: str, timeout_s: float = 15.0, since: int = 0, **facts: Any) -> dict[str, Any]:
        """The first event of this type, with these facts, at or after index `since`."""
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    for event in self.events[since:]:
                        if event["type"] == kind and all(event.get(k) == v for k, v in facts.items()):
                            if kind == "closed":
                                await self._recorder_done()
                            return event
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            raise TimeoutError(
                f"no {kind} {facts} in {timeout_s} s from {self.user}; saw {self.events[since:]}"
            ) from None

    async def _recorder_done(self) -> None:
        """PJSIP completes the file of what was heard some time after the call's end."""
        while self.heard.exists():
            try:
                with wave.open(str(self.heard), "rb"):
                    return
            except (wave.Error, EOFError):
                pass
            await asyncio.sleep(0.05)

    async def do(self, name: str, **arguments: Any) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": name, **arguments}).encode() + b"\n")
        await self._process.stdin.drain()

    async def dial(self, uri: str) -> None:
        await self.do("dial", uri=uri)

    async def stats(self) -> dict[str, Any]:
        since = len(self.events)
        await self.do("stats")
        return await self.wait_for("stats", since=since)

    async def stop(self) -> None:
        if self._process is None:
            return
        if self._process.returncode is None:
            try:
                await self.do("quit")
                await asyncio.wait_for(self._process.wait(), 5)
            except (TimeoutError, OSError):
                self._process.kill()
                await self._process.wait()
        if self._reader is not None:
            await self._reader
        self._process = None
