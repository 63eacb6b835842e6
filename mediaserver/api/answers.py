"""Answers that say no: their one shape, and the exception that ends a request with one."""

from __future__ import annotations

from aiohttp import web

from mediaserver.api import views


def refusal(status: int, code: str, message: str) -> web.Response:
    return web.json_response(views.error_json(status, code, message), status=status)


class Refused(Exception):
    """Ends a request with this answer."""

    def __init__(self, response: web.Response) -> None:
        super().__init__(response.status)
        self.response = response
