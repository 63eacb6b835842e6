"""The thread that sends tapped packets on to other recorders: a round every 20 ms while there are any, of all.

Owns the thread. What may be sent is each forward's window (`ext/tap_forward`), packets are handled there.
"""

from __future__ import annotations

import threading

from mediaserver.ext.tap_forward import TapForward

ROUND_S = 0.02
__all__ = ["Forwards", "TapForward"]


class Forwards:
    def __init__(self) -> None:
        self._all: set[TapForward] = set()
        self._lock = threading.Lock()  # of the set; held for a copy of it only
        self._some = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        self.packets = 0

    def add(self, forward: TapForward) -> None:
        with self._lock:
            self._all.add(forward)
        self._some.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="recording-forward", daemon=True)
            self._thread.start()

    def remove(self, forward: TapForward) -> None:
        """Before its tap is closed or after: what its window lets through and is there by now, still goes."""
        with self._lock:
            self._all.discard(forward)
            self.packets += forward.step()
            if not self._all:
                self._some.clear()

    def stop(self) -> None:
        """Idempotent. Blocks for a round at most."""
        self._stopping = True
        self._some.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        pause = threading.Event()
        while not self._stopping:
            self._some.wait()
            with self._lock:
                for forward in self._all:
                    self.packets += forward.step()
            pause.wait(ROUND_S)
