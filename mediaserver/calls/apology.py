"""technical-error: the sentence for parties whose call cannot go on through no fault of theirs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable

from mediaserver.calls.house import House
from mediaserver.calls.leg import Leg
from mediaserver.errors import MediaServerError

_APOLOGY_S_MAX = 15.0  # a sentence; a stuck media plane must not keep the call


async def apologise(house: House, language: str, legs: Iterable[Leg]) -> None:
    """Returns when all have heard it, or at once when it cannot be played; never raises."""
    with contextlib.suppress(MediaServerError, TimeoutError):
        path = house.prompts.find("technical-error", language)
        async with asyncio.timeout(_APOLOGY_S_MAX):
            loaded = await house.load(path)
            for heard in [await leg.voice.play(loaded) for leg in legs]:
                await heard
