"""What answers have in common: the headers on each, the one shape of those that say no, and the exception that ends a
request with one.
"""

from __future__ import annotations

import html

from aiohttp import web

from mediaserver.api import views

PAGES = {
    "/": "desk: calls, users, recordings · рабочий стол",
    "/phone": "phone in the browser · телефон в браузере",
    "/qa": "review of recordings · проверка записей",
}

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


def takes_html(request: web.Request) -> bool:
    """Whether a person with a browser asks; programs of ours and of others do not name text/html."""
    return request.method == "GET" and "text/html" in request.headers.get("Accept", "")


def page_not_there(request: web.Request) -> web.Response:
    """404 for a person who mistyped an address: where the pages are, in both languages."""
    links = "".join(
        f'<li><a href="{address}">{address}</a> {html.escape(words)}</li>' for address, words in PAGES.items()
    )
    body = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        "<title>404</title><h1>There is no such page</h1>"
        f'<p>Nothing is at <code>{html.escape(request.path[:200])}</code>.</p><p lang="ru">Такой страницы нет.</p>'
        f"<ul>{links}</ul></html>"
    )
    return web.Response(status=404, text=body, content_type="text/html")


class Refused(Exception):
    """Ends a request with this answer."""

    def __init__(self, response: web.Response) -> None:
        super().__init__(response.status)
        self.response = response
