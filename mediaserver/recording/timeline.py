"""When each captured packet was spoken, on the server's one clock: RTP time tied to arrival time, drift and all.

Owns the first pass over a journal. A leg's packets fall into *pieces* inside which RTP time runs on without a jump;
each gets a curve from RTP time to server time that follows the earliest arrivals (the least delayed packets tell the
sender's clock, the others only the network's). Gaps stay gaps. Decodes nothing (`render.py`).
"""

from __future__ import annotations

import copy
import struct
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mediaserver.recording.journal import Kind, ReadStats, Record, Window, opened, records

KNOT_NS = 5_000_000_000  # one point of the curve per 5 s: 250 packets, of which the earliest counts
DEADBAND_NS = 1_000_000  # smaller deviations are jitter, not drift: such audio is placed bit for bit
SLEW_PPM_MAX = 500  # drift of real clocks stays under 200; faster would be heard as pitch
STEP_NS = 100_000_000  # RTP time that lags arrival by this for STEP_PERSISTS_NS has been stopped (hold) or restarted
STEP_PERSISTS_NS = 2_000_000_000  # a delay spike of a network is over by then
STEP_PACKETS_AT_END = 10
JUMP_BACK_NS = 1_000_000_000  # at once a new piece: no network delays in-order packets by so much more
JUMP_AHEAD_NS = 50_000_000  # packets cannot arrive before they were spoken
SETTLING_NS = 1_000_000_000  # at the start of a piece the least delay is not known yet
JUMP_AHEAD_SETTLING_NS = 500_000_000
START_SWAPPED_MAX = 10  # packets that may overtake the first one
MISORDER_MAX = 1_000  # packets; 20 s, later is no reordering
DAMAGE_NS_MIN = 60_000_000  # packets of 20 ms, and of 40, follow each other closer
NOT_AUDIO = frozenset({"cn", "telephone-event"})
RTP_HEADER = struct.Struct(">BBHII")


@dataclass(frozen=True, slots=True)
class Codec:
    name: str
    clock_hz: int
    channels: int


@dataclass(frozen=True, slots=True)
class Packet:
    arrival_ns: int
    payload_type: int
    sequence: int  # 16 bits
    timestamp: int  # 32 bits
    ssrc: int
    payload: bytes = field(repr=False)
    marker: bool = False


