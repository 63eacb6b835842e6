# Invariant: whatever bytes arrive as SDP, the negotiator either agrees or raises ParseError or NegotiationError and
# nothing else; what it agrees to is consistent (both keys or none, payload types 0..127, a codec of ours), its answer
# reads back, has one m= line for each of the offer's, and a description that was read is written and read to the same;
# video it agrees to has a place of its own, a codec we want, and payload types that do not clash with the sound's.
"""Fuzzes SDP reading and offer/answer. `python tests/fuzz/test_sdp.py DIR SECONDS` runs longer, seeded from DIR."""

from __future__ import annotations

import base64
import random
import sys
import time
from pathlib import Path

import pytest

from mediaserver.errors import NegotiationError, ParseError
from mediaserver.model import SRTP_KEY_SALT_BYTES, SrtpProfile
from mediaserver.sdp.negotiate import LocalMedia, MediaPolicy, Negotiator
from mediaserver.sdp.parse import parse
from mediaserver.sdp.video import house_formats
from mediaserver.sdp.video_lines import LocalVideo, VideoLines
from mediaserver.sdp.webrtc import LocalTransport, WebRtcNegotiator
from mediaserver.sdp.write import write

CODECS = ("opus", "G722", "PCMU", "PCMA", "L16")
VIDEO = ("VP8", "H264", "VP9", "AV1")
BROWSERS = sorted((Path(__file__).resolve().parents[1] / "vectors" / "sdp-webrtc").glob("*.sdp"))
PROTOCOLS = ("RTP/AVP", "RTP/SAVP", "RTP/AVPF", "RTP/SAVPF", "UDP/TLS/RTP/SAVPF", "udptl", "rtp/avp", "")
NUMBERS = (
    "0",
    "1",
    "8",
    "9",
    "13",
    "96",
    "101",
    "127",
    "128",
    "255",
    "-1",
    "65535",
    "65536",
    "4000",
    "x",
    "",
    "٣",
    "1e3",
)
GOOD = ("20", "96", "101", "1")
HOSTS = ("192.0.2.1", "0.0.0.0", "::", "2001:db8::1", "[::1]", "host.example", "256.1.1.1", "224.0.0.1/127", "", "é")
MAPS = (
    "PCMU/8000",
    "opus/48000/2",
    "G722/16000",
    "telephone-event/8000",
    "CN/8000",
    "L16/44100/2",
    "VP8/90000",
    "H264/90000",
    "rtx/90000",
    "X/0",
    "opus",
    "/",
    "",
)


def grammar_sdp(rng: random.Random) -> bytes:
    """A description that is nearly right: the places a parser trips over are the almost valid ones."""
    pick = rng.choice
    lines = ["v=0", "o=- 1 1 IN IP4 192.0.2.7", "s=-"]
    if rng.random() < 0.1:
        lines[1] = f"o=- {pick(NUMBERS)} {pick(NUMBERS)} IN {pick(('IP4', 'IP6', 'IP9'))} {pick(HOSTS)}"
    if rng.random() < 0.9:
        lines.append("c=IN IP4 192.0.2.7")
    lines.append("t=0 0")
    for _ in range(rng.choice((0, 1, 1, 1, 2, 5))):
        formats = " ".join(pick(("0", "8", "9", "96", "101") * 4 + NUMBERS[-5:]) for _ in range(rng.randrange(6)))
        port = pick(("4000", "4000", "4000", pick(NUMBERS)))
        kind = pick(("audio",) * 9 + ("video", "video", "AUDIO", ""))
        lines.append(f"m={kind} {port} {pick(PROTOCOLS[:4] * 4 + PROTOCOLS)} {formats}")
        lines.extend(attribute(rng) for _ in range(rng.randrange(4)))
    if rng.random() < 0.2:
        rng.shuffle(lines)
    return pick(("\r\n", "\n", "\r")).join(lines).encode("utf-8", "surrogateescape")


