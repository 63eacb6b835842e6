"""A server that records calls in real time until it is killed. Arguments: data directory, number of calls (1).

Prints one line when capture has begun. Packets exist the moment the clock says so, as from a network.
"""

import asyncio
import sys
import threading
from pathlib import Path

import structlog

from mediaserver.clock import SystemClock
from mediaserver.ext.tap import TapPool, TapRing
from mediaserver.ext.tap_harness import Feeder
from mediaserver.model import (
    CallFacts,
    CodecName,
    CodecParams,
    ConsentToken,
    LegFacts,
    LegHandle,
    Masked,
    Notice,
    NoticeKind,
    StreamSettings,
    TapHandle,
)
from mediaserver.recording.consent import ConsentAuthority
from mediaserver.recording.recorder import JournalRecorder
from mediaserver.settings import RecordingSettings
from mediaserver.store.database import open_database
from mediaserver.store.recordings import RecordingStore
from mediaserver.store.spool import Spool
from tests.support.synthetic_taps import rtp


class RealTimeTaps:
    """Every 20 ms a packet in each ring, from the moment a tap is opened; a thread without the GIL makes them."""

    def __init__(self, legs: int) -> None:
        self._pool: TapPool | None = None
        self._feeder = Feeder(legs, rtp(0, 0, b"\x55" * 160))
        threading.Thread(target=self._feeder.run, daemon=True).start()

    def use_tap_pool(self, pool: TapPool) -> None:
        self._pool = pool

    async def open_tap(self, leg: LegHandle, token: ConsentToken) -> TapHandle:
        return TapHandle(leg)

    def tap_ring(self, tap: TapHandle) -> TapRing:
        ring = TapRing(tap, pool=self._pool)
        self._feeder.add(ring)
        return ring

    async def close_tap(self, tap: TapHandle) -> None:
        pass


async def main(data_dir: Path, calls: int, directory: Path | None = None) -> None:
    clock = SystemClock()
    database = await open_database("", data_dir)
    spool = Spool(database)
    await spool.start()
    settings = RecordingSettings(min_free_mb=0, directory=directory, segment_interval_ms=1_000)
    recorder = JournalRecorder(
        settings, data_dir, RealTimeTaps(2 * calls), RecordingStore(database, spool), clock, ConsentAuthority()
    )
    await recorder.start()
    began = [await record(recorder, clock, number) for number in range(calls)]
    print(f"capturing {began[0]}", flush=True)
    await asyncio.sleep(3_600)


async def record(recorder: JournalRecorder, clock: SystemClock, number: int) -> str:
    """One call of two parties, captured when this returns. Its id."""
    call_id = f"c{number + 1}"
    call = CallFacts(call_id, Masked("100"), Masked("600"), Masked(""), None, None, None, clock.now_ns(), clock.wall())
    recording = await recorder.begin(call, NoticeKind.CALL)
    stream = StreamSettings((CodecParams(CodecName.PCMU, 0, 8_000),), (CodecParams(CodecName.PCMU, 0, 8_000),), None)
    legs = [
        LegFacts(
            str(n), LegHandle(2 * number + n), "caller", Masked("100"), None, f"s{n}", clock.now_ns(), clock.wall()
        )
        for n in (1, 2)
    ]
    for leg in legs:
        recorder.leg_opened(call_id, leg, stream)
        await recording.leg_joined(leg)
    for leg in legs:
        at = clock.now_ns()
        await recording.notice_finished(Notice(leg.handle, "notice", "en", __file__, at - 1, at, clock.wall()))
    return recording.recording_id


structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # stdout has one line

if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))
