"""Pictures in rooms: everyone sees everyone, one-picture devices see who speaks, moderators direct."""

from __future__ import annotations

import pytest

from mediaserver.calls.picture_choice import Named, PictureChoice, PictureShown
from mediaserver.calls.room_facts import Action, Outcome, RoomFacts, is_moderator
from mediaserver.model import ActiveSpeaker, Direction
from mediaserver.model_video import LayerChanged
from mediaserver.sip.session import Ended, Reoffer, ReofferAnswered, ReofferFailed
from tests.support.fake_sessions import FakeSession
from tests.support.fakes import FakeTrack
from tests.support.video_browser import VideoBrowser
from tests.support.video_phone import VideoPhone
from tests.unit.calls.stage import Stage
from tests.unit.calls.test_browser_leg import Line, accepted
from tests.unit.calls.test_video_calls import told


class Guest:
    """A browser in room 700, its signalling and its line."""

    def __init__(self, stage: Stage, browser: VideoBrowser, session: FakeSession, line: Line) -> None:
        self.stage, self.browser, self.session, self.line = stage, browser, session, line
        self.answers = True
        session.on_did = self._did

    def _did(self, what: str) -> None:
        if what == "reinvite" and self.answers:
            self.session.tell(ReofferAnswered(self.browser.answer_to(self.session.did[-1][1])))

    async def offer(self) -> None:
        self.session.tell(Reoffer(self.browser.describe()))
        await self.stage.settle()
        self.browser.take_answer(told(self.session, "answer_reoffer"))
        await self.stage.settle()


async def enter(
    stage: Stage,
    name: str,
    *codecs: str,
    camera: bool = True,
    browser: VideoBrowser | None = None,
    identity: str | None = "",
) -> Guest:
    browser = browser or VideoBrowser(*codecs)
    if camera:
        browser.add()
    session = await stage.call("700", caller=name, identity=identity, offer=browser.describe())
    guest = Guest(stage, browser, session, Line(stage, browser, len(stage.engine.legs) - 1))
    browser.take_answer(accepted(session))
    await guest.line.send(browser.check())
    await stage.wait(3.0)
    return guest


def room(stage: Stage) -> RoomFacts:
    assert stage.manager is not None
    (found,) = stage.manager.rooms()
    return found


def ids(stage: Stage) -> list[str]:
    return [participant.participant for participant in room(stage).participants]


def shown(stage: Stage, guest: Guest) -> list[FakeTrack]:
    """The tracks at this guest that show something."""
    handle = guest.line.leg.handle
    return [track for track in stage.engine.tracks.values() if track.media.leg == handle and track.source is not None]


def speak(stage: Stage, index: int) -> None:
    (bridge,) = stage.engine.bridges
    stage.engine.on_event(ActiveSpeaker(bridge, stage.leg(index).handle))


async def test_a_camera_is_taken_and_the_others_come_in_sections_of_their_own(stage: Stage) -> None:
    alice, bob, carol = [await enter(stage, name) for name in ("alice", "bob", "carol")]
    first, second, third = ids(stage)
    assert alice.browser.negotiator.video.lines[0].settings is not None
    assert alice.browser.negotiator.video.lines[0].settings.direction is Direction.SENDONLY
    assert sorted(alice.browser.seen) == sorted([f"{second} camera", f"{third} camera"])
    assert sorted(carol.browser.seen) == sorted([f"{first} camera", f"{second} camera"])
    assert [len(shown(stage, guest)) for guest in (alice, bob, carol)] == [2, 2, 2]
    assert [participant.camera for participant in room(stage).participants] == [True, True, True]


async def test_who_leaves_is_taken_from_the_others_and_his_place_is_used_again(stage: Stage) -> None:
    alice, bob = await enter(stage, "alice"), await enter(stage, "bob")
    await stage.hang_up(bob.session)
    await stage.settle()
    assert alice.browser.seen == []
    offered = told(alice.session, "reinvite")
    carol = await enter(stage, "carol")
    assert alice.browser.seen == [f"{ids(stage)[1]} camera"]
    assert told(alice.session, "reinvite").count(b"m=video") == offered.count(b"m=video")
    assert len(shown(stage, carol)) == 1


async def test_a_screen_is_a_second_picture_and_goes_first_when_there_is_little_bandwidth(stage: Stage) -> None:
    alice, bob = await enter(stage, "alice"), await enter(stage, "bob")
    screen = alice.browser.add(Direction.SENDONLY)
    await alice.offer()
    first = ids(stage)[0]
    assert sorted(bob.browser.seen) == [f"{first} camera", f"{first} screen"]
    assert room(stage).participants[0].screen
    priorities = {track.limits["priority"] for track in shown(stage, bob)}
    assert priorities == {1, 3}
    screen.wanted = None
    await alice.offer()
    assert bob.browser.seen == [f"{first} camera"]


