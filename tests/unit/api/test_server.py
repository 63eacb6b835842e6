"""The HTTP answers as a program sees them."""

import asyncio
import base64
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr

from mediaserver.api import server as api_server
from mediaserver.api.metrics import Metrics
from mediaserver.api.server import HttpServer, plain_app, secure_app, tls_context
from mediaserver.bootstrap import ensure_certificate
from mediaserver.errors import ConfigError
from mediaserver.settings import HttpSettings, Settings
from tests.support.sealed import sealed_file
from tests.unit.api.fake_facade import FakeFacade

SIGNED_IN = {"Authorization": "Basic " + base64.b64encode(b"admin:secret").decode()}
CHANGING = {**SIGNED_IN, "X-Requested-With": "test"}
Client = TestClient[Any, Any]


@pytest.fixture
def facade() -> FakeFacade:
    return FakeFacade()


@pytest.fixture
async def api(facade: FakeFacade) -> AsyncIterator[Client]:
    app = secure_app(HttpSettings(admin_password=SecretStr("secret")), facade)
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.fixture
async def plain(facade: FakeFacade) -> AsyncIterator[Client]:
    async with TestClient(TestServer(plain_app(facade, Metrics()))) as client:
        yield client


async def test_without_the_password_every_address_of_the_api_says_401(api: Client) -> None:
    for path in ("calls", "users", "recordings", "recordings/r1/audio.wav", "quality/c1", "health", "nothing"):
        async with api.get(f"/api/v1/{path}") as answer:
            assert answer.status == 401
            assert answer.headers["WWW-Authenticate"].startswith("Basic ")
            assert (await answer.json())["error"]["code"] == "unauthorized"


async def test_calls_come_with_their_legs_and_scores(api: Client) -> None:
    async with api.get("/api/v1/calls", headers=SIGNED_IN) as answer:
        (call,) = (await answer.json())["calls"]
    assert (call["id"], call["caller"], call["recording"]) == ("c1", "+4930123456", True)
    (leg,) = call["legs"]
    assert (leg["state"], leg["mos_received"], leg["mos_scale"]) == ("talking", 4.21, "fb")


async def test_one_call_tells_what_the_jitter_buffers_of_its_legs_decided(api: Client) -> None:
    async with api.get("/api/v1/calls/c1", headers=SIGNED_IN) as answer:
        (leg,) = (await answer.json())["legs"]
    assert leg["playout"] == {"lost": 3, "stretched_ms": 4.5}


async def test_an_unknown_call_is_404_with_words(api: Client) -> None:
    async with api.get("/api/v1/calls/none", headers=SIGNED_IN) as answer:
        assert answer.status == 404
        assert (await answer.json())["error"] == {
            "status": 404,
            "code": "not_found",
            "message": "there is no call none",
        }


async def test_hanging_up_needs_the_header_that_other_sites_cannot_send(api: Client, facade: FakeFacade) -> None:
    async with api.post("/api/v1/calls/c1/hangup", headers=SIGNED_IN) as answer:
        assert answer.status == 403
    assert facade.ended == []
    async with api.post("/api/v1/calls/c1/hangup", headers=CHANGING) as answer:
        assert answer.status == 202
    assert facade.ended == ["c1"]


async def test_users_are_added_listed_and_removed(api: Client) -> None:
    body = {"name": "102", "password": "pppp"}
    async with api.post("/api/v1/users", json=body, headers=CHANGING) as answer:
        assert answer.status == 201
    async with api.post("/api/v1/users", json=body, headers=CHANGING) as answer:
        assert answer.status == 409
    async with api.get("/api/v1/users", headers=SIGNED_IN) as answer:
        assert [user["name"] for user in (await answer.json())["users"]] == ["102"]
    for status in (204, 404):
        async with api.delete("/api/v1/users/102", headers=CHANGING) as answer:
            assert answer.status == status


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"{", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[]", "must be a JSON object"),
        (b'{"name": "x"}', "password must be given"),
        (b'{"name": 5, "password": "x"}', "name must be given, as text"),
        (b'{"name": "x", "password": "y", "admin": "1"}', "unknown: admin"),
        (b'{"name": "a b", "password": "y"}', "no spaces"),
    ],
)
async def test_a_wrong_body_is_400_and_says_why(api: Client, body: bytes, part: str) -> None:
    headers = {**CHANGING, "Content-Type": "application/json"}
    async with api.post("/api/v1/users", data=body, headers=headers) as answer:
        assert answer.status == 400
        assert part in (await answer.json())["error"]["message"]


