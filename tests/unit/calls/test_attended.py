"""Attended transfer: a party connects the two it talks to. INVITE with Replaces: it goes on elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from mediaserver.model import Cause
from mediaserver.model_consent import ConsentState
from mediaserver.model_news import PartyNews
from mediaserver.sip.session import Answered, Cancelled, Ended
from tests.unit.calls.stage import Stage, sdp
from tests.unit.calls.test_recording import RECORDED
from tests.unit.calls.test_transfer import notified


class Consulting:
    """Alice has called bob, put him on hold, and called carol, who has answered unless it is said otherwise."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    async def begin(self, *, carol: str = "answer", first: str = "bob") -> Consulting:
        self.stage.register("bob")
        self.stage.register("carol", does=carol)
        self.first = await self.stage.call(first)
        await self.stage.hold(self.first)
        self.second = await self.stage.call("carol")
        self.bob, self.carol = self.stage.gateway.sessions
        return self

    async def connect(self) -> None:
        await self.stage.refer(self.first, "<sip:carol@pbx.example>", self.second)


@pytest.fixture
async def calls(stage: Stage) -> Consulting:
    return await Consulting(stage).begin()


def bridged(stage: Stage) -> list[int]:
    """How many hear each other in each bridge."""
    bridges = [leg.bridge for leg in stage.engine.legs.values() if leg.bridge is not None]
    return sorted(bridges.count(bridge) for bridge in set(bridges))


async def test_the_two_who_were_asked_are_connected_and_the_one_who_asked_leaves(calls: Consulting) -> None:
    assert bridged(calls.stage) == [2, 2]
    await calls.connect()
    assert notified(calls.first) == [200]
    assert calls.first.names()[-1] == calls.second.names()[-1] == "hang_up"
    assert not calls.bob.over
    assert not calls.carol.over
    assert len(calls.stage.engine.legs) == 2
    assert bridged(calls.stage) == [2]
    assert [leg.playing for leg in calls.stage.engine.legs.values()] == [None, None]  # no hold music
    assert "invite" not in calls.carol.names()[1:]  # nobody was called anew
    await calls.stage.hang_up(calls.carol)
    assert calls.bob.names()[-1] == "hang_up"
    assert calls.stage.engine.legs == {}


async def test_both_calls_have_their_record_and_the_leg_that_went_over_is_in_both(calls: Consulting) -> None:
    await calls.connect()
    (consultation,) = calls.stage.observer.ended
    assert (consultation.called, consultation.ended_by, consultation.reason) == ("carol", "caller", "transferred")
    assert [(leg.leg_id, leg.number) for leg in consultation.legs] == [("1", "alice"), ("2", "carol")]
    await calls.stage.hang_up(calls.bob)
    kept = calls.stage.observer.ended[1]
    assert [(leg.leg_id, leg.number) for leg in kept.legs] == [("1", "alice"), ("2", "bob"), ("3", "carol")]
    assert kept.legs[2].opened_ns >= consultation.legs[1].opened_ns


async def test_a_party_that_was_called_connects_its_caller_with_its_callee(stage: Stage) -> None:
    stage.register("alice", "sip:alice@192.0.2.9")
    stage.register("carol")
    bob = await stage.call("alice", caller="bob")
    (alice,) = stage.gateway.sessions
    consultation = await stage.call("carol", caller="alice")
    carol = stage.gateway.sessions[1]
    await stage.refer(alice, "<sip:carol@pbx.example>", consultation)
    assert notified(alice) == [200]
    assert alice.names()[-1] == consultation.names()[-1] == "hang_up"
    assert bridged(stage) == [2]
    await stage.hang_up(bob)
    assert carol.names()[-1] == "hang_up"


async def test_a_caller_who_is_the_target_stays_when_his_own_call_ends(stage: Stage) -> None:
    stage.register("alice", "sip:alice@192.0.2.9")
    stage.register("bob")
    mine = await stage.call("bob", caller="alice")
    bob = stage.gateway.sessions[0]
    dave = await stage.call("alice", caller="dave")
    alice = stage.gateway.sessions[1]
    await stage.refer(mine, "<sip:dave@pbx.example>", alice)
    assert notified(mine) == [200]
    assert not dave.over
    assert not bob.over
    assert alice.names()[-1] == "hang_up"
    assert bridged(stage) == [2]
    assert [facts.caller for facts in stage.observer.ended] == ["dave"]
    await stage.hang_up(dave)
    assert bob.names()[-1] == "hang_up"


