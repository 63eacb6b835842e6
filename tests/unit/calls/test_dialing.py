"""Extension to extension, forks, trunks, early media, hold: two parties brought together."""

from __future__ import annotations

import asyncio

import pytest

from mediaserver.calls.dialing import best_status
from mediaserver.model import Cause, CodecName, Direction
from mediaserver.sdp.parse import parse
from mediaserver.sip.session import Answered, Cancelled, Confirmed, Failed, Progress, Reoffer, ReofferAnswered
from tests.support.fake_sessions import FakeSession
from tests.unit.calls.stage import Stage, sdp


def bridged(stage: Stage) -> bool:
    legs = list(stage.engine.legs.values())
    return len(legs) == 2 and legs[0].bridge is not None and legs[0].bridge == legs[1].bridge


async def test_an_extension_rings_answers_and_talks(stage: Stage) -> None:
    stage.register("bob")
    caller = await stage.call("bob")
    assert caller.names() == ["ring", "accept"]
    assert bridged(stage)
    (callee,) = stage.gateway.sessions
    await stage.hang_up(callee)
    assert caller.names()[-1] == "hang_up"
    (facts,) = stage.observer.ended
    assert facts.ended_by == "callee"
    assert [leg.role for leg in facts.legs] == ["caller", "callee"]
    assert facts.legs[1].cause is Cause.REMOTE_HANGUP
    assert facts.legs[1].codec == "PCMU/8000"
    assert facts.answered_ns is not None


async def test_the_callee_is_offered_wideband_then_the_callers_codecs_and_both_relay(stage: Stage) -> None:
    stage.register("bob", does="ring")
    caller = await stage.call("bob", offer=sdp(formats="8 0 101"))
    (callee,) = stage.gateway.sessions
    assert callee.offer is not None
    assert parse(callee.offer).media[0].formats[:4] == ["111", "9", "8", "0"]
    callee.tell(Answered(sdp(formats="0")))
    await stage.settle()
    assert [leg.streams[-1].audio.name for leg in stage.engine.legs.values()] == [CodecName.PCMU, CodecName.PCMU]
    assert caller.names() == ["ring", "accept"]


@pytest.mark.parametrize(("registered", "status"), [(None, 404), ([], 480)])
async def test_nobody_to_ring_is_told_at_once(stage: Stage, registered: list[str] | None, status: int) -> None:
    if registered is not None:
        stage.gateway.users["bob"] = registered
    caller = await stage.call("bob")
    assert caller.did[-1][:2] == ("reject", status)


async def test_all_devices_ring_and_the_first_answer_cancels_the_others(stage: Stage) -> None:
    stage.register("bob", "sip:a@h", "sip:b@h", "sip:c@h", does="ring")
    caller = await stage.call("bob")
    assert caller.names() == ["ring"]
    first, second, third = stage.gateway.sessions
    second.tell(Answered(sdp(port=4200)))
    await stage.settle()
    assert caller.names() == ["ring", "accept"]
    assert "cancel" in first.names()
    assert "cancel" in third.names()
    assert first.last_words == third.last_words == (("Reason", 'SIP;cause=200;text="Call completed elsewhere"'),)
    assert bridged(stage)


async def test_all_busy_is_486_and_one_decline_ends_the_ringing(stage: Stage) -> None:
    stage.register("bob", "sip:a@h", "sip:b@h", does="486")
    caller = await stage.call("bob")
    assert caller.did[-1][:2] == ("reject", 486)
    stage.register("eve", "sip:d@h", "sip:e@h", does="ring")
    stage.behaviour["sip:e@h"] = "603"
    caller = await stage.call("eve")
    assert caller.did[-1][:2] == ("reject", 603)
    assert "cancel" in stage.gateway.sessions[2].names()


@pytest.mark.parametrize(
    ("statuses", "best"),
    [
        ([], 480),
        ([486, 486], 486),
        ([486, 480], 486),
        ([404, 503], 404),
        ([503, 500], 500),
        ([487, 486], 486),
        ([401, 407], 480),
        ([302], 480),
        ([408], 480),
        ([486, 603], 603),
        ([404, 484], 484),
    ],
)
def test_the_best_status_of_a_fork(statuses: list[int], best: int) -> None:
    assert best_status(statuses) == best


