"""Who comes in without the admin password: a bearer token in a request, or a SIP user's name and password for one.

Owns the slowing of guesses per source address and the answers to who is not let in. What a token says stands in
`tokens`; the password is compared with the hashes the registrar uses.
"""

from __future__ import annotations

import hmac
import time

from aiohttp import web

from mediaserver.api.access import Failures
from mediaserver.api.answers import Refused, refusal
from mediaserver.api.tokens import Grant, Right, TokenRefused, Tokens
from mediaserver.sip.auth import UserDirectory, make_credentials


class Doorkeeper:
    def __init__(self, tokens: Tokens, users: UserDirectory, realm: str) -> None:
        self.tokens = tokens
        self._users = users
        self._realm = realm
        self._failures = Failures()
        self._nobody = make_credentials("nobody", realm, "")  # compared with when there is no such user

    @property
    def failures_total(self) -> int:
        return self._failures.total

    def bearer(self, request: web.Request) -> Grant:
        """The grant of the request's token. Raises Refused: 401 with the challenge of RFC 6750 §3, or 429."""
        self._slow_down(request)
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            self.tokens.refused["missing"] += 1
            raise Refused(_challenge("a bearer token is needed; get one with POST /api/v1/session", ""))
        return self.check(request, token.strip())

    def check(self, request: web.Request, token: str) -> Grant:
        """Raises Refused."""
        self._slow_down(request)
        try:
            return self.tokens.verify(token)
        except TokenRefused as error:
            if error.reason != "expired":  # an honest client that comes late guesses nothing
                self._failures.add(_source(request), time.monotonic_ns())
            raise Refused(_challenge(str(error), "invalid_token")) from error

    def demand(self, grant: Grant, right: Right, number: str | None = None) -> None:
        """Raises Refused (403), counted."""
        try:
            grant.demand(right)
            if number is not None:
                grant.demand_number(number)
        except TokenRefused as error:
            self.tokens.refused[error.reason] += 1
            response = refusal(403, "forbidden", str(error))
            response.headers["WWW-Authenticate"] = 'Bearer error="insufficient_scope"'
            raise Refused(response) from error

    def sign_in(self, request: web.Request, user: str, password: str) -> None:
        """Checks a SIP user's password. Raises Refused: 401, 429. Takes as long for a user that does not exist."""
        self._slow_down(request)
        known = self._users.credentials(user)
        wanted = known or self._nobody
        try:
            given = make_credentials(user, wanted.realm, password)
        except ValueError:
            given = self._nobody
        same = hmac.compare_digest(given.ha1_sha256, wanted.ha1_sha256)
        if known is None or not same or known.realm != self._realm:
            self._failures.add(_source(request), time.monotonic_ns())
            self.tokens.refused["password"] += 1
            raise Refused(refusal(401, "unauthorized", "no such user, or another password"))

    def _slow_down(self, request: web.Request) -> None:
        source, now_ns = _source(request), time.monotonic_ns()
        if self._failures.too_many(source, now_ns):
            response = refusal(429, "slow_down", "too many wrong passwords or tokens from your address")
            response.headers["Retry-After"] = str(self._failures.retry_after_s(source, now_ns))
            raise Refused(response)


def _source(request: web.Request) -> str:
    return request.remote or ""


def _challenge(text: str, error: str) -> web.Response:
    response = refusal(401, "unauthorized", text)
    response.headers["WWW-Authenticate"] = 'Bearer realm="mediaserver"' + (f', error="{error}"' if error else "")
    return response
