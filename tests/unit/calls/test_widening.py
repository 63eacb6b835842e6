"""A party that was relayed in narrowband is offered wideband when somebody else comes to hear it, once."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mediaserver.model import CodecName
from mediaserver.sdp.parse import parse
from mediaserver.sip.session import Answered, Reoffer, ReofferAnswered, ReofferFailed
from tests.support.fake_sessions import FakeSession
from tests.unit.calls.stage import Stage, sdp

OPUS = "a=rtpmap:111 opus/48000/2"
BOTH = sdp(OPUS, formats="0 8 111 101")  # has both and would rather have PCMU
WIDE = sdp(OPUS, port=4200, formats="111 101")
NARROW = sdp(port=4100)
PCMU_ALONE = sdp(port=4100, formats="0 101")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """A house that would rather relay: what one party speaks is preferred on the other side."""
    made = Stage(tmp_path, media={"keep_wideband": False})
    for user, answer in (("bob", NARROW), ("carol", WIDE), ("dave", PCMU_ALONE)):
        made.gateway.users[user] = [f"sip:{user}@192.0.2.9"]
        made.behaviour[user] = answer  # type: ignore[assignment]
    made.gateway.on_invite = lambda session, target: session.tell(
        Answered(made.behaviour[target.removeprefix("sip:").partition("@")[0]])  # type: ignore[arg-type]
    )
    yield made
    await made.close()


def first_format(body: bytes) -> str:
    found = re.search(rb"^m=audio \d+ \S+ (\d+)", body, re.M)
    assert found is not None
    return found[1].decode()


def asked(session: FakeSession) -> list[str]:
    """The first payload type of each offer that came to it in mid-call."""
    return [first_format(what[1]) for what in session.did if what[0] == "reinvite"]


def speaks(stage: Stage, index: int) -> CodecName:
    return stage.leg(index).streams[-1].audio.name


async def transferred(stage: Stage, to: str, *, offer: bytes = BOTH, first: str = "bob") -> FakeSession:
    """Alice has talked to bob, whose phone is narrow, and he has sent her to somebody else."""
    caller = await stage.call(first, offer=offer)
    assert speaks(stage, 0) is speaks(stage, 1) is CodecName.PCMU
    assert asked(caller) == []
    await stage.refer(stage.gateway.sessions[0], f"<sip:{to}@pbx.example>")
    return caller


async def answer(stage: Stage, session: FakeSession, body: bytes) -> None:
    session.tell(ReofferAnswered(body))
    await stage.settle()


async def test_after_a_transfer_to_a_wide_party_the_other_one_is_offered_wideband_first(stage: Stage) -> None:
    caller = await transferred(stage, "carol")
    assert first_format(stage.gateway.sessions[1].offer or b"") == "111"  # whoever is rung is asked for it at once
    assert asked(caller) == ["111"]
    assert stage.leg(0).bridge == stage.leg(1).bridge is not None
    assert speaks(stage, 0) is CodecName.PCMU  # until it is answered all goes on as it was
    hears = {codec.payload_type for codec in stage.leg(0).streams[-1].receive}
    assert {0, 111} <= hears  # either may come first, the answer or the sound
    await answer(stage, caller, WIDE)
    assert [speaks(stage, 0), speaks(stage, 1)] == [CodecName.OPUS, CodecName.OPUS]
    assert {0, 111} <= {codec.payload_type for codec in stage.leg(0).streams[-1].receive}
    assert stage.observer.events[-1][0] == "leg_changed"
    await stage.hang_up(caller)


async def test_a_refusal_leaves_all_as_it_was_and_is_final(stage: Stage) -> None:
    caller = await transferred(stage, "carol")
    caller.tell(ReofferFailed(488, "Not Acceptable Here"))
    await stage.settle()
    assert speaks(stage, 0) is CodecName.PCMU
    assert not caller.over
    stage.behaviour["bob"] = WIDE  # type: ignore[assignment]
    await stage.refer(stage.gateway.sessions[1], "<sip:bob@pbx.example>")  # once more to a wide one
    await stage.wait(60.0)
    assert asked(caller) == ["111"]
    await stage.hang_up(caller)


async def test_whoever_chooses_narrowband_again_is_not_asked_again(stage: Stage) -> None:
    caller = await transferred(stage, "carol")
    await answer(stage, caller, PCMU_ALONE)
    await stage.refer(stage.gateway.sessions[1], "<sip:700@pbx.example>")
    await stage.wait(10.0)
    assert asked(caller) == ["111"]
    await stage.hang_up(caller)


async def test_a_party_that_never_answers_the_offer_keeps_its_call(stage: Stage) -> None:
    caller = await transferred(stage, "carol")
    await stage.wait(70.0)
    assert not caller.over
    assert asked(caller) == ["111"]
    await stage.hang_up(caller)


async def test_between_narrow_parties_nothing_is_offered(stage: Stage) -> None:
    caller = await transferred(stage, "bob")
    assert asked(caller) == asked(stage.gateway.sessions[1]) == []
    await stage.hang_up(caller)


async def test_a_wide_party_stays_wide_when_a_narrow_one_comes(stage: Stage) -> None:
    caller = await stage.call("carol", offer=BOTH)
    assert speaks(stage, 0) is CodecName.OPUS
    await stage.refer(stage.gateway.sessions[0], "<sip:bob@pbx.example>")
    assert speaks(stage, 0) is CodecName.OPUS
    assert speaks(stage, 1) is CodecName.PCMU
    assert asked(caller) == []
    await stage.hang_up(caller)


async def test_an_attended_transfer_brings_both_to_the_same_codec(stage: Stage) -> None:
    first = await stage.call("dave", offer=PCMU_ALONE)
    await stage.hold(first)
    second = await stage.call("dave", offer=PCMU_ALONE)
    one, other = stage.gateway.sessions
    await stage.refer(first, "<sip:dave@pbx.example>", second)
    assert asked(one) + asked(other) == ["111"]  # one after the other
    begun, waiting = (one, other) if asked(one) else (other, one)
    await answer(stage, begun, WIDE)
    assert asked(waiting) == ["111"]
    await answer(stage, waiting, WIDE)
    assert [speaks(stage, 0), speaks(stage, 1)] == [CodecName.OPUS, CodecName.OPUS]
    await stage.hang_up(one)


async def test_if_the_first_of_two_declines_the_second_is_not_asked(stage: Stage) -> None:
    first = await stage.call("dave", offer=PCMU_ALONE)
    await stage.hold(first)
    second = await stage.call("dave", offer=PCMU_ALONE)
    one, other = stage.gateway.sessions
    await stage.refer(first, "<sip:dave@pbx.example>", second)
    await answer(stage, one if asked(one) else other, PCMU_ALONE)
    await stage.wait(60.0)
    assert asked(one) + asked(other) == ["111"]
    await stage.hang_up(one)


async def test_a_leg_on_hold_waits_until_it_is_back(stage: Stage) -> None:
    caller = await stage.call("bob", offer=BOTH)
    caller.tell(Reoffer(sdp(OPUS, "a=sendonly", formats="0 8 111 101")))
    await stage.settle()
    await stage.refer(stage.gateway.sessions[0], "<sip:carol@pbx.example>")
    await stage.wait(30.0)
    assert asked(caller) == []
    caller.tell(Reoffer(sdp(OPUS, "a=sendrecv", formats="0 8 111 101")))
    await stage.settle()
    assert asked(caller) == ["111"]
    await stage.hang_up(caller)


async def test_a_room_and_a_program_hear_it_in_full_band(stage: Stage) -> None:
    caller = await transferred(stage, "700")
    assert asked(caller) == ["111"]
    await answer(stage, caller, WIDE)
    await stage.wait(10.0)
    assert asked(caller) == ["111"]
    assert speaks(stage, 0) is CodecName.OPUS
    await stage.hang_up(caller)


async def test_an_order_with_narrowband_first_is_the_operators_wish(tmp_path: Path) -> None:
    house = Stage(tmp_path, media={"codecs": ["PCMU", "opus"]})
    house.register("bob")
    house.register("carol")
    caller = await house.call("bob", offer=BOTH)
    await house.refer(house.gateway.sessions[0], "<sip:carol@pbx.example>")
    assert asked(caller) == []
    await house.close()


async def test_an_offer_that_crossed_one_of_the_party_is_tried_again_a_few_times(stage: Stage) -> None:
    caller = await transferred(stage, "carol")
    for tries in (2, 3, 3):
        caller.tell(ReofferFailed(491, "Request Pending"))
        await stage.wait(10.0)
        assert asked(caller) == ["111"] * tries
    assert speaks(stage, 0) is CodecName.PCMU
    await stage.hang_up(caller)


async def test_one_offer_at_a_time_the_next_one_waits_for_it(stage: Stage) -> None:
    caller = await transferred(stage, "carol")
    assert stage.manager is not None
    leg = next(iter(stage.manager._calls.values())).primary
    holding = asyncio.ensure_future(leg.set_hold(True))
    await stage.settle()
    assert asked(caller) == ["111"]
    await answer(stage, caller, WIDE)
    assert parse(caller.did[-1][1]).media[0].has("sendonly")
    assert asked(caller) == ["111", "111"]  # the codec that runs now
    await answer(stage, caller, sdp(OPUS, "a=recvonly", formats="111 101"))
    assert await holding
    await stage.hang_up(caller)


async def test_while_we_hold_a_party_it_is_not_asked(stage: Stage) -> None:
    caller = await stage.call("bob", offer=BOTH)
    assert stage.manager is not None
    leg = next(iter(stage.manager._calls.values())).primary
    for hold, direction in ((True, "recvonly"), (False, "sendrecv")):
        holding = asyncio.ensure_future(leg.set_hold(hold))
        await stage.settle()
        await answer(stage, caller, sdp(OPUS, f"a={direction}", formats="0 111 101"))
        assert await holding
        if hold:
            await stage.refer(stage.gateway.sessions[0], "<sip:carol@pbx.example>")
            assert asked(caller) == ["0"]
        await stage.settle()
    assert asked(caller) == ["0", "0", "111"]
    await stage.hang_up(caller)
