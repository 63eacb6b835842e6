"""sip.uri: reading, writing and comparing SIP and tel URIs (RFC 3261 §19.1, RFC 3966, RFC 5118)."""

import pytest

from mediaserver.errors import ParseError
from mediaserver.sip.uri import Uri, escape_user, parse_uri, unescape

ROUND_TRIPS = [
    "sip:pbx1",
    "sip:600@pbx1",
    "sip:alice@example.com",
    "sip:alice:secretword@atlanta.example;transport=tcp",
    "sips:alice@example.com:5061;lr",
    "sip:+12125551212@gw.example;user=phone",
    "sip:user;par=u%40example.net@example.com",
    "sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com",
    "sip:[2001:db8::10]:5070",
    "sip:bob@[::ffff:192.0.2.10]:19823;ob",
    "sip:bob@example.com?Replaces=a%40b%3Bto-tag%3D1%3Bfrom-tag%3D2&Subject=x",
    "sip:phone_7@192.0.2.4",
    "tel:+1-201-555-0123;phone-context=example.com",
    "tel:600",
    "urn:service:sos",
    "http://www.example.com/a?b=c",
    "nobodyKnows:of=it;all".replace("nobodyKnows", "nobodyknows"),
]


@pytest.mark.parametrize("text", ROUND_TRIPS)
def test_a_uri_is_written_as_it_was_read(text: str) -> None:
    assert str(parse_uri(text)) == text
    assert parse_uri(str(parse_uri(text))) == parse_uri(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sip",
        "sip:",
        ":x@y",
        "sip:@example.com",
        "sip:a@",
        "sip:a@b@c",
        "sip:a b@c",
        "<sip:a@b>",
        "sip:a@b\r\n",
        "sip:a@b\x00",
        'sip:"a"@b',
        "sip:2001:db8::10",
        "sip:[2001:db8::zz]",
        "sip:[2001:db8::1",
        "sip:[2001:db8::1]x",
        "sip:[192.0.2.1]",
        "sip:host:",
        "sip:host:0",
        "sip:host:65536",
        "sip:host:5o60",
        "sip:host:+5060",
        "sip:host:٥٠٦٠",
        "sip:hö.example",
        "tel:",
        "tel:;phone-context=x",
        "1sip:a@b",
    ],
)
def test_what_is_no_uri_is_refused_with_400(text: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_uri(text)
    assert caught.value.status == 400


def test_the_parts_of_a_sip_uri_are_told_apart() -> None:
    uri = parse_uri("SIP:Al%69ce:pw@Example.COM:5070;Transport=TCP;lr?Subject=hi%20you&X=1")
    assert uri.scheme == "sip"
    assert uri.user == "Al%69ce"
    assert uri.username == "Alice"
    assert uri.password == "pw"
    assert uri.host == "example.com"
    assert uri.port == 5070
    assert uri.params == {"transport": "TCP", "lr": None}
    assert uri.transport == "tcp"
    assert uri.header("subject") == "hi you"
    assert uri.header("replaces") is None


def test_semicolons_and_questions_belong_to_the_user_part_that_holds_them() -> None:
    uri = parse_uri("sip:a;b=c?d@host;p=q?H=v")
    assert uri.user == "a;b=c?d"
    assert uri.params == {"p": "q"}
    assert uri.headers == (("H", "v"),)


def test_an_ipv6_host_is_kept_without_brackets_and_written_with_them() -> None:
    uri = parse_uri("sip:[2001:DB8::10:5070]")
    assert uri.host == "2001:db8::10:5070"
    assert uri.port is None
    assert str(uri) == "sip:[2001:db8::10:5070]"


def test_the_three_colons_of_an_old_grammar_are_read_as_two() -> None:
    assert parse_uri("sip:[2001:db8:::192.0.2.1]").host == "2001:db8::192.0.2.1"


@pytest.mark.parametrize(
    ("text", "transport"),
    [
        ("sip:h", "udp"),
        ("sip:h;transport=TLS", "tls"),
        ("sips:h", "tls"),
        ("sips:h;transport=tcp", "tls"),
        ("sip:h;transport=sctp", "sctp"),
        ("sip:h;transport", "udp"),
    ],
)
def test_the_transport_is_the_parameter_or_what_the_scheme_implies(text: str, transport: str) -> None:
    assert parse_uri(text).transport == transport


# RFC 3261 §19.1.4 gives the kinds; the examples are ours
EQUAL = [
    ("sip:%61nna@Example.COM", "sip:anna@example.com"),
    ("sip:anna@example.com;transport=TCP", "sip:anna@example.com;transport=tcp"),
    ("sip:carol@chi.example;newparam=5", "sip:carol@chi.example;security=on"),
    ("sip:a@b;x=1;y=2", "sip:a@b;y=2;x=1"),
    ("sip:a@b?X=1&Y=2", "sip:a@b?Y=2&X=1"),
    ("tel:+1-201-555", "tel:+1201555"),
    ("urn:service:sos", "urn:service:sos"),
]
DIFFERENT = [
    ("sip:ANNA@example.com", "sip:anna@example.com"),
    ("sip:anna@example.com", "sip:anna@example.com:5060"),
    ("sip:anna@example.com", "sip:anna@example.com;transport=udp"),
    ("sip:anna@example.com", "sips:anna@example.com"),
    ("sip:anna@example.com", "sip:anna@example.com?Subject=x"),
    ("sip:anna@example.com;x=1", "sip:anna@example.com;x=2"),
    ("sip:anna@example.com", "sip:example.com"),
    ("sip:anna:pw@example.com", "sip:anna@example.com"),
    ("sip:anna@phone21.example", "sip:anna@192.0.2.4"),
    ("tel:+1201555", "tel:1201555"),
]


@pytest.mark.parametrize(("one", "other"), EQUAL)
def test_equal_uris_match_both_ways(one: str, other: str) -> None:
    assert parse_uri(one).matches(parse_uri(other))
    assert parse_uri(other).matches(parse_uri(one))


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_different_uris_do_not_match_either_way(one: str, other: str) -> None:
    assert not parse_uri(one).matches(parse_uri(other))
    assert not parse_uri(other).matches(parse_uri(one))


def test_any_text_can_be_a_user_part_once_escaped() -> None:
    for text in ("a b@c", 'quo"te', "Анна", "%41", "a\r\nb", "\udc80"):
        uri = parse_uri(f"sip:{escape_user(text)}@h")
        assert uri.username == text
        assert unescape(uri.user or "") == text


def test_changing_a_uri_makes_another() -> None:
    uri = parse_uri("sip:a@b;x=1?H=v")
    assert str(uri.with_param("ob", None)) == "sip:a@b;x=1;ob?H=v"
    assert str(uri.without_headers().without_params()) == "sip:a@b"
    assert str(uri) == "sip:a@b;x=1?H=v"


def test_the_repr_hides_the_number() -> None:
    assert "2125551212" not in repr(parse_uri("sip:+12125551212@gw.example"))
    assert "2125551212" not in repr(parse_uri("tel:+12125551212"))
    assert "2125551212" not in f"{Uri('sip', '2125551212', 'h')!r}"
