"""Calls from us: progress, answer, forks, digest, CANCEL in every state, timeouts. RFC 3261 §13.2, §9.1, §22."""

from __future__ import annotations

import pytest

from mediaserver.sip import digest
from mediaserver.sip.auth import Authenticator, Verdict, make_credentials
from mediaserver.sip.session import Answered, Ended, Failed, Progress
from tests.support.sip_calls import OURS, THEIRS, TRUSTED
from tests.support.sip_calls import OutgoingCall as Call
from tests.support.sip_net import NO_LEAKS, SDP_A, SDP_B, Network, S, Script, Site, Users, entropy_from


def test_the_invite_says_who_calls_whom_with_what():
    call = Call(caller_user="alice", caller_name='Alice "A"', called_user="bob smith", headers=[("X-Call", "7")])
    invite = call.invite
    assert invite.uri == "sip:600@192.0.2.7"
    assert str(invite.from_.uri) == "sip:alice@home"
    assert invite.from_.display == 'Alice "A"'
    assert str(invite.to) == "<sip:bob%20smith@home>"
    assert invite.to.tag == ""
    assert str(invite.contacts[0].uri) == "sip:alice@192.0.2.1:5060"
    assert (invite.body, invite.content_type) == (SDP_A, "application/sdp")
    assert invite.headers.get("X-Call") == "7"
    assert invite.headers.get("P-Asserted-Identity") is None


def test_a_caller_without_name_is_anonymous():
    assert str(Call(caller_user="").invite.from_.uri) == "sip:anonymous@anonymous.invalid"


def test_ringing_early_media_and_answer_are_told_in_order():
    call = Call()
    call.answer(100)
    call.answer(180)
    call.answer(183, sdp=SDP_B)
    call.answer(200, sdp=SDP_B)
    expected = [Progress(180, "Ringing"), Progress(183, "Session Progress", SDP_B), Answered(SDP_B)]
    assert call.events == expected
    assert "192.0.2.2" not in repr(call.events)


def test_the_ack_goes_to_the_contact_with_the_cseq_of_the_invite():
    call = Call()
    call.answer(200, sdp=SDP_B)
    ack = call.peer.take("ACK")
    assert ack.uri == "sip:192.0.2.7:5060"
    assert (ack.cseq.number, ack.to.tag) == (call.invite.cseq.number, "far")


def test_each_copy_of_the_answer_gets_the_same_ack_and_is_told_once():
    call = Call()
    for _ in range(3):
        call.answer(200, sdp=SDP_B)
    acks = [m.to_bytes() for m in call.net.sent(OURS, "ACK")]
    assert len(acks) == 3
    assert len(set(acks)) == 1
    assert call.kinds == [Answered]


def test_an_answer_without_sdp_counts_with_that_of_its_ringing():
    call = Call()
    call.answer(183, sdp=SDP_B)
    call.answer(200)
    assert call.events[-1] == Answered(SDP_B)


def test_a_late_offer_holds_the_ack_back_until_the_room_answers():
    call = Call(sdp=None)
    assert call.invite.body == b""
    for _ in range(2):
        call.answer(200, sdp=SDP_B)
    assert call.events == [Answered(SDP_B)]
    assert not call.peer.has("ACK")
    call.session.send_answer(SDP_A)
    call.net.run(0.05)
    assert call.peer.take("ACK").body == SDP_A
    call.answer(200, sdp=SDP_B)
    assert call.peer.take("ACK").body == SDP_A


def test_a_late_offer_that_never_comes_ends_the_call():
    call = Call(sdp=None)
    call.answer(200)
    assert call.kinds == [Failed, Ended]
    assert call.peer.has("ACK")
    call.finish()


def test_hanging_up_with_the_answer_still_owed_acknowledges_first():
    call = Call(sdp=None)
    call.answer(200, sdp=SDP_B)
    call.session.hang_up()
    call.net.run(0.05)
    assert [m.method for m in call.peer.inbox] == ["ACK", "BYE"]
    call.finish()


@pytest.mark.parametrize("status", [302, 404, 486, 503, 603])
def test_a_refusal_is_told_with_its_headers(status):
    call = Call()
    call.answer(180)
    call.answer(status, headers=[("Contact", "<sip:else@where>"), ("Reason", "Q.850;cause=17")], contact=False)
    failed = call.events[1]
    assert isinstance(failed, Failed)
    assert failed.status == status
    assert ("Contact", "<sip:else@where>") in failed.headers
    assert call.events[2:] == [Ended(False, "Q.850;cause=17")]
    assert call.peer.has("ACK")
    call.finish()


