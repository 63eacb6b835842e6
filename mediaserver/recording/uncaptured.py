"""How long parties of recordings were not captured, and why: no consent (yet, or any more), or a pause.

Owns the arithmetic of two counters for /metrics. It is told of states of consent, not of media: how long a party was
in a state is how long it was, or was not, captured for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from mediaserver.model import LegHandle
from mediaserver.model_consent import ConsentState as State

CAPTURED = frozenset({State.GRANTED, State.IMPLIED})
GAPS: Mapping[State, str] = {State.PAUSED: "paused", State.SUSPENDED_BY_JOINER: "joiner"}
NO_CONSENT = "no consent"


class Uncaptured:
    """Seconds by reason since the start; they only grow."""

    def __init__(self) -> None:
        self._ended_ns: Counter[str] = Counter()
        self._now: dict[tuple[str, LegHandle], tuple[str, int]] = {}  # by recording and party: reason, since when

    def moved(self, recording: str, leg: LegHandle, state: State | None, now_ns: int) -> None:
        """state: of the party from now on; None: it left, or the recording ended."""
        reason, since_ns = self._now.pop((recording, leg), ("", now_ns))
        if reason:
            self._ended_ns[reason] += now_ns - since_ns
        if state is not None and state not in CAPTURED:
            self._now[recording, leg] = GAPS.get(state, NO_CONSENT), now_ns

    def seconds(self, now_ns: int) -> dict[str, float]:
        """By reason, what goes on included."""
        total = Counter({reason: self._ended_ns[reason] for reason in (NO_CONSENT, *GAPS.values())})
        for reason, since_ns in self._now.values():
            total[reason] += now_ns - since_ns
        return {reason: passed_ns / 1e9 for reason, passed_ns in total.items()}
