"""Bearer tokens of those who come in by a page, WHIP or WHEP: short-lived, signed, bound to a user or a number.

JSON Web Tokens (RFC 7519) with HMAC-SHA256 and one audience. Owns the keys (a private file in data_dir, a new key every
`tokens.key_days`, the former ones kept as long as a token of theirs can live) and what a token says. A token of a user
ends with the user and with his password. Never logs a token; knows no HTTP.
"""

from __future__ import annotations

import base64
import binascii
import enum
import hashlib
import hmac
import json
import secrets
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jwt
import structlog

from mediaserver.bootstrap import write_private
from mediaserver.clock import Clock
from mediaserver.errors import ConfigError, MediaServerError
from mediaserver.limits import TOKEN_CHARS_MAX, TOKEN_KEYS_MAX
from mediaserver.settings import TokenSettings

log = structlog.get_logger()
KEYS_NAME = "token-keys.json"
_DAY_S = 86_400.0
_KEY_BYTES = 32  # of HS256, RFC 7518 §3.2
_ALGORITHM = "HS256"


class Right(enum.StrEnum):
    PUBLISH = "publish"  # be heard and seen
    SUBSCRIBE = "subscribe"  # hear and see
    RECORD = "record"  # agrees to be recorded where the route says so
    MODERATE = "moderate"  # mute and remove others in a room


class TokenRefused(MediaServerError):
    """status: 401 for a token that is none or no longer one, 403 for one that does not allow this."""

    def __init__(self, status: int, reason: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.reason = reason  # of a fixed set, for counting


@dataclass(frozen=True, slots=True)
class Grant:
    """What a token allows. user: acts as this SIP user; None: a guest. number: the only one he may reach."""

    user: str | None
    number: str | None
    rights: frozenset[Right]
    expires: float  # wall seconds
    name: str = ""  # a guest's, shown to others
    token_id: str = ""
    stamp: str = field(default="", repr=False, compare=False)  # of the user's password when it was issued or shown

    @property
    def shown_as(self) -> str:
        return self.user or self.name or "guest"

    def demand(self, right: Right) -> None:
        """Raises TokenRefused (403)."""
        if right not in self.rights:
            raise TokenRefused(403, "right", f"the token lacks the right {right.value!r}")

    def demand_number(self, number: str) -> None:
        """Raises TokenRefused (403)."""
        if self.number is not None and number != self.number:
            raise TokenRefused(403, "number", "the token is for another room or number")


@dataclass(frozen=True, slots=True)
class _Key:
    key_id: str
    secret: bytes = field(repr=False)
    made: float


class Tokens:
    """`load` first. stamp: a secret of the user that changes with his password; None: there is no such user."""

    def __init__(
        self,
        settings: TokenSettings,
        folder: Path,
        clock: Clock,
        *,
        audience: str,
        stamp: Callable[[str], str | None],
    ) -> None:
        self._settings = settings
        self._path = folder / KEYS_NAME
        self._clock = clock
        self._audience = f"mediaserver:{audience}"
        self._stamp = stamp
        self._keys: list[_Key] = []  # oldest first; the last one signs
        self.issued = 0
        self.refused: Counter[str] = Counter()  # by reason

    def load(self) -> None:
        """Reads the keys, makes the first. Raises ConfigError when the file cannot be used."""
        try:
            self._keys = _read(self._path.read_bytes())
        except FileNotFoundError:
            self._keys = []
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"{self._path} cannot be used ({error}); remove it to have a new one made: all tokens end then"
            ) from error
        self._signing_key()

    def issue(
        self,
        *,
        user: str | None,
        number: str | None,
        rights: Iterable[Right],
        lifetime_s: float | None = None,
        name: str = "",
    ) -> tuple[str, Grant]:
        """A new token and what it says. Raises ValueError: unknown user, neither user nor number, too long a life."""
        longest = self._settings.lifetime_s_max
        lives_s = self._settings.lifetime_s if lifetime_s is None else lifetime_s
        if not 1 <= lives_s <= longest:
            raise ValueError(f"lifetime_s is {lives_s:g}; 1 to {longest} are allowed (tokens.lifetime_s_max)")
        if user is None and number is None:
            raise ValueError("a token is for a user, a number or both; name one")
        now, key = self._clock.wall(), self._signing_key()
        grant = Grant(
            user, number, frozenset(rights), now + lives_s, name, secrets.token_hex(8), self._fingerprint_of(user)
        )
        claims: dict[str, Any] = {
            "aud": self._audience,
            "iat": int(now),
            "exp": int(grant.expires),
            "jti": grant.token_id,
            "rights": sorted(right.value for right in grant.rights),
        }
        if user is not None:
            stamp = self._stamp(user)
            if stamp is None:
                raise ValueError(f"there is no user {user}")
            claims |= {"sub": user, "stamp": _stamped(key, stamp)}
        if number is not None:
            claims["number"] = number
        if name:
            claims["name"] = name
        self.issued += 1
        return jwt.encode(claims, key.secret, _ALGORITHM, headers={"kid": key.key_id}), grant

    def verify(self, token: str) -> Grant:
        """Raises TokenRefused (401), counted."""
        try:
            return self._verify(token)
        except TokenRefused as error:
            self.refused[error.reason] += 1
            raise

    def holds(self, grant: Grant) -> bool:
        """Whether its user is still there, with the password of then. What has an end by time is not asked here."""
        return grant.user is None or hmac.compare_digest(grant.stamp, self._fingerprint_of(grant.user))

    def renew(self, grant: Grant) -> tuple[str, Grant]:
        """A fresh token with the same rights, for one that is still good. Raises TokenRefused: the user is gone, or has
        another password now.
        """
        if not self.holds(grant):
            self.refused["user"] += 1
            raise TokenRefused(401, "user", "the token's user was removed or has another password now")
        try:
            return self.issue(user=grant.user, number=grant.number, rights=grant.rights, name=grant.name)
        except ValueError as error:
            self.refused["user"] += 1
            raise TokenRefused(401, "user", str(error)) from error

    # -- inside

    def _verify(self, token: str) -> Grant:
        if len(token) > TOKEN_CHARS_MAX:
            raise TokenRefused(401, "malformed", f"a token has at most {TOKEN_CHARS_MAX} characters")
        try:
            key_id = jwt.get_unverified_header(token).get("kid")
            key = next((key for key in self._keys if key.key_id == key_id), None)
            if key is None:
                raise TokenRefused(401, "forged", "the token was not signed here, or with a key that is no longer kept")
            # Times are checked below, by our clock.
            options: Any = {"require": ["aud", "exp", "iat", "jti"], "verify_exp": False, "verify_iat": False}
            claims = jwt.decode(token, key.secret, [_ALGORITHM], audience=self._audience, options=options)
        except jwt.InvalidSignatureError as error:
            raise TokenRefused(401, "forged", "the token's signature is wrong") from error
        except jwt.InvalidAudienceError as error:
            raise TokenRefused(401, "audience", "the token is for another server") from error
        except (jwt.InvalidTokenError, ValueError, TypeError, RecursionError) as error:
            raise TokenRefused(401, "malformed", "this is no token of ours") from error
        grant = _grant(claims)
        self._judge(claims, key, grant)
        return replace(grant, stamp=self._fingerprint_of(grant.user))

    def _judge(self, claims: dict[str, Any], key: _Key, grant: Grant) -> None:
        now, skew_s = self._clock.wall(), self._settings.clock_skew_s
        if now > grant.expires + skew_s:
            raise TokenRefused(401, "expired", "the token has expired; get a new one")
        issued = claims["iat"]
        if not isinstance(issued, (int, float)) or issued > now + skew_s:
            raise TokenRefused(401, "early", "the token is from the future; compare the clocks")
        if grant.user is not None:
            stamp = self._stamp(grant.user)
            if stamp is None or not hmac.compare_digest(_stamped(key, stamp), str(claims.get("stamp"))):
                raise TokenRefused(401, "user", "the token's user was removed or has another password now")

    def _fingerprint_of(self, user: str | None) -> str:
        """Changes with the user's password; "": there is no such user."""
        stamp = self._stamp(user) if user is not None else None
        return hashlib.sha256(stamp.encode()).hexdigest() if stamp is not None else ""

    def _signing_key(self) -> _Key:
        """The youngest key, a new one when it is too old; those no token can depend on any more are dropped."""
        now, life_s = self._clock.wall(), self._settings.key_days * _DAY_S
        if not self._keys or now - self._keys[-1].made >= life_s:
            kept = [key for key in self._keys if now - key.made < life_s + self._settings.lifetime_s_max + _DAY_S]
            self._keys = [*kept[1 - TOKEN_KEYS_MAX :], _Key(secrets.token_hex(4), secrets.token_bytes(_KEY_BYTES), now)]
            try:
                write_private(self._path, _written(self._keys), replace=True)
            except OSError as error:
                log.error("the keys of tokens cannot be kept; after a restart all tokens end", error=str(error))
        return self._keys[-1]


