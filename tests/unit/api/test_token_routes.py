"""Getting a token over HTTP: by the admin, or by a SIP user with his password."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from mediaserver.api import token_routes
from mediaserver.api.bearers import Doorkeeper
from mediaserver.api.people import People
from mediaserver.api.server import secure_app
from mediaserver.api.token_routes import IceServer
from mediaserver.api.tokens import Tokens
from mediaserver.api.ways import WaysIn
from mediaserver.limits import API_FAILURES_PER_SOURCE_PER_MIN
from mediaserver.settings import HttpSettings, Settings
from mediaserver.sip.auth import Credentials, make_credentials
from tests.unit.api.fake_facade import FakeFacade
from tests.unit.api.test_tokens import NOW, WallClock

ADMIN = {"Authorization": "Basic " + base64.b64encode(b"admin:secret").decode(), "X-Requested-With": "test"}
ASKED = {"X-Requested-With": "test"}
Client = TestClient[Any, Any]


class Users:
    def __init__(self) -> None:
        self.known = {"ann": make_credentials("ann", "mediaserver", "anns-password")}

    def credentials(self, name: str) -> Credentials | None:
        return self.known.get(name)

    def stamp(self, name: str) -> str | None:
        return self.known[name].ha1_sha256 if name in self.known else None


@pytest.fixture
def door(tmp_path: Path) -> Doorkeeper:
    users = Users()
    tokens = Tokens(Settings().tokens, tmp_path, WallClock(), audience="here", stamp=users.stamp)
    tokens.load()
    return Doorkeeper(tokens, users, "mediaserver")


@pytest.fixture
async def client(door: Doorkeeper) -> AsyncIterator[Client]:
    app = secure_app(HttpSettings(admin_password=SecretStr("secret")), FakeFacade())
    servers = [IceServer(("turn:turn.example:3478",), "until:ann", "hmac")]
    clock = WallClock()
    people = People(clock, lambda _call: {}, interval_s=5.0)
    ways = WaysIn(Settings(), door, people, lambda user: servers if user == "ann" else (), clock)
    ways.add_to(app)
    async with TestClient(TestServer(app)) as made:
        yield made


async def test_a_sip_user_signs_in_and_gets_a_token_for_himself(client: Client, door: Doorkeeper) -> None:
    async with client.post(
        "/api/v1/session", json={"user": "ann", "password": "anns-password"}, headers=ASKED
    ) as answer:
        assert answer.status == 200
        assert answer.headers["Cache-Control"] == "no-store"
        said = await answer.json()
    assert said["ice_servers"] == [{"urls": ["turn:turn.example:3478"], "username": "until:ann", "credential": "hmac"}]
    assert (said["user"], said["number"], said["socket"], said["expires"]) == ("ann", None, "/ws/v1", NOW + 3_600)
    assert said["rights"] == ["publish", "record", "subscribe"]
    assert door.tokens.verify(said["token"]).user == "ann"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"user": "ann", "password": "wrong"}, 401),
        ({"user": "nobody", "password": "anns-password"}, 401),
        ({"user": "nobody", "password": ""}, 401),
        ({"user": 'a:"\\', "password": "x"}, 401),
        ({"user": "ann"}, 400),
        ({"user": "ann", "password": 7}, 400),
        ({"user": "a" * 65, "password": "x"}, 400),
        ({"user": "ann", "password": "planted-secret", "more": 1}, 400),
        ([], 400),
    ],
)
async def test_signing_in_wrongly_is_refused_without_repeating_the_password(
    client: Client, body: Any, status: int
) -> None:
    async with client.post("/api/v1/session", json=body, headers=ASKED) as answer:
        assert answer.status == status
        assert "planted-secret" not in await answer.text()


async def test_another_site_cannot_sign_anybody_in(client: Client) -> None:
    async with client.post("/api/v1/session", json={"user": "ann", "password": "anns-password"}) as answer:
        assert answer.status == 403


async def test_guessing_is_slowed_even_for_who_then_guesses_right(client: Client) -> None:
    for _ in range(API_FAILURES_PER_SOURCE_PER_MIN):
        async with client.post("/api/v1/session", json={"user": "ann", "password": "x"}, headers=ASKED) as answer:
            assert answer.status == 401
    async with client.post(
        "/api/v1/session", json={"user": "ann", "password": "anns-password"}, headers=ASKED
    ) as answer:
        assert answer.status == 429
        assert 0 < int(answer.headers["Retry-After"]) <= 61


async def test_the_admin_makes_a_token_for_a_room(client: Client, door: Doorkeeper) -> None:
    wanted = {"number": "700", "name": "Visitor 7", "rights": ["publish"], "lifetime_s": 600}
    async with client.post("/api/v1/tokens", json=wanted, headers=ADMIN) as answer:
        assert answer.status == 201
        said = await answer.json()
    grant = door.tokens.verify(said["token"])
    assert (grant.user, grant.number, grant.name, grant.expires) == (None, "700", "Visitor 7", NOW + 600)


@pytest.mark.parametrize(
    "wanted",
    [
        {"number": "700", "rights": ["everything"]},
        {"number": "700", "rights": []},
        {"rights": ["publish"]},
        {"user": "nobody", "rights": ["publish"]},
        {"number": "700", "rights": ["publish"], "lifetime_s": 10**9},
        {"number": "700", "rights": ["publish"], "name": "<b>"},
    ],
)
async def test_a_token_that_makes_no_sense_is_400_in_words(client: Client, wanted: dict[str, Any]) -> None:
    async with client.post("/api/v1/tokens", json=wanted, headers=ADMIN) as answer:
        assert answer.status == 400
        assert (await answer.json())["error"]["message"]


async def test_nobody_else_makes_tokens(client: Client, door: Doorkeeper) -> None:
    token, _ = door.tokens.issue(user="ann", number=None, rights=[])
    for headers in (ASKED, {**ASKED, "Authorization": f"Bearer {token}"}):
        async with client.post(
            "/api/v1/tokens", json={"user": "ann", "rights": ["publish"]}, headers=headers
        ) as answer:
            assert answer.status == 401


async def test_who_sends_no_body_is_not_waited_for(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_routes, "HTTP_BODY_S_MAX", 0.01)
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    head = "POST /api/v1/session HTTP/1.1\r\nHost: here\r\nX-Requested-With: test\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Content-Length: 100\r\n\r\n{{".encode())
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408")
    writer.close()
