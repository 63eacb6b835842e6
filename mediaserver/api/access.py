"""Who may use the API: the admin password by HTTP Basic or as a bearer token, in constant time, guessing slowed.

Sans-I/O: told who asks, what was sent and what time it is. Keeps failures per source address for a minute, in a
table of bounded size. Source: RFC 7617 (Basic), RFC 6750 §2.1 (Bearer).
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
from collections import OrderedDict

import structlog

from mediaserver.limits import API_FAILED_SOURCES_MAX, API_FAILURES_PER_SOURCE_PER_MIN

log = structlog.get_logger()

USER = "admin"
MINUTE_NS = 60 * 1_000_000_000


class Verdict(enum.Enum):
    ALLOWED = "allowed"
    DENIED = "denied"  # 401
    SLOW_DOWN = "slow down"  # 429: too many wrong ones from there, even the right one must wait


class Failures:
    """Who guessed wrong how often within the last minute, by source address."""

    def __init__(self) -> None:
        self._of: OrderedDict[str, tuple[int, int]] = OrderedDict()  # source: (minute began, failures)
        self.total = 0

    def __len__(self) -> int:
        return len(self._of)

    def too_many(self, source: str, now_ns: int) -> bool:
        return self._now(source, now_ns)[1] >= API_FAILURES_PER_SOURCE_PER_MIN

    def add(self, source: str, now_ns: int) -> None:
        began, failures = self._now(source, now_ns)
        self.total += 1
        self._of[source] = (began, failures + 1)
        self._of.move_to_end(source)
        if len(self._of) > API_FAILED_SOURCES_MAX:
            self._of.popitem(last=False)

    def retry_after_s(self, source: str, now_ns: int) -> int:
        began, _failures = self._of.get(source, (now_ns, 0))
        return max(1, (began + MINUTE_NS - now_ns) // 1_000_000_000 + 1)

    def _now(self, source: str, now_ns: int) -> tuple[int, int]:
        began, failures = self._of.get(source, (now_ns, 0))
        return (now_ns, 0) if now_ns - began >= MINUTE_NS else (began, failures)


class Gate:
    def __init__(self, password: str) -> None:
        """An empty password lets nobody in."""
        self._wanted = _digest(password) if password else None
        self._failures = Failures()

    @property
    def failures_total(self) -> int:
        return self._failures.total

    def check(self, authorization: str | None, source: str, now_ns: int) -> Verdict:
        """authorization: the header's value. source: the peer's address."""
        if self._failures.too_many(source, now_ns):
            return Verdict.SLOW_DOWN
        given = password_in(authorization)
        # The digests are compared, not the texts: they are of one length, and compare_digest takes no shortcut.
        if given is not None and self._wanted is not None and hmac.compare_digest(_digest(given), self._wanted):
            return Verdict.ALLOWED
        if authorization is not None:  # a browser's first request carries nothing: no guess
            self._failures.add(source, now_ns)
        return Verdict.DENIED

    def retry_after_s(self, source: str, now_ns: int) -> int:
        return self._failures.retry_after_s(source, now_ns)


class FailureLog:
    """A log line for each failure, a bounded number in a minute; the next line says how many were left out."""

    def __init__(self, event: str, per_minute_max: int) -> None:
        self._event, self._most = event, per_minute_max
        self._minute, self._told, self._left_out = -1, 0, 0

    def tell(self, now_ns: int, **facts: str) -> None:
        """facts: nothing that a stranger chose, and nothing secret."""
        minute = now_ns // MINUTE_NS
        if minute != self._minute:
            self._minute, self._told = minute, 0
        if self._told >= self._most:
            self._left_out += 1
            return
        self._told += 1
        more = {"left_out": self._left_out} if self._left_out else {}
        self._left_out = 0
        log.warning(self._event, **facts, **more)


def _digest(password: str) -> bytes:
    return hashlib.sha256(password.encode("utf-8", "surrogatepass")).digest()


def password_in(authorization: str | None) -> str | None:
    """The password in an Authorization header for our user, None when there is none or it is malformed."""
    scheme, _, rest = (authorization or "").partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(rest.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        return None
    return password if colon and user == USER else None
