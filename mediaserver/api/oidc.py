"""An OpenID Connect issuer, asked who somebody is: authorization code with PKCE, and an ID token that is checked whole.

Owns discovery, the issuer's keys, the exchange of the code and what makes an ID token ours: signature by a key of the
issuer with an algorithm we take, issuer, audience, times, nonce. Knows no routes and no reviewers; keeps and logs no
token. Source: OpenID Connect Core 1.0 §3.1, Discovery 1.0, RFC 7636 (PKCE), RFC 9207 (iss), RFC 8725 (JWT practices).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import math
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote_plus, urlencode, urlsplit

import aiohttp
import jwt

from mediaserver.clock import Clock
from mediaserver.errors import ConfigError, MediaServerError
from mediaserver.limits import (
    OIDC_ANSWER_BYTES_MAX,
    OIDC_CHARS_MAX,
    OIDC_FRESH_S,
    OIDC_KEYS_AGAIN_S_MIN,
    OIDC_KEYS_MAX,
    OIDC_TIMEOUT_S,
)
from mediaserver.settings import OidcSettings
from mediaserver.settings_checks import is_loopback_http

# Signatures by a key that only the issuer has. None of "none", none of HMAC: a public key must never do as a secret.
ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
DISCOVERY = "/.well-known/openid-configuration"
ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")


class OidcRefused(MediaServerError):
    """The issuer says no, or what it says must not be believed. The text is for the log and holds no token."""


class OidcUnavailable(MediaServerError):
    """The issuer does not answer, or nothing that makes sense."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One sign-in under way: what its answer must fit. verifier: PKCE's secret."""

    state: str = field(repr=False)
    nonce: str = field(repr=False)
    verifier: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Metadata:
    """read_s: clock seconds at which it was read."""

    values: Mapping[str, Any]
    read_s: float

    def text(self, name: str) -> str:
        return str(self.values[name])


