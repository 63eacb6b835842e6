"""600: the caller hears himself, after an announcement unless the rule says `options = { intro = false }`."""

from __future__ import annotations

from mediaserver.calls.control import CallControl


async def program(call: CallControl) -> None:
    if call.options.get("intro", True):
        await call.play("echo-intro")
    await call.echo()
