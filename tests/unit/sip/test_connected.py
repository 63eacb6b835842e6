"""Whom a peer talks to now: an UPDATE with P-Asserted-Identity, and another From where it takes that (RFC 4916)."""

from __future__ import annotations

import pytest

from mediaserver.sip.message import Request
from tests.support.sip_calls import IncomingCall, OutgoingCall
from tests.support.sip_net import SDP_B

ALLOWS = "Allow: INVITE, ACK, BYE, UPDATE"


def called(*lines: str) -> IncomingCall:
    call = IncomingCall(lines=lines).established()
    call.session.identify("carol", 'Carol "C."')
    call.net.run(0.05)
    return call


def test_a_peer_that_allows_update_is_told_by_an_asserted_identity() -> None:
    call = called(ALLOWS)
    update = call.peer.take("UPDATE")
    assert isinstance(update, Request)
    assert update.headers.get("P-Asserted-Identity") == '"Carol \\"C.\\"" <sip:carol@192.0.2.1>'
    assert (update.body, update.from_.uri.username) == (b"", "600")
    call.peer.answer(update, 200)
    call.net.run(0.05)
    assert not call.session.ended


def test_from_changes_for_those_who_take_it_and_keeps_its_tag() -> None:
    call = called(ALLOWS, "Supported: from-change")
    update = call.peer.take("UPDATE")
    assert (update.from_.uri.username, update.from_.display) == ("carol", 'Carol "C."')
    assert update.from_.tag == call.session.dialog.local.tag
    call.peer.answer(update, 200)
    call.net.run(0.05)
    call.session.hang_up()
    call.net.run(0.05)
    assert call.peer.take("BYE").from_.uri.username == "carol"


def test_who_does_not_allow_update_is_not_bothered() -> None:
    assert not called("Allow: INVITE, ACK, BYE").peer.has("UPDATE")
    assert not called().peer.has("UPDATE")


def test_what_a_phone_that_was_called_can_do_its_answer_says() -> None:
    call = OutgoingCall()
    call.session.identify("carol")  # nobody has answered yet
    call.answer(200, headers=(("Allow", "INVITE, UPDATE"),), sdp=SDP_B)
    call.net.run(0.05)
    assert not call.peer.has("UPDATE")
    call.session.identify("carol")
    call.net.run(0.05)
    assert str(call.peer.take("UPDATE").headers.get("P-Asserted-Identity")).startswith("<sip:carol@")


@pytest.mark.parametrize(("status", "ended"), [(405, False), (500, False), (481, True)])
def test_a_refusal_changes_nothing_but_where_the_dialog_is_gone(status: int, ended: bool) -> None:
    call = called(ALLOWS)
    call.peer.answer(call.peer.take("UPDATE"), status)
    call.net.run(0.05)
    assert call.session.ended == ended


def test_names_cannot_smuggle_headers_in() -> None:
    call = IncomingCall(lines=(ALLOWS,)).established()
    call.session.identify("a@evil>\r\nX-Bad: 1", "b\r\nX-Worse: 1")
    call.net.run(0.05)
    update = call.peer.take("UPDATE")
    assert "X-Bad" not in update.headers
    assert "X-Worse" not in update.headers
    assert str(update.headers.get("P-Asserted-Identity")).endswith("@192.0.2.1>")
