"""Pictures on the wire: Chromium with JsSIP, baresip as a SIP video phone, numbered frames counted and compared."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import av
import pytest
import pytest_asyncio

from tests.support.baresip import Baresip
from tests.support.chromium import Chromium
from tests.support.numbered import read, write_film
from tests.support.server import Server
from tests.support.speech import speech
from tests.wire.conftest import USERS, Phones

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.alone]
ANN, BOB, BARESIP, SCREEN = 1, 2, 9, 12  # owners of numbered pictures


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def chromium(server: Server, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Chromium]:
    made = Chromium(tmp_path_factory.mktemp("chromium"), speech("ann", 48_000, tail_s=1.0))
    try:
        await made.start(f"https://{server.host}:{server.base_port + 2}/")
        yield made
    finally:
        await made.stop()


class Phone:
    """One JsSIP phone of the page; several may be in it."""

    def __init__(self, chromium: Chromium, server: Server, user: str) -> None:
        self._chromium, self._server, self.user = chromium, server, user

    async def register(self) -> None:
        socket = f"wss://{self._server.host}:{self._server.base_port + 2}/ws"
        uri, password = f"sip:{self.user}@test.example", USERS[self.user]
        await self.do(f"register({json.dumps(socket)}, {json.dumps(uri)}, {json.dumps(password)})", new=True)
        await self.until("registered")

    async def do(self, what: str, *, new: bool = False) -> Any:
        if new:
            await self._chromium.evaluate(f"window.{self.user} = makePhone()")
        return await self._chromium.evaluate(f"window.{self.user}.{what}")

    async def until(self, event: str, timeout_s: float = 15.0) -> None:
        for _ in range(int(timeout_s * 20)):
            events = await self.do("events()")
            if any(seen.startswith(event) for seen in events):
                return
            await asyncio.sleep(0.05)
        raise AssertionError(f"{event!r} never came to {self.user}: {events}")

    async def sees(self, owner: int, frames: int, timeout_s: float = 10.0) -> dict[str, Any]:
        """The record of the track that brings at least so many frames of this owner's pictures."""
        for _ in range(int(timeout_s * 10)):
            for seen in (records := await self.do("seen()")):
                if len(seen["owners"].get(str(owner), [])) >= frames:
                    return dict(seen)
            await asyncio.sleep(0.1)
        raise AssertionError(f"{self.user} never saw {owner}: {records}\n{self._server.log()[-2000:]}")

    async def leave(self) -> None:
        await self.do("hangUp()")
        await self.until("ended")
        await self.do("unregister()")


def in_order(numbers: list[int]) -> float:
    """Share of frames that are the next one or a few after the one before, the counter going round at 256."""
    steps = [(b - a) % 256 for a, b in itertools.pairwise(numbers)]
    return sum(1 <= step <= 4 for step in steps) / max(1, len(steps))


async def shown_to(phone: Baresip, folder: Path) -> int:
    """Whose picture a SIP phone has just got."""
    picture = next(av.open(str(await phone.sees(folder / "seen.png"))).decode(video=0))
    found = read(picture.to_ndarray(format="rgb24"))
    assert found is not None
    return found[0]


@pytest.mark.parametrize(("codec", "srtp"), [("VP8", False), ("h264", True)])
async def test_a_browser_and_a_sip_video_phone_see_each_other(
    codec: str, srtp: bool, chromium: Chromium, phones: Phones, tmp_path: Path
) -> None:
    """srtp: the phone takes no sound and no picture in the clear (SDES, RFC 4568, in both of its sections)."""
    film = write_film(tmp_path / "film.avi", BARESIP)
    bob = await phones.baresip("bob", "opus", film=film, video_codec=codec, srtp=srtp)
    ann = Phone(chromium, phones.server, "ann")
    await ann.register()
    await ann.do(f"callWithCamera('sip:bob@test.example', {ANN})")
    await ann.until("confirmed")
    seen = await ann.sees(BARESIP, 45)
    assert set(seen["owners"]) == {str(BARESIP)}
    assert in_order(seen["owners"][str(BARESIP)]) > 0.9
    assert (seen["width"], seen["height"]) == (320, 240)
    assert await shown_to(bob, tmp_path) == ANN  # its first picture needs a key frame, asked for when it joined
    (sound,) = [
        entry for entry in await ann.do("statistics()") if entry["type"] == "inbound-rtp" and entry["kind"] == "audio"
    ]
    assert sound["packetsReceived"] > 100
    legs = [leg for call in await phones.server.calls() for leg in call["legs"]]
    answered = [leg for leg in legs if leg["codec"] is not None]  # not the call in the clear that the phone refused
    assert {leg["codec"] for leg in answered} == {"opus/48000"}
    assert [leg["srtp"] is not None for leg in answered] == [True, srtp]
    await ann.leave()


async def test_in_a_call_of_two_browsers_a_screen_is_shown_beside_the_cameras(
    chromium: Chromium, phones: Phones
) -> None:
    ann, vera = Phone(chromium, phones.server, "ann"), Phone(chromium, phones.server, "vera")
    for phone in (ann, vera):
        await phone.register()
    await vera.do(f"answerWith({BOB})")
    await ann.do(f"callWithCamera('sip:vera@test.example', {ANN})")
    await ann.until("confirmed")
    camera = await vera.sees(ANN, 10)
    await ann.sees(BOB, 10)
    await ann.do(f"share({SCREEN})")
    screen = await vera.sees(SCREEN, 10)
    assert screen["track"] == "screen"
    assert set(screen["owners"]) == {str(SCREEN)}
    assert screen["track"] != camera["track"]
    assert screen["stream"] == camera["stream"]
    await ann.do("stopSharing()")
    await vera.do("forgetSeen()")
    await vera.sees(ANN, 5)  # the camera goes on
    await ann.leave()
    await vera.until("ended")
    await vera.do("unregister()")


async def test_two_browsers_and_a_phone_in_a_room_see_each_other_and_a_shared_screen(
    chromium: Chromium, phones: Phones, tmp_path: Path
) -> None:
    ann, vera = Phone(chromium, phones.server, "ann"), Phone(chromium, phones.server, "vera")
    for phone, owner in ((ann, ANN), (vera, BOB)):
        await phone.register()
        await phone.do(f"callWithCamera('sip:700@test.example', {owner})")
        await phone.until("confirmed")
    of_vera = await ann.sees(BOB, 30, 15.0)
    of_ann = await vera.sees(ANN, 30, 15.0)
    assert set(of_ann["owners"]) == {str(ANN)}
    assert set(of_vera["owners"]) == {str(BOB)}
    assert of_ann["stream"] != of_vera["stream"]
    bob = await phones.baresip("bob", "opus", film=write_film(tmp_path / "film.avi", BARESIP))
    await bob.dial(f"sip:700@{phones.server.sip}")
    assert (await ann.sees(BARESIP, 15))["stream"] not in (of_vera["stream"], of_ann["stream"])
    assert await shown_to(bob, tmp_path) in (ANN, BOB)  # one of them, and never its own
    await bob.hang_up()
    await asyncio.sleep(1.0)  # his section is gone before ann offers a change of her own
    await ann.do(f"share({SCREEN})")
    screen = await vera.sees(SCREEN, 30)
    assert screen["stream"] == of_ann["stream"]
    assert screen["track"] != of_ann["track"]
    await ann.do("stopSharing()")
    await asyncio.sleep(1.5)
    await vera.do("forgetSeen()")
    await vera.sees(ANN, 10)
    assert not any(str(SCREEN) in record["owners"] for record in await vera.do("seen()"))
    await ann.leave()
    await vera.leave()