async def test_what_the_moved_party_does_concerns_its_new_call(calls: Consulting) -> None:
    await calls.connect()
    await calls.stage.hold(calls.carol)
    assert calls.stage.heard(0)[-1] == "hold-music"
    await calls.stage.hold(calls.carol, "sendrecv")
    assert calls.stage.leg(0).playing is None
    calls.stage.register("dave")
    await calls.stage.refer(calls.carol, "sip:dave@pbx.example")
    assert notified(calls.carol) == [180, 200]
    assert calls.carol.names()[-1] == "hang_up"
    assert bridged(calls.stage) == [2]


async def test_while_the_target_still_rings_it_is_called_for_the_other_party(stage: Stage) -> None:
    calls = await Consulting(stage).begin(carol="ring")
    stage.behaviour["sip:carol@192.0.2.9"] = "answer"
    await calls.connect()
    assert calls.second.over
    assert stage.gateway.sessions[1].names() == ["invite", "cancel"]
    assert notified(calls.first) == [180, 200]
    assert bridged(stage) == [2]


async def test_somebody_can_be_brought_into_the_room_the_transferor_is_in(stage: Stage) -> None:
    stage.register("bob")
    first = await stage.call("bob")
    room = await stage.call("700")
    await stage.wait(10)
    await stage.refer(first, "<sip:700@pbx.example>", room)
    await stage.wait(10)
    assert notified(first) == [200]
    assert first.over
    assert room.over
    assert not stage.gateway.sessions[0].over
    assert stage.manager is not None
    ((participant,),) = [one.participants for one in stage.manager.rooms()]
    assert participant.number == "bob"


async def test_the_room_may_be_the_call_that_is_transferred(stage: Stage) -> None:
    stage.register("bob")
    room = await stage.call("700")
    await stage.wait(10)
    first = await stage.call("bob")
    await stage.refer(room, "<sip:bob@pbx.example>", first)
    await stage.wait(10)
    assert notified(room) == [200]
    assert room.over
    assert first.over
    assert stage.manager is not None
    ((participant,),) = [one.participants for one in stage.manager.rooms()]
    assert participant.number == "bob"


async def test_two_programs_cannot_be_connected(stage: Stage) -> None:
    echo, room = await stage.call("600"), await stage.call("700")
    await stage.refer(echo, "<sip:700@pbx.example>", room)
    assert notified(echo) == [603]
    assert not echo.over
    assert not room.over


async def test_a_call_that_ended_meanwhile_is_told_and_nothing_changes(calls: Consulting) -> None:
    calls.second.tell(Ended(False))
    await calls.connect()
    assert notified(calls.first) == [481]
    assert not calls.first.over
    assert bridged(calls.stage) == [2]


async def test_a_target_who_hangs_up_at_that_moment_leaves_the_others_talking(calls: Consulting) -> None:
    calls.carol.tell(Ended(False))
    await calls.connect()
    assert notified(calls.first)[-1] >= 400
    assert not calls.bob.over
    assert bridged(calls.stage) == [2]


async def test_a_transferor_who_leaves_at_once_breaks_nothing(calls: Consulting) -> None:
    await calls.connect()
    for session in (calls.first, calls.second):
        session.tell(Ended(False))
    await calls.stage.settle()
    assert not calls.bob.over
    assert not calls.carol.over


async def test_in_a_recorded_call_the_target_hears_the_notice_alone_and_capture_rests_until_then(stage: Stage) -> None:
    await stage.start(RECORDED)
    stage.register("bob")
    stage.register("carol")
    first = await stage.call("bob")
    await stage.wait(5)
    (recording,) = stage.recorder.recordings
    assert recording.capturing
    second = await stage.call("carol")
    await stage.refer(first, "<sip:carol@pbx.example>", second)
    carol = stage.leg(2)
    assert [name.rsplit("/")[-1] for name in stage.heard(2)] == ["recording-notice"]
    assert "recording-notice" not in stage.heard(1)[1:]  # bob hears it no second time
    assert carol.bridge is None
    assert not recording.capturing
    assert notified(first) == []
    await stage.wait(2.1)
    assert notified(first) == [200]
    assert recording.capturing
    assert bridged(stage) == [2]
    assert len(stage.recorder.recordings) == 1
    assert set(recording.joined.values()) == {ConsentState.IMPLIED}


