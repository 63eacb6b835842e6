"""Watches the machine while a test listens, so that a failure on a machine without time is told from one of ours.

Phones and browsers are real programs that play sound in real time. When they are not run for a tenth of a second, what
is heard is broken whatever the server does. A witness counts how often that was so.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path

TICK_S = 0.01
LATE_S = 0.05  # a phone's sound device and its jitter buffer forgive less than this for long
WAITING_MAX = 0.25  # share of the worst second in which something that wanted a core had none
STOLEN_MAX = 0.02  # share of the time in which the machine below took the cores away
LATE_MAX = 2  # ticks


@dataclass(frozen=True, slots=True)
class Machine:
    """How the machine was during one test."""

    seconds: float
    waiting: float  # share of the worst second, 0..1: pressure stall information, `some`, of the CPU
    stolen: float  # share of all cores' time, 0..1
    late_ticks: int  # of a thread that sleeps 10 ms: how often it woke 50 ms late or more
    worst_s: float

    @property
    def short(self) -> bool:
        """True when what was heard proves nothing about the server."""
        return self.waiting > WAITING_MAX or self.stolen > STOLEN_MAX or self.late_ticks > LATE_MAX

    def __str__(self) -> str:
        return (
            f"in the worst of {self.seconds:.0f} s something waited {self.waiting:.0%} of it for a core, "
            f"{self.stolen:.1%} of all were stolen, "
            f"{self.late_ticks} of our own ticks came late, the worst by {1_000 * self.worst_s:.0f} ms"
        )


class Witness:
    """`with Witness() as witness: …`, then `witness.machine`."""

    machine: Machine

    def __enter__(self) -> Witness:
        self._end = threading.Event()
        self._late = 0
        self._worst = 0.0
        self._waiting = 0.0
        self._second = self._began = time.monotonic()
        self._waited = waited_s()
        self._from = stolen_and_all()
        self._thread = threading.Thread(target=self._tick, name="witness", daemon=True)
        self._thread.start()
        return self

    def _tick(self) -> None:
        while not self._end.is_set():
            asleep = time.monotonic()
            self._end.wait(TICK_S)
            late = time.monotonic() - asleep - TICK_S
            self._worst = max(self._worst, late)
            self._late += late >= LATE_S
            if asleep - self._second >= 1.0:
                self._pressure(asleep)

    def _pressure(self, now: float) -> None:
        waited = waited_s()
        self._waiting = max(self._waiting, (waited - self._waited) / max(now - self._second, 1e-3))
        self._second, self._waited = now, waited

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        now = time.monotonic()
        if now - self._second >= 0.5 or self._second == self._began:
            self._pressure(now)
        (stolen, ticks), (now_stolen, now_ticks) = self._from, stolen_and_all()
        self.machine = Machine(
            now - self._began,
            self._waiting,
            (now_stolen - stolen) / max(now_ticks - ticks, 1),
            self._late,
            self._worst,
        )


def waited_s() -> float:
    """Seconds since boot in which at least one task waited for a core; 0 where the kernel does not count them."""
    try:
        text = Path("/proc/pressure/cpu").read_text()
    except OSError:
        return 0.0
    return int(text.split("\n", 1)[0].rpartition("total=")[2]) / 1e6


def stolen_and_all() -> tuple[int, int]:
    """Ticks of all cores stolen by the machine below, and all ticks."""
    fields = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]]
    return fields[7], sum(fields[:8])
