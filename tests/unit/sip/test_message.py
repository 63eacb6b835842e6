"""sip.message: headers, structured properties, responses and exact writing (RFC 3261 §7, §8.2.6)."""

import pytest

from mediaserver.errors import ParseError
from mediaserver.limits import SIP_HEADER_VALUES_MAX
from mediaserver.sip.message import Headers, Request, Response, header_name
from mediaserver.sip.parser import parse_message


def an_invite() -> Request:
    headers = Headers(
        [
            ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1, SIP/2.0/UDP 192.0.2.2;branch=z9hG4bK2"),
            ("Via", "SIP/2.0/TCP 192.0.2.3;branch=z9hG4bK3"),
            ("Max-Forwards", "70"),
            ("From", '"Anna" <sip:anna@pbx>;tag=f1'),
            ("To", "<sip:600@pbx>"),
            ("Call-ID", "c1@phone"),
            ("CSeq", "7 INVITE"),
            ("Contact", '"a, b" <sip:anna@192.0.2.1>, <sip:anna@192.0.2.9>;q=0.5'),
            ("Timestamp", "54"),
            ("Content-Type", "Application/SDP; charset=utf-8"),
        ]
    )
    return Request(method="INVITE", uri="sip:600@pbx", headers=headers, body=b"v=0\r\n")


def test_names_are_compared_without_case_and_compact_forms_are_their_long_names() -> None:
    headers = Headers([("i", "1"), ("CALL-id", "2"), ("X-Own", "3"), ("F", "4")])
    assert headers.all("Call-ID") == ["1", "2"]
    assert headers.get("I") == "1"
    assert headers.get("x-own") == "3"
    assert "from" in headers
    assert "To" not in headers
    assert 7 not in headers
    assert list(headers.items()) == [("Call-ID", "1"), ("Call-ID", "2"), ("X-Own", "3"), ("From", "4")]
    assert header_name("www-authenticate") == ("www-authenticate", "WWW-Authenticate")


def test_values_are_split_over_lines_and_commas() -> None:
    request = an_invite()
    assert len(request.headers.all("Via")) == 2
    assert [via.branch for via in request.via] == ["z9hG4bK1", "z9hG4bK2", "z9hG4bK3"]
    assert [str(contact.uri) for contact in request.contacts] == ["sip:anna@192.0.2.1", "sip:anna@192.0.2.9"]
    assert request.headers.tokens("Supported") == []
    request.headers.add("Supported", "100rel, Timer,,")
    assert request.headers.tokens("Supported") == ["100rel", "timer"]


def test_setting_replaces_all_in_the_place_of_the_first() -> None:
    headers = Headers([("X-A", "1"), ("X-B", "2"), ("X-A", "3"), ("X-C", "4")])
    headers.set("x-a", "new")
    assert list(headers.items()) == [("x-a", "new"), ("X-B", "2"), ("X-C", "4")]
    headers.set("X-D", "5")
    headers.remove("x-b")
    headers.remove("nothing")
    assert list(headers.items()) == [("x-a", "new"), ("X-C", "4"), ("X-D", "5")]


def test_the_first_value_can_be_removed_replaced_or_preceded() -> None:
    headers = an_invite().headers
    headers.replace_first("Via", "SIP/2.0/UDP x")
    assert headers.values("Via")[0] == "SIP/2.0/UDP x"
    assert len(headers.values("Via")) == 3
    headers.remove_first("Via")
    headers.remove_first("Via")
    assert headers.values("Via") == ["SIP/2.0/TCP 192.0.2.3;branch=z9hG4bK3"]
    headers.remove_first("Via")
    headers.remove_first("Via")
    headers.replace_first("Via", "unused")
    assert headers.count("Via") == 0
    headers.insert_first("Via", "SIP/2.0/UDP y")
    assert next(headers.items()) == ("Via", "SIP/2.0/UDP y")


def test_a_copy_goes_its_own_way() -> None:
    headers = an_invite().headers
    copy = headers.copy()
    assert copy == headers
    copy.set("To", "<sip:x@y>")
    assert copy != headers
    assert headers.get("To") == "<sip:600@pbx>"
    assert headers != "To"


def test_structured_values_are_parsed_once_and_again_after_a_change() -> None:
    request = an_invite()
    assert request.from_ is request.from_
    assert request.from_.display == "Anna"
    assert request.cseq == (7, "INVITE")
    assert request.call_id == "c1@phone"
    assert request.max_forwards == 70
    assert request.content_type == "application/sdp"
    assert request.expires is None
    assert request.routes == []
    request.headers.set("CSeq", "8 INVITE")
    assert request.cseq.number == 8
    assert request.parsed_uri.user == "600"
    request.uri = "sip:601@pbx"
    assert request.parsed_uri.user == "601"


