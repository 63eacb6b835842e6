"""Cameras switched on together in a room: whatever offers cross, in whatever order, in the end everyone sees everyone.

RFC 3264 §8 (one offer open at a time), RFC 3261 §14 (491 and the waits after it). An order is drawn from a seed: at
each step, which of the ways with something on them is served next. The seed of a failure is the way to see it again.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import repeat
from pathlib import Path

import pytest

from tests.support.crossing import PageGuest, Post, SipGuest, SipHouse
from tests.support.video_browser import VideoBrowser
from tests.unit.calls.stage import Stage
from tests.unit.calls.test_browser_leg import Line

NAMES = ("alice", "bob", "carol")
KINDS = (
    ("sip", "sip", "sip"),
    ("polite page", "polite page", "polite page"),
    ("stubborn page", "stubborn page", "stubborn page"),
    ("sip", "stubborn page", "polite page"),
)
_FIRST = repeat(0)
_STEP_S = 0.25
_PATIENCE_S = 20.0  # five waits of RFC 3261 §14.1


class Table:
    """Three guests in room 700 without cameras. kinds: how each signals."""

    def __init__(self, stage: Stage, kinds: tuple[str, ...], seed: int) -> None:
        assert stage.manager is not None
        self.stage, self.post = stage, Post()
        self.ids: list[str] = []  # the a=msid streams of the guests, once they are in the room
        self.house = SipHouse(self.post, stage.manager.on_invite, seed)
        self.guests: list[SipGuest | PageGuest] = []
        for name, kind in zip(NAMES, kinds, strict=True):
            if kind == "sip":
                self.guests.append(SipGuest(self.house, name, VideoBrowser()))
            else:
                polite = kind == "polite page"
                self.guests.append(PageGuest(self.post, stage.manager.on_invite, name, VideoBrowser(), polite=polite))

    async def sit_down(self) -> None:
        for guest in self.guests:
            guest.call("700")
            await self.carry_all()
            line = Line(self.stage, guest.browser, len(self.stage.engine.legs) - 1)
            await line.send(guest.browser.check())
        await self.pass_time(3.0)
        assert self.stage.manager is not None
        (room,) = self.stage.manager.rooms()
        by_number = {str(found.number): found.participant for found in room.participants}
        self.ids = [by_number[name] for name in NAMES]

    async def carry_all(self, order: Iterator[int] = _FIRST) -> None:
        """Until nothing is under way. order: which of the ways with something on them is served at each step."""
        await self.stage.settle()
        while ready := self.post.ready():
            self.post.carry(ready[next(order) % len(ready)])
            await self.stage.settle()

    async def pass_time(self, seconds: float, order: Iterator[int] = _FIRST) -> None:
        for _ in range(round(seconds / _STEP_S)):
            await self.stage.wait(_STEP_S)
            await self.carry_all(order)

    async def until_all_see_all(self, seconds_max: float, order: Iterator[int]) -> None:
        for _ in range(round(seconds_max / _STEP_S)):
            if self.all_see_all:
                return
            await self.pass_time(_STEP_S, order)

    @property
    def all_see_all(self) -> bool:
        return all(len(set(guest.browser.seen)) == len(NAMES) - 1 for guest in self.guests)

    @property
    def shown(self) -> int:
        """Sections that show somebody's pictures."""
        return sum(track.source is not None for track in self.stage.engine.tracks.values())


@asynccontextmanager
async def table(tmp_path: Path, kinds: tuple[str, ...], seed: int) -> AsyncIterator[Table]:
    stage = Stage(tmp_path)
    await stage.start()
    made = Table(stage, kinds, seed)
    await made.sit_down()
    yield made
    await stage.close()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kinds", KINDS, ids=lambda kinds: "+".join(kind.replace(" page", "") for kind in kinds))
async def test_cameras_switched_on_together_are_all_seen_by_all(
    tmp_path: Path, kinds: tuple[str, ...], seed: int
) -> None:
    draw = random.Random(seed)
    order = iter(lambda: draw.randrange(60), None)
    async with table(tmp_path, kinds, seed) as made:
        for guest in made.guests:
            guest.browser.add()
            guest.offer()
        await made.carry_all(order)
        await made.until_all_see_all(_PATIENCE_S, order)
        await made.carry_all()
        assert [sorted(guest.browser.seen) for guest in made.guests] == [
            sorted(f"{other} camera" for other in made.ids if other != own) for own in made.ids
        ]
        assert made.shown == 6
        assert not any(guest.ended or "failed" in guest.said for guest in made.guests)
        assert any(guest.said for guest in made.guests), "nothing crossed: this order proves nothing"
