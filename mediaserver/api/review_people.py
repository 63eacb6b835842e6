"""Who is reviewing: sign-in by argon2 password, session cookies, CSRF, roles, queues, and guests by a share link.

Owns the cookie and what a role may do. A cookie is `__Host-` (this host only, HTTPS only), HttpOnly, SameSite=Strict;
a request that changes something must also bring the session's CSRF token, which another site cannot read. What lies in
the database (hashes of cookies and links) opens nothing. Source: RFC 6265bis, RFC 9106 (argon2id).
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import Final, NoReturn

from aiohttp import web
from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error, InvalidHashError

from mediaserver.api.access import FailureLog, Failures
from mediaserver.api.answers import Refused, refusal
from mediaserver.clock import Clock
from mediaserver.limits import (
    REVIEW_FAILURES_LOGGED_PER_MIN_MAX,
    REVIEW_PASSWORD_CHARS_MAX,
    REVIEW_PASSWORD_CHARS_MIN,
    REVIEW_PASSWORDS_AT_ONCE_MAX,
    REVIEW_SESSION_S_MAX,
)
from mediaserver.store.reviewers import Reviewer, ReviewerStore, Session, Share

COOKIE: Final = "__Host-review"
READING = ("GET", "HEAD")
RIGHTS: Final[dict[str, frozenset[str]]] = {
    "qa": frozenset({"find", "listen", "comment", "report"}),
    "supervisor": frozenset({"find", "listen", "comment", "report", "scores", "share", "live", "sample"}),
    "admin": frozenset({"find", "listen", "comment", "report", "scores", "share", "live", "sample", "log", "cards"}),
    "auditor": frozenset({"find", "report", "scores", "log"}),  # sees what was done with recordings, hears none
    "agent": frozenset({"own", "listen"}),  # reviews of his own calls, and these calls
    "guest": frozenset({"listen"}),  # of the one recording of its link
}
_hasher = PasswordHasher()  # argon2id, 64 MiB, three passes: RFC 9106's second choice
# Whoever has no account costs the same time as one who has: names are not told apart by a clock.
_nobody = _hasher.hash(secrets.token_hex(16))


@dataclass(frozen=True, slots=True)
class Who:
    name: str  # in the access log: a reviewer's, or share:ID
    role: str
    queues: tuple[str, ...] | None
    session: Session = field(repr=False)
    share: Share | None = None

    def may(self, right: str) -> bool:
        return right in RIGHTS[self.role]


def hash_password(password: str) -> str:
    """argon2id. Blocking (some 50 ms). Raises ValueError for one too short or too long."""
    if not REVIEW_PASSWORD_CHARS_MIN <= len(password) <= REVIEW_PASSWORD_CHARS_MAX:
        raise ValueError(
            f"a reviewer's password has {REVIEW_PASSWORD_CHARS_MIN} to {REVIEW_PASSWORD_CHARS_MAX} characters"
        )
    return _hasher.hash(password)


def password_fits(password: str, password_hash: str) -> bool:
    """Blocking, as long as hashing."""
    try:
        return _hasher.verify(password_hash, password)
    except (Argon2Error, InvalidHashError, UnicodeEncodeError):
        return False


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


class ReviewGate:
    def __init__(self, store: ReviewerStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._failures = Failures()
        self._log = FailureLog("review sign-in failed", REVIEW_FAILURES_LOGGED_PER_MIN_MAX)
        self._places = asyncio.Semaphore(REVIEW_PASSWORDS_AT_ONCE_MAX)

    def now_ms(self) -> int:
        return round(self._clock.wall() * 1000)

    async def who(self, request: web.Request, right: str) -> Who:
        """Who asks, when they may. Raises Refused: 401 nobody, 403 without the right or the CSRF token."""
        session = await self._session(request)
        found = None if session is None else await self._person(session)
        if session is None or found is None:
            raise Refused(refusal(401, "unauthorized", "sign in first"))
        if request.method not in READING and not hmac.compare_digest(
            request.headers.get("X-CSRF-Token", "").encode("utf-8", "surrogatepass"), session.csrf.encode()
        ):
            raise Refused(refusal(403, "csrf", "a request that changes something needs the session's X-CSRF-Token"))
        if right and not found.may(right):
            raise Refused(refusal(403, "forbidden", f"the role {found.role} may not do this"))
        return found

    async def holds(self, who: Who, right: str) -> bool:
        """The session still is, and its person still may: for what outlives a request. Raises StorageError."""
        session = await self._store.session(who.session.token_sha256, self.now_ms())
        found = None if session is None else await self._person(session)
        return found is not None and found.may(right)

    async def _session(self, request: web.Request) -> Session | None:
        token = request.cookies.get(COOKIE, "")
        return await self._store.session(sha256(token), self.now_ms()) if token else None

    async def _person(self, session: Session) -> Who | None:
        if session.share_id:
            share = await self._store.share(now_ms=self.now_ms(), share_id=session.share_id)
            return None if share is None else Who(f"share:{share.share_id}", "guest", None, session, share)
        reviewer = await self._store.get(session.reviewer)
        return None if reviewer is None else Who(reviewer.name, reviewer.role, reviewer.queues, session)

    async def sign_in(self, request: web.Request, user: str, password: str) -> tuple[Who, str]:
        """The person and the cookie's value. Raises Refused."""
        self.slow_down(request)
        reviewer = await self._store.get(user)
        stored = _nobody if reviewer is None else reviewer.password_hash
        if not await self._fits(request, password, stored) or reviewer is None:
            self._failed(request, "password", reviewer)
        return await self.welcome(reviewer)

    async def welcome(self, reviewer: Reviewer) -> tuple[Who, str]:
        """Whoever has made sure who he is: the person and the cookie's value."""
        return await self._begin(reviewer, None, self.now_ms() + REVIEW_SESSION_S_MAX * 1000)

    async def sign_in_shared(self, request: web.Request, token: str) -> tuple[Who, str]:
        self.slow_down(request)
        share = await self._store.share(now_ms=self.now_ms(), token_sha256=sha256(token))
        if share is None:
            self._failed(request, "link", None)
        return await self._begin(None, share, share.expires_ms)

    async def _begin(self, reviewer: Reviewer | None, share: Share | None, expires_ms: int) -> tuple[Who, str]:
        token = secrets.token_urlsafe(32)
        session = Session(
            token_sha256=sha256(token),
            reviewer="" if reviewer is None else reviewer.name,
            share_id="" if share is None else share.share_id,
            csrf=secrets.token_urlsafe(32),
            expires_ms=expires_ms,
        )
        await self._store.begin(session, self.now_ms())
        who = await self._person(session)
        if who is None:
            raise Refused(refusal(401, "unauthorized", "sign in first"))
        return who, token

    async def change_password(self, request: web.Request, who: Who, old: str, new: str) -> None:
        """All other sessions of this person end. Raises Refused, ValueError."""
        self.slow_down(request)
        reviewer = await self._store.get(who.name)
        if reviewer is None or not await self._fits(request, old, reviewer.password_hash):
            self._failed(request, "old password", reviewer)
        made = await asyncio.to_thread(hash_password, new)
        await self._store.set_password(who.name, made, who.session.token_sha256)

    async def _fits(self, request: web.Request, password: str, stored: str) -> bool:
        """Raises Refused when its source has guessed too often while this one waited."""
        if len(password) > REVIEW_PASSWORD_CHARS_MAX:
            return False
        async with self._places:  # each takes 64 MiB: a crowd of guessers must not take them all at once
            self.slow_down(request)
            return await asyncio.to_thread(password_fits, password, stored)

    def slow_down(self, request: web.Request) -> None:
        """Raises Refused when too much went wrong from there."""
        source, now_ns = request.remote or "", self._clock.now_ns()
        if self._failures.too_many(source, now_ns):
            response = refusal(429, "slow_down", "too many wrong passwords from your address; wait a minute")
            response.headers["Retry-After"] = str(self._failures.retry_after_s(source, now_ns))
            raise Refused(response)

    def failed_elsewhere(self, request: web.Request) -> None:
        """A sign-in that did not fit, judged by somebody else: it slows its source down as a wrong password does."""
        self._failures.add(request.remote or "", self._clock.now_ns())

    def _failed(self, request: web.Request, what: str, reviewer: Reviewer | None) -> NoReturn:
        """A name that is nobody's is not logged: people type their password there."""
        source, now_ns = request.remote or "", self._clock.now_ns()
        self._failures.add(source, now_ns)
        self._log.tell(now_ns, source=source, wrong=what, reviewer="" if reviewer is None else reviewer.name)
        raise Refused(refusal(401, "unauthorized", "wrong name or password, or a link that is over"))


def give_cookie(response: web.Response, token: str, max_age_s: int) -> None:
    response.set_cookie(COOKIE, token, max_age=max_age_s, path="/", secure=True, httponly=True, samesite="Strict")


def take_cookie(response: web.Response) -> None:
    response.del_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
