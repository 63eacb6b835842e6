"""What is sealed over HTTP: one range at a time, decrypted while it is sent, never whole and never on disk.

Owns Range (RFC 9110 §14; one range, of several none) and tells which bytes went out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import structlog
from aiohttp import web

from mediaserver.api.answers import SECURITY_HEADERS
from mediaserver.errors import StorageError

log = structlog.get_logger(__name__)

HEADERS = {"Accept-Ranges": "bytes", "Cache-Control": "no-store, private"}
WAV = {"Content-Type": "audio/wav"}


class Sealed(Protocol):
    @property
    def size(self) -> int:
        """Bytes in the clear."""
        ...

    async def ready(self, at: int) -> None:
        """Waits until byte `at` can be read. Raises StorageError if it never can."""
        ...

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Pieces, each of them ready when it is asked for. Blocking."""
        ...


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


async def send(
    request: web.Request,
    sealed: Sealed,
    told: Callable[[int], None] = lambda _last: None,
    headers: Mapping[str, str] = WAV,
) -> web.StreamResponse:
    """told: called with the byte after the last that the connection took, also when the player hung up."""
    asked = asked_range(request, sealed.size)
    if asked is None:
        return web.Response(status=416, headers={**HEADERS, **headers, "Content-Range": f"bytes */{sealed.size}"})
    start, end = asked
    if request.method != "HEAD":
        await sealed.ready(start)  # what cannot be had is told by a status
    response = web.StreamResponse(status=206 if "Range" in request.headers else 200, headers={**HEADERS, **headers})
    response.headers.update(SECURITY_HEADERS)
    response.content_length = end - start
    if response.status == 206:
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{sealed.size}"
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    pieces, sent = sealed.read(start, end), start
    try:
        while sent < end:
            await sealed.ready(sent)
            piece = await asyncio.to_thread(next, pieces)
            await response.write(piece)
            sent += len(piece)
        await response.write_eof()
    except ConnectionError:
        pass  # a player that jumps elsewhere hangs up
    except StorageError as error:  # too late for a status: the player sees that something is missing
        log.warning("sealed.broken_off", error=str(error))
        if request.transport is not None:
            request.transport.abort()
    finally:
        told(sent)
    return response