def attribute(rng: random.Random) -> str:
    pick = rng.choice
    kind = rng.randrange(9)
    if kind == 0:
        return f"a=rtpmap:{pick(('96', '101', '0', pick(GOOD * 6 + NUMBERS)))} {pick(MAPS[:5] * 3 + MAPS)}"
    if kind == 1:
        return f"a=fmtp:{pick(('96', '101', pick(GOOD * 6 + NUMBERS)))} {pick(('0-16', 'stereo', ';;=;a=', ''))}"
    if kind == 2:
        suite = pick(list(SrtpProfile))
        size = sum(SRTP_KEY_SALT_BYTES[suite]) + pick((0, 0, 0, 1))
        key = base64.b64encode(rng.randbytes(size)).decode()
        rest = pick(("", "", "|2^31", "|1:4", " KDR=1", " WSH=64", "|2^99", ";inline:"))
        return f"a=crypto:{pick(('1', '2', pick(GOOD * 6 + NUMBERS)))} {suite} inline:{key}{rest}"
    if kind == 3:
        return f"a={pick(('sendrecv', 'sendonly', 'recvonly', 'inactive', 'SENDONLY', 'x'))}"
    if kind == 4:
        return f"a={pick(('ptime', 'maxptime'))}:{pick(GOOD * 6 + NUMBERS)}"
    if kind == 5:
        return (
            f"a=rtcp:{pick(GOOD * 6 + NUMBERS)} IN IP4 {pick(HOSTS[:1] * 20 + HOSTS)}"
            if rng.random() < 0.5
            else f"a=rtcp:{pick(GOOD * 6 + NUMBERS)}"
        )
    if kind == 6:
        return "a=rtcp-mux"
    if kind == 7:
        return f"c=IN {pick(('IP4', 'IP6'))} {pick(HOSTS[:1] * 20 + HOSTS)}"
    return f"{pick('abkzyx' * 3 + 'vosctm=')}{pick(('=',) * 9 + ('',))}{pick(GOOD * 6 + NUMBERS)}"


def mutate(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(changed) + 1)
        kind = rng.randrange(4)
        if kind == 0 and changed:
            changed[at % len(changed)] = rng.randrange(256)
        elif kind == 1:
            changed[at:at] = rng.choice(
                (b"\r\n", b"=", b":", b"/", b"0", b"\0", b"\xff", b" ", b"m=audio 1 RTP/AVP 0\n")
            )
        elif kind == 2:
            del changed[at : at + rng.randrange(1, 20)]
        else:
            changed[at:at] = changed[: rng.randrange(60)]
    return bytes(changed)


def new_negotiator(rng: random.Random) -> Negotiator:
    policy = MediaPolicy(CODECS, rng.choice(("off", "optional", "required")), video_codecs=VIDEO)
    made = Negotiator(policy, session_id=1, random_bytes=rng.randbytes)
    made.local = LocalMedia(rng.choice(("192.0.2.1", "2001:db8::2")), 20000, 20001)
    return made


def new_browser(rng: random.Random) -> WebRtcNegotiator:
    made = WebRtcNegotiator(MediaPolicy(CODECS, video_codecs=VIDEO, data=rng.random() < 0.8), session_id=1)
    made.local = LocalMedia(rng.choice(("192.0.2.1", "2001:db8::2")), 20000, 20001)
    made.transport = LocalTransport("ours", "ourPasswordOf22Characters", "sha-256 " + ":".join(["AB"] * 32))
    return made


def want(rng: random.Random, video: VideoLines) -> None:
    """What a call room might: it takes or refuses any line and now and then adds or removes one."""
    ports = LocalMedia("192.0.2.1", 20_002, 20_003)
    formats = house_formats(rng.sample(VIDEO, rng.randrange(1, 5)))
    if len(video.lines) < 30 and rng.random() < 0.3:
        video.add(LocalVideo(formats, 1, 2, ports=ports))
    for line in video.lines:
        if line.index >= 0:
            line.wanted = LocalVideo(formats, 1, 2, ports=ports) if rng.random() < 0.8 else None


