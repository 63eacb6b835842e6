"""Recording as a party's phone is shown it, and as the phone prefers it: a=record, a=recordpref. RFC 7866 §6.2, §7.

Owns what one phone was told. Only a phone that says `Supported: record-aware` is told: for each change of state it gets
a re-INVITE, one at a time, with what is true when it leaves. What a preference means is the consent desk's.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from mediaserver.model_news import RecordingState
from mediaserver.sdp.negotiate import Negotiator

if TYPE_CHECKING:
    from mediaserver.calls.leg import Leg

log = structlog.get_logger()
_WORDS: Final = {RecordingState.RECORDING: "on", RecordingState.PAUSED: "paused", RecordingState.OFF: "off"}
_TRIES: Final = 5  # another offer of ours may be open (hold), or cross one of the phone's
_AGAIN_S: Final = 0.5


class RecordSignal:
    """One per leg."""

    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self._telling: asyncio.Task[None] | None = None

    @property
    def _negotiator(self) -> Negotiator | None:
        """None for a browser: its page shows it."""
        negotiator = self._leg.media.negotiator
        return negotiator if isinstance(negotiator, Negotiator) else None

    @property
    def preference(self) -> str:
        """ "on", "off", "pause", "nopreference", or "": the phone has said none."""
        return self._negotiator.record_preference if self._negotiator is not None else ""

    def show(self, state: RecordingState) -> None:
        """Returns at once."""
        word, negotiator, session = _WORDS.get(state), self._negotiator, self._leg.session
        if word is None or negotiator is None or session is None or not session.record_aware:
            return
        if word == "off" and not negotiator.record:  # it was never on
            return
        negotiator.record = word
        if self._telling is None or self._telling.done():
            self._telling = self._leg.tasks.spawn(self._tell(negotiator), f"record signal {self._leg.leg_id}")

    async def _tell(self, negotiator: Negotiator) -> None:
        await asyncio.sleep(0)  # one event changes several states: the last of them counts
        for _ in range(_TRIES):
            while self._leg.answered and negotiator.record != negotiator.record_said:
                if not await self._leg.reoffer():
                    break
            else:
                return
            await asyncio.sleep(_AGAIN_S)
        log.warning("a phone could not be shown that it is recorded", leg=self._leg.leg_id, record=negotiator.record)
