"""Digest authentication of those who call us, RFC 7616 and RFC 8760 as RFC 3261 §22 uses them.

Owns nonces, replay protection, the verdict on credentials and the count of failed attempts per source. Asks a
`UserDirectory` for hashes; keeps no users, no sockets. Answering a peer's challenge lives in `auth_client`.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from mediaserver.errors import ParseError
from mediaserver.limits import SIP_AUTH_SOURCES_MAX, SIP_NONCES_MAX
from mediaserver.sip import digest
from mediaserver.sip.digest import ALGORITHMS, MD5, SHA256, Answer, Challenge

_NS: Final = 1_000_000_000
_NC_WINDOW: Final = 64  # nonce counts that may overtake each other on UDP; older ones are replays

# Clients that give up on the whole response when one of several challenges is not MD5, instead of taking the one they
# know as RFC 3261 §22.1 asks: libre before 3.12, SIPp before 3.7, JsSIP, SIP.js, Twinkle. These get MD5 alone.
_MD5_ONLY_AGENTS: Final = ("baresip v0.", "baresip v1.", "baresip v2.", "sipp", "jssip", "sip.js/", "twinkle/")


@dataclass(frozen=True, slots=True)
class Credentials:
    """What is stored of a user: enough to verify a digest, not the password. Hex is lower case."""

    name: str
    realm: str
    ha1_sha256: str = field(repr=False)
    ha1_md5: str = field(repr=False)
    display_name: str = ""

    def ha1(self, algorithm: str) -> str:
        return self.ha1_sha256 if algorithm == SHA256 else self.ha1_md5


class UserDirectory(Protocol):
    """Look-up without waiting: whoever keeps users in a database keeps a view of them in memory."""

    def credentials(self, name: str) -> Credentials | None: ...


def make_credentials(name: str, realm: str, password: str, display_name: str = "") -> Credentials:
    """Hashes for the store. Raises ValueError for a name that digest or a SIP URI cannot carry."""
    if not name or any(c in name for c in ':"\\@<>; \t\r\n'):
        raise ValueError(
            f'user name {name!r} is empty or holds one of : " \\ @ < > ; or a space; use letters and digits'
        )
    return Credentials(
        name=name,
        realm=realm,
        ha1_sha256=digest.ha1(SHA256, name, realm, password),
        ha1_md5=digest.ha1(MD5, name, realm, password),
        display_name=display_name,
    )


class Verdict(enum.Enum):
    ACCEPTED = "accepted"
    CHALLENGE = "challenge"  # answer 401 or 407 with `AuthResult.challenges`
    SILENT = "silent"  # too many failures from this source: answer nothing until the minute is over
    MALFORMED = "malformed"  # 400


@dataclass(frozen=True, slots=True)
class AuthResult:
    verdict: Verdict
    user: str | None = None  # set when accepted
    challenges: tuple[str, ...] = ()  # header values, strongest first
    failed: bool = False  # credentials were there and wrong
    stale: bool = False


class NonceKeeper:
    """Nonces we can verify without having stored them, and the counts seen of those in use.

    A nonce is time, salt and HMAC: base64url(issued_ns 8 bytes · salt 8 bytes · tag 16 bytes). Only a nonce that
    verified credentials gets a row in the table of counts; the oldest row makes place for a new one, and whatever was
    issued no later than a row that was given up is stale, so a dropped row never opens the door to a replay.
    """

    def __init__(self, lifetime_ns: int, entropy: Callable[[int], bytes], rows_max: int = SIP_NONCES_MAX) -> None:
        self._lifetime_ns = lifetime_ns
        self._entropy = entropy
        self._key = entropy(32)
        self._rows_max = rows_max
        self._seen: dict[str, tuple[int, int, int]] = {}  # nonce -> issued_ns, highest count, bit map of those below
        self._forgotten_ns = -1  # newest issue time among rows given up

    def __len__(self) -> int:
        return len(self._seen)

    def issue(self, now_ns: int) -> str:
        raw = now_ns.to_bytes(8, "big") + self._entropy(8)
        return base64.urlsafe_b64encode(raw + self._tag(raw)).decode().rstrip("=")

    def issued_ns(self, nonce: str) -> int | None:
        """When we issued it; None: not ours."""
        try:
            raw = base64.b64decode(nonce + "=" * (-len(nonce) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            return None
        if len(raw) != 32 or not hmac.compare_digest(self._tag(raw[:16]), raw[16:]):
            return None
        return int.from_bytes(raw[:8], "big")

    def alive(self, issued_ns: int, now_ns: int) -> bool:
        return 0 <= now_ns - issued_ns < self._lifetime_ns

    def use(self, nonce: str, issued_ns: int, count: int, now_ns: int) -> bool:
        """Take one count of a nonce; False: seen before, too old for the window, or the nonce was given up."""
        row = self._seen.get(nonce)
        if row is None:
            if issued_ns <= self._forgotten_ns or count < 1:
                return False
            self._make_room(now_ns)
            self._seen[nonce] = (issued_ns, count, 1)
            return True
        _, highest, seen = row
        if count > highest:
            shift = min(count - highest, _NC_WINDOW)
            self._seen[nonce] = (issued_ns, count, (seen << shift | 1) & ((1 << _NC_WINDOW) - 1))
            return True
        behind = highest - count
        if count < 1 or behind >= _NC_WINDOW or seen >> behind & 1:
            return False
        self._seen[nonce] = (issued_ns, highest, seen | 1 << behind)
        return True

    def _make_room(self, now_ns: int) -> None:
        for nonce in list(self._seen)[:2]:  # rows are in order of first use: two out for one in empties the dead
            if not self.alive(self._seen[nonce][0], now_ns):
                del self._seen[nonce]
        while len(self._seen) >= self._rows_max:
            issued_ns, _, _ = self._seen.pop(next(iter(self._seen)))
            self._forgotten_ns = max(self._forgotten_ns, issued_ns)

    def _tag(self, raw: bytes) -> bytes:
        return hmac.new(self._key, raw, hashlib.sha256).digest()[:16]


class FailureCounter:
    """Failed attempts per source address in windows of one minute. A full table drops the oldest window."""

    WINDOW_NS: Final = 60 * _NS

    def __init__(self, per_minute_max: int, rows_max: int = SIP_AUTH_SOURCES_MAX) -> None:
        self._max = per_minute_max
        self._rows_max = rows_max
        self._rows: dict[str, tuple[int, int]] = {}  # source -> start of window, failures

    def __len__(self) -> int:
        return len(self._rows)

    def silenced(self, source: str, now_ns: int) -> bool:
        row = self._rows.get(source)
        if row is None:
            return False
        if now_ns - row[0] >= self.WINDOW_NS:
            del self._rows[source]
            return False
        return row[1] >= self._max

    def add(self, source: str, now_ns: int) -> None:
        start_ns, failures = self._rows.get(source, (now_ns, 0))
        if now_ns - start_ns >= self.WINDOW_NS:
            self._rows.pop(source, None)
            start_ns, failures = now_ns, 0
        if source not in self._rows and len(self._rows) >= self._rows_max:
            del self._rows[next(iter(self._rows))]
        self._rows[source] = (start_ns, failures + 1)


class Authenticator:
    """The verdict on one request's credentials. One per realm and server."""

    def __init__(
        self,
        realm: str,
        users: UserDirectory,
        *,
        entropy: Callable[[int], bytes],
        nonce_lifetime_s: int = 300,
        failures_per_source_per_min: int = 60,
    ) -> None:
        self.realm = realm
        self._users = users
        self._nonces = NonceKeeper(nonce_lifetime_s * _NS, entropy)
        self._failures = FailureCounter(failures_per_source_per_min)
        self._dummy_key = entropy(32)
        # sources that came back without credentials after being offered both algorithms; value: how often
        self._unanswered: dict[tuple[str, str], int] = {}
        self.accepted = 0
        self.failed = 0
        self.silenced = 0

    def check(
        self,
        method: str,
        authorization: Sequence[str],
        *,
        source: str,
        now_ns: int,
        body: bytes = b"",
        user_agent: str = "",
        claimed_user: str = "",
        users: UserDirectory | None = None,
    ) -> AuthResult:
        """Judge the Authorization (or Proxy-Authorization) values of one request.

        source: the peer's address without port. users: another directory than the constructor's (trunks).
        A wrong password and an unknown user cost the same time and get the same answer.
        """
        if self._failures.silenced(source, now_ns):
            self.silenced += 1
            return AuthResult(Verdict.SILENT)
        try:
            answers = [a for a in map(digest.parse_answer, authorization) if a is not None and a.realm == self.realm]
        except ParseError:
            return AuthResult(Verdict.MALFORMED)
        if not answers:
            md5_only = self._speaks_md5_only(source, user_agent, claimed_user)
            return self._challenge(now_ns, stale=False, failed=False, md5_only=md5_only)
        self._unanswered.pop((source, claimed_user), None)
        stale = False
        for answer in answers:
            good, fresh = self._verify(answer, users or self._users, method, body, now_ns)
            if good and fresh:
                self.accepted += 1
                return AuthResult(Verdict.ACCEPTED, user=answer.username)
            stale = stale or good
        if not stale:
            self.failed += 1
            self._failures.add(source, now_ns)
        md5_only = all(a.algorithm == MD5 for a in answers)  # it has shown what it speaks
        return self._challenge(now_ns, stale=stale, failed=not stale, md5_only=md5_only)

    def _verify(self, answer: Answer, users: UserDirectory, method: str, body: bytes, now_ns: int) -> tuple[bool, bool]:
        """(the sender knows the password, and the nonce with its count is fresh)."""
        stored = users.credentials(answer.username)
        known = stored is not None and stored.realm == self.realm
        expected_ha1 = stored.ha1(answer.algorithm) if stored is not None and known else self._dummy(answer)
        expected = digest.response_hex(answer, expected_ha1, method, body)
        right = hmac.compare_digest(expected.encode(), answer.response.encode("utf-8", "surrogateescape"))
        issued_ns = self._nonces.issued_ns(answer.nonce)
        if not (right and known) or answer.qop not in ("auth", "auth-int"):
            return False, False
        if issued_ns is None:  # not ours: perhaps from before a restart; the password was right
            return True, False
        count = int(answer.nc, 16) if _is_nc(answer.nc) else 0
        alive = self._nonces.alive(issued_ns, now_ns)
        return True, alive and self._nonces.use(answer.nonce, issued_ns, count, now_ns)

    def _dummy(self, answer: Answer) -> str:
        return hmac.new(self._dummy_key, answer.username.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()

    def _speaks_md5_only(self, source: str, user_agent: str, claimed_user: str) -> bool:
        """True for clients that stumble over the SHA-256 challenge: known ones, and any that came back empty-handed."""
        if user_agent.lower().startswith(_MD5_ONLY_AGENTS):
            return True
        key = (source, claimed_user)
        times = self._unanswered.pop(key, 0)
        if len(self._unanswered) >= SIP_AUTH_SOURCES_MAX:
            del self._unanswered[next(iter(self._unanswered))]
        self._unanswered[key] = times + 1
        return times % 2 == 1  # both, MD5 alone, both …: neither kind of client is ever shut out

    def _challenge(self, now_ns: int, *, stale: bool, failed: bool, md5_only: bool) -> AuthResult:
        nonce = self._nonces.issue(now_ns)
        algorithms = (MD5,) if md5_only else ALGORITHMS
        values = tuple(Challenge(self.realm, nonce, a, stale=stale).encode() for a in algorithms)
        return AuthResult(Verdict.CHALLENGE, challenges=values, failed=failed, stale=stale)


def _is_nc(text: str) -> bool:
    return len(text) == 8 and all(c in "0123456789abcdefABCDEF" for c in text)