async def test_nobody_answers_in_time(stage: Stage) -> None:
    stage.register("bob", does="ring")
    caller = await stage.call("bob")
    await stage.wait(59.0)
    assert not caller.over
    await stage.wait(2.0)
    assert caller.did[-1][:2] == ("reject", 480)
    assert "cancel" in stage.gateway.sessions[0].names()
    assert stage.observer.ended[0].cause is Cause.NO_ANSWER


async def test_a_caller_who_gives_up_stops_the_ringing(stage: Stage) -> None:
    stage.register("bob", "sip:a@h", "sip:b@h", does="ring")
    caller = await stage.call("bob")
    caller.tell(Cancelled())
    await stage.settle()
    assert all("cancel" in session.names() for session in stage.gateway.sessions)
    assert all(session.last_words == () for session in stage.gateway.sessions), "that call was missed"
    (facts,) = stage.observer.ended
    assert (facts.cause, facts.ended_by) == (Cause.CANCELLED, "caller")


async def test_early_media_of_one_device_is_heard_by_the_caller(stage: Stage) -> None:
    stage.register("bob", does="early")
    caller = await stage.call("bob")
    assert [(what[0], what[1]) for what in caller.did] == [("ring", 183)]
    assert bridged(stage)
    early = caller.did[0][2]
    stage.gateway.sessions[0].tell(Answered())
    await stage.settle()
    assert caller.did[-1] == ("accept", early)
    assert bridged(stage)
    await stage.hang_up(caller)


async def test_early_media_that_ends_in_busy_leaves_nothing_behind(stage: Stage) -> None:
    stage.register("bob", does="early")
    caller = await stage.call("bob")
    stage.gateway.sessions[0].tell(Failed(486, "Busy Here"))
    await stage.settle()
    assert caller.did[-1][:2] == ("reject", 486)
    assert stage.engine.bridges == {}


async def test_a_device_that_insists_on_savp_is_asked_again_with_it(stage: Stage) -> None:
    stage.register("bob", does="488")
    await stage.call("bob")
    first, second = stage.gateway.sessions
    assert first.offer is not None
    assert second.offer is not None
    assert parse(first.offer).media[0].protocol == "RTP/AVP"
    assert parse(second.offer).media[0].protocol == "RTP/SAVP"
    assert stage.observer.ended[0].sip_status == 488


async def test_an_answer_that_cannot_be_used_counts_as_488(stage: Stage) -> None:
    stage.register("bob", does="ring")
    caller = await stage.call("bob")
    (callee,) = stage.gateway.sessions
    callee.tell(Answered(sdp(formats="18")))
    await stage.settle()
    assert callee.names()[-1] == "hang_up"
    stage.gateway.sessions[-1].tell(Failed(486, "Busy Here"))
    await stage.settle()
    assert caller.did[-1][:2] == ("reject", 486)


TRUNK = '[[route]]\nname="out"\nnumber="9*"\ntrunk="carrier"\nstrip=1\nprepend="+7"\ncaller_id="4950000000"\n'


async def test_a_prefix_leads_out_by_the_trunk(stage: Stage) -> None:
    await stage.start(TRUNK)
    caller = await stage.call("9812")
    (out,) = stage.gateway.sessions
    assert out.did[0] == ("invite", "+7812", "carrier")
    assert out.caller_user == "4950000000"
    out.tell(Failed(407, "Proxy Authentication Required"))
    await stage.settle()
    assert caller.did[-1][:2] == ("reject", 480)


@pytest.mark.parametrize("identity", [None, "trunk:carrier"])
async def test_only_users_may_dial_out(stage: Stage, identity: str | None) -> None:
    await stage.start(TRUNK)
    caller = await stage.call("9812", identity=identity)
    assert caller.did[-1][:2] == ("reject", 403)
    assert stage.gateway.sessions == []


