"""Blind transfer (REFER)."""

from __future__ import annotations

import pytest

from mediaserver.sip.session import Answered, Failed
from tests.support.fake_sessions import FakeSession
from tests.unit.calls.stage import Stage


def notified(session: FakeSession) -> list[int]:
    return [what[1] for what in session.did if what[0] == "notify_refer"]


async def test_the_callee_sends_the_caller_to_somebody_else(stage: Stage) -> None:
    stage.register("bob")
    stage.register("carol")
    caller = await stage.call("bob")
    (bob,) = stage.gateway.sessions
    await stage.hold(bob)
    assert stage.heard(0) == ["hold-music"]
    await stage.refer(bob, "<sip:carol@pbx.example>")
    carol = stage.gateway.sessions[1]
    assert notified(bob) == [180, 200]
    assert bob.names()[-1] == "hang_up"
    assert stage.leg(0).playing is None
    legs = list(stage.engine.legs.values())
    assert len(legs) == 2
    assert legs[0].bridge == legs[1].bridge is not None
    assert carol.caller_user == "alice"
    await stage.hang_up(carol)
    assert caller.names()[-1] == "hang_up"
    assert len(stage.observer.ended[0].legs) == 3


async def test_the_caller_sends_the_callee_to_somebody_else(stage: Stage) -> None:
    stage.register("bob")
    stage.register("carol")
    caller = await stage.call("bob")
    bob = stage.gateway.sessions[0]
    await stage.refer(caller, "sip:carol@pbx.example")
    assert notified(caller) == [180, 200]
    assert caller.names()[-1] == "hang_up"
    carol = stage.gateway.sessions[1]
    assert carol.caller_user == "bob"
    await stage.hang_up(bob)
    assert carol.names()[-1] == "hang_up"


async def test_a_transferor_who_leaves_at_once_does_not_end_the_call(stage: Stage) -> None:
    stage.register("bob")
    stage.register("carol", does="ring")
    caller = await stage.call("bob")
    bob = stage.gateway.sessions[0]
    await stage.refer(caller, "sip:carol@pbx.example")
    await stage.hang_up(caller)
    assert not bob.over
    stage.gateway.sessions[1].tell(Answered(b"v=0\nc=IN IP4 192.0.2.9\nm=audio 4300 RTP/AVP 0\n"))
    await stage.settle()
    legs = list(stage.engine.legs.values())
    assert len(legs) == 2
    assert legs[0].bridge == legs[1].bridge is not None


async def test_a_transfer_that_fails_leaves_the_two_talking(stage: Stage) -> None:
    stage.register("bob")
    stage.register("carol", does="486")
    caller = await stage.call("bob")
    await stage.refer(caller, "sip:carol@pbx.example")
    assert notified(caller) == [486]
    legs = list(stage.engine.legs.values())
    assert len(legs) == 2
    assert legs[0].bridge == legs[1].bridge is not None


async def test_a_transfer_that_fails_after_the_transferor_left_ends_the_call(stage: Stage) -> None:
    stage.register("bob")
    stage.register("carol", does="ring")
    caller = await stage.call("bob")
    await stage.refer(caller, "sip:carol@pbx.example")
    await stage.hang_up(caller)
    stage.gateway.sessions[1].tell(Failed(486, "Busy Here"))
    await stage.settle()
    assert stage.gateway.sessions[0].names()[-1] == "hang_up"
    assert stage.engine.legs == {}


async def test_a_transfer_into_a_room_or_program_runs_it_for_the_one_who_stays(stage: Stage) -> None:
    stage.register("bob")
    caller = await stage.call("bob")
    bob = stage.gateway.sessions[0]
    await stage.refer(caller, "sip:700@pbx.example")
    assert notified(caller) == [200]
    assert caller.names()[-1] == "hang_up"
    await stage.wait(10.0)
    assert stage.manager is not None
    (room,) = stage.manager.rooms()
    assert len(room.participants) == 1
    await stage.hang_up(bob)
    assert stage.manager.rooms() == []


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("sip:nobody@pbx.example", 404),
        ("sip:carol@elsewhere.example", 404),
        ("tel:123", 404),
        ("garbage<", 400),
    ],
)
async def test_targets_that_cannot_be_reached_are_told_so(stage: Stage, target: str, status: int) -> None:
    stage.register("bob")
    caller = await stage.call("bob")
    await stage.refer(caller, target)
    assert notified(caller) == [status]
    assert len(stage.engine.legs) == 2


async def test_the_transferors_rights_count(stage: Stage) -> None:
    await stage.start(
        '[[route]]\nname="out"\nnumber="9*"\ntrunk="carrier"\n[[route]]\nname="ext"\nnumber="*"\nuser="{number}"\n'
    )
    stage.register("bob")
    outsider = await stage.call("bob", identity="trunk:carrier")
    await stage.refer(outsider, "sip:9123@pbx.example")
    assert notified(outsider) == [404]  # the trunk rule is passed over, and no user has that name
    await stage.refer(stage.gateway.sessions[0], "sip:9123@pbx.example")
    assert stage.gateway.sessions[1].did[0] == ("invite", "9123", "carrier")


async def test_nobody_can_be_transferred_out_of_an_echo(stage: Stage) -> None:
    caller = await stage.call("600")
    await stage.refer(caller, "sip:601@pbx.example")
    assert notified(caller) == []
    assert caller.did[-1] == ("refuse_refer", 603)  # at once, not by a NOTIFY after a 202
