"""The review page's API as browsers, guests and strangers meet it."""

from __future__ import annotations

import asyncio
import base64
import csv
import io
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from sqlalchemy import insert

from mediaserver.api.review_people import COOKIE
from mediaserver.model import Masked
from mediaserver.store.models import consent_evidence, recordings
from mediaserver.store.recordings import EvidenceRow, RecordingRow
from mediaserver.store.reviewers import Reviewer
from tests.unit.api.review_world import CALL, HASH, HOSTILE, PASSWORD, PEOPLE, Browser, World, open_world


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as made:
        yield made


async def test_a_stranger_gets_nothing_and_every_address_says_so(world: World) -> None:
    stranger = Browser(world.client)
    for path in ("me", "calls", "calls.csv", CALL, f"{CALL}/audio.wav", f"{CALL}/lanes.json", f"{CALL}/peaks", "live",
                 "log", "searches"):  # fmt: skip
        assert (await stranger.ask("GET", path, 401))["error"]["code"] == "unauthorized"
    stranger.headers = {"Cookie": f"{COOKIE}=made-up", "Authorization": "Bearer secret"}
    await stranger.ask("GET", "calls", 401)
    for user, password in (("kate", "wrong password"), ("nobody", PASSWORD), (HOSTILE[:60], PASSWORD)):
        await stranger.ask("POST", "sign-in", 401, json={"user": user, "password": password})
    assert await world.store.accesses() == []


async def test_guessing_is_slowed(world: World) -> None:
    stranger = Browser(world.client)
    for _ in range(10):
        await stranger.ask("POST", "sign-in-shared", 401, json={"token": "guessed"})
    await stranger.ask("POST", "sign-in", 429, json={"user": "kate", "password": PASSWORD})
    world.clock.advance(61 * 1_000_000_000)
    await stranger.sign_in("kate")


async def test_a_failed_sign_in_is_logged_without_what_was_typed(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    for user, word in (("kate", "not her password"), ("my-password-by-mistake", "kate")):
        await world.client.post(
            "/api/v1/review/sign-in", json={"user": user, "password": word}, headers={"X-Requested-With": "page"}
        )
    logged = [line for line in capsys.readouterr().out.splitlines() if "review sign-in failed" in line]
    assert ["reviewer=kate" in line for line in logged] == [True, False]
    assert all("source=127.0.0.1" in line and "wrong=password" in line for line in logged)
    assert not any("not her" in line or "mistake" in line for line in logged)


async def test_a_burst_of_guesses_is_slowed_as_well(world: World) -> None:
    """All are asked before the first is answered: the right password at their end gets no further than the others."""
    stranger = Browser(world.client)
    stranger.headers = {}
    guesses = [
        world.client.post(
            "/api/v1/review/sign-in",
            json={"user": "kate", "password": word},
            headers={"X-Requested-With": "page"},
        )
        for word in ["wrong password"] * 20 + [PASSWORD]
    ]
    answers = [answer.status for answer in await asyncio.gather(*guesses)]
    assert answers.count(401) in (10, 11)
    assert answers[-1] == 429


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("[" * 50_000, 400),
        ('{"user":"kate","password":"\\ud800aaaaaaaaaa"}', 401),
        ('{"user":"kate","password":' + "9" * 5_000 + "}", 400),
    ],
)
async def test_what_no_page_would_send_is_refused_and_not_a_fault(world: World, body: str, status: int) -> None:
    headers = {"X-Requested-With": "page", "Content-Type": "application/json"}
    assert (await world.client.post("/api/v1/review/sign-in", data=body, headers=headers)).status == status


async def test_a_number_or_a_place_beyond_all_bounds_is_refused(world: World) -> None:
    kate = await world.person("kate")
    await kate.ask("POST", f"{CALL}/comments", 400, json={"text": "x", "from": 10**400})
    place = base64.urlsafe_b64encode(b"99999999999999999999999999 x").decode()
    await kate.ask("GET", f"calls?after={place}", 400)


