"""602: leave a message and listen back to it. Options: max_s, silence_s.

A server that cannot record says so before it asks for a message.
"""

from __future__ import annotations

import structlog

from mediaserver.calls.control import CallControl
from mediaserver.errors import StorageError

log = structlog.get_logger()


async def program(call: CallControl) -> None:
    try:
        message = await call.record(
            float(call.options.get("max_s", 120.0)), silence_s=float(call.options.get("silence_s", 4.0))
        )
    except StorageError as error:
        log.error("a message cannot be recorded", error=str(error))
        await call.play("technical-error", interruptible=False)
        await call.hang_up()
        return
    if message.spoken:
        await call.play("message-playback", interruptible=False)
        await call.play(message, interruptible=False)
    else:
        await call.play("message-empty", interruptible=False)
    await call.play("goodbye", interruptible=False)
    await call.hang_up()
