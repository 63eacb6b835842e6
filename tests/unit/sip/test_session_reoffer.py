"""Offers inside a call, both ways at once included; blind transfer. RFC 3261 §14, RFC 3311, RFC 3515."""

from __future__ import annotations

import pytest

from mediaserver.sip.machines import T1_NS
from mediaserver.sip.session import (
    Confirmed,
    Ended,
    ReferProgress,
    ReferReceived,
    Reoffer,
    ReofferAnswered,
    ReofferFailed,
)
from tests.support.sip_calls import OURS, IncomingCall, OutgoingCall
from tests.support.sip_net import MS, NO_LEAKS, SDP_A, SDP_B, S

HOLD = SDP_A + b"a=sendonly\r\n"


@pytest.fixture
def incoming() -> IncomingCall:
    return IncomingCall().established()


@pytest.fixture
def outgoing() -> OutgoingCall:
    return OutgoingCall().established()


def reply(call, request, status, **more) -> None:
    call.peer.answer(request, status, **more)
    call.net.run(0.05)


def reoffer(call, sdp: bytes | None = HOLD):
    call.session.reinvite(sdp)
    call.net.run(0.05)
    return call.peer.take("INVITE")


# -- ours


def test_our_reinvite_is_answered_and_acknowledged(outgoing):
    invite = reoffer(outgoing)
    assert (invite.body, invite.to.tag) == (HOLD, "far")
    reply(outgoing, invite, 100)
    reply(outgoing, invite, 200, sdp=SDP_B)
    assert outgoing.events[-1] == ReofferAnswered(SDP_B)
    assert outgoing.peer.take("ACK").cseq.number == invite.cseq.number
    reply(outgoing, invite, 200, sdp=SDP_B)
    assert outgoing.peer.take("ACK").cseq.number == invite.cseq.number
    assert outgoing.kinds.count(ReofferAnswered) == 1


def test_our_reinvites_go_one_after_the_other(outgoing):
    first = reoffer(outgoing)
    outgoing.session.reinvite(SDP_A)
    outgoing.net.run(0.1)
    assert not outgoing.peer.has("INVITE")
    reply(outgoing, first, 200, sdp=SDP_B)
    assert outgoing.peer.take("INVITE").body == SDP_A


def test_a_reinvite_before_the_ack_of_an_incoming_call_waits_for_it():
    call = IncomingCall()
    call.session.accept(SDP_B)
    call.session.reinvite(HOLD)
    call.net.run(0.1)
    assert not call.peer.has("INVITE")
    call.send("ACK", 1)
    assert call.peer.take("INVITE").body == HOLD


def test_our_reinvite_without_sdp_asks_for_an_offer_and_the_room_answers_it(outgoing):
    invite = reoffer(outgoing, None)
    assert invite.body == b""
    reply(outgoing, invite, 200, sdp=SDP_B)
    reply(outgoing, invite, 200, sdp=SDP_B)
    assert outgoing.events[-1] == ReofferAnswered(SDP_B)
    assert not outgoing.peer.has("ACK")
    outgoing.session.send_answer(SDP_A)
    outgoing.net.run(0.05)
    assert outgoing.peer.take("ACK").body == SDP_A


@pytest.mark.parametrize("status", [488, 500, 603])
def test_a_refused_reinvite_leaves_the_call_as_it_was(outgoing, status):
    reply(outgoing, reoffer(outgoing), status)
    assert outgoing.events[-1] == ReofferFailed(status, outgoing.events[-1].reason)
    assert outgoing.session.confirmed
    assert reoffer(outgoing)


@pytest.mark.parametrize("status", [408, 481])
def test_a_reinvite_that_meets_a_lost_dialog_ends_the_call(outgoing, status):
    reply(outgoing, reoffer(outgoing), status)
    assert outgoing.kinds[-2:] == [ReofferFailed, Ended]
    outgoing.finish()


def test_a_reinvite_nobody_answers_ends_the_call_after_64_times_t1(outgoing):
    reoffer(outgoing)
    outgoing.net.run(33)
    assert outgoing.kinds[-2:] == [ReofferFailed, Ended]
    outgoing.finish()


