"""One worker and its thread as the event loop sees them: commands become awaitables, the bell becomes callbacks.

Owns the thread, the bell (an eventfd the loop reads) and the futures of unanswered commands. Knows no legs, no ports.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from typing import Any

import structlog

from mediaserver.errors import MediaError, QueueFull, StaleHandle
from mediaserver.ext.control import Worker
from mediaserver.ext.net import UdpNetwork
from mediaserver.limits import (
    BRIDGES_PER_WORKER_MAX,
    COMMAND_QUEUE_MAX,
    LEGS_PER_WORKER_MAX,
    PACKETS_PER_WORKER,
)

log = structlog.get_logger(__name__)

STATUS_OK, STATUS_STALE_HANDLE, STATUS_REFUSED, STATUS_FULL = range(4)  # ext/channel.pxd
REALTIME_PRIORITY = 10  # above every ordinary thread, below the kernel's own

OnReply = Callable[[int, Any], None]
OnEvent = Callable[["WorkerLink", tuple[Any, ...]], None]


class WorkerLink:
    """Start with `start`, end with `stop`."""

    def __init__(
        self,
        index: int,
        *,
        seed: int,
        wall_offset_ns: int,
        silence_ns: int,
        options: dict[str, int],
        realtime: bool,
        on_event: OnEvent,
    ) -> None:
        """Raises MediaError when the system gives no memory or descriptors."""
        self.index = index
        self.realtime = False
        self._kept: dict[int, Any] = {}
        self._apart: dict[int, Any] = {}
        self._want_realtime = realtime
        self._on_event = on_event
        self._waiting: dict[int, tuple[asyncio.Future[Any], OnReply | None]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        try:
            self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
            self.worker = Worker(
                UdpNetwork(),
                legs_max=LEGS_PER_WORKER_MAX,
                bridges_max=BRIDGES_PER_WORKER_MAX,
                pool_size=PACKETS_PER_WORKER,
                queue_size=COMMAND_QUEUE_MAX,
                seed=seed,
                wall_offset_ns=wall_offset_ns,
                silence_ns=silence_ns,
                options=options,
                bell=self._bell,
            )
        except (OSError, MemoryError) as error:
            raise MediaError(f"media worker {index} cannot be made: {error}") from error
        self._thread = threading.Thread(target=self._run, name=f"media-{index}", daemon=True)

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._bell, self._on_bell)
        self._thread.start()

    async def stop(self) -> None:
        """Joins the thread. Commands still unanswered fail with StaleHandle."""
        if self._loop is None:
            return
        self.worker.stop()
        await asyncio.to_thread(self._thread.join)
        self._on_bell()
        self._loop.remove_reader(self._bell)
        os.close(self._bell)
        for future, _ in self._waiting.values():
            if not future.done():
                future.set_exception(StaleHandle("the media engine has stopped"))
        self._waiting.clear()
        self._loop = None

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def legs(self) -> int:
        """Things kept here: how loaded the worker is, for choosing one."""
        return len(self._kept)

    def keep(self, native: int, thing: Any) -> None:
        """The engine's record of what the worker knows by `native`."""
        self._kept[native] = thing

    def kept(self, native: int) -> Any | None:
        return self._kept.get(native) or self._apart.get(native)

    def keep_apart(self, native: int, thing: Any) -> None:
        """As keep, for what is no load: ports and connections."""
        self._apart[native] = thing

    def drop_apart(self, native: int) -> None:
        self._apart.pop(native, None)

    def drop(self, native: int) -> None:
        self._kept.pop(native, None)

    def answer_later(self, command_id: int, then: OnReply) -> None:
        """Nobody waits for this reply; `then` is called when it comes."""
        if self._loop is not None:
            self._waiting[command_id] = (self._loop.create_future(), then)

    def expect(self, command_id: int, then: OnReply | None = None) -> asyncio.Future[tuple[int, Any]]:
        """The reply to a command just given, for `settle`; several may be on their way, the worker keeps their order.

        then: called with status and result when the reply comes, also when nobody waits any more.
        """
        if self._loop is None:
            raise StaleHandle("the media engine has stopped")
        future: asyncio.Future[tuple[int, Any]] = self._loop.create_future()
        self._waiting[command_id] = (future, then)
        return future

    @staticmethod
    async def settle(reply: asyncio.Future[tuple[int, Any]]) -> Any:
        """Waits for an expected reply; its result. Raises StaleHandle, QueueFull, MediaError by its status."""
        status, result = await reply
        if status == STATUS_STALE_HANDLE:
            raise StaleHandle("the leg or bridge was closed before the command reached it")
        if status == STATUS_FULL:
            raise QueueFull("no room is left for this in the media worker")
        if status != STATUS_OK:
            raise MediaError("the leg's present state does not allow this: is it in another bridge, or in none?")
        return result

    async def reply(self, command_id: int, then: OnReply | None = None) -> Any:
        """`expect` and `settle` in one, for a command that nothing follows."""
        return await self.settle(self.expect(command_id, then))

    def _run(self) -> None:
        if self._want_realtime:
            try:
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(REALTIME_PRIORITY))
                self.realtime = True
            except OSError as error:
                log.info("media worker runs without real-time priority", worker=self.index, reason=error.strerror)
        self.worker.run()

    def _on_bell(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._bell)
        for message in self.worker.drain():
            if message[0] == "reply":
                self._answer(*message[1:])
            else:
                self._on_event(self, message)

    def _answer(self, command_id: int, status: int, result: Any) -> None:
        future, then = self._waiting.pop(command_id, (None, None))
        if then is not None:
            then(status, result)
        if future is not None and not future.done():
            future.set_result((status, result))
