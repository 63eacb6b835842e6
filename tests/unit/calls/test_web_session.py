"""A leg whose signalling is no SIP is the same leg: one open offer at a time, one end, events in order."""

from __future__ import annotations

import asyncio

import pytest

from mediaserver.calls.web_session import WebSession
from mediaserver.model import Cause, Direction
from mediaserver.sip.session_events import (
    Answered,
    Cancelled,
    Confirmed,
    Ended,
    Failed,
    InfoReceived,
    Progress,
    ReferReceived,
    Reoffer,
    ReofferAnswered,
    ReofferFailed,
    SessionEvent,
)
from tests.support.fake_browser import FakeBrowser
from tests.support.fake_carrier import FakeCarrier, web_session
from tests.unit.calls.stage import Stage
from tests.unit.calls.test_browser_leg import Line


class Heard:
    """What the call room is told by a session, by type."""

    def __init__(self, session: WebSession) -> None:
        self.events: list[SessionEvent] = []
        session.on_event = self.events.append

    async def types(self) -> list[type[SessionEvent]]:
        await asyncio.sleep(0)
        return [type(event) for event in self.events]


async def join(stage: Stage, browser: FakeBrowser, called: str) -> tuple[WebSession, FakeCarrier, Line]:
    """A browser's WebSession in a call, its way found."""
    manager = await stage.start()
    carrier = FakeCarrier()
    session = web_session(carrier, browser.offer(), called=called)
    manager.on_invite(session)
    await stage.settle()
    browser.take(carrier.told[-1][1])
    line = Line(stage, browser)
    await line.send(browser.check())
    return session, carrier, line


async def test_a_page_dials_600_and_is_one_leg_like_any_other(stage: Stage) -> None:
    session, carrier, line = await join(stage, FakeBrowser(), "600")
    assert carrier.names() == ["accepted"]
    assert line.leg.heard
    (call,) = stage.manager.calls() if stage.manager else ()
    assert (call.identity, call.legs[0].sip_call_id, call.legs[0].state) == ("ann", "web-1", "talking")
    assert session.room_call_id == call.call_id
    session.far_leaves("bye")
    await stage.settle()
    assert stage.observer.ended[-1].cause is Cause.REMOTE_HANGUP
    assert carrier.told[-1] == ("over", 0)


async def test_a_number_that_leads_nowhere_ends_with_its_status(stage: Stage) -> None:
    manager = await stage.start()
    carrier = FakeCarrier()
    manager.on_invite(web_session(carrier, FakeBrowser().offer(), called="nobody"))
    await stage.settle()
    assert carrier.told == [("over", 404)]


async def test_a_page_that_gives_up_while_it_rings_cancels_the_call(stage: Stage) -> None:
    stage.register("bob", does="ring")
    manager = await stage.start()
    carrier = FakeCarrier()
    session = web_session(carrier, FakeBrowser().offer(), called="bob")
    manager.on_invite(session)
    await stage.settle()
    assert carrier.told == [("ringing", 180, None)]
    session.far_leaves()
    await stage.settle()
    assert stage.observer.ended[-1].cause is Cause.CANCELLED
    assert stage.gateway.sessions[0].names()[-1] == "cancel"


async def test_hold_by_an_offer_is_answered_and_the_stream_turned(stage: Stage) -> None:
    browser = FakeBrowser()
    session, carrier, line = await join(stage, browser, "600")
    assert session.far_offers(browser.offer(direction="sendonly")) == 0
    await stage.settle()
    assert carrier.names()[-1] == "answered"
    assert line.leg.streams[-1].direction is Direction.RECVONLY


async def test_an_offer_that_cannot_be_read_is_refused_and_the_call_goes_on(stage: Stage) -> None:
    session, carrier, _ = await join(stage, FakeBrowser(), "600")
    assert session.far_offers(b"rubbish") == 0
    await stage.settle()
    assert carrier.told[-1] == ("refused", 400)
    assert session.is_answered


async def test_a_key_by_message_reaches_the_program(stage: Stage) -> None:
    session, _, line = await join(stage, FakeBrowser(), "602")
    session.far_presses("#")
    await stage.wait(30.0)
    assert any("message" in name for name in line.leg.heard)