@pytest.mark.parametrize(("past_ns", "over"), [(-1, False), (0, True)])
def test_a_peer_that_says_nothing_is_given_up_after_64_times_t1_as_408(past_ns, over):
    net = Network()
    site = Site(net, OURS, settings=TRUSTED)
    session = site.call("sip:600@192.0.2.99")
    begun_ns = net.now
    net.run_until(begun_ns + 32 * S + past_ns)
    assert site.events(session) == (["Failed", "Ended"] if over else [])
    if over:
        assert site.room.events[session][0].status == 408
        assert site.leaks() == NO_LEAKS


def test_a_transport_error_is_told_as_503():
    net = Network()
    site = Site(net, OURS, settings=TRUSTED)
    session = site.call("sip:600@192.0.2.7")
    (send,) = site.ua.poll()
    site.ua.send_failed(send, "refused", net.now)
    net.run(0.1)
    assert site.room.events[session][0].status == 503
    assert site.leaks() == NO_LEAKS


def test_cancel_after_ringing_sends_cancel_at_once_and_tells_at_once():
    call = Call()
    call.answer(180)
    call.session.cancel()
    call.net.run(0)
    assert call.kinds == [Progress, Failed, Ended]
    assert call.events[1].status == 487
    assert call.events[2].by_us
    call.net.run(0.05)
    cancel = call.peer.take("CANCEL")
    assert (cancel.top_via.branch, cancel.cseq.number) == (call.invite.top_via.branch, call.invite.cseq.number)
    call.peer.answer(cancel, 200)
    call.answer(487)
    call.finish()


def test_cancel_before_any_response_waits_for_one():
    call = Call()
    call.session.hang_up([("Reason", "SIP;cause=200"), ("X-Other", "1")])
    call.net.run(0.2)
    assert not call.peer.has("CANCEL")
    call.answer(180)
    cancel = call.peer.take("CANCEL")
    assert cancel.headers.get("Reason") == "SIP;cause=200"
    assert cancel.headers.get("X-Other") is None
    call.peer.answer(cancel, 200)
    call.answer(487)
    assert call.kinds == [Failed, Ended]
    call.finish()


def test_an_answer_that_crosses_our_cancel_is_acknowledged_and_hung_up():
    call = Call()
    call.answer(180)
    call.session.cancel()
    call.answer(200, sdp=SDP_B)
    assert call.kinds == [Progress, Failed, Ended]
    assert call.peer.has("ACK")
    assert call.peer.has("BYE")
    call.answer(200, sdp=SDP_B)
    assert len(call.net.sent(OURS, "ACK")) == 2
    assert len(call.net.sent(OURS, "BYE")) == 1
    call.finish()


def test_a_cancelled_call_whose_peer_falls_silent_leaves_nothing():
    call = Call()
    call.answer(180)
    call.session.cancel()
    call.finish()


def test_the_first_of_two_forks_that_answer_wins_and_the_other_is_hung_up():
    call = Call()
    call.answer(180, tag="fork1")
    call.answer(180, tag="fork2")
    assert call.site.ua.dialogs == 2
    call.answer(200, tag="fork2", sdp=SDP_B)
    call.answer(200, tag="fork1", sdp=SDP_A)
    assert call.kinds == [Progress, Progress, Answered]
    assert call.site.ua.dialogs == 1
    acks = {m.to.tag for m in call.net.sent(OURS, "ACK")}
    assert acks == {"fork1", "fork2"}
    assert call.peer.take("BYE").to.tag == "fork1"
    call.session.hang_up()
    call.net.run(0.05)
    assert call.peer.take("BYE").to.tag == "fork2"
    call.finish()


def test_early_dialogs_are_bounded():
    call = Call()
    for i in range(40):
        call.answer(180, tag=f"fork{i}")
    assert call.site.ua.dialogs == 16
    call.answer(486)
    call.finish()


def test_a_bye_on_an_early_dialog_ends_that_fork_only():
    call = Call()
    call.answer(180, tag="fork1")
    tag = call.invite.from_.tag
    call.peer.send(
        OURS,
        "BYE sip:alice@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKb\nFrom: <sip:600@home>;tag=fork1\n"
        f"To: <sip:alice@home>;tag={tag}\nCall-ID: {call.invite.call_id}\nCSeq: 1 BYE\nMax-Forwards: 70\n\n",
    )
    call.net.run(0.05)
    assert call.peer.has("SIP/2.0 200")
    assert call.kinds == [Progress]
    call.answer(200, tag="fork2", sdp=SDP_B)
    assert call.kinds == [Progress, Answered]


def test_a_peer_that_answers_and_hangs_up_before_our_ack_is_understood():
    call = Call()
    call.peer.answer(call.invite, 200, sdp=SDP_B)
    tag = call.invite.from_.tag
    call.peer.send(
        OURS,
        "BYE sip:alice@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bKb\nFrom: <sip:600@home>;tag=far\n"
        f"To: <sip:alice@home>;tag={tag}\nCall-ID: {call.invite.call_id}\nCSeq: 1 BYE\nMax-Forwards: 70\n\n",
    )
    call.net.run(0.1)
    assert call.kinds == [Answered, Ended]
    call.finish()


