"""Numbered pictures as RTP: encoded by FFmpeg, packetized here by the RFCs alone, nothing of ours."""

from __future__ import annotations

import functools
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from mediaserver.recording.durable import LegFile
from mediaserver.recording.journal import Kind, frame, note
from mediaserver.recording.keys import KeyRing
from tests.support.numbered import HEIGHT, WIDTH, draw, read
from tests.support.sealed import RING, begin_sealed, put
from tests.support.synthetic_taps import T0_NS, header, rtp

PAYLOAD_TYPES = {"VP8": 96, "VP9": 98, "H264": 102}
ENCODERS: dict[str, tuple[str, dict[str, str]]] = {
    "VP8": ("libvpx", {"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "0", "lag-in-frames": "0"}),
    "VP9": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "auto-alt-ref": "0", "lag-in-frames": "0"}),
    "H264": ("libx264", {"preset": "ultrafast", "tune": "zerolatency", "profile": "baseline", "slices": "1"}),
}
ROOM = 300  # bytes of a packet's payload: small, so that frames take several


def codecs(name: str) -> dict[str, Any]:
    return {str(PAYLOAD_TYPES[name]): {"name": name, "clock_hz": 90_000, "fmtp": {}}}


@functools.cache
def encode(name: str, owner: int, numbers: range, keys: frozenset[int], scale: int) -> tuple[bytes, ...]:
    """The frames of these pictures; of H.264 in Annex B. keys: numbers that begin anew. scale: so much smaller."""
    encoder, options = ENCODERS[name]
    context: Any = av.CodecContext.create(encoder, "w")
    width, height = WIDTH // scale, HEIGHT // scale
    context.width, context.height, context.pix_fmt, context.bit_rate = width, height, "yuv420p", 400_000
    context.time_base, context.framerate, context.options, context.gop_size = Fraction(1, 15), 15, options, 10_000
    context.thread_count = 1
    out = []
    for number in numbers:
        image = av.VideoFrame.from_ndarray(draw(owner, number), format="rgb24")
        image = image.reformat(width=width, height=height, format="yuv420p")
        image.pts = number
        image.pict_type = av.video.frame.PictureType.I if number in keys else av.video.frame.PictureType.NONE
        packets = context.encode(image)
        assert len(packets) == 1
        assert packets[0].is_keyframe is (number in keys or number == numbers[0])
        out.append(bytes(packets[0]))
    return tuple(out)


def vp8(frame: bytes, number: int) -> list[bytes]:
    pieces = [frame[at : at + ROOM] for at in range(0, len(frame), ROOM)]
    picture = struct.pack(">H", 0x8000 | number & 0x7FFF)
    return [bytes([0x80 | (0x10 if index == 0 else 0), 0xA0]) + picture + b"\0" + piece
            for index, piece in enumerate(pieces)]  # fmt: skip


def vp9(frame: bytes, number: int) -> list[bytes]:
    pieces = [frame[at : at + ROOM] for at in range(0, len(frame), ROOM)]
    inter = frame[0] & 0x04  # frame_type of the uncompressed header, profile 0
    out = []
    for index, piece in enumerate(pieces):
        first = 0x80 | (0x40 if inter else 0) | (0x08 if index == 0 else 0) | (0x04 if index == len(pieces) - 1 else 0)
        out.append(bytes([first]) + struct.pack(">H", 0x8000 | number & 0x7FFF) + piece)
    return out


