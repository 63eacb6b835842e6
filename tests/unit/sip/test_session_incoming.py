"""Calls to us, seen from both ends of the wire: ringing, answer, ACK, CANCEL, refusal, BYE. RFC 3261 §13.3, §15."""

from __future__ import annotations

import pytest

from mediaserver.sip.session import Cancelled, Confirmed, Ended, InfoReceived, Reoffer
from tests.support.sip_calls import OURS, THEIRS, TRUSTED, request
from tests.support.sip_calls import IncomingCall as Call
from tests.support.sip_net import MS, NO_LEAKS, SDP_A, SDP_B, Network, S, Script, Site


def test_the_call_room_learns_who_calls_whom_and_from_where():
    session = Call().session
    assert (session.called_user, session.caller_user, session.caller_name) == ("600", "bob", "Bob B")
    assert (session.identity, session.source, session.local_host) == ("trunk:pbx", THEIRS, "192.0.2.1")
    assert session.peer_host == THEIRS[0]
    assert session.remote_sdp == SDP_A
    assert session.incoming


def test_a_called_user_with_escapes_is_told_unescaped():
    net = Network()
    site = Site(net, OURS, settings=TRUSTED)
    Script(net, THEIRS).send(OURS, request("INVITE", 1, body=SDP_A, uri="sip:%36%30%30%20a@192.0.2.1"))
    net.run(0.1)
    assert site.room.calls[0].called_user == "600 a"


def test_ringing_and_early_media_carry_tag_contact_and_route():
    call = Call(lines=("Record-Route: <sip:192.0.2.7;lr>",))
    call.session.ring()
    call.session.ring(183, SDP_B)
    call.net.run(0.05)
    ringing, early = call.peer.take("SIP/2.0 180"), call.peer.take("SIP/2.0 183")
    assert ringing.to.tag == early.to.tag == call.session.dialog.local.tag
    assert str(ringing.contacts[0].uri) == "sip:600@192.0.2.1:5060"
    assert ringing.headers.get("Record-Route") == "<sip:192.0.2.7;lr>"
    assert (ringing.body, early.body, early.content_type) == (b"", SDP_B, "application/sdp")


def test_answer_and_ack_confirm_the_call():
    call = Call()
    call.session.accept(SDP_B, [("X-Note", "hello")])
    call.net.run(0.05)
    answer = call.peer.take("SIP/2.0 200")
    assert answer.body == SDP_B
    assert answer.headers.get("X-Note") == "hello"
    assert "REFER" in answer.headers.get("Allow")
    assert call.events == []
    call.send("ACK", 1)
    assert call.events == [Confirmed()]


def test_the_answer_is_repeated_until_the_ack_comes():
    call = Call()
    call.session.accept(SDP_B)
    call.net.run(4.0)
    assert len(call.net.sent(OURS, "SIP/2.0 200")) == 4  # at 0, 0.5, 1.5 and 3.5 s
    call.send("ACK", 1)
    call.net.run(10)
    assert len(call.net.sent(OURS, "SIP/2.0 200")) == 4


@pytest.mark.parametrize(("past_ns", "over"), [(-1, False), (0, True)])
def test_an_answer_never_acknowledged_ends_with_bye_after_64_times_t1(past_ns, over):
    call = Call()
    call.session.accept(SDP_B)
    answered_ns = call.net.now
    call.net.run_until(answered_ns + 32 * S + past_ns)
    assert bool(call.net.sent(OURS, "BYE")) is over
    assert [type(e) for e in call.events] == ([Ended] if over else [])
    if over:
        assert call.events == [Ended(by_us=True, reason="no ACK")]


def test_a_late_offer_is_answered_with_our_offer_and_the_ack_brings_their_answer():
    call = Call(sdp=b"")
    assert call.session.remote_sdp is None
    call.session.accept(SDP_B)
    call.net.run(0.05)
    call.send("ACK", 1, body=SDP_A)
    assert call.events == [Confirmed(SDP_A)]


def test_an_ack_that_comes_twice_confirms_once():
    call = Call()
    call.established()
    call.send("ACK", 1)
    assert call.events == [Confirmed()]


def test_cancel_gets_200_and_the_invite_487():
    call = Call()
    call.session.ring()
    call.send("CANCEL", 1, 'Reason: SIP;cause=200;text="Call completed elsewhere"', tagged=False, branch="INVITE1")
    assert call.peer.has("SIP/2.0 200")
    assert call.peer.has("SIP/2.0 487")
    assert call.events == [Cancelled(), Ended(False, 'SIP;cause=200;text="Call completed elsewhere"')]


