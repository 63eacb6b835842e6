"""Signing in by an issuer: who is taken, as what; and each way to come in by a token that is not ours."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from pydantic import SecretStr

from mediaserver.api.oidc_routes import COOKIE
from mediaserver.api.review_people import COOKIE as SESSION
from mediaserver.api.review_routes import ADDRESS
from mediaserver.limits import OIDC_ATTEMPT_S_MAX, OIDC_ATTEMPTS_PER_SOURCE_MAX, OIDC_FRESH_S, OIDC_KEYS_AGAIN_S_MIN
from mediaserver.settings import OidcSettings
from mediaserver.store.reviewers import FROM_ISSUER, Reviewer
from tests.support.issuer import CLIENT, SECRET, FakeIssuer, issuer_at_work, key_of
from tests.unit.api.review_world import HASH, Browser, World, open_world

S_NS = 1_000_000_000
MAPPED: dict[str, Any] = {
    "role_claim": "groups",
    "roles": {"qa-leads": "supervisor", "qa": "qa"},
    "queues": {"qa": ["sales"], "qa-help": ["help"]},
}


@dataclass
class Room:
    world: World
    issuer: FakeIssuer

    async def begin(self) -> tuple[str, str]:
        """Where the browser is sent, and the cookie that it keeps."""
        async with self.world.client.get(ADDRESS + "oidc/begin", allow_redirects=False) as answer:
            assert answer.status == 302, await answer.text()
            return answer.headers["Location"], _cookie(answer, COOKIE)

    async def back(self, query: dict[str, str], cookie: str) -> tuple[str, str]:
        """Where it is sent from there, and the session's cookie."""
        headers = {"Cookie": f"{COOKIE}={cookie}"} if cookie else {}
        async with self.world.client.get(
            ADDRESS + "oidc/back", params=query, headers=headers, allow_redirects=False
        ) as answer:
            return answer.headers.get("Location", str(answer.status)), _cookie(answer, SESSION)

    async def come(self) -> tuple[str, str]:
        location, cookie = await self.begin()
        return await self.back(self.issuer.code_for(location), cookie)

    async def enter(self) -> dict[str, Any]:
        """Signs in; what `me` then says."""
        location, token = await self.come()
        assert location == "/qa"
        browser = Browser(self.world.client)
        browser.headers = {"Cookie": f"{SESSION}={token}"}
        me: dict[str, Any] = await browser.ask("GET", "me")
        return me


def _cookie(answer: Any, name: str) -> str:
    for text in answer.headers.getall("Set-Cookie", []):
        if text.startswith(f"{name}="):
            assert {"Secure", "HttpOnly", "Path=/"} <= set(text.split("; "))
            return str(text.partition("=")[2].partition(";")[0]).strip('"')
    return ""


@pytest.fixture
async def more() -> dict[str, Any]:
    """Settings beyond the least."""
    return {}


@pytest.fixture
async def room(tmp_path: Path, more: dict[str, Any]) -> AsyncIterator[Room]:
    clock: list[Callable[[], float]] = []
    async with issuer_at_work(lambda: clock[0]()) as issuer:
        settings = OidcSettings(
            issuer=issuer.address,
            client_id=CLIENT,
            client_secret=SecretStr(SECRET),
            public_url="https://qa.example:8443/",
            **more,
        )
        async with open_world(tmp_path, settings) as world:
            clock.append(world.clock.wall)
            await world.people.add(Reviewer("olga", FROM_ISSUER, "qa", ("sales",), 1))
            yield Room(world, issuer)


async def test_who_stands_in_our_list_comes_in_by_the_issuer_as_what_she_is_there(room: Room) -> None:
    location, _ = await room.begin()
    asked = parse_qs(urlsplit(location).query)
    assert location.startswith(f"{room.issuer.address}/authorize?tenant=1&")
    assert asked["redirect_uri"] == ["https://qa.example:8443/api/v1/review/oidc/back"]
    assert asked["scope"] == ["openid profile"]
    me = await room.enter()
    assert (me["name"], me["role"], me["queues"], me["password"]) == ("olga", "qa", ["sales"], False)
    assert await room.world.logged("signed in") == [("olga", "", {})]
    assert (await Browser(room.world.client).ask("GET", "ways"))["issuer"] == "the company's account"


