"""A recording for several purposes: who permits which, what is kept for what, and what goes when one is withdrawn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mediaserver.model import LegFacts, NoticeKind
from mediaserver.model_consent import Answer, ConsentRules, ConsentState, PurposeRules
from mediaserver.recording.journal import Kind
from mediaserver.recording.keys import key_path, load_ring, read_key
from mediaserver.recording.render import render
from mediaserver.recording.session import JournalRecording
from mediaserver.recording.verify import Verdict, verify_directory
from mediaserver.settings import RecordingSettings
from tests.support.recorder_room import Room, records

CONTRACT = PurposeRules("contract", "stay", retention_days=1_000, listeners=("supervisor",))
TRAINING = PurposeRules("training", "press", retention_days=90)
RULES = ConsentRules("both", purposes=(CONTRACT, TRAINING))


async def begin(room: Room, rules: ConsentRules, *legs: LegFacts) -> JournalRecording:
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL, rules)
    for leg in legs:
        await recording.leg_joined(leg)
        await recording.notice_finished(room.notice(leg))
    return recording


def opened(path: Path) -> list[dict[str, str]]:
    return [record.values["purposes"] for record in records(path) if record.kind == Kind.OPEN]


def captured(path: Path) -> int:
    return sum(record.kind == Kind.RTP for record in records(path))


async def test_one_notice_is_evidence_for_each_purpose_and_a_key_for_the_one_it_answers(room: Room) -> None:
    a, b = room.leg(1), room.leg(2)
    recording = await begin(room, replace(RULES, joiner="joiner"), a, b)
    assert recording.purposes(a.handle) == {
        "contract": ConsentState.IMPLIED,
        "training": ConsentState.NOTICE_DELIVERED,
    }
    assert await recording.answer(a.handle, Answer.GRANTED, "dtmf", {"key": "1"}, ("training",)) is ConsentState.GRANTED
    assert await recording.answer(b.handle, Answer.DENIED, "dtmf", {"key": ""}, ("training",)) is ConsentState.DENIED
    assert recording.states() == {a.handle: ConsentState.GRANTED, b.handle: ConsentState.IMPLIED}
    with pytest.raises(LookupError, match="no such purpose: 'fun'"):
        await recording.answer(a.handle, Answer.GRANTED, "web", {}, ("fun",))
    room.talk(a, b, packets=5)
    await recording.end()
    await room.spool.flush()
    rows = {row.evidence_id: row for row in await room.store.evidence(recording.recording_id)}
    states = [(row.leg_id, row.purpose, row.state, row.how) for row in rows.values()]
    assert sorted(states) == [
        ("1", "contract", "implied", "notice"),
        ("1", "training", "granted", "dtmf"),
        ("1", "training", "notice_delivered", "notice"),
        ("2", "contract", "implied", "notice"),
        ("2", "training", "denied", "dtmf"),
        ("2", "training", "notice_delivered", "notice"),
    ]
    for path in room.journals():  # each interval names one piece of evidence for each purpose, of this party
        for purposes in opened(path):
            for purpose, evidence_id in purposes.items():
                assert rows[evidence_id].purpose == purpose
    assert opened(room.journals()[-1])[-1].keys() == {"contract", "training"}
    row = await room.store.get(recording.recording_id)
    assert row is not None
    assert (row.purposes, row.listeners) == ("contract,training", "")
    assert row.delete_after_ms == row.started_ms + 1_000 * 86_400_000


async def test_who_withdraws_one_purpose_is_captured_for_the_other_and_for_the_first_no_more(room: Room) -> None:
    a, b = room.leg(1), room.leg(2)
    recording = await begin(room, replace(RULES, joiner="joiner"), a, b)
    await recording.answer(a.handle, Answer.GRANTED, "web", {}, ("training",))
    room.talk(a, b, packets=10)
    await recording.answer(a.handle, Answer.WITHDRAWN, "web", {}, ("training",))
    assert room.talk(a, b, packets=7) == 14
    await recording.answer(a.handle, Answer.WITHDRAWN, "dtmf", {"key": "*9"})
    assert room.talk(a, b, packets=3) == 3
    await recording.end()
    of_a = [path for path in room.journals() if path.name != "2.journal"]
    told = [(set(purposes), captured(path)) for path in of_a for purposes in opened(path)]
    assert sorted(told, key=lambda one: one[1]) == [
        ({"contract"}, 0),
        ({"contract"}, 7),
        ({"contract", "training"}, 10),
    ]
    assert captured(room.journals()[1]) == 20
    report = verify_directory(of_a[0].parent, room.recorder.signer.public)
    assert report.verdict is Verdict.PROVEN, report


async def test_a_retroactive_withdrawal_destroys_only_what_no_other_purpose_holds(room: Room) -> None:
    a, b = room.leg(1), room.leg(2)
    rules = replace(RULES, joiner="joiner", withdrawal="retroactive")
    recording = await begin(room, rules, a, b)
    await recording.answer(b.handle, Answer.DENIED, "web", {}, ("training",))
    room.talk(a, b, packets=4)  # of a: for the contract alone
    await recording.answer(a.handle, Answer.GRANTED, "web", {}, ("training",))
    room.talk(a, b, packets=5)  # for both
    await recording.answer(a.handle, Answer.WITHDRAWN, "web", {}, ("contract",))
    room.talk(a, b, packets=6)  # for training alone
    await recording.end()
    await room.spool.flush()
    of_a = [path for path in room.journals() if path.name != "2.journal"]
    readable = {path.name: captured(path) for path in of_a if key_path(path).exists()}
    assert sorted(readable.values()) == [5, 6]
    assert not key_path(room.journals()[0]).exists()
    assert captured(room.journals()[1]) == 15
    row = await room.store.get(recording.recording_id)
    assert row is not None
    assert row.purposes == "contract,training"  # the contract still holds what b said
    report = verify_directory(of_a[0].parent, room.recorder.signer.public)
    assert report.verdict is Verdict.PROVEN, report


async def test_what_is_kept_for_one_purpose_alone_has_its_retention_and_its_listeners(room: Room) -> None:
    a = room.leg(1)
    recording = await begin(room, RULES, a)
    await recording.answer(a.handle, Answer.DENIED, "dtmf", {"key": "2"}, ("training",))
    room.talk(a, packets=3)
    await recording.end()
    await room.spool.flush()
    row = await room.store.get(recording.recording_id)
    assert row is not None
    assert (row.purposes, row.listeners) == ("contract", "supervisor")


async def test_a_party_whose_purposes_changed_is_still_one_channel(room: Room, tmp_path: Path) -> None:
    a, b = room.leg(1), room.leg(2)
    recording = await begin(room, replace(RULES, joiner="joiner"), a, b)
    room.talk(a, b, packets=25)
    await recording.answer(a.handle, Answer.GRANTED, "web", {}, ("training",))
    room.talk(a, b, packets=25)
    await recording.end()
    paths = room.journals()
    assert len(paths) == 3
    ring = load_ring(RecordingSettings(), tmp_path)
    keys = {path: ring.unwrap(read_key(path) or {}) for path in (paths[0], paths[2], paths[1])}
    rendered = render(keys, tmp_path / "both.wav", "wav", channels="each")
    assert rendered.channels == 2
    assert rendered.packets == 100
    pcm = np.frombuffer((tmp_path / "both.wav").read_bytes()[-2 * 2 * 4_000 :], np.int16).reshape(-1, 2)
    assert np.count_nonzero(pcm, axis=0).min() > 1_500  # both to the end: every other number is the other party's
