"""What answers have in common: the headers on each, the one shape of those that say no, and the exception that ends a
request with one.
"""

from __future__ import annotations

from aiohttp import web

from mediaserver.api import views

SECURITY_HEADERS = {
    # The desk plays recordings from blobs: it fetches them with its password, which an <audio src> cannot send.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "media-src 'self' blob:; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), display-capture=(self), geolocation=(), payment=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def refusal(status: int, code: str, message: str) -> web.Response:
    return web.json_response(views.error_json(status, code, message), status=status)


class Refused(Exception):
    """Ends a request with this answer."""

    def __init__(self, response: web.Response) -> None:
        super().__init__(response.status)
        self.response = response
