"""A sealed recording over HTTP: one range at a time, decrypted while it is sent, never whole and never on disk.

Owns Range (RFC 9110 §14; one range, of several none) and tells which bytes went out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from aiohttp import web

from mediaserver.api.answers import SECURITY_HEADERS
from mediaserver.recording.sealed import Window

HEADERS = {"Accept-Ranges": "bytes", "Content-Type": "audio/wav", "Cache-Control": "no-store, private"}


def asked_range(request: web.Request, size: int) -> tuple[int, int] | None:
    """[start, end) of a file of this size; None: nothing of it (416)."""
    try:
        wanted = request.http_range
    except ValueError:
        return None
    start = wanted.start or 0
    start = max(0, size + start) if start < 0 else start
    end = size if wanted.stop is None else min(size, wanted.stop)
    return (start, end) if start < end else None


async def send(request: web.Request, window: Window, told: Callable[[int], None]) -> web.StreamResponse:
    """told: called with the byte after the last that the connection took, also when the player hung up."""
    asked = asked_range(request, window.size)
    if asked is None:
        return web.Response(status=416, headers={**HEADERS, "Content-Range": f"bytes */{window.size}"})
    start, end = asked
    response = web.StreamResponse(status=206 if "Range" in request.headers else 200, headers=HEADERS)
    response.headers.update(SECURITY_HEADERS)
    response.content_length = end - start
    if response.status == 206:
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{window.size}"
    await response.prepare(request)
    pieces, sent = window.read(start, end), start
    try:
        while piece := await asyncio.to_thread(_next, pieces):
            await response.write(piece)
            sent += len(piece)
        await response.write_eof()
    except ConnectionError:
        pass  # a player that jumps elsewhere hangs up
    finally:
        told(sent)
    return response


def _next(pieces: Iterator[bytes]) -> bytes:
    return next(pieces, b"")