async def test_a_change_needs_the_token_that_other_sites_cannot_read(world: World) -> None:
    kate = await world.person("kate")
    without = Browser(world.client)
    without.headers = {"Cookie": kate.headers["Cookie"]}
    for token in ("", "wrong"):
        answer = await without.ask("PUT", f"{CALL}/tags/good", 403, headers={"X-CSRF-Token": token})
        assert answer["error"]["code"] == "csrf"
    assert (await kate.ask("GET", CALL))["call"]["tags"] == []
    await kate.ask("PUT", f"{CALL}/tags/good", 204)
    assert (await kate.ask("GET", "calls?tag=good"))["calls"][0]["id"] == "r002"
    await kate.ask("DELETE", f"{CALL}/tags/good", 204)
    assert (await kate.ask("GET", "calls?tag=good"))["calls"] == []


async def test_a_call_tells_what_proves_each_consent_and_a_link_does_not(world: World) -> None:
    heard = EvidenceRow("e1", "c2", "r002", "1", Masked("100"), "training", "implied", "p", "recording-notice", "ab",
                        "en", 1_000, 4_000, 1, 2, "notice", 150, 3, "{}", 9, 100, 249, 251, 90, 7)  # fmt: skip
    pressed = replace(heard, evidence_id="e2", state="granted", how="dtmf", packets_lost=-1, rtcp_highest=-1,
                      notice_ended_ns=9)  # fmt: skip
    async with world.database.write() as connection:
        for one in (heard, pressed):
            await connection.execute(insert(consent_evidence), {**asdict(one), "party": str(one.party)})
    kate, guest = await world.person("kate"), Browser(world.client)
    told = (await kate.ask("GET", CALL))["evidence"]
    assert [(one["purpose"], one["how"], one["packets"], one["reported"], one["arrived"]) for one in told] == [
        ("training", "notice", [100, 249], 251, 0.98),
        ("training", "dtmf", [100, 249], None, None),
    ]
    made = await kate.ask("POST", f"{CALL}/shares", 201, json={"hours": 1})
    await guest.follow(made["path"].partition("#share=")[2])
    assert "evidence" not in await guest.ask("GET", CALL)


async def test_what_is_kept_for_a_purpose_with_listeners_of_its_own_is_heard_by_them_alone(world: World) -> None:
    kept = RecordingRow("r002", "c2", "complete", "call", "2026/01/01/r002", Masked("1"), Masked("2"), 1,
                        purposes="contract", listeners="admin,supervisor")  # fmt: skip
    async with world.database.write() as connection:
        await connection.execute(insert(recordings), {name: str(value) if isinstance(value, Masked) else value
                                                      for name, value in asdict(kept).items()})  # fmt: skip
    for name, hears in (("kate", True), ("root", True), ("quin", False)):
        person = await world.person(name)
        assert (await person.ask("GET", CALL))["call"]["hear"] is hears
        await person.ask("GET", f"{CALL}/audio.wav", 200 if hears else 403)
    kate, guest = await world.person("kate"), Browser(world.client)
    made = await kate.ask("POST", f"{CALL}/shares", 201, json={"hours": 1})
    await guest.follow(made["path"].partition("#share=")[2])
    await guest.ask("GET", f"{CALL}/audio.wav")  # who may hear it has vouched for the guest


async def test_each_role_may_do_its_own_and_no_more(world: World) -> None:
    asked = {
        ("GET", "calls"): {"quin", "kate", "aud", "root"},
        ("GET", f"{CALL}/audio.wav"): {"quin", "kate", "root"},
        ("PUT", f"{CALL}/tags/x"): {"quin", "kate", "root"},
        ("GET", "live"): {"kate", "root"},
        ("GET", "log"): {"aud", "root"},
    }
    for name in PEOPLE:
        browser = await world.person(name)
        for (method, path), allowed in asked.items():
            await browser.ask(method, path, (204 if method == "PUT" else 200) if name in allowed else 403)


