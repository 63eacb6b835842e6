"""Who is told what of a running call: the page that made it, else all pages of the leg's user, and nobody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mediaserver.api.facade import LegQuality
from mediaserver.api.people import WARN_LOSS, People, warning_of
from mediaserver.calls.room_facts import ParticipantFacts, RoomFacts
from mediaserver.limits import ROOM_PARTICIPANTS_TOLD_MAX
from mediaserver.model import (
    CallFacts,
    CodecName,
    CodecParams,
    LegFacts,
    LegHandle,
    Masked,
    StreamSettings,
)
from mediaserver.model_news import ClientStats, PartyNews, RecordingNews, RecordingState
from tests.unit.api.test_tokens import NOW, WallClock

_PCMU = CodecParams(CodecName.PCMU, 0, 8_000, 1, {})
STREAM = StreamSettings((_PCMU,), (_PCMU,), None)


def leg(name: str | None, number: str = "1", *, sip: str = "", state: str = "talking") -> LegFacts:
    return LegFacts(
        leg_id=number,
        handle=LegHandle(1),
        role="caller",
        number=Masked(name or "guest"),
        identity=name,
        sip_call_id=sip or f"sip of {name} {number}",
        opened_ns=1,
        opened_wall=NOW,
        state=state,
    )


class Screen:
    def __init__(self, user: str | None) -> None:
        self.user = user
        self.told: list[dict[str, Any]] = []

    def tell(self, message: dict[str, Any]) -> None:
        self.told.append(message)

    def types(self) -> list[str]:
        return [message["type"] for message in self.told]


class Crowd:
    def __init__(self) -> None:
        self.quality: dict[str, LegQuality] = {}
        self.stats: list[tuple[str, str, ClientStats]] = []
        self.people = People(
            WallClock(),
            lambda _call: self.quality,
            interval_s=0.001,
            on_stats=lambda call, leg, stats: self.stats.append((call, leg.leg_id, stats)),
        )

    def screen(self, user: str | None) -> Screen:
        made = Screen(user)
        self.people.join(made)
        return made

    def call(self, *legs: LegFacts, call_id: str = "call1") -> None:
        for one in legs:
            self.people.leg_opened(call_id, one, STREAM)


def room(*members: tuple[str, str], speaker: int | None = None, name: str = "700") -> RoomFacts:
    return RoomFacts(
        name,
        None,
        tuple(
            ParticipantFacts(call, leg_id, Masked(f"n{index}"), False, index == speaker)
            for index, (call, leg_id) in enumerate(members)
        ),
    )


@pytest.fixture
async def crowd() -> AsyncIterator[Crowd]:
    made = Crowd()
    yield made
    await made.people.stop()


async def test_all_pages_of_a_user_hear_of_his_sip_leg_and_no_other_user_does(crowd: Crowd) -> None:
    ann, ann_too, bob, guest = (crowd.screen(user) for user in ("ann", "ann", "bob", None))
    crowd.call(leg("ann", sip="x@y"), leg(None, "2"))
    crowd.people.leg_news("call1", leg("ann", sip="x@y"), RecordingNews(RecordingState.ASKING, "r1"))
    told = {
        "type": "recording",
        "state": "asking",
        "recording_id": "r1",
        "call": None,
        "sip_call_id": "x@y",
        "call_id": "call1",
        "leg": "1",
    }
    assert (ann.told, ann_too.told) == ([told], [told])
    assert bob.told + guest.told == []


async def test_only_the_page_that_made_a_call_hears_of_it_and_knows_it_by_its_name(crowd: Crowd) -> None:
    ann, ann_too = crowd.screen("ann"), crowd.screen("ann")
    crowd.people.own("page-1", ann_too, "c4")
    crowd.call(leg("ann", sip="page-1"))
    crowd.people.leg_news("call1", leg("ann", sip="page-1"), RecordingNews(RecordingState.NOTICE))
    assert ann.told == []
    assert ann_too.told[0]["call"] == "c4"


async def test_whom_the_other_party_puts_on_hold_learns_it(crowd: Crowd) -> None:
    ann, bob = crowd.screen("ann"), crowd.screen("bob")
    crowd.call(leg("ann"), leg("bob", "2"))
    for state in ("held", "held", "talking"):
        crowd.people.leg_changed("call1", leg("ann", state=state), STREAM)
    assert [message["held"] for message in bob.told] == [True, False]
    assert ann.told == []


async def test_after_a_transfer_the_page_is_told_whom_it_talks_to(crowd: Crowd) -> None:
    ann, bob = crowd.screen("ann"), crowd.screen("bob")
    crowd.call(leg("ann"), leg("bob", "2"))
    crowd.people.leg_news("call1", leg("ann"), PartyNews(Masked("carol"), Masked("Carol C.")))
    (told,) = ann.told
    assert (told["type"], told["number"], told["name"]) == ("party", "carol", "Carol C.")
    assert bob.told == []


async def test_who_writes_without_end_to_a_crowd_is_not_told_on(crowd: Crowd) -> None:
    ann = crowd.screen("ann")
    crowd.call(leg("ann"), *(leg(f"guest {number}", str(number)) for number in range(2, 101)))
    told = [crowd.people.chat("call1", leg("ann"), "hello") for _ in range(60)]
    assert told == [True] * 50 + [False] * 10  # 100 people: five seconds of a thousand a second
    assert ann.types().count("chat") == 50
    assert crowd.people.chat("call1", leg("guest 2", "2"), "hello")  # the others go on


async def test_chat_reaches_everybody_in_the_call_and_in_a_room_everybody_in_the_room(crowd: Crowd) -> None:
    ann, bob, carol = crowd.screen("ann"), crowd.screen("bob"), crowd.screen("carol")
    crowd.call(leg("ann"), leg("bob", "2"))
    crowd.call(leg("carol"), call_id="call2")
    crowd.people.chat("call1", leg("ann"), "hello")
    assert [screen.types() for screen in (ann, bob, carol)] == [["chat"], ["chat"], []]
    assert (bob.told[0]["from"], bob.told[0]["text"], bob.told[0]["room"]) == ("ann", "hello", None)
    assert bob.told[0]["wall_ms"] == NOW * 1000
    crowd.people.room_changed(room(("call1", "1"), ("call2", "1")))
    crowd.people.chat("call2", leg("carol"), "hi all")
    assert [screen.types()[-1] for screen in (ann, carol)] == ["chat", "chat"]
    assert ann.told[-1]["room"] == "700"
    assert len(bob.told) == 1


async def test_a_room_is_described_to_each_with_his_own_place_and_a_crowd_in_one_go(crowd: Crowd) -> None:
    ann, carol = crowd.screen("ann"), crowd.screen("carol")
    crowd.call(leg("ann"))
    crowd.call(leg("carol"), call_id="call2")
    crowd.people.room_changed(room(("call1", "1")))
    for _ in range(20):
        crowd.people.room_changed(room(("call1", "1"), ("call2", "1")))
    crowd.people.room_changed(room(("call1", "1"), ("call2", "1"), speaker=1))
    assert len(ann.told) == 1
    while len(ann.told) < 2:
        await asyncio.sleep(0.01)
    assert (ann.told[1]["you"], carol.told[0]["you"]) == ("call1-1", "call2-1")
    assert ann.told[1]["speaker"] == "call2-1"
    assert [one["id"] for one in carol.told[0]["participants"]] == ["call1-1", "call2-1"]
    assert carol.told[0]["participants"][1]["speaking"] is True


async def test_of_a_large_room_the_first_are_listed_and_all_counted(crowd: Crowd) -> None:
    ann = crowd.screen("ann")
    crowd.call(leg("ann"), call_id="c0")
    crowd.people.room_changed(room(*((f"c{number}", "1") for number in range(ROOM_PARTICIPANTS_TOLD_MAX + 5))))
    assert len(ann.told[0]["participants"]) == ROOM_PARTICIPANTS_TOLD_MAX
    assert ann.told[0]["count"] == ROOM_PARTICIPANTS_TOLD_MAX + 5


async def test_quality_comes_regularly_with_what_is_wrong(crowd: Crowd) -> None:
    ann = crowd.screen("ann")
    crowd.call(leg("ann"))
    crowd.quality["1"] = LegQuality(4.1, 3.9, "fb", 0.05, 12.0, 80.0)
    await crowd.people.start()
    while not ann.told:
        await asyncio.sleep(0.001)
    said = ann.told[0]
    assert (said["mos_received"], said["mos_sent"], said["mos_scale"]) == (4.1, 3.9, "fb")
    assert (said["loss"], said["jitter_ms"], said["rtt_ms"], said["warning"]) == (0.05, 12.0, 80.0, "loss")


@pytest.mark.parametrize(
    ("quality", "warning"),
    [
        (LegQuality(), None),
        (LegQuality(loss_fraction=WARN_LOSS, jitter_ms=900.0), "loss"),
        (LegQuality(jitter_ms=60.0), "jitter"),
        (LegQuality(round_trip_ms=400.0, jitter_ms=60.0), "delay"),
    ],
)
def test_the_warning_names_the_worst(quality: LegQuality, warning: str | None) -> None:
    assert warning_of(quality) == warning


async def test_what_a_page_measured_is_kept_for_its_leg_and_passed_on(crowd: Crowd) -> None:
    crowd.call(leg("ann"))
    crowd.people.take_stats("call1", leg("ann"), ClientStats(rtt_ms=30.0))
    crowd.people.take_stats("gone", leg("ann"), ClientStats(rtt_ms=99.0))
    assert crowd.people.client_stats("call1", "1") == ClientStats(rtt_ms=30.0)
    assert crowd.stats == [("call1", "1", ClientStats(rtt_ms=30.0))]


async def test_a_leg_is_found_by_its_names_and_only_for_its_people(crowd: Crowd) -> None:
    ann, bob = crowd.screen("ann"), crowd.screen("bob")
    crowd.people.own("page-1", ann, "c1")
    crowd.call(leg("ann", sip="page-1"), leg("bob", "2", sip="b@y"))

    def of(screen: Screen, call: str | None, sip: str | None) -> str | None:
        found = crowd.people.find(screen, call, sip)
        return found[1].leg_id if found is not None else None

    assert (of(ann, "c1", None), of(ann, None, "page-1"), of(ann, None, None)) == ("1", "1", "1")
    assert (of(bob, "c1", None), of(bob, None, "page-1"), of(bob, None, "b@y")) == (None, None, "2")
    assert of(crowd.screen(None), None, None) is None
    crowd.call(leg("ann", "9"), call_id="call9")
    assert of(ann, None, None) is None


async def test_nothing_is_kept_of_calls_and_pages_that_are_gone(crowd: Crowd) -> None:
    ann = crowd.screen("ann")
    crowd.people.own("page-1", ann, "c1")
    crowd.call(leg("ann", sip="page-1"))
    crowd.people.room_changed(room(("call1", "1")))
    crowd.people.room_changed(room())
    crowd.people.leg_closed("call1", leg("ann", sip="page-1"), None)
    call = CallFacts("call1", Masked(""), Masked(""), Masked(""), None, None, None, 1, NOW)
    crowd.people.call_ended(call)
    crowd.people.disown("page-1")
    crowd.people.leave(ann)
    kept = {name: value for name, value in vars(crowd.people).items() if isinstance(value, dict) and name != "_told"}
    assert {name: len(value) for name, value in kept.items() if value} == {}
