"""Extension to extension, and out by a trunk: rings what the rule names and lets the two talk."""

from __future__ import annotations

from mediaserver.calls.control import CallControl


async def program(call: CallControl) -> None:
    if call.recorded:  # the caller hears the notice before anybody is rung; a caller who waits alone is not captured
        await call.answer(capture=False)
    result = await call.dial_route()
    if result.leg is None:
        await call.refuse(result)
        return
    await call.bridge(result)
    await call.hang_up()
