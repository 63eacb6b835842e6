"""Users, calls, quality and recordings: what is put in comes back, masked where it is personal."""

import dataclasses
from typing import Any

import pytest

from mediaserver.model import CallFacts, Cause, CodecName, LegFacts, LegHandle, LegStats, Masked, MediaAddress
from mediaserver.model_far import RemoteXr
from mediaserver.store.calls import CallStore
from mediaserver.store.database import Database
from mediaserver.store.quality import QualityRow, QualityStore
from mediaserver.store.recordings import EvidenceRow, RecordingRow, RecordingStore
from mediaserver.store.spool import Spool
from mediaserver.store.users import User, UserStore

ALICE = User("alice", "mediaserver", "a" * 64, "b" * 32, "Алиса", "ru", 1_790_000_000.5)


def leg_facts(**changes: Any) -> LegFacts:
    facts = LegFacts(
        leg_id="1", handle=LegHandle(7), role="caller", number=Masked("+37120000001"), identity="alice",
        sip_call_id="x@y", opened_ns=5, opened_wall=1_790_000_000.25, remote=MediaAddress("::1", 4000),
    )  # fmt: skip
    return dataclasses.replace(facts, **changes)


def call_facts(**changes: Any) -> CallFacts:
    facts = CallFacts(
        call_id="c1", caller=Masked("+37120000001"), called=Masked("600"), caller_name=Masked("Alice"),
        identity="alice", route="echo", program="echo", started_ns=5, started_wall=1_790_000_000.0, state="new",
    )  # fmt: skip
    return dataclasses.replace(facts, **changes)


def leg_stats(**changes: Any) -> LegStats:
    values: dict[str, Any] = {f.name: 0 for f in dataclasses.fields(LegStats)}
    values |= {
        "codec": CodecName.PCMU,
        "source": None,
        "remote_xr": None,
        "remote_concealment": None,
        "relayed": False,
        "level_dbov": -30.0,
        "packets_received": 500,
    }
    return LegStats(**(values | changes))


async def test_a_user_comes_back_as_added_and_its_hashes_are_never_shown(database: Database) -> None:
    users = UserStore(database)
    await users.add(ALICE)
    assert await users.get("alice") == ALICE
    assert await users.list() == [ALICE]
    assert "aaa" not in repr(ALICE)
    assert "bbb" not in repr(ALICE)


async def test_a_taken_name_and_an_unknown_name_are_told_apart(database: Database) -> None:
    users = UserStore(database)
    await users.add(ALICE)
    with pytest.raises(ValueError, match="alice exists already"):
        await users.add(ALICE)
    assert await users.set_password("alice", "c" * 64, "d" * 32, realm="mediaserver", changed=1_790_000_001.0)
    assert not await users.set_password("bob", "c" * 64, "d" * 32, realm="mediaserver", changed=1_790_000_001.0)
    assert await users.remove("alice")
    assert not await users.remove("alice")


async def test_the_marker_changes_with_every_change_of_a_user(database: Database) -> None:
    users = UserStore(database)
    seen = {await users.marker()}
    await users.add(ALICE)
    seen.add(await users.marker())
    await users.set_password("alice", "c" * 64, "d" * 32, realm="mediaserver", changed=1_790_000_001.0)
    seen.add(await users.marker())
    await users.add(dataclasses.replace(ALICE, name="bob"))
    seen.add(await users.marker())
    await users.remove("bob")
    assert len(seen) == 4
    assert await users.marker() in seen


@pytest.mark.parametrize(
    "name", ["", "a b", "a@b", "a;b", "../x", "x" * 65, "Юрий", "a\n", "a\0", '"a"', "a<b>", "a%41"]
)
def test_names_a_phone_could_not_send_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="user name"):
        dataclasses.replace(ALICE, name=name)


@pytest.mark.parametrize("change", [{"ha1_md5": "short"}, {"ha1_sha256": "G" * 64}, {"realm": ""}, {"language": "RU!"},
                                    {"display_name": "a\nb"}])  # fmt: skip
def test_fields_that_are_not_what_they_say_are_refused(change: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="user alice"):
        dataclasses.replace(ALICE, **change)


