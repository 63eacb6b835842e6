"""Video between two parties: offered along, forwarded in one codec, carried over when it changes, gone with hold."""

from __future__ import annotations

import pytest

from mediaserver.calls.media_control import MEDIA_CONTROL, key_frame_request
from mediaserver.model import Direction
from mediaserver.model_video import Content, KeyFrameWanted
from mediaserver.sdp.parse import parse
from mediaserver.sip.session import Answered, Ended, InfoReceived, Progress, Reoffer, ReofferAnswered, ReofferFailed
from tests.support.fake_sessions import FakeSession
from tests.support.fakes import FakeTrack
from tests.support.video_phone import VideoPhone
from tests.unit.calls.stage import Stage


def told(session: FakeSession, name: str) -> bytes:
    """The last description the server gave by this step."""
    return next(what[-1] for what in reversed(session.did) if what[0] == name)


def tracks(stage: Stage) -> list[FakeTrack]:
    return list(stage.engine.tracks.values())


def seen(stage: Stage) -> list[bool]:
    """Of every open track, whether it shows pictures."""
    return [track.source is not None for track in tracks(stage)]


class Pair:
    """alice calls bob; both are video phones."""

    def __init__(self, stage: Stage, alice: VideoPhone, bob: VideoPhone) -> None:
        self.stage, self.alice, self.bob = stage, alice, bob
        self.bob_answers = True
        stage.gateway.users["bob"] = ["sip:bob@192.0.2.9"]
        stage.gateway.on_invite = self._rung

    def _rung(self, session: FakeSession, _target: str) -> None:
        session.tell(Progress(180, "Ringing"))
        session.tell(Answered(self.bob.answer(session.offer or b"")))
        session.on_did = lambda what: self._reinvited(session) if what == "reinvite" else None

    def _reinvited(self, session: FakeSession) -> None:
        if self.bob_answers:
            session.tell(ReofferAnswered(self.bob.answer(session.did[-1][1])))

    async def connect(self) -> None:
        self.caller = await self.stage.call("bob", offer=self.alice.offer())
        self.callee = self.stage.gateway.sessions[0]
        self.alice.take(told(self.caller, "accept"))

    async def reoffer(self) -> None:
        """alice's re-INVITE with what her phone wants now."""
        self.caller.tell(Reoffer(self.alice.offer()))
        await self.stage.settle()
        if self.caller.did[-1][0] == "answer_reoffer":
            self.alice.take(self.caller.did[-1][1])


@pytest.fixture
def pair(stage: Stage) -> Pair:
    made = Pair(stage, VideoPhone("VP8", "H264"), VideoPhone("H264", "VP8"))
    made.alice.add()
    return made


async def test_the_recorder_is_told_what_each_party_shows_as_long_as_it_does(pair: Pair) -> None:
    await pair.connect()
    shown = dict(pair.stage.recorder.pictures)
    assert len(shown) == 2
    for leg, sources in shown.items():
        [source] = sources
        assert source.content is Content.MAIN
        assert source.formats[0].codec.value == "H264"
        assert pair.stage.engine.tracks[source.track].media.leg == leg
    pair.alice.negotiator.video.lines[0].wanted = pair.alice._local(direction=Direction.RECVONLY)
    await pair.reoffer()
    assert sorted(len(sources) for sources in pair.stage.recorder.pictures.values()) == [0, 1]
    pair.caller.tell(Ended(False))
    await pair.stage.settle()
    assert list(pair.stage.recorder.pictures.values()) == [(), ()]


async def test_the_callee_is_offered_what_the_caller_can_and_the_caller_gets_the_callees_codec(pair: Pair) -> None:
    await pair.connect()
    offered = parse(pair.callee.offer or b"").media[1]
    assert [value.split()[1] for value in offered.all("rtpmap")] == ["VP8/90000", "H264/90000", "H264/90000"]
    assert pair.bob.pictures == [("H264", "sendrecv")]
    assert pair.alice.pictures == [("H264", "sendrecv")]
    callee, caller = tracks(pair.stage)
    assert callee.source == caller.media.handle
    assert caller.source == callee.media.handle
    assert parse(told(pair.caller, "accept")).media[1].port == caller.media.rtp_port


