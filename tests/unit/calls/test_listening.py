"""A supervisor listens: he hears both, nobody hears him, and he is out as soon as the consent of the recording is."""

from __future__ import annotations

import dataclasses

import pytest

from mediaserver.calls.listening import LOOK_S
from mediaserver.calls.manager import CallManager
from mediaserver.limits import LISTENERS_PER_CALL_MAX
from mediaserver.model import Direction
from mediaserver.model_consent import DEFAULT_RULES, ConsentRules
from tests.support.fake_browser import FakeBrowser
from tests.support.fake_carrier import FakeCarrier, web_session
from tests.unit.calls.stage import Stage
from tests.unit.calls.test_browser_leg import Line
from tests.unit.calls.test_consent import connected

SUPERVISED = dataclasses.replace(DEFAULT_RULES, supervision=True)


class Desk:
    """alice and bob talk in a recorded call, with these rules; a supervisor asks to hear them."""

    def __init__(self, stage: Stage, manager: CallManager) -> None:
        self.stage, self.manager = stage, manager
        self.call_id = manager.calls()[0].call_id
        self.carrier = FakeCarrier()

    @classmethod
    async def open(cls, stage: Stage, rules: ConsentRules = SUPERVISED) -> Desk:
        await connected(stage, rules)
        assert stage.manager is not None
        return cls(stage, stage.manager)

    async def listen(self) -> None:
        browser = FakeBrowser()
        session = web_session(self.carrier, browser.offer(direction="recvonly"), called="bob", identity="kate")
        session.identity = None
        self.session = session
        self.manager.listen(self.call_id, session)
        await self.stage.settle()
        if self.carrier.names() == ["accepted"]:
            browser.take(self.carrier.told[0][1])
            self.line = Line(self.stage, browser, 2)
            await self.line.send(browser.check())
            await self.stage.settle()

    def listens(self) -> bool:
        return len(self.stage.engine.legs) == 3 and self.stage.leg(2).bridge is not None

    def why(self) -> str:
        return self.manager.why_not_heard(self.call_id)

    async def gone_after(self, seconds: float) -> bool:
        await self.stage.wait(seconds)
        return len(self.stage.engine.legs) == 2 and self.carrier.told[-1][0] == "over"


async def test_the_listener_hears_both_parties_and_neither_hears_him(stage: Stage) -> None:
    desk = await Desk.open(stage)
    assert desk.why() == ""
    await desk.listen()
    alice, bob, kate = (stage.leg(n) for n in range(3))
    assert kate.bridge is not None
    assert kate.bridge == alice.bridge == bob.bridge
    assert kate.muted, "before he was in"
    assert kate.streams[-1].direction is Direction.SENDONLY
    deaf = {(hearer, speaker) for (_, hearer, speaker), hears in stage.engine.hears.items() if not hears}
    assert deaf == {(alice.handle, kate.handle), (bob.handle, kate.handle)}
    recording = stage.recorder.recordings[0]
    assert {leg.handle for leg in recording.legs} == {alice.handle, bob.handle}, "he is no party of the recording"
    await stage.wait(60.0)
    assert desk.listens()
    desk.session.far_leaves("DELETE")
    await stage.settle()
    assert desk.carrier.told[-1] == ("over", 0)
    assert await desk.gone_after(LOOK_S)
    assert alice.bridge == bob.bridge is not None, "the call goes on"
    assert [facts.program for facts in stage.observer.ended] == [], "and nobody was told of a call"


@pytest.mark.parametrize(
    ("rules", "why"),
    [(DEFAULT_RULES, "policy"), (dataclasses.replace(SUPERVISED, ask="press", answer_s=1.0), "consent")],
)
async def test_a_policy_without_supervision_and_a_party_who_did_not_agree_are_not_heard(
    stage: Stage, rules: ConsentRules, why: str
) -> None:
    desk = await Desk.open(stage, rules)
    await stage.wait(10.0)
    assert desk.why() == why
    await desk.listen()
    assert desk.carrier.told == [("over", 403)]
    assert not desk.listens()


async def test_a_withdrawal_ends_the_listening_at_once(stage: Stage) -> None:
    desk = await Desk.open(stage)
    await desk.listen()
    await desk.manager.consent_desk.answer(desk.call_id, "1", "withdrawn", "api", {})
    await stage.settle()
    assert await desk.gone_after(0.0)
    assert desk.why() == "consent"
    assert stage.leg(0).bridge is not None


async def test_a_pause_for_card_data_ends_it_at_once(stage: Stage) -> None:
    desk = await Desk.open(stage)
    await desk.listen()
    await desk.manager.consent_desk.pause(desk.call_id, "card", 5.0)
    assert await desk.gone_after(0.0)


async def test_the_end_of_the_recording_and_of_the_call_end_it_within_a_look(stage: Stage) -> None:
    desk = await Desk.open(stage)
    await desk.listen()
    await desk.manager.record(desk.call_id, False)
    assert await desk.gone_after(LOOK_S)
    assert desk.why() == "not_recorded"
    assert await desk.manager.record(desk.call_id, True)
    await stage.wait(5.0)
    desk.carrier = FakeCarrier()
    await desk.listen()
    assert desk.listens()
    await stage.hang_up(stage.gateway.sessions[0])
    await stage.wait(LOOK_S)
    assert desk.carrier.told[-1][0] == "over"
    assert stage.engine.legs == {}
    assert len(desk.manager) == 0


async def test_no_more_than_so_many_listen_and_none_to_a_program_or_to_nobody(stage: Stage) -> None:
    desk = await Desk.open(stage)
    for _ in range(LISTENERS_PER_CALL_MAX):
        desk.carrier = FakeCarrier()
        desk.manager.listen(desk.call_id, web_session(desk.carrier, FakeBrowser().offer(direction="recvonly")))
    assert desk.why() == "full"
    with pytest.raises(LookupError):
        desk.manager.listen("none", desk.session if hasattr(desk, "session") else web_session(FakeCarrier(), None))
    await stage.call("600")
    alone = desk.manager.calls()[-1].call_id
    assert desk.manager.why_not_heard(alone) == "no_talk"
    assert desk.manager.why_not_heard("none") == "no_talk"