async def test_the_other_party_hears_music_while_one_holds(stage: Stage) -> None:
    stage.register("bob")
    caller = await stage.call("bob")
    await stage.hold(caller)
    assert parse(caller.did[-1][1]).media[0].has("recvonly")
    assert stage.leg(0).streams[-1].direction is Direction.RECVONLY
    assert stage.heard(1) == ["hold-music"]
    assert stage.leg(1).playing is not None
    assert stage.manager is not None
    assert stage.manager.calls()[0].legs[0].state == "held"
    await stage.hold(caller, "sendrecv")
    assert stage.leg(1).playing is None
    await stage.hold(stage.gateway.sessions[0], "inactive")
    assert stage.heard(0) == ["hold-music"]
    await stage.hang_up(caller)


async def test_when_both_hold_nobody_hears_music(stage: Stage) -> None:
    stage.register("bob")
    caller = await stage.call("bob")
    await stage.hold(caller)
    await stage.hold(stage.gateway.sessions[0])
    assert [leg.playing for leg in stage.engine.legs.values()] == [None, None]


async def test_music_on_hold_can_be_switched_off(stage: Stage) -> None:
    stage.settings = stage.settings.model_copy(
        update={"calls": stage.settings.calls.model_copy(update={"hold_music": False})}
    )
    stage.register("bob")
    caller = await stage.call("bob")
    await stage.hold(caller)
    assert stage.heard(1) == []


async def test_a_reoffer_that_cannot_be_used_is_refused_and_the_call_goes_on(stage: Stage) -> None:
    stage.register("bob")
    caller = await stage.call("bob")
    caller.tell(Reoffer(sdp(formats="18")))
    caller.tell(Reoffer(b"nonsense"))
    await stage.settle()
    assert caller.did[-2:] == [("reject_reoffer", 488), ("reject_reoffer", 400)]
    assert bridged(stage)


async def test_a_reoffer_may_change_the_codec(stage: Stage) -> None:
    stage.register("bob")
    caller = await stage.call("bob")
    caller.tell(Reoffer(sdp(formats="8")))
    await stage.settle()
    assert stage.leg(0).streams[-1].audio.name is CodecName.PCMA
    assert ("leg_changed", "PCMA/8000") in [(n, f.codec) for n, f in stage.observer.events if n == "leg_changed"]


async def test_a_reinvite_without_offer_gets_ours_and_the_ack_answers_it(stage: Stage) -> None:
    stage.register("bob")
    caller = await stage.call("bob")
    caller.tell(Reoffer(None))
    await stage.settle()
    assert caller.names()[-1] == "answer_reoffer"
    before = parse(caller.did[1][1]).origin
    assert parse(caller.did[-1][1]).origin.version > before.version
    caller.tell(Confirmed(sdp(port=4400, formats="8")))
    await stage.settle()
    remote = stage.leg(0).streams[-1].remote
    assert remote is not None
    assert remote.port == 4400


async def test_our_own_hold_is_a_reinvite(stage: Stage) -> None:
    stage.register("bob")
    caller = await stage.call("bob")
    assert stage.manager is not None
    leg = next(iter(stage.manager._calls.values())).primary
    holding = asyncio.ensure_future(leg.set_hold(True))
    await stage.settle()
    assert parse(caller.did[-1][1]).media[0].has("sendonly")
    caller.tell(ReofferAnswered(sdp("a=recvonly")))
    assert await holding
    assert stage.leg(0).streams[-1].direction is Direction.SENDONLY


async def test_a_late_offer_is_answered_by_the_ack(stage: Stage) -> None:
    caller = await stage.call("600", offer=None)
    assert parse(caller.did[0][1]).media[0].port > 0
    assert stage.leg().streams == []
    caller.tell(Confirmed(sdp()))
    await stage.settle()
    assert stage.heard() == ["echo-intro"]


async def test_a_late_offer_without_answer_ends_the_call(stage: Stage) -> None:
    caller = await stage.call("600", offer=None)
    caller.tell(Confirmed(None))
    await stage.settle()
    assert caller.names() == ["accept", "hang_up"]


async def test_info_digits_are_passed_to_the_other_party(stage: Stage) -> None:
    stage.register("bob")
    caller = await stage.call("bob")
    await stage.info(caller, "5")
    await stage.press("6", 0)  # one that came in packets is the bridge's business
    assert stage.leg(1).dtmf == ["5"]