async def test_the_record_of_the_call_names_the_codec_of_the_pictures(pair: Pair) -> None:
    await pair.connect()
    assert pair.stage.manager is not None
    assert [leg.video for leg in pair.stage.manager.calls()[0].legs] == ["H264", "H264"]
    assert [leg.screen for leg in pair.stage.manager.calls()[0].legs] == [None, None]


async def test_a_callee_without_video_leaves_the_sound_alone(pair: Pair) -> None:
    pair.bob.takes_video = False
    await pair.connect()
    assert parse(told(pair.caller, "accept")).media[1].port == 0
    assert tracks(pair.stage) == []
    assert not pair.caller.over


async def test_no_codec_in_common_is_video_refused_and_sound_that_goes_on(stage: Stage) -> None:
    pair = Pair(stage, VideoPhone("VP9"), VideoPhone("H264"))
    pair.alice.add()
    await pair.connect()
    assert parse(told(pair.caller, "accept")).media[1].port == 0
    assert not pair.caller.over


async def test_main_picture_and_slides_are_each_brought_to_their_own(pair: Pair) -> None:
    pair.alice.add(Content.SLIDES, Direction.SENDONLY)
    await pair.connect()
    assert [m.first("content") for m in parse(pair.callee.offer or b"").media] == [None, None, "slides"]
    assert pair.alice.pictures == [("H264", "sendrecv"), ("H264", "sendonly")]
    assert pair.bob.pictures == [("H264", "sendrecv"), ("H264", "recvonly")]
    main, slides, caller_main, caller_slides = tracks(pair.stage)
    assert slides.source == caller_slides.media.handle
    assert main.source == caller_main.media.handle
    assert caller_slides.source is None


async def test_a_browser_that_is_called_can_tell_the_screen_from_the_camera(pair: Pair) -> None:
    pair.alice.add(Content.SLIDES, Direction.SENDONLY)
    pair.stage.gateway.users["bob"] = ["browser bob"]
    pair.stage.gateway.on_invite = lambda _session, _target: None
    await pair.stage.call("bob", offer=pair.alice.offer())
    offered = [m for m in parse(pair.stage.gateway.sessions[0].offer or b"").media if m.kind == "video"]
    assert [m.first("content") for m in offered] == [None, "slides"]
    names = [(m.first("msid") or "").split() for m in offered]
    assert [name for _, name in names] == ["camera", "screen"]
    assert len({stream for stream, _ in names}) == 1  # one party's


async def test_a_camera_that_comes_after_the_screen_is_the_camera(stage: Stage) -> None:
    pair = Pair(stage, VideoPhone("VP8"), VideoPhone("VP8"))
    await pair.connect()
    pair.alice.add(Content.SLIDES, Direction.SENDONLY)
    await pair.reoffer()
    pair.alice.add()
    await pair.reoffer()
    assert stage.manager is not None
    assert [(leg.video, leg.screen) for leg in stage.manager.calls()[0].legs] == [("VP8", "VP8")] * 2
    offered = [m for m in parse(told(pair.callee, "reinvite")).media if m.kind == "video"]
    assert [m.first("content") for m in offered] == ["slides", None]


async def test_both_may_show_their_screens_and_each_sees_the_others(pair: Pair) -> None:
    pair.alice.add(Content.SLIDES, Direction.SENDRECV)
    await pair.connect()
    assert pair.alice.pictures == pair.bob.pictures == [("H264", "sendrecv")] * 2
    main, slides, caller_main, caller_slides = tracks(pair.stage)
    assert (slides.source, caller_slides.source) == (caller_slides.media.handle, slides.media.handle)
    assert (main.source, caller_main.source) == (caller_main.media.handle, main.media.handle)


async def test_video_added_in_mid_call_is_offered_to_the_other_before_it_is_answered(stage: Stage) -> None:
    pair = Pair(stage, VideoPhone("VP8", "H264"), VideoPhone("H264"))
    await pair.connect()
    assert tracks(stage) == []
    pair.alice.add()
    await pair.reoffer()
    assert parse(told(pair.callee, "reinvite")).media[1].port > 0
    assert pair.alice.pictures == [("H264", "sendrecv")]
    assert seen(stage) == [True, True]


