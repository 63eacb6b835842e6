"""RFC 6464 in offers and answers: whose id, which direction, V bit, BUNDLE."""

import pytest

from mediaserver.model import Direction, LevelExtension
from mediaserver.sdp.audio_level import URI, read_level
from mediaserver.sdp.negotiate import LocalMedia, MediaPolicy, Negotiator
from mediaserver.sdp.parse import parse
from mediaserver.sdp.webrtc import LocalTransport, WebRtcNegotiator
from tests.unit.sdp.test_webrtc import AUDIO, EVERYTHING

POLICY = MediaPolicy(("opus", "PCMU"), video_codecs=("VP8",))
OFFER = "v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"


def phone() -> Negotiator:
    made = Negotiator(POLICY, session_id=1, random_bytes=bytes)
    made.local = LocalMedia("192.0.2.1", 5_000, 5_001)
    return made


def browser() -> WebRtcNegotiator:
    made = WebRtcNegotiator(POLICY, session_id=1)
    made.local = LocalMedia("192.0.2.1", 5_000, 5_001)
    made.transport = LocalTransport("ours", "ours-password-of-22-chars", "sha-256 AB:CD")
    return made


def extmap(sdp: bytes, index: int = 0) -> list[str]:
    return list(parse(sdp).media[index].all("extmap"))


def answer_to(line: str, made: Negotiator | None = None) -> tuple[list[str], LevelExtension | None]:
    made = made or phone()
    made.read_offer((OFFER + line).encode())
    lines = extmap(made.write_answer())
    assert made.stream is not None
    return lines, made.stream.level


@pytest.mark.parametrize(
    ("offered", "answered", "agreed"),
    [
        (f"6 {URI}", f"6 {URI}", LevelExtension(6, sends=True, receives=True, vad=True)),
        (f"6 {URI} vad=on", f"6 {URI} vad=on", LevelExtension(6, sends=True, receives=True, vad=True)),
        (f"6 {URI} vad=off", f"6 {URI} vad=off", LevelExtension(6, sends=True, receives=True, vad=False)),
        (f"6 {URI} VAD=badger x", f"6 {URI}", LevelExtension(6, sends=True, receives=True, vad=True)),
        (f"6/sendonly {URI}", f"6/recvonly {URI}", LevelExtension(6, sends=False, receives=True, vad=True)),
        (f"6/recvonly {URI}", f"6/sendonly {URI}", LevelExtension(6, sends=True, receives=False, vad=True)),
        (f"99 {URI}", f"99 {URI}", LevelExtension(99, sends=True, receives=True, vad=True)),
        (f"256 {URI}", f"1 {URI}", LevelExtension(1, sends=True, receives=True, vad=True)),  # no id of the wire
        (f"4096 {URI}", f"1 {URI}", LevelExtension(1, sends=True, receives=True, vad=True)),  # RFC 8285 §6
        (f"4096 {URI}\r\na=extmap:1 urn:x", f"2 {URI}", LevelExtension(2, sends=True, receives=True, vad=True)),
    ],
)
def test_an_offer_is_answered_with_its_id_the_other_way_round(
    offered: str, answered: str, agreed: LevelExtension
) -> None:
    assert answer_to(f"a=extmap:{offered}\r\n") == ([answered], agreed)


@pytest.mark.parametrize(
    "line",
    [
        "",
        f"a=extmap:6/inactive {URI}\r\n",
        f"a=extmap:15 {URI}\r\n",  # reserved in the one-byte form
        f"a=extmap:0 {URI}\r\n",
        f"a=extmap:99999 {URI}\r\n",
        f"a=extmap:x {URI}\r\n",
        f"a=extmap:6\r\na=extmap:7 {URI}s\r\n",
        f"a=extmap:6 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=extmap:6 {URI}\r\n",  # two meanings
    ],
)
def test_what_cannot_be_used_is_not_answered_and_nothing_else_breaks(line: str) -> None:
    assert answer_to(line) == ([], None)


def test_the_session_level_counts_for_all_sections() -> None:
    made = phone()
    made.read_offer(OFFER.replace("t=0 0\r\n", f"t=0 0\r\na=extmap:7 {URI}\r\n").encode())
    assert extmap(made.write_answer()) == [f"7 {URI}"]


def test_the_id_stays_in_our_later_offers_and_goes_when_the_peer_leaves_it_out() -> None:
    made = phone()
    answer_to(f"a=extmap:9 {URI} vad=off\r\n", made)
    assert extmap(made.write_offer()) == [f"9 {URI} vad=off"]
    stream = made.read_answer((OFFER + f"a=extmap:9 {URI}\r\n").encode())
    assert stream.level == LevelExtension(9, sends=True, receives=True, vad=False)
    made.write_offer()
    assert made.read_answer((OFFER + f"a=extmap:8 {URI}\r\n").encode()).level is None  # not what was offered
    assert extmap(made.write_offer()) == []


def test_a_hold_that_is_refused_changes_nothing() -> None:
    made = phone()
    answer_to(f"a=extmap:9 {URI}\r\n", made)
    made.write_offer(Direction.SENDONLY)
    made.rollback()
    assert extmap(made.write_offer()) == [f"9 {URI}"]


def test_who_has_not_offered_it_is_not_asked() -> None:
    assert extmap(phone().write_offer()) == []
    assert extmap(browser().write_offer()) == []


def test_chromium_gets_its_level_and_video_keeps_its_ids() -> None:
    made = browser()
    made.read_offer(EVERYTHING)
    answer = made.write_answer()
    assert extmap(answer) == [f"1 {URI}"]
    assert made.stream is not None
    assert made.stream.level == LevelExtension(1, sends=True, receives=True, vad=True)
    assert extmap(made.write_offer()) == [f"1 {URI}"]
    alone = browser()
    alone.read_offer(AUDIO)
    assert extmap(alone.write_answer()) == [f"1 {URI}"]


def test_an_id_that_means_something_else_elsewhere_in_the_bundle_is_not_used() -> None:
    assert b"a=extmap:13 urn:3gpp:video-orientation" in EVERYTHING
    crossed = EVERYTHING.replace(f"a=extmap:1 {URI}".encode(), f"a=extmap:13 {URI}".encode())
    session = parse(crossed)
    assert read_level(session, session.media[0]) is None
    apart = parse(crossed.replace(b"BUNDLE 0 1 2", b"BUNDLE 0 2"))
    found = read_level(apart, apart.media[0])
    assert found is not None and found.number == 13


def test_a_listener_on_hold_sends_no_levels() -> None:
    made = phone()
    made.read_offer((OFFER + f"a=sendonly\r\na=extmap:6 {URI}\r\n").encode())
    made.write_answer()
    assert made.stream is not None
    assert made.stream.level == LevelExtension(6, sends=False, receives=True, vad=True)
