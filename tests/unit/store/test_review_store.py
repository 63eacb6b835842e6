"""Finding calls, what reviewers leave at them, and the log that nobody can shorten."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from mediaserver.model import Masked
from mediaserver.store import review_search
from mediaserver.store.database import Database, open_database
from mediaserver.store.models import calls, consent_evidence, legs, quality_intervals, recordings, review_calls
from mediaserver.store.recordings import RecordingStore
from mediaserver.store.review import ReviewStore
from mediaserver.store.review_answers import AnswerStore, ReviewAnswer
from mediaserver.store.review_search import CallSearch, FoundCall, Place, Search
from mediaserver.store.reviewers import Reviewer, ReviewerStore, Session, Share
from mediaserver.store.sampling import SamplingRule, SamplingStore
from mediaserver.store.score_reports import Asked, ScoreReports
from mediaserver.store.scorecards import Review, ScorecardStore
from mediaserver.store.spool import Spool
from tests.support.postgres import Postgres


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    url = request.getfixturevalue("postgres").new_database() if request.param == "postgresql" else ""
    opened = await open_database(url, tmp_path / "data")
    yield opened
    await opened.close()


HOSTILE = "'; DROP TABLE review_calls; --"


def row(number: int, **values: Any) -> dict[str, Any]:
    return {
        "recording_id": f"r{number:03}",
        "call_id": f"c{number}",
        "started_ms": 1_000_000 + 1_000 * (number // 2),  # two at a time: the id decides between them
        "length_ms": 1_000 * number,
        "queue": ("sales", "help")[number % 2],
        "agent": ("ann", "bob", "eve")[number % 3],
        "caller": f"+749500{number:03}",
        "called": "800" if number % 4 else "900",
        "consent": "implied" if number % 5 else "granted",
        "ended_by": "caller" if number % 2 else "",
        "mos": None if number % 7 == 0 else 1.0 + number % 35 / 10,
        "silence": number % 10 / 10,
        "overtalk": number % 20 / 20,
        "score": None if number % 3 else float(number % 100),
        **values,
    }


ROWS = [row(number) for number in range(120)]


@pytest.fixture
async def search(database: Database) -> AsyncIterator[CallSearch]:
    async with database.write() as connection:
        await connection.execute(insert(review_calls), ROWS)
    store = ReviewStore(database)
    for number in range(0, 120, 10):
        await store.tag(f"r{number:03}", "escalated")
    yield CallSearch(database)


def fits(one: dict[str, Any], asked: dict[str, Any]) -> bool:
    """The search as one would write it without a database."""
    below = {"mos_below": "mos", "score_below": "score", "length_max_ms": "length_ms", "until_ms": "started_ms"}
    above = {"silence_above": "silence", "overtalk_above": "overtalk", "length_min_ms": "length_ms",
             "from_ms": "started_ms"}  # fmt: skip
    for name, value in asked.items():
        if name in below:
            good = one[below[name]] is not None and one[below[name]] < value
        elif name in above:
            good = one[above[name]] is not None and one[above[name]] >= value
        elif name == "number":
            begins = (str(value), f"+{value}" if str(value).isdigit() else str(value))
            good = one["caller"].startswith(begins) or one["called"].startswith(begins)
        elif name == "tag":
            good = value == "escalated" and int(one["recording_id"][1:]) % 10 == 0
        else:
            good = one[name] == value
        if not good:
            return False
    return True


FILTERS: list[dict[str, Any]] = [
    {},
    {"number": Masked("+749500011")},
    {"number": Masked("800")},
    {"number": Masked("749500011")},  # as people type it
    {"number": Masked("%")},
    {"agent": "eve", "mos_below": 3.0},
    {"consent": "granted", "ended_by": "caller"},
    {"tag": "escalated", "silence_above": 0.0},
    {"tag": "nothing"},
    {"silence_above": 0.7, "overtalk_above": 0.5, "length_min_ms": 20_000, "length_max_ms": 90_000},
    {"score_below": 50.0},
    {"from_ms": 1_010_000, "until_ms": 1_030_000, "queue": "help"},
    {"agent": HOSTILE},
]


async def test_a_number_is_found_without_its_plus_and_a_plus_is_not_left_out(search: CallSearch) -> None:
    found = [len(await search.find(Search(number=Masked(text)), queues=None, limit=999)) for text in ("7495", "+800")]
    assert found == [120, 0]


@pytest.mark.parametrize("probe", [10, 10_000])
@pytest.mark.parametrize("queues", [None, ("sales",), ("sales", "help"), ()])
async def test_each_plan_finds_what_a_list_would_page_by_page(
    search: CallSearch, monkeypatch: pytest.MonkeyPatch, probe: int, queues: tuple[str, ...] | None
) -> None:
    monkeypatch.setattr(review_search, "PROBE_ROWS", probe)
    for asked in FILTERS:
        wanted = [
            one["recording_id"]
            for one in sorted(ROWS, key=lambda one: (one["started_ms"], one["recording_id"]), reverse=True)
            if fits(one, asked) and (queues is None or one["queue"] in queues)
        ]
        found: list[FoundCall] = []
        for _ in itertools.count():
            after = Place(found[-1].started_ms, found[-1].recording_id) if found else None
            page = await search.find(Search(**asked), queues=queues, limit=23, after=after)
            found += page
            if len(page) < 23:
                break
        assert [one.recording_id for one in found] == wanted, asked


async def test_what_ones_queues_do_not_show_is_not_there(search: CallSearch) -> None:
    assert (await search.get("r001", queues=("sales",))) is None
    shown = await search.get("r010", queues=("sales",))
    assert shown is not None
    assert shown.tags == ("escalated",)
    assert "749500" not in repr(shown)


async def test_a_row_says_who_the_agent_was_how_it_sounded_and_what_it_rests_on(database: Database) -> None:
    store = ReviewStore(database)
    scored = {
        "call_id": "c1", "leg_id": "1", "direction": "sent", "length_ms": 1, "mos_worst": 1.0, "r": 1.0, "scale": "nb",
        "model": "", "codec": "", "codec_row": "", "basis": "", "missing": "", "loss": 0, "late": 0, "burst_ratio": 1,
        "delay_ms": 0, "jitter_ms": 0, "concealed": 0,
    }  # fmt: skip
    heard = {"call_id": "c1", "recording_id": "r1", "party": "", "purpose": "", "policy": "", "prompt": "",
             "prompt_sha256": "", "language": "", "notice_started_ms": 0, "notice_ended_ms": 0, "notice_started_ns": 0,
             "notice_ended_ns": 0}  # fmt: skip
    async with database.write() as connection:
        await connection.execute(
            insert(recordings),
            [{"recording_id": "r1", "call_id": "c1", "state": "complete", "kind": "call", "directory": "x",
              "caller": "+7", "called": "800", "started_ms": 5, "ended_ms": 5_000, "length_ms": 4_000,
              "route": "help"}],
        )  # fmt: skip
        await connection.execute(
            insert(calls),
            [{"call_id": "c1", "caller": "+7", "caller_name": "", "called": "800", "state": "ended", "started_ms": 1,
              "ended_ms": 6_000, "ended_by": "callee"}],
        )  # fmt: skip
        for leg, role, identity, answered in (
            ("1", "caller", "trunk:pstn", 1),
            ("2", "callee", "bob", None),  # his phone only rang
            ("3", "callee", "ann", 4),
        ):
            await connection.execute(
                insert(legs),
                [{"call_id": "c1", "leg_id": leg, "role": role, "identity": identity, "number": "", "sip_call_id": "",
                  "opened_ms": int(leg), "answered_ms": answered}],
            )  # fmt: skip
        for start, whole, mos in ((1, 0, 1.5), (2, 1, 3.5), (3, 1, 4.2)):
            await connection.execute(
                insert(quality_intervals), [{**scored, "start_ms": start, "whole_call": whole, "mos": mos}]
            )
        for number, state in enumerate(("granted", "implied")):
            await connection.execute(
                insert(consent_evidence), [{**heard, "evidence_id": str(number), "leg_id": "1", "state": state}]
            )
    assert await store.pending(0, 10) == ["r1"]
    assert await store.facts("r1", settled_ms=5_999) is None
    facts = await store.facts("r1", settled_ms=6_000)
    assert facts is not None
    assert {name: facts[name] for name in ("agent", "mos", "consent", "ended_by", "queue")} == {
        "agent": "ann", "mos": 3.5, "consent": "implied", "ended_by": "callee", "queue": "help",
    }  # fmt: skip
    await store.put(facts)
    assert await store.pending(0, 10) == []
    assert await store.unheard(10) == ["r1"]
    await store.put({"recording_id": "r1", "silence": 0.25, "overtalk": 0.0})
    found = await CallSearch(database).get("r1", queues=None)
    assert found is not None
    assert (found.silence, found.mos, await store.unheard(10)) == (0.25, 3.5, [])


@pytest.mark.parametrize(("state", "stays"), [("expired", False), ("erased", False), ("complete", True)])
async def test_what_is_gone_is_found_no_more(search: CallSearch, database: Database, state: str, stays: bool) -> None:
    store, people = ReviewStore(database), ReviewerStore(database)
    await store.comment("r010", "kate", 0, 0, "a name was said", 1)
    await people.add_share(Share("s1", "hash", "r010", 0, None, "kate", 1, 100))
    await RecordingStore(database).change("r010", state=state)
    assert (await search.get("r010", queues=None) is not None) is stays
    assert bool(await store.comments("r010")) is stays
    assert (await people.share(now_ms=1, share_id="s1") is not None) is stays
    assert (await search.get("r011", queues=None)) is not None


async def test_a_changed_password_ends_the_other_sessions_and_only_those(database: Database) -> None:
    people = ReviewerStore(database)
    for name in ("kate", "leo"):
        await people.add(Reviewer(name, "old", "qa", ("sales",), 1))
        for number in (1, 2):
            await people.begin(Session(f"{name}{number}", name, "", "csrf", 1_000), 0)
    with pytest.raises(ValueError, match="exists already"):
        await people.add(Reviewer("kate", "x", "qa", None, 1))
    await people.set_password("kate", "new", keep_token_sha256="kate1")
    alive = [one for one in ("kate1", "kate2", "leo1", "leo2") if await people.session(one, 999) is not None]
    assert alive == ["kate1", "leo1", "leo2"]
    assert await people.session("leo1", 1_000) is None
    kate = await people.get("kate")
    assert kate is not None
    assert (kate.password_hash, kate.queues) == ("new", ("sales",))


async def test_a_link_ends_with_its_time_and_with_who_gave_it(database: Database) -> None:
    people = ReviewerStore(database)
    await people.add(Reviewer("kate", "h", "supervisor", None, 1))
    await people.add_share(Share("s1", "hash", "r1", 0, None, "kate", 1, 100))
    assert (await people.share(now_ms=99, token_sha256="hash")) is not None
    assert (await people.share(now_ms=100, token_sha256="hash")) is None
    await people.begin(Session("guest", "", "s1", "csrf", 100), 1)
    assert await people.remove("kate")
    assert (await people.share(now_ms=99, share_id="s1")) is None
    assert await people.session("guest", 50) is None


async def test_the_log_is_read_newest_first_by_recording_or_person(database: Database) -> None:
    store = ReviewStore(database)
    for at, who, recording in ((1, "kate", "r1"), (2, HOSTILE, "r1"), (3, "kate", "r2")):
        await store.log(who, "opened", recording, {"seconds": [[0, at]]}, at)
    assert [one.at_ms for one in await store.accesses()] == [3, 2, 1]
    (last, first) = await store.accesses(who="kate")
    assert (last.recording_id, first.detail) == ("r2", {"seconds": [[0, 1]]})
    assert [one.who for one in await store.accesses(recording_id="r1", before=last.entry_id)] == [HOSTILE, "kate"]


async def judged(database: Database, recording: str, reviewer: str, score: float, made_ms: int) -> Review:
    made = Review(recording, reviewer, "basic", 1, {"hello": "yes"}, score, score == 0, made_ms)
    await ScorecardStore(database).review(made)
    return made


async def test_calls_given_out_wait_until_they_are_judged(database: Database, search: CallSearch) -> None:
    store = SamplingStore(database)
    rule = SamplingRule("ab12", "daily", "agent", 2, None, "day", {"mos_below": "3"}, ("quin",), ("sales",), "kate", 5)
    await store.add(rule)
    assert await store.rules() == [rule]
    given = [("r002", "quin"), ("r004", "quin"), ("r001", "quin"), ("r006", "kate")]
    await store.assign(rule, 7, given, now_ms=9, drawn_until_ms=8)
    assert (await store.rules())[0].drawn_until_ms == 8
    assert await store.taken("ab12", 7) == {"r001", "r002", "r004", "r006"}
    await judged(database, "r004", "quin", 80.0, 11)
    assert await store.load() == {"quin": 2, "kate": 1}
    assert await store.known(["r004", "r006", "r008"]) == {("r004", "quin"), ("r006", "kate")}
    assert await store.progress() == {"ab12": (4, 1)}
    mine = await store.assigned("quin", queues=["sales"], limit=9)
    assert [(one.call.recording_id, one.done_ms) for one in mine] == [("r002", None), ("r004", 11)], "r001 is of help"
    await store.end("ab12")
    assert await store.rules() == []
    assert [one.call.recording_id for one in await store.assigned("quin", queues=None, limit=9)] == ["r004"]
    await store.assign(rule, 7, [("r008", "quin")], now_ms=12)
    assert await store.load() == {}, "the rule has ended meanwhile"


async def test_reviews_are_read_with_their_calls_and_what_agents_answered(
    database: Database, search: CallSearch
) -> None:
    first = await judged(database, "r002", "kate", 80.0, 11)
    await judged(database, "r002", "quin", 60.0, 12)
    await judged(database, "r001", "kate", 0.0, 13)
    reports = ScoreReports(database)

    async def read(asked: Asked) -> list[tuple[str, float]]:
        pieces = [piece async for piece in reports.reviews(asked, answers=True)]
        return sorted((row["recording_id"], row["score"]) for piece in pieces for row in piece)

    assert await read(Asked()) == [("r001", 0.0), ("r002", 60.0), ("r002", 80.0)]
    assert await read(Asked(judged_by="quin")) == [("r002", 60.0), ("r002", 80.0)]
    assert await read(Asked(queues=["help"], from_ms=1, until_ms=2_000_000, agent="bob")) == [("r001", 0.0)]
    assert await read(Asked(queues=[])) == []
    answers = AnswerStore(database)
    for verdict in ("accept", "dispute"):
        await answers.put(ReviewAnswer("r002", "kate", "basic", "eve", verdict, HOSTILE, 11, 20))
    about = await answers.about("eve", limit=9)
    assert [(one.review.reviewer, one.answer and one.answer.verdict) for one in about] == [
        ("quin", None), ("kate", "dispute"),
    ]  # fmt: skip
    (said,) = await answers.answered("", queues=["sales"], limit=9)
    assert (said.review, said.answer and said.answer.text) == (first, HOSTILE)
    assert await answers.answered("quin", queues=None, limit=9) == []
    assert await answers.answered("kate", queues=["help"], limit=9) == []


async def test_whatever_a_caller_calls_himself_his_rows_are_kept_and_so_are_all_that_follow(database: Database) -> None:
    """As sip:%ff@…, sip:a%00b@… and a number of 300 characters do: the first ended the spool for good."""
    spool = Spool(database, batch_delay_s=0, backoff_s=0)
    await spool.start()
    for number, caller in enumerate(("\udcff1", "a\0b", "\U0001f600" * 300, "102")):
        spool.put(recordings, {"recording_id": f"r{number}", "call_id": "c", "state": "complete", "kind": "call",
                               "directory": "d", "caller": caller, "called": "602", "started_ms": 1})  # fmt: skip
    assert await spool.flush()
    async with database.read() as connection:
        found = await connection.execute(select(recordings.c.caller).order_by(recordings.c.recording_id))
        assert list(found.scalars()) == ["?1", "ab", "\U0001f600" * 255, "102"]
    assert spool.stats.rows_refused == 0
    await spool.stop()