async def test_a_reviewer_sees_its_queues_and_the_rest_is_not_there(world: World) -> None:
    quin = await world.person("quin")
    found = (await quin.ask("GET", "calls"))["calls"]
    assert {call["queue"] for call in found} == {"sales"}
    for path in ("", "/audio.wav", "/lanes.json", "/peaks"):
        await quin.ask("GET", f"calls/r001{path}", 404)
    await quin.ask("POST", "calls/r001/comments", 404, json={"from": 0, "text": "x"})
    await quin.ask("GET", "calls?queue=help", 200)
    assert (await quin.ask("GET", "calls?queue=help"))["calls"] == []
    assert not [one for one in await world.store.accesses() if one.recording_id == "r001"]


async def test_pages_follow_each_other(world: World) -> None:
    kate = await world.person("kate")
    seen, after = [], ""
    while True:
        page = await kate.ask("GET", f"calls?limit=4&after={after}")
        seen += [call["id"] for call in page["calls"]]
        after = page["after"] or ""
        if not after:
            break
    assert len(seen) == len(set(seen)) == 9
    for wrong in ("limit=0", "limit=x", "after=x", "mos_below=nan", "colour=1", "from=-1", "silence_above=1e99"):
        await kate.ask("GET", f"calls?{wrong}", 400)


async def test_audio_is_answered_by_ranges_and_the_log_has_the_seconds(world: World) -> None:
    kate = await world.person("kate")
    whole = await kate.ask("GET", f"{CALL}/audio.wav")
    assert len(whole) == 44 + 320_000
    part = await kate.ask("GET", f"{CALL}/audio.wav", 206, headers={"Range": "bytes=32044-64043"})
    assert part == whole[32_044:64_044]
    assert await kate.ask("GET", f"{CALL}/audio.wav", 206, headers={"Range": "bytes=-10"}) == whole[-10:]
    await kate.ask("GET", f"{CALL}/audio.wav", 416, headers={"Range": "bytes=320044-"})
    sent = await world.logged("sent", 3)
    assert [detail["seconds"] for _, _, detail in sent][::-1][:2] == [[[0.0, 10.0]], [[1.0, 2.0]]]
    heard = {"seconds": [[3, 4.5], [1, 2], [2, 3.25], [9, 99]]}
    await kate.ask("POST", f"{CALL}/played", 204, json=heard)
    assert await world.logged("played") == [("kate", "r002", {"seconds": [[1.0, 4.5], [9.0, 10.0]]})]
    for wrong in ([], [[2, 1]], [["a", 1]], [[0, 1]] * 201, "all", [[0]]):
        await kate.ask("POST", f"{CALL}/played", 400, json={"seconds": wrong})


async def test_a_link_opens_one_stretch_of_one_recording_until_it_ends(world: World) -> None:
    kate = await world.person("kate")
    made = await kate.ask("POST", f"{CALL}/shares", 201, json={"hours": 1, "from": 2, "to": 4})
    token = made["path"].partition("#share=")[2]
    guest = Browser(world.client)
    me = await guest.follow(token)
    assert (me["role"], me["recording"]) == ("guest", "r002")
    assert await guest.ask("GET", CALL) == {
        "call": {"id": "r002", "started": 1_001.0, "length": 10.0}, "range": {"from": 2.0, "to": 4.0}
    }  # fmt: skip
    whole = await kate.ask("GET", f"{CALL}/audio.wav")
    assert (await guest.ask("GET", f"{CALL}/audio.wav"))[44:] == whole[44 + 64_000 : 44 + 128_000]
    for path in ("calls/r003", "calls/r003/audio.wav", f"{CALL}/lanes.json", f"{CALL}/peaks"):
        await guest.ask("GET", path, 404)
    for path in ("calls", "calls.csv", "live", "log", "searches"):
        await guest.ask("GET", path, 403)
    assert [who for who, _, _ in await world.logged("sent", 2)] == [f"share:{made['id']}", "kate"]
    world.clock.advance(3_601 * 1_000_000_000)
    await guest.ask("GET", f"{CALL}/audio.wav", 401)
    await guest.ask("POST", "sign-in-shared", 401, json={"token": token})


