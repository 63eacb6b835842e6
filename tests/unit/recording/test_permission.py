"""Refusal, withdrawal and pauses in the recorder: what the disk holds afterwards."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from mediaserver.errors import StorageError
from mediaserver.model import LegFacts, LegHandle, Masked, NoticeKind, TapBehind, TapHandle
from mediaserver.model_consent import Answer, ConsentRules, ConsentState, PurposeRules
from mediaserver.model_delivery import Delivery
from mediaserver.model_video import Content
from mediaserver.recording import catalogue, manifest
from mediaserver.recording.consent import PERMITTED
from mediaserver.recording.journal import Kind
from mediaserver.recording.keys import key_path
from mediaserver.recording.session import JournalRecording
from mediaserver.recording.verify import Verdict, verify_directory
from tests.support.recorder_room import Room, records

RETROACTIVE = ConsentRules("eu", withdrawal="retroactive")


async def begin(room: Room, rules: ConsentRules, *legs: LegFacts) -> JournalRecording:
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL, rules)
    for leg in legs:
        await recording.leg_joined(leg)
    for leg in legs:
        await recording.notice_finished(room.notice(leg))
    return recording


def captured(path: Path) -> list[int]:
    return [record.arrival_ns for record in records(path) if record.kind == Kind.RTP]


async def test_a_withdrawal_stops_that_channel_at_that_nanosecond_and_no_other(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = room.leg(1), room.leg(2)
    recording = await begin(room, ConsentRules("p"), a, b)
    room.talk(a, b, packets=10)
    withdrawn_ns = room.clock.now_ns()
    close = room.taps.close_tap

    async def slowly(tap: TapHandle) -> None:
        room.talk(a, b, packets=5)  # the engine has not closed it yet
        await close(tap)

    monkeypatch.setattr(room.taps, "close_tap", slowly)
    assert await recording.answer(a.handle, Answer.WITHDRAWN, "web", {"session": "s"}) is ConsentState.WITHDRAWN
    monkeypatch.undo()
    room.talk(a, b, packets=10)
    await recording.end()
    first, second = room.journals()
    assert len(captured(first)) == 10
    assert max(captured(first)) < withdrawn_ns
    assert len(captured(second)) == 25
    await room.spool.flush()
    rows = await room.store.evidence(recording.recording_id)
    assert [(row.state, row.how) for row in rows][-1] == ("withdrawn", "web")


async def test_a_retroactive_withdrawal_destroys_the_key_and_stays_in_the_chain(room: Room) -> None:
    a, b = room.leg(1), room.leg(2)
    recording = await begin(room, RETROACTIVE, a, b)
    room.talk(a, b, packets=10)
    await recording.answer(a.handle, Answer.WITHDRAWN, "dtmf", {"key": "*9"})
    first, second = room.journals()
    assert not key_path(first).exists()
    await recording.answer(a.handle, Answer.GRANTED, "web", {})  # and changes his mind again: a channel of its own
    room.talk(a, b, packets=3)
    await recording.end()
    assert captured(first) == []
    assert len(captured(second)) == 13
    assert len(captured(first.with_name("leg2.journal"))) == 3
    report = verify_directory(first.parent, room.recorder.signer.public)
    assert report.verdict is Verdict.PROVEN
    assert "1.journal: was made unreadable on purpose (withdrawn), by dtmf" in report.facts
    assert list(manifest.tombstones(first.parent)) == ["1.journal"]


async def test_who_says_no_while_he_is_asked_anew_after_a_hold_takes_back_what_was_captured_before(room: Room) -> None:
    a, b = room.leg(1), room.leg(2)
    recording = await begin(room, RETROACTIVE, a, b)
    room.talk(a, b, packets=10)
    await recording.leg_joined(a)  # back from hold: unknown, and hears the notice
    recording.notice_started(a.handle)
    assert await recording.answer(a.handle, Answer.WITHDRAWN, "dtmf", {"key": "*9"}) is ConsentState.DENIED
    first, second = room.journals()
    assert not key_path(first).exists()
    await recording.end()
    assert captured(first) == []
    assert len(captured(second)) == 10
    assert verify_directory(first.parent, room.recorder.signer.public).verdict is Verdict.PROVEN


async def test_a_party_that_refuses_is_never_written_and_the_other_is(room: Room) -> None:
    a, b = room.leg(1), room.leg(2)
    recording = await begin(room, ConsentRules("p", ask="press"), a, b)
    assert room.talk(a, b) == 0
    await recording.answer(a.handle, Answer.GRANTED, "dtmf", {"key": "1"})
    assert room.talk(a, b) == 0
    await recording.answer(b.handle, Answer.DENIED, "dtmf", {"key": "2"})
    assert room.talk(a, b, packets=4) == 4
    await recording.end()
    assert [path.name for path in room.journals()] == ["1.journal"]
    (opening,) = [record.values for record in records(room.journals()[0]) if record.kind == Kind.OPEN]
    assert (opening["evidence"]["how"], opening["evidence"]["detail"]) == ("dtmf", {"key": "1"})
    assert opening["evidence"]["prompt_sha256"]  # the answer rests on the notice that asked for it


async def test_a_party_that_is_hearing_the_notice_may_not_be_captured_and_keeps_the_others_waiting(room: Room) -> None:
    a, b = room.leg(1), room.leg(2)
    recording = await begin(room, ConsentRules("p"), a)
    assert recording.capturing
    await recording.leg_joined(b)
    recording.notice_started(b.handle)
    assert recording.states() == {a.handle: ConsentState.SUSPENDED_BY_JOINER, b.handle: ConsentState.NOTICE_PLAYING}
    assert not recording.capturing
    assert room.recorder.stats.transitions["unknown", "notice_playing"] == 1
    lost = dataclasses.replace(room.notice(b), delivery=Delivery(100, 50))
    assert await recording.notice_finished(lost) is ConsentState.NOTICE_FAILED
    recording.notice_started(b.handle)
    await recording.notice_finished(room.notice(b))
    assert recording.states() == {a.handle: ConsentState.IMPLIED, b.handle: ConsentState.IMPLIED}
    recording.notice_started(b.handle)  # too late to change anything
    assert recording.capturing


async def test_evidence_says_what_it_proves_though_others_have_yet_to_hear_the_notice(room: Room) -> None:
    a, b, c = room.leg(1), room.leg(2), room.leg(3)
    recording = await begin(room, ConsentRules("p", stay_s=1.0), a)
    await recording.leg_joined(b)  # from here on everybody waits for b
    await recording.stayed(a.handle)
    assert recording.states()[a.handle] is ConsentState.SUSPENDED_BY_JOINER
    await recording.answer(b.handle, Answer.GRANTED, "prior", {})
    await recording.leg_joined(c)
    await recording.answer(b.handle, Answer.GRANTED, "web", {})
    await recording.notice_finished(room.notice(c))  # and has not stayed
    await recording.end()
    await room.spool.flush()
    rows = await room.store.evidence(recording.recording_id)
    assert [(row.leg_id, row.how, row.state) for row in sorted(rows, key=lambda row: row.notice_ended_ns)] == [
        ("1", "notice", "implied"),
        ("2", "prior", "granted"),
        ("2", "web", "granted"),
        ("3", "notice", "notice_delivered"),
    ]


async def test_names_that_come_late_stand_in_the_catalogue(room: Room) -> None:
    a = room.leg(1)
    recording = await begin(room, ConsentRules("p"), a)
    room.talk(a)
    recording.named(dataclasses.replace(room.call(), caller=Masked("+442079460101"), called=Masked("bob")))
    await recording.end()
    await room.spool.flush()
    (row,) = await room.store.list()
    assert (str(row.caller), str(row.called), row.state) == ("+442079460101", "bob", "complete")


async def test_a_pause_is_absent_from_every_channel_and_proven_by_the_chain(room: Room) -> None:
    a, b = room.leg(1), room.leg(2)
    recording = await begin(room, ConsentRules("p"), a, b)
    room.talk(a, b, packets=10)
    paused_ns = room.clock.now_ns()
    await recording.pause("card data")
    assert room.talk(a, b, packets=100) == 0
    c = room.leg(3)  # a joiner does not end a pause
    await recording.leg_joined(c)
    await recording.notice_finished(room.notice(c))
    assert room.talk(a, b, c, packets=10) == 0
    await recording.resume()
    resumed_ns = room.clock.now_ns()
    assert room.talk(a, b, c, packets=10) == 30
    await recording.end()
    for path in room.journals()[:2]:
        assert len(captured(path)) == 20
        assert not [at for at in captured(path) if paused_ns <= at < resumed_ns]
    report = verify_directory(room.journals()[0].parent, room.recorder.signer.public)
    seconds = (resumed_ns - paused_ns) / 1e9
    assert f"1.journal: nothing was stored for {seconds:.3f} s (paused: card data)" in report.facts
    counted = room.recorder.uncaptured.seconds(room.clock.now_ns())
    assert 2 * seconds <= counted["paused"] <= 3 * seconds  # a and b, and c since it had heard the notice
    assert room.recorder.uncaptured.seconds(room.clock.now_ns() + 10**12) == counted  # the recording is over


async def test_a_notice_that_was_lost_on_the_way_permits_nothing(room: Room) -> None:
    a = room.leg(1)
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL)
    await recording.leg_joined(a)
    notice = room.notice(a)
    lost = type(notice)(*[getattr(notice, name) for name in notice.__slots__[:-1]], Delivery(150, 20))
    assert await recording.notice_finished(lost) is ConsentState.NOTICE_FAILED
    assert room.talk(a) == 0
    await recording.end()
    await room.spool.flush()
    (row,) = await room.store.evidence(recording.recording_id)
    assert (row.state, row.packets_sent, row.packets_lost) == ("notice_failed", 150, 20)


async def test_a_report_that_comes_later_completes_the_notice_and_the_answer_that_rests_on_it(room: Room) -> None:
    a, b = room.leg(1), room.leg(2)
    recording = await begin(room, ConsentRules("p"), a, b)
    notice = room.notice(a)
    known = dataclasses.replace(notice, delivery=Delivery(150, -1, 9, 100, 249))
    await recording.leg_joined(a)
    await recording.notice_finished(known)
    await recording.answer(a.handle, Answer.GRANTED, "web", {})
    reported = dataclasses.replace(known, delivery=Delivery(150, 2, 9, 100, 249, 251, 90, 7))
    await recording.notice_reported(reported)
    await recording.end()
    await room.spool.flush()
    rows = await room.store.evidence(recording.recording_id)
    of_a = [row for row in rows if row.leg_id == "1"][-2:]
    assert [row.state for row in of_a] == ["implied", "granted"]
    for row in of_a:
        assert (row.packets_sent, row.packets_lost, row.rtp_ssrc, row.rtp_first, row.rtp_last) == (150, 2, 9, 100, 249)
        assert (row.rtcp_highest, row.rtcp_before, row.rtcp_reporter) == (251, 90, 7)
    assert [row.rtcp_highest for row in rows if row.leg_id == "2"] == [-1]
    said = [record.values for record in records(room.journals()[0]) if record.kind == Kind.EVENT]
    assert [one["notice_report"]["reported_sequence"] for one in said if "notice_report" in one] == [251, 251]


async def test_a_master_key_that_is_missing_fails_the_recording_and_not_the_server(
    make_room: Callable[..., Room], tmp_path: Path
) -> None:
    room = make_room(key_file=tmp_path / "not-there.key")
    await room.recorder.start()
    with pytest.raises(StorageError, match=r"not-there\.key: cannot be read"):
        await room.recorder.begin(room.call(), NoticeKind.CALL)
    assert room.recorder.stats.failures["missing_key"] == 2
    (tmp_path / "not-there.key").write_text("A" * 43 + "=\n")
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL)  # it is asked for again
    await recording.end()


@pytest.mark.parametrize("policy", ["open", "closed"])
async def test_a_writer_that_is_behind_ends_what_may_not_go_on_with_holes(policy: str, room: Room) -> None:
    told: list[str] = []
    a = room.leg(1)
    recording = await begin(room, ConsentRules("p", on_failure=policy), a)  # type: ignore[arg-type]
    recording.on_failure = told.append
    room.talk(a)
    room.recorder.tap_behind(TapBehind(TapHandle(1), 3))
    await asyncio.sleep(0)
    assert told == ([] if policy == "open" else ["writer_behind"])
    await recording.end()
    await room.spool.flush()
    (row,) = await room.store.list()
    assert (row.state, row.failure) == (("complete", "") if policy == "open" else ("failed", "writer_behind"))


async def test_no_random_call_leaves_a_forbidden_byte_on_the_disk(room: Room) -> None:
    """Every packet says whether it was permitted; the folder is searched, in the clear and opened with its keys."""
    total = pictures = 0
    for seed in range(20):
        draw = random.Random(seed)
        rules = ConsentRules(
            "p",
            ask=draw.choice(("stay", "press", "announce")),
            joiner=draw.choice(("all", "joiner")),
            withdrawal=draw.choice(("from_now", "retroactive")),
            purposes=draw.choice(((), (PurposeRules("recording"), PurposeRules("training", "press")))),
        )
        recording = await room.recorder.begin(room.call(), NoticeKind.CALL, rules)
        legs = [room.leg(n) for n in (1, 2, 3)]
        # When each party permitted what: packets of a purpose that was withdrawn for all time are none of its any more.
        allowed: dict[LegHandle, dict[int, set[str]]] = {leg.handle: {} for leg in legs}
        for leg in legs:
            room.camera(leg, 10 * (seed + 1) + int(leg.leg_id))
        present: set[LegHandle] = set()
        for _ in range(draw.randrange(5, 30)):
            await act(draw, room, recording, draw.choice(legs), present)
            await switch_cameras(draw, room, draw.choice(legs))
            states = recording.states()
            room.talk(*legs, packets=1)
            at_ns = room.clock.now_ns() - 1_000_000
            for leg in legs:
                purposes = recording.purposes(leg.handle) if leg.handle in states else {}
                allowed[leg.handle][at_ns] = {name for name, state in purposes.items() if state in PERMITTED}
                for name, state in purposes.items():
                    if state is ConsentState.WITHDRAWN and rules.withdrawal == "retroactive":
                        for before in allowed[leg.handle].values():
                            before.discard(name)
        await recording.end()
        folder = room.recorder.root / catalogue.relative_directory(recording.recording_id, room.clock.wall())
        kept: dict[str, list[int]] = {leg.leg_id: [] for leg in legs}
        for path in folder.glob("*.journal"):
            assert b"\x55" * 40 not in path.read_bytes()
            assert b"\x77" * 40 not in path.read_bytes()
            found = records(path)
            if found:
                kept[found[0].values["leg"]] += captured(path)
                pictures += len(captured(path)) if catalogue.is_picture(path) else 0
        for leg in legs:
            permitted = {at_ns for at_ns, purposes in allowed[leg.handle].items() if purposes}
            assert set(kept[leg.leg_id]) <= permitted, (seed, leg.leg_id)
            total += len(kept[leg.leg_id])
        if folder.exists():
            assert verify_directory(folder, room.recorder.signer.public).verdict is Verdict.PROVEN, seed
    assert total > 50
    assert pictures > 20


async def switch_cameras(draw: random.Random, room: Room, leg: LegFacts) -> None:
    """A camera goes on or off, a screen is shared or not, at whatever moment."""
    content, number = draw.choice(((Content.MAIN, 1_000), (Content.SLIDES, 2_000)))
    if draw.random() < 0.3:
        room.camera(leg, draw.choice((None, number + draw.randrange(900))), content)
        await room.settled()


async def act(
    draw: random.Random, room: Room, recording: JournalRecording, leg: LegFacts, present: set[LegHandle]
) -> None:
    action = draw.choice(("join", "hear", "hear", "hear", "yes", "yes", "no", "leave", "pause", "resume", "resume"))
    if action == "pause":
        await recording.pause("card data")
    elif action == "resume":
        await recording.resume()
    elif action == "join":
        present.add(leg.handle)
        await recording.leg_joined(leg)
    elif leg.handle not in present:
        return
    elif action == "hear":
        await recording.notice_finished(room.notice(leg))
    elif action == "leave":
        present.discard(leg.handle)
        await recording.leg_left(leg.handle)
    else:
        named = draw.choice(((), (draw.choice([one.name for one in recording.rules.each()]),)))
        await recording.answer(leg.handle, Answer.GRANTED if action == "yes" else Answer.DENIED, "web", {}, named)


async def test_a_disk_that_hangs_holds_no_media_up_and_ends_what_may_not_go_on(
    make_room: Callable[..., Room], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer's thread stands (test_writer: in a write); taps still take packets, the loop still answers."""
    monkeypatch.setattr("mediaserver.recording.recorder.WRITER_STALLED_S_MAX", 0.05)
    monkeypatch.setattr("mediaserver.recording.recorder.WRITER_LOOK_S", 0.01)
    room = make_room()
    await room.recorder.start()
    a, failed, go_on = room.leg(1), asyncio.Event(), threading.Event()
    recording = await begin(room, ConsentRules("p", on_failure="closed"), a)
    recording.on_failure = lambda _reason: failed.set()
    room.recorder.writer._submit(lambda: go_on.wait(10) and None)
    assert room.talk(a, packets=10) == 10
    async with asyncio.timeout(10):
        await failed.wait()
    with pytest.raises(StorageError, match="has not answered"):
        await room.recorder.begin(room.call(), NoticeKind.CALL)
    assert room.taps.arrives(a.handle, room.clock.now_ns(), b"is still taken") is True
    go_on.set()
    await recording.end()
    await room.spool.flush()
    (row,) = await room.store.list()
    assert (row.state, row.failure) == ("failed", "slow_disk")
    assert len(captured(room.journals()[0])) == 10  # nothing that was permitted is lost for it
