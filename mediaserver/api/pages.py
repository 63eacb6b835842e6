"""The pages over HTTP: which addresses there are, conditional requests, compression. What they hold stands in `web`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import ETag, web

from mediaserver.web.assets import Asset


def page_routes(assets: Mapping[str, Asset]) -> list[web.RouteDef]:
    """One exact route for each file: what is not among them is a 404 of the router."""
    return [web.get(address, _answers(asset)) for address, asset in assets.items()]


def _answers(asset: Asset) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        packed = takes_gzip(request.headers.get("Accept-Encoding", ""))
        # Another coding is another representation, which wants a tag of its own (RFC 9110 §8.8.3).
        tag = f"{asset.etag}-gzip" if packed else asset.etag
        response = web.Response()
        response.etag = ETag(tag)
        response.headers["Cache-Control"] = asset.cache_control
        response.headers["Vary"] = "Accept-Encoding"
        if any(known.value in (tag, "*") for known in request.if_none_match or ()):
            response.set_status(304)
            return response
        response.content_type, response.charset = asset.content_type, "utf-8"
        if packed:
            response.headers["Content-Encoding"] = "gzip"
        response.body = asset.gzipped if packed else asset.body
        return response

    return answer


def takes_gzip(accept_encoding: str) -> bool:
    """Whether the header names gzip without refusing it (RFC 9110 §12.5.3)."""
    for part in accept_encoding.lower().split(","):
        coding, _, weight = part.partition(";")
        if coding.strip() in ("gzip", "x-gzip"):
            return weight.replace(" ", "").removeprefix("q=") not in ("0", "0.0", "0.00", "0.000")
    return False