class Issuer:
    def __init__(self, settings: OidcSettings, clock: Clock) -> None:
        """Raises ConfigError for a ca_file that cannot be used."""
        self.settings, self._clock = settings, clock
        self._metadata: _Metadata | None = None
        self._keys: dict[str, jwt.PyJWK] = {}
        self._keys_read_s = -math.inf
        self._tls: ssl.SSLContext | bool = True
        if settings.ca_file is not None:
            try:
                self._tls = ssl.create_default_context(cafile=settings.ca_file)
            except (OSError, ssl.SSLError) as error:
                raise ConfigError(f"oidc.ca_file is {settings.ca_file}; it cannot be used ({error})") from error

    @property
    def redirect_uri(self) -> str:
        return self.settings.public_url.rstrip("/") + "/api/v1/review/oidc/back"

    async def address(self, attempt: Attempt) -> str:
        """Where the browser goes to sign in. Raises OidcUnavailable, OidcRefused."""
        metadata = await self._known()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(attempt.verifier.encode()).digest()).rstrip(b"=")
        asked = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": self.redirect_uri,
            "scope": " ".join(dict.fromkeys(["openid", *self.settings.scopes])),
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": challenge.decode(),
            "code_challenge_method": "S256",
        }
        return _with_query(metadata.text("authorization_endpoint"), asked)

    async def leaving(self) -> str:
        """Where one signs out of the issuer as well; "": it has no such address, or does not answer."""
        try:
            metadata = await self._known()
        except (OidcRefused, OidcUnavailable):
            return ""
        endpoint = metadata.values.get("end_session_endpoint")
        if not isinstance(endpoint, str) or not self._may_ask(endpoint):
            return ""
        back = self.settings.public_url.rstrip("/") + "/qa"
        return _with_query(endpoint, {"client_id": self.settings.client_id, "post_logout_redirect_uri": back})

    async def identify(self, code: str, attempt: Attempt, issuer_told: str) -> Mapping[str, Any]:
        """The claims of who signed in. issuer_told: the parameter iss, "" without.

        Raises OidcRefused, OidcUnavailable.
        """
        metadata = await self._known()
        if issuer_told and issuer_told != self.settings.issuer:  # RFC 9207: a mix-up of issuers
            raise OidcRefused("the answer names another issuer")
        if not issuer_told and metadata.values.get("authorization_response_iss_parameter_supported") is True:
            raise OidcRefused("the answer does not name its issuer, which this issuer's answers do")
        token = await self._exchange(metadata, code, attempt.verifier)
        claims = await self._checked(token)
        nonce = claims.get("nonce")
        told = nonce.encode(errors="replace") if isinstance(nonce, str) else b""
        if not hmac.compare_digest(told, attempt.nonce.encode()):
            raise OidcRefused("the ID token is of another sign-in (nonce)")
        return claims

    async def _exchange(self, metadata: _Metadata, code: str, verifier: str) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": verifier,
        }
        headers, secret = {}, self.settings.client_secret.get_secret_value()
        methods = metadata.values.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if secret and "client_secret_basic" in methods:  # RFC 6749 §2.3.1: both halves form-encoded first
            pair = f"{quote_plus(self.settings.client_id)}:{quote_plus(secret)}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            form["client_id"] = self.settings.client_id
            if secret:
                form["client_secret"] = secret
        status, said = await self._ask("POST", metadata.text("token_endpoint"), form, headers)
        if status != 200:
            raise OidcRefused(f"the issuer does not take the code (status {status})")
        token = said.get("id_token")
        if not isinstance(token, str) or len(token) > OIDC_CHARS_MAX:
            raise OidcRefused("the issuer's answer has no ID token")
        return token

    # -- the ID token

    async def _checked(self, token: str) -> dict[str, Any]:
        settings = self.settings
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm not in ALGORITHMS:
                raise OidcRefused(f"the ID token is signed by {str(algorithm)[:20]!r}, which is not taken")
            key = await self._key(header.get("kid"), str(algorithm))
            claims: dict[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[str(algorithm)],
                audience=settings.client_id,
                issuer=settings.issuer,
                options={
                    "require": ["iss", "sub", "aud", "exp", "iat"],
                    "verify_exp": False,  # the three times by our own clock, below
                    "verify_iat": False,
                    "verify_nbf": False,
                },
            )
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError) as error:
            raise OidcRefused(f"the ID token is not good ({type(error).__name__})") from None
        self._in_time(claims)
        audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
        party = claims.get("azp")
        if (len(audiences) > 1 or party is not None) and party != settings.client_id:  # Core §3.1.3.7, 4 and 5
            raise OidcRefused("the ID token was issued to another client (azp)")
        if not isinstance(claims["sub"], str) or not 0 < len(claims["sub"]) <= 255:
            raise OidcRefused("the ID token's subject is no text of 1 to 255 characters")
        return claims

    def _in_time(self, claims: Mapping[str, Any]) -> None:
        now, skew = self._clock.wall(), self.settings.clock_skew_s
        times = {name: claims.get(name, now) for name in ("exp", "iat", "nbf")}
        if not all(isinstance(at, int | float) and not isinstance(at, bool) for at in times.values()):
            raise OidcRefused("a time in the ID token is no number")
        if not times["exp"] > now - skew:
            raise OidcRefused("the ID token is over (exp)")
        if not (times["iat"] <= now + skew and times["nbf"] <= now + skew):
            raise OidcRefused("the ID token is of the future (iat, nbf)")

    async def _key(self, name: Any, algorithm: str) -> jwt.PyJWK:
        """One the issuer does not have is asked for again, not too often: it may have changed keys."""
        for again in (False, True):
            await self._read_keys(again=again)
            fitting = [
                key
                for kid, key in self._keys.items()
                if (name is None or kid == name) and algorithm.startswith(_FAMILIES.get(key.key_type or "", ()))
            ]
            if len(fitting) == 1:
                return fitting[0]
            if len(fitting) > 1:
                raise OidcRefused("the ID token does not say which of the issuer's keys signed it")
        raise OidcRefused("the ID token is signed by a key that is not the issuer's")

    async def _read_keys(self, *, again: bool) -> None:
        age_s = self._clock.now_ns() / 1e9 - self._keys_read_s
        if age_s < (OIDC_KEYS_AGAIN_S_MIN if again else OIDC_FRESH_S):
            return
        metadata = await self._known()
        status, said = await self._ask("GET", metadata.text("jwks_uri"))
        given = said.get("keys")
        if status != 200 or not isinstance(given, list):
            raise OidcUnavailable(f"the issuer's keys cannot be read (status {status})")
        found: dict[str, jwt.PyJWK] = {}
        for number, one in enumerate(given[:OIDC_KEYS_MAX]):
            if isinstance(one, dict) and one.get("use", "sig") == "sig" and one.get("kty") in _FAMILIES:
                try:
                    found[str(one.get("kid", f"#{number}"))] = jwt.PyJWK(one)
                except (jwt.PyJWTError, ValueError, TypeError):
                    continue  # a curve that nobody here knows: another may fit
        self._keys, self._keys_read_s = found, self._clock.now_ns() / 1e9

    # -- the issuer

    async def _known(self) -> _Metadata:
        """What the issuer says of itself, read again when it is old."""
        now_s = self._clock.now_ns() / 1e9
        if self._metadata is not None and now_s - self._metadata.read_s < OIDC_FRESH_S:
            return self._metadata
        issuer = self.settings.issuer
        status, said = await self._ask("GET", issuer.rstrip("/") + DISCOVERY)
        if status != 200:
            raise OidcUnavailable(f"{issuer}{DISCOVERY} answers {status}")
        if said.get("issuer") != issuer:
            raise OidcRefused(f"what {issuer} says of itself names another issuer")
        for name in ENDPOINTS:
            if not isinstance(said.get(name), str) or not self._may_ask(said[name]):
                raise OidcRefused(f"{name} of {issuer} is no https address")
        self._metadata = _Metadata(said, now_s)
        return self._metadata

    def _may_ask(self, address: str) -> bool:
        """https; plain http on this machine only where the issuer is there, too."""
        try:
            parts = urlsplit(address)
        except ValueError:  # brackets that are no IPv6 address
            return False
        return (parts.scheme == "https" and bool(parts.hostname)) or (
            is_loopback_http(address) and is_loopback_http(self.settings.issuer)
        )

    async def _ask(
        self, method: str, address: str, form: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Status and JSON object. Follows no redirect, reads no more than fits. Raises OidcUnavailable."""
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=OIDC_TIMEOUT_S)) as session,
                session.request(
                    method,
                    address,
                    data=form,
                    headers={"Accept": "application/json", **(headers or {})},
                    allow_redirects=False,
                    ssl=self._tls,
                ) as answer,
            ):
                body = bytearray()
                async for piece in answer.content.iter_any():
                    body += piece
                    if len(body) > OIDC_ANSWER_BYTES_MAX:
                        raise OidcUnavailable("the issuer's answer is too long")
                status = answer.status
            said = json.loads(bytes(body) or b"{}")
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, RecursionError) as error:
            # Its text may hold the address, and that of the token endpoint what was sent: the kind must do.
            raise OidcUnavailable(f"the issuer does not answer ({type(error).__name__})") from None
        return status, said if isinstance(said, dict) else {}


# Which signatures a key of a type can make, RFC 7518 §6.1 and RFC 8037: a header chooses no other use of a key.
_FAMILIES: Final[dict[str, tuple[str, ...]]] = {"RSA": ("RS", "PS"), "EC": ("ES",), "OKP": ("EdDSA",)}


def _with_query(address: str, asked: Mapping[str, str]) -> str:
    return address + ("&" if "?" in address else "?") + urlencode(asked)
