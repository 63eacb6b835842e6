"""Where time comes from. Only the outermost drivers (transport, worker thread, app) read a clock.

All else is told `now_ns`.
"""

import time
from typing import Protocol


class Clock(Protocol):
    def now_ns(self) -> int:
        """Monotonic nanoseconds, CLOCK_MONOTONIC on Linux: the same clock the media workers read."""
        ...

    def wall(self) -> float:
        """Seconds since 1970 UTC, for what people read: CDRs, logs, file names."""
        ...


class SystemClock:
    def now_ns(self) -> int:
        return time.monotonic_ns()

    def wall(self) -> float:
        return time.time()


class VirtualClock:
    """A clock that moves only when told: tests hold timers to 1 ns with it."""

    def __init__(self, start_ns: int = 1_000_000_000, wall: float = 1_790_000_000.0) -> None:
        self._now_ns = start_ns
        self._wall_at_zero = wall - start_ns / 1e9

    def now_ns(self) -> int:
        return self._now_ns

    def wall(self) -> float:
        return self._wall_at_zero + self._now_ns / 1e9

    def advance(self, ns: int) -> int:
        if ns < 0:
            raise ValueError(f"a monotonic clock never goes back; asked for {ns} ns")
        self._now_ns += ns
        return self._now_ns
