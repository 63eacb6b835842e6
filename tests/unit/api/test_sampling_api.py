"""Sampling over the API: who may make rules, what is drawn when, and whose list it lands on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from mediaserver.recording.sampling import SETTLE_MS, period_of
from mediaserver.store.models import review_calls
from mediaserver.store.reviewers import Reviewer
from tests.unit.api.review_world import HASH, Browser, World, open_world

DAY_MS = 86_400_000
RULE = {"name": "two a day", "per": "agent", "calls": 1, "period": "day", "reviewers": ["quin", "kate"]}
CARD = {"sections": [{"title": "A", "questions": [{"id": "hello", "text": "Hello"}]}]}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """Its nine calls are of today: even ones of sales, odd ones of help."""
    async with open_world(tmp_path) as made:
        async with made.database.write() as connection:
            await connection.execute(update(review_calls).values(started_ms=now_ms(made) - 1))
        yield made


def now_ms(world: World) -> int:
    return round(world.clock.wall() * 1000)


async def lists(world: World) -> dict[str, list[str]]:
    found = {}
    for name in ("kate", "quin"):
        said = await (await world.person(name)).ask("GET", "assigned")
        found[name] = [one["call"]["id"] for one in said["assigned"] if one["done"] is None]
    return found


async def test_a_period_is_drawn_once_after_its_end_and_the_lists_show_it(world: World) -> None:
    kate = await world.person("kate")
    made = await kate.ask("POST", "sampling", 201, json=RULE)
    await world.sampler.look()
    assert await lists(world) == {"kate": [], "quin": []}, "the day is not over"
    _, end = period_of(now_ms(world), "day")
    world.clock.advance((end + SETTLE_MS - now_ms(world)) * 1_000_000)
    for _ in range(2):
        await world.sampler.look()
        given = await lists(world)
        assert len(given["kate"] + given["quin"]) == 4, "ann, bob, eve, and the ninth call's"
    assert {one for one in given["quin"] if int(one[1:]) % 2} == set(), "quin sees sales only"
    kate = await world.person("kate")
    (rule,) = (await kate.ask("GET", "sampling"))["rules"]
    assert (rule["id"], rule["assigned"], rule["done"]) == (made["id"], 4, 0)
    world.clock.advance(DAY_MS * 1_000_000)
    await world.sampler.look()
    assert await lists(world) == given, "the next day had no calls"


async def test_a_judged_call_is_done_and_an_ended_rule_takes_back_what_waits(world: World) -> None:
    root, kate = await world.person("root"), await world.person("kate")
    await root.ask("PUT", "scorecards/basic", json=CARD)
    made = await kate.ask("POST", "sampling", 201, json={**RULE, "reviewers": ["kate"], "filters": {"mos_below": "5"}})
    assert await kate.ask("POST", f"sampling/{made['id']}/draw") == {"assigned": 4}
    assert await kate.ask("POST", f"sampling/{made['id']}/draw") == {"assigned": 0}, "nothing is missing"
    first, *rest = (await lists(world))["kate"]
    answers = {"scorecard": "basic", "version": 1, "answers": {"hello": "yes"}}
    await kate.ask("POST", f"calls/{first}/reviews", 201, json=answers)
    said = (await kate.ask("GET", "assigned"))["assigned"]
    assert [(one["call"]["id"], one["done"] is None) for one in said] == [
        *((one, True) for one in rest),
        (first, False),
    ]
    assert {one["rule"] for one in said} == {"two a day"}
    (rule,) = (await kate.ask("GET", "sampling"))["rules"]
    assert (rule["assigned"], rule["done"]) == (4, 1)
    await kate.ask("DELETE", f"sampling/{made['id']}", 204)
    assert [one["call"]["id"] for one in (await kate.ask("GET", "assigned"))["assigned"]] == [first]
    assert [detail["name"] for _, _, detail in await world.logged("ended sampling")] == ["two a day"]


async def test_filters_narrow_the_draw_and_a_supervisors_rule_draws_from_his_queues(world: World) -> None:
    await world.people.change(Reviewer("kate", HASH, "supervisor", ("sales",), 1))
    kate, root = await world.person("kate"), await world.person("root")
    every = {**RULE, "percent": 100, "reviewers": ["kate"]} | {"calls": None}
    made = await kate.ask("POST", "sampling", 201, json={**every, "filters": {"agent": "bob", "tag": ""}})
    assert await kate.ask("POST", f"sampling/{made['id']}/draw") == {"assigned": 1}
    assert (await lists(world))["kate"] == ["r004"], "r001 and r007 are of help"
    assert [one["id"] for one in (await root.ask("GET", "sampling"))["rules"]] == [made["id"]]
    wide = await root.ask("POST", "sampling", 201, json=every)
    assert [one["id"] for one in (await kate.ask("GET", "sampling"))["rules"]] == [made["id"]]
    await kate.ask("DELETE", f"sampling/{wide['id']}", 404)
    await kate.ask("POST", f"sampling/{wide['id']}/draw", 404)


async def test_only_supervisors_and_admins_make_rules_with_the_token_and_for_those_who_judge(world: World) -> None:
    for name, status in (("quin", 403), ("aud", 403), ("kate", 200), ("root", 200)):
        await (await world.person(name)).ask("GET", "sampling", status)
    await Browser(world.client).ask("GET", "assigned", 401)
    kate, aud = await world.person("kate"), await world.person("aud")
    await aud.ask("GET", "assigned", 403)
    assert [one["name"] for one in (await kate.ask("GET", "sampling"))["reviewers"]] == ["kate", "quin", "root"]
    kate.headers["X-CSRF-Token"] = "wrong"
    assert (await kate.ask("POST", "sampling", 403, json=RULE))["error"]["code"] == "csrf"
    kate = await world.person("kate")
    wrong: list[dict[str, Any]] = [
        {"per": "colour"}, {"period": "hour"}, {"calls": 0}, {"calls": None}, {"percent": 5}, {"reviewers": []},
        {"calls": 1.5},
        {"reviewers": ["aud"]}, {"reviewers": ["nobody"]}, {"reviewers": [1]}, {"name": " "}, {"name": "a\u202eb"},
        {"filters": {"from": "1"}}, {"filters": {"mos_below": "x"}}, {"filters": []}, {"colour": 1},
    ]  # fmt: skip
    for one in wrong:
        await kate.ask("POST", "sampling", 400, json={**RULE, **one})
    assert (await kate.ask("GET", "sampling"))["rules"] == []
