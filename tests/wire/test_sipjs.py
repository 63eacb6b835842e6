"""The other SIP library of browsers: SIP.js, unchanged, registers, hears itself and is called by a phone."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.chromium import Chromium
from tests.support.speech import tone
from tests.wire.conftest import USERS, Phones

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.alone]


class SipJs:
    def __init__(self, browser: Chromium) -> None:
        self._browser = browser

    async def do(self, what: str, *arguments: str) -> Any:
        return await self._browser.evaluate(f"sipJsPhone.{what}({', '.join(map(json.dumps, arguments))})")

    async def wait_for(self, event: str) -> None:
        for _ in range(400):
            if event in await self.do("events"):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{event!r} never came: {await self.do('events')}")

    async def hears(self, seconds: float = 3.0) -> float:
        """Energy a second of what leaves Chromium's decoder; 0.06 of our tone."""
        before = await self.do("decoded")
        await asyncio.sleep(seconds)
        after = await self.do("decoded")
        assert after["packetsReceived"] - before["packetsReceived"] > 40 * seconds
        heard: float = after["totalAudioEnergy"] - before["totalAudioEnergy"]
        return heard / seconds


async def test_sip_js_hears_itself_and_a_phone_that_calls_it(phones: Phones, tmp_path: Path) -> None:
    browser = Chromium(tmp_path / "chromium", tone(tmp_path / "tone.wav", 700.0, 5, 48_000))
    try:
        web = f"{phones.server.host}:{phones.server.base_port + 2}"
        await browser.start(f"https://{web}/")
        ann = SipJs(browser)
        await ann.do("register", f"wss://{web}/ws", "sip:ann@test.example", "ann", USERS["ann"])
        await ann.wait_for("registered")
        await ann.do("call", "sip:603@test.example")
        await ann.wait_for("peer connected")
        assert await ann.hears() > 0.02
        await ann.do("hangUp")
        await ann.wait_for("terminated")
        bob = await phones.pjsua("bob", "PCMU", says=tone(tmp_path / "bob.wav", 500.0, 30, 16_000))
        await bob.dial(f"sip:ann@{phones.server.sip}")
        await ann.wait_for("incoming bob")
        await bob.wait_for("state", text="CONFIRMED")
        assert await ann.hears() > 0.02
        await bob.do("hangup")
        await bob.wait_for("closed")
    finally:
        await browser.stop()