def _stamped(key: _Key, stamp: str) -> str:
    """Says nothing about the password to who has not the key."""
    return hmac.new(key.secret, stamp.encode(), hashlib.sha256).hexdigest()[:16]


def _grant(claims: dict[str, Any]) -> Grant:
    try:
        user, number, name = claims.get("sub"), claims.get("number"), claims.get("name", "")
        if not all(isinstance(text, str) for text in (user or "", number or "", name, claims["jti"])):
            raise ValueError("a claim is no text")
        rights = frozenset(Right(right) for right in claims["rights"])
        return Grant(user, number, rights, float(claims["exp"]), name, claims["jti"])
    except (KeyError, ValueError, TypeError) as error:
        raise TokenRefused(401, "malformed", "the token lacks what ours say") from error


def _read(content: bytes) -> list[_Key]:
    try:
        keys = [
            _Key(str(entry["id"]), base64.b64decode(entry["key"], validate=True), float(entry["made"]))
            for entry in json.loads(content)["keys"]
        ]
    except (KeyError, TypeError, binascii.Error) as error:
        raise ValueError("it is not what was written there") from error
    if any(len(key.secret) < _KEY_BYTES for key in keys):
        raise ValueError("a key is too short")
    return keys


def _written(keys: list[_Key]) -> bytes:
    listed = [{"id": key.key_id, "key": base64.b64encode(key.secret).decode(), "made": key.made} for key in keys]
    return json.dumps({"keys": listed}).encode()
