"""Video payloads put together again: VP8 (RFC 7741), VP9 (RFC 9628), H.264 (RFC 6184, modes 0 and 1).

Owns what an RTP payload says of its frame, and how a frame's payloads become what a decoder or a muxer takes: VP8 and
VP9 frames as they are, H.264 with start codes (ITU-T H.264 annex B). Knows no time and no loss (`film.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mediaserver.limits import PICTURE_BYTES_MAX

CONTAINERS = {"webm": ("vp8", "vp9"), "mp4": ("h264", "vp9")}  # what each takes
FILM_FORMS = tuple(CONTAINERS)
PICTURES_ALONE = "pictures"  # a film without sound, in the container that its codec goes into
H264_IDR, H264_SPS, H264_STAP_A, H264_FU_A = 5, 7, 24, 28
START_CODE = b"\0\0\0\1"
H264_SINGLE_MAX = 23


class BadPayload(ValueError):
    """It cannot be what its payload type says."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One whole frame."""

    data: bytes
    key: bool


@dataclass(frozen=True, slots=True)
class Payload:
    """starts: a frame begins with this packet, as far as it can be told."""

    starts: bool
    body: bytes
    key: bool = False


def read_vp8(data: bytes) -> Payload:
    """The descriptor (§4.2) taken off."""
    at = 1
    if data[0] & 0x80:
        extension, at = data[1], 2
        if extension & 0x80:  # picture id
            at += 2 if data[at] & 0x80 else 1
        at += bool(extension & 0x40) + bool(extension & 0x30)  # TL0PICIDX; TID, KEYIDX
    if at > len(data):
        raise BadPayload("a VP8 descriptor longer than its packet")
    return Payload(data[0] & 0x1F == 0x10, data[at:])  # S, and partition 0


def join_vp8(parts: Sequence[bytes]) -> Picture:
    frame = b"".join(read_vp8(part).body for part in parts)
    if not frame:
        raise BadPayload("a VP8 frame of no bytes")
    return Picture(frame, not frame[0] & 1)  # RFC 6386 §9.1


def read_vp9(data: bytes) -> Payload:
    """The descriptor (§4.2) taken off; of several spatial layers only the first is kept."""
    first, at, spatial = data[0], 1, 0
    if first & 0x80:
        at += 2 if data[at] & 0x80 else 1
    if first & 0x20:
        spatial = data[at] >> 1 & 7
        at += 1 if first & 0x10 else 2
    if first & 0x10 and first & 0x40:
        while data[at] & 1:  # another reference follows
            at += 1
        at += 1
    if first & 0x02:
        at = _vp9_structure(data, at)
    if at > len(data):
        raise BadPayload("a VP9 descriptor longer than its packet")
    body = data[at:] if spatial == 0 else b""
    return Payload(bool(first & 0x08) and spatial == 0, body, not first & 0x40)


def _vp9_structure(data: bytes, at: int) -> int:
    head, at = data[at], at + 1
    if head & 0x10:
        at += 4 * ((head >> 5) + 1)
    if head & 0x08:
        count, at = data[at], at + 1
        for _ in range(count):
            at += 1 + (data[at] >> 2 & 3)
    return at


def join_vp9(parts: Sequence[bytes]) -> Picture:
    read = [read_vp9(part) for part in parts]
    frame = b"".join(part.body for part in read)
    if not frame:
        raise BadPayload("a VP9 frame of no bytes")
    return Picture(frame, read[0].key)


def read_h264(data: bytes) -> Payload:
    """An access unit begins with parameter sets and the like, or with the slice of its first macroblock."""
    kind, unit, first = data[0] & 0x1F, data[1:], True
    if kind == H264_FU_A:
        kind, unit, first = data[1] & 0x1F, data[2:], bool(data[1] & 0x80)
    elif kind == H264_STAP_A:
        kind, unit = data[3] & 0x1F, data[4:]
    if not 0 < kind <= H264_SINGLE_MAX:
        raise BadPayload(f"H.264 packets of type {kind} belong to packetization mode 2")
    # first_mb_in_slice is ue(v) and comes first: 0 is one bit, set (ITU-T H.264 §7.3.3, §9.1).
    return Payload(first and (kind > H264_IDR or bool(unit[0] & 0x80)), data)


def join_h264(parts: Sequence[bytes]) -> Picture:
    units: list[bytes] = []
    fragments: list[bytes] = []
    for data in parts:
        kind = data[0] & 0x1F
        if kind == H264_FU_A:
            fragments = _fragment(data, fragments)
            if data[1] & 0x40:
                units.append(b"".join(fragments))
                fragments = []
        elif kind == H264_STAP_A:
            units += _aggregated(data)
        else:
            units.append(data)
    if fragments or not units or sum(map(len, units)) > PICTURE_BYTES_MAX:
        raise BadPayload("an H.264 access unit that is not whole")
    kinds = [unit[0] & 0x1F for unit in units]
    # A decoder that begins here needs the parameter sets; senders repeat them before each IDR picture.
    key = H264_IDR in kinds and H264_SPS in kinds
    return Picture(b"".join(START_CODE + unit for unit in units), key)


def _fragment(data: bytes, before: list[bytes]) -> list[bytes]:
    """FU-A (§5.8): the first one brings the unit's own header."""
    if data[1] & 0x80:
        if before:
            raise BadPayload("a unit begins inside another")
        return [bytes([data[0] & 0xE0 | data[1] & 0x1F]), data[2:]]
    if not before:
        raise BadPayload("a unit without its beginning")
    return [*before, data[2:]]


def _aggregated(data: bytes) -> list[bytes]:
    """STAP-A (§5.7.1)."""
    units, at = [], 1
    while at + 2 < len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        unit = data[at + 2 : at + 2 + size]
        if not size or len(unit) != size:
            raise BadPayload("an aggregated unit longer than its packet")
        units.append(unit)
        at += 2 + size
    return units


READ: dict[str, Callable[[bytes], Payload]] = {"vp8": read_vp8, "vp9": read_vp9, "h264": read_h264}
JOIN: dict[str, Callable[[Sequence[bytes]], Picture]] = {"vp8": join_vp8, "vp9": join_vp9, "h264": join_h264}


def begins(codec: str, data: bytes) -> bool:
    """Whether a frame may begin with this payload. Raises BadPayload."""
    try:
        return READ[codec](data).starts
    except IndexError:
        raise BadPayload(f"a {codec} payload of {len(data)} bytes") from None


def join(codec: str, parts: Sequence[bytes]) -> Picture:
    """parts: all payloads of one frame in order. Raises BadPayload."""
    try:
        return JOIN[codec](parts)
    except IndexError:
        raise BadPayload(f"a {codec} frame in {len(parts)} packets that cannot be read") from None
