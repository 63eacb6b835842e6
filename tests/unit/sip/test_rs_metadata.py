"""Metadata of recording sessions, RFC 7865: who speaks on which stream, and what peers cannot do with it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from mediaserver.errors import ParseError
from mediaserver.limits import (
    SIPREC_DEPTH_MAX,
    SIPREC_ELEMENTS_MAX,
    SIPREC_METADATA_BYTES_MAX,
    SIPREC_OBJECTS_MAX,
    SIPREC_TEXT_CHARS_MAX,
)
from mediaserver.sip.message import Headers, Request
from mediaserver.sip.rs_metadata import Metadata, parse
from mediaserver.sip.rs_metadata_write import Party, write_metadata
from mediaserver.sip.sdp_body import metadata_of, recording_body, sdp_headers, sdp_of

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "siprec"
TWO = (VECTORS / "two-parties.xml").read_bytes()
HEAD = '<recording xmlns="urn:ietf:params:xml:ns:recording:1">'


def document(inside: str, mode: str = "complete") -> bytes:
    return f"{HEAD}<datamode>{mode}</datamode>{inside}</recording>".encode()


def names(metadata: Metadata, label: str) -> list[tuple[str, str]]:
    return [(one.number, one.name) for one in metadata.speakers(label)]


def test_each_stream_has_the_party_that_speaks_on_it() -> None:
    read = parse(TWO)
    assert (read.complete, read.sessions) == (True, ("cs-1",))
    assert names(read, "96") == [("+442079460101", "Alice & Sons")]
    assert names(read, "97") == [("bob", "Bob B")]
    assert read.speakers("not-a-label") == []  # inside an element of somebody else's namespace
    assert "442079460101" not in repr(read)
    assert "Alice" not in repr(read)


def test_what_session_border_controllers_wrote_before_the_rfc_is_understood() -> None:
    read = parse((VECTORS / "draft-style.xml").read_bytes())
    assert names(read, "1") == [("caller", "caller")]
    assert [one.number for one in read.participants.values()] == ["caller", "+12025550101"]


def test_a_partial_document_changes_what_it_names_and_a_complete_one_everything() -> None:
    first = parse(TWO)
    partial = parse(
        document(
            '<participant participant_id="p-carol"><nameID aor="tel:+12025550102"/></participant>'
            '<participantstreamassoc participant_id="p-carol"><send>s-2</send></participantstreamassoc>'
            '<participantstreamassoc participant_id="p-bob"><recv>s-1</recv></participantstreamassoc>',
            "partial",
        )
    )
    then = first.updated(partial)
    assert names(then, "97") == [("+12025550102", "")]  # transferred: Bob sends no more
    assert names(then, "96") == names(first, "96")
    assert then.updated(parse(document(""))) == Metadata()


def test_a_mixed_stream_has_all_its_speakers() -> None:
    read = parse(
        document(
            "".join(f'<participant participant_id="{n}"><nameID aor="sip:{n}@x"/></participant>' for n in "ab")
            + '<stream stream_id="m" session_id="s"><label>1</label></stream>'
            + "".join(
                f'<participantstreamassoc participant_id="{n}"><send>m</send></participantstreamassoc>' for n in "ab"
            )
        )
    )
    assert [one.number for one in read.speakers("1")] == ["a", "b"]


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"not xml",
        b"<recording/>",
        b'<x xmlns="urn:ietf:params:xml:ns:recording:1"/>',
        TWO[:-20],
        TWO + b"<more/>",
        TWO.replace(b"UTF-8", b"UTF-99"),
        b"\xff\xfe" + TWO,
        HEAD.encode() + b"&unknown;</recording>",
    ],
)
def test_what_is_no_such_document_is_a_parse_error(bad: bytes) -> None:
    with pytest.raises(ParseError) as raised:
        parse(bad)
    assert raised.value.status == 400


LAUGHS = "".join(f'<!ENTITY l{n} "&l{n - 1};&l{n - 1};&l{n - 1};&l{n - 1};&l{n - 1};">' for n in range(1, 20))


@pytest.mark.parametrize(
    "dtd",
    [
        f'<!DOCTYPE recording [<!ENTITY l0 "ha">{LAUGHS}]>',
        '<!DOCTYPE recording [<!ENTITY f SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE recording SYSTEM "http://192.0.2.1/x.dtd">',
        "<!DOCTYPE recording>",
    ],
)
def test_no_entity_is_ever_made_or_fetched(dtd: str) -> None:
    with pytest.raises(ParseError, match="document type"):
        parse(f"{dtd}{HEAD}&l19;&f;</recording>".encode())


def test_bounds_of_size_depth_elements_and_objects_hold() -> None:
    deep = SIPREC_DEPTH_MAX - 1
    parse(document("<a>" * (deep - 1) + "</a>" * (deep - 1)))
    many = "".join(f'<participant participant_id="{n}"/>' for n in range(SIPREC_OBJECTS_MAX + 1))
    for bad in (
        document("<a>" * (deep + 1) + "</a>" * (deep + 1)),
        document("<a/>" * SIPREC_ELEMENTS_MAX),
        document(many),
        document(" " * SIPREC_METADATA_BYTES_MAX),
    ):
        with pytest.raises(ParseError) as raised:
            parse(bad)
        assert raised.value.status == 413


def test_updates_cannot_pile_up_without_end() -> None:
    known = Metadata()
    with pytest.raises(ParseError):
        for n in range(SIPREC_OBJECTS_MAX + 1):
            known = known.updated(parse(document(f'<participant participant_id="{n}"/>', "partial")))
    assert len(known.participants) == SIPREC_OBJECTS_MAX


def test_a_name_without_end_is_cut() -> None:
    name = f'<nameID aor="sip:{"a" * 9999}@x"><name>{"b" * 9999}</name></nameID>'
    read = parse(document(f'<participant participant_id="p">{name}</participant>'))
    (one,) = read.participants.values()
    assert (len(one.aor), len(one.name)) == (SIPREC_TEXT_CHARS_MAX, SIPREC_TEXT_CHARS_MAX)


# -- the body it comes in

SDP = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n"


def message(content_type: str, body: bytes) -> Request:
    return Request(headers=Headers([("Content-Type", content_type)]), method="INVITE", uri="sip:srs@x", body=body)


def multipart(*parts: tuple[str, bytes]) -> bytes:
    body = b"".join(
        b"--b\r\nContent-Type: "
        + kind.encode()
        + b"\r\nContent-Disposition: recording-session\r\n\r\n"
        + content
        + b"\r\n"
        for kind, content in parts
    )
    return body + b"--b--\r\n"


@pytest.mark.parametrize(
    "kind", ["application/rs-metadata+xml", "Application/RS-Metadata", "application/rs-metadata; q=1"]
)
def test_both_parts_of_a_multipart_body_are_found_in_any_order(kind: str) -> None:
    parts = [("application/sdp", SDP), (kind, TWO), ("text/plain", b"hello")]
    for order in (parts, parts[::-1]):
        one = message("multipart/mixed;boundary=b", multipart(*order))
        assert sdp_of(one) == SDP
        assert metadata_of(one) is not None
        assert parse(metadata_of(one) or b"") == parse(TWO)


def test_metadata_may_come_alone_and_sdp_without_it() -> None:
    alone = message("application/rs-metadata+xml", TWO)
    assert (sdp_of(alone), metadata_of(alone)) == (None, TWO)
    plain = message("application/sdp", SDP)
    assert (sdp_of(plain), metadata_of(plain)) == (SDP, None)


# -- what we write

HERE, GONE = Party(b"a" * 16, "+442079460101", "1", 1_790_000_000.0), Party(b"b" * 16, "<bob&>", "2", 1_790_000_001.5)


def test_what_we_write_is_read_as_we_meant_it() -> None:
    read = parse(write_metadata(b"s" * 16, "call-1", "pbx.example", 1_790_000_000.0, [HERE, GONE]))
    assert read.complete
    assert len(read.sessions) == 1
    assert [one.number for one in read.speakers("1")] == ["+442079460101"]
    assert [one.aor for one in read.speakers("2")] == ["sip:%3Cbob&%3E@pbx.example"]


def test_a_party_that_left_speaks_on_nothing_any_more() -> None:
    left = dataclasses.replace(GONE, until_wall=1_790_000_009.0)
    document = write_metadata(b"s" * 16, "call-1", "pbx.example", 1_790_000_000.0, [HERE, left])
    assert document.count(b"<disassociate-time>") == 2
    read = parse(document)
    assert read.speakers("2") == []
    assert [one.number for one in read.speakers("1")] == ["+442079460101"]


def test_a_body_of_ours_is_taken_apart_into_what_went_in() -> None:
    body = recording_body(SDP, TWO)
    (require, _, (_, kind)) = sdp_headers(body)
    assert require == ("Require", "siprec")
    one = message(kind, body)
    assert (sdp_of(one), (metadata_of(one) or b"").strip()) == (SDP, TWO.strip())
    assert sdp_headers(SDP) == (("Content-Type", "application/sdp"),)