async def test_one_without_a_camera_sees_and_is_not_seen(stage: Stage) -> None:
    alice, bob = await enter(stage, "alice"), await enter(stage, "bob", camera=False)
    assert alice.browser.seen == []
    assert bob.browser.seen == [f"{ids(stage)[0]} camera"]


async def test_a_camera_switched_on_later_is_shown_to_those_who_are_there(stage: Stage) -> None:
    alice, bob = await enter(stage, "alice"), await enter(stage, "bob", camera=False)
    bob.browser.add()
    await bob.offer()
    assert alice.browser.seen == [f"{ids(stage)[1]} camera"]


async def test_who_cannot_decode_a_picture_does_not_get_it(stage: Stage) -> None:
    alice, bob = await enter(stage, "alice", "VP8"), await enter(stage, "bob", "H264")
    assert alice.browser.seen == []
    assert bob.browser.seen == []


async def test_a_phone_sees_whoever_speaks_and_never_itself(stage: Stage) -> None:
    await enter(stage, "alice")
    bob = await enter(stage, "bob")
    phone = VideoPhone("VP8")
    phone.add()
    session = await stage.call("700", caller="carol", offer=phone.offer())
    phone.take(told(session, "accept"))
    await stage.wait(3.0)
    assert phone.pictures == [("VP8", "sendrecv")]
    mine = next(track for track in stage.engine.tracks.values() if track.media.rtp_port)
    for speaker, seen in ((1, 1), (0, 0), (2, 0)):
        speak(stage, speaker)
        await stage.settle()
        assert mine.source is not None
        assert stage.engine.tracks[mine.source].media.leg == stage.leg(seen).handle
    assert f"{ids(stage)[2]} camera" in bob.browser.seen


class Simulcast(VideoBrowser):
    """Its camera comes in two sizes."""

    def describe(self) -> bytes:
        return _in_two_sizes(super().describe())

    def answer_to(self, sdp: bytes) -> bytes:
        return _in_two_sizes(super().answer_to(sdp))


def _in_two_sizes(sdp: bytes) -> bytes:
    before, line, section = sdp.partition(b"m=video")
    section, more, after = section.partition(b"m=")
    return before + line + section + b"a=rid:q send\r\na=rid:f send\r\na=simulcast:send q;f\r\n" + more + after


async def test_a_viewer_with_one_picture_may_choose_whose_and_in_which_layer(stage: Stage) -> None:
    await enter(stage, "alice", browser=Simulcast())
    await enter(stage, "bob")
    phone = VideoPhone("VP8")
    phone.add()
    session = await stage.call("700", caller="carol", offer=phone.offer(), settle=False)
    choice = session.picture = PictureChoice("alice", "q")
    await stage.settle()
    phone.take(told(session, "accept"))
    await stage.wait(3.0)
    mine = next(track for track in stage.engine.tracks.values() if track.media.rtp_port)

    def sees() -> tuple[int | None, object]:
        """Whose picture, and the layer asked for."""
        if mine.source is None:
            return None, None
        owner = stage.engine.tracks[mine.source].media.leg
        return next(n for n in range(2) if stage.leg(n).handle == owner), mine.limits["rid"]

    speak(stage, 1)
    await stage.settle()
    assert sees() == (0, "q"), "who speaks is no matter to it"
    stage.engine.tracks[mine.source].streams = (("q", 90_000),)
    stage.engine.on_event(LayerChanged(mine.media.handle, "q"))
    assert choice.look() == PictureShown("", ids(stage)[0], ("q", "f"), "q", (("q", 90_000),))
    for participant, layer, seen in (
        ("alice", "f", (0, "f")),
        ("alice", "unheard-of", (0, None)),
        ("bob", "q", (1, None)),  # he sends one stream
        (ids(stage)[0], "q", (0, "q")),
        ("nobody", "q", (None, None)),
        ("name:bob", "", (1, None)),
        ("name:nobody", "", (None, None)),
        ("", "q", (1, None)),  # who speaks
    ):
        choice.change(participant, layer)
        await stage.settle()
        assert sees() == seen, (participant, layer)
    session.tell(Ended("over"))
    await stage.settle()
    choice.change("alice", "")  # it has left: nobody listens any more
    assert choice.look() is None


