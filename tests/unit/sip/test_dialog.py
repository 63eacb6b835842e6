"""Dialogs: what makes one, how requests inside are built and where they go. RFC 3261 §12."""

from __future__ import annotations

import pytest

from mediaserver.errors import ParseError
from mediaserver.sip.dialog import Dialog, DialogId, flow_to, id_of_request, id_of_response
from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Request
from mediaserver.sip.parser import parse_message
from mediaserver.sip.uri import parse_uri

PHONE = Flow("udp", "192.0.2.7", 5062, 0, "192.0.2.1", 5060)


def message(start: str, *lines: str):
    return parse_message("\r\n".join((start, *lines, "", "")).encode())


def invite(*lines: str, contact: str = "<sip:bob@192.0.2.7:5062>") -> Request:
    return message(
        "INVITE sip:600@192.0.2.1 SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bK1",
        'From: "Bob" <sip:bob@home>;tag=theirs',
        "To: <sip:600@home>",
        "Call-ID: c1",
        "CSeq: 7 INVITE",
        f"Contact: {contact}",
        *lines,
    )


def served(*lines: str, contact: str = "<sip:bob@192.0.2.7:5062>", flow: Flow = PHONE) -> Dialog:
    return Dialog.of_server(invite(*lines, contact=contact), "ours", flow)


def in_dialog(cseq: int, method: str = "INFO", *lines: str) -> Request:
    return message(
        f"{method} sip:600@192.0.2.1 SIP/2.0",
        "Via: SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bK2",
        "From: <sip:bob@home>;tag=theirs",
        "To: <sip:600@home>;tag=ours",
        "Call-ID: c1",
        f"CSeq: {cseq} {method}",
        *lines,
    )


def called(*lines: str, status: int = 200, flow: Flow = PHONE) -> Dialog:
    request = invite()
    response = message(
        f"SIP/2.0 {status} OK",
        "Via: SIP/2.0/UDP 192.0.2.7:5062;branch=z9hG4bK1",
        'From: "Bob" <sip:bob@home>;tag=theirs',
        "To: <sip:600@home>;tag=far",
        "Call-ID: c1",
        "CSeq: 7 INVITE",
        *lines,
    )
    assert id_of_response(response) == DialogId("c1", "theirs", "far")
    return Dialog.of_client(request, response, flow)


def test_a_request_finds_the_dialog_its_invite_made():
    assert id_of_request(in_dialog(8)) == served().id == DialogId("c1", "ours", "theirs")


def test_the_callee_speaks_from_its_to_and_to_the_callers_from():
    bye = served().request("BYE")
    assert bye.uri == "sip:bob@192.0.2.7:5062"
    assert str(bye.from_) == "<sip:600@home>;tag=ours"
    assert str(bye.to) == '"Bob" <sip:bob@home>;tag=theirs'
    assert (bye.call_id, bye.cseq.number, bye.cseq.method) == ("c1", 1, "BYE")
    assert bye.headers.get("Max-Forwards") == "70"
    assert bye.routes == []


def test_the_callers_cseq_goes_on_from_its_invite():
    dialog = called("Contact: <sip:600@192.0.2.9>")
    assert [dialog.request("INFO").cseq.number for _ in range(3)] == [8, 9, 10]
    assert dialog.request("ACK", cseq=7).cseq.number == 7
    assert dialog.local_cseq == 10


def test_the_route_set_is_kept_in_order_by_the_callee_and_reversed_by_the_caller():
    recorded = ("Record-Route: <sip:p1;lr>, <sip:p2;lr>", "Record-Route: <sip:p3;lr>")
    contact = ("Contact: <sip:600@192.0.2.9>",)
    assert served(*recorded).route_set == ("<sip:p1;lr>", "<sip:p2;lr>", "<sip:p3;lr>")
    assert called(*recorded, *contact).route_set == ("<sip:p3;lr>", "<sip:p2;lr>", "<sip:p1;lr>")


def test_a_loose_route_goes_in_front_and_the_target_stays_the_request_uri():
    dialog = served("Record-Route: <sip:p1.example;lr>, <sip:p2.example;lr>")
    bye = dialog.request("BYE")
    assert bye.uri == "sip:bob@192.0.2.7:5062"
    assert [str(r) for r in bye.routes] == ["<sip:p1.example;lr>", "<sip:p2.example;lr>"]
    assert dialog.next_hop() == Flow("udp", "p1.example", 5060)


def test_a_strict_router_gets_itself_as_request_uri_and_the_target_last():
    bye = served("Record-Route: <sip:p1.example>, <sip:p2.example;lr>").request("BYE")
    assert bye.uri == "sip:p1.example"
    assert [str(r) for r in bye.routes] == ["<sip:p2.example;lr>", "<sip:bob@192.0.2.7:5062>"]