def test_a_reinvite_that_only_gets_trying_is_cancelled_after_64_times_t1(outgoing):
    outgoing.session.reinvite(HOLD)
    begun_ns = outgoing.net.now
    outgoing.net.run(0.05)
    reply(outgoing, outgoing.peer.take("INVITE"), 100)
    outgoing.net.run_until(begun_ns + 64 * T1_NS - 1)
    assert not outgoing.net.sent(OURS, "CANCEL")
    outgoing.net.run_until(begun_ns + 64 * T1_NS)
    assert outgoing.net.sent(OURS, "CANCEL")
    outgoing.net.run(40)
    assert outgoing.kinds[-2:] == [ReofferFailed, Ended]


@pytest.mark.parametrize("silence", ["nothing at all", "only a 100"])
def test_an_optional_offer_that_is_never_answered_does_not_end_the_dialog(outgoing, silence):
    outgoing.session.reinvite(HOLD, optional=True)
    outgoing.net.run(0.05)
    if silence == "only a 100":
        reply(outgoing, outgoing.peer.take("INVITE"), 100)
    outgoing.net.run(100)
    assert outgoing.kinds[-1] is ReofferFailed
    assert Ended not in outgoing.kinds
    while outgoing.peer.has("INVITE"):
        outgoing.peer.take("INVITE")
    again = reoffer(outgoing)  # and the next offer is not stuck behind it
    reply(outgoing, again, 200, sdp=SDP_B)
    assert outgoing.events[-1] == ReofferAnswered(SDP_B)


def test_a_dialog_that_the_peer_does_not_know_ends_by_an_optional_offer_too(outgoing):
    outgoing.session.reinvite(HOLD, optional=True)
    outgoing.net.run(0.05)
    reply(outgoing, outgoing.peer.take("INVITE"), 481)
    assert outgoing.kinds[-1] is Ended


@pytest.mark.parametrize(("make", "least_ms", "most_ms"), [(OutgoingCall, 2100, 4000), (IncomingCall, 0, 2000)])
def test_glare_is_retried_by_the_clock_of_rfc_3261_14_1(make, least_ms, most_ms):
    call = make().established()
    reply(call, reoffer(call), 491)
    refused_ns = call.net.now
    call.net.run_until(refused_ns + max(0, least_ms - 60) * MS - 1)
    if least_ms:
        assert not call.peer.has("INVITE")
    call.net.run_until(refused_ns + (most_ms + 60) * MS)
    again = call.peer.take("INVITE")
    assert again.body == HOLD
    reply(call, again, 200, sdp=SDP_B)
    assert call.events[-1] == ReofferAnswered(SDP_B)


def test_glare_without_end_is_reported_in_the_end(outgoing):
    outgoing.session.reinvite(HOLD)
    for _ in range(6):
        while not outgoing.peer.has("INVITE"):
            outgoing.net.run(0.05)
        reply(outgoing, outgoing.peer.take("INVITE"), 491)
    outgoing.net.run(5)
    assert outgoing.events[-1].status == 491
    assert not outgoing.peer.has("INVITE")


def test_hanging_up_while_a_reinvite_is_open_leaves_nothing(outgoing):
    invite = reoffer(outgoing, None)
    outgoing.session.hang_up()
    reply(outgoing, invite, 200, sdp=SDP_B)
    assert outgoing.peer.has("ACK")
    assert outgoing.kinds[-1] is Ended
    outgoing.finish()


def test_hanging_up_while_a_reinvite_has_only_had_trying_cancels_it(outgoing):
    reply(outgoing, reoffer(outgoing), 100)
    outgoing.session.hang_up()
    outgoing.net.run(0.05)
    assert [m.method for m in outgoing.peer.inbox] == ["CANCEL", "BYE"]
    outgoing.finish()


def test_too_many_offers_at_once_are_refused_not_kept(outgoing):
    for _ in range(30):
        outgoing.session.reinvite(HOLD)
    outgoing.net.run(0.05)
    assert outgoing.kinds.count(ReofferFailed) == 13  # one under way, 16 waiting


# -- the peer's


def test_the_peers_reinvite_moves_the_target(incoming):
    incoming.send("INVITE", 2, "Contact: <sip:bob@192.0.2.7:7777>", body=HOLD)
    assert incoming.events[-1] == Reoffer(HOLD)
    incoming.session.answer_reoffer(SDP_B)
    incoming.net.run(0.05)
    incoming.send("ACK", 2)
    assert [type(e) for e in incoming.events] == [Confirmed, Reoffer]
    assert incoming.session.dialog.remote_target == "sip:bob@192.0.2.7:7777"