async def test_signing_out_leads_to_the_issuer_who_came_from_there(room: Room) -> None:
    me = await room.enter()
    browser = Browser(room.world.client)
    _, token = await room.come()
    browser.headers = {"Cookie": f"{SESSION}={token}"}
    browser.headers["X-CSRF-Token"] = (await browser.ask("GET", "me"))["csrf"]
    assert me["csrf"] != browser.headers["X-CSRF-Token"]
    leave = (await browser.ask("POST", "sign-out"))["leave"]
    assert leave.startswith(f"{room.issuer.address}/leave?client_id={CLIENT}&")
    assert parse_qs(urlsplit(leave).query)["post_logout_redirect_uri"] == ["https://qa.example:8443/qa"]
    await browser.ask("GET", "me", 401)
    kate = await room.world.person("kate")
    assert await kate.ask("POST", "sign-out", 204) == b"", "she has a password here"


LIES: list[dict[str, Any]] = [
    {"nonce": "another"},
    {"nonce": None},
    {"nonce": "\ud800"},
    {"aud": "another-client"},
    {"aud": [CLIENT, "another-client"]},
    {"azp": "another-client"},
    {"iss": "https://elsewhere.example"},
    {"exp": 1},
    {"exp": "tomorrow"},
    {"exp": None},
    {"iat": 10**11},
    {"nbf": 10**11},
    {"sub": None},
    {"sub": ""},
]


async def test_a_token_that_is_not_for_us_here_and_now_opens_nothing(room: Room) -> None:
    for lie in LIES:
        room.issuer.lie = lie
        assert await room.come() == ("/qa#sign-in=refused", ""), lie
        room.world.clock.advance(7 * S_NS)  # ten within a minute, and the source waits
    room.issuer.lie = {}
    assert (await room.enter())["name"] == "olga", "a good one is taken"


def _none(claims: dict[str, Any]) -> str:
    return jwt.encode(claims, None, algorithm="none")


def _public_key_as_secret(claims: dict[str, Any]) -> str:
    pem = key_of("k1").public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )  # fmt: skip
    head, body = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
        for part in ({"alg": "HS256", "kid": "k1"}, claims)
    )
    mac = hmac.new(pem, head + b"." + body, hashlib.sha256).digest()
    return b".".join((head, body, base64.urlsafe_b64encode(mac).rstrip(b"="))).decode()


FORGERIES: dict[str, Callable[[dict[str, Any]], str]] = {
    "none": _none,
    "the public key as a secret": _public_key_as_secret,
    "another key under the name of the issuer's": lambda claims: jwt.encode(
        claims, key_of("thief"), algorithm="RS256", headers={"kid": "k1"}
    ),
    "a key of its own in the header": lambda claims: jwt.encode(
        claims,
        key_of("thief"),
        algorithm="RS256",
        headers={"kid": "x", "jwk": json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key_of("thief").public_key()))},
    ),
    "no token": lambda claims: "a.b.c",
    "too long": lambda claims: "a" * 40_000,
}


async def test_a_forged_signature_opens_nothing(room: Room) -> None:
    for name, forge in FORGERIES.items():
        room.issuer.forge = forge
        assert await room.come() == ("/qa#sign-in=refused", ""), name
    assert await room.world.logged("signed in", 0) == []


async def test_a_state_is_good_once_in_the_browser_that_began_and_for_ten_minutes(room: Room) -> None:
    location, cookie = await room.begin()
    answer = room.issuer.code_for(location)
    assert await room.back(answer, "") == ("/qa#sign-in=again", ""), "somebody was sent a link to another's sign-in"
    other = (await room.begin())[1]
    assert await room.back(answer, other) == ("/qa#sign-in=again", "")
    assert await room.back({**answer, "state": "made up"}, cookie) == ("/qa#sign-in=again", "")
    assert (await room.back(answer, cookie))[0] == "/qa"
    assert await room.back(answer, cookie) == ("/qa#sign-in=again", ""), "replayed"
    location, cookie = await room.begin()
    room.world.clock.advance((OIDC_ATTEMPT_S_MAX + 1) * S_NS)
    assert await room.back(room.issuer.code_for(location), cookie) == ("/qa#sign-in=again", "")


