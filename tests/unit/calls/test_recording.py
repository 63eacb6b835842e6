"""Recording by rule: every party hears the notice to its end before anything is captured."""

from __future__ import annotations

from mediaserver.errors import StorageError
from tests.unit.calls.stage import Stage

RECORDED = (
    '[[route]]\nname="ext"\nnumber="bob"\nuser="bob"\nrecord=true\n'
    '[[route]]\nname="room"\nnumber="700"\nconference="700"\nrecord=true\n'
    '[[route]]\nname="echo"\nnumber="600"\nprogram="echo"\nrecord=true\noptions={intro=false}\n'
    '[[route]]\nname="other"\nnumber="*"\nuser="{number}"\n'
)


async def test_the_caller_hears_the_notice_before_anybody_is_rung_and_the_callee_before_he_talks(stage: Stage) -> None:
    await stage.start(RECORDED)
    stage.register("bob")
    caller = await stage.call("bob")
    assert caller.names() == ["accept"]
    assert stage.heard(0) == ["recording-notice"]
    assert stage.gateway.sessions == []
    (recording,) = stage.recorder.recordings
    await stage.wait(1.9)
    assert recording.log == []
    await stage.wait(0.2)
    assert stage.heard(1) == ["recording-notice"]
    assert stage.leg(0).bridge is None
    assert recording.log == []
    await stage.wait(2.1)
    assert recording.log == ["capture"]
    assert stage.leg(0).bridge is not None
    assert [notice.prompt for notice in recording.notices] == ["recording-notice"] * 2
    await stage.hang_up(stage.gateway.sessions[0])
    assert recording.ended
    assert stage.observer.ended[0].recording_id == "rec-1"


async def test_hanging_up_during_the_notice_captures_nothing(stage: Stage) -> None:
    await stage.start(RECORDED)
    stage.register("bob")
    caller = await stage.call("bob")
    await stage.press("1")
    await stage.wait(1.0)
    await stage.hang_up(caller)
    (recording,) = stage.recorder.recordings
    assert recording.log == []
    assert stage.gateway.sessions == []
    assert stage.observer.ended[0].recording_id is None


async def test_a_callee_who_hangs_up_during_his_notice_never_talks(stage: Stage) -> None:
    await stage.start(RECORDED)
    stage.register("bob")
    caller = await stage.call("bob")
    await stage.wait(3.0)
    await stage.hang_up(stage.gateway.sessions[0])
    assert caller.names() == ["accept", "hang_up"]
    (recording,) = stage.recorder.recordings
    assert recording.log == []
    assert recording.notices == []


async def test_a_caller_who_waits_for_an_answer_is_not_captured(stage: Stage) -> None:
    await stage.start(RECORDED)
    stage.register("bob", does="ring")
    await stage.call("bob")
    await stage.wait(30.0)
    assert stage.gateway.sessions[0].names() == ["invite"]
    assert stage.recorder.recordings[0].log == []


async def test_a_recorder_that_fails_leaves_the_call_unrecorded_and_without_notice(stage: Stage) -> None:
    await stage.start(RECORDED)
    stage.recorder.fail = StorageError("the disk is full")
    await stage.call("600")
    assert stage.heard() == []
    assert stage.leg().bridge is not None


async def test_a_program_call_hears_the_notice_right_after_the_answer(stage: Stage) -> None:
    await stage.start(RECORDED)
    await stage.call("600")
    assert stage.heard() == ["recording-notice"]
    assert stage.leg().bridge is None
    await stage.wait(2.1)
    assert stage.leg().bridge is not None
    assert stage.recorder.recordings[0].capturing


async def test_a_joiner_of_a_recorded_room_hears_the_notice_first_and_capture_rests(stage: Stage) -> None:
    await stage.start(RECORDED)
    await stage.call("700")
    await stage.wait(2.1)
    (recording,) = stage.recorder.recordings
    assert recording.capturing
    second = await stage.call("700", caller="carol")
    assert stage.heard(1) == ["recording-notice"]
    assert not recording.capturing
    assert recording.call_id not in [facts.call_id for facts in stage.manager.calls()] if stage.manager else False
    assert len({leg.leg_id for leg in recording.legs}) == 2
    await stage.wait(1.0)
    await stage.hang_up(second)
    assert recording.capturing
    assert len(stage.recorder.recordings) == 1


async def test_a_transfer_target_hears_the_notice_and_capture_rests_until_then(stage: Stage) -> None:
    await stage.start(RECORDED)
    stage.register("bob")
    stage.register("carol")
    await stage.call("bob")
    await stage.wait(5.0)
    await stage.refer(stage.gateway.sessions[0], "sip:carol@pbx.example")
    (recording,) = stage.recorder.recordings
    assert not recording.capturing
    assert stage.heard(2) == ["recording-notice"]
    await stage.wait(2.1)
    assert recording.capturing
    assert len(recording.notices) == 3
