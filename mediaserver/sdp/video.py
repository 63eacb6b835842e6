"""Video formats in SDP: rtpmap, fmtp, rtcp-fb and RTX (RFC 4588) of VP8, H.264, VP9 and AV1, both ways.

Owns which formats of two sides are the same one. A format of one party is offered to the other with that party's own
parameters, because pictures are forwarded as they come. `video_lines` keeps the state of an exchange.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mediaserver.errors import ParseError
from mediaserver.limits import SDP_FMTP_VALUE_CHARS_MAX
from mediaserver.model_video import VIDEO_CLOCK_HZ, Feedback, VideoCodec, VideoFormat
from mediaserver.sdp import h264
from mediaserver.sdp.description import Attribute, Media
from mediaserver.sdp.parse import number_between

_BY_NAME = {codec.value.lower(): codec for codec in VideoCodec}
_H264_ASYMMETRIC: Mapping[str, str] = {"level-asymmetry-allowed": "1", "profile-level-id": "42e01f"}
# What the house itself asks for where no other party has said what it can do: rooms and the echo.
_HOUSE: Mapping[VideoCodec, Sequence[Mapping[str, str]]] = {
    VideoCodec.VP8: ({},),
    VideoCodec.H264: (
        {**_H264_ASYMMETRIC, "packetization-mode": "1"},
        {**_H264_ASYMMETRIC, "packetization-mode": "0"},
    ),
    VideoCodec.VP9: ({"profile-id": "0"},),
    VideoCodec.AV1: ({"profile": "0"},),
}
# Parameters passed on from one party to the other; what is not named here stays between us and who wrote it.
_PASSED_ON: Mapping[VideoCodec, frozenset[str]] = {
    VideoCodec.VP8: frozenset({"max-fr", "max-fs"}),
    VideoCodec.VP9: frozenset({"max-fr", "max-fs", "profile-id"}),
    VideoCodec.AV1: frozenset({"profile", "level-idx", "tier"}),
    VideoCodec.H264: frozenset(
        (
            *("packetization-mode", "profile-level-id", "level-asymmetry-allowed", "sprop-parameter-sets"),
            *("max-mbps", "max-smbps", "max-fs", "max-cpb", "max-dpb", "max-br"),
        )
    ),
}
_VALUE = re.compile(rf"[A-Za-z0-9+/=,._-]{{1,{SDP_FMTP_VALUE_CHARS_MAX}}}")
_NO_FEEDBACK = Feedback()
ALL_FEEDBACK = Feedback(nack=True, pli=True, fir=True, transport_cc=True, remb=True)
_FEEDBACK: Mapping[str, str] = {
    "nack": "nack",
    "nack pli": "pli",
    "ccm fir": "fir",
    "transport-cc": "transport_cc",
    "goog-remb": "remb",
}


@dataclass(frozen=True, slots=True)
class DescribedFormat:
    """One format of a video section with the feedback its writer takes for it."""

    format: VideoFormat
    feedback: Feedback


def house_formats(codecs: Iterable[str]) -> tuple[VideoFormat, ...]:
    """Configured names (`media.video_codecs`) as formats in the same order; unknown names are left out."""
    known = [_BY_NAME[name.lower()] for name in codecs if name.lower() in _BY_NAME]
    return tuple(VideoFormat(codec, 0, None, fmtp) for codec in known for fmtp in _HOUSE[codec])


def read_video_formats(media: Media) -> list[DescribedFormat]:
    """The formats we can forward, in the peer's order. Raises ParseError for numbers that are none or out of range."""
    try:
        maps = dict(_split_map(value) for value in media.all("rtpmap"))
        fmtp = dict(_split_map(value) for value in media.all("fmtp"))
        order = dict.fromkeys(number_between(text, 0, 127, "payload type") for text in media.formats)
        rtx = dict(_retransmissions(order, maps, fmtp))
    except ValueError as error:
        raise ParseError(f"SDP m={media.kind}: {error}") from None
    feedback = [value.split(None, 1) for value in media.all("rtcp-fb")]
    found = []
    for payload_type in order:
        name, _, clock = maps.get(payload_type, "").partition("/")
        codec = _BY_NAME.get(name.strip().lower())
        if codec is None or clock.strip().partition("/")[0] != str(VIDEO_CLOCK_HZ):
            continue
        made = VideoFormat(codec, payload_type, rtx.get(payload_type), _parameters(codec, fmtp.get(payload_type, "")))
        found.append(DescribedFormat(made, _feedback(feedback, str(payload_type))))
    return found


def _split_map(value: str) -> tuple[int, str]:
    number, _, rest = value.partition(" ")
    return number_between(number, 0, 127, "payload type"), rest.strip()


def _retransmissions(
    order: Iterable[int], maps: Mapping[int, str], fmtp: Mapping[int, str]
) -> Iterable[tuple[int, int]]:
    """Media payload type and that of its retransmissions; the first one named counts."""
    seen = set()
    for payload_type in order:
        if maps.get(payload_type, "").lower() != f"rtx/{VIDEO_CLOCK_HZ}":
            continue
        for key, _, value in (part.strip().partition("=") for part in fmtp.get(payload_type, "").split(";")):
            if key.strip().lower() == "apt":
                media_type = number_between(value.strip(), 0, 127, "apt")
                if media_type not in seen:
                    seen.add(media_type)
                    yield media_type, payload_type