def h264(frame: bytes, _number: int) -> list[bytes]:
    """Small units together in a STAP-A, large ones in FU-A."""
    units = [unit.rstrip(b"\0") for unit in frame.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1") if unit]
    small = [unit for unit in units if len(unit) < 100 and unit[0] & 0x1F in (6, 7, 8)]
    out = []
    if len(small) > 1:
        out.append(b"\x78" + b"".join(struct.pack(">H", len(unit)) + unit for unit in small))
    for unit in units if len(small) < 2 else [unit for unit in units if unit not in small]:
        if len(unit) <= ROOM:
            out.append(unit)
            continue
        head, kind, body = unit[0] & 0xE0 | 28, unit[0] & 0x1F, unit[1:]
        pieces = [body[at : at + ROOM] for at in range(0, len(body), ROOM)]
        for index, piece in enumerate(pieces):
            mark = (0x80 if index == 0 else 0) | (0x40 if index == len(pieces) - 1 else 0)
            out.append(bytes([head, mark | kind]) + piece)
    return out


PACKETIZERS: dict[str, Callable[[bytes, int], list[bytes]]] = {"VP8": vp8, "VP9": vp9, "H264": h264}


@dataclass
class Photographer:
    """One party's camera: numbered pictures, tap records out. lost: by index of the packet."""

    owner: int = 3
    codec: str = "VP8"
    frames: int = 45
    rate_hz: int = 15
    keys: frozenset[int] = frozenset({0})
    start_ns: int = T0_NS
    sequence: int = 65_500  # wraps soon
    timestamp: int = 0xFFFFF000
    ssrc: int = 0xCAFE
    first: int = 0
    scale: int = 1
    taken_ns: dict[int, int] = field(default_factory=dict)  # by number

    def packets(self) -> list[tuple[int, bytes]]:
        """(arrival, RTP packet); the packets of a frame come a quarter of a millisecond apart."""
        out: list[tuple[int, bytes]] = []
        numbers = range(self.first, self.first + self.frames)
        for index, coded in enumerate(encode(self.codec, self.owner, numbers, self.keys, self.scale)):
            at_ns = self.start_ns + index * 1_000_000_000 // self.rate_hz
            self.taken_ns[numbers[index]] = at_ns
            payloads = PACKETIZERS[self.codec](coded, numbers[index])
            for place, payload in enumerate(payloads):
                kind = PAYLOAD_TYPES[self.codec] | (0x80 if place == len(payloads) - 1 else 0)
                packet = rtp(self.sequence, self.timestamp + index * 90_000 // self.rate_hz, payload,
                             payload_type=kind, ssrc=self.ssrc)  # fmt: skip
                out.append((at_ns + place * 250_000, packet))
                self.sequence += 1
        return out


def seen(path: Path | str) -> list[tuple[int, tuple[int, int] | None]]:
    """(ms, owner and number) of every picture of a film, by FFmpeg."""
    with av.open(str(path)) as film:
        stream = film.streams.video[0]
        return [(round(1000 * image.time), read(image.to_ndarray(format="rgb24"))) for image in film.decode(stream)]


def write_sealed_pictures(
    directory: Path,
    packets: list[tuple[int, bytes]],
    leg: str = "1",
    picture: str = "camera",
    codec: str = "VP8",
    *,
    opened_ns: int = T0_NS,
    closed_ns: int,
    ring: KeyRing = RING,
    recording_id: str = "r1",
) -> LegFile:
    """As the recorder leaves it, with its key. packets: (arrival, RTP packet)."""
    content = "main" if picture == "camera" else "slides"
    file = begin_sealed(
        directory,
        f"{leg}-{picture}",
        video=True,
        leg=leg,
        media="video",
        content=content,
        codecs=codecs(codec),
        ring=ring,
        recording_id=recording_id,
    )
    put(file, note(Kind.OPEN, opened_ns, {"evidence": {"evidence_id": f"e{leg}"}}))
    for start in range(0, len(packets), 20):
        put(
            file,
            b"".join(frame(Kind.RTP, arrival, packet, flags=16) for arrival, packet in packets[start : start + 20]),
        )
    put(file, note(Kind.CLOSE, closed_ns, {"reason": "ended"}) + note(Kind.END, closed_ns, {"reason": "ended"}))
    os.close(file.descriptor)
    return file


def write_pictures(
    path: Path, packets: list[tuple[int, bytes]], codec: str = "VP8", *, opened_ns: int = T0_NS, closed_ns: int
) -> Path:
    """A journal of version 1 of what a party showed. packets: (arrival, RTP packet)."""
    parts = [header("1", media="video", content="main", codecs=codecs(codec)), note(Kind.OPEN, opened_ns, {})]
    parts += [frame(Kind.RTP, arrival, packet, flags=16) for arrival, packet in sorted(packets)]
    parts += [note(Kind.CLOSE, closed_ns, {"reason": "ended"}), note(Kind.END, closed_ns, {"reason": "ended"})]
    path.write_bytes(b"".join(parts))
    return path
