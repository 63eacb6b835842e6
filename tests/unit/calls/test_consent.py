"""Consent in calls: who hears what, when; keys and buttons that answer; pauses; calls that may not go on unrecorded."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import cast

import pytest

from mediaserver.calls.consent import Act
from mediaserver.errors import StorageError
from mediaserver.model import Cause
from mediaserver.model_consent import DEFAULT_RULES, Answer, ConsentRules, ConsentState, PurposeRules
from mediaserver.sip.session import InfoReceived
from tests.support.fake_recorder import FakeRecording
from tests.unit.calls.stage import Stage
from tests.unit.calls.test_recording import RECORDED

PRESS = ConsentRules("press", ask="press", prompt="press-1-to-agree")
CLOSED = dataclasses.replace(DEFAULT_RULES, on_failure="closed")


async def connected(stage: Stage, rules: ConsentRules = DEFAULT_RULES) -> FakeRecording:
    """alice and bob talk; both have heard what the policy plays."""
    await stage.start(RECORDED)
    stage.recorder.policy = rules
    stage.register("bob")
    await stage.call("bob")
    await stage.wait(5.0)
    return stage.recorder.recordings[0]


async def test_a_party_is_asked_for_a_key_after_the_notice_and_its_answer_is_kept(stage: Stage) -> None:
    await stage.start(RECORDED)
    stage.recorder.policy = PRESS
    stage.register("bob")
    await stage.call("bob")
    assert stage.heard(0) == ["press-1-to-agree"]
    await stage.press("1")  # during the notice: too early to be an answer
    await stage.wait(2.1)
    assert stage.gateway.sessions == []  # nobody is rung before the caller has answered
    await stage.press("51")
    await stage.wait(2.2)
    await stage.press("2", 1)
    (recording,) = stage.recorder.recordings
    assert [(answer, how, detail) for _, answer, how, detail in recording.answers] == [
        (Answer.GRANTED, "dtmf", {"key": "1"}),
        (Answer.DENIED, "dtmf", {"key": "2"}),
    ]
    assert stage.leg(0).bridge is not None  # who refuses talks all the same


async def test_a_party_is_shown_as_hearing_the_notice_then_as_having_heard_it_then_by_its_answer(stage: Stage) -> None:
    await stage.start(RECORDED)
    stage.recorder.policy = PRESS
    stage.register("bob")
    await stage.call("bob")
    assert stage.manager is not None
    ((call_id,), desk) = [call.call_id for call in stage.manager.calls()], stage.manager.consent_desk
    assert desk.states(call_id) == {"1": ConsentState.NOTICE_PLAYING}
    await stage.wait(2.1)
    assert desk.states(call_id) == {"1": ConsentState.NOTICE_DELIVERED}
    await stage.press("1")
    assert desk.states(call_id) == {"1": ConsentState.GRANTED, "2": ConsentState.NOTICE_PLAYING}
    (recording,) = stage.recorder.recordings
    assert not recording.answers, "capture rests until the other has been asked"
    await stage.wait(2.1)
    await stage.press("2", 1)
    assert desk.states(call_id) == {"1": ConsentState.GRANTED, "2": ConsentState.DENIED}


async def test_who_presses_nothing_has_refused_and_the_call_goes_on(stage: Stage) -> None:
    await stage.start(RECORDED)
    stage.recorder.policy = PRESS
    await stage.call("600")
    await stage.wait(2.1)
    assert stage.leg().bridge is None
    await stage.wait(10.1)
    assert stage.leg().bridge is not None
    (recording,) = stage.recorder.recordings
    assert [(answer, detail) for _, answer, _, detail in recording.answers] == [(Answer.DENIED, {"key": ""})]
    assert not recording.capturing
    assert stage.manager is not None
    assert [call.recording_id for call in stage.manager.calls()] == [None], "nobody looks for a recording that is none"


async def test_our_own_users_hear_no_notice_where_the_policy_says_so(stage: Stage) -> None:
    await stage.start(RECORDED)
    stage.recorder.policy = dataclasses.replace(DEFAULT_RULES, prior_for_users=True)
    stage.register("bob")
    await stage.call("bob", caller="+37120000001", identity="trunk:carrier")
    assert stage.heard(0) == ["recording-notice"]
    await stage.wait(2.1)
    assert stage.heard(1) == []
    (recording,) = stage.recorder.recordings
    assert [(answer, how, detail) for _, answer, how, detail in recording.answers] == [
        (Answer.GRANTED, "prior", {"identity": "bob"})
    ]
    assert stage.recorder.cases[0].direction == "in"
    assert (stage.recorder.cases[0].route, stage.recorder.cases[0].trunk) == ("ext", "carrier")


async def test_staying_on_the_line_counts_from_the_end_of_the_notice(stage: Stage) -> None:
    recording = await connected(stage, dataclasses.replace(DEFAULT_RULES, stay_s=3.0))
    assert stage.leg(0).bridge is not None
    assert recording.log == []
    await stage.wait(3.0)
    assert recording.log == ["capture"]


async def test_a_notice_that_rtcp_says_was_lost_is_played_again_and_then_not_called_heard(stage: Stage) -> None:
    await stage.start(RECORDED)
    stage.engine.loss_per_play = 20
    await stage.call("600")
    for _ in range(3):
        await stage.wait(2.1)
    assert stage.heard() == ["recording-notice"] * 3
    (recording,) = stage.recorder.recordings
    assert set(recording.joined.values()) == {ConsentState.NOTICE_FAILED}
    assert not recording.capturing
    assert stage.leg().bridge is not None


async def test_a_report_that_covers_the_notice_and_comes_later_is_told(
    stage: Stage,
) -> None:
    recording = await connected(stage)
    assert {notice.delivery.covered for notice in recording.notices} == {False}
    assert recording.capturing
    first = recording.notices[0].delivery
    assert (first.packets_sent, first.last_sequence - first.first_sequence) == (100, 99)
    stage.engine.reports = True
    await stage.wait(0.2)
    assert [(one.leg, one.delivery.packets_lost) for one in recording.reported] == [
        (notice.leg, 0) for notice in recording.notices
    ]
    for one in recording.reported:
        assert one.delivery.reported_sequence >= one.delivery.last_sequence


async def test_where_only_rtcp_proves_a_far_end_that_never_reports_is_not_recorded(stage: Stage) -> None:
    stage.recorder.policy = dataclasses.replace(DEFAULT_RULES, proof="rtcp", proof_s=3.0)
    await stage.start(RECORDED)
    await stage.call("600")
    for _ in range(3):
        await stage.wait(5.1)
    assert stage.heard() == ["recording-notice"] * 3
    (recording,) = stage.recorder.recordings
    assert set(recording.joined.values()) == {ConsentState.NOTICE_FAILED}
    assert not recording.capturing


SEVERAL = dataclasses.replace(
    DEFAULT_RULES,
    purposes=(PurposeRules("contract"), PurposeRules("training", "press"), PurposeRules("research", "press", "5")),
)


@pytest.mark.parametrize(
    ("keys", "answers"),
    [
        ("15", [(Answer.GRANTED, ("training",)), (Answer.GRANTED, ("research",))]),
        ("12", [(Answer.GRANTED, ("training",)), (Answer.DENIED, ("research",))]),
        ("2", [(Answer.DENIED, ("training", "research"))]),
        ("5", [(Answer.GRANTED, ("research",)), (Answer.DENIED, ("training",))]),
        ("", [(Answer.DENIED, ("training", "research"))]),
    ],
)
async def test_each_purpose_that_asks_for_a_key_is_answered_by_its_own_and_the_rest_is_a_no(
    keys: str, answers: list[tuple[Answer, tuple[str, ...]]], stage: Stage
) -> None:
    stage.recorder.policy = SEVERAL
    await stage.start(RECORDED)
    await stage.call("600")
    await stage.wait(2.1)
    await stage.press(keys)
    await stage.wait(10.0)
    (recording,) = stage.recorder.recordings
    assert recording.answered_for == answers


async def test_a_button_pressed_while_the_question_is_open_answers_what_is_asked(stage: Stage) -> None:
    stage.recorder.policy = SEVERAL
    await stage.start(RECORDED)
    await stage.call("600")
    await stage.wait(2.1)
    assert stage.manager is not None
    ((call_id, leg_id),) = [(leg.call_id, leg.leg_id) for leg, _ in stage.manager.consent_desk._entries.values()]
    desk = stage.manager.consent_desk
    assert await desk.answer(call_id, leg_id, "denied", "web", {}) == "denied"
    await stage.wait(0.1)
    assert await desk.answer(call_id, leg_id, "denied", "web", {}) == "denied"  # later: a no to everything
    (recording,) = stage.recorder.recordings
    assert recording.answered_for == [(Answer.DENIED, ("training", "research")), (Answer.DENIED, ())]
    with pytest.raises(LookupError, match="no such purpose"):
        await desk.answer(call_id, leg_id, "denied", "web", {}, ["fun"])


async def test_who_comes_back_from_hold_hears_the_notice_again_alone(stage: Stage) -> None:
    recording = await connected(stage)
    bob = stage.gateway.sessions[0]
    await stage.hold(bob)
    await stage.hold(bob, "sendrecv")
    assert not recording.capturing
    assert stage.heard(0)[-1] == "recording-notice"
    assert stage.heard(1) == ["recording-notice"]  # bob held; alice was the one on hold
    await stage.wait(2.1)
    assert recording.capturing


async def test_a_party_withdraws_by_key_and_by_button_and_stays_in_the_call(stage: Stage) -> None:
    recording = await connected(stage)
    assert stage.manager is not None
    desk, (facts,) = stage.manager.consent_desk, stage.manager.calls()
    told: list[tuple[str, ConsentState]] = []
    desk.listeners.append(lambda _call, leg, state: told.append((leg, state)))
    assert desk.states(facts.call_id) == {"1": ConsentState.IMPLIED, "2": ConsentState.IMPLIED}
    await stage.press("*9", 1)
    assert recording.answers[-1][1:] == (Answer.WITHDRAWN, "dtmf", {"key": "*9"})
    assert await desk.answer(facts.call_id, "1", "withdrawn", "web", {"session": "s1"}) == "withdrawn"
    assert told == [("2", ConsentState.WITHDRAWN), ("1", ConsentState.WITHDRAWN)]
    assert stage.leg(1).bridge is not None
    with pytest.raises(LookupError):
        await desk.answer(facts.call_id, "7", "granted", "web", {})
    with pytest.raises(ValueError, match="perhaps"):
        await desk.answer(facts.call_id, "1", "perhaps", "web", {})


async def test_card_data_is_kept_out_by_keys_of_our_own_users_only_and_a_pause_ends_by_itself(stage: Stage) -> None:
    recording = await connected(stage)
    await stage.press("*1", 1)
    assert recording.paused
    assert recording.log[-2:] == ["keypad", "pause"]
    await stage.press("*2", 1)
    assert recording.capturing
    await stage.press("*1", 0)
    await stage.wait(119.0)
    assert recording.paused
    await stage.wait(1.5)
    assert recording.capturing


async def test_a_stranger_can_neither_pause_nor_resume(stage: Stage) -> None:
    await stage.start(RECORDED)
    stage.register("bob")
    caller = await stage.call("bob", identity=None)
    await stage.wait(5.0)
    (recording,) = stage.recorder.recordings
    await stage.press("*1", 0)
    caller.tell(InfoReceived("application/x-record", b"off"))
    await stage.settle()
    assert not recording.paused
    bob = stage.gateway.sessions[0]
    bob.tell(InfoReceived("application/x-record", b"off"))
    await stage.settle()
    assert recording.paused
    await stage.press("*2", 0)
    assert recording.paused
    bob.tell(InfoReceived("application/vnd.mediaserver.recording", b"resume"))
    bob.tell(InfoReceived("application/vnd.mediaserver.recording", b"\xff\x00"))
    await stage.settle()
    assert recording.capturing


UNRECORDED = '[[route]]\nname="ext"\nnumber="*"\nuser="{number}"\n'


async def talking(stage: Stage, identity: str | None = "alice") -> None:
    """Two who talk, of whom nothing is recorded: no rule asks for it."""
    await stage.start(UNRECORDED)
    stage.register("bob")
    await stage.call("bob", identity=identity)
    await stage.wait(1.0)
    assert stage.recorder.recordings == []


async def by_keys(stage: Stage, act: str) -> None:
    await stage.press({"start": "*3", "stop": "*4", "pause": "*1", "resume": "*2"}[act], 1)


async def by_info(stage: Stage, act: str) -> None:
    stage.gateway.sessions[0].tell(InfoReceived("application/vnd.mediaserver.recording", act.encode()))
    await stage.settle()


async def by_record_key(stage: Stage, act: str) -> None:
    word = {"start": b"on", "pause": b"off", "resume": b"on", "stop": b"stop"}[act]
    stage.gateway.sessions[0].tell(InfoReceived("application/x-record", word))
    await stage.settle()


async def by_page(stage: Stage, act: str) -> None:
    assert stage.manager is not None
    (call,) = stage.manager.calls()
    assert await stage.manager.record_for(call.call_id, "2", cast(Act, act))
    await stage.settle()


@pytest.mark.parametrize("directs", [by_keys, by_info, by_record_key, by_page])
async def test_one_of_our_users_starts_pauses_resumes_and_stops_and_all_hear_the_notice_first(
    directs: Callable[[Stage, str], Awaitable[None]], stage: Stage
) -> None:
    keys = stage.settings.recording.model_copy(update={"start_code": "*3", "stop_code": "*4"})
    stage.settings = stage.settings.model_copy(update={"recording": keys})
    await talking(stage)
    await directs(stage, "start")
    (recording,) = stage.recorder.recordings
    assert not recording.capturing
    await stage.wait(2.1)
    assert (stage.heard(0), stage.heard(1)) == (["recording-notice"], ["recording-notice"])
    assert recording.capturing
    await directs(stage, "pause")
    assert recording.paused
    await directs(stage, "resume")
    assert recording.capturing
    await directs(stage, "stop")
    assert recording.ended
    assert stage.leg(0).bridge is not None  # the call goes on


async def test_a_stranger_starts_and_stops_nothing_and_nobody_by_keys_that_are_not_set(stage: Stage) -> None:
    await talking(stage, identity=None)
    assert stage.manager is not None
    ((call_id,), record_for) = [call.call_id for call in stage.manager.calls()], stage.manager.record_for
    for keys in ("*3", "*4"):
        await stage.press(keys, 0)
        await stage.press(keys, 1)
    with pytest.raises(PermissionError):
        await record_for(call_id, "1", "start")
    assert not await record_for(call_id, "2", "pause")  # there is nothing to pause
    assert not await record_for(call_id, "9", "start")
    assert not await record_for("no call", "1", "start")
    assert stage.recorder.recordings == []


async def test_no_party_stops_what_its_policy_wants_recorded(stage: Stage) -> None:
    recording = await connected(stage, CLOSED)
    assert stage.manager is not None
    (call,) = stage.manager.calls()
    assert not await stage.manager.record_for(call.call_id, "2", "stop")
    assert recording.capturing


async def test_a_program_starts_pauses_resumes_and_stops(stage: Stage) -> None:
    stage.program(
        "async def program(call):\n"
        "    await call.answer()\n"
        "    assert await call.start_recording()\n"
        "    await call.sleep(1)\n"
        "    await call.pause_recording('card data', resume_after_s=0)\n"
        "    await call.sleep(500)\n"
        "    await call.resume_recording()\n"
        "    await call.sleep(1)\n"
        "    assert await call.stop_recording()\n"
        "    assert not await call.stop_recording()\n"
        "    await call.sleep(1)\n"
    )
    await stage.start('[[route]]\nname="mine"\nnumber="600"\nprogram="mine"\n')
    await stage.call("600")
    assert stage.heard() == ["recording-notice"]
    await stage.wait(2.1)
    (recording,) = stage.recorder.recordings
    assert recording.capturing
    await stage.wait(400.0)
    assert recording.log == ["capture", "card data", "pause"]
    await stage.wait(103.0)
    assert recording.ended
    assert recording.log == ["capture", "card data", "pause", "capture", "pause"]
    await stage.wait(2.0)
    assert stage.observer.ended[0].cause is Cause.LOCAL_HANGUP
    assert stage.observer.ended[0].recording_id == "rec-1"


async def fails_at_once(stage: Stage) -> None:
    stage.recorder.fail = StorageError("the disk is full")
    await stage.call("bob")


async def fails_in_the_call(stage: Stage) -> None:
    await stage.call("bob")
    await stage.wait(5.0)
    assert stage.leg(0).bridge is not None
    lost: Callable[[str], None] | None = stage.recorder.recordings[0].on_failure
    assert lost is not None
    lost("disk_full")  # once for each journal: the second must not cut the sentence short
    await stage.settle()
    lost("disk_low")
    await stage.settle()


@pytest.mark.parametrize("fails", [fails_at_once, fails_in_the_call])
async def test_a_closed_policy_tells_the_parties_and_connects_nobody(
    fails: Callable[[Stage], object], stage: Stage
) -> None:
    await stage.start(RECORDED)
    stage.recorder.policy = CLOSED
    stage.register("bob")
    await fails(stage)  # type: ignore[misc]
    assert stage.heard(0)[-1] == "technical-error"
    assert stage.observer.ended == []
    await stage.wait(2.1)
    assert stage.observer.ended[0].cause is Cause.REJECTED
    assert stage.observer.ended[0].reason == "Recording Not Available"


async def test_a_closed_policy_lets_nobody_into_a_room_that_cannot_be_recorded(stage: Stage) -> None:
    await stage.start(RECORDED)
    stage.recorder.policy = CLOSED
    stage.recorder.fail = StorageError("no key")
    await stage.call("700")
    assert stage.heard() == ["technical-error"]
    await stage.wait(2.1)
    assert stage.observer.ended[0].cause is Cause.REJECTED


async def test_a_policy_of_never_records_nothing_and_plays_nothing(stage: Stage) -> None:
    await stage.start(RECORDED)
    stage.recorder.policy = ConsentRules("never", ask="never")
    await stage.call("600")
    assert stage.heard() == []
    assert stage.leg().bridge is not None
    assert stage.recorder.recordings == []


async def test_a_beep_is_heard_by_all_while_something_is_captured(tmp_path: Path) -> None:
    stage = Stage(tmp_path, recording={"beep_interval_s": 15.0})
    recording = await connected(stage)
    before = len(stage.leg(0).heard), len(stage.leg(1).heard)
    await stage.wait(31.0)
    assert (len(stage.leg(0).heard), len(stage.leg(1).heard)) == (before[0] + 2, before[1] + 2)
    await recording.pause("card data")
    await stage.wait(31.0)
    assert len(stage.leg(0).heard) == before[0] + 2
    await stage.close()


async def test_asking_what_a_call_is_changes_nothing_of_it(stage: Stage) -> None:
    recording = await connected(stage)
    manager = stage.manager
    assert manager is not None
    assert [call.recording_id for call in manager.calls()] == ["rec-1"]
    recording.captured = False  # as if nobody had asked before: the answer is of now
    assert [call.recording_id for call in manager.calls()] == [None]


async def test_a_call_recorded_twice_is_known_by_the_first(stage: Stage) -> None:
    stage.program(
        "async def program(call):\n"
        "    await call.answer()\n"
        "    await call.start_recording()\n"
        "    await call.stop_recording()\n"
        "    await call.start_recording()\n"
        "    await call.sleep(1)\n"
    )
    await stage.start('[[route]]\nname="mine"\nnumber="600"\nprogram="mine"\n')
    await stage.call("600")
    await stage.wait(6.0)
    assert [recording.log for recording in stage.recorder.recordings] == [["capture", "pause"]] * 2
    assert stage.observer.ended[0].recording_id == "rec-1"