def test_a_refused_reinvite_of_the_peer_changes_nothing(incoming):
    incoming.send("INVITE", 2, body=HOLD)
    incoming.session.reject_reoffer(488)
    incoming.session.answer_reoffer(SDP_B)
    incoming.net.run(0.05)
    assert incoming.peer.has("SIP/2.0 488")
    assert not incoming.peer.has("SIP/2.0 200")


def test_a_reinvite_without_sdp_asks_us_to_offer_and_the_ack_brings_the_answer(incoming):
    incoming.send("INVITE", 2)
    assert incoming.events[-1] == Reoffer(None)
    incoming.session.answer_reoffer(SDP_B)
    incoming.net.run(0.05)
    assert incoming.peer.take("SIP/2.0 200").body == SDP_B
    incoming.send("UPDATE", 3, body=HOLD)  # RFC 5407 §3.1.4: our offer still waits for its answer
    assert incoming.peer.has("SIP/2.0 491")
    incoming.send("ACK", 2, body=SDP_A)
    assert incoming.events[-1] == Confirmed(SDP_A)


def test_our_answer_to_a_reinvite_that_is_never_acknowledged_ends_the_call(incoming):
    incoming.send("INVITE", 2, body=HOLD)
    incoming.session.answer_reoffer(SDP_B)
    incoming.net.run(33)
    assert incoming.events[-1] == Ended(True, "no ACK")
    assert incoming.net.sent(OURS, "BYE")


def test_update_offers_like_a_reinvite_and_needs_no_ack(incoming):
    incoming.send("UPDATE", 2, body=HOLD)
    assert incoming.events[-1] == Reoffer(HOLD)
    incoming.session.answer_reoffer(SDP_B)
    incoming.net.run(0.05)
    assert incoming.peer.take("SIP/2.0 200").body == SDP_B
    incoming.session.reinvite(SDP_A)
    incoming.net.run(0.05)
    assert incoming.peer.has("INVITE")


def test_update_without_sdp_refreshes_the_target_alone(incoming):
    incoming.send("UPDATE", 2)
    assert incoming.peer.has("SIP/2.0 200")
    assert [type(e) for e in incoming.events] == [Confirmed]


def test_an_update_before_our_first_answer_is_told_to_come_later():
    call = IncomingCall()
    call.send("UPDATE", 2, body=HOLD)
    refusal = call.peer.take("SIP/2.0 500")
    assert 0 <= int(refusal.headers.get("Retry-After")) <= 10


def test_an_offer_while_ours_is_open_meets_491(incoming):
    reoffer(incoming)
    incoming.send("INVITE", 2, body=HOLD)
    assert incoming.peer.has("SIP/2.0 491")
    assert [type(e) for e in incoming.events] == [Confirmed]


def test_a_second_offer_while_the_first_waits_for_the_room_meets_500(incoming):
    incoming.send("INVITE", 2, body=HOLD)
    incoming.send("INVITE", 3, body=HOLD)
    assert "Retry-After" in incoming.peer.take("SIP/2.0 500").headers


def test_our_offer_waits_while_the_peers_is_open(incoming):
    incoming.send("INVITE", 2, body=HOLD)
    incoming.session.reinvite(SDP_A)
    incoming.net.run(0.05)
    incoming.session.answer_reoffer(SDP_B)
    incoming.net.run(0.05)
    assert not incoming.peer.has("INVITE")
    incoming.send("ACK", 2)
    assert incoming.peer.take("INVITE").body == SDP_A


def test_a_reinvite_the_peer_cancels_gets_487_and_the_call_goes_on(incoming):
    incoming.send("INVITE", 2, body=HOLD)
    incoming.send("CANCEL", 2, branch="INVITE2")
    assert incoming.peer.has("SIP/2.0 487")
    incoming.session.answer_reoffer(SDP_B)
    assert incoming.session.confirmed
    assert reoffer(incoming)


def test_a_bye_answers_the_open_reinvite_with_487(incoming):
    incoming.send("INVITE", 2, body=HOLD)
    incoming.send("BYE", 3)
    assert incoming.peer.has("SIP/2.0 487")
    assert incoming.events[-1] == Ended(False, "")


def test_a_body_that_is_no_sdp_meets_415(incoming):
    incoming.send("INVITE", 2, "Content-Type: text/html", body=b"<p>\r\n")
    assert incoming.peer.take("SIP/2.0 415").headers.get("Accept") == "application/sdp"


