"""An event loop whose time is virtual: when nothing is ready it jumps to the next timer, so no test waits.

A loop that would wait for ever (nothing ready, no timer) raises: such a test has come to a stand-still.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class _JumpingSelector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]
    loop: VirtualLoop

    def select(self, timeout: float | None = None) -> list[Any]:
        ready: list[Any] = super().select(0)
        if not ready and timeout != 0:
            if timeout is None:
                raise RuntimeError("the test stands still: every task waits and no timer runs")
            self.loop.virtual_s += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self.virtual_s = 0.0
        selector = _JumpingSelector()
        selector.loop = self
        super().__init__(selector)

    def time(self) -> float:
        return self.virtual_s