def check_video(video: VideoLines, sound: set[int]) -> None:
    used = [line for line in video.lines if line.settings is not None]
    assert len({line.index for line in used}) == len(used)
    for line in used:
        assert line.index >= 0
        settings = line.settings
        assert settings is not None
        assert settings.send
        assert (settings.send_key is None) == (settings.receive_key is None)
        assert {made.codec.value for made in settings.send} <= set(VIDEO)
        for made in settings.receive:
            assert 0 <= made.payload_type <= 127
            if line.offered and not line.peer:
                assert made.payload_type not in sound


def check(rng: random.Random, ours: Negotiator | WebRtcNegotiator, data: bytes) -> bool:
    """One offer and one answer of these bytes against the invariant. True if any was agreed."""
    agreed = False
    try:
        session = parse(data)
    except ParseError as error:
        assert error.status in (400, 413)
    else:
        again = write(session)
        assert write(parse(again)) == again
    try:
        ours.read_offer(data)
        want(rng, ours.video)
        answer = parse(ours.write_answer())
        assert [m.kind for m in answer.media] == [m.kind for m in parse(data).media]
        agreed = True
    except (ParseError, NegotiationError):
        pass
    try:
        want(rng, ours.video)
        parse(ours.write_offer())
        if rng.random() < 0.2:
            ours.rollback()
        else:
            ours.read_answer(data)
            agreed = True
    except (ParseError, NegotiationError):
        pass
    stream = ours.stream
    if stream is not None:
        assert (stream.send_key is None) == (stream.receive_key is None)
        assert stream.audio.name.value in CODECS
        assert all(0 <= codec.payload_type <= 127 for codec in stream.send + stream.receive)
        assert 10 <= stream.ptime_ms <= 60
        check_video(ours.video, {codec.payload_type for codec in stream.receive})
    return agreed


def run(seed: int, count: int, corpus: list[bytes], until_s: float | None = None, *, browser: bool = False) -> int:
    rng = random.Random(seed)
    agreed = 0
    ours: Negotiator | WebRtcNegotiator = new_negotiator(rng)
    index = 0
    while index < count and (until_s is None or time.monotonic() < until_s):
        if index % 7 == 0:  # a few exchanges on the same dialog, then a new one
            ours = new_browser(rng) if browser else new_negotiator(rng)
        data = rng.choice(corpus) if corpus and rng.random() < 0.5 else grammar_sdp(rng)
        if rng.random() < 0.4:
            data = mutate(rng, data)
        agreed += check(rng, ours, data)
        index += 1
    return agreed


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_description_breaks_offer_and_answer(seed: int) -> None:
    # So many are agreed on all the same: the others name odd lines, addresses or ports that are refused.
    assert run(seed, 2_000, []) > 40


def mangled(rng: random.Random, text: bytes) -> bytes:
    """A browser's description with a few whole lines lost, doubled, moved or put into another section."""
    lines = text.split(b"\r\n")
    for _ in range(rng.randrange(1, 8)):
        at, to = rng.randrange(len(lines)), rng.randrange(len(lines))
        lines[to:to] = [lines[at]]
        if rng.random() < 0.7:
            del lines[at]
    return b"\r\n".join(lines)


@pytest.mark.parametrize("seed", [1, 2])
def test_no_description_of_a_browser_breaks_offer_and_answer(seed: int) -> None:
    rng = random.Random(seed)
    corpus = [path.read_bytes() for path in BROWSERS]
    assert run(seed, 250, corpus + [mangled(rng, rng.choice(corpus)) for _ in range(60)], browser=True) > 50


if __name__ == "__main__":
    files = [path.read_bytes() for path in Path(sys.argv[1]).rglob("*") if path.is_file()]
    for file in files:
        check(random.Random(0), new_negotiator(random.Random(0)), file)
    total = run(int(time.time()), 10**9, files, time.monotonic() + float(sys.argv[2]))
    print(f"{len(files)} corpus files hold; {total} exchanges were agreed")