async def test_no_codec_is_488_no_port_503_no_route_404_bad_sdp_400(stage: Stage) -> None:
    assert (await stage.call("600", offer=sdp(formats="18"))).did[-1][:2] == ("reject", 488)
    assert (await stage.call("600", offer=b"m=audio x RTP/AVP 0")).did[-1][:2] == ("reject", 400)
    stage.engine._ports = 0
    refused = await stage.call("600")
    assert refused.did[-1] == ("reject", 503, (("Retry-After", "10"),))
    await stage.manager.stop() if stage.manager else None
    await stage.start('[[route]]\nname="e"\nnumber="600"\nprogram="echo"\n')
    assert (await stage.call("601")).did[-1][:2] == ("reject", 404)
    assert stage.manager is not None
    assert stage.manager.refused == {"no_route": 1}


async def test_a_ringing_caller_hears_ringback_when_already_answered(stage: Stage) -> None:
    stage.program(
        "async def program(call):\n"
        "    await call.answer()\n"
        "    await call.bridge('bob')\n"
        "    await call.play('goodbye')\n"
    )
    await stage.start('[[route]]\nname="m"\nnumber="1"\nprogram="mine"\n')
    stage.register("bob", does="ring")
    await stage.call("1")
    assert stage.heard(0) == ["tone (440.0, 480.0)"]
    callee: FakeSession = stage.gateway.sessions[0]
    callee.tell(Answered(sdp()))
    await stage.settle()
    assert stage.leg(0).playing is None
    assert bridged(stage)
    await stage.hang_up(callee)
    assert stage.heard(0)[-1] == "goodbye"
    await stage.wait(0.5)
    assert not stage.observer.ended
    await stage.wait(5.0)
    assert [facts.ended_by for facts in stage.observer.ended] == ["server"]  # it said good-bye, and then ended it


async def test_progress_without_sdp_then_with_it(stage: Stage) -> None:
    stage.register("bob", does="ring")
    caller = await stage.call("bob")
    stage.gateway.sessions[0].tell(Progress(183, "Session Progress", sdp()))
    await stage.settle()
    assert [what[1] for what in caller.did] == [180, 183]
    assert bridged(stage)


async def test_behind_a_port_forward_sockets_are_bound_to_our_own_address(stage: Stage) -> None:
    stage.settings = stage.settings.model_copy(
        update={"sip": stage.settings.sip.model_copy(update={"external_host": "pbx.example", "host": "127.0.0.9"})}
    )
    session = await stage.call("600")
    assert stage.leg().host == "127.0.0.9"
    assert b"c=IN IP4 127.0.0.1" in session.did[-1][1]


async def test_a_callee_who_hangs_up_while_being_connected_leaves_nobody_waiting(stage: Stage) -> None:
    for turns in range(12):
        stage.register("bob", does="ring")
        caller = await stage.call("bob")
        callee = stage.gateway.sessions[-1]
        callee.tell(Answered(sdp()))
        for _ in range(turns):
            await asyncio.sleep(0)
        await stage.hang_up(callee)
        assert caller.over


@pytest.mark.parametrize(
    ("dialled", "status"),
    [("9", 484), ("9;isub=1", 484), ("9128@evil.example", 404), ("9sip:1", 404), ("91 28", 404), ("91%28", 404)],
)
async def test_a_number_that_a_trunk_cannot_carry_is_refused_and_nothing_is_sent(
    stage: Stage, dialled: str, status: int
) -> None:
    await stage.start(TRUNK + "record=true\n")
    caller = await stage.call(dialled)
    assert [what[:2] for what in caller.did] == [("reject", status)]
    assert stage.gateway.sessions == []


async def test_user_parameters_do_not_reach_the_trunk(stage: Stage) -> None:
    await stage.start(TRUNK)
    await stage.call("9128;isub=1")
    assert [session.called_user for session in stage.gateway.sessions] == ["+7128"]


async def test_a_program_can_give_a_trunk_numbers_only(stage: Stage) -> None:
    stage.program(
        "async def program(call):\n    await call.refuse(await call.dial('sip:1@evil.example', trunk='carrier'))\n"
    )
    await stage.start('[[route]]\nname="m"\nnumber="1"\nprogram="mine"\n')
    assert (await stage.call("1")).did[-1][:2] == ("reject", 404)
    assert stage.gateway.sessions == []