def test_a_missing_or_malformed_value_raises_parse_error() -> None:
    request = Request(method="X", uri="sip:x", headers=Headers([("Max-Forwards", "256"), ("Expires", "x")]))
    for name in ("call_id", "cseq", "from_", "to", "top_via", "max_forwards", "expires"):
        with pytest.raises(ParseError):
            getattr(request, name)
    assert request.via == []
    assert request.content_type == ""
    request.headers.set("Expires", "9" * 40)
    assert request.expires == 2**32 - 1
    request.headers.set("Max-Forwards", "000")
    assert request.max_forwards == 0


def test_a_star_contact_is_no_address() -> None:
    request = Request(method="REGISTER", uri="sip:x", headers=Headers([("m", "*")]))
    assert request.is_star
    assert request.contacts == []


def test_a_response_copies_what_the_rfc_says_and_adds_the_tag_once() -> None:
    request = an_invite()
    response = request.response(180, to_tag="t1", headers=[("Contact", "<sip:me>")])
    assert (response.status, response.reason) == (180, "Ringing")
    assert response.headers.all("Via") == request.headers.all("Via")
    assert response.to.tag == "t1"
    assert response.headers.get("Timestamp") is None
    assert response.headers.get("Max-Forwards") is None
    assert response.headers.get("Contact") == "<sip:me>"
    request.headers.set("To", "<sip:600@pbx>;tag=there")
    assert request.response(200, to_tag="t1").to.tag == "there"
    assert request.response(100).headers.get("Timestamp") == "54"
    assert request.response(299).reason == ""
    assert request.response(200, "Fine").reason == "Fine"


def test_a_message_is_written_with_its_real_length() -> None:
    request = an_invite()
    request.headers.add("Content-Length", "9999")
    data = request.to_bytes()
    assert data.startswith(b"INVITE sip:600@pbx SIP/2.0\r\nVia: ")
    assert data.endswith(b"\r\nContent-Length: 5\r\n\r\nv=0\r\n")
    assert data.count(b"Content-Length") == 1
    assert Response(status=200, reason="", headers=Headers()).to_bytes() == b"SIP/2.0 200 \r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("evil", ["x\r\nInjected: y", "x\ny", "x\ry"])
def test_no_line_end_gets_into_a_message_we_write(evil: str) -> None:
    request = an_invite()
    request.headers.add("Subject", evil)
    with pytest.raises(ValueError, match="line end"):
        request.to_bytes()
    with pytest.raises(ValueError, match="line end"):
        Request(method="INVITE", uri=evil, headers=Headers()).to_bytes()
    with pytest.raises(ValueError, match="line end"):
        an_invite().response(200, evil).to_bytes()


def test_bytes_that_are_not_utf_8_survive_a_round_trip() -> None:
    raw = b"INVITE sip:x SIP/2.0\r\nSubject: caf\xe9 \xff\xfe\r\nX: \xd0\x90\r\n\r\n"
    message = parse_message(raw)
    assert message.headers.get("X") == "А"
    assert b"Subject: caf\xe9 \xff\xfe\r\n" in message.to_bytes()


def test_reprs_show_no_numbers_and_no_body() -> None:
    request = an_invite()
    request.uri = "sip:+12125551212@pbx"
    request.headers.set("To", "<sip:+12125551212@pbx>")
    for shown in (repr(request), repr(request.headers), repr(request.response(200))):
        assert "2125551212" not in shown
        assert "v=0" not in shown
    assert "INVITE" in repr(request)
    assert "200" in repr(request.response(200))


def test_more_values_of_one_header_than_any_real_message_has_are_refused() -> None:
    for name in ("Via", "Contact", "Route"):
        attribute = {"Via": "via", "Contact": "contacts", "Route": "routes"}[name]
        value = "SIP/2.0/UDP h" if name == "Via" else "<sip:a@b>"
        most = Headers([(name, ", ".join([value] * SIP_HEADER_VALUES_MAX))])
        assert len(getattr(Request(method="X", uri="sip:x", headers=most), attribute)) == SIP_HEADER_VALUES_MAX
        most.add(name, value)
        with pytest.raises(ParseError, match="more than 128 values"):
            getattr(Request(method="X", uri="sip:x", headers=most), attribute)
