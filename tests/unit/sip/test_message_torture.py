"""Every kind of message of RFC 4475 and RFC 5118 gets its defined answer: whole, byte by byte, with trailing bytes."""

from __future__ import annotations

from itertools import count
from pathlib import Path

import pytest

from mediaserver.sip.events import IncomingRequest, Send
from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Request, Response
from mediaserver.sip.parser import StreamFramer, parse_message
from mediaserver.sip.stack import SipStack

VECTORS = Path(__file__).parents[2] / "vectors" / "sip-torture"
NOW = 10**9
FLOW = Flow("udp", "192.0.2.20", 5060)

ACCEPTED = "accepted"  # reaches the transaction user
DROPPED = "dropped"  # counted, answered by nothing

EXPECTED = {
    # RFC 4475 §3.1.1, valid
    "wsinv": ACCEPTED,
    "intmeth": ACCEPTED,  # the user agent answers 405 or 501
    "esc01": ACCEPTED,
    "escnull": ACCEPTED,
    "esc02": ACCEPTED,
    "lwsdisp": ACCEPTED,
    "longreq": ACCEPTED,
    "dblreq": ACCEPTED,  # what trails the datagram is ignored
    "semiuri": ACCEPTED,
    "transports": ACCEPTED,
    "mpart01": ACCEPTED,
    "unreason": DROPPED,  # well-formed; no transaction waits for it here
    "noreason": DROPPED,
    # §3.1.2, invalid
    "badinv01": 400,
    "clerr": 400,
    "ncl": 400,
    "scalar02": 400,
    "scalarlg": DROPPED,
    "quotbal": 400,
    "ltgtruri": 400,
    "lwsruri": 400,
    "lwsstart": ACCEPTED,  # several spaces in the request line: understood
    "trws": ACCEPTED,  # spaces at its end too
    "escruri": 400,
    "baddate": ACCEPTED,  # nobody here reads Date
    "regbadct": 400,
    "badaspec": ACCEPTED,  # spaces inside <>: understood
    "baddn": 400,
    "badvers": 505,
    "mismatch01": 400,
    "mismatch02": 400,
    "bigcode": DROPPED,
    # §3.2
    "badbranch": ACCEPTED,  # matched by the rules of RFC 2543
    # §3.3
    "insuf": 400,
    "unkscm": 416,
    "novelsc": 416,
    "unksm2": ACCEPTED,  # the registrar judges the schemes of To and Contact
    "bext01": 420,
    "invut": ACCEPTED,  # 415 is the user agent's
    "regaut01": ACCEPTED,  # the user agent challenges again
    "multi01": 400,
    "mcl01": 400,
    "bcast": DROPPED,
    "zeromf": ACCEPTED,  # OPTIONS ends here, so that no hop is needed
    "cparam01": ACCEPTED,
    "cparam02": ACCEPTED,
    "regescrt": ACCEPTED,
    "sdp01": ACCEPTED,  # 406 is the user agent's
    # §3.4
    "inv2543": ACCEPTED,
    # RFC 5118 §4.1 to §4.10
    "v6-reference": ACCEPTED,
    "v6-bare": 400,
    "v6-port-ambiguous": ACCEPTED,  # the address ends in :5070, there is no port
    "v6-port-unambiguous": ACCEPTED,
    "v6-received-brackets": ACCEPTED,
    "v6-received-bare": ACCEPTED,
    "v6-sdp": ACCEPTED,
    "v6-many-addresses": ACCEPTED,
    "v6-sdp-both": ACCEPTED,
    "v6-mapped": ACCEPTED,
    "v6-three-colons": ACCEPTED,
}
WELL_FRAMED = [name for name in EXPECTED if name not in ("clerr", "ncl", "mcl01", "dblreq", "inv2543")]


def vector(name: str) -> bytes:
    return (VECTORS / f"{name}.sip").read_bytes()


def outcome(data: bytes) -> int | str:
    tokens = count()
    stack = SipStack(random_token=lambda: f"token{next(tokens)}", local_address=lambda flow: ("192.0.2.1", 5060))
    stack.receive(data, FLOW, NOW)
    outputs = stack.poll()
    if not outputs:
        assert sum(stack.counters.dropped.values()) + sum(stack.counters.parse_errors.values()) == 1
        return DROPPED
    (output,) = outputs
    if isinstance(output, IncomingRequest):
        return ACCEPTED
    assert isinstance(output, Send)
    answer = parse_message(output.data)
    assert isinstance(answer, Response)
    assert stack.counters.rejected == {str(answer.status): 1}
    return answer.status


def accepted(name: str) -> Request:
    message = parse_message(vector(name))
    assert isinstance(message, Request)
    return message