async def test_a_link_taken_back_ends_at_once(world: World) -> None:
    kate, quin = await world.person("kate"), await world.person("quin")
    await quin.ask("POST", f"{CALL}/shares", 403, json={"hours": 1})
    for wrong in ({"hours": 0}, {"hours": 1e9}, {"hours": 1, "from": 5, "to": 4}, {}):
        await kate.ask("POST", f"{CALL}/shares", 400, json=wrong)
    made = await kate.ask("POST", f"{CALL}/shares", 201, json={"hours": 1})
    guest = Browser(world.client)
    await guest.follow(made["path"].partition("#share=")[2])
    assert len(await guest.ask("GET", f"{CALL}/audio.wav")) == 320_044
    await quin.ask("GET", f"{CALL}/shares", 403)
    (told,) = (await kate.ask("GET", f"{CALL}/shares"))["shares"]
    assert (told["id"], told["by"], told["to"], set(told)) == (
        made["id"], "kate", None, {"id", "by", "from", "to", "created", "expires"},
    )  # fmt: skip
    assert (await kate.ask("GET", "calls/r003/shares"))["shares"] == []
    await kate.ask("DELETE", f"calls/r003/shares/{made['id']}", 404)
    await kate.ask("DELETE", f"{CALL}/shares/{made['id']}", 204)
    assert (await kate.ask("GET", f"{CALL}/shares"))["shares"] == []
    await guest.ask("GET", f"{CALL}/audio.wav", 401)


async def test_a_new_password_ends_the_other_sessions(world: World) -> None:
    here, there = await world.person("kate"), await world.person("kate")
    await here.ask("POST", "password", 400, json={"old": PASSWORD, "new": "short"})
    await here.ask("POST", "password", 401, json={"old": "wrong", "new": "another long one"})
    await here.ask("POST", "password", 204, json={"old": PASSWORD, "new": "another long one"})
    await here.ask("GET", "me")
    await there.ask("GET", "me", 401)
    await there.ask("POST", "sign-in", 401, json={"user": "kate", "password": PASSWORD})
    await there.sign_in("kate", "another long one")
    await there.ask("POST", "sign-out", 204)
    await there.ask("GET", "me", 401)


async def test_a_session_ends_after_a_shift(world: World) -> None:
    kate = await world.person("kate")
    world.clock.advance(12 * 3_600 * 1_000_000_000)
    await kate.ask("GET", "me", 401)


async def test_a_spreadsheet_gets_no_formula(world: World) -> None:
    kate = await world.person("kate")
    rows = list(csv.DictReader(io.StringIO((await kate.ask("GET", "calls.csv")).decode())))
    assert len(rows) == 9
    by_id = {one["id"]: one for one in rows}
    assert by_id["r009"]["caller"] == "'=cmd|'/c calc'!A1"
    assert by_id["r002"]["caller"] == "'+749500002"
    assert by_id["r009"]["agent"] == HOSTILE
    assert not [cell for one in rows for cell in one.values() if cell.startswith(("=", "+", "-", "@"))]
    quin = await world.person("quin")
    assert {
        one["queue"] for one in csv.DictReader(io.StringIO((await quin.ask("GET", "calls.csv?limit=1")).decode()))
    } == {"sales"}
    assert [who for who, _, _ in await world.logged("exported")] == ["quin", "kate"]


async def test_comments_are_kept_as_written_and_removed_by_their_author_only(world: World) -> None:
    kate, quin = await world.person("kate"), await world.person("quin")
    made = await quin.ask("POST", f"{CALL}/comments", 201, json={"from": 1.5, "to": 2, "text": HOSTILE})
    (shown,) = (await kate.ask("GET", CALL))["comments"]
    assert (shown["text"], shown["author"], shown["from"], shown["to"]) == (HOSTILE, "quin", 1.5, 2.0)
    for wrong in ({"from": 1}, {"from": 99, "text": "x"}, {"from": 2, "to": 1, "text": "x"}, {"from": 1, "text": " "},
                  {"from": 1, "text": "a\u202eb"}, {"from": 1, "text": "x" * 5_000}):  # fmt: skip
        await quin.ask("POST", f"{CALL}/comments", 400, json=wrong)
    await kate.ask("DELETE", f"{CALL}/comments/{made['id']}", 404)
    await quin.ask("DELETE", f"{CALL}/comments/{made['id']}", 204)
    assert (await kate.ask("GET", CALL))["comments"] == []


