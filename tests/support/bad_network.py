"""Two browsers with cameras in a room, both behind a bad network: what our statistics and their own say of it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.chromium import Chromium
from tests.support.impair import Impairment, Proxy
from tests.support.server import Server
from tests.support.speech import speech

PROXY_HOST = "127.0.0.2"
ROOM = "700"
GOOD = Impairment(delay_ms=20.0)  # a round trip of 40 ms, nothing lost


@dataclass
class Heard:
    """Of one leg, over the time that was watched."""

    mos_received: list[float] = field(default_factory=list)  # one per interval
    mos_sent: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    jitter_ms: list[float] = field(default_factory=list)
    round_trip_ms: list[float] = field(default_factory=list)

    def take(self, leg: dict[str, Any]) -> None:
        for key, into in (
            ("mos_received", self.mos_received),
            ("mos_sent", self.mos_sent),
            ("loss_fraction", self.loss),
            ("jitter_ms", self.jitter_ms),
            ("round_trip_ms", self.round_trip_ms),
        ):
            if leg[key] is not None:
                into.append(leg[key])


class BadRoom:
    """An async context manager: server, proxy, one Chromium with two phones (its users) that film for each other."""

    def __init__(self, folder: Path, port: int, rtp_ports: str, *, rich: bool, interval_s: float = 5.0) -> None:
        self.users = {"ann": 1, "bob": 2}  # whose numbered pictures
        self.rich = rich
        self.interval_s = interval_s
        self.server = Server(
            folder / "server",
            port,
            {user: f"of-{user}" for user in self.users},
            rtp_ports=rtp_ports,
            max_calls=4,
            sections={
                "webrtc": f'external_addresses = ["{PROXY_HOST}"]',
                "quality": f"interval_s = {interval_s}",
            },
        )
        self.browser = Chromium(folder / "chromium", speech("ann", 48_000, tail_s=0.2))
        self.proxy = Proxy((PROXY_HOST, port + 4), ("127.0.0.1", port + 4), GOOD)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> BadRoom:
        try:
            self._stack.push_async_callback(self.server.stop, 20)
            await self.server.start()
            await self._stack.enter_async_context(self.proxy)
            self._stack.push_async_callback(self.browser.stop)
            await self.browser.start(f"https://127.0.0.1:{self.server.base_port + 2}/")
            await self.browser.evaluate(f"phone.configure({{ iceServers: [] }}, {PROXY_HOST!r})")
            for user, owner in self.users.items():
                await self._join(user, owner)
            for user in self.users:
                await self.until(f"{user}.seen().some((seen) => seen.frames > 10)")
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _join(self, user: str, owner: int) -> None:
        socket = f"wss://127.0.0.1:{self.server.base_port + 2}/ws"
        register = ", ".join(map(json.dumps, (socket, f"sip:{user}@test.example", f"of-{user}")))
        await self.browser.evaluate(f"window.{user} = makePhone(); {user}.register({register})")
        await self.until(f"{user}.events().includes('registered')")
        target = json.dumps(f"sip:{ROOM}@test.example")
        await self.browser.evaluate(f"{user}.callWithCamera({target}, {owner}, {json.dumps(self.rich)})")
        await self.until(f"{user}.events().includes('peer connected')")

    async def until(self, condition: str, timeout_s: float = 30.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not await self.browser.evaluate(condition):
            if time.monotonic() > deadline:
                events = [await self.browser.evaluate(f"window.{user}?.events()") for user in self.users]
                raise AssertionError(f"{condition} never came true: {events}\n{self.server.log()[-2000:]}")
            await asyncio.sleep(0.1)

    async def legs(self) -> list[dict[str, Any]]:
        """Of every user one, by `party`."""
        return [{**leg, "party": call["caller"]} for call in await self.server.calls() for leg in call["legs"]]

    async def watch(self, intervals: int) -> list[Heard]:
        """Of each leg what every one of so many intervals said."""
        heard: dict[str, Heard] = {}
        for _ in range(intervals):
            await asyncio.sleep(self.interval_s)
            for leg in await self.legs():
                heard.setdefault(leg["party"], Heard()).take(leg)
        return list(heard.values())

    async def rows(self) -> list[dict[str, Any]]:
        """What the server has stored of quality so far: intervals and, of calls that are over, the whole."""

        def read() -> list[dict[str, Any]]:
            (path,) = (self.server.folder / "data").glob("*.db")
            database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
            database.row_factory = sqlite3.Row
            try:
                return [dict(row) for row in database.execute("SELECT * FROM quality_intervals")]
            finally:
                database.close()

        return await asyncio.to_thread(read)

    async def statistics(self, user: str) -> dict[str, dict[str, Any]]:
        """The browser's own, by "type kind": the one of its kind that has carried most."""
        found: dict[str, dict[str, Any]] = {}
        for entry in await self.browser.evaluate(f"{user}.statistics()"):
            name = f"{entry['type']} {entry.get('kind', '')}".strip()
            carried = entry.get("bytesReceived", entry.get("bytesSent", 0))
            if name not in found or carried > found[name].get("bytesReceived", found[name].get("bytesSent", 0)):
                found[name] = entry
        return found
