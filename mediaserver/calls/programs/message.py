"""602: leave a message and listen back to it. Options: max_s, silence_s."""

from __future__ import annotations

from mediaserver.calls.control import CallControl


async def program(call: CallControl) -> None:
    message = await call.record(
        float(call.options.get("max_s", 120.0)), silence_s=float(call.options.get("silence_s", 4.0))
    )
    if message.spoken:
        await call.play("message-playback", interruptible=False)
        await call.play(message, interruptible=False)
    else:
        await call.play("message-empty", interruptible=False)
    await call.play("goodbye", interruptible=False)
    await call.hang_up()