async def test_searches_are_saved_for_oneself(world: World) -> None:
    kate, quin = await world.person("kate"), await world.person("quin")
    await kate.ask("PUT", "searches/bad%20sound", 204, json={"filters": {"mos_below": "3.1"}})
    await kate.ask("PUT", "searches/wrong", 400, json={"filters": {"colour": "red"}})
    assert (await kate.ask("GET", "searches"))["searches"] == {"bad sound": {"mos_below": "3.1"}}
    assert (await quin.ask("GET", "searches"))["searches"] == {}
    await kate.ask("DELETE", "searches/bad%20sound", 204)
    assert (await kate.ask("GET", "searches"))["searches"] == {}


@pytest.mark.parametrize("name", ["..%2F..%2Fetc%2Fpasswd", "%00", "a'%20OR%20'1'='1", "%3Cscript%3E", "x" * 3_000])
async def test_hostile_names_are_just_not_there(world: World, name: str) -> None:
    kate = await world.person("kate")
    for path in ("", "/audio.wav", "/lanes.json", "/peaks"):
        await kate.ask("GET", f"calls/{name}{path}", 404)
    for field in ("number", "agent", "queue", "tag", "consent"):
        asked = await kate.ask("GET", f"calls?{field}={name[:200]}", 400 if name == "%00" else 200)
        assert asked.get("calls", []) == []
    assert len((await kate.ask("GET", "calls"))["calls"]) == 9


async def test_running_calls_are_shown_with_how_they_sound_by_queue(world: World) -> None:
    kate = await world.person("kate")
    (call,) = (await kate.ask("GET", "live"))["calls"]
    assert (call["id"], call["legs"][0]["mos_received"]) == ("c1", 4.21)
    await world.people.change(Reviewer("kate", HASH, "supervisor", ("sales",), 1))
    await kate.ask("GET", "live", 401)
    kate = await world.person("kate")
    assert (await kate.ask("GET", "live"))["calls"] == []


async def test_the_log_is_read_by_those_who_may_and_reading_it_is_logged(world: World) -> None:
    kate, aud = await world.person("kate"), await world.person("aud")
    await kate.ask("GET", CALL)
    entries = (await aud.ask("GET", "log?recording=r002"))["entries"]
    assert [(one["who"], one["what"]) for one in entries] == [("kate", "opened")]
    assert await world.logged("read log") == [("aud", "", {"recording": "r002"})]


async def test_who_sees_one_queue_reads_the_log_of_that_queue_only(world: World) -> None:
    await world.people.add(Reviewer("olga", HASH, "auditor", ("sales",), 1))
    await world.people.add(Reviewer("none", HASH, "admin", (), 1))
    kate, olga, none = [await world.person(name) for name in ("kate", "olga", "none")]
    await kate.ask("GET", "calls?number=%2B749500001")  # what others searched for may name a caller of another queue
    await kate.ask("GET", "calls/r001")  # of help
    await kate.ask("GET", CALL)
    seen = (await olga.ask("GET", "log"))["entries"]
    assert [(one["who"], one["what"], one["recording"]) for one in seen] == [
        ("olga", "read log", ""), ("kate", "opened", "r002"), ("olga", "signed in", ""),
    ]  # fmt: skip
    assert (await olga.ask("GET", "log?recording=r001"))["entries"] == []
    assert [one["what"] for one in (await olga.ask("GET", "log?who=kate"))["entries"]] == ["opened"]
    assert {one["who"] for one in (await none.ask("GET", "log"))["entries"]} == {"none"}
    assert "r001" in {one["recording"] for one in (await (await world.person("aud")).ask("GET", "log"))["entries"]}


QUESTIONS = [{"id": "hello", "text": HOSTILE}, {"id": "safe", "text": "Safe", "auto_fail": True}]
CARD_BODY = {"sections": [{"title": "A", "questions": QUESTIONS}]}


