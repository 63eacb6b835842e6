"""sip.address: name-addr, Via, CSeq, parameters and comma lists (RFC 3261 §20, §25)."""

import pytest

from mediaserver.errors import ParseError
from mediaserver.sip.address import (
    parse_cseq,
    parse_name_addr,
    parse_params,
    parse_via,
    quote_string,
    split_commas,
    tag_of,
    unquote_string,
)


@pytest.mark.parametrize(
    ("text", "display", "uri", "tag"),
    [
        ("<sip:a@b>", "", "sip:a@b", ""),
        ("sip:a@b", "", "sip:a@b", ""),
        ("sip:a@b;tag=1", "", "sip:a@b", "1"),
        ("sip:a@b ;   tag    = 1", "", "sip:a@b", "1"),
        ('"A. B" <sip:a@b>;tag=1', "A. B", "sip:a@b", "1"),
        ('"A \\"B\\" \\\\"<sip:a@b>', 'A "B" \\', "sip:a@b", ""),
        ('"comma, <sip:evil@x>;tag=no" <sip:a@b>;tag=yes', "comma, <sip:evil@x>;tag=no", "sip:a@b", "yes"),
        ("caller<sip:a@b>", "caller", "sip:a@b", ""),
        ("Mr Watson  <sip:a@b>", "Mr Watson", "sip:a@b", ""),
        ("Анна <sip:a@b>", "Анна", "sip:a@b", ""),
        ("< sip:a@b >", "", "sip:a@b", ""),
        ("<sip:a@b;lr;tag=uri>;TAG=header", "", "sip:a@b;lr;tag=uri", "header"),
        ("<sip:a@b?Replaces=x%3Bto-tag%3D1>", "", "sip:a@b?Replaces=x%3Bto-tag%3D1", ""),
        ("<tel:+1-201;phone-context=x>;tag=t", "", "tel:+1-201;phone-context=x", "t"),
        ("isbn:2983792873", "", "isbn:2983792873", ""),
        ('<sip:a@b>;x=">;tag=no";tag=yes', "", "sip:a@b", "yes"),
        ("<sip:a@b>;tag=t;", "", "sip:a@b", "t"),
    ],
)
def test_an_address_is_understood(text: str, display: str, uri: str, tag: str) -> None:
    address = parse_name_addr(text)
    assert (address.display, str(address.uri), address.tag) == (display, uri, tag)
    assert tag_of(text) == tag
    assert parse_name_addr(str(address)) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<>",
        "<sip:a@b",
        '"open <sip:a@b>',
        '"a" b <sip:a@b>',
        '"a" <sip:good@x>, "b" <sip:evil@x>',
        "<sip:good@x>, <sip:evil@x>",
        "sip:good@x, sip:evil@x",
        "Bell, Alexander <sip:a@b>",
        "sip:good@x <sip:evil@x>",
        "sip:a@b?Route=%3Csip:x%3E",
        "<sip:a@b>;;tag=1",
        "<sip:a@b>;=x",
        "<sip:a@b> tag=1",
        '<sip:a@b>;x="open',
    ],
)
def test_what_is_not_one_address_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        parse_name_addr(text)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a", ["a"]),
        ("a, b ,c", ["a", "b", "c"]),
        ("", [""]),
        ("a,,b", ["a", "", "b"]),
        ('"a" <sip:good>, "b" <sip:evil>', ['"a" <sip:good>', '"b" <sip:evil>']),
        ('"a, b" <sip:x>, <sip:y,z>', ['"a, b" <sip:x>', "<sip:y,z>"]),
        ('"a\\", b" <sip:x>, c', ['"a\\", b" <sip:x>', "c"]),
        ('"open, b', ['"open, b']),
        ("<open, b", ["<open, b"]),
        ('Digest a="1,2", b=3', ['Digest a="1,2"', "b=3"]),
    ],
)
def test_a_line_is_split_at_commas_that_nothing_hides(text: str, parts: list[str]) -> None:
    assert split_commas(text) == parts