async def test_video_added_by_the_callee_is_carried_to_the_caller_too(stage: Stage) -> None:
    pair = Pair(stage, VideoPhone("VP8"), VideoPhone("VP8"))
    await pair.connect()
    pair.caller.on_did = lambda what: (
        pair.caller.tell(ReofferAnswered(pair.alice.answer(pair.caller.did[-1][1]))) if what == "reinvite" else None
    )
    pair.bob.add()
    pair.callee.tell(Reoffer(pair.bob.offer()))
    await stage.settle()
    pair.bob.take(told(pair.callee, "answer_reoffer"))
    assert pair.alice.pictures == pair.bob.pictures == [("VP8", "sendrecv")]
    assert seen(stage) == [True, True]


async def test_video_the_other_declines_is_refused_once_and_asked_for_no_more(stage: Stage) -> None:
    pair = Pair(stage, VideoPhone("VP8"), VideoPhone("VP8"))
    await pair.connect()
    pair.bob.takes_video = False
    pair.alice.add()
    await pair.reoffer()
    assert parse(told(pair.caller, "answer_reoffer")).media[1].port == 0
    assert tracks(stage) == []
    pair.alice.add()
    await pair.reoffer()
    assert pair.callee.names().count("reinvite") == 1
    assert parse(told(pair.caller, "answer_reoffer")).media[1].port == 0


async def test_an_other_side_that_does_not_answer_costs_the_video_only(stage: Stage) -> None:
    pair = Pair(stage, VideoPhone("VP8"), VideoPhone("VP8"))
    await pair.connect()
    pair.bob_answers = False
    pair.alice.add()
    pair.caller.tell(Reoffer(pair.alice.offer()))
    await stage.wait(7.9)
    assert pair.caller.did[-1][0] != "answer_reoffer"
    await stage.wait(0.2)
    assert parse(told(pair.caller, "answer_reoffer")).media[1].port == 0


async def test_a_refused_reinvite_leaves_both_as_they_were(stage: Stage) -> None:
    pair = Pair(stage, VideoPhone("VP8"), VideoPhone("VP8"))
    await pair.connect()
    pair.bob_answers = False
    pair.alice.add()
    pair.caller.tell(Reoffer(pair.alice.offer()))
    await stage.settle()
    pair.callee.tell(ReofferFailed(488, "Not Acceptable Here"))
    await stage.settle()
    assert parse(told(pair.caller, "answer_reoffer")).media[1].port == 0
    assert tracks(stage) == []
    assert not pair.callee.over


async def test_video_removed_on_one_side_is_removed_on_the_other(pair: Pair) -> None:
    await pair.connect()
    pair.alice.negotiator.video.lines[0].wanted = None
    await pair.reoffer()
    assert parse(told(pair.callee, "reinvite")).media[1].port == 0
    assert parse(told(pair.caller, "answer_reoffer")).media[1].port == 0
    assert tracks(pair.stage) == []


async def test_a_camera_switched_off_turns_the_others_section_round(pair: Pair) -> None:
    await pair.connect()
    line = pair.alice.negotiator.video.lines[0]
    assert line.wanted is not None
    line.wanted = pair.alice._local(direction=Direction.RECVONLY)
    await pair.reoffer()
    assert parse(told(pair.callee, "reinvite")).media[1].has("recvonly")
    assert pair.alice.pictures == [("H264", "recvonly")]
    callee, caller = tracks(pair.stage)
    assert callee.source is None
    assert caller.source == callee.media.handle


async def test_hold_stops_the_pictures_and_resume_brings_them_back(pair: Pair) -> None:
    await pair.connect()
    pair.caller.tell(Reoffer(pair.alice.offer(Direction.SENDONLY)))
    await pair.stage.settle()
    assert seen(pair.stage) == [False, False]
    assert "reinvite" not in pair.callee.names()
    pair.alice.take(told(pair.caller, "answer_reoffer"))
    pair.caller.tell(Reoffer(pair.alice.offer()))
    await pair.stage.settle()
    assert seen(pair.stage) == [True, True]


async def test_an_offer_while_the_others_is_carried_over_meets_491(stage: Stage) -> None:
    pair = Pair(stage, VideoPhone("VP8"), VideoPhone("VP8"))
    await pair.connect()
    pair.bob_answers = False
    pair.alice.add()
    pair.caller.tell(Reoffer(pair.alice.offer()))
    await stage.settle()
    pair.bob.add()
    pair.callee.tell(Reoffer(pair.bob.offer()))
    await stage.settle()
    assert ("reject_reoffer", 491) in pair.callee.did