def test_the_2xx_takes_the_route_set_anew_over_that_of_the_18x():
    dialog = called("Record-Route: <sip:early;lr>", "Contact: <sip:a@192.0.2.9>", status=180)
    assert not dialog.confirmed
    dialog.confirm(
        message(
            "SIP/2.0 200 OK",
            "To: <sip:600@home>;tag=far",
            "Record-Route: <sip:p1;lr>",
            "Contact: <sip:b@192.0.2.10>",
        )
    )
    assert (dialog.route_set, dialog.remote_target, dialog.confirmed) == (("<sip:p1;lr>",), "sip:b@192.0.2.10", True)


def test_target_refresh_moves_the_target_and_nothing_else():
    dialog = served("Record-Route: <sip:p1;lr>")
    dialog.refresh_target(in_dialog(8, "INVITE", "Contact: <sip:bob@192.0.2.77>", "Record-Route: <sip:p9;lr>"))
    assert dialog.remote_target == "sip:bob@192.0.2.77"
    assert dialog.route_set == ("<sip:p1;lr>",)
    dialog.refresh_target(in_dialog(9, "INVITE", "Contact: <<<"))
    dialog.refresh_target(in_dialog(10, "INVITE"))
    assert dialog.remote_target == "sip:bob@192.0.2.77"


def test_a_lower_cseq_is_out_of_order_and_leaves_the_count():
    dialog = served()
    assert dialog.in_order(in_dialog(9))
    assert not dialog.in_order(in_dialog(8))
    assert dialog.in_order(in_dialog(9))
    assert dialog.in_order(in_dialog(100))
    assert dialog.remote_cseq == 100


def test_an_invite_without_a_usable_contact_makes_no_dialog():
    for contact in ("<tel:600>", "<<", "*"):
        with pytest.raises(ParseError):
            served(contact=contact)


def test_a_phone_that_forgets_its_contact_in_18x_is_reached_by_the_request_uri():
    assert called(status=180).remote_target == "sip:600@192.0.2.1"
    assert called("Contact: <<").remote_target == "sip:600@192.0.2.1"


@pytest.mark.parametrize(
    ("contact", "source", "expected"),
    [
        ("sip:bob@192.0.2.7:5062", ("192.0.2.7", 5062), ("192.0.2.7", 5062)),
        ("sip:bob@192.0.2.7", ("192.0.2.7", 40000), ("192.0.2.7", 5060)),  # sends from another port than it listens on
        ("sip:bob@10.0.0.5:5060", ("203.0.113.9", 40000), ("203.0.113.9", 40000)),  # NAT
        ("sip:x@k3j.invalid;transport=udp", ("203.0.113.9", 40000), ("203.0.113.9", 40000)),  # browser
        ("sip:bob@8.8.8.8:5070", ("203.0.113.9", 5060), ("8.8.8.8", 5070)),  # a carrier's other host
    ],
)
def test_without_routes_requests_follow_the_contact_unless_it_cannot_be_reached(contact, source, expected):
    flow = Flow("udp", *source, 0, "192.0.2.1", 5060)
    assert served(contact=f"<{contact}>", flow=flow).next_hop().remote == expected


def test_a_connection_is_used_again_whatever_port_the_contact_names():
    flow = Flow("tcp", "192.0.2.7", 51234, 9)
    assert served(contact="<sip:bob@192.0.2.7:5060;transport=tcp>", flow=flow).next_hop() == flow


def test_a_closed_connection_is_opened_anew_to_the_contact():
    flow = Flow("tcp", "192.0.2.7", 51234, 0)
    hop = served(contact="<sip:bob@192.0.2.7:5070;transport=tcp>", flow=flow).next_hop()
    assert (hop.transport, hop.remote, hop.connection) == ("tcp", ("192.0.2.7", 5070), 0)


def test_flows_are_made_of_uris():
    assert flow_to(parse_uri("sip:pbx1")) == Flow("udp", "pbx1", 5060)
    assert flow_to(parse_uri("sips:pbx1")) == Flow("tls", "pbx1", 5061)
    assert flow_to(parse_uri("sip:a@pbx1:5080;transport=tcp;maddr=192.0.2.3")) == Flow("tcp", "192.0.2.3", 5080)
    with pytest.raises(ParseError):
        flow_to(parse_uri("tel:600"))


def test_no_number_shows_in_the_repr():
    dialog = served()
    assert "bob" not in repr(dialog)
    assert "Bob" not in repr(dialog)
