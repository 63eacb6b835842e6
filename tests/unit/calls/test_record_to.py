"""Recording onto somebody else as well: that session follows the parties of ours, and its faults stay its own."""

from __future__ import annotations

import pytest

from mediaserver.calls.routing import Rule
from mediaserver.model_consent import ConsentRules
from mediaserver.sip.rs_metadata import parse
from mediaserver.sip.sdp_body import Multipart, recording_body
from mediaserver.sip.session import Answered, Ended, Failed, Reoffer, ReofferAnswered, ReofferFailed
from tests.support.fake_sessions import FakeSession
from tests.unit.calls.stage import Stage, sdp

RECORDED = '[[route]]\nname="ext"\nnumber="bob"\nuser="bob"\nrecord=true\nrecord_to="carrier"\n'


def metadata(body: bytes):  # type: ignore[no-untyped-def]
    return parse(body.split(b"recording-session\r\n\r\n")[1].split(b"\r\n--")[0])


def answer(*ports: int) -> bytes:
    sections = [f"m=audio {port} RTP/AVP 0 8 101\r\na=recvonly" for port in ports]
    head = sdp().partition(b"m=")[0].replace(b"192.0.2.7", b"127.0.0.1")
    return head + "\r\n".join([*sections, ""]).encode()


async def recorded(stage: Stage, answers: bytes | None = None) -> tuple[FakeSession, FakeSession]:
    """A call that both parties let be recorded: the caller's session and the recorder's."""
    await stage.start(RECORDED)
    stage.register("bob")
    caller = await stage.call("bob")
    await stage.wait(2.1)
    await stage.wait(2.1)
    recorder = stage.gateway.sessions[-1]
    if answers is not None:
        recorder.tell(Answered(answers))
        await stage.settle()
    return caller, recorder


async def test_the_recorder_is_offered_both_parties_with_their_names_and_gets_what_is_captured(stage: Stage) -> None:
    caller, recorder = await recorded(stage, answer(7000, 7002))
    (recording,) = stage.recorder.recordings
    assert isinstance(recorder.offer, Multipart)
    assert (recorder.called_user, recorder.caller_user) == ("recording", "mediaserver")
    known = metadata(recorder.offer)
    assert [one.number for one in known.participants.values()] == ["alice", "bob"]
    assert [[one.number for one in known.speakers(label)] for label in "12"] == [["alice"], ["bob"]]
    assert [where for _, where in recording.sent_to] == [("127.0.0.1", 7000), ("127.0.0.1", 7002)]
    assert {leg for leg, _ in recording.sent_to} == set(recording.joined)
    await stage.hang_up(caller)
    assert recorder.names()[-1] == "hang_up"
    assert [where for _, where in recording.sent_to[2:]] == [None, None]


async def test_before_both_have_heard_the_notice_the_recorder_hears_of_nothing(stage: Stage) -> None:
    await stage.start(RECORDED)
    stage.register("bob")
    caller = await stage.call("bob")
    await stage.wait(3.0)
    assert [session.called_user for session in stage.gateway.sessions] == ["bob"]
    await stage.hang_up(caller)
    assert [session.called_user for session in stage.gateway.sessions] == ["bob"]


@pytest.mark.parametrize("end", ["refused", "gone", "nonsense"])
async def test_a_recorder_that_refuses_ends_or_answers_nonsense_costs_its_copy_alone(stage: Stage, end: str) -> None:
    caller, recorder = await recorded(stage)
    if end == "refused":
        recorder.tell(Failed(486, "Busy Here"))
    else:
        recorder.tell(Answered(answer(7000, 7002) if end == "gone" else b"nonsense"))
        await stage.settle()
        if end == "gone":
            recorder.tell(Ended(False))
    await stage.settle()
    (recording,) = stage.recorder.recordings
    assert recording.capturing
    assert "hang_up" not in caller.names()
    sent = [where for _, where in recording.sent_to]
    assert sent[:2] == ([("127.0.0.1", 7000), ("127.0.0.1", 7002)] if end == "gone" else [None, None][: len(sent)])
    assert set(sent[2:]) <= {None}
    await stage.hang_up(caller)