def test_cancel_after_the_answer_changes_nothing():
    call = Call()
    call.session.accept(SDP_B)
    call.send("CANCEL", 1, tagged=False, branch="INVITE1")
    assert not call.peer.has("SIP/2.0 487")
    call.send("ACK", 1)
    assert call.events == [Confirmed()]


@pytest.mark.parametrize("status", [300, 404, 486, 503, 603])
def test_a_refusal_is_final(status):
    call = Call()
    call.session.reject(status, "Go Away", [("Retry-After", "9")])
    call.session.accept(SDP_B)
    call.session.ring()
    call.session.reject(500)
    call.net.run(0.05)
    refusal = call.peer.take(f"SIP/2.0 {status} Go Away")
    assert refusal.headers.get("Retry-After") == "9"
    assert [type(e) for e in call.events] == [Ended]
    call.send("ACK", 1, branch="INVITE1")
    call.net.run(60)
    assert call.site.leaks() == NO_LEAKS


def test_hanging_up_before_the_answer_is_a_refusal():
    call = Call()
    call.session.hang_up()
    call.session.hang_up()
    call.net.run(0.05)
    assert call.peer.has("SIP/2.0 480")
    assert [type(e) for e in call.events] == [Ended]


def test_hanging_up_between_answer_and_ack_waits_with_the_bye_for_the_ack():
    call = Call()
    call.session.accept(SDP_B)
    call.session.hang_up([("Reason", "Q.850;cause=16")])
    call.net.run(0.2)
    assert [type(e) for e in call.events] == [Ended]
    assert not call.net.sent(OURS, "BYE")
    call.send("ACK", 1)
    bye = call.peer.take("BYE")
    assert bye.headers.get("Reason") == "Q.850;cause=16"
    call.peer.answer(bye, 200)
    call.net.run(60)
    assert call.site.leaks() == NO_LEAKS


def test_hanging_up_between_answer_and_an_ack_that_never_comes_says_bye_in_the_end():
    call = Call()
    call.session.accept(SDP_B)
    call.session.hang_up()
    call.net.run(33)
    call.peer.answer(call.peer.take("BYE"), 200)
    call.net.run(60)
    assert call.site.leaks() == NO_LEAKS


def test_bye_of_the_peer_ends_the_call_and_its_reason_is_kept():
    call = Call().established()
    call.send("BYE", 2, "Reason: Q.850;cause=16")
    assert call.peer.has("SIP/2.0 200")
    assert call.events == [Confirmed(), Ended(False, "Q.850;cause=16")]
    call.send("BYE", 3)
    assert call.peer.has("SIP/2.0 481")


def test_bye_before_the_answer_ends_the_invite_with_487():
    call = Call()
    call.send("BYE", 2)
    assert call.peer.has("SIP/2.0 200")
    assert call.peer.has("SIP/2.0 487")
    assert [type(e) for e in call.events] == [Cancelled, Ended]


def test_bye_crossing_ours_is_answered_and_both_are_done():
    call = Call().established()
    call.session.hang_up()
    call.send("BYE", 2)
    bye = call.peer.take("BYE")
    assert call.peer.has("SIP/2.0 200")
    call.peer.answer(bye, 481)
    call.net.run(60)
    assert [type(e) for e in call.events] == [Confirmed, Ended]
    assert call.site.leaks() == NO_LEAKS


def test_a_bye_nobody_answers_is_given_up_after_64_times_t1():
    call = Call().established()
    call.session.hang_up()
    call.net.run(0)
    sent_ns = call.net.now
    call.net.run_until(sent_ns + 32 * S - 1)
    assert call.site.ua.dialogs == 1
    call.net.run_until(sent_ns + 32 * S)
    assert call.site.ua.dialogs == 0


def test_a_request_with_a_lower_cseq_gets_500():
    call = Call().established()
    call.send("INFO", 10)
    call.send("INFO", 9)
    assert call.peer.has("SIP/2.0 200")
    assert call.peer.has("SIP/2.0 500")


def test_info_is_answered_and_its_body_told():
    call = Call().established()
    call.send("INFO", 2, "Content-Type: application/dtmf-relay;x=y", body=b"Signal=5\r\nDuration=160\r\n")
    call.send("INFO", 3)
    assert call.events[1:] == [InfoReceived("application/dtmf-relay", b"Signal=5\r\nDuration=160\r\n")]
    assert len(call.net.sent(OURS, "SIP/2.0 200")) == 3
    assert "Signal" not in repr(call.events)


