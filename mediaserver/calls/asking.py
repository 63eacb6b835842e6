"""The notice of a recording as one party hears it, what proves that it arrived, and the key it answers by.

Owns how often a notice is tried and how its delivery is measured. What follows from it is `notice.NotedRecording`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path

import structlog

from mediaserver.calls.house import House
from mediaserver.calls.leg import Leg
from mediaserver.errors import MediaError, MediaServerError
from mediaserver.model import Delivery, LegStats, Notice
from mediaserver.model_consent import Answer, ConsentRules

log = structlog.get_logger()
_TRIES = 3  # a notice that was interrupted, or did not arrive, is played again so often
_REPORT_LOOK_S = 0.1  # the media plane renews its statistics so often


class Asking:
    def __init__(self, house: House, rules: ConsentRules) -> None:
        self._house = house
        self._rules = rules

    async def deliver(self, leg: Leg, prompt: str, language: str, starts: Callable[[], None]) -> Notice | None:
        """Played to its end and, as far as the policy asks, proven to have arrived. None: the party hung up.

        starts: called each time it is played anew. What never arrives well enough is handed on as it is: the recorder
        calls it failed and captures nothing.
        """
        notice = None
        for attempt in range(_TRIES):
            starts()
            notice = await self._play(leg, prompt, language)
            if notice is None:
                return None
            if self.arrived(notice):
                return notice
            log.warning("a notice did not arrive well enough", attempt=attempt + 1, delivered=notice.delivery.fraction)
        return notice

    def arrived(self, notice: Notice) -> bool:
        """As well as the policy asks for."""
        fraction = notice.delivery.fraction
        return self._rules.proof == "sent" if fraction is None else fraction >= self._rules.delivered_fraction

    async def _play(self, leg: Leg, prompt: str, language: str) -> Notice | None:
        path: Path = self._house.prompts.find(prompt, language)
        loaded = await self._house.load(path)
        clock = self._house.clock
        for _ in range(_TRIES):
            before, started_ns = self._stats(leg), clock.now_ns()
            heard = await (await leg.voice.play(loaded))
            if leg.is_over or not leg.voice.is_open:
                return None
            if heard:
                ended_ns, wall = clock.now_ns(), clock.wall()
                delivery = await self._delivery(leg, before)
                handle = leg.voice.handle
                if leg.is_over or not leg.voice.is_open:
                    return None
                return Notice(handle, prompt, language, str(path), started_ns, ended_ns, wall, delivery)
        raise MediaServerError(f"the notice {prompt!r} was interrupted {_TRIES} times")

    async def _delivery(self, leg: Leg, before: LegStats | None) -> Delivery:
        """What was sent while it played, and what the party's RTCP says was lost of it."""
        after = self._stats(leg)
        if before is None or after is None:
            return Delivery()
        latest, waited_s = after, 0.0
        while self._rules.proof == "rtcp" and latest.rtcp_received == after.rtcp_received and not leg.is_over:
            if waited_s >= self._rules.proof_s:
                return Delivery(after.packets_sent - before.packets_sent)
            await asyncio.sleep(_REPORT_LOOK_S)
            waited_s += _REPORT_LOOK_S
            latest = self._stats(leg) or latest
        told = latest.remote_loss_fraction >= 0 and latest.rtcp_received > before.rtcp_received
        lost = max(0, latest.remote_packets_lost - max(0, before.remote_packets_lost)) if told else -1
        return Delivery(after.packets_sent - before.packets_sent, lost)

    def _stats(self, leg: Leg) -> LegStats | None:
        with contextlib.suppress(MediaError):
            return self._house.engine.leg_stats(leg.voice.handle)
        return None

    async def key(self, leg: Leg, answered: asyncio.Event) -> tuple[Answer, str, dict[str, str]] | None:
        """The key that agrees or refuses; silence is a no. None: it answered another way meanwhile."""
        leg.voice.forget_digits()
        keys = {self._rules.agree_key: Answer.GRANTED, self._rules.refuse_key: Answer.DENIED}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._rules.answer_s):
                while not leg.is_over and not answered.is_set():
                    digit = await _digit(leg, answered)
                    if digit in keys:
                        return keys[digit], "dtmf", {"key": digit}
        return None if answered.is_set() else (Answer.DENIED, "dtmf", {"key": ""})


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
