"""Whole calls between two user agents over a network that loses, delays and reorders: everything comes to its end.

One seed is one run, bit for bit; a failing seed is the bug report.
"""

from __future__ import annotations

import random

import pytest

from mediaserver.settings import Settings
from mediaserver.sip.session import (
    Answered,
    Cancelled,
    Ended,
    Failed,
    InviteSession,
    ReferReceived,
    Reoffer,
    ReofferAnswered,
    SessionEvent,
)
from tests.support.sip_net import MS, NO_LEAKS, SDP_A, SDP_B, Network, S, Site

A, B = ("192.0.2.1", 5060), ("192.0.2.2", 5060)
CALLS = 40


def caller_settings() -> Settings:
    trunk = {"uri": "sip:192.0.2.2", "username": "alice", "password": "pw-alice"}
    return Settings.model_validate({"server": {"realm": "a"}, "trunks": {"b": trunk}})


class Scene:
    """Site A calls site B by digest; what the two call rooms do is drawn from the seed."""

    def __init__(self, seed: int, loss: float) -> None:
        self.rng = random.Random(seed)
        self.net = Network(seed=seed, loss=loss, delay_ns=5 * MS, spread_ns=120 * MS)
        self.a = Site(self.net, A, settings=caller_settings())
        self.b = Site(self.net, B)
        for site in (self.a, self.b):
            site.room.on_event = self.react
        self.b.room.on_call = self.take_call

    def later(self, most_s: float, action, *arguments) -> None:
        self.b.ua.timers.at(self.net.now + int(self.rng.random() * most_s * S), lambda: action(*arguments))

    def take_call(self, session: InviteSession) -> None:
        session.ring(self.rng.choice((180, 183)), self.rng.choice((None, SDP_B)))
        if self.rng.random() < 0.9:
            self.later(3, session.accept, SDP_B)
        else:
            self.later(3, session.reject, 486)

    def react(self, session: InviteSession, event: SessionEvent) -> None:
        if isinstance(event, Reoffer):
            session.answer_reoffer(SDP_B)
        elif isinstance(event, Answered | ReofferAnswered):
            session.send_answer(SDP_A)  # does nothing unless our offer asked for theirs
            if self.rng.random() < 0.5:
                self.later(2, session.reinvite, SDP_A)
            self.later(40, session.hang_up)
        elif isinstance(event, ReferReceived):
            session.notify_refer(180)
            self.later(2, session.notify_refer, self.rng.choice((200, 486)))
        if session.incoming and session.confirmed and self.rng.random() < 0.5:
            extra = self.rng.choice(("info", "reinvite", "refer", "hang up"))
            if extra == "info":
                session.send_info("application/dtmf-relay", b"Signal=1\r\nDuration=100\r\n")
            elif extra == "reinvite":
                self.later(2, session.reinvite, self.rng.choice((SDP_B, None)))
            elif extra == "refer":
                session.refer("sip:700@192.0.2.1")
            else:
                self.later(20, session.hang_up)

    def play(self) -> list[InviteSession]:
        calls = []
        for _ in range(CALLS):
            call = self.a.call("600", trunk="b", sdp=self.rng.choice((SDP_A, SDP_A, None)))
            calls.append(call)
            if call.ended:
                continue
            if self.rng.random() < 0.1:
                self.later(4, call.cancel)
            self.net.run(self.rng.random())
        self.net.run(60)
        for call in calls:
            call.hang_up()
        self.net.run(300)
        return calls


def ends_once(site: Site) -> bool:
    kinds = [[type(e) for e in events] for events in site.room.events.values()]
    return all(k.count(Ended) == 1 and k[-1] is Ended for k in kinds)


@pytest.mark.parametrize("seed", range(6))
def test_with_30_percent_loss_calls_are_set_up_and_end_on_both_sides(seed):
    scene = Scene(seed, loss=0.3)
    calls = scene.play()
    timeouts = [c for c in calls if any(isinstance(e, Failed) and e.status == 408 for e in scene.a.room.events[c])]
    answered = [c for c in calls if "Answered" in scene.a.events(c)]
    assert len(timeouts) <= 1  # seven tries each way: one in a hundred may meet nothing but loss
    assert len(answered) >= 0.7 * CALLS  # the rest was refused or given up, as the scene wants it
    for site in (scene.a, scene.b):
        assert ends_once(site)
        assert site.leaks() == NO_LEAKS


@pytest.mark.parametrize("seed", range(3))
def test_without_loss_every_call_is_set_up_that_nobody_gave_up(seed):
    scene = Scene(seed, loss=0.0)
    calls = scene.play()
    for session in scene.b.room.calls:
        kinds = [type(e) for e in scene.b.room.events[session]]
        assert Cancelled in kinds or session.dialog.confirmed or kinds == [Ended]
    assert len(scene.b.room.calls) >= 0.9 * len(calls)
    for site in (scene.a, scene.b):
        assert ends_once(site)
        assert site.leaks() == NO_LEAKS


def test_a_network_that_loses_everything_leaves_nothing():
    scene = Scene(1, loss=1.0)
    calls = scene.play()
    assert all(scene.a.events(call) == ["Failed", "Ended"] for call in calls)
    assert scene.a.leaks() == NO_LEAKS
    assert scene.b.leaks() == NO_LEAKS
