"""The notice of a recording as one party hears it, what proves that it arrived, and the key it answers by.

Owns how often a notice is tried and how its delivery is measured. What follows from it is `notice.NotedRecording`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import structlog

from mediaserver.calls.arrival import Arrival, reported
from mediaserver.calls.house import House
from mediaserver.calls.leg import Leg
from mediaserver.errors import MediaServerError
from mediaserver.model import Notice
from mediaserver.model_consent import Answer, ConsentRules, Said

log = structlog.get_logger()
_TRIES = 3  # a notice that was interrupted, or did not arrive, is played again so often


class Asking:
    def __init__(self, house: House, rules: ConsentRules) -> None:
        self._house = house
        self._rules = rules

    async def deliver(
        self, leg: Leg, prompt: str, language: str, starts: Callable[[], None]
    ) -> tuple[Notice, Arrival] | None:
        """Played to its end and, as far as the policy asks, proven to have arrived. None: the party hung up.

        starts: called each time it is played anew. What never arrives well enough is handed on as it is: the recorder
        calls it failed and captures nothing.
        """
        heard = None
        for attempt in range(_TRIES):
            starts()
            heard = await self._play(leg, prompt, language)
            if heard is None or self.arrived(heard[0]):
                return heard
            notice = heard[0]
            log.warning("a notice did not arrive well enough", attempt=attempt + 1, delivered=notice.delivery.fraction)
        return heard

    def arrived(self, notice: Notice) -> bool:
        """As well as the policy asks for."""
        fraction = notice.delivery.fraction
        return self._rules.proof == "sent" if fraction is None else fraction >= self._rules.delivered_fraction

    async def _play(self, leg: Leg, prompt: str, language: str) -> tuple[Notice, Arrival] | None:
        path: Path = self._house.prompts.find(prompt, language)
        loaded = await self._house.load(path)
        clock = self._house.clock
        for _ in range(_TRIES):
            before, started_ns = reported(self._house, leg), clock.now_ns()
            hearing = await leg.voice.play(loaded)
            heard = await hearing
            if leg.is_over or not leg.voice.is_open:
                return None
            if heard:
                ended_ns, wall = clock.now_ns(), clock.wall()
                arrival = Arrival(self._house, leg, hearing.sent, before)
                delivery = await arrival.proven(self._rules.proof_s if self._rules.proof == "rtcp" else 0.0)
                handle = leg.voice.handle
                if leg.is_over or not leg.voice.is_open:
                    return None
                notice = Notice(handle, prompt, language, str(path), started_ns, ended_ns, wall, delivery)
                return notice, arrival
        raise MediaServerError(f"the notice {prompt!r} was interrupted {_TRIES} times")

    async def keys(self, leg: Leg, answered: asyncio.Event) -> list[Said] | None:
        """What it says by keys to the purposes that are asked for so: each has a key for yes, one key is a no to the

        rest, and so is silence. None: it answered another way meanwhile.
        """
        leg.voice.forget_digits()
        open_ = {one.name: one.agree_key for one in self._rules.each() if one.ask == "press"}
        found: list[Said] = []
        digit = ""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._rules.answer_s):
                while open_ and digit != self._rules.refuse_key and not leg.is_over and not answered.is_set():
                    digit = await _digit(leg, answered)
                    if agreed := tuple(name for name, key in open_.items() if key == digit):
                        found.append(Said(Answer.GRANTED, "dtmf", {"key": digit}, agreed))
                        open_ = {name: key for name, key in open_.items() if name not in agreed}
        if answered.is_set():
            return None
        if open_:
            key = digit if digit == self._rules.refuse_key else ""
            found.append(Said(Answer.DENIED, "dtmf", {"key": key}, tuple(open_)))
        return found


async def _digit(leg: Leg, answered: asyncio.Event) -> str:
    """The next key; "" when the party hung up or answered another way."""
    pressed = asyncio.ensure_future(leg.voice.next_digit())
    others = {asyncio.ensure_future(leg.wait_ended()), asyncio.ensure_future(answered.wait())}
    try:
        await asyncio.wait({pressed, *others}, return_when=asyncio.FIRST_COMPLETED)
        return pressed.result() if pressed.done() else ""
    finally:
        for task in (pressed, *others):
            task.cancel()