async def test_what_was_agreed_to_in_the_consultation_does_not_count_in_the_other_call(stage: Stage) -> None:
    await stage.start(RECORDED.replace('number="bob"\nuser="bob"', 'number="carol"\nuser="carol"'))
    stage.register("bob")
    stage.register("carol")
    first = await stage.call("bob")
    second = await stage.call("carol")
    await stage.wait(5)
    (recording,) = stage.recorder.recordings
    assert recording.capturing
    await stage.refer(first, "<sip:carol@pbx.example>", second)
    assert recording.ended
    assert bridged(stage) == [2]
    assert len(stage.recorder.recordings) == 1


async def test_each_is_told_whom_it_talks_to_now_and_the_transferor_is_not(calls: Consulting) -> None:
    await calls.connect()
    assert (calls.bob.shown, calls.carol.shown) == (("carol", "Carol C."), ("bob", ""))
    assert (calls.first.shown, calls.second.shown) == (None, None)
    news = [(str(one.number), str(one.name)) for _, _, one in calls.stage.reader.news if isinstance(one, PartyNews)]
    assert news == [("carol", "Carol C."), ("bob", "")]


async def test_a_trunk_is_not_told_who_is_behind_it(tmp_path: Path) -> None:
    stage = Stage(tmp_path, trunks={"carrier": {"uri": "sip:carrier.example"}})
    stage.register("bob")
    stage.register("carol")
    outside = await stage.call("bob", caller="+4930123", identity="trunk:carrier")
    (bob,) = stage.gateway.sessions
    second = await stage.call("carol", caller="bob")
    carol = stage.gateway.sessions[-1]
    await stage.refer(bob, "<sip:carol@pbx.example>", second)
    assert (outside.shown, carol.shown) == (None, ("+4930123", "+4930123"))
    assert [str(one.number) for _, _, one in stage.reader.news if isinstance(one, PartyNews)] == ["+4930123"]
    await stage.close()


# -- INVITE with Replaces


async def test_a_party_goes_on_with_its_conversation_on_another_device(stage: Stage) -> None:
    stage.register("bob")
    desk = await stage.call("bob")
    bob = stage.gateway.sessions[0]
    mobile = await stage.call("bob", replaces=desk, offer=sdp(port=4200))
    assert mobile.names() == ["accept"]
    assert desk.names()[-1] == "hang_up"
    assert not bob.over
    assert len(stage.engine.legs) == 2
    assert bridged(stage) == [2]
    assert stage.manager is not None
    assert len(stage.manager) == 1
    await stage.hang_up(mobile)
    assert bob.names()[-1] == "hang_up"


async def test_the_party_that_was_called_may_move_too(stage: Stage) -> None:
    stage.register("bob")
    caller = await stage.call("bob")
    desk = stage.gateway.sessions[0]
    mobile = await stage.call("alice", caller="bob", replaces=desk)
    assert mobile.names() == ["accept"]
    assert desk.names()[-1] == "hang_up"
    assert not caller.over
    assert bridged(stage) == [2]


async def test_what_a_trunk_may_speak_counts_for_its_new_leg_too(tmp_path: Path) -> None:
    stage = Stage(tmp_path, trunks={"carrier": {"uri": "sip:carrier.example", "codecs": ["PCMA"]}})
    stage.register("bob")
    first = await stage.call("bob", identity="trunk:carrier")
    second = await stage.call("bob", identity="trunk:carrier", replaces=first)
    (answer,) = [what[1] for what in second.did if what[0] == "accept"]
    assert b"RTP/AVP 8" in answer
    assert b" 0 " not in answer.split(b"m=audio")[1].splitlines()[0] + b" "
    await stage.close()


async def test_a_device_that_shares_no_codec_is_refused_and_the_call_stays_as_it_was(stage: Stage) -> None:
    stage.register("bob")
    desk = await stage.call("bob")
    mobile = await stage.call("bob", replaces=desk, offer=sdp(formats="101"))
    assert mobile.did[-1][:2] == ("reject", 488)
    assert not desk.over
    assert bridged(stage) == [2]


