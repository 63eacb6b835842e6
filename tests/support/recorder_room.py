"""A recorder with everything around it in the test's hand: clock, taps, disk, catalogue."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from mediaserver.clock import VirtualClock
from mediaserver.model import (
    CallFacts,
    CodecName,
    CodecParams,
    LegFacts,
    LegHandle,
    Masked,
    Notice,
    NoticeKind,
    StreamSettings,
)
from mediaserver.model_consent import ConsentRules
from mediaserver.model_video import Content, PictureSource, TrackHandle, VideoCodec, VideoFormat
from mediaserver.recording.consent import ConsentAuthority
from mediaserver.recording.journal import Record
from mediaserver.recording.keys import load_ring
from mediaserver.recording.recorder import JournalRecorder
from mediaserver.settings import RecordingSettings
from mediaserver.store.database import Database
from mediaserver.store.recordings import RecordingStore
from mediaserver.store.spool import Spool
from tests.support.fake_taps import FakeTaps
from tests.support.sealed import read_sealed
from tests.support.synthetic_taps import rtp

STREAM = StreamSettings(
    send=(CodecParams(CodecName.PCMU, 0, 8_000),),
    receive=(CodecParams(CodecName.PCMU, 0, 8_000), CodecParams(CodecName.TELEPHONE_EVENT, 101, 8_000)),
    remote=None,
)
PICTURE = b"\x10" + b"\x77" * 1_100


class Room:
    """A recorder with everything around it in the test's hand."""

    def __init__(
        self, tmp_path: Path, database: Database, spool: Spool, clock: VirtualClock | None = None, **settings: Any
    ) -> None:
        self.clock = clock if clock is not None else VirtualClock()
        self.authority = ConsentAuthority()
        self.taps = FakeTaps(self.authority)
        self.spool = spool
        self.store = RecordingStore(database, spool)
        self.prompt = tmp_path / "notice.wav"
        self.prompt.write_bytes(b"This call is recorded.")
        self.recorder = JournalRecorder(
            RecordingSettings(**{"flush_interval_ms": 20, "segment_interval_ms": 1_000, **settings}),
            tmp_path,
            self.taps,
            self.store,
            self.clock,
            self.authority,
        )
        self.shown: dict[LegHandle, tuple[PictureSource, ...]] = {}
        self._sequence = 0

    def call(self) -> CallFacts:
        return CallFacts("c1", Masked("+37120000001"), Masked("600"), Masked("Alice"), "alice", "rule", "program",
                         self.clock.now_ns(), self.clock.wall())  # fmt: skip

    def leg(self, number: int) -> LegFacts:
        facts = LegFacts(str(number), LegHandle(0x100000000 + number), "caller", Masked(f"+3712000000{number}"), None,
                         f"sip-{number}", self.clock.now_ns(), self.clock.wall())  # fmt: skip
        self.recorder.leg_opened("c1", facts, STREAM)
        return facts

    def notice(self, leg: LegFacts) -> Notice:
        started = self.clock.now_ns()
        self.clock.advance(3_000_000_000)
        return Notice(
            leg.handle, "recording-notice", "ru", str(self.prompt), started, self.clock.now_ns(), self.clock.wall()
        )

    def camera(self, leg: LegFacts, number: int | None = None, content: Content = Content.MAIN) -> None:
        """From now on the party shows something, by this track; None: nothing any more."""
        shown = [source for source in self.shown.get(leg.handle, ()) if source.content is not content]
        if number is not None:
            shown.append(PictureSource(TrackHandle(number), content, (VideoFormat(VideoCodec.VP8, 96),)))
            self.taps.cameras[TrackHandle(number)] = leg.handle
        self.shown[leg.handle] = tuple(shown)
        self.recorder.pictures_changed(leg.handle, tuple(shown))

    async def settled(self) -> None:
        """What was started on the loop has come to its end."""
        while self.recorder._tasks:
            await asyncio.gather(*self.recorder._tasks)

    def talk(self, *legs: LegFacts, packets: int = 1) -> int:
        """Everyone sends one packet per 20 ms, of each picture too. Returns how many copies taps took of the sound."""
        taken = 0
        for _ in range(packets):
            self.clock.advance(20_000_000)
            for leg in legs:
                self._sequence += 1
                packet = rtp(self._sequence, self._sequence * 160, b"\x55" * 160, ssrc=leg.handle & 0xFF)
                taken += self.taps.arrives(leg.handle, self.clock.now_ns(), packet)
                for source in self.shown.get(leg.handle, ()):
                    picture = rtp(self._sequence, self._sequence * 1_800, PICTURE, payload_type=96, ssrc=source.track)
                    self.taps.arrives(leg.handle, self.clock.now_ns(), picture, source.track)
        self.clock.advance(1_000_000)
        return taken

    async def written(self) -> None:
        """What was said so far is in the journals."""
        writer = self.recorder.writer

        def work() -> None:
            writer.round()
            writer._rounds.seal(self.clock.now_ns())

        await asyncio.wrap_future(writer._submit(work))

    def journals(self) -> list[Path]:
        return sorted(self.recorder.root.rglob("*.journal"))


async def recorded(room: Room, **rules: object) -> tuple[str, Path]:
    """A call of two parties, kept for 30 days."""
    recording = await room.recorder.begin(
        room.call(), NoticeKind.CALL, ConsentRules("p", **{"retention_days": 30, **rules})  # type: ignore[arg-type]
    )  # fmt: skip
    legs: list[LegFacts] = [room.leg(1), room.leg(2)]
    for leg in legs:
        await recording.leg_joined(leg)
        await recording.notice_finished(room.notice(leg))
    room.talk(*legs, packets=50)
    await recording.end()
    await room.spool.flush()
    return recording.recording_id, next(room.recorder.root.glob(f"[0-9]*/*/*/{recording.recording_id}"))


def records(path: Path) -> list[Record]:
    return read_sealed(path, load_ring(RecordingSettings(), path.parents[5]))


def kinds(path: Path) -> list[int]:
    return [record.kind for record in records(path)]
