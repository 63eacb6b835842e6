"""What a WHEP viewer is told of its picture: server-sent events `active`, `inactive` and `layers`.

The extension of draft-ietf-wish-whep: a POST to the session's `sse` address names the events wanted, and makes the
address of their stream. That address has no token: an EventSource can send none, and nobody guesses it. What is shown,
and which simulcast streams there are, is looked up; nothing waits for a reader who is slow.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from typing import Any, Final

from aiohttp import web

from mediaserver.api.answers import Refused, refusal
from mediaserver.calls.picture_choice import PictureChoice, PictureShown
from mediaserver.limits import (
    WHEP_CHOICE_BYTES_MAX,
    WHEP_EVENTS_ALIVE_S,
    WHEP_EVENTS_LOOK_S,
    WHEP_EVENTS_WRITE_S_MAX,
)

EVENTS_EXTENSION: Final = "urn:ietf:params:whep:ext:core:server-sent-events"
EVENTS: Final = ("active", "inactive", "layers")  # of the draft's; viewercount is nobody else's business
EVENTS_TYPE: Final = "application/json"
_NO_LAYER_ID: Final = 255  # the draft's word for "not told apart": spatial and temporal layers are inside one stream


class ViewerEvents:
    """The event stream of one viewer; a later one takes its place."""

    def __init__(self, picture: PictureChoice) -> None:
        self._picture = picture
        self.key = ""  # last part of the stream's address; "": none was asked for
        self._wanted: frozenset[str] = frozenset()
        self._over = asyncio.Event()

    async def subscribe(self, request: web.Request) -> str:
        """The new stream's key. Raises Refused."""
        if request.content_type != EVENTS_TYPE:
            raise Refused(refusal(415, "unsupported_media_type", f"the body must be {EVENTS_TYPE}"))
        body = await request.read()
        try:
            wanted = json.loads(body) if 0 < len(body) <= WHEP_CHOICE_BYTES_MAX else None
        except (ValueError, RecursionError):
            wanted = None
        if not isinstance(wanted, list) or not wanted or not all(isinstance(name, str) for name in wanted):
            raise Refused(refusal(400, "bad_request", f"the body must be a list of events: {', '.join(EVENTS)}"))
        self.close()
        self._wanted = frozenset(wanted) & frozenset(EVENTS)  # others are of drafts we do not know
        self.key = secrets.token_urlsafe(16)
        self._over = asyncio.Event()
        return self.key

    def close(self) -> None:
        """The session is over, or the stream's place is taken."""
        self.key = ""
        self._over.set()

    async def serve(self, request: web.Request, response: web.StreamResponse) -> None:
        """Until the client goes, the session ends, another stream takes the place, or the client reads too slowly."""
        over = self._over
        response.content_type = "text/event-stream"
        response.headers["Cache-Control"] = "no-store"
        response.headers["X-Accel-Buffering"] = "no"
        await response.prepare(request)
        told: dict[str, Any] = {}
        silent_s = 0.0
        try:
            while not over.is_set():
                lines = self._news(told)
                silent_s = 0.0 if lines else silent_s + WHEP_EVENTS_LOOK_S
                if not lines and silent_s >= WHEP_EVENTS_ALIVE_S:
                    lines, silent_s = ":\n\n", 0.0  # a comment: proxies close what is silent
                if lines:
                    async with asyncio.timeout(WHEP_EVENTS_WRITE_S_MAX):
                        await response.write(lines.encode())
                try:
                    async with asyncio.timeout(WHEP_EVENTS_LOOK_S):
                        await over.wait()
                except TimeoutError:
                    if request.transport is None:
                        return
        except (TimeoutError, ConnectionResetError):
            return

    def _news(self, told: dict[str, Any]) -> str:
        """What has changed since it was told, as an event stream has it."""
        shown = self._picture.look()
        state = "inactive" if shown is None else "active"
        lines = ""
        if told.get("state") != state:
            told["state"] = state
            lines += self._event(state, {})
        layers = None if shown is None else (shown.participant, shown.rid, [rid for rid, _ in shown.streams])
        if shown is not None and told.get("layers") != layers:
            lines += self._event("layers", {shown.mid: _layers(shown)})
        told["layers"] = layers
        return lines

    def _event(self, name: str, data: dict[str, Any]) -> str:
        return f"event: {name}\ndata: {json.dumps(data)}\n\n" if name in self._wanted else ""


def _layers(shown: PictureShown) -> dict[str, Any]:
    """Of one m-section. layers: those that may be chosen; active, inactive: whether they are sent at present."""
    sent = dict(shown.streams)
    named = list(enumerate(shown.rids))
    return {
        "participant": shown.participant,
        "shown": shown.rid,
        "active": [{"id": rid, "simulcastIdx": number, "bitrate": sent[rid]} for number, rid in named if rid in sent],
        "inactive": [{"id": rid, "simulcastIdx": number} for number, rid in named if rid not in sent],
        "layers": [
            {
                "encodingId": rid,
                "simulcastIdx": number,
                "spatialLayerId": _NO_LAYER_ID,
                "temporalLayerId": _NO_LAYER_ID,
                "bitrate": sent[rid],
            }
            for number, rid in named
            if rid in sent
        ],
    }