def _parameters(codec: VideoCodec, text: str) -> dict[str, str]:
    pairs = {}
    for part in text.split(";"):
        key, equals, value = part.strip().partition("=")
        key, value = key.strip().lower(), value.strip()
        if equals and key in _PASSED_ON[codec] and _VALUE.fullmatch(value):
            pairs[key] = value
    return pairs


def _feedback(lines: Iterable[list[str]], payload_type: str) -> Feedback:
    names = {
        _FEEDBACK.get(" ".join(line[1].lower().split()))
        for line in lines
        if len(line) == 2 and line[0] in ("*", payload_type)
    }
    names.discard(None)
    return replace(_NO_FEEDBACK, **{str(name): True for name in names})


def same_format(one: VideoFormat, other: VideoFormat) -> bool:
    """Whether pictures of one are pictures of the other: the codec and what fixes its bit stream and packets."""
    if one.codec is not other.codec:
        return False
    if one.codec is VideoCodec.H264:
        return h264.same_configuration(one.fmtp, other.fmtp)
    key = {VideoCodec.VP9: "profile-id", VideoCodec.AV1: "profile"}.get(one.codec)
    return key is None or one.fmtp.get(key, "0") == other.fmtp.get(key, "0")


def choose_formats(
    described: Sequence[DescribedFormat], wanted: Sequence[VideoFormat]
) -> list[tuple[DescribedFormat, VideoFormat]]:
    """Pairs of a peer's format and ours, in our order; one per codec, so that a codec names one payload type."""
    chosen: dict[VideoCodec, tuple[DescribedFormat, VideoFormat]] = {}
    for ours in wanted:
        for theirs in described:
            if ours.codec not in chosen and same_format(ours, theirs.format):
                chosen[ours.codec] = (theirs, ours)
    return list(chosen.values())


def one_profile(formats: Iterable[VideoFormat]) -> list[VideoFormat]:
    """Of each codec and H.264 packetization mode the profile most can decode.

    SIP phones look at codec and mode only: given a choice, baresip 1.0 answers one payload type and sends another.
    """
    chosen: dict[tuple[VideoCodec, str], VideoFormat] = {}
    for made in formats:
        key = (made.codec, h264.packetization_mode(made.fmtp))
        plain = h264.profile_of(made.fmtp) is h264.Profile.CONSTRAINED_BASELINE
        if key not in chosen or (plain and h264.profile_of(chosen[key].fmtp) is not h264.Profile.CONSTRAINED_BASELINE):
            chosen[key] = made
    return list(chosen.values())


def answered_formats(
    described: Sequence[DescribedFormat], offered: Sequence[VideoFormat]
) -> list[tuple[DescribedFormat, VideoFormat]]:
    """Pairs of an answer's format and the one we offered, in the answer's order: what it has first, it sends."""
    chosen: dict[VideoCodec, tuple[DescribedFormat, VideoFormat]] = {}
    for theirs in described:
        ours = next((made for made in offered if same_format(made, theirs.format)), None)
        if ours is not None:
            chosen.setdefault(ours.codec, (theirs, ours))
    return list(chosen.values())


def answered(theirs: VideoFormat, ours: VideoFormat) -> VideoFormat:
    """Our format as the answer to theirs writes it: their payload types, our parameters."""
    fmtp = h264.answered_parameters(theirs.fmtp, ours.fmtp) if ours.codec is VideoCodec.H264 else dict(ours.fmtp)
    return replace(theirs, fmtp=fmtp)


def both(one: Feedback, other: Feedback) -> Feedback:
    names = set(_FEEDBACK.values())
    return Feedback(**{name: getattr(one, name) and getattr(other, name) for name in names})


def write_video_formats(formats: Iterable[VideoFormat], feedback: Feedback) -> tuple[list[str], list[Attribute]]:
    """Payload types for the m= line, and rtpmap, fmtp and rtcp-fb lines."""
    numbers, lines = [], []
    for made in formats:
        numbers.append(str(made.payload_type))
        lines.append(Attribute("rtpmap", f"{made.payload_type} {made.codec}/{VIDEO_CLOCK_HZ}"))
        lines += [
            Attribute("rtcp-fb", f"{made.payload_type} {text}")
            for text, name in _FEEDBACK.items()
            if getattr(feedback, name)
        ]
        if made.fmtp:
            text = ";".join(f"{key}={value}" for key, value in made.fmtp.items())
            lines.append(Attribute("fmtp", f"{made.payload_type} {text}"))
        if made.rtx_payload_type is not None:
            numbers.append(str(made.rtx_payload_type))
            lines.append(Attribute("rtpmap", f"{made.rtx_payload_type} rtx/{VIDEO_CLOCK_HZ}"))
            lines.append(Attribute("fmtp", f"{made.rtx_payload_type} apt={made.payload_type}"))
    return numbers, lines
