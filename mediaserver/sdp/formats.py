"""Payload types and codecs: rtpmap, fmtp and the static table of RFC 3551, both ways between SDP and `CodecParams`.

Owns what each encoding is called, which we know, and which parameters we write for it. `negotiate` chooses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mediaserver.errors import ParseError
from mediaserver.model import NOT_AUDIO, CodecName, CodecParams, StreamSettings
from mediaserver.sdp.description import Attribute, Media
from mediaserver.sdp.parse import number_between

# Static payload types we can use without an rtpmap, RFC 3551 §6. 10 and 11 (L16 at 44.1 kHz) are left out on purpose:
# the media plane has no 44.1 kHz. 19 is the old number of comfort noise that early gateways still send.
STATIC: Mapping[int, tuple[CodecName, int]] = {
    0: (CodecName.PCMU, 8_000),
    8: (CodecName.PCMA, 8_000),
    9: (CodecName.G722, 8_000),
    13: (CodecName.CN, 8_000),
    19: (CodecName.CN, 8_000),
}

# Numbers we propose for formats without a static one. A peer's own numbers win wherever it made the first offer.
DYNAMIC: Mapping[tuple[CodecName, int], int] = {
    (CodecName.OPUS, 48_000): 111,
    (CodecName.RED, 48_000): 63,  # what browsers use
    (CodecName.L16, 16_000): 112,
    (CodecName.L16, 8_000): 113,
    (CodecName.TELEPHONE_EVENT, 8_000): 101,
    (CodecName.TELEPHONE_EVENT, 16_000): 102,
    (CodecName.TELEPHONE_EVENT, 48_000): 110,
}

AUDIO = (CodecName.PCMU, CodecName.PCMA, CodecName.G722, CodecName.OPUS, CodecName.L16)
_CLOCKS: Mapping[CodecName, frozenset[int]] = {
    CodecName.PCMU: frozenset({8_000}),
    CodecName.PCMA: frozenset({8_000}),
    CodecName.G722: frozenset({8_000, 16_000}),  # 16000 is a well-known mistake for 8000, RFC 3551 §4.5.2
    CodecName.OPUS: frozenset({48_000}),
    CodecName.L16: frozenset({8_000, 16_000}),
    CodecName.CN: frozenset({8_000, 16_000, 48_000}),
    CodecName.TELEPHONE_EVENT: frozenset({8_000, 16_000, 48_000}),
    CodecName.RED: frozenset({8_000, 48_000}),
}
_STEREO = (CodecName.OPUS, CodecName.RED)  # RFC 7587 §7: two are always written, whatever is sent
_BY_NAME = {name.value.lower(): name for name in CodecName}
_PACKET_PAYLOAD_BYTES_MAX = 1_280  # RTP payload that fits every path with header and SRTP tag
OUR_OPUS_FMTP: Mapping[str, str] = {"useinbandfec": "1", "stereo": "0", "sprop-stereo": "0", "maxplaybackrate": "48000"}
OUR_EVENTS_FMTP: Mapping[str, str] = {"events": "0-16"}


@dataclass(frozen=True, slots=True)
class Encoding:
    """What identifies a codec independently of its payload type."""

    name: CodecName
    clock_hz: int


def encoding_of(codec: CodecParams) -> Encoding:
    return Encoding(codec.name, codec.clock_hz)


def read_formats(media: Media) -> list[CodecParams]:
    """The formats of an RTP m= section that we know, in the peer's order; unknown ones are left out.

    Raises ParseError for payload types or rtpmap numbers that are no numbers or out of range.
    """
    try:
        maps = dict(_split_map(value) for value in media.all("rtpmap"))
        fmtp = dict(_split_map(value) for value in media.all("fmtp"))
        known = []
        seen = set()
        for text in media.formats:
            payload_type = number_between(text, 0, 127, "payload type")
            if payload_type in seen:
                continue
            seen.add(payload_type)
            codec = _codec(payload_type, maps.get(payload_type), fmtp.get(payload_type, ""))
            if codec is not None:
                known.append(codec)
    except ValueError as error:
        raise ParseError(f"SDP m={media.kind}: {error}") from None
    return known


def _split_map(value: str) -> tuple[int, str]:
    number, _, rest = value.partition(" ")
    return number_between(number, 0, 127, "payload type"), rest.strip()


def _codec(payload_type: int, rtpmap: str | None, fmtp: str) -> CodecParams | None:
    if rtpmap is None:
        static = STATIC.get(payload_type)
        return (
            None if static is None else CodecParams(static[0], payload_type, static[1], 1, _read_fmtp(static[0], fmtp))
        )
    name_text, _, rest = rtpmap.partition("/")
    clock_text, _, channels_text = rest.partition("/")
    name = _BY_NAME.get(name_text.strip().lower())
    if name is None:
        return None
    clock_hz = number_between(clock_text.strip(), 1, 10_000_000, "clock rate")
    channels = number_between(channels_text.strip(), 1, 255, "channel count") if channels_text.strip() else 1
    if clock_hz not in _CLOCKS[name] or (channels != 1 and name not in _STEREO):
        return None
    if name is CodecName.G722:
        clock_hz = 8_000
    return CodecParams(name, payload_type, clock_hz, 1, _read_fmtp(name, fmtp))


def _read_fmtp(name: CodecName, text: str) -> Mapping[str, str]:
    """`a=1; b=2` as lower-cased keys; bare lists of events (RFC 4733 §2.4.1) and of RED's blocks by a key of ours."""
    if name is CodecName.TELEPHONE_EVENT:
        return {"events": text.replace(" ", "") or "0-15"}
    if name is CodecName.RED:
        return {"blocks": text.replace(" ", "")}
    pairs = {}
    for part in text.split(";"):
        key, equals, value = part.strip().partition("=")
        if key and equals:
            pairs[key.strip().lower()] = value.strip()
    return pairs


