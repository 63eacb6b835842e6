"""The first pass over a sealed journal, fast: runs of packets that hold no surprise are walked natively.

Owns the quick way through `timeline.Surveyor`, which decides on everything else and finds the same (a test holds both
together), and the places from which the second pass may begin in the middle of a journal.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from multiprocessing.connection import Connection
from pathlib import Path

from mediaserver.media.runs import Run
from mediaserver.recording.journal import Record, is_sealed, one_record, opened_segments, read, recovered_end
from mediaserver.recording.timeline import (
    JUMP_AHEAD_NS,
    KNOT_NS,
    NOT_AUDIO,
    STEP_NS,
    Leg,
    Surveyor,
    Unwrapper,
    note_damage,
    survey,
)

ALONE_BYTES_MAX = 4 << 20  # journals of so many bytes together are not worth another process
Journal = tuple[Path, bytes | None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the file a later reader may begin, and what it would know there."""

    offset: int
    arrival_ns: int  # of the latest record before it
    sources: dict[int, Unwrapper]  # by SSRC


@dataclass(slots=True)
class Surveyed:
    leg: Leg
    places: list[Place] = field(default_factory=list)  # in the order of the file; none: from its beginning only


def survey_quickly(path: Path, key: bytes | None) -> Surveyed:
    """As `timeline.survey`, ten times as fast where the journal is sealed. Raises OSError."""
    if key is None or not is_sealed(path):
        return Surveyed(survey(path, key))
    leg = Leg(path, key)
    surveyor = QuickSurveyor(leg)
    skipped = 0
    with path.open("rb") as file:
        for segment, plain in opened_segments(file, key, leg.read):
            if leg.read.bytes_skipped > skipped:
                skipped = leg.read.bytes_skipped
                surveyor.after_damage = True
            if (ending := recovered_end(segment)) is not None:
                surveyor.take(ending)
            if segment.sealed_ns >= surveyor.next_place_ns:
                surveyor.note_place(segment.offset, segment.sealed_ns)
            surveyor.feed_segment(plain)
    surveyor.leave()
    surveyor.finish()
    return Surveyed(leg, surveyor.places)


def survey_together(journals: Mapping[Path, bytes | None]) -> list[Surveyed]:
    """All of a recording, in their order; large ones each on a core of its own, so that two take as long as one.

    For a process without threads: others are forked from it. Raises OSError.
    """
    items = list(journals.items())
    shares = min(len(items), os.cpu_count() or 1)
    if shares < 2 or sum(path.stat().st_size for path in journals) <= ALONE_BYTES_MAX:
        return [survey_quickly(*item) for item in items]
    context = multiprocessing.get_context("fork")
    found: list[Surveyed | None] = [None] * len(items)
    helpers = []
    for share in range(1, shares):
        told, tell = context.Pipe(duplex=False)
        process = context.Process(target=_survey_share, args=(items[share::shares], tell), daemon=True)
        process.start()
        tell.close()  # else its end would not be seen
        helpers.append((share, told, process))
    found[::shares] = [survey_quickly(*item) for item in items[::shares]]
    for share, told, process in helpers:
        try:
            found[share::shares] = told.recv()
        except EOFError:  # it was killed, or could not read one: here the error has a place to go
            found[share::shares] = [survey_quickly(*item) for item in items[share::shares]]
        told.close()
        process.join()
    return [one for one in found if one is not None]


def _survey_share(items: Sequence[Journal], tell: Connection) -> None:
    try:
        tell.send([survey_quickly(*item) for item in items])
    except OSError:
        tell.close()


class QuickSurveyor(Surveyor):
    def __init__(self, leg: Leg) -> None:
        super().__init__(leg)
        self.places: list[Place] = []
        self.after_damage = False  # what comes next tells where the damage ends
        self.next_place_ns = 0
        self._run = Run()
        self._follows = False
        self._last_ns = 0  # of all records

    def feed_segment(self, plain: bytes) -> None:
        position = 0
        if self.after_damage:
            self.leave()
        while position < len(plain):
            if self._follows or self._enter():
                position = self._run.follow(plain, position)
                if position >= len(plain):
                    return
            self.leave()
            found = one_record(plain, position)
            records = [found[0]] if found is not None else list(read(BytesIO(plain[position:])))
            position = found[1] if found is not None else len(plain)
            for record in records:
                self._leg.read.records += 1
                self.take(record)

    def take(self, record: Record) -> None:
        self.leave()
        if self.after_damage:
            self.after_damage = False
            note_damage(self._leg, self._last_ns, record.arrival_ns)
        self._last_ns = max(self._last_ns, record.arrival_ns)
        self.feed(record)

    def note_place(self, offset: int, sealed_ns: int) -> None:
        """The next segment begins there."""
        self.next_place_ns = sealed_ns + KNOT_NS
        self.leave()
        sources = {ssrc: one.copy() for ssrc, one in self._unwrappers.items()}
        self.places.append(Place(offset, self._last_ns, sources))

    def _enter(self) -> bool:
        """Begins to follow, if the latest packet was an ordinary one. False: each record has to be looked at."""
        piece, window, run = self._piece, self._window, self._run
        if piece is None or window is None or self._step is not None or self.after_damage:
            return False
        unwrapper = self._unwrappers[piece.ssrc]
        codec_from_ns = self._leg.codecs.latest_ns()
        codec = self._leg.codecs.find(self._payload_type, codec_from_ns)
        if codec != piece.codec or codec.name in NOT_AUDIO or self._payload_ssrc != piece.ssrc:
            return False
        run.ssrc, run.payload_type, run.clock_hz = piece.ssrc, self._payload_type, codec.clock_hz
        run.first_timestamp, run.codec_from_ns = piece.first_timestamp, codec_from_ns
        run.ahead_ns, run.lag_ns = JUMP_AHEAD_NS, STEP_NS
        index, run.knot_rtp_ns, run.knot_offset_ns = window
        run.knot_from_ns, run.knot_until_ns = index * KNOT_NS, (index + 1) * KNOT_NS
        run.least_before_ns = piece.knots[-1][1] if piece.knots else run.knot_offset_ns
        run.sequence, run.timestamp = unwrapper.sequence, unwrapper.timestamp
        run.last_arrival_ns, run.packets = 0, 0
        self._follows = True
        return True

    def leave(self) -> None:
        """What was followed counts as if it had been fed."""
        if not self._follows:
            return
        self._follows = False
        piece, run, leg = self._piece, self._run, self._leg
        if not run.packets:
            return
        assert piece is not None
        unwrapper = self._unwrappers[piece.ssrc]
        unwrapper.sequence, unwrapper.timestamp = run.sequence, run.timestamp
        piece.last_sequence, piece.last_timestamp = run.sequence, run.timestamp
        self._window = (run.knot_from_ns // KNOT_NS, run.knot_rtp_ns, run.knot_offset_ns)
        leg.packets += run.packets
        leg.read.records += run.packets
        leg.closed_ns = max(leg.closed_ns, run.last_arrival_ns)
        self._last_ns = max(self._last_ns, run.last_arrival_ns)