def test_info_of_a_package_we_did_not_ask_for_gets_469():
    call = Call().established()
    call.send("INFO", 2, "Info-Package: foo", body=b"x")
    assert call.peer.has("SIP/2.0 469")


def test_options_inside_a_call_says_what_we_do():
    call = Call().established()
    call.send("OPTIONS", 2)
    answer = call.peer.take("SIP/2.0 200")
    assert "UPDATE" in answer.headers.get("Allow")
    assert "application/sdp" in answer.headers.get("Accept")


@pytest.mark.parametrize(
    ("method", "status"), [("MESSAGE", 405), ("SUBSCRIBE", 405), ("PRACK", 405), ("FROBNICATE", 501), ("NOTIFY", 489)]
)
def test_what_we_do_not_serve_is_refused_by_its_own_status(method, status):
    call = Call().established()
    call.send(method, 2)
    assert call.peer.has(f"SIP/2.0 {status}")
    assert [type(e) for e in call.events] == [Confirmed]


def test_an_unknown_extension_in_require_gets_420():
    call = Call().established()
    call.send("INVITE", 2, "Require: 100rel, frob", body=SDP_A)
    assert call.peer.take("SIP/2.0 420").headers.get("Unsupported")


@pytest.mark.parametrize(
    ("lines", "body", "status"),
    [
        (("Content-Type: text/plain",), b"hello\r\n", 415),
        (("Content-Type: application/sdp", "Content-Encoding: gzip"), SDP_A, 415),
        (("Content-Type: multipart/mixed",), b"--x\r\n", 400),
    ],
)
def test_a_body_we_cannot_use_is_refused(lines, body, status):
    net = Network()
    site = Site(net, OURS, settings=TRUSTED)
    peer = Script(net, THEIRS)
    peer.send(OURS, request("INVITE", 1, *lines, body=body))
    net.run(0.1)
    assert peer.has(f"SIP/2.0 {status}")
    assert site.room.calls == []
    assert site.ua.dialogs == 0


def test_sdp_is_found_inside_a_multipart_body():
    body = (
        b"--b1\r\nContent-Type: application/isup\r\n\r\n\x01\x02\r\n--b1\r\nContent-Type: application/sdp\r\n\r\n"
        + SDP_A
    )
    body += b"--b1--\r\n"
    call = Call(sdp=body, lines=('Content-Type: multipart/mixed;boundary="b1"',))
    assert call.session.remote_sdp == SDP_A


def test_the_call_room_cannot_begin_headers_of_its_own():
    call = Call()
    call.session.reject(486, "Busy\r\nX-Evil: 1", [("X-A", "b\r\nX-Evil: 2")])
    call.net.run(0.05)
    answer = call.peer.take("SIP/2.0 486")
    assert "X-Evil" not in answer.headers


def test_a_call_room_that_fails_on_an_event_loses_this_call_only():
    call = Call()

    def fail(session, event):
        raise RuntimeError("bug")

    call.site.room.on_event = fail
    call.established()
    call.net.run(0.05)
    assert call.peer.has("BYE")
    assert call.site.ua.faults == 2  # Confirmed and Ended
    assert call.site.ua.sessions == ()


def test_methods_that_do_not_fit_the_state_do_nothing():
    call = Call()
    session = call.session
    session.cancel()
    session.send_answer(SDP_A)
    session.answer_reoffer(SDP_A)
    session.reject_reoffer(488)
    session.reinvite(SDP_A)
    session.send_info("a/b", b"c")
    session.refer("sip:x@y")
    session.notify_refer(200)
    session.ring(200)
    session.ring(100)
    call.net.run(0.1)
    assert call.net.sent(OURS, "") == []


def test_the_peers_reinvite_is_told_and_answered():
    call = Call().established()
    call.send("INVITE", 2, body=SDP_A)
    assert call.events[-1] == Reoffer(SDP_A)
    call.session.answer_reoffer(SDP_B)
    call.net.run(0.05)
    assert call.peer.take("SIP/2.0 200").body == SDP_B
    call.send("ACK", 2)
    assert call.events[-1] == Reoffer(SDP_A)


def test_no_answer_waits_longer_than_its_own_milliseconds_for_trying():
    call = Call()
    call.net.run(0.3)
    assert [m.status for m in call.net.sent(OURS, "SIP/2.0")] == [100]
    assert call.net.delay_ns == 10 * MS
