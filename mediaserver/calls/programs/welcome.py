"""601: a spoken welcome in Russian and English."""

from __future__ import annotations

from mediaserver.calls.control import CallControl


async def program(call: CallControl) -> None:
    await call.answer()
    for language in ("ru", "en"):
        await call.play("welcome", language=language, interruptible=False)
    await call.hang_up()
