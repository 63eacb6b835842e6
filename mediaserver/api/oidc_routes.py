"""Signing in to the review page by an OpenID Connect issuer: the way there, the way back, and whom we take.

Owns attempts under way (each good once, in the browser that began it) and the mapping from what the issuer says to a
reviewer. Whoever may come stands either in our own list, or is taken by a claim that names roles; a name is bound to
the issuer's subject that came first under it. Every way back ends at /qa: no address of a request leads anywhere else.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import structlog
from aiohttp import web

from mediaserver.api.oidc import Attempt, Issuer, OidcRefused, OidcUnavailable
from mediaserver.api.review_people import ReviewGate, Who, give_cookie
from mediaserver.limits import OIDC_ATTEMPT_S_MAX, OIDC_ATTEMPTS_MAX, OIDC_ATTEMPTS_PER_SOURCE_MAX, OIDC_CHARS_MAX
from mediaserver.store.reviewers import FROM_ISSUER, Reviewer, ReviewerStore, check_new_reviewer

log = structlog.get_logger()
COOKIE: Final = "__Host-review-oidc"
# Why it came to nothing: what the page may say of it. All else stands in the server's log.
AGAIN, REFUSED, UNKNOWN, UNAVAILABLE = "again", "refused", "unknown", "unavailable"


@dataclass(frozen=True, slots=True)
class _Begun:
    """binding: SHA-256 of the cookie in the browser that began."""

    attempt: Attempt
    binding: str
    source: str
    until_ms: int


class OidcApi:
    def __init__(
        self,
        issuer: Issuer,
        gate: ReviewGate,
        people: ReviewerStore,
        note: Callable[[Who, str], Awaitable[None]],
    ) -> None:
        """note: into the access log."""
        self._issuer, self._gate, self._people, self._note = issuer, gate, people, note
        self._settings = issuer.settings
        self._attempts: OrderedDict[str, _Begun] = OrderedDict()  # by state, the oldest first

    def routes(self, address: str) -> list[web.RouteDef]:
        return [web.get(address + "oidc/begin", self._begin), web.get(address + "oidc/back", self._back)]

    @property
    def shown_as(self) -> str:
        return self._settings.name

    async def leaving(self, who: Who) -> str:
        """Where somebody who came by the issuer goes to sign out there, too; "": nowhere."""
        reviewer = await self._people.get(who.name)
        return await self._issuer.leaving() if reviewer is not None and reviewer.from_issuer else ""

    async def _begin(self, request: web.Request) -> web.Response:
        attempt = Attempt(*(secrets.token_urlsafe(32) for _ in range(3)))
        try:
            where = await self._issuer.address(attempt)
        except (OidcRefused, OidcUnavailable) as error:
            return self._over(request, UNAVAILABLE, str(error))
        binding = secrets.token_urlsafe(32)
        self._keep(attempt, binding, request.remote or "")
        response = web.Response(status=302, headers={"Location": where, "Cache-Control": "no-store"})
        # Lax: the issuer's page sends the browser back here, which Strict would keep it from.
        response.set_cookie(
            COOKIE, binding, max_age=OIDC_ATTEMPT_S_MAX, path="/", secure=True, httponly=True, samesite="Lax"
        )
        return response

    def _keep(self, attempt: Attempt, binding: str, source: str) -> None:
        """Whoever begins without end pushes out his own attempts first."""
        now_ms = self._gate.now_ms()
        for state in [state for state, one in self._attempts.items() if one.until_ms < now_ms]:
            del self._attempts[state]
        own = [state for state, one in self._attempts.items() if one.source == source]
        if len(own) >= OIDC_ATTEMPTS_PER_SOURCE_MAX:
            del self._attempts[own[0]]
        elif len(self._attempts) >= OIDC_ATTEMPTS_MAX:
            self._attempts.popitem(last=False)
        self._attempts[attempt.state] = _Begun(attempt, _digest(binding), source, now_ms + OIDC_ATTEMPT_S_MAX * 1000)

    async def _back(self, request: web.Request) -> web.Response:
        """Of what the address brings nothing is shown or logged but that it did not fit."""
        self._gate.slow_down(request)
        attempt = self._take(request)
        if attempt is None:
            return self._over(request, AGAIN, "no sign-in of this browser waits for that state")
        code, error = request.query.get("code", ""), request.query.get("error", "")
        if error or not 0 < len(code) <= OIDC_CHARS_MAX:
            return self._over(request, REFUSED, "the issuer let nobody in")
        try:
            claims = await self._issuer.identify(code, attempt, request.query.get("iss", ""))
        except OidcUnavailable as trouble:
            return self._over(request, UNAVAILABLE, str(trouble))
        except OidcRefused as refused:
            self._gate.failed_elsewhere(request)
            return self._over(request, REFUSED, str(refused))
        reviewer, why = await self._reviewer(claims)
        if reviewer is None:
            return self._over(request, UNKNOWN, why)
        who, token = await self._gate.welcome(reviewer)
        await self._note(who, "signed in")
        response = _to_page("")
        give_cookie(response, token, max(1, (who.session.expires_ms - self._gate.now_ms()) // 1000))
        return response

    def _take(self, request: web.Request) -> Attempt | None:
        """The attempt that this browser began; it is good once."""
        begun = self._attempts.get(request.query.get("state", ""))
        given = request.cookies.get(COOKIE, "")
        if begun is None or not given or not hmac.compare_digest(_digest(given), begun.binding):
            return None
        del self._attempts[begun.attempt.state]
        return begun.attempt if begun.until_ms >= self._gate.now_ms() else None

    def _over(self, request: web.Request, reason: str, why: str) -> web.Response:
        log.warning("review sign-in by issuer failed", source=request.remote or "", reason=reason, why=why)
        return _to_page(f"#sign-in={reason}")

    # -- whom we take

    async def _reviewer(self, claims: Mapping[str, Any]) -> tuple[Reviewer | None, str]:
        """Who signs in; else None and why not."""
        settings, name = self._settings, claims.get(self._settings.name_claim)
        if not isinstance(name, str):
            return None, f"the ID token has no text {settings.name_claim}"
        if settings.name_claim == "email" and claims.get("email_verified") is not True:
            return None, "the issuer has not verified that address"
        subject = FROM_ISSUER + _digest(f"{settings.issuer}\n{claims['sub']}")
        known = await self._people.get(name)
        if known is not None and not known.from_issuer:
            return None, "that name has a password here: only an administrator can hand it to the issuer"
        if known is not None and known.password_hash not in (FROM_ISSUER, subject):
            return None, "that name is bound to another person at the issuer"
        try:
            wanted = self._mapped(name, subject, claims, known)
        except ValueError as error:
            return None, str(error)
        if wanted is None:
            if known is not None and settings.role_claim:  # he had one
                await self._people.end_all(known.name)
            return None, "nobody of that name is in our list" if not settings.role_claim else "no role is for him"
        if known is None:
            try:
                await self._people.add(wanted)
            except ValueError:
                return None, "that name came twice at the same moment"
        elif known != wanted:
            await self._people.change(wanted)
        return wanted, ""

    def _mapped(self, name: str, subject: str, claims: Mapping[str, Any], known: Reviewer | None) -> Reviewer | None:
        """Raises ValueError for a name that no reviewer may have."""
        settings = self._settings
        if not settings.role_claim:
            return None if known is None else replace(known, password_hash=subject)
        given = claims.get(settings.role_claim)
        held = {one for one in (given if isinstance(given, list) else [given]) if isinstance(one, str)}
        roles = [role for value, role in settings.roles.items() if value in held]
        if not roles:
            return None
        queues = None
        if settings.queues:  # then nobody sees what he was not given
            queues = tuple(dict.fromkeys(q for value, names in settings.queues.items() if value in held for q in names))
        created_ms = self._gate.now_ms() if known is None else known.created_ms
        return Reviewer(name if known is not None else check_new_reviewer(name), subject, roles[0], queues, created_ms)


def _to_page(fragment: str) -> web.Response:
    response = web.Response(status=302, headers={"Location": f"/qa{fragment}", "Cache-Control": "no-store"})
    response.del_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Lax")
    return response


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