async def test_whoever_begins_without_end_pushes_out_only_his_own(room: Room) -> None:
    first = await room.begin()
    answer = room.issuer.code_for(first[0])
    for _ in range(OIDC_ATTEMPTS_PER_SOURCE_MAX):
        last = await room.begin()
    assert await room.back(answer, first[1]) == ("/qa#sign-in=again", "")
    assert (await room.back(room.issuer.code_for(last[0]), last[1]))[0] == "/qa"


async def test_no_address_of_a_request_leads_elsewhere(room: Room) -> None:
    evil = "https://evil.example/"
    async with room.world.client.get(
        ADDRESS + "oidc/begin", params={"redirect_uri": evil, "return": evil, "next": evil}, allow_redirects=False
    ) as answer:
        assert evil not in answer.headers["Location"]
        assert "evil" not in answer.headers["Location"]
    location, cookie = await room.begin()
    answered = {**room.issuer.code_for(location), "next": evil, "error_uri": evil, "error_description": "<b>"}
    assert (await room.back(answered, cookie))[0] == "/qa"
    location, cookie = await room.begin()
    answered = {"state": room.issuer.code_for(location)["state"], "error": evil}
    assert await room.back(answered, cookie) == ("/qa#sign-in=refused", "")


async def test_a_code_meant_for_another_issuer_is_not_sent_to_this_one(room: Room) -> None:
    location, cookie = await room.begin()
    answer = room.issuer.code_for(location)
    asked = room.issuer.asked.count("token")
    assert (await room.back({**answer, "iss": "https://elsewhere.example"}, cookie))[0] == "/qa#sign-in=refused"
    assert room.issuer.asked.count("token") == asked


async def test_clocks_may_differ_a_little(room: Room) -> None:
    now = int(room.world.clock.wall())
    for lie, good in ({"exp": now - 29}, True), ({"iat": now + 29}, True), ({"exp": now - 31}, False):  # type: ignore[assignment]
        room.issuer.lie = lie  # type: ignore[assignment]
        assert ((await room.come())[0] == "/qa") is good, lie


async def test_a_new_key_of_the_issuer_is_fetched_but_not_at_every_strange_token(room: Room) -> None:
    await room.enter()
    room.issuer.keys = ["k2", "k1"]
    assert await room.come() == ("/qa#sign-in=refused", ""), "the keys were read a moment ago"
    room.world.clock.advance(OIDC_KEYS_AGAIN_S_MIN * S_NS)
    await room.enter()
    room.issuer.keys = ["k2"]
    room.world.clock.advance(OIDC_FRESH_S * S_NS)
    await room.enter()
    assert room.issuer.asked.count("keys") == 3
    room.issuer.forge = lambda claims: room.issuer.sign(claims, "k1")
    assert await room.come() == ("/qa#sign-in=refused", ""), "a key that the issuer has taken back"


async def test_whoever_is_unknown_or_has_a_password_or_took_over_a_name_stays_out(room: Room) -> None:
    room.issuer.claims = {"sub": "1", "preferred_username": "stranger"}
    assert await room.come() == ("/qa#sign-in=unknown", "")
    room.issuer.claims = {"sub": "1", "preferred_username": "kate"}
    assert await room.come() == ("/qa#sign-in=unknown", ""), "her name at the issuer may be anybody's"
    room.issuer.claims = {"sub": "4711", "preferred_username": "olga"}
    await room.enter()
    room.issuer.claims = {"sub": "4712", "preferred_username": "olga"}
    assert await room.come() == ("/qa#sign-in=unknown", ""), "the name was given to somebody else"
    for wrong in (None, 7, ["olga"], "olga\x00", "../../olga", "=olga", "x" * 300):
        room.issuer.claims = {"sub": "4711", "preferred_username": wrong}
        assert await room.come() == ("/qa#sign-in=unknown", "")


async def test_who_comes_by_the_issuer_has_no_password_to_guess(room: Room) -> None:
    stranger = Browser(room.world.client)
    for word in (FROM_ISSUER, "", "4711"):
        await stranger.ask("POST", "sign-in", 401, json={"user": "olga", "password": word})