# -- INFO of ours


def test_our_infos_go_in_order_one_at_a_time(incoming):
    for digit in b"123":
        incoming.session.send_info("application/dtmf-relay", b"Signal=%c\r\n" % digit)
    for digit in b"123":
        incoming.net.run(0.05)
        info = incoming.peer.take("INFO")
        assert info.body == b"Signal=%c\r\n" % digit
        assert not incoming.peer.has("INFO")
        reply(incoming, info, 200)


def test_an_info_that_meets_481_ends_the_call(incoming):
    incoming.session.send_info("a/b", b"x")
    incoming.net.run(0.05)
    reply(incoming, incoming.peer.take("INFO"), 481)
    assert isinstance(incoming.events[-1], Ended)


def test_an_info_nobody_answers_ends_the_call(incoming):
    incoming.session.send_info("a/b", b"x")
    incoming.net.run(33)
    assert isinstance(incoming.events[-1], Ended)


# -- blind transfer


def sipfrag(text: str, state: str = "active;expires=60") -> tuple[tuple[str, ...], bytes]:
    lines = ("Event: refer", f"Subscription-State: {state}", "Content-Type: message/sipfrag;version=2.0")
    return lines, text.encode() + b"\r\n"


def test_a_transfer_the_peer_asks_for_is_accepted_and_reported_to_its_end(incoming):
    incoming.send("REFER", 2, "Refer-To: <sip:700@192.0.2.1?Subject=x>", "Referred-By: <sip:bob@pbx>")
    assert incoming.peer.has("SIP/2.0 202")
    assert incoming.events[-1] == ReferReceived("sip:700@192.0.2.1?Subject=x", "sip:bob@pbx")
    assert "700" not in repr(incoming.events[-1])
    first = incoming.peer.take("NOTIFY")
    assert first.body == b"SIP/2.0 100 Trying\r\n"
    assert first.headers.get("Event") == "refer"
    assert first.headers.get("Subscription-State").startswith("active;expires=")
    incoming.session.notify_refer(180)
    incoming.session.notify_refer(200)
    incoming.session.notify_refer(200)
    reply(incoming, first, 200)
    second = incoming.peer.take("NOTIFY")
    assert second.body == b"SIP/2.0 180 Ringing\r\n"
    reply(incoming, second, 200)
    last = incoming.peer.take("NOTIFY")
    assert last.body == b"SIP/2.0 200 OK\r\n"
    assert last.headers.get("Subscription-State") == "terminated;reason=noresource"
    reply(incoming, last, 200)
    assert not incoming.peer.has("NOTIFY")
    assert incoming.session.confirmed


def test_a_transfer_of_nobody_is_refused_at_once_and_leaves_no_subscription(incoming):
    incoming.session.may_refer = lambda: False
    incoming.send("REFER", 2, "Refer-To: <sip:700@192.0.2.1>")
    assert incoming.peer.has("SIP/2.0 603")
    assert not any(isinstance(event, ReferReceived) for event in incoming.events)
    assert not incoming.peer.has("NOTIFY")
    incoming.send("REFER", 3, "Refer-To: <sip:700@192.0.2.1?Replaces=x%3Bto-tag%3D1%3Bfrom-tag%3D2>")
    assert incoming.peer.has("SIP/2.0 202")  # its other call may have somebody to come here
    assert incoming.peer.take("NOTIFY").headers.get("Event") == "refer"
    assert incoming.session.confirmed


def test_a_second_transfer_waits_its_turn_and_names_itself(incoming):
    incoming.send("REFER", 2, "Refer-To: <sip:700@h>")
    incoming.send("REFER", 3, "Refer-To: <sip:701@h>")
    assert incoming.peer.has("SIP/2.0 491")
    incoming.session.notify_refer(486)
    for _ in range(2):
        reply(incoming, incoming.peer.take("NOTIFY"), 200)
    incoming.send("REFER", 4, "Refer-To: <sip:702@h>")
    assert incoming.peer.take("NOTIFY").headers.get("Event") == "refer;id=4"


@pytest.mark.parametrize("lines", [(), ("Refer-To: <sip:a@h>", "Refer-To: <sip:b@h>"), ("Refer-To: <<",)])
def test_a_refer_without_one_readable_target_is_a_bad_request(incoming, lines):
    incoming.send("REFER", 2, *lines)
    assert incoming.peer.has("SIP/2.0 400")