async def test_a_call_is_followed_from_start_to_end(database: Database, spool: Spool) -> None:
    store = CallStore(database, spool)
    store.call_started(call_facts())
    leg = leg_facts()
    store.leg_opened("c1", leg, None)  # type: ignore[arg-type]
    await spool.flush()
    running = await store.show("c1")
    assert running is not None
    assert (running.state, running.ended_ms) == ("new", None)
    store.leg_closed("c1", dataclasses.replace(leg, codec="PCMU/8000"), leg_stats())
    ended_leg = dataclasses.replace(leg, codec="PCMU/8000", cause=Cause.REMOTE_HANGUP, ended_wall=1_790_000_010.0)
    store.call_ended(
        call_facts(
            state="ended", ended_wall=1_790_000_010.0, cause=Cause.REMOTE_HANGUP, ended_by="caller", legs=(ended_leg,)
        )
    )
    await spool.flush()
    call = await store.show("c1")
    assert call is not None
    assert (call.ended_ms, call.cause, call.ended_by) == (1_790_000_010_000, "remote", "caller")
    assert call.legs[0]["stats"]["packets_received"] == 500
    assert call.legs[0]["cause"] == "remote"
    assert call.legs[0]["remote"] == "[::1]:4000"
    assert "20000001" not in repr(call)


async def test_a_leg_whose_phone_sends_voip_metrics_is_kept_with_them(database: Database, spool: Spool) -> None:
    store = CallStore(database, spool)
    store.call_started(call_facts())
    told = RemoteXr(0.04, 0.01, 0.5, 0.01, 200, 5_000, 90, 60, 70, 3.7, None)
    store.leg_closed("c1", leg_facts(), leg_stats(remote_xr=told))
    await spool.flush()
    call = await store.show("c1")
    assert call is not None
    assert call.legs[0]["stats"]["remote_xr"] == dataclasses.asdict(told)


async def test_what_peers_send_fits_the_columns(database: Database, spool: Spool) -> None:
    store = CallStore(database, spool)
    store.call_started(call_facts(caller=Masked("\0\udce4" * 5_000), reason="x" * 10_000))
    await spool.flush()
    assert spool.stats.rows_refused == 0
    (row,) = await store.list()
    assert len(row.caller) <= 255
    assert "\0" not in row.caller


async def test_calls_are_listed_newest_first_in_pages_and_by_number(database: Database, spool: Spool) -> None:
    store = CallStore(database, spool)
    for n in range(5):
        store.call_started(
            call_facts(call_id=f"c{n}", started_wall=1_790_000_000.0 + n, called=Masked(str(600 + n % 2)))
        )
    await spool.flush()
    page = await store.list(limit=2)
    assert [row.call_id for row in page] == ["c4", "c3"]
    assert [row.call_id for row in await store.list(before_ms=page[-1].started_ms)] == ["c2", "c1", "c0"]
    assert [row.call_id for row in await store.list(number="601")] == ["c3", "c1"]
    assert await store.show("nothing") is None


async def test_calls_a_crash_left_open_are_marked_at_start(database: Database, spool: Spool) -> None:
    store = CallStore(database, spool)
    store.call_started(call_facts())
    await spool.flush()
    assert await store.close_interrupted() == 1
    (row,) = await store.list()
    assert row.state == "interrupted"
    assert await store.close_interrupted() == 0


def quality_row(start_ms: int) -> QualityRow:
    return QualityRow(
        "c1", "1", "received", start_ms, 5_000, 0, 4.1, 4.1, 82.0, "nb", "G.107", "G.711+PLC", "G.113", "rtt",
        0.01, 0.0, 1.0, 60.0, 2.0, None, 0.01,
    )  # fmt: skip


async def test_quality_is_kept_and_pruned_by_age(database: Database, spool: Spool) -> None:
    store = QualityStore(database, spool)
    for n in range(12_000):
        store.put(quality_row(n))
    await spool.flush()
    assert (await store.of_call("c1"))[0] == quality_row(0)
    assert await store.prune(11_990) == 11_990
    assert [row.start_ms for row in await store.of_call("c1")] == list(range(11_990, 12_000))


async def test_a_recording_and_its_evidence_come_back(database: Database, spool: Spool) -> None:
    store = RecordingStore(database, spool)
    row = RecordingRow("r1", "c1", "capturing", "call", "2026/01/01/r1", Masked("123456"), Masked("600"), 5)
    evidence = EvidenceRow("e1", "c1", "r1", "1", Masked("123456"), "recording", "implied", "announce-and-stay",
                           "recording-notice", "0" * 64, "ru", 1, 2, 10, 20)  # fmt: skip
    store.put(row)
    store.put(dataclasses.replace(row, state="complete", length_ms=42))
    store.put_evidence(evidence)
    await spool.flush()
    assert await store.get("r1") == dataclasses.replace(row, state="complete", length_ms=42)
    assert await store.evidence("r1") == [evidence]
    assert [r.recording_id for r in await store.list(state="complete", call_id="c1")] == ["r1"]
    assert await store.list(state="capturing") == []
    assert await store.get("r2") is None