async def test_who_takes_the_name_of_another_is_not_seen_in_its_place(stage: Stage) -> None:
    """Guests choose their names; a user's name and an id they cannot have."""
    phone = VideoPhone("VP8")
    phone.add()
    viewer = await stage.call("700", caller="carol", offer=phone.offer(), settle=False)
    choice = viewer.picture = PictureChoice("name:Studio")
    await stage.settle()
    phone.take(told(viewer, "accept"))
    await stage.wait(3.0)
    mine = next(track for track in stage.engine.tracks.values() if track.media.rtp_port)

    def seen() -> int | None:
        owner = stage.engine.tracks[mine.source].media.leg if mine.source is not None else None
        return next((n for n in range(1, 4) if owner is not None and stage.leg(n).handle == owner), None)

    async def guest(index: int, name: str, identity: str | None = None) -> Guest:
        comes = await enter(stage, name, identity=identity)
        speak(stage, index)
        await stage.settle()
        return comes

    first = await guest(1, "Studio", "alice")
    assert (seen(), choice.who_is("name:Studio")) == (1, Named.ONE)
    await guest(2, "Studio")
    assert (seen(), choice.who_is("name:Studio")) == (1, Named.SEVERAL), "it stays the one that was found"
    await guest(3, "alice")
    choice.change("alice", "")
    await stage.settle()
    assert (seen(), choice.who_is("alice"), choice.who_is("Studio")) == (1, Named.ONE, Named.NOBODY)
    choice.change("name:Studio", "")
    await stage.settle()
    assert seen() is None, "nobody can tell which is meant"
    first.session.tell(Ended("over"))
    await stage.settle()
    assert (seen(), choice.who_is("name:Studio")) == (1, Named.ONE), "the second guest is the first now"
    choice.change("trunk:pbx", "")
    assert choice.who_is("trunk:pbx") is Named.NOBODY


async def test_a_hidden_participant_is_shown_to_nobody(stage: Stage) -> None:
    alice, bob = await enter(stage, "alice"), await enter(stage, "bob")
    second = room(stage).participants[1]
    assert stage.manager is not None
    where = (second.call_id, second.leg_id)
    assert await stage.manager.room_action("700", Action.HIDE, where) is Outcome.DONE
    await stage.settle()
    assert alice.browser.seen == []
    assert room(stage).participants[1].hidden
    assert not room(stage).participants[1].camera
    await stage.manager.room_action("700", Action.SHOW, where)
    await stage.settle()
    assert len(alice.browser.seen) == 1
    assert len(shown(stage, bob)) == 1


async def test_a_browser_that_refuses_a_picture_is_asked_no_more_and_stays(stage: Stage) -> None:
    alice = await enter(stage, "alice", camera=False)
    alice.browser.takes_views = False
    await enter(stage, "bob")
    asked = alice.session.names().count("reinvite")
    await stage.wait(5.0)
    assert asked == alice.session.names().count("reinvite") == 1
    assert not alice.session.over


async def test_an_offer_that_crosses_the_browsers_own_is_made_again(stage: Stage) -> None:
    alice = await enter(stage, "alice", camera=False)
    alice.answers = False
    await enter(stage, "bob")
    alice.session.tell(ReofferFailed(491, "Request Pending"))
    alice.answers = True
    await stage.wait(1.0)
    assert len(alice.browser.seen) == 1


async def test_only_a_moderator_mutes_removes_or_locks_and_anybody_mutes_himself(stage: Stage) -> None:
    await enter(stage, "alice")
    bob = await enter(stage, "bob")
    assert stage.manager is not None
    one, two = [(p.call_id, p.leg_id) for p in room(stage).participants]
    assert [p.moderator for p in room(stage).participants] == [True, False]
    act = stage.manager.room_action
    assert await act("700", Action.MUTE, one, by=two) is Outcome.FORBIDDEN
    assert await act("700", Action.LOCK, None, by=two) is Outcome.FORBIDDEN
    assert await act("700", Action.MUTE, two, by=two) is Outcome.DONE
    assert await act("700", Action.UNMUTE, two, by=one) is Outcome.DONE
    assert await act("700", Action.MUTE, ("nobody", "1"), by=one) is Outcome.MISSING
    assert await act("799", Action.MUTE, one) is Outcome.MISSING
    assert await act("700", Action.KICK, two, by=one) is Outcome.DONE
    await stage.settle()
    assert bob.session.over


async def test_a_locked_room_refuses_who_comes_until_it_is_open_again(stage: Stage) -> None:
    await enter(stage, "alice")
    assert stage.manager is not None
    await stage.manager.room_action("700", Action.LOCK, None)
    assert room(stage).locked
    late = await stage.call("700", caller="late")
    assert late.did[-1][:2] == ("reject", 403)
    await stage.manager.room_action("700", Action.UNLOCK, None)
    await stage.call("700", caller="late")
    await stage.wait(3.0)
    assert len(room(stage).participants) == 2


@pytest.mark.parametrize(
    ("identity", "rights", "options", "expected"),
    [
        ("alice", None, {}, True),
        ("bob", None, {}, False),
        (None, None, {}, False),
        ("bob", None, {"moderators": ["bob"]}, True),
        ("alice", None, {"moderators": ["bob"]}, False),
        ("bob", frozenset({"publish", "moderate"}), {}, True),
        ("alice", frozenset({"publish"}), {}, False),
    ],
)
def test_who_directs_is_said_by_token_by_rule_or_by_who_came_first(identity, rights, options, expected):
    assert is_moderator(identity, rights, options, [None, "trunk:x", "alice", "bob"]) is expected