@pytest.mark.parametrize("more", [MAPPED])
async def test_claims_make_roles_and_queues_anew_at_each_sign_in(room: Room) -> None:
    room.issuer.claims = {"sub": "1", "preferred_username": "nina", "groups": ["staff", "qa", "qa-help"]}
    me = await room.enter()
    assert (me["name"], me["role"], me["queues"]) == ("nina", "qa", ["sales", "help"])
    room.issuer.claims["groups"] = ["qa", "qa-leads"]
    me = await room.enter()
    assert (me["role"], me["queues"]) == ("supervisor", ["sales"]), "the first role of the list that fits"
    room.issuer.claims["groups"] = "qa-leads"
    assert (await room.enter())["queues"] == [], "nobody sees what he was not given"


@pytest.mark.parametrize("more", [MAPPED])
async def test_whose_role_is_taken_away_is_out_of_all_his_sessions(room: Room) -> None:
    room.issuer.claims = {"sub": "1", "preferred_username": "nina", "groups": ["qa"]}
    _, token = await room.come()
    browser = Browser(room.world.client)
    browser.headers = {"Cookie": f"{SESSION}={token}"}
    await browser.ask("GET", "me")
    room.issuer.claims["groups"] = ["staff"]
    assert await room.come() == ("/qa#sign-in=unknown", "")
    await browser.ask("GET", "me", 401)
    for groups in ({"qa": True}, None, 5, [["qa"]]):
        room.issuer.claims["groups"] = groups
        assert (await room.come())[0] == "/qa#sign-in=unknown"


@pytest.mark.parametrize("more", [{"name_claim": "email"}])
async def test_an_address_counts_when_the_issuer_has_verified_it(room: Room) -> None:
    await room.world.people.add(Reviewer("olga@example.org", FROM_ISSUER, "qa", None, 1))
    room.issuer.claims = {"sub": "1", "email": "olga@example.org"}
    assert (await room.come())[0] == "/qa#sign-in=unknown"
    room.issuer.claims["email_verified"] = True
    assert (await room.enter())["name"] == "olga@example.org"


async def test_an_issuer_that_fails_or_says_it_is_another_lets_nobody_in(room: Room) -> None:
    for metadata in ({"issuer": "https://elsewhere.example"}, {"token_endpoint": "http://elsewhere.example/token"},
                     {"jwks_uri": None}, {"jwks_uri": "https://["},
                     {"authorization_endpoint": "javascript:alert(1)"}):  # fmt: skip
        room.issuer.metadata = metadata
        async with room.world.client.get(ADDRESS + "oidc/begin", allow_redirects=False) as answer:
            assert answer.headers["Location"] == "/qa#sign-in=unavailable", metadata
    room.issuer.metadata = {}
    location, cookie = await room.begin()
    answer = room.issuer.code_for(location)
    assert await room.back({**answer, "code": "made-up"}, cookie) == ("/qa#sign-in=refused", "")


async def test_no_token_code_or_secret_is_in_the_log(room: Room, capsys: pytest.CaptureFixture[str]) -> None:
    await room.enter()
    room.issuer.lie = {"nonce": "another"}
    location, cookie = await room.begin()
    query = room.issuer.code_for(location)
    await room.back(query, cookie)
    await room.back(query, cookie)
    said = "".join(capsys.readouterr())
    assert "sign-in by issuer failed" in said
    secret = [*room.issuer.tokens, query["code"], query["state"], cookie, SECRET]
    secret += [part for token in room.issuer.tokens for part in token.split(".")]
    assert not [one for one in secret if one in said]


async def test_guessing_by_tokens_is_slowed_as_by_passwords(room: Room) -> None:
    room.issuer.lie = {"aud": "another-client"}
    for _ in range(10):
        assert (await room.come())[0] == "/qa#sign-in=refused"
    assert (await room.come())[0] == "429"


async def test_without_an_issuer_there_is_no_way_by_it(tmp_path: Path) -> None:
    async with open_world(tmp_path) as world:
        browser = Browser(world.client)
        assert await browser.ask("GET", "ways") == {"issuer": None}
        await browser.ask("GET", "oidc/begin", 404)
    assert HASH != FROM_ISSUER
