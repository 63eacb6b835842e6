"""How far reviewers of the same calls agree. Sans-I/O: what several said of one call in, sums out.

A call counts when two or more judged it. Spread is the standard deviation among those who judged one call, in points
of 100, and its mean over the calls. A reviewer's leaning is his score less the mean of the others' of the same call:
over 0 he is milder than they; its mean without the sign is his distance, which opposite mistakes do not hide.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple


class Judgement(NamedTuple):
    reviewer: str
    score: float  # 0..100


class Apart:
    __slots__ = ("_of", "_spreads", "calls")

    def __init__(self) -> None:
        self.calls = 0  # that were judged by two or more
        self._spreads = 0.0
        self._of: dict[str, tuple[int, float, float]] = {}  # reviewer: calls, leanings, distances

    def add(self, judged: Sequence[Judgement]) -> None:
        """What several said of one call, or of one question in it."""
        if len(judged) < 2:
            return
        total = math.fsum(one.score for one in judged)
        mean = total / len(judged)
        self.calls += 1
        self._spreads += math.sqrt(math.fsum((one.score - mean) ** 2 for one in judged) / len(judged))
        for one in judged:
            away = one.score - (total - one.score) / (len(judged) - 1)
            calls, leanings, distances = self._of.get(one.reviewer, (0, 0.0, 0.0))
            self._of[one.reviewer] = (calls + 1, leanings + away, distances + abs(away))

    @property
    def spread(self) -> float | None:
        """Points; None: no call was judged by two."""
        return round(self._spreads / self.calls, 1) if self.calls else None

    def leaning(self, reviewer: str) -> float | None:
        """Points; None: nobody else judged a call of his."""
        calls, leanings, _ = self._of.get(reviewer, (0, 0.0, 0.0))
        return round(leanings / calls, 1) + 0.0 if calls else None

    def distance(self, reviewer: str) -> float | None:
        calls, _, distances = self._of.get(reviewer, (0, 0.0, 0.0))
        return round(distances / calls, 1) if calls else None

    def leanings(self) -> dict[str, float]:
        """Of everybody, the furthest first."""
        found = {name: leaning for name in self._of if (leaning := self.leaning(name)) is not None}
        return dict(sorted(found.items(), key=lambda item: (-abs(item[1]), item[0])))
