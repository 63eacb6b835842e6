"""Calibration sessions over the API: blind until all have judged or it is closed, then compared; who may what."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from mediaserver.store.models import review_calls
from mediaserver.store.reviewers import Reviewer
from mediaserver.store.scorecards import ScorecardStore
from tests.unit.api.review_world import HASH, HOSTILE, Browser, World, open_world

CARD = {"sections": [{"title": "A", "weight": 1, "questions": [
    {"id": "hello", "text": HOSTILE, "weight": 1, "auto_fail": False},
    {"id": "safe", "text": "=SUM(A1)", "weight": 1, "auto_fail": True},
]}]}  # fmt: skip
MADE = {"name": "July", "scorecard": "basic", "reviewers": ["kate", "quin"], "calls": ["r002", "r004"]}  # of sales


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as made:
        await ScorecardStore(made.database).put("basic", CARD, "root", 1)
        yield made


async def judge(browser: Browser, recording: str, hello: str, safe: str = "yes") -> None:
    body = {"scorecard": "basic", "version": 1, "answers": {"hello": hello, "safe": safe}}
    await browser.ask("POST", f"calls/{recording}/reviews", 201, json=body)


async def begin(browser: Browser, **changed: Any) -> dict[str, Any]:
    made: dict[str, Any] = await browser.ask("POST", "calibrations", 201, json=MADE | changed)
    return made


async def session(browser: Browser) -> dict[str, Any]:
    (found,) = (await browser.ask("GET", "calibrations"))["calibrations"]
    return dict(found)


async def test_it_is_blind_until_the_last_has_judged_and_then_compared(world: World) -> None:
    kate, quin = await world.person("kate"), await world.person("quin")
    await begin(kate)
    for recording, hello in (("r002", "yes"), ("r004", "yes")):
        await judge(kate, recording, hello)
    await judge(quin, "r002", "no")
    mine = await session(quin)
    assert [(one["call"]["id"], one["done"], one["call"]["score"]) for one in mine["mine"]] == [
        ("r002", True, None),
        ("r004", False, None),
    ]
    assert (mine["result"], mine["reviewers"]) == (None, [{"name": "kate", "done": 2}, {"name": "quin", "done": 1}])
    # Who has judged sees others' reviews elsewhere; here he does not, and neither does the supervisor who takes part.
    for browser, name, score in ((quin, "quin", 50.0), (kate, "kate", 100.0)):
        said = await browser.ask("GET", "calls/r002/reviews")
        assert ([one["reviewer"] for one in said["reviews"]], said["hidden"], said["mean"]) == ([name], 1, score)
        assert (await browser.ask("GET", "calls/r002"))["call"]["score"] is None
        listed = {one["id"]: one["score"] for one in (await browser.ask("GET", "calls"))["calls"]}
        assert listed["r002"] is None
        low = await browser.ask("GET", "calls?score_below=100")
        assert "r002" not in {one["id"] for one in low["calls"]}, "being found by its score would tell it"
        sheet = csv.DictReader(io.StringIO((await browser.ask("GET", "calls.csv?number=%2B749500002")).decode()))
        assert [one["score"] for one in sheet] == [""]
        assert (await browser.ask("GET", "reports?by=agent"))["rows"] == []
        await browser.ask("GET", f"calibrations/{mine['id']}.csv", 409)

    await judge(quin, "r004", "partly")
    done = await session(quin)
    assert done["closed"] is not None
    assert "mine" not in done
    result = done["result"]
    assert [(one["recording"], one["scores"], one["mean"], one["spread"]) for one in result["calls"]] == [
        ("r002", {"kate": 100.0, "quin": 50.0}, 75.0, 25.0),
        ("r004", {"kate": 100.0, "quin": 75.0}, 87.5, 12.5),
    ]
    assert [(one["id"], one["text"], one["spread"]) for one in result["questions"]] == [
        ("hello", HOSTILE, 37.5),
        ("safe", "=SUM(A1)", 0.0),
    ]
    assert result["reviewers"] == [
        {"name": "kate", "leaning": 37.5, "distance": 37.5},
        {"name": "quin", "leaning": -37.5, "distance": 37.5},
    ]
    assert [one["reviewer"] for one in (await quin.ask("GET", "calls/r002/reviews"))["reviews"]] == ["kate", "quin"]
    # Judged again, what was compared stays as it was.
    await judge(quin, "r002", "yes")
    assert (await session(quin))["result"] == result
    sheet = csv.DictReader(io.StringIO((await quin.ask("GET", f"calibrations/{done['id']}.csv")).decode()))
    assert [(one["recording"], one["question"], one["kate"], one["quin"]) for one in sheet] == [
        ("r002", "", "100.0", "50.0"),
        ("r002", "hello", "yes", "no"),
        ("r002", "safe", "yes", "yes"),
        ("r004", "", "100.0", "75.0"),
        ("r004", "hello", "yes", "partly"),
        ("r004", "safe", "yes", "yes"),
    ]
    assert ("quin", "", {"session": done["id"], "name": "July"}) in await world.logged("exported report")


async def test_who_does_not_take_part_is_not_blinded_and_a_session_may_be_closed_by_hand(world: World) -> None:
    root, kate, quin = await world.person("root"), await world.person("kate"), await world.person("quin")
    made = await begin(kate)
    await judge(quin, "r002", "no")
    assert [one["reviewer"] for one in (await root.ask("GET", "calls/r002/reviews"))["reviews"]] == ["quin"]
    await quin.ask("POST", f"calibrations/{made['id']}/close", 403)
    closed = await kate.ask("POST", f"calibrations/{made['id']}/close")
    assert [(one["recording"], one["scores"]) for one in closed["result"]["calls"]] == [("r002", {"quin": 50.0})]
    assert closed["result"]["spread"] is None, "nobody can be compared with"
    await kate.ask("POST", f"calibrations/{made['id']}/close", 409)
    assert [what for what in ("calibrates", "calibrated") if await world.logged(what)] == ["calibrates", "calibrated"]


async def test_an_erased_call_and_another_version_of_the_card_hold_nothing_up_and_count_nothing(world: World) -> None:
    kate, quin = await world.person("kate"), await world.person("quin")
    await begin(kate)
    await judge(kate, "r002", "yes")
    async with world.database.write() as connection:
        await connection.execute(delete(review_calls).where(review_calls.c.recording_id == "r004"))
    await ScorecardStore(world.database).put("basic", {"sections": CARD["sections"] * 1}, "root", 2)
    await judge(quin, "r002", "yes")
    assert [one["recording"] for one in (await session(kate))["result"]["calls"]] == ["r002"]


async def test_what_all_have_judged_before_is_compared_at_once(world: World) -> None:
    kate, quin = await world.person("kate"), await world.person("quin")
    for browser, hello in ((kate, "yes"), (quin, "no")):
        await judge(browser, "r002", hello)
    assert (await begin(kate, calls=["r002"]))["result"]["spread"] == 25.0


async def test_nobody_is_invited_to_what_he_may_not_see_or_took_part_in(world: World) -> None:
    kate = await world.person("kate")
    await world.people.add(Reviewer("eve", HASH, "qa", None, 1))
    wrong: list[dict[str, Any]] = [
        {"calls": ["r001"]},  # of help, which quin does not see
        {"calls": ["r002"], "reviewers": ["kate", "eve"]},  # eve's own
        {"calls": ["nothing"]},
        {"calls": [HOSTILE]},
        {"calls": ["\x00"]},
        {"calls": []},
        {"calls": [f"r{n}" for n in range(51)]},
        {"calls": "r002"},
        {"reviewers": ["kate"]},
        {"reviewers": ["kate", "kate"]},
        {"reviewers": ["kate", "aud"]},
        {"reviewers": ["kate", HOSTILE]},
        {"reviewers": ["kate", 7]},
        {"scorecard": "none"},
        {"scorecard": ["basic"]},
        {"name": ""},
        {"name": "\x1b[2J"},
        {"more": 1},
    ]
    for changed in wrong:
        await kate.ask("POST", "calibrations", 400, json=MADE | changed)
    assert (await kate.ask("GET", "calibrations"))["calibrations"] == []
    quin, aud = await world.person("quin"), await world.person("aud")
    await quin.ask("POST", "calibrations", 403, json=MADE)
    await aud.ask("GET", "calibrations", 403)
    await Browser(world.client).ask("GET", "calibrations", 401)
    bare = Browser(world.client)
    bare.headers = {"Cookie": kate.headers["Cookie"]}
    await bare.ask("POST", "calibrations", 403, json=MADE)


async def test_a_session_is_there_for_its_people_and_for_who_sees_its_queues(world: World) -> None:
    await world.people.add(Reviewer("otto", HASH, "supervisor", ("help",), 1))
    kate, otto, quin = await world.person("kate"), await world.person("otto"), await world.person("quin")
    made = await begin(kate, reviewers=["kate", "root"])
    for browser in (otto, quin):
        assert (await browser.ask("GET", "calibrations"))["calibrations"] == []
        await browser.ask("GET", f"calibrations/{made['id']}.csv", 404)
    await otto.ask("POST", f"calibrations/{made['id']}/close", 404)
    assert (await (await world.person("root")).ask("GET", "calibrations"))["reviewers"] == [
        "kate",
        "otto",
        "quin",
        "root",
    ]