def write_formats(codecs: Iterable[CodecParams]) -> list[Attribute]:
    """rtpmap and fmtp lines, also for static payload types: some devices want to see them."""
    lines = []
    for codec in codecs:
        channels = "/2" if codec.name in _STEREO and codec.clock_hz == 48_000 else ""
        lines.append(Attribute("rtpmap", f"{codec.payload_type} {codec.name}/{codec.clock_hz}{channels}"))
        if codec.name is CodecName.TELEPHONE_EVENT:
            lines.append(Attribute("fmtp", f"{codec.payload_type} {codec.fmtp.get('events', '0-15')}"))
        elif codec.name is CodecName.RED:
            lines.append(Attribute("fmtp", f"{codec.payload_type} {codec.fmtp['blocks']}"))
        elif codec.fmtp:
            text = ";".join(f"{key}={value}" for key, value in codec.fmtp.items())
            lines.append(Attribute("fmtp", f"{codec.payload_type} {text}"))
    return lines


def our_fmtp(name: CodecName) -> Mapping[str, str]:
    """What we ask a sender of this codec for."""
    if name is CodecName.OPUS:
        return OUR_OPUS_FMTP
    return OUR_EVENTS_FMTP if name is CodecName.TELEPHONE_EVENT else {}


def ours(codec: CodecParams) -> CodecParams:
    """The same format as we describe it: our parameters instead of the peer's."""
    return replace(codec, fmtp=our_fmtp(codec.name))


def encodings(names: Sequence[str]) -> list[Encoding]:
    """Configured codec names (`media.codecs`) to encodings in the same order; unknown names are left out."""
    found: list[Encoding] = []
    for text in names:
        name = _BY_NAME.get(text.lower())
        if name in NOT_AUDIO or name is None:
            continue
        clocks = (16_000, 8_000) if name is CodecName.L16 else (48_000,) if name is CodecName.OPUS else (8_000,)
        found.extend(Encoding(name, clock_hz) for clock_hz in clocks)
    return found


def in_order(prefer: Sequence[Encoding], allowed: Sequence[Encoding], *, keep_wideband: bool) -> list[Encoding]:
    """What to try first: `prefer` (another leg's codecs, so that the two can be relayed), then `allowed`, each once.

    keep_wideband: a narrowband codec is not preferred over a wider one that `allowed` has before it, so that a narrow
    party makes nobody else narrow; among the narrow ones `prefer` decides.
    """

    def narrows(encoding: Encoding) -> bool:
        before = allowed[: allowed.index(encoding)]
        return keep_wideband and is_narrow(encoding) and not all(is_narrow(other) for other in before)

    wished = [encoding for encoding in prefer if encoding in allowed]
    narrow = iter(dict.fromkeys(encoding for encoding in [*wished, *allowed] if is_narrow(encoding)))
    rest = [next(narrow) if is_narrow(encoding) else encoding for encoding in allowed]
    return list(dict.fromkeys([*(encoding for encoding in wished if not narrows(encoding)), *rest]))


def is_narrow(encoding: Encoding) -> bool:
    return encoding.name in (CodecName.PCMU, CodecName.PCMA) or encoding == Encoding(CodecName.L16, 8_000)


def receiving(stream: StreamSettings | None, formats: Sequence[CodecParams]) -> StreamSettings | None:
    """The stream, ready for what an offer of ours has just proposed as well as for what it hears now.

    What it hears is missing among the formats only if the peer has renumbered it; more than that one would not fit.
    """
    if stream is None:
        return None
    taken = {codec.payload_type for codec in formats}
    kept = [codec for codec in stream.receive if codec.name in AUDIO and codec.payload_type not in taken]
    return replace(stream, receive=(*formats, *kept[:1]))


def redundancy(offered: Sequence[CodecParams], audio: CodecParams) -> CodecParams | None:
    """The RED format that repeats this codec: its blocks are all of that payload type (RFC 2198 §5)."""
    wanted = {str(audio.payload_type)}
    for codec in offered:
        blocks = set(codec.fmtp.get("blocks", "").split("/"))
        if codec.name is CodecName.RED and codec.clock_hz == audio.clock_hz and blocks == wanted:
            return codec
    return None


def redundancy_of(audio: CodecParams, payload_type: int) -> CodecParams:
    """RED around the codec, each payload repeated once."""
    blocks = f"{audio.payload_type}/{audio.payload_type}"
    return CodecParams(CodecName.RED, payload_type, audio.clock_hz, 1, {"blocks": blocks})


def usable_ptime_ms(codec: Encoding, wished_ms: int) -> int:
    """The packet time we send when the peer wishes `wished_ms`: what the codec can frame and a packet can carry."""
    ptime_ms = max(10, min(60, wished_ms)) // 10 * 10
    if codec.name is CodecName.OPUS:  # RFC 6716 frames of 10, 20, 40 and 60 ms
        return max(length for length in (10, 20, 40, 60) if length <= ptime_ms)
    if codec.name is CodecName.L16:
        return min(ptime_ms, _PACKET_PAYLOAD_BYTES_MAX * 1000 // (codec.clock_hz * 2) // 10 * 10)
    return ptime_ms
