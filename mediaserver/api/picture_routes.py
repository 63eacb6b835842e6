"""What the parties of a recorded call showed, to be seen beside its sound, and how far what is rendered has come.

Knows HTTP and the facade. Who may listen may see; a link is for the sound alone. Pictures come without sound, on the
sound's own time line, and by ranges; the access log has a line before anything is sent and one with the bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from mediaserver.api import review_words as words
from mediaserver.api.facade import Facade, NotFound
from mediaserver.api.review_audio import asked_range, send
from mediaserver.api.review_visits import Visits
from mediaserver.api.routes import BadRequest
from mediaserver.limits import REVIEW_PICTURES_MAX
from mediaserver.recording.sealed import SealedFile

WEBM_BEGINS = b"\x1a\x45\xdf\xa3"  # RFC 8794, the EBML header; what begins otherwise is MP4


class PictureApi:
    def __init__(self, visits: Visits, facade: Facade) -> None:
        self._visits, self._facade = visits, facade

    def routes(self, address: str) -> list[web.RouteDef]:
        call = address + "calls/{id}"
        return [
            web.get(call + "/pictures", self._list),
            web.get(call + "/pictures/{party}/{picture:camera|screen}", self._send, allow_head=False),
            web.get(call + "/preparing", self._preparing),
        ]

    async def _list(self, request: web.Request) -> web.Response:
        who, call = await self._visits.call_of(request, "listen")
        found = [] if who.share is not None else await self._facade.pictures(call.recording_id)
        return web.json_response({"pictures": [{"party": party, "picture": picture} for party, picture in found]})

    async def _send(self, request: web.Request) -> web.StreamResponse:
        who, call = await self._visits.call_of(request, "listen")
        if who.share is not None:
            raise NotFound("a link is for the sound alone")
        asked = {name: request.match_info[name] for name in ("party", "picture")}
        file = await self._facade.film(call.recording_id, "pictures", **asked)
        kind = "webm" if await asyncio.to_thread(_begins, file) == WEBM_BEGINS else "mp4"
        await self._visits.note(who, "watches", call, asked)
        start, _ = asked_range(request, file.size) or (0, 0)
        sent = start

        def told(last: int) -> None:
            nonlocal sent
            sent = last

        try:
            return await send(request, file, told, {"Content-Type": f"video/{kind}"})
        finally:
            if sent > start:
                await self._visits.note(who, "sent", call, {**asked, "bytes": [start, sent], "of": file.size})

    async def _preparing(self, request: web.Request) -> web.Response:
        _, call = await self._visits.call_of(request, "listen")
        return web.json_response({"preparing": self._facade.preparing(call.recording_id)})


def _begins(file: SealedFile) -> bytes:
    return b"".join(file.read(0, min(4, file.size)))


async def played_body(request: web.Request) -> tuple[dict[str, Any], list[str]]:
    """What a player reports as heard, and the pictures ("1-camera") that were beside it. Raises BadRequest."""
    body = await words.body_of(request, ("seconds",), ("pictures",))
    return body, shown_of(body)


def shown_of(body: Mapping[str, Any]) -> list[str]:
    given = body.get("pictures", [])
    if not isinstance(given, list) or len(given) > REVIEW_PICTURES_MAX:
        raise BadRequest(f"pictures must be a list of at most {REVIEW_PICTURES_MAX} names")
    return sorted({words.text_of({"pictures": one}, "pictures", 64) for one in given})