async def test_a_body_too_large_is_413(api: Client) -> None:
    headers = {**CHANGING, "Content-Type": "application/json"}
    async with api.post("/api/v1/users", data=b" " * 100_000, headers=headers) as answer:
        assert answer.status == 413


async def test_a_body_that_says_it_is_too_large_is_refused_before_any_of_it_came(api: Client) -> None:
    reader, writer = await asyncio.open_connection(api.host, api.port)
    writer.write(
        b"POST /api/v1/session HTTP/1.1\r\nHost: here\r\nX-Requested-With: test\r\n"
        b"Content-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n"
    )
    async with asyncio.timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "limit=%D9%A3", "before_ms=-1", f"limit={'9' * 5000}"]
)
async def test_a_number_out_of_range_is_400(api: Client, query: str) -> None:
    async with api.get(f"/api/v1/recordings?{query}", headers=SIGNED_IN) as answer:
        assert answer.status == 400


async def test_recordings_are_paged_by_time(api: Client) -> None:
    async with api.get("/api/v1/recordings?limit=1", headers=SIGNED_IN) as answer:
        page = await answer.json()
    assert page["recordings"][0]["length"] == 12.34
    async with api.get(f"/api/v1/recordings?before_ms={page['before_ms']}", headers=SIGNED_IN) as answer:
        assert (await answer.json()) == {"recordings": [], "before_ms": None}


async def test_a_recording_plays_from_any_place(api: Client, facade: FakeFacade, tmp_path: Path) -> None:
    async with api.get("/api/v1/recordings/r1/audio.wav", headers=SIGNED_IN) as answer:
        assert answer.status == 409
    facade.audio = sealed_file(tmp_path / "r1.wav.sealed", bytes(range(100)))
    headers = {**SIGNED_IN, "Range": "bytes=10-19"}
    async with api.get("/api/v1/recordings/r1/audio.wav", headers=headers) as answer:
        assert (answer.status, answer.content_type) == (206, "audio/wav")
        assert await answer.read() == bytes(range(10, 20))
        assert answer.headers["Content-Range"] == "bytes 10-19/100"
    async with api.get("/api/v1/recordings/r1/audio.wav", headers=SIGNED_IN) as answer:
        assert (answer.status, await answer.read()) == (200, bytes(range(100)))
        assert answer.headers["Content-Disposition"] == 'inline; filename="r1.wav"'
    async with api.head("/api/v1/recordings/r1/audio.wav", headers=SIGNED_IN) as answer:
        assert (answer.status, answer.headers["Content-Length"]) == (200, "100")
    async with api.get("/api/v1/recordings/r1/audio.ogg", headers=SIGNED_IN) as answer:
        assert answer.content_type == "audio/ogg"
    async with api.get("/api/v1/recordings/r1/audio.mp3", headers=SIGNED_IN) as answer:
        assert answer.status == 404


async def test_a_film_is_of_the_party_and_the_picture_that_are_asked_for(
    api: Client, facade: FakeFacade, tmp_path: Path
) -> None:
    facade.audio = sealed_file(tmp_path / "r1.film.sealed", bytes(range(100)))
    address = "/api/v1/recordings/r1/film.webm"
    async with api.get("/api/v1/recordings/r1/pictures", headers=SIGNED_IN) as answer:
        assert (await answer.json())["pictures"][1] == {"party": "1", "picture": "screen"}
    headers = {**SIGNED_IN, "Range": "bytes=10-19"}
    async with api.get(f"{address}?party=1&picture=screen", headers=headers) as answer:
        assert (answer.status, answer.content_type) == (206, "video/webm")
        assert await answer.read() == bytes(range(10, 20))
    for query, status in (("?party=9", 404), ("?leg=1", 400), ("", 200)):
        async with api.get(address + query, headers=SIGNED_IN) as answer:
            assert answer.status == status
    async with api.get("/api/v1/recordings/r1/film.avi", headers=SIGNED_IN) as answer:
        assert answer.status == 404
    async with api.get(address) as answer:
        assert answer.status == 401
    assert facade.filmed == [("webm", "1", "screen"), ("webm", "9", None), ("webm", None, None)]


