"""The pages over HTTP, as a browser and as a prying program ask for them."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from pydantic import SecretStr
from yarl import URL

from mediaserver.api.pages import takes_gzip
from mediaserver.api.server import secure_app
from mediaserver.settings import HttpSettings
from mediaserver.web import assets
from tests.unit.api.fake_facade import FakeFacade

Client = TestClient[Any, Any]
PAGES = sorted(address for address, asset in assets.load().items() if asset.content_type == "text/html")


@pytest.fixture
async def api() -> AsyncIterator[Client]:
    app = secure_app(HttpSettings(admin_password=SecretStr("secret")), FakeFacade())
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.mark.parametrize("page", PAGES)
async def test_a_page_needs_no_password_and_carries_its_policy(api: Client, page: str) -> None:
    async with api.get(page) as answer:
        assert (answer.status, answer.content_type, answer.charset) == (200, "text/html", "utf-8")
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["Content-Security-Policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cache-Control"] == "no-cache"
        text = await answer.text()
    for address in re.findall(r'(?:src|href)="(/assets/[^"]+)"', text):
        async with api.get(address) as part:
            assert part.status == 200
            assert "immutable" in part.headers["Cache-Control"]


@pytest.mark.parametrize("page", PAGES)
async def test_a_browser_that_has_the_page_is_told_that_it_is_still_right(api: Client, page: str) -> None:
    async with api.get(page) as answer:
        tag = answer.headers["ETag"]
    async with api.get(page, headers={"If-None-Match": tag}) as answer:
        assert (answer.status, await answer.read(), answer.headers["ETag"]) == (304, b"", tag)
    async with api.get(page, headers={"If-None-Match": '"another"'}) as answer:
        assert answer.status == 200


async def test_gzip_goes_to_those_who_take_it_under_a_tag_of_its_own(api: Client) -> None:
    async with api.get("/", headers={"Accept-Encoding": "identity"}) as plain:
        assert "Content-Encoding" not in plain.headers
        whole = await plain.read()
    async with api.get("/", headers={"Accept-Encoding": "br, gzip"}) as packed:
        assert packed.headers["Content-Encoding"] == "gzip"
        assert packed.headers["Vary"] == "Accept-Encoding"
        assert int(packed.headers["Content-Length"]) < len(whole)
        assert await packed.read() == whole  # the client unpacks
        assert packed.headers["ETag"] != plain.headers["ETag"]


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("gzip", True),
        ("br;q=1.0, GZIP;q=0.5", True),
        ("x-gzip", True),
        ("", False),
        ("br", False),
        ("gzip;q=0", False),
        ("gzip; q=0.0", False),
        ("not-gzip", False),
        (";;;,,=", False),
    ],
)
def test_who_takes_gzip(header: str, taken: bool) -> None:
    assert takes_gzip(header) is taken


@pytest.mark.parametrize(
    "path",
    [
        "/../pyproject.toml",
        "/assets/../desk.html",
        "/assets/..%2f..%2fassets.py",
        "/assets/%2e%2e/%2e%2e/assets.py",
        "/assets//etc/passwd",
        "/assets/",
        "/assets",
        "/desk.html",
        "/phone/",
        "/phone%00",
        "/static/desk.html",
        "/assets/" + "a" * 4000,
    ],
)
async def test_whatever_is_no_file_of_the_bundle_is_404(api: Client, path: str) -> None:
    url = URL(f"{api.make_url('/')}".rstrip("/") + path, encoded=True)
    async with api.session.get(url) as answer:
        assert answer.status == 404
        assert (await answer.json())["error"]["code"] == "not_found"


async def test_a_person_who_mistypes_an_address_is_told_where_the_pages_are(api: Client) -> None:
    typed = api.make_url("/").joinpath("<b>fone")
    async with api.session.get(typed, headers={"Accept": "text/html,*/*"}) as answer:
        text = await answer.text()
        assert (answer.status, answer.content_type) == (404, "text/html")
        assert "&lt;b&gt;fone" in text
        assert "<b>" not in text
        assert all(f'href="{page}"' in text for page in ("/", "/phone", "/qa"))
    async with api.session.get(api.make_url("/api/v1/nothing"), headers={"Accept": "text/html"}) as answer:
        assert answer.content_type == "application/json"


async def test_a_page_takes_no_other_method(api: Client) -> None:
    async with api.post("/") as answer:
        assert answer.status == 405
    async with api.head("/") as answer:
        assert answer.status == 200
