"""700-799: a conference room per number, or the room the rule names."""

from __future__ import annotations

from mediaserver.calls.control import CallControl


async def program(call: CallControl) -> None:
    await call.join(call.route.conference)
    await call.hang_up()