@dataclass(slots=True)
class Piece:
    """A stretch of one SSRC and codec whose RTP time runs on."""

    ssrc: int
    codec: Codec
    first_sequence: int  # extended
    first_timestamp: int  # extended
    last_sequence: int
    last_timestamp: int
    knots: list[tuple[int, int]] = field(default_factory=list)  # RTP ns since the first packet, arrival - that

    def rtp_ns(self, timestamp: int) -> int:
        return (timestamp - self.first_timestamp) * 1_000_000_000 // self.codec.clock_hz

    def curve(self, rate_hz: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Knots of (RTP time, server time) in ns. Offsets are whole samples at rate_hz, so that level parts copy."""
        sample_ns = 1e9 / rate_hz
        times: list[float] = []
        offsets: list[float] = []
        for time_ns, offset_ns in self.knots:
            if not offsets:
                offsets.append(offset_ns)
            else:
                error = offset_ns - offsets[-1]
                room = (time_ns - times[-1]) * SLEW_PPM_MAX / 1e6
                offsets.append(offsets[-1] + (0 if abs(error) <= DEADBAND_NS else max(-room, min(room, error))))
            times.append(time_ns)
        rtp = np.array(times, dtype=np.float64)
        return rtp, rtp + np.round(np.array(offsets) / sample_ns) * sample_ns


@dataclass(slots=True)
class Leg:
    """What the first pass found in one journal."""

    path: Path
    key: bytes | None = field(default=None, repr=False)
    header: dict[str, Any] = field(default_factory=dict)
    pieces: list[Piece] = field(default_factory=list)
    codecs: CodecMaps = field(default_factory=lambda: CodecMaps())
    opened_ns: int = 0
    closed_ns: int = 0
    packets: int = 0
    windows: list[Window] = field(default_factory=list)
    keys_ns: list[int] = field(default_factory=list)  # when a key was pressed (RFC 4733); which, is not looked at
    prompts: list[dict[str, Any]] = field(default_factory=list)
    events: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    damaged: list[tuple[int, int]] = field(default_factory=list)  # from, to: what was stored of it cannot be read
    read: ReadStats = field(default_factory=ReadStats)

    def spoken_until_ns(self) -> int:
        """Server time of the last packet's first sample; 0 without packets."""
        ends = []
        for piece in self.pieces:
            rtp, server = piece.curve(8_000)
            ends.append(round(float(server[-1] - rtp[-1])) + piece.rtp_ns(piece.last_timestamp))
        return max(ends, default=0)


class CodecMaps:
    """Payload types in force at each time: the header's, then each CODECS record's."""

    def __init__(self) -> None:
        self._times: list[int] = []
        self._maps: list[dict[int, Codec]] = []

    def add(self, at_ns: int, values: Any) -> None:
        """Takes the JSON of a journal; entries that make no sense are passed over."""
        codecs: dict[int, Codec] = {}
        for key, entry in values.items() if isinstance(values, dict) else ():
            try:
                codec = Codec(str(entry["name"]).lower(), int(entry["clock_hz"]), int(entry.get("channels", 1)))
                if codec.clock_hz > 0:
                    codecs[int(key)] = codec
            except (KeyError, TypeError, ValueError, AttributeError):
                continue
        index = bisect_right(self._times, at_ns)
        self._times.insert(index, at_ns)
        self._maps.insert(index, codecs)

    def latest_ns(self) -> int:
        """What comes from then on is of the latest of them."""
        return self._times[-1] if self._times else 0

    def find(self, payload_type: int, at_ns: int) -> Codec | None:
        """The codec in force, else the next one announced (a peer may use it before we noted it), else an older one."""
        index = max(0, bisect_right(self._times, at_ns) - 1)
        for codecs in (*self._maps[index:], *reversed(self._maps[:index])):
            if payload_type in codecs:
                return codecs[payload_type]
        return None


def parse_rtp(record: Record) -> Packet | None:
    """RFC 3550 §5.1, header extension and padding taken off. None: it is no RTP packet."""
    data = record.body
    if len(data) < RTP_HEADER.size:
        return None
    first, second, sequence, timestamp, ssrc = RTP_HEADER.unpack_from(data)
    if first >> 6 != 2:
        return None
    start, end = RTP_HEADER.size + 4 * (first & 0x0F), len(data)
    if first & 0x10:
        if end < start + 4:
            return None
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    if first & 0x20:
        end -= data[-1]
    if start > end:
        return None
    return Packet(record.arrival_ns, second & 0x7F, sequence, timestamp, ssrc, data[start:end], second > 0x7F)


class Unwrapper:
    """Extends the 16-bit sequence numbers and 32-bit timestamps of one SSRC to numbers that never wrap."""

    __slots__ = ("_restart", "sequence", "timestamp")

    def __init__(self, packet: Packet) -> None:
        self._restart = -1
        # One turn up, so that packets older than the first stay positive.
        self.sequence = packet.sequence + 0x10000
        self.timestamp = packet.timestamp + 0x100000000

    def extend(self, packet: Packet) -> tuple[int, int]:
        """Moves on to the packet if it is the newest; returns its extended sequence number and timestamp."""
        sequence = self.sequence + _signed(packet.sequence - self.sequence, 16)
        timestamp = self.timestamp + _signed(packet.timestamp - self.timestamp, 32)
        if sequence < self.sequence - MISORDER_MAX:
            # Far too old: a stray, or a sender that restarted its numbers. Two in a row decide (RFC 3550 A.1).
            if packet.sequence == self._restart:
                sequence = (self.sequence | 0xFFFF) + 1 + packet.sequence
            self._restart = (packet.sequence + 1) & 0xFFFF
        if sequence > self.sequence:
            self.sequence, self.timestamp = sequence, timestamp
        return sequence, timestamp

    def copy(self) -> Unwrapper:
        return copy.copy(self)


def survey(path: Path, key: bytes | None = None) -> Leg:
    """One pass over a journal; memory grows by one knot per 5 s. Raises OSError."""
    leg = Leg(path, key)
    surveyor = Surveyor(leg)
    skipped, last_ns = 0, 0
    for record in records(path, key, leg.read):
        if leg.read.bytes_skipped > skipped:
            skipped = leg.read.bytes_skipped
            note_damage(leg, last_ns, record.arrival_ns)
        last_ns = max(last_ns, record.arrival_ns)
        surveyor.feed(record)
    surveyor.finish()
    return leg


def note_damage(leg: Leg, from_ns: int, to_ns: int) -> None:
    """Bytes between two records were skipped: a gap, unless nothing is missing (what a crash tore came again)."""
    if leg.opened_ns and to_ns - from_ns > DAMAGE_NS_MIN:
        leg.damaged.append((from_ns, to_ns))


def survey_records(found: Iterable[Record], path: Path = Path()) -> Leg:
    leg = Leg(path)
    surveyor = Surveyor(leg)
    for record in found:
        surveyor.feed(record)
    surveyor.finish()
    return leg


class Surveyor:
    """Builds the pieces of one leg, record by record."""

    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self._unwrappers: dict[int, Unwrapper] = {}
        self._piece: Piece | None = None
        self._window: tuple[int, int, int] | None = None  # index, RTP ns and offset of the earliest in it
        self._step: _Step | None = None
        self._key_timestamp = -1
        self._payload_type = self._payload_ssrc = -1  # of the latest audio

    def feed(self, record: Record) -> None:
        leg = self._leg
        if record.kind == Kind.RTP:
            packet = parse_rtp(record)
            if packet is not None:
                leg.packets += 1
                leg.closed_ns = max(leg.closed_ns, packet.arrival_ns)
                self._place(packet)
        elif record.kind == Kind.HEADER and not leg.header:
            leg.header = record.values
            leg.codecs.add(record.arrival_ns, leg.header.get("codecs"))
        elif record.kind == Kind.CODECS:
            leg.codecs.add(record.arrival_ns, record.values.get("codecs"))
        elif record.kind == Kind.OPEN:
            leg.opened_ns = leg.opened_ns or record.arrival_ns
            leg.windows.append(opened(record))
        elif record.kind == Kind.CLOSE:
            leg.closed_ns = max(leg.closed_ns, record.arrival_ns)
            if leg.windows:
                leg.windows[-1].to_ns, leg.windows[-1].reason = record.arrival_ns, str(record.values.get("reason", ""))
        elif record.kind == Kind.PROMPT:
            prompt = _prompt(record.values)
            if prompt is not None:
                leg.prompts.append(prompt)
        elif record.kind == Kind.EVENT:
            leg.events.append((record.arrival_ns, record.values))

    def finish(self) -> None:
        if self._step is not None and self._step.packets >= STEP_PACKETS_AT_END:
            self._split_at_step()
        self._close_piece()
        if self._leg.windows and self._leg.windows[-1].reason == "interrupted":
            self._leg.windows[-1].to_ns = max(self._leg.windows[-1].from_ns, self._leg.closed_ns)

    def _place(self, packet: Packet) -> None:
        codec = self._leg.codecs.find(packet.payload_type, packet.arrival_ns)
        if codec is not None and codec.name == "telephone-event" and packet.timestamp != self._key_timestamp:
            self._key_timestamp = packet.timestamp  # all packets of one press carry the same
            self._leg.keys_ns.append(packet.arrival_ns)
        if codec is None or codec.name in NOT_AUDIO:
            return
        self._payload_type, self._payload_ssrc = packet.payload_type, packet.ssrc
        unwrapper = self._unwrappers.get(packet.ssrc)
        if unwrapper is None:
            unwrapper = self._unwrappers[packet.ssrc] = Unwrapper(packet)
            newest = 0
        else:
            newest = unwrapper.sequence
        sequence, timestamp = unwrapper.extend(packet)
        piece = self._piece
        if sequence <= newest:
            # Late or twice: it has a place in its piece, but tells nothing of the clock.
            if piece is not None and packet.ssrc == piece.ssrc and codec == piece.codec:
                self._overtaken_at_the_start(piece, sequence, timestamp)
            return
        if piece is None or packet.ssrc != piece.ssrc or codec != piece.codec:
            self._begin(packet, codec, sequence, timestamp)
            return
        rtp_ns = piece.rtp_ns(timestamp)
        offset_ns = packet.arrival_ns - rtp_ns
        deviation_ns = offset_ns - self._least_offset_ns()
        ahead = JUMP_AHEAD_SETTLING_NS if rtp_ns < SETTLING_NS and len(piece.knots) == 0 else JUMP_AHEAD_NS
        if deviation_ns > JUMP_BACK_NS or deviation_ns < -ahead:
            self._begin(packet, codec, sequence, timestamp)
            return
        piece.last_sequence, piece.last_timestamp = sequence, timestamp
        if deviation_ns > STEP_NS:
            self._lagging(packet, sequence, timestamp, offset_ns)
            return
        self._step = None
        self._observe(rtp_ns, offset_ns)

    def _overtaken_at_the_start(self, piece: Piece, sequence: int, timestamp: int) -> None:
        """The network swapped a piece's very first packets: it begins earlier than thought."""
        earlier_ns = -piece.rtp_ns(timestamp)
        swapped = piece.first_sequence - START_SWAPPED_MAX <= sequence < piece.first_sequence
        if not swapped or piece.knots or self._window is None or not 0 < earlier_ns <= SETTLING_NS:
            return
        piece.first_sequence, piece.first_timestamp = sequence, timestamp
        index, rtp_ns, offset_ns = self._window
        self._window = (index, rtp_ns + earlier_ns, offset_ns - earlier_ns)
        if self._step is not None:
            self._step.offset_ns -= earlier_ns

    def _begin(self, packet: Packet, codec: Codec, sequence: int, timestamp: int) -> None:
        self._close_piece()
        self._piece = Piece(packet.ssrc, codec, sequence, timestamp, sequence, timestamp)
        self._observe(0, packet.arrival_ns)

    def _close_piece(self) -> None:
        if self._piece is not None:
            self._flush_window()
            self._leg.pieces.append(self._piece)
        self._piece = self._step = None

    def _least_offset_ns(self) -> int:
        assert self._piece is not None
        known = [self._window[2]] if self._window is not None else []
        return min(known + [offset for _, offset in self._piece.knots[-1:]])

    def _observe(self, rtp_ns: int, offset_ns: int) -> None:
        index = rtp_ns // KNOT_NS
        if self._window is None or self._window[0] != index:
            self._flush_window()
            self._window = (index, rtp_ns, offset_ns)
        elif offset_ns < self._window[2]:
            self._window = (index, rtp_ns, offset_ns)

    def _flush_window(self) -> None:
        if self._window is not None and self._piece is not None:
            self._piece.knots.append(self._window[1:])
        self._window = None

    def _lagging(self, packet: Packet, sequence: int, timestamp: int, offset_ns: int) -> None:
        assert self._piece is not None
        step = self._step
        if step is None:
            self._step = _Step(packet.arrival_ns, sequence, timestamp, sequence, timestamp, timestamp, offset_ns)
            return
        step.packets += 1
        step.last_sequence, step.last_timestamp = sequence, timestamp
        if offset_ns < step.offset_ns:
            step.offset_ns, step.least_timestamp = offset_ns, timestamp
        if packet.arrival_ns - step.since_ns >= STEP_PERSISTS_NS:
            self._split_at_step()

    def _split_at_step(self) -> None:
        """It was no spike: the packets since the step are a piece of their own."""
        piece, step = self._piece, self._step
        assert piece is not None
        assert step is not None
        base_ns = piece.rtp_ns(step.sequence_timestamp)
        piece.last_sequence = step.sequence - 1
        piece.last_timestamp = max(piece.first_timestamp, step.sequence_timestamp - 1)
        self._close_piece()
        self._piece = Piece(
            piece.ssrc, piece.codec, step.sequence, step.sequence_timestamp, step.last_sequence, step.last_timestamp
        )
        # The same instant counted from the new piece's first packet.
        self._observe(self._piece.rtp_ns(step.least_timestamp), step.offset_ns + base_ns)


@dataclass(slots=True)
class _Step:
    since_ns: int
    sequence: int
    sequence_timestamp: int
    last_sequence: int
    last_timestamp: int
    least_timestamp: int
    offset_ns: int
    packets: int = 1


def _prompt(values: dict[str, Any]) -> dict[str, Any] | None:
    """What a PROMPT record says, checked; None if it makes no sense."""
    try:
        return {
            "name": str(values["name"]),
            "sha256": str(values["sha256"]) if values.get("sha256") else None,
            "started_ns": int(values["started_ns"]),
            "ended_ns": int(values["ended_ns"]),
            "offset_ms": int(values.get("offset_ms", 0)),
            "loop": bool(values.get("loop", False)),
        }
    except (KeyError, TypeError, ValueError):
        return None


def _signed(difference: int, bits: int) -> int:
    half = 1 << (bits - 1)
    return ((difference + half) & ((1 << bits) - 1)) - half