def test_every_vector_has_its_answer() -> None:
    assert {path.stem for path in VECTORS.glob("*.sip")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_torture_message_gets_its_defined_answer(name: str) -> None:
    assert outcome(vector(name)) == EXPECTED[name]


@pytest.mark.parametrize("name", WELL_FRAMED)
def test_it_gets_the_same_answer_when_it_comes_byte_by_byte(name: str) -> None:
    framer = StreamFramer()
    messages = [message for byte in vector(name) for message in framer.feed(bytes([byte]))]
    assert messages == [vector(name)]
    assert outcome(messages[0]) == EXPECTED[name]


@pytest.mark.parametrize("name", WELL_FRAMED)
def test_it_gets_the_same_answer_with_trailing_bytes(name: str) -> None:
    assert outcome(vector(name) + b"\x00\xff trailing\r\n\r\n") == EXPECTED[name]


@pytest.mark.parametrize("name", [name for name, answer in EXPECTED.items() if answer == ACCEPTED])
def test_what_is_accepted_is_the_same_after_we_wrote_it(name: str) -> None:
    message = accepted(name)
    again = parse_message(message.to_bytes())
    for one in (message, again):
        one.headers.remove("Content-Length")
    assert again == message


@pytest.mark.parametrize("name", ["clerr", "ncl", "mcl01"])
def test_a_lying_length_on_a_stream_is_answered_or_waited_for(name: str) -> None:
    framer = StreamFramer()
    messages = framer.feed(vector(name))
    if name == "clerr":
        assert messages == []
        assert framer.pending  # the connection's time for one message runs
    else:
        assert framer.failed
        assert [outcome(message) for message in messages] == [400]


def test_the_short_tortuous_invite_is_understood_in_every_part() -> None:
    invite = accepted("wsinv")
    assert invite.max_forwards == 68
    assert invite.cseq == (12, "INVITE")
    assert invite.to.tag == "81z9"
    assert invite.from_.display == 'Anna \\"'
    assert invite.from_.tag == "q1w2"
    assert [via.transport for via in invite.via] == ["UDP", "TCP", "UDP"]
    assert [via.branch for via in invite.via] == ["z9hG4bKwsinvA", "z9hG4bK9w", "z9hG4bK30w"]
    contact = invite.contacts[0]
    assert contact.display == 'Quoted name ""'
    assert contact.params == {"newparam": "newvalue", "secondparam": None, "q": "0.33"}
    assert invite.routes[0].uri.params == {"lr": None, "unknownwith": "value", "unknown-no-value": None}
    assert invite.headers.get("Unfolded-Looking") == ";;,,;;,;"
    assert invite.headers.get("Subject") == ""
    assert invite.content_type == "application/sdp"


def test_strange_characters_are_kept() -> None:
    request = accepted("intmeth")
    assert request.method == "!odd-Method4567_*+`.%indeed'~"
    assert request.parsed_uri.host == "host5.example"
    assert request.headers.get("extensionheader-!.%*+_`'~") == "\ufeff大停電"
    assert request.from_.tag == "_tok~1'+`*%!-."


def test_escapes_stay_escaped_until_the_user_part_is_asked_for() -> None:
    request = accepted("esc01")
    assert request.parsed_uri.username == "sips:desk@pbx.example"
    assert request.to.uri.username == "desk"
    assert request.contacts[0].uri.params["n%61me"] == "v%61lue%25%34%31"
    assert [contact.uri.username for contact in accepted("escnull").contacts] == ["\0", "\0\0"]


def test_a_percent_sign_in_a_method_or_header_name_is_no_escape() -> None:
    request = accepted("esc02")
    assert request.method == "RE%47IST%45R"
    assert len(request.contacts) == 2
    assert request.to.display == "%Z%45"


def test_a_binary_body_is_kept_byte_for_byte() -> None:
    body = accepted("mpart01").body
    assert body.startswith(b"--edge-7")
    assert b"\x00\x01\r\n\r\n\xff\xfe\x80SIP/2.0 200 OK" in body
    assert body.endswith(b"--edge-7--\r\n")


def test_headers_in_a_contact_uri_are_kept_for_those_who_use_it() -> None:
    assert accepted("regescrt").contacts[0].uri.header("Route") == "<sip:edge.example>"


def test_parameters_belong_to_the_header_without_brackets_and_to_the_uri_within() -> None:
    bare, enclosed = accepted("cparam01").contacts[0], accepted("cparam02").contacts[0]
    assert (dict(bare.params), dict(bare.uri.params)) == ({"unknownparam": None}, {})
    assert (dict(enclosed.params), dict(enclosed.uri.params)) == ({}, {"unknownparam": None})


def test_an_ambiguous_port_belongs_to_the_ipv6_address() -> None:
    assert accepted("v6-port-ambiguous").parsed_uri[2:4] == ("2001:db8::10:5070", None)
    assert accepted("v6-port-unambiguous").parsed_uri[2:4] == ("2001:db8::10", 5070)


@pytest.mark.parametrize("name", ["v6-received-brackets", "v6-received-bare"])
def test_received_is_understood_with_and_without_brackets(name: str) -> None:
    assert accepted(name).top_via.received == "2001:db8::9:255"


def test_addresses_of_both_families_live_in_one_message() -> None:
    request = accepted("v6-many-addresses")
    assert [via.host for via in request.via] == ["2001:db8::9:1", "192.0.2.1"]
    assert accepted("v6-mapped").contacts[0].uri.host == "::ffff:192.0.2.10"


def test_the_unknown_extensions_are_named_in_the_420() -> None:
    stack = SipStack(random_token=lambda: "t", local_address=lambda flow: ("192.0.2.1", 5060))
    stack.receive(vector("bext01"), FLOW, NOW)
    (send,) = stack.poll()
    assert isinstance(send, Send)
    assert parse_message(send.data).headers.tokens("Unsupported") == [
        "nothingsupportsthis",
        "nothingsupportsthiseither",
        "noproxiessupportthis",
        "nordoanyproxiessupportthis",
    ]


def test_a_branch_that_is_only_the_magic_cookie_does_not_identify_a_transaction() -> None:
    tokens = count()
    stack = SipStack(random_token=lambda: f"token{next(tokens)}", local_address=lambda flow: ("192.0.2.1", 5060))
    other = vector("badbranch").replace(b"badbranch@", b"another@")
    for data in (vector("badbranch"), other, vector("badbranch"), other):
        stack.receive(data, FLOW, NOW)
    assert len(stack.poll()) == 2
    assert stack.counters.retransmissions_absorbed == 2