async def test_a_failure_inside_is_500_without_its_details(api: Client) -> None:
    async with api.get("/api/v1/quality/boom", headers=SIGNED_IN) as answer:
        assert answer.status == 500
        assert "planted" not in await answer.text()


async def test_scores_say_what_they_lacked(api: Client) -> None:
    async with api.get("/api/v1/quality/c1", headers=SIGNED_IN) as answer:
        (score,) = (await answer.json())["scores"]
    assert (score["mos"], score["basis"], score["missing"]) == (4.2, "playout", ["rtt", "codec"])


async def test_wrong_passwords_are_slowed_down(api: Client) -> None:
    for _ in range(10):
        async with api.get("/api/v1/calls", headers={"Authorization": "Bearer wrong"}) as answer:
            assert answer.status == 401
    async with api.get("/api/v1/calls", headers=SIGNED_IN) as answer:
        assert answer.status == 429
        assert 1 <= int(answer.headers["Retry-After"]) <= 61


async def test_a_wrong_method_is_405_and_says_which_are_right(api: Client) -> None:
    async with api.put("/api/v1/calls", headers=CHANGING) as answer:
        assert answer.status == 405
        assert "GET" in answer.headers["Allow"]


async def test_no_answer_tells_which_versions_run(api: Client, plain: Client) -> None:
    for client, path in ((api, "/"), (api, "/api/v1/calls"), (api, "/nowhere"), (plain, "/health/live")):
        async with client.get(path) as answer:
            assert answer.headers.getall("Server") == ["mediaserver"]


async def test_an_answer_to_what_is_not_http_tells_no_versions_either(plain: Client) -> None:
    reader, writer = await asyncio.open_connection(plain.host, plain.port)
    writer.write(b"GARBAGE\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.startswith(b"HTTP/1.0 400")
    assert b"\r\nServer: mediaserver\r\n" in answer


async def test_metrics_and_health_are_plain(plain: Client, facade: FakeFacade) -> None:
    async with plain.get("/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        assert "mediaserver_calls_active 0.0" in await answer.text()
    async with plain.get("/health/live") as answer:
        assert answer.status == 200
    async with plain.get("/health/ready") as answer:
        assert (answer.status, (await answer.json())["status"]) == (200, "ready")
    facade.parts["database"] = "disk full"
    async with plain.get("/health/ready") as answer:
        assert answer.status == 503
        assert (await answer.json())["parts"] == {"sip": "ok", "database": "disk full"}


async def test_the_server_listens_with_tls_and_stops(facade: FakeFacade, tmp_path: Path) -> None:
    certificate, key = ensure_certificate(tmp_path)
    http = HttpSettings(host="127.0.0.1", port=25_443, metrics_port=25_080, certificate=certificate, private_key=key)
    server = HttpServer(Settings(http=http), facade, Metrics())
    await server.start()
    try:
        async with ClientSession() as session, session.get("https://127.0.0.1:25443/", ssl=False) as answer:
            assert answer.status == 200
        second = HttpServer(Settings(http=http), facade, Metrics())
        with pytest.raises(ConfigError, match=r"http\.port is 25443; .* cannot be bound"):
            await second.start()
    finally:
        await server.stop()
    await server.stop()


async def test_a_connection_that_asks_nothing_is_closed(facade: FakeFacade, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_server, "HTTP_IDLE_S_MAX", 0.01)
    server = HttpServer(Settings(http=HttpSettings(port=0, metrics_port=25_081)), facade, Metrics())
    await server.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", 25_081)
        writer.write(b"GET /health/live HTTP/1.1\r\nHo")  # nor does half a request keep it
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()
    finally:
        await server.stop()


def test_a_certificate_that_does_not_fit_its_key_is_refused(tmp_path: Path) -> None:
    certificate, _ = ensure_certificate(tmp_path / "a")
    _, other_key = ensure_certificate(tmp_path / "b")
    with pytest.raises(ConfigError, match="belong together"):
        tls_context(HttpSettings(certificate=certificate, private_key=other_key))