async def test_a_phone_without_rtcp_feedback_is_asked_for_a_key_frame_by_info(pair: Pair) -> None:
    await pair.connect()
    pair.stage.engine.on_event(KeyFrameWanted(tracks(pair.stage)[1].media.handle))
    assert pair.caller.did[-1] == ("send_info", MEDIA_CONTROL, key_frame_request())


async def test_an_info_for_a_key_frame_reaches_whoever_is_shown(pair: Pair) -> None:
    await pair.connect()
    callee, caller = tracks(pair.stage)
    before = caller.key_frames
    pair.callee.tell(InfoReceived(MEDIA_CONTROL, key_frame_request()))
    await pair.stage.settle()
    assert caller.key_frames == before + 1
    assert callee.key_frames == 1


async def test_the_echo_shows_the_caller_his_own_picture(stage: Stage) -> None:
    phone = VideoPhone("H264")
    phone.add()
    session = await stage.call("600", offer=phone.offer())
    phone.take(told(session, "accept"))
    assert phone.pictures == []  # a greeting is spoken first
    await stage.wait(10.0)
    session.tell(ReofferAnswered(phone.answer(told(session, "reinvite"))))
    await stage.settle()
    (track,) = tracks(stage)
    assert phone.pictures == [("H264", "sendrecv")]
    assert track.source == track.media.handle


async def test_the_pure_echo_takes_the_picture_with_the_answer(stage: Stage) -> None:
    await stage.start('[[route]]\nname = "echo"\nnumber = "603"\nprogram = "echo"\noptions = { intro = false }\n')
    phone = VideoPhone("VP8")
    phone.add()
    session = await stage.call("603", offer=phone.offer())
    phone.take(told(session, "accept"))
    (track,) = tracks(stage)
    assert track.source == track.media.handle


async def test_video_refused_while_a_menu_spoke_comes_when_somebody_answers(stage: Stage) -> None:
    stage.program("async def program(call):\n    await call.answer()\n    await call.bridge('bob')\n")
    await stage.start('[[route]]\nname = "menu"\nnumber = "9"\nprogram = "mine"\n')
    pair = Pair(stage, VideoPhone("VP8", "H264"), VideoPhone("H264"))
    pair.alice.add()
    session = pair.caller = await stage.call("9", offer=pair.alice.offer())
    pair.alice.take(told(session, "accept"))
    assert pair.alice.pictures == []
    session.tell(ReofferAnswered(pair.alice.answer(told(session, "reinvite"))))
    await stage.settle()
    assert pair.alice.pictures == [("H264", "sendrecv")]
    assert seen(stage) == [True, True]


async def test_a_menu_refuses_video_and_speaks(stage: Stage) -> None:
    phone = VideoPhone("H264")
    phone.add()
    session = await stage.call("601", offer=phone.offer())
    assert parse(told(session, "accept")).media[1].port == 0
    assert stage.leg().heard


async def test_a_transferred_party_sees_whom_it_was_sent_to(pair: Pair) -> None:
    """bob sends alice to carol, whose phone takes VP8 only: alice is offered that anew."""
    await pair.connect()
    stage, carol = pair.stage, VideoPhone("VP8")
    stage.gateway.users["carol"] = ["sip:carol@192.0.2.10"]
    stage.gateway.on_invite = lambda session, _target: session.tell(Answered(carol.answer(session.offer or b"")))
    pair.caller.on_did = lambda what: (
        pair.caller.tell(ReofferAnswered(pair.alice.answer(pair.caller.did[-1][1]))) if what == "reinvite" else None
    )
    await stage.refer(pair.callee, "<sip:carol@pbx.example>")
    await stage.settle()
    assert pair.callee.over
    assert carol.pictures == [("VP8", "sendrecv")]
    assert pair.alice.pictures == [("VP8", "sendrecv")]
    assert seen(stage) == [True, True]


async def test_without_a_port_for_the_pictures_the_call_goes_on_without_them(pair: Pair) -> None:
    pair.stage.engine.tracks_max = 1
    await pair.connect()
    assert parse(told(pair.caller, "accept")).media[1].port == 0
    assert not pair.caller.over


async def test_a_hang_up_leaves_no_track_behind(pair: Pair) -> None:
    await pair.connect()
    await pair.stage.hang_up(pair.caller)
    assert tracks(pair.stage) == []
    assert pair.stage.manager is not None
    assert pair.stage.manager._house.tracks == {}
