"""Pictures from a journal of what a party showed: whole frames, each with the time it was taken on the server's clock.

Owns two passes: the first ties RTP time to arrival time for each stream, as sound has it (`timeline.py`); the second
puts packets in order and frames together. A frame that lacks a packet is dropped, and all that may refer to it, up to
the next key frame: a recording shows nothing that was not sent. Gaps stay gaps. Decodes nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mediaserver.limits import PICTURE_PACKETS_WAITING_MAX, PICTURE_STREAMS_MAX, REORDER_NS_MAX
from mediaserver.model_video import VIDEO_CLOCK_HZ
from mediaserver.recording.depacketize import JOIN, BadPayload, Picture, begins, join
from mediaserver.recording.journal import Kind, ReadStats, records
from mediaserver.recording.timeline import Leg, Packet, Piece, Surveyor, Unwrapper, parse_rtp

START_NS = 200_000_000  # so long the very first packet of a stream may be overtaken
SILENT_NS = 1_000_000_000  # a stream of a simulcast that sent nothing for so long is replaced by another


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame. at_ns: when it was taken, server's monotonic clock."""

    at_ns: int
    codec: str
    ssrc: int
    picture: Picture


@dataclass(slots=True)
class FilmStats:
    frames: int = 0
    frames_dropped: int = 0  # lost packets, or what refers to such
    packets_lost: int = 0


@dataclass(slots=True)
class Film:
    """What the first pass found in one journal of pictures."""

    path: Path
    key: bytes | None = field(repr=False)
    notes: Leg  # header, windows, codecs
    streams: dict[int, Leg] = field(default_factory=dict)  # by SSRC: its pieces
    sizes: dict[int, list[int]] = field(default_factory=dict)  # bytes and frames by SSRC
    last_ns: dict[int, int] = field(default_factory=dict)  # last arrival by SSRC
    stats: FilmStats = field(default_factory=FilmStats)

    @property
    def content(self) -> str:
        return str(self.notes.header.get("content", ""))

    def richness(self, ssrc: int) -> float:
        """Bytes a frame: which of the streams of a simulcast shows most."""
        size, frames = self.sizes[ssrc]
        return size / max(1, frames)

    @property
    def leg(self) -> str:
        return str(self.notes.header.get("leg", ""))

    @property
    def opened_ns(self) -> int:
        return self.notes.opened_ns

    @property
    def closed_ns(self) -> int:
        return max(self.notes.closed_ns, self.notes.opened_ns)


def survey_film(path: Path, key: bytes | None) -> Film:
    """One pass. Raises OSError."""
    film = Film(path, key, Leg(path, key))
    notes = Surveyor(film.notes)
    surveyors: dict[int, Surveyor] = {}
    for record in records(path, key, film.notes.read):
        if record.kind != Kind.RTP:
            notes.feed(record)
            continue
        packet = parse_rtp(record)
        if packet is None:
            continue
        film.notes.packets += 1
        film.notes.closed_ns = max(film.notes.closed_ns, packet.arrival_ns)
        if packet.ssrc not in surveyors:
            if len(surveyors) == PICTURE_STREAMS_MAX:
                continue
            film.streams[packet.ssrc] = Leg(path, codecs=film.notes.codecs)
            surveyors[packet.ssrc] = Surveyor(film.streams[packet.ssrc])
        size = film.sizes.setdefault(packet.ssrc, [0, 0])
        size[0] += len(packet.payload)
        size[1] += packet.marker
        film.last_ns[packet.ssrc] = packet.arrival_ns
        surveyors[packet.ssrc].feed(record)
    notes.finish()
    for surveyor in surveyors.values():
        surveyor.finish()
    return film


class Clock:
    """Server time of a stream's RTP times."""

    def __init__(self, pieces: list[Piece]) -> None:
        self._pieces = pieces
        self._firsts = [piece.first_sequence for piece in pieces]
        self._curves = [piece.curve(VIDEO_CLOCK_HZ) for piece in pieces]

    def at_ns(self, sequence: int, timestamp: int) -> int | None:
        """None: of no piece."""
        index = bisect_right(self._firsts, sequence) - 1
        if index < 0:
            return None
        rtp_ns = float(self._pieces[index].rtp_ns(timestamp))
        rtp, server = self._curves[index]
        if rtp_ns <= rtp[0]:
            return round(float(server[0] - rtp[0]) + rtp_ns)
        if rtp_ns >= rtp[-1]:
            return round(float(server[-1] - rtp[-1]) + rtp_ns)
        return round(float(np.interp(rtp_ns, rtp, server)))


