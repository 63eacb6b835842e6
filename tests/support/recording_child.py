"""A server that records calls in real time until it is killed. Arguments: data directory, number of calls (1).

Prints one line when capture has begun. Packets exist the moment the clock says so, as from a network.
"""

import asyncio
import sys
import time
from pathlib import Path

from mediaserver.clock import SystemClock
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
from tests.support.synthetic_taps import packet_record, rtp

PTIME_NS = 20_000_000


class RealTimeTaps:
    """Every 20 ms a packet, from the moment a tap is opened."""

    def __init__(self) -> None:
        self._next: dict[TapHandle, tuple[int, int]] = {}

    async def open_tap(self, leg: LegHandle, token: ConsentToken) -> TapHandle:
        tap = TapHandle(len(self._next) + 1)
        self._next[tap] = (time.monotonic_ns(), 0)
        return tap

    def drain_tap(self, tap: TapHandle, into: bytearray | memoryview) -> int:
        due, number = self._next[tap]
        size = 0
        while due <= time.monotonic_ns():
            record = packet_record(due, rtp(number, number * 160, b"\x55" * 160, ssrc=tap))
            into[size : size + len(record)] = record
            size, due, number = size + len(record), due + PTIME_NS, number + 1
        self._next[tap] = (due, number)
        return size

    async def close_tap(self, tap: TapHandle) -> None:
        pass


async def main(data_dir: Path, calls: int) -> None:
    clock = SystemClock()
    database = await open_database("", data_dir)
    spool = Spool(database)
    await spool.start()
    settings = RecordingSettings(flush_interval_ms=50, min_free_mb=0)
    recorder = JournalRecorder(
        settings, data_dir, RealTimeTaps(), RecordingStore(database, spool), clock, ConsentAuthority()
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


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1))
