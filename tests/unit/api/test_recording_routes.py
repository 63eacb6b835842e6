"""Start, stop, pause, resume and consent over HTTP, as an agent's desktop uses them."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from mediaserver.api.server import secure_app
from mediaserver.settings import HttpSettings
from tests.unit.api.fake_facade import FakeFacade

CHANGING = {
    "Authorization": "Basic " + base64.b64encode(b"admin:secret").decode(),
    "X-Requested-With": "test",
}
Client = TestClient[Any, Any]


@pytest.fixture
def facade() -> FakeFacade:
    return FakeFacade()


@pytest.fixture
async def api(facade: FakeFacade) -> AsyncIterator[Client]:
    app = secure_app(HttpSettings(admin_password=SecretStr("secret")), facade)
    async with TestClient(TestServer(app)) as client:
        yield client


async def test_a_pause_says_why_and_for_how_long(api: Client, facade: FakeFacade) -> None:
    body = {"reason": "card data", "resume_after_s": 90}
    async with api.post("/api/v1/calls/c1/recording/pause", json=body, headers=CHANGING) as answer:
        assert (answer.status, await answer.json()) == (200, {"id": "c1", "done": "pause"})
    async with api.post("/api/v1/calls/c1/recording/resume", headers=CHANGING) as answer:
        assert answer.status == 200
    assert facade.recorded == [("pause", "card data", 90.0), ("resume", "API", None)]


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("calls/c1/recording/pause", {"reason": "x" * 101}, 400),
        ("calls/c1/recording/pause", {"reason": "a\u0000b"}, 400),
        ("calls/c1/recording/pause", {"resume_after_s": -1}, 400),
        ("calls/c1/recording/pause", {"resume_after_s": "soon"}, 400),
        ("calls/c1/recording/pause", {"colour": 1}, 400),
        ("calls/c1/recording/pause", [], 400),
        ("calls/c1/recording/erase", {}, 404),
        ("calls/c9/recording/pause", {}, 404),
        ("calls/c1/recording/stop", {}, 409),
        ("calls/c1/legs/1/consent", {"answer": "perhaps"}, 400),
        ("calls/c1/legs/1/consent", {}, 400),
        ("calls/c1/legs/7/consent", {"answer": "denied"}, 404),
    ],
)
async def test_what_makes_no_sense_is_refused(api: Client, path: str, body: Any, status: int) -> None:
    async with api.post(f"/api/v1/{path}", json=body, headers=CHANGING) as answer:
        assert answer.status == status
        assert (await answer.json())["error"]["message"]


async def test_a_party_s_answer_is_told_and_its_state_shown(api: Client, facade: FakeFacade) -> None:
    async with api.post("/api/v1/calls/c1/legs/1/consent", json={"answer": "withdrawn"}, headers=CHANGING) as answer:
        assert await answer.json() == {"id": "c1", "leg": "1", "state": "withdrawn"}
    async with api.get("/api/v1/calls/c1/consent", headers=CHANGING) as answer:
        purposes = {"1": {"contract": "implied", "training": "denied"}}
        assert await answer.json() == {"id": "c1", "consent": {"1": "implied"}, "purposes": purposes}
    one = {"answer": "denied", "purposes": ["training"]}
    async with api.post("/api/v1/calls/c1/legs/1/consent", json=one, headers=CHANGING) as answer:
        assert answer.status == 200
    assert facade.answered == [("withdrawn", ()), ("denied", ("training",))]
    for wrong in ("training", [1], ["p"] * 9):
        body = {"answer": "denied", "purposes": wrong}
        async with api.post("/api/v1/calls/c1/legs/1/consent", json=body, headers=CHANGING) as answer:
            assert answer.status == 400


async def test_without_the_password_or_from_another_page_nothing_is_changed(api: Client, facade: FakeFacade) -> None:
    async with api.post("/api/v1/calls/c1/recording/pause") as answer:
        assert answer.status == 401
    without = {"Authorization": CHANGING["Authorization"]}
    async with api.post("/api/v1/calls/c1/recording/pause", headers=without) as answer:
        assert answer.status == 403
    assert facade.recorded == []