class Assembler:
    """The packets of one stream, in order of arrival, to its whole frames in order of sequence numbers."""

    def __init__(self, film: Film, ssrc: int) -> None:
        self._film = film
        self._ssrc = ssrc
        self._clock = Clock(film.streams[ssrc].pieces)
        self._unwrapper: Unwrapper | None = None
        self._waiting: dict[int, tuple[int, Packet]] = {}  # by sequence: RTP time, packet
        self._next = -1  # sequence number
        self._parts: list[bytes] = []
        self._time: tuple[int, int, str] | None = None  # of the frame being put together: sequence, RTP time, codec
        self._torn = True  # its beginning is missing, as it is where capture begins
        self._needs_key = True

    def push(self, packet: Packet) -> Iterator[Shot]:
        if self._unwrapper is None:
            self._unwrapper = Unwrapper(packet)
        sequence, timestamp = self._unwrapper.extend(packet)
        if sequence < self._next:
            return  # twice, or too late
        self._waiting[sequence] = (timestamp, packet)
        yield from self._drain(packet.arrival_ns)

    def flush(self) -> Iterator[Shot]:
        yield from self._drain(None)
        yield from self._finish()

    def _drain(self, now_ns: int | None) -> Iterator[Shot]:
        """now_ns None: nothing comes any more."""
        while self._waiting:
            if self._next not in self._waiting:
                first = min(self._waiting)
                waits = now_ns is not None and len(self._waiting) < PICTURE_PACKETS_WAITING_MAX
                if waits and now_ns is not None and now_ns - self._waiting[first][1].arrival_ns < self._patience():
                    return
                if self._next >= 0:
                    self._film.stats.packets_lost += first - self._next
                    self._lose()
                self._next = first
            timestamp, packet = self._waiting.pop(self._next)
            yield from self._take(self._next, timestamp, packet)
            self._next += 1

    def _patience(self) -> int:
        """The very first packets may be swapped; nothing is asked for again before."""
        return REORDER_NS_MAX if self._next >= 0 else START_NS

    def _lose(self) -> None:
        """A packet is missing before the next one."""
        self._film.stats.frames_dropped += bool(self._parts)
        self._parts = []
        self._time = None
        self._torn = self._needs_key = True

    def _take(self, sequence: int, timestamp: int, packet: Packet) -> Iterator[Shot]:
        codec = self._film.notes.codecs.find(packet.payload_type, packet.arrival_ns)
        if codec is None or codec.name not in JOIN or not packet.payload:
            return  # padding, or of a codec that cannot be put together
        if self._time is not None and self._time[1] != timestamp:
            yield from self._finish()
        if self._time is None:
            try:
                self._torn = self._torn and not begins(codec.name, packet.payload)
            except BadPayload:
                self._torn = True
            self._time = (sequence, timestamp, codec.name)
        self._parts.append(packet.payload)
        if packet.marker:
            yield from self._finish()

    def _finish(self) -> Iterator[Shot]:
        time, parts, torn = self._time, self._parts, self._torn
        self._time, self._parts, self._torn = None, [], False
        if time is None:
            return
        sequence, timestamp, codec = time
        try:
            picture = None if torn else join(codec, parts)
        except BadPayload:
            picture = None
        at_ns = self._clock.at_ns(sequence, timestamp)
        if picture is None or at_ns is None or (self._needs_key and not picture.key):
            self._film.stats.frames_dropped += 1
            self._needs_key = True
            return
        self._needs_key = False
        yield Shot(at_ns, codec, self._ssrc, picture)


def all_shots(film: Film) -> Iterator[Shot]:
    """The second pass: every whole frame of every stream, each stream in its order. Raises OSError."""
    assemblers = {ssrc: Assembler(film, ssrc) for ssrc in film.streams}
    for record in records(film.path, film.key, ReadStats()):
        packet = parse_rtp(record) if record.kind == Kind.RTP else None
        if packet is not None and packet.ssrc in assemblers:
            yield from assemblers[packet.ssrc].push(packet)
    for assembler in assemblers.values():
        yield from assembler.flush()


def shots(film: Film) -> Iterator[Shot]:
    """The frames that are shown: of a simulcast the best stream there is, changed only at a key frame; time goes on."""
    current, last_ns = -1, -(1 << 62)
    for shot in all_shots(film):
        better = current >= 0 and film.richness(shot.ssrc) > film.richness(current)
        over = current >= 0 and film.last_ns[current] <= shot.at_ns + START_NS  # its sender began anew
        silent = shot.at_ns - last_ns > SILENT_NS
        if shot.ssrc != current and not (shot.picture.key and (current < 0 or better or over or silent)):
            continue
        if shot.at_ns <= last_ns:
            shot = Shot(last_ns + 1, shot.codec, shot.ssrc, shot.picture)
        current, last_ns = shot.ssrc, shot.at_ns
        film.stats.frames += 1
        yield shot
