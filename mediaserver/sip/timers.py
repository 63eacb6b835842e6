"""Deadlines with callbacks for the user agent and its sessions. Sans-I/O: driven by `next_deadline` and `fire`."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class Timer:
    """Handle of one deadline. Fires once at most; cancelling twice or after it fired does nothing."""

    __slots__ = ("_callback", "_timers")

    def __init__(self, timers: Timers, callback: Callable[[], None]) -> None:
        self._timers = timers
        self._callback: Callable[[], None] | None = callback

    @property
    def active(self) -> bool:
        return self._callback is not None

    def cancel(self) -> None:
        if self._callback is not None:
            self._callback = None
            self._timers.cancelled()

    def fire(self) -> None:
        callback, self._callback = self._callback, None
        if callback is not None:
            callback()


class Timers:
    """A heap of deadlines; cancelled rows are thrown out when they outnumber the living."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timer]] = []
        self._order = itertools.count()
        self._dead = 0

    def __len__(self) -> int:
        """Deadlines still to come."""
        return len(self._heap) - self._dead

    def at(self, deadline_ns: int, callback: Callable[[], None]) -> Timer:
        timer = Timer(self, callback)
        heapq.heappush(self._heap, (deadline_ns, next(self._order), timer))
        return timer

    def next_deadline(self) -> int | None:
        while self._heap and not self._heap[0][2].active:
            heapq.heappop(self._heap)
            self._dead -= 1
        return self._heap[0][0] if self._heap else None

    def fire(self, now_ns: int) -> None:
        """Everything due at now_ns, in order; what a callback adds for now or earlier fires as well."""
        while (deadline := self.next_deadline()) is not None and deadline <= now_ns:
            heapq.heappop(self._heap)[2].fire()

    def cancelled(self) -> None:
        self._dead += 1
        if self._dead > 64 and self._dead * 2 > len(self._heap):
            self._heap = [row for row in self._heap if row[2].active]
            heapq.heapify(self._heap)
            self._dead = 0
