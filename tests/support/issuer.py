"""A small OpenID Connect issuer with real keys, for tests: discovery, authorization code with PKCE, tokens, keys.

Strict where an issuer is (code good once, PKCE, client, address of return), and told by the test where to lie.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, unquote_plus, urlsplit

import jwt
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives.asymmetric import rsa

CLIENT, SECRET = "mediaserver", "s3cr+t of the client"
HOUR_S = 3_600


@functools.cache
def key_of(name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65_537, key_size=2048)


class FakeIssuer:
    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self.address = ""
        self.keys = ["k1"]  # published, the first signs
        self.claims: dict[str, Any] = {"sub": "4711", "preferred_username": "olga"}
        self.lie: dict[str, Any] = {}  # over what a token says; None: left out
        self.forge: Callable[[dict[str, Any]], str] | None = None  # instead of signing
        self.metadata: dict[str, Any] = {}  # over what it says of itself
        self.asked: list[str] = []  # paths
        self.tokens: list[str] = []  # all that it gave out
        self._codes: dict[str, dict[str, str]] = {}

    def code_for(self, location: str) -> dict[str, str]:
        """A person signs in at the address where the browser was sent: the query of the way back."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        assert (asked["client_id"], asked["response_type"]) == (CLIENT, "code")
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        return {"code": code, "state": asked["state"], "iss": self.address}

    def sign(self, claims: dict[str, Any], name: str = "", **header: Any) -> str:
        name = name or self.keys[0]
        return jwt.encode(claims, key_of(name), algorithm="RS256", headers={"kid": name, **header})

    async def _discovery(self, _request: web.Request) -> web.Response:
        self.asked.append("discovery")
        said = {
            "issuer": self.address,
            "authorization_endpoint": f"{self.address}/authorize?tenant=1",
            "token_endpoint": f"{self.address}/token",
            "jwks_uri": f"{self.address}/keys",
            "end_session_endpoint": f"{self.address}/leave",
        }
        return web.json_response({**said, **self.metadata})

    async def _keys(self, _request: web.Request) -> web.Response:
        self.asked.append("keys")
        found = [
            {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key_of(name).public_key())), "kid": name, "use": "sig"}
            for name in self.keys
        ]
        return web.json_response({"keys": found})

    async def _token(self, request: web.Request) -> web.Response:
        self.asked.append("token")
        form = await request.post()
        kind, _, pair = request.headers.get("Authorization", "").partition(" ")
        client, _, secret = base64.b64decode(pair).decode().partition(":")
        asked = self._codes.pop(str(form.get("code")), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(str(form.get("code_verifier")).encode()).digest())
        good = (
            asked is not None
            and kind == "Basic"
            and (unquote_plus(client), unquote_plus(secret)) == (CLIENT, SECRET)
            and challenge.rstrip(b"=").decode() == asked["code_challenge"]
            and form.get("redirect_uri") == asked["redirect_uri"]
            and form.get("grant_type") == "authorization_code"
        )
        if not good or asked is None:
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = int(self._wall())
        claims = {"iss": self.address, "aud": CLIENT, "iat": now, "exp": now + HOUR_S, "nonce": asked["nonce"]}
        claims = {**claims, **self.claims, **self.lie}
        claims = {name: value for name, value in claims.items() if value is not None}
        token = self.sign(claims) if self.forge is None else self.forge(claims)
        access = secrets.token_urlsafe(16)
        self.tokens += [token, access]
        return web.json_response({"id_token": token, "access_token": access, "token_type": "Bearer"})


@asynccontextmanager
async def issuer_at_work(wall: Callable[[], float]) -> AsyncIterator[FakeIssuer]:
    made, app = FakeIssuer(wall), web.Application()
    app.add_routes(
        [
            web.get("/.well-known/openid-configuration", made._discovery),
            web.get("/keys", made._keys),
            web.post("/token", made._token),
        ]
    )
    async with TestServer(app) as server:
        made.address = str(server.make_url("/")).rstrip("/")
        yield made