@pytest.mark.parametrize("status", [401, 407])
def test_a_challenge_is_answered_with_the_trunks_credentials(status):
    call = Call(trunk="pbx")
    users = Users(ms=make_credentials("ms", "pbx", "pw-ms"))
    server = Authenticator("pbx", users, entropy=entropy_from(7))
    challenges = server.check("INVITE", [], source="x", now_ns=1).challenges
    name = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"
    call.answer(status, headers=[(name, c) for c in challenges])
    again = call.peer.take("INVITE")
    assert (again.cseq.number, again.call_id) == (call.invite.cseq.number + 1, call.invite.call_id)
    assert again.from_.tag == call.invite.from_.tag
    line = again.headers.get("Authorization" if status == 401 else "Proxy-Authorization")
    assert digest.parse_answer(line).algorithm == "SHA-256"
    assert server.check("INVITE", [line], source="x", now_ns=2).verdict is Verdict.ACCEPTED
    call.peer.answer(again, 200, sdp=SDP_B)
    call.net.run(0.05)
    ack = call.peer.inbox[-1]
    assert ack.headers.get("Authorization") or ack.headers.get("Proxy-Authorization")
    call.session.hang_up()
    call.net.run(0.05)
    bye = call.peer.take("BYE")
    line = bye.headers.get("Authorization") or bye.headers.get("Proxy-Authorization")
    assert server.check("BYE", [line], source="x", now_ns=3).verdict is Verdict.ACCEPTED
    call.peer.answer(bye, 200)
    call.finish()


def test_wrong_credentials_are_tried_once():
    call = Call(trunk="pbx")
    challenge = digest.Challenge("pbx", "n1", "MD5").encode()
    call.answer(401, headers=[("WWW-Authenticate", challenge)])
    again = call.peer.take("INVITE")
    call.peer.answer(again, 401, headers=[("WWW-Authenticate", digest.Challenge("pbx", "n2", "MD5").encode())])
    call.net.run(0.05)
    assert call.kinds == [Failed, Ended]
    assert call.events[0].status == 401
    call.finish()


def test_a_peer_that_challenges_without_end_is_given_up():
    call = Call(trunk="pbx")
    invite, tries = call.invite, 1
    while True:
        stale = digest.Challenge("pbx", f"n{tries}", "MD5", stale=True).encode()
        call.peer.answer(invite, 401, headers=[("WWW-Authenticate", stale)])
        call.net.run(0.05)
        if not call.peer.has("INVITE"):
            break
        invite, tries = call.peer.take("INVITE"), tries + 1
    assert tries == 4
    assert call.kinds == [Failed, Ended]


def test_without_credentials_a_challenge_is_a_refusal():
    call = Call()
    call.answer(407, headers=[("Proxy-Authenticate", digest.Challenge("x", "n", "MD5").encode())])
    assert call.events[0].status == 407


def test_a_trunk_gets_number_domain_and_asserted_identity():
    net = Network()
    site = Site(net, OURS, settings=TRUSTED)
    peer = Script(net, THEIRS)
    site.call("+4930123", trunk="pbx", caller_user="alice")
    net.run(0.05)
    invite = peer.take("INVITE")
    assert invite.uri == "sip:+4930123@192.0.2.7"
    assert str(invite.from_.uri) == "sip:alice@192.0.2.7"
    assert invite.headers.get("P-Asserted-Identity") == "<sip:alice@192.0.2.7>"


@pytest.mark.parametrize(
    ("target", "trunk", "status"),
    [("tel:+49", None, 416), ("alice nowhere", None, 480), ("600", "none", 404), ("::::", None, 400)],
)
def test_a_target_that_leads_nowhere_fails_without_raising(target, trunk, status):
    net = Network()
    site = Site(net, OURS, settings=TRUSTED)
    session = site.call(target, trunk=trunk)
    assert site.ua.local_host_for(target, trunk) == "192.0.2.1"
    net.run(0.1)
    failed, ended = site.room.events[session]
    assert failed.status == status
    assert isinstance(ended, Ended)
    assert site.leaks() == NO_LEAKS


def test_events_wait_until_the_room_listens_and_never_come_inside_its_own_calls():
    net = Network()
    site = Site(net, OURS, settings=TRUSTED)
    session = site.ua.invite("tel:1", sdp=SDP_A, caller_user="a")
    heard = []
    session.on_event = heard.append
    session.hang_up()
    assert heard == []
    site.ua.poll()
    assert [type(e) for e in heard] == [Failed, Ended]


def test_a_closed_connection_does_not_end_a_call():
    call = Call().established()
    call.site.ua.flow_closed(call.session.dialog.flow, call.net.now)
    call.net.run(0.05)
    assert call.kinds == [Answered]
    call.session.hang_up()
    call.net.run(0.05)
    call.finish()
