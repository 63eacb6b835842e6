"""Asyncio tasks with an owner. Owns starting, bounding, cancelling and awaiting them; nothing of calls."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Coroutine
from typing import Any

import structlog

from mediaserver.limits import PROGRAM_TASKS_MAX

log = structlog.get_logger()


class TaskGroup:
    """Tasks of one owner. `close` cancels and awaits them; a task that fails is logged and ends only itself."""

    def __init__(self, context: contextvars.Context, limit: int = PROGRAM_TASKS_MAX) -> None:
        self._context = context
        self._limit = limit
        self._tasks: set[asyncio.Task[Any]] = set()

    def spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any] | None:
        """Starts a task in the owner's context. None, and nothing runs, at the limit (logged)."""
        if len(self._tasks) >= self._limit:
            work.close()
            log.warning("task refused: this call owns too many", task=name, limit=self._limit)
            return None
        task = asyncio.get_running_loop().create_task(work, name=name, context=self._context)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("task of a call failed", task=task.get_name(), exc_info=task.exception())

    async def close(self) -> None:
        """Cancels and awaits all but the task that calls this."""
        current = asyncio.current_task()
        tasks = [task for task in self._tasks if task is not current]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def finish(work: Coroutine[Any, Any, None]) -> None:
    """Runs `work` to its end even if the caller is cancelled meanwhile; then the cancellation goes on.

    For commands whose result must not be lost: a leg opened by a cancelled task would never be closed.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with contextlib.suppress(asyncio.CancelledError):  # cancelled again: still not before it is done
                await asyncio.wait([task])
        if not task.cancelled() and task.exception() is not None:
            log.debug("command failed after its caller was cancelled", error=repr(task.exception()))
        raise