def test_a_peer_that_does_not_want_to_hear_of_its_transfer_keeps_the_call(incoming):
    incoming.send("REFER", 2, "Refer-To: <sip:700@h>")
    reply(incoming, incoming.peer.take("NOTIFY"), 481)
    incoming.session.notify_refer(200)
    incoming.net.run(0.05)
    assert not incoming.peer.has("NOTIFY")
    assert incoming.session.confirmed


def test_the_last_report_leaves_before_the_bye(incoming):
    incoming.send("REFER", 2, "Refer-To: <sip:700@h>")
    incoming.session.notify_refer(200)
    incoming.session.hang_up()
    incoming.net.run(0.05)
    assert [m.method for m in incoming.peer.inbox if hasattr(m, "method")] == ["NOTIFY", "NOTIFY", "BYE"]


@pytest.mark.parametrize(("past_ns", "told"), [(-1, False), (0, True)])
def test_a_transfer_without_end_is_reported_as_timed_out(incoming, past_ns, told):
    incoming.peer.send(OURS, incoming.message("REFER", 2, "Refer-To: <sip:700@h>"))
    incoming.net.run(0.01)
    begun_ns = incoming.net.now
    incoming.net.run(0.02)
    reply(incoming, incoming.peer.take("NOTIFY"), 200)
    incoming.net.run_until(begun_ns + 180 * S + past_ns)
    assert bool([m for m in incoming.net.sent(OURS, "NOTIFY") if b"408" in m.body]) is told


def test_a_transfer_we_ask_for_is_told_as_the_peer_reports_it(incoming):
    incoming.session.refer("sip:bob@192.0.2.9", "sip:600@home")
    incoming.net.run(0.05)
    refer = incoming.peer.take("REFER")
    assert refer.headers.get("Refer-To") == "<sip:bob@192.0.2.9>"
    assert refer.headers.get("Referred-By") == "<sip:600@home>"
    reply(incoming, refer, 202)
    for cseq, (text, state) in enumerate((("SIP/2.0 100 Trying", "active"), ("SIP/2.0 200 OK", "terminated")), start=2):
        lines, body = sipfrag(text, state)
        incoming.send("NOTIFY", cseq, *lines, body=body)
    assert incoming.events[1:] == [ReferProgress(100), ReferProgress(200)]
    lines, body = sipfrag("SIP/2.0 200 OK")
    incoming.send("NOTIFY", 9, *lines, body=body)
    assert incoming.peer.has("SIP/2.0 481")


def test_a_notify_that_overtakes_the_202_is_understood(incoming):
    incoming.session.refer("sip:bob@192.0.2.9")
    incoming.net.run(0.05)
    lines, body = sipfrag("SIP/2.0 100 Trying")
    incoming.send("NOTIFY", 2, *lines, body=body)
    assert incoming.events[-1] == ReferProgress(100)


def test_a_refused_transfer_is_told_and_the_call_goes_on(incoming):
    incoming.session.refer("sip:bob@192.0.2.9")
    incoming.net.run(0.05)
    reply(incoming, incoming.peer.take("REFER"), 603)
    assert incoming.events[-1] == ReferProgress(603)
    assert incoming.session.confirmed


def test_reports_that_stop_without_a_word_count_as_failure(incoming):
    incoming.session.refer("sip:bob@192.0.2.9")
    incoming.net.run(0.05)
    reply(incoming, incoming.peer.take("REFER"), 202)
    incoming.send("NOTIFY", 2, "Event: refer", "Subscription-State: terminated;reason=timeout")
    assert incoming.events[-1] == ReferProgress(503)


def test_a_transfer_target_cannot_smuggle_headers(incoming):
    incoming.session.refer("sip:a@b>\r\nX-Evil: 1")
    incoming.net.run(0.05)
    assert incoming.events[-1] == ReferProgress(400)
    assert not incoming.peer.has("REFER")


def test_everything_at_once_leaves_nothing(incoming):
    incoming.send("REFER", 2, "Refer-To: <sip:700@h>")
    incoming.session.refer("sip:x@y")
    incoming.session.reinvite(HOLD)
    incoming.session.send_info("a/b", b"c")
    incoming.send("INVITE", 3, body=HOLD)
    incoming.session.hang_up()
    incoming.net.run(300)
    assert isinstance(incoming.events[-1], Ended)
    assert incoming.site.leaks() == NO_LEAKS