async def test_in_a_recorded_call_the_other_device_hears_the_notice_first(stage: Stage) -> None:
    await stage.start(RECORDED)
    stage.register("bob")
    desk = await stage.call("bob")
    await stage.wait(5)
    await stage.call("bob", replaces=desk)
    assert stage.heard(2) == ["recording-notice"]
    assert not desk.over
    assert not stage.recorder.recordings[0].capturing
    await stage.wait(2.1)
    assert desk.over
    assert stage.recorder.recordings[0].capturing


async def test_a_participant_of_a_room_comes_back_on_another_device(stage: Stage) -> None:
    desk = await stage.call("700")
    await stage.wait(10)
    mobile = await stage.call("700", replaces=desk)
    await stage.wait(10)
    assert mobile.names() == ["accept"]
    assert desk.over
    assert stage.manager is not None
    ((participant,),) = [one.participants for one in stage.manager.rooms()]
    assert participant.leg_id == "2"


async def test_a_dialog_that_is_over_cannot_be_replaced(stage: Stage) -> None:
    stage.register("bob")
    desk = await stage.call("bob")
    await stage.hang_up(desk)
    mobile = await stage.call("bob", replaces=desk)
    assert mobile.did[-1][:2] == ("reject", 481)


# -- call pickup


async def test_a_ringing_call_is_answered_on_another_device(stage: Stage) -> None:
    stage.register("bob", "sip:desk@h", "sip:hall@h", does="ring")
    caller = await stage.call("bob")
    desk, hall = stage.gateway.sessions
    mobile = await stage.call("bob", caller="bob", replaces=desk, offer=sdp(port=4200))
    assert mobile.names() == ["accept"]
    assert caller.names() == ["ring", "accept"]
    for phone in (desk, hall):
        assert phone.names()[-1] == "cancel"
        assert "Call completed elsewhere" in dict(phone.last_words)["Reason"]
    assert bridged(stage) == [2]
    assert stage.manager is not None
    assert len(stage.manager) == 1
    await stage.hang_up(mobile)
    (facts,) = stage.observer.ended
    assert [(leg.role, leg.cause) for leg in facts.legs][-1] == ("callee", Cause.REMOTE_HANGUP)


async def test_a_recorded_call_that_is_picked_up_has_its_notice(stage: Stage) -> None:
    await stage.start(RECORDED)
    stage.register("bob", does="ring")
    await stage.call("bob")
    await stage.wait(5)
    mobile = await stage.call("bob", caller="bob", replaces=stage.gateway.sessions[0])
    assert not mobile.over
    assert stage.heard(1) == ["recording-notice"]
    assert not any(recording.capturing for recording in stage.recorder.recordings)
    await stage.wait(5)
    assert [recording.capturing for recording in stage.recorder.recordings] == [True]


async def test_a_pickup_that_cannot_be_leaves_the_call_ringing(stage: Stage) -> None:
    stage.register("bob", does="ring")
    caller = await stage.call("bob")
    (desk,) = stage.gateway.sessions
    mobile = await stage.call("bob", caller="bob", replaces=desk, offer=sdp(formats="101"))
    assert mobile.did[-1][:2] == ("reject", 488)
    assert not desk.over
    desk.tell(Answered(sdp()))
    await stage.settle()
    assert caller.names() == ["ring", "accept"]
    assert bridged(stage) == [2]


async def test_two_pick_up_one_call_and_one_of_them_has_it(stage: Stage) -> None:
    stage.register("bob", does="ring")
    await stage.call("bob")
    (desk,) = stage.gateway.sessions
    both = [await stage.call("bob", caller="bob", replaces=desk, settle=False) for _ in range(2)]
    await stage.settle()
    assert sorted(phone.over for phone in both) == [False, True]
    assert bridged(stage) == [2]


async def test_a_caller_who_gives_up_while_it_is_picked_up_ends_both(stage: Stage) -> None:
    stage.register("bob", does="ring")
    caller = await stage.call("bob")
    mobile = await stage.call("bob", caller="bob", replaces=stage.gateway.sessions[0], settle=False)
    caller.tell(Cancelled())
    caller.tell(Ended(False))
    await stage.settle()
    assert mobile.over
    assert stage.engine.legs == {}
