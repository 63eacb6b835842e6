"""People at the review page's API, and a few calls for them: what its tests stand on."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp.test_utils import TestClient, TestServer
from argon2 import PasswordHasher
from pydantic import SecretStr
from sqlalchemy import insert

from mediaserver.api.live_routes import LiveRoom
from mediaserver.api.oidc import Issuer
from mediaserver.api.review_people import COOKIE, ReviewGate
from mediaserver.api.review_routes import ADDRESS, ReviewApi
from mediaserver.api.review_words import search_of
from mediaserver.api.server import secure_app
from mediaserver.clock import VirtualClock
from mediaserver.recording.sampling import Sampler
from mediaserver.recording.sealed import SealedAudio, SealedSink
from mediaserver.settings import HttpSettings, OidcSettings
from mediaserver.store.calibrations import CalibrationStore
from mediaserver.store.database import Database, open_database
from mediaserver.store.models import review_calls
from mediaserver.store.review import ReviewStore
from mediaserver.store.review_answers import AnswerStore
from mediaserver.store.review_search import CallSearch
from mediaserver.store.reviewers import Reviewer, ReviewerStore
from mediaserver.store.sampling import SamplingStore
from mediaserver.store.score_reports import ScoreReports
from mediaserver.store.scorecards import ScorecardStore
from tests.unit.api.fake_facade import FakeFacade
from tests.unit.store.test_review_store import row

PASSWORD = "correct horse battery"
HASH = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1).hash(PASSWORD)  # quick to check, too
PEOPLE = {"kate": ("supervisor", None), "quin": ("qa", ("sales",)), "aud": ("auditor", None), "root": ("admin", None)}
HOSTILE = "../../<img src=x onerror=alert(1)>'; DROP TABLE review_calls; --"
Client = TestClient[Any, Any]


class Browser:
    """Keeps the cookie as a browser would: the test server speaks HTTP, and a Secure cookie is not sent over that."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.headers: dict[str, str] = {}

    async def ask(self, method: str, path: str, status: int = 200, **more: Any) -> Any:
        headers = {**self.headers, "X-Requested-With": "page", **more.pop("headers", {})}
        async with self.client.request(method, ADDRESS + path, headers=headers, **more) as answer:
            body = await answer.read()
            assert answer.status == status, body
            return await answer.json() if answer.content_type == "application/json" else body

    async def sign_in(self, user: str, password: str = PASSWORD) -> dict[str, Any]:
        return await self._take("sign-in", {"user": user, "password": password})

    async def follow(self, token: str) -> dict[str, Any]:
        return await self._take("sign-in-shared", {"token": token})

    async def _take(self, path: str, body: dict[str, str]) -> dict[str, Any]:
        async with self.client.post(ADDRESS + path, json=body, headers={"X-Requested-With": "page"}) as answer:
            assert answer.status == 200, await answer.text()
            cookie = answer.headers["Set-Cookie"]
            assert cookie.startswith(f"{COOKIE}=")
            assert {"Secure", "HttpOnly", "Path=/", "SameSite=Strict"} <= set(re.split("; ", cookie))
            me = await answer.json()
        self.headers = {"Cookie": cookie.partition(";")[0], "X-CSRF-Token": me["csrf"]}
        return dict(me)


class FakeLive:
    """The call room: one call, which may be heard unless `deaf` says why not."""

    def __init__(self) -> None:
        self.deaf = ""
        self.sessions: list[tuple[str, Any]] = []

    def why_not_heard(self, call_id: str) -> str:
        return self.deaf

    def listen(self, call_id: str, session: Any) -> None:
        self.sessions.append((call_id, session))
        session.accept(b"v=0 the answer")


class World:
    def __init__(
        self,
        client: Client,
        database: Database,
        store: ReviewStore,
        people: ReviewerStore,
        sampler: Sampler,
        live: FakeLive,
        api: ReviewApi,
        clock: VirtualClock,
        facade: FakeFacade,
    ) -> None:
        self.facade = facade
        self.sampler = sampler
        self.live = live
        self.api = api
        self.client, self.database, self.store, self.people, self.clock = client, database, store, people, clock

    async def person(self, name: str) -> Browser:
        browser = Browser(self.client)
        await browser.sign_in(name)
        return browser

    async def logged(self, what: str, count: int = 1) -> list[Any]:
        """The newest first, once there are so many: what was sent is known only after it has arrived."""
        entries: list[Any] = []
        for _ in range(200):
            entries = [one for one in await self.store.accesses() if one.what == what]
            if len(entries) >= count:
                break
        return [(one.who, one.recording_id, dict(one.detail)) for one in entries]


@asynccontextmanager
async def open_world(tmp_path: Path, oidc: OidcSettings | None = None) -> AsyncIterator[World]:
    database = await open_database("", tmp_path / "data")
    people, store, clock, facade = ReviewerStore(database), ReviewStore(database), VirtualClock(), FakeFacade()
    for name, (role, queues) in PEOPLE.items():
        await people.add(Reviewer(name, HASH, role, queues, 1))
    rows = [row(number, length_ms=10_000) for number in range(1, 9)] + [
        row(9, caller="=cmd|'/c calc'!A1", agent=HOSTILE)
    ]
    async with database.write() as connection:
        await connection.execute(insert(review_calls), rows)
    path, key = tmp_path / "audio", bytes(32)
    with SealedSink(path, 8_000, 2, key) as sink:
        sink.write_pcm(np.arange(160_000, dtype=np.int16).reshape(-1, 2))

    async def audio(_recording_id: str) -> SealedAudio:
        return SealedAudio.open(path, key)

    search, sampling = CallSearch(database), SamplingStore(database)
    sampler = Sampler(sampling, people, search, search_of, clock)
    live = FakeLive()
    api = ReviewApi(
        ReviewGate(people, clock), people, store, search, facade, audio, ScorecardStore(database),
        ScoreReports(database), AnswerStore(database), sampling, sampler,
        CalibrationStore(database), LiveRoom(live, lambda _request: "127.0.0.1"),
        None if oidc is None else Issuer(oidc, clock),
    )  # fmt: skip
    app = secure_app(HttpSettings(admin_password=SecretStr("secret")), facade)
    app.add_routes(api.routes())
    async with TestClient(TestServer(app)) as client:
        yield World(client, database, store, people, sampler, live, api, clock, facade)
    await database.close()


CALL = "calls/r002"  # of queue sales; r001 is of help
