"""Phones that are shown that they are recorded, and that say what they prefer: RFC 7866 §6.2 and §7."""

from __future__ import annotations

import re

import pytest

from mediaserver.model_consent import Answer
from mediaserver.sip.session import Reoffer, ReofferAnswered, ReofferFailed
from tests.support.fake_sessions import FakeSession
from tests.unit.calls.stage import Stage, sdp

RECORDED = '[[route]]\nname="ext"\nnumber="bob"\nuser="bob"\nrecord=true\n'


def said(body: bytes) -> str:
    found = re.search(rb"^a=record:(\w+)\r$", body, re.M)
    return found[1].decode() if found else ""


def shown(session: FakeSession) -> list[str]:
    return [said(what[1]) for what in session.did if what[0] == "reinvite"]


async def recorded(stage: Stage, *, aware: bool = True, offer: bytes = b"", **call: object) -> FakeSession:
    """A recorded call between alice, whose phone is asked about, and bob; both have heard the notice."""
    await stage.start(RECORDED)
    stage.register("bob")
    caller = await stage.call("bob", offer=offer, settle=False, **call)  # type: ignore[arg-type]
    caller.record_aware = aware
    await stage.settle()
    await stage.wait(2.1)
    await stage.wait(2.1)
    return caller


async def answer(stage: Stage, session: FakeSession) -> None:
    session.tell(ReofferAnswered(sdp()))
    await stage.settle()


async def test_an_aware_phone_is_shown_what_becomes_of_the_recording_and_others_are_left_alone(stage: Stage) -> None:
    caller = await recorded(stage)
    assert said(caller.did[0][1]) == ""  # the answer: nothing is recorded before the notice
    assert shown(caller) == ["on"]
    await answer(stage, caller)
    assert shown(stage.gateway.sessions[0]) == []  # bob's phone has not said that it is aware
    call_id = caller.room_id
    assert stage.manager is not None
    await stage.manager.consent_desk.pause(call_id, "card data")
    await stage.settle()
    await answer(stage, caller)
    await stage.manager.consent_desk.resume(call_id)
    await stage.settle()
    await answer(stage, caller)
    assert shown(caller) == ["on", "paused", "on"]
    await stage.manager.record(call_id, False)
    await stage.settle()
    await answer(stage, caller)
    assert shown(caller) == ["on", "paused", "on", "off"]
    await stage.hang_up(caller)


async def test_an_unaware_phone_gets_no_offer_for_it(stage: Stage) -> None:
    caller = await recorded(stage, aware=False)
    assert "reinvite" not in caller.names()
    await stage.hang_up(caller)


async def test_what_changes_while_an_offer_is_open_is_said_by_the_next_one_and_only_what_holds_then(
    stage: Stage,
) -> None:
    caller = await recorded(stage)
    assert stage.manager is not None
    desk = stage.manager.consent_desk
    await desk.pause(caller.room_id, "card")
    await desk.resume(caller.room_id)
    await desk.pause(caller.room_id, "card")
    await stage.settle()
    assert shown(caller) == ["on"]
    await answer(stage, caller)
    assert shown(caller) == ["on", "paused"]
    await answer(stage, caller)
    await stage.hang_up(caller)


async def test_a_phone_that_refuses_the_offer_is_asked_again_a_few_times_and_the_call_goes_on(stage: Stage) -> None:
    caller = await recorded(stage)
    for _ in range(8):
        caller.tell(ReofferFailed(488, "Not Acceptable Here"))
        await stage.wait(0.6)
    assert set(shown(caller)) == {"on"}
    assert 1 <= len(shown(caller)) <= 5
    assert "hang_up" not in caller.names()
    await stage.hang_up(caller)


async def test_a_phone_that_prefers_not_to_be_recorded_hears_no_notice_and_is_not(stage: Stage) -> None:
    caller = await recorded(stage, offer=sdp("a=recordpref:off"))
    (recording,) = stage.recorder.recordings
    ours = recording.legs[0].handle
    assert (ours, Answer.DENIED, "sip", {"recordpref": "off"}) in recording.answers
    assert [notice.leg for notice in recording.notices] == [recording.legs[1].handle]  # bob's alone
    assert shown(caller) == []
    await stage.hang_up(caller)


@pytest.mark.parametrize("preference", ["on", "nopreference", "maybe", ""])
async def test_no_other_preference_is_an_answer(stage: Stage, preference: str) -> None:
    caller = await recorded(stage, offer=sdp(f"a=recordpref:{preference}"))
    (recording,) = stage.recorder.recordings
    assert len(recording.notices) == 2
    assert recording.answers == []
    await stage.hang_up(caller)


async def test_a_preference_that_changes_in_mid_call_withdraws_or_pauses(stage: Stage) -> None:
    caller = await recorded(stage)
    await answer(stage, caller)
    (recording,) = stage.recorder.recordings
    for preference, paused in (("pause", True), ("nopreference", False), ("pause", True), ("on", False)):
        caller.tell(Reoffer(sdp(f"a=recordpref:{preference}")))
        await stage.settle()
        assert recording.paused is paused, preference
    caller.tell(Reoffer(sdp("a=recordpref:off")))
    caller.tell(Reoffer(sdp("a=recordpref:off")))
    await stage.settle()
    assert [entry[1:] for entry in recording.answers] == [(Answer.WITHDRAWN, "sip", {"recordpref": "off"})]
    await stage.hang_up(caller)


async def test_a_stranger_pauses_nothing_but_may_withdraw(stage: Stage) -> None:
    caller = await recorded(stage, identity="trunk:carrier")
    (recording,) = stage.recorder.recordings
    caller.tell(Reoffer(sdp("a=recordpref:pause")))
    await stage.settle()
    assert not recording.paused
    caller.tell(Reoffer(sdp("a=recordpref:off")))
    await stage.settle()
    assert [entry[1] for entry in recording.answers] == [Answer.WITHDRAWN]
    await stage.hang_up(caller)
