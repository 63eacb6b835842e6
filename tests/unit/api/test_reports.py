"""Reports over the API: who sees which reviews in them, and what leads where."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from mediaserver.api import report_routes
from mediaserver.store.models import review_calls
from mediaserver.store.reviewers import Reviewer
from mediaserver.store.scorecards import Review, ScorecardStore
from tests.unit.api.review_world import HASH, HOSTILE, Browser, World, open_world

CARD = {"sections": [{"title": "A", "weight": 1, "questions": [
    {"id": "hello", "text": HOSTILE, "weight": 1, "auto_fail": False},
    {"id": "safe", "text": "=SUM(A1)", "weight": 1, "auto_fail": True},
]}]}  # fmt: skip
# Who judged which call: even calls are of sales, odd ones of help; agents ann (3, 6), bob (1, 4, 7), eve (2, 5, 8).
JUDGED = [("r002", "kate", 80.0), ("r002", "quin", 60.0), ("r004", "kate", 40.0), ("r001", "kate", 0.0)]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as made:
        cards = ScorecardStore(made.database)
        await cards.put("basic", CARD, "root", 1)
        for recording, reviewer, score in JUDGED:
            answers = {"hello": "yes", "safe": "no" if score == 0 else "yes"}
            await cards.review(Review(recording, reviewer, "basic", 1, answers, score, score == 0, 5))
        yield made


async def lines(browser: Browser, asked: str) -> list[tuple[Any, ...]]:
    rows = (await browser.ask("GET", f"reports?{asked}"))["rows"]
    return [(one["name"], one["calls"], one["reviews"], one["mean"], one["failed"]) for one in rows]


async def test_a_supervisor_reads_all_of_his_queues_by_agent_queue_and_question(world: World) -> None:
    kate = await world.person("kate")
    assert await lines(kate, "by=agent") == [("bob", 2, 2, 20.0, 1), ("eve", 1, 2, 70.0, 0)]
    assert await lines(kate, "by=queue") == [("help", 1, 1, 0.0, 1), ("sales", 2, 3, 60.0, 0)]
    assert await lines(kate, "by=question") == [("hello", 3, 4, 100.0, 0), ("safe", 3, 4, 75.0, 1)]
    assert await lines(kate, "by=agent&queue=sales&agent=bob") == [("bob", 1, 1, 40.0, 0)]
    assert await lines(kate, "scorecard=other") == []
    await world.people.change(Reviewer("kate", HASH, "supervisor", ("sales",), 1))
    assert await lines(await world.person("kate"), "by=queue") == [("sales", 2, 3, 60.0, 0)]


async def test_how_far_reviewers_differ_is_read_by_question_and_by_person(world: World) -> None:
    cards = ScorecardStore(world.database)
    await cards.review(Review("r002", "quin", "basic", 1, {"hello": "no", "safe": "yes"}, 60.0, False, 6))
    kate = await world.person("kate")
    by_person = (await kate.ask("GET", "reports?by=reviewer"))["rows"]
    assert [(one["name"], one["calls"], one["compared"], one["leaning"], one["distance"]) for one in by_person] == [
        ("kate", 3, 1, 20.0, 20.0),
        ("quin", 1, 1, -20.0, 20.0),
    ]
    hello, safe = (await kate.ask("GET", "reports?by=question"))["rows"]
    assert (hello["compared"], hello["spread"], hello["leanings"]) == (1, 50.0, {"kate": 100.0, "quin": -100.0})
    assert (safe["spread"], safe["leanings"]) == (0.0, {"kate": 0.0, "quin": 0.0})
    (bob, eve) = (await kate.ask("GET", "reports?by=agent"))["rows"]
    assert (bob["spread"], eve["compared"], eve["spread"]) == (None, 1, 10.0)
    sheet = csv.DictReader(io.StringIO((await kate.ask("GET", "reports.csv?by=question")).decode()))
    assert [(one["spread"], one["furthest"]) for one in sheet] == [("50.0", "kate +100; quin -100"), ("0.0", "")]
    people = csv.DictReader(io.StringIO((await kate.ask("GET", "reports.csv?by=reviewer")).decode()))
    assert [(one["reviewer"], one["leaning"]) for one in people] == [("kate", "20.0"), ("quin", "-20.0")]


async def test_who_judges_blind_is_told_only_of_calls_he_has_judged(world: World) -> None:
    quin, aud = await world.person("quin"), await world.person("aud")
    assert await lines(quin, "by=agent") == [("eve", 1, 2, 70.0, 0)], "r004 would tell him what kate said of it"
    assert await lines(aud, "by=queue") == [("help", 1, 1, 0.0, 1), ("sales", 2, 3, 60.0, 0)]


async def test_periods_follow_the_readers_clock_and_the_time_asked_for_bounds_them(world: World) -> None:
    async with world.database.write() as connection:  # r002: 1970-01-02 23:00 in Greenwich
        late = update(review_calls).where(review_calls.c.recording_id == "r002").values(started_ms=47 * 3_600_000)
        await connection.execute(late)
    kate = await world.person("kate")
    for offset, day in ((0, "1970-01-02"), (120, "1970-01-03")):
        rows = (await kate.ask("GET", f"reports?by=queue&queue=sales&period=day&offset={offset}"))["rows"]
        assert [(one["period"], one["reviews"]) for one in rows] == [("1970-01-01", 1), (day, 2)]
    assert await lines(kate, f"by=queue&queue=sales&from={47 * 3_600}") == [("sales", 1, 2, 70.0, 0)]
    assert await lines(kate, f"by=queue&queue=sales&until={47 * 3_600}") == [("sales", 1, 1, 40.0, 0)]


async def test_the_sheet_has_no_formula_and_reading_is_logged(world: World) -> None:
    kate = await world.person("kate")
    text = (await kate.ask("GET", "reports.csv?by=question")).decode()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(one["question"], one["mean"], one["no"]) for one in rows] == [
        ("hello", "100.0", "0"),
        ("safe", "75.0", "1"),
    ]
    assert [one["text"] for one in rows] == [HOSTILE, "'=SUM(A1)"]
    agents = list(csv.DictReader(io.StringIO((await kate.ask("GET", "reports.csv")).decode())))
    bob = {"agent": "bob", "period": "", "calls": "2", "reviews": "2", "mean": "20.0", "failed": "1"}
    assert agents[0] == {**bob, "compared": "0", "spread": ""}
    assert await world.logged("exported report", 2) == [("kate", "", {}), ("kate", "", {"by": "question"})]


async def test_what_makes_no_sense_is_refused(world: World) -> None:
    kate = await world.person("kate")
    for wrong in ("by=colour", "period=hour", "from=x", "offset=841", "offset=nan", "agent=%00", "limit=3",
                  f"queue={'x' * 256}"):  # fmt: skip
        await kate.ask("GET", f"reports?{wrong}", 400)


async def test_a_report_has_a_bound_and_strangers_and_guests_get_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_routes, "REPORT_REVIEWS_MAX", 3)
    kate = await world.person("kate")
    said = await kate.ask("GET", "reports", 400)
    assert "more than 3 reviews" in said["error"]["message"]
    made = await kate.ask("POST", "calls/r002/shares", 201, json={"hours": 1})
    guest = Browser(world.client)
    await guest.follow(made["path"].partition("#share=")[2])
    for path in ("reports", "reports.csv"):
        await guest.ask("GET", path, 403)
        await Browser(world.client).ask("GET", path, 401)