def test_parameters_keep_their_order_and_the_first_of_two_wins() -> None:
    assert parse_params(';A=1; b ; c = "x;y" ;a=2') == {"a": "1", "b": None, "c": '"x;y"'}
    assert list(parse_params(";z;y;x")) == ["z", "y", "x"]


def test_a_tag_in_quotes_is_not_the_tag() -> None:
    assert tag_of('"x;tag=1" <sip:a@b>') == ""
    assert tag_of("<sip:a@b;tag=1>") == ""


def test_quoting_undoes_unquoting_and_no_line_end_survives_it() -> None:
    for text in ("", "a", 'a"b', "a\\b", '\\"'):
        assert unquote_string(quote_string(text)) == text
    assert quote_string("a\r\nb") == '"a  b"'
    assert unquote_string('"') == '"'


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("SIP/2.0/UDP h;branch=z9hG4bK1", "SIP/2.0/UDP h;branch=z9hG4bK1"),
        ("sip/2.0/udp H:5070", "SIP/2.0/UDP h:5070"),
        ("SIP  /   2.0 /UDP    192.0.2.2 : 5060 ;branch=390", "SIP/2.0/UDP 192.0.2.2:5060;branch=390"),
        ("SIP/2.0/TLS [2001:db8::9:1]:6050;rport", "SIP/2.0/TLS [2001:db8::9:1]:6050;rport"),
        ("SIP/2.0/UNKNOWN h;ttl=3;hidden", "SIP/2.0/UNKNOWN h;ttl=3;hidden"),
        ("SIP/2.0/UDP h; branch = z ;", "SIP/2.0/UDP h;branch=z"),
    ],
)
def test_a_via_is_understood_and_written(text: str, written: str) -> None:
    via = parse_via(text)
    assert str(via) == written
    assert parse_via(written) == via


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SIP/2.0 h",
        "SIP/2.0/UDP",
        "SIP/2.0/UDP ;branch=x",
        "SIP/2.0/UDP h:",
        "SIP/2.0/UDP h:99999",
        "SIP/2.0/UDP h:x",
        "SIP/2.0/UDP [::zz]",
        "SIP/2.0/UDP h;;branch=x",
        "SIP/2.0/UDP h h2",
        "SIP/2.0/UDP 2001:db8::1;branch=x",
    ],
)
def test_what_is_no_via_is_refused(text: str) -> None:
    with pytest.raises(ParseError):
        parse_via(text)


def test_received_is_read_with_and_without_brackets() -> None:
    assert parse_via("SIP/2.0/UDP h;received=[2001:db8::1]").received == "2001:db8::1"
    assert parse_via("SIP/2.0/UDP h;received=2001:db8::1").received == "2001:db8::1"


def test_rport_is_a_number_only_when_filled_in() -> None:
    assert parse_via("SIP/2.0/UDP h;rport=5070").rport == 5070
    for text in ("", ";rport", ";rport=", ";rport=x", ";rport=0", ";rport=70000", ";rport=٥"):
        assert parse_via("SIP/2.0/UDP h" + text).rport is None


def test_a_cseq_is_a_number_below_2_to_the_31_and_a_method() -> None:
    assert parse_cseq("0009  INVITE") == (9, "INVITE")
    assert parse_cseq("2147483647\tBYE") == (2147483647, "BYE")
    for text in ("", "1", "INVITE", "x INVITE", "-1 INVITE", "2147483648 INVITE", "9" * 5000 + " X", "1 a b", "٣ X"):
        with pytest.raises(ParseError):
            parse_cseq(text)


def test_reprs_show_neither_name_nor_number() -> None:
    shown = repr(parse_name_addr('"Anna Karenina" <sip:+12125551212@gw.example>'))
    assert "Karenin" not in shown
    assert "212555" not in shown
