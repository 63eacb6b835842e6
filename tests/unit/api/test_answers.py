"""Agents: what they see of scores, what they do not, and how their answers reach who judged."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mediaserver.store.reviewers import Reviewer
from tests.unit.api.review_world import CALL, HASH, Browser, World, open_world

CARD = {"sections": [{"title": "A", "questions": [{"id": "hello", "text": "Hello"}]}]}
JUDGED = {"scorecard": "basic", "version": 1}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """ann took calls 3 and 6, bob 1, 4 and 7, eve 2, 5 and 8; r002, of eve, has been judged by kate."""
    async with open_world(tmp_path) as made:
        for name in ("ann", "eve"):
            await made.people.add(Reviewer(name, HASH, "agent", None, 1))
        await (await made.person("root")).ask("PUT", "scorecards/basic", json=CARD)
        kate = await made.person("kate")
        await kate.ask("POST", f"{CALL}/reviews", 201, json={**JUDGED, "answers": {"hello": "partly"}})
        await kate.ask("POST", f"{CALL}/comments", 201, json={"from": 1, "text": "between reviewers"})
        await kate.ask("PUT", f"{CALL}/tags/rude", 204)
        yield made


async def mine(agent: Browser) -> list[dict[str, Any]]:
    return list((await agent.ask("GET", "mine"))["reviews"])


async def answer(agent: Browser, status: int = 200, path: str = f"{CALL}/reviews/kate/basic", **body: Any) -> Any:
    (found,) = await mine(agent)
    return await agent.ask("PUT", f"{path}/answer", status, json={"judged": found["review"]["made"], **body})


async def test_an_agent_reads_scores_of_his_own_calls_with_the_cards_words(world: World) -> None:
    eve, ann = await world.person("eve"), await world.person("ann")
    (found,) = await mine(eve)
    assert (found["call"]["id"], found["review"]["score"]) == ("r002", 50.0)
    assert found["review"]["answers"] == {"hello": "partly"}
    assert (found["sections"][0]["questions"][0]["text"], found["answer"]) == ("Hello", None)
    assert found["call"]["tags"] == []
    assert await mine(ann) == []
    assert [who for who, _, _ in await world.logged("read own scores", 2)] == ["ann", "eve"]


async def test_an_agent_hears_his_judged_calls_and_nothing_else_of_the_page_is_there(world: World) -> None:
    eve, ann = await world.person("eve"), await world.person("ann")
    assert len(await eve.ask("GET", f"{CALL}/audio.wav")) == 320_044
    shown = await eve.ask("GET", CALL)
    assert (shown["comments"], shown["call"]["tags"]) == ([], []), "these are between reviewers"
    for path in (CALL, f"{CALL}/audio.wav", f"{CALL}/lanes.json"):
        await ann.ask("GET", path, 404)
    await eve.ask("GET", "calls/r005", 404)  # hers, and not judged
    for path in ("calls", "calls.csv", "reports", "assigned", "sampling", "live", "log", "searches", "scorecards",
                 "answers", f"{CALL}/reviews", f"{CALL}/shares"):  # fmt: skip
        await eve.ask("GET", path, 403)
    await eve.ask("POST", f"{CALL}/reviews", 403, json={**JUDGED, "answers": {"hello": "yes"}})
    await eve.ask("POST", f"{CALL}/comments", 403, json={"from": 1, "text": "x"})
    for name in ("kate", "quin", "aud", "root"):
        await (await world.person(name)).ask("GET", "mine", 403)


async def test_an_answer_reaches_who_judged_and_supervisors_and_is_replaced_by_the_next(world: World) -> None:
    eve, kate, root, quin = [await world.person(name) for name in ("eve", "kate", "root", "quin")]
    await answer(eve, verdict="accept")
    await answer(eve, verdict="dispute", text="<b>He</b> hung up first.\nListen again.")
    (found,) = await mine(eve)
    assert found["answer"]["verdict"] == "dispute"
    for browser in (kate, root):
        (said,) = (await browser.ask("GET", "answers"))["answers"]
        assert (said["answer"]["agent"], said["answer"]["text"]) == ("eve", "<b>He</b> hung up first.\nListen again.")
    assert (await quin.ask("GET", "answers"))["answers"] == [], "the review is kate's"
    (shown,) = (await kate.ask("GET", f"{CALL}/reviews"))["reviews"]
    assert shown["answer"]["verdict"] == "dispute"
    assert [detail["verdict"] for _, _, detail in await world.logged("answered", 2)] == ["dispute", "accept"]
    await world.people.change(Reviewer("kate", HASH, "supervisor", ("help",), 1))
    assert (await (await world.person("kate")).ask("GET", "answers"))["answers"] == []


async def test_judged_again_the_answer_stays_and_is_known_to_be_of_the_former_score(world: World) -> None:
    eve, kate = await world.person("eve"), await world.person("kate")
    await answer(eve, verdict="comment", text="The line was bad.")
    (before,) = await mine(eve)
    world.clock.advance(1_000_000_000)
    await kate.ask("POST", f"{CALL}/reviews", 201, json={**JUDGED, "answers": {"hello": "yes"}})
    (after,) = await mine(eve)
    assert after["answer"]["judged"] == before["review"]["made"] < after["review"]["made"]
    await answer(eve, 409, verdict="accept", judged=before["review"]["made"])
    await answer(eve, verdict="accept")
    (now,) = await mine(eve)
    assert now["answer"]["judged"] == now["review"]["made"]


async def test_an_answer_needs_the_token_a_verdict_a_reason_and_a_review_of_ones_own(world: World) -> None:
    eve, ann = await world.person("eve"), await world.person("ann")
    wrong: list[dict[str, Any]] = [
        {"verdict": "maybe"}, {"verdict": "dispute"}, {"verdict": "comment", "text": " "},
        {"verdict": "accept", "text": "a\u202eb"}, {"verdict": "accept", "text": "x" * 4_001},
        {"verdict": "accept", "judged": "x"}, {"verdict": "accept", "colour": 1},
    ]  # fmt: skip
    for body in wrong:
        await answer(eve, 400, **body)
    await answer(eve, 404, path=f"{CALL}/reviews/quin/basic", verdict="accept")
    await answer(eve, 404, path="calls/r004/reviews/kate/basic", verdict="accept")
    body = {"verdict": "accept", "judged": 1}
    await ann.ask("PUT", f"{CALL}/reviews/kate/basic/answer", 404, json=body)
    await (await world.person("kate")).ask("PUT", f"{CALL}/reviews/kate/basic/answer", 403, json=body)
    eve.headers["X-CSRF-Token"] = ""
    assert (await eve.ask("PUT", f"{CALL}/reviews/kate/basic/answer", 403, json=body))["error"]["code"] == "csrf"