async def test_a_recorder_may_refuse_one_party_pause_it_and_take_it_back(stage: Stage) -> None:
    caller, recorder = await recorded(stage, answer(7000, 0))
    (recording,) = stage.recorder.recordings
    assert [where for _, where in recording.sent_to] == [("127.0.0.1", 7000)]
    recorder.tell(Reoffer(sdp("a=inactive")))  # what is sent is ours to offer
    recorder.tell(ReofferFailed(488, "no"))
    recorder.tell(ReofferAnswered(answer(0, 7002)))
    await stage.settle()
    assert recorder.names() == ["invite", "reject_reoffer"]
    assert [where for _, where in recording.sent_to[1:]] == [None, ("127.0.0.1", 7002)]
    await stage.hang_up(caller)


async def test_who_refuses_is_not_even_named_and_who_withdraws_is_sent_no_more(stage: Stage) -> None:
    stage.recorder.policy = ConsentRules("p", ask="press")
    await stage.start(RECORDED)
    stage.register("bob")
    caller = await stage.call("bob")
    await stage.wait(2.1)
    await stage.press("1")
    await stage.wait(2.1)
    await stage.press("2", index=1)
    recorder = stage.gateway.sessions[-1]
    recorder.tell(Answered(answer(7000)))
    await stage.settle()
    assert [one.number for one in metadata(recorder.offer or b"").participants.values()] == ["alice"]
    (recording,) = stage.recorder.recordings
    assert [where for _, where in recording.sent_to] == [("127.0.0.1", 7000)]
    await stage.press("*9")
    await stage.settle()
    assert [where for _, where in recording.sent_to[1:]] == [None]
    assert recorder.did[-1][1].count(b"m=audio 0 ") == 1
    await stage.hang_up(caller)


async def test_a_pause_is_told_so_that_silence_is_not_taken_for_an_end(stage: Stage) -> None:
    caller, recorder = await recorded(stage, answer(7000, 7002))
    (recording,) = stage.recorder.recordings
    assert stage.manager is not None
    desk = stage.manager.consent_desk
    await desk.pause(caller.room_id, "card data")
    await stage.settle()
    assert recorder.did[-1][1].count(b"a=inactive") == 2
    recorder.tell(ReofferAnswered(answer(7000, 7002).replace(b"recvonly", b"inactive")))
    await stage.settle()
    assert [where for _, where in recording.sent_to[2:]] == [None, None]
    await desk.resume(caller.room_id)
    await stage.settle()
    assert recorder.did[-1][1].count(b"a=sendonly") == 2
    recorder.tell(ReofferAnswered(answer(7000, 7002)))
    await stage.settle()
    assert [where for _, where in recording.sent_to[4:]] == [("127.0.0.1", 7000), ("127.0.0.1", 7002)]
    await stage.hang_up(caller)


async def test_a_recorder_where_no_way_leads_is_told_to_the_log_alone(stage: Stage) -> None:
    caller, _ = await recorded(stage, answer(7000, 7002).replace(b"127.0.0.1", b"255.255.255.255"))
    (recording,) = stage.recorder.recordings
    assert recording.sent_to == []
    assert recording.capturing
    await stage.hang_up(caller)


async def test_a_transfer_ends_one_section_and_opens_another(stage: Stage) -> None:
    await stage.start(RECORDED + RECORDED.replace('"ext"', '"other"').replace("bob", "carol"))
    stage.register("bob")
    stage.register("carol")
    await stage.call("bob")
    await stage.wait(2.1)
    await stage.wait(2.1)
    recorder = next(session for session in stage.gateway.sessions if session.called_user == "recording")
    recorder.tell(Answered(answer(7000, 7002)))
    await stage.settle()
    await stage.refer(stage.gateway.sessions[0], "<sip:carol@pbx.example>")
    await stage.wait(5.0)
    offers = [what[1] for what in recorder.did if what[0] == "reinvite"]
    assert offers
    last = offers[-1]
    assert [last.count(b"m=audio 0 "), last.count(b"m=audio ")] == [1, 3]
    assert [one.number for one in metadata(last).speakers("3")] == ["carol"]
    assert metadata(last).speakers("2") == []


def test_a_rule_that_asks_for_what_cannot_be_is_refused() -> None:
    for wrong in ({"user": "bob"}, {"conference": "x", "record": True}):
        with pytest.raises(ValueError, match="record_to"):
            Rule.model_validate({"name": "r", "number": "1", "record_to": "sbc", **wrong})
    assert recording_body(b"a", b"b").boundary