async def test_one_offer_is_open_at_a_time() -> None:
    carrier = FakeCarrier()
    session = web_session(carrier, b"offer")
    heard = Heard(session)
    session.accept(b"answer")
    assert session.far_offers(b"theirs") == 0
    assert session.far_offers(b"again") == 491
    session.reinvite(lambda: b"ours")
    assert carrier.names() == ["accepted"]
    session.answer_reoffer(b"answer to theirs")
    assert carrier.told[1:] == [("answered", b"answer to theirs"), ("offered", b"ours")]
    assert session.far_offers(b"glare") == 491
    session.reinvite(b"second")
    assert session.far_answers(b"answer to ours")
    assert not session.far_answers(b"once more")
    assert await heard.types() == [Confirmed, Reoffer, ReofferFailed, ReofferAnswered]


async def test_whom_we_call_rings_answers_or_refuses() -> None:
    for act, told in (
        (lambda s: s.far_answers(b"answer"), [Progress, Answered]),
        (lambda s: s.far_refuses(486, "busy"), [Progress, Failed, Ended]),
        (lambda s: s.far_leaves(), [Progress, Failed, Ended]),
        (lambda s: s.cancel(), [Progress, Failed, Ended]),
        (lambda s: s.hang_up(), [Progress, Failed, Ended]),
    ):
        session = web_session(FakeCarrier(), None, incoming=False)
        heard = Heard(session)
        session.far_rings()
        act(session)
        assert await heard.types() == told


async def test_a_way_in_that_takes_no_offers_says_so_and_stays() -> None:
    carrier = FakeCarrier()
    session = web_session(carrier, b"offer", takes_offers=False)
    heard = Heard(session)
    session.accept(b"answer")
    session.reinvite(b"ours")
    assert await heard.types() == [Confirmed, ReofferFailed]
    assert not session.ended


@pytest.mark.parametrize("answered", [False, True])
async def test_it_ends_once_and_nothing_is_heard_after(answered: bool) -> None:
    carrier = FakeCarrier()
    session = web_session(carrier, b"offer")
    heard = Heard(session)
    if answered:
        session.accept(b"answer")
    session.far_leaves()
    session.hang_up()
    session.reject(500)
    session.accept(b"late")
    session.far_presses("1")
    session.reinvite(b"late")
    assert session.far_offers(b"late") == 481
    assert not session.far_transfers("sip:600@mediaserver")
    assert await heard.types() == ([Confirmed, Ended] if answered else [Cancelled, Ended])
    assert carrier.names().count("over") == 1


async def test_keys_and_a_transfer_come_as_from_a_telephone() -> None:
    session = web_session(FakeCarrier(), b"offer")
    heard = Heard(session)
    session.accept(b"answer")
    session.far_presses("1#")
    session.may_refer = lambda: False
    assert not session.far_transfers("sip:600@mediaserver")
    session.may_refer = lambda: True
    assert session.far_transfers("sip:601@mediaserver")
    assert await heard.types() == [Confirmed, InfoReceived, InfoReceived, ReferReceived]
    assert b"Signal=#" in heard.events[2].body  # type: ignore[union-attr]


RECORDED = '[[route]]\nname="echo"\nnumber="600"\nprogram="echo"\nrecord=true\noptions={intro=false}\n'


async def broadcast(stage: Stage, rights: frozenset[str], direction: str) -> tuple[FakeCarrier, WebSession]:
    """A one-way session with these rights of a token, to a number that is recorded."""
    manager = await stage.start(RECORDED)
    carrier, browser = FakeCarrier(), FakeBrowser()
    session = web_session(carrier, browser.offer(direction=direction))
    session.rights, session.one_way = rights, True
    manager.on_invite(session)
    await stage.settle()
    if carrier.names() == ["accepted"]:
        browser.take(carrier.told[-1][1])
        await Line(stage, browser).send(browser.check())
    return carrier, session


async def test_who_may_not_be_recorded_by_his_token_does_not_reach_a_recorded_number(stage: Stage) -> None:
    carrier, _ = await broadcast(stage, frozenset({"publish"}), "sendonly")
    assert carrier.told == [("over", 403)]
    assert stage.recorder.recordings == []


async def test_a_broadcaster_who_hears_nothing_has_agreed_by_his_token(stage: Stage) -> None:
    await broadcast(stage, frozenset({"publish", "record"}), "sendonly")
    (recording,) = stage.recorder.recordings
    assert [answer[1:3] for answer in recording.answers] == [("granted", "token")]
    assert "recording-notice" not in stage.heard()
    assert not stage.leg().muted


async def test_a_listener_hears_the_notice_like_everybody(stage: Stage) -> None:
    await broadcast(stage, frozenset({"subscribe", "record"}), "recvonly")
    assert stage.heard() == ["recording-notice"]