async def test_a_card_is_versioned_and_a_review_keeps_its_version(world: World) -> None:
    kate, root = await world.person("kate"), await world.person("root")
    await kate.ask("PUT", "scorecards/basic", 403, json=CARD_BODY)
    await root.ask("PUT", "scorecards/..%2Fbasic", 400, json=CARD_BODY)
    await root.ask("PUT", "scorecards/Basic", 400, json=CARD_BODY)
    await root.ask("PUT", "scorecards/basic", 400, json={"sections": []})
    assert (await root.ask("PUT", "scorecards/basic", json=CARD_BODY))["version"] == 1
    assert (await root.ask("PUT", "scorecards/basic", json=CARD_BODY))["version"] == 1, "nothing has changed"
    judged = {"scorecard": "basic", "version": 1, "answers": {"hello": "partly", "safe": "yes"}}
    assert (await kate.ask("POST", f"{CALL}/reviews", 201, json=judged))["score"] == 75.0
    second = {"sections": [{"title": "B", "questions": [{"id": "other", "text": "Other"}]}]}
    assert (await root.ask("PUT", "scorecards/basic", json=second))["version"] == 2
    (card,) = (await kate.ask("GET", "scorecards"))["scorecards"]
    assert (card["version"], card["sections"][0]["title"]) == (2, "B")
    assert (await kate.ask("POST", f"{CALL}/reviews", 201, json=judged))["version"] == 1
    for wrong in ({**judged, "version": 3}, {**judged, "scorecard": "none"}):
        await kate.ask("POST", f"{CALL}/reviews", 404, json=wrong)
    for wrong in ({**judged, "version": 2}, {**judged, "answers": {}}, {**judged, "scorecard": "../x"}, {}):
        await kate.ask("POST", f"{CALL}/reviews", 400, json=wrong)


async def test_reviewers_do_not_lead_each_other_and_the_mean_can_be_searched(world: World) -> None:
    root, kate, quin, aud = [await world.person(name) for name in ("root", "kate", "quin", "aud")]
    await root.ask("PUT", "scorecards/basic", json=CARD_BODY)
    judged = {"scorecard": "basic", "version": 1}
    await kate.ask("POST", f"{CALL}/reviews", 201, json={**judged, "answers": {"hello": "yes", "safe": "yes"}})
    before = await quin.ask("GET", f"{CALL}/reviews")
    assert (before["reviews"], before["hidden"], before["mean"]) == ([], 1, None)
    assert before["calibration"] == [], "no answer of another before one's own"
    await quin.ask("POST", f"{CALL}/reviews", 201, json={**judged, "answers": {"hello": "yes", "safe": "no"}})
    for browser in (quin, kate, root, aud):
        said = await browser.ask("GET", f"{CALL}/reviews")
        assert [(one["reviewer"], one["score"], one["failed"]) for one in said["reviews"]] == [
            ("kate", 100.0, False), ("quin", 0.0, True),
        ]  # fmt: skip
        assert (said["mean"], said["spread"]) == (50.0, 50.0)
        (card,) = said["calibration"]
        assert [(one["id"], one["spread"], one["answers"]) for one in card["questions"]] == [
            ("safe", 50.0, {"kate": "yes", "quin": "no"}), ("hello", 0.0, {"kate": "yes", "quin": "yes"}),
        ]  # fmt: skip
    assert [call["id"] for call in (await kate.ask("GET", "calls?score_below=60"))["calls"] if call["score"] == 50] == [
        "r002"
    ]
    await quin.ask("POST", f"{CALL}/reviews", 201, json={**judged, "answers": {"hello": "yes", "safe": "yes"}})
    assert (await aud.ask("GET", f"{CALL}/reviews"))["mean"] == 100.0
    await aud.ask("POST", f"{CALL}/reviews", 403, json={**judged, "answers": {"hello": "yes", "safe": "yes"}})
    await quin.ask("GET", "calls/r001/reviews", 404)
    assert [who for who, _, _ in await world.logged("scored", 3)] == ["quin", "quin", "kate"]
