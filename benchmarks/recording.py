"""What recording costs: on top of a relayed call, per packet and in percent; how late the disk has it; rendering.

    python benchmarks/recording.py                 all three, three rounds, medians
    python benchmarks/recording.py --streams 400   fewer relayed legs
    python benchmarks/recording.py --record        also appends a line to benchmarks/history/recording.jsonl

Relayed and recorded calls run in the same way as in benchmarks/relay.py (server on core 0, phones on core 1), one after
the other in each round. The cost is told for the media worker (the tap: one copy) and for the writer (draining,
encryption, hash chain, writing). The second part records 1,000 two-party calls to the disk of --folder: 2,000 tap rings
as the engine has them, a packet of G.711 in each every 20 ms at the moment the clock says so; it tells how old the
oldest packet of each write was when the write returned. The third renders ten minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks._history import append
from benchmarks.relay import PHONE_HOST, PHONE_PORT, SERVER_HOST, build, measure

HERE = Path(__file__).resolve().parent
TARGET_US, TARGET_PERCENT, TARGET_LAG_MS = 0.6, 10.0, 500.0


def threads_ns(pid: int, writers: list[int]) -> dict[str, int]:
    """Run time of the process's threads, by what they do. writers: thread ids of the recording's."""
    found = {"media": 0, "writer": 0, "loop": 0}
    for task in Path(f"/proc/{pid}/task").iterdir():
        kind = "writer" if int(task.name) in writers else "loop" if task.name == str(pid) else "media"
        found[kind] += int((task / "schedstat").read_text().split()[0])
    return found


@contextmanager
def server(streams: int, recorded: bool, folder: Path) -> Iterator[tuple[int, list[tuple[str, int]], list[int]]]:
    process = subprocess.Popen(
        ["taskset", "-c", "0", sys.executable, "-m", "benchmarks.recording", "--serve", str(streams),
         *(["--recorded"] if recorded else []), "--folder", str(folder)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE.parent,
    )  # fmt: skip
    assert process.stdout
    assert process.stdin
    told = json.loads(process.stdout.readline())
    try:
        yield process.pid, [(SERVER_HOST, port) for port in told["ports"]], told["writers"]
    finally:
        process.stdin.close()
        process.wait()


async def serve(streams: int, recorded: bool, folder: Path) -> None:
    """The child process: streams/2 relayed calls, each recorded with the consent of both, until stdin closes."""
    from mediaserver.clock import SystemClock
    from mediaserver.media.engine import MediaEngine
    from mediaserver.model import (
        CallFacts,
        CodecName,
        CodecParams,
        LegFacts,
        Masked,
        MediaAddress,
        Notice,
        NoticeKind,
        StreamSettings,
    )  # fmt: skip
    from mediaserver.recording.consent import ConsentAuthority
    from mediaserver.recording.recorder import JournalRecorder
    from mediaserver.settings import MediaSettings, RecordingSettings
    from mediaserver.store.database import open_database
    from mediaserver.store.recordings import RecordingStore
    from mediaserver.store.spool import Spool

    clock, authority = SystemClock(), ConsentAuthority()
    media = MediaSettings(port_range="10000-19999")
    engine = MediaEngine(media, clock, lambda event: None, verify_token=authority.verify)
    await engine.start()
    database = await open_database("", folder)
    spool = Spool(database)
    await spool.start()
    store = RecordingStore(database, spool)
    recorder = JournalRecorder(RecordingSettings(min_free_mb=0), folder, engine, store, clock, authority)
    await recorder.start()
    both = (CodecParams(CodecName.PCMU, 0, 8_000), CodecParams(CodecName.TELEPHONE_EVENT, 101, 8_000))
    ports = []
    for number in range(streams // 2):
        call_id = f"c{number}"
        bridge = await engine.create_bridge()
        facts = CallFacts(call_id, Masked("1"), Masked("2"), Masked(""), None, None, None, clock.now_ns(), clock.wall())
        recording = await recorder.begin(facts, NoticeKind.CALL) if recorded else None
        legs = []
        for side in range(2):
            leg = await engine.open_leg(SERVER_HOST, call_id=call_id)
            remote = MediaAddress(PHONE_HOST, PHONE_PORT + 2 * number + side)
            stream = StreamSettings(send=both, receive=both, remote=remote, cname="bench")
            await engine.set_stream(leg.handle, stream)
            await engine.bridge_add(bridge, leg.handle)
            ports.append(leg.rtp_port)
            legs.append(
                LegFacts(str(side + 1), leg.handle, "caller", Masked("1"), None, "s", clock.now_ns(), clock.wall())
            )
            recorder.leg_opened(call_id, legs[-1], stream)
        for leg_facts in legs if recording is not None else ():
            assert recording is not None
            await recording.leg_joined(leg_facts)
        for leg_facts in legs if recording is not None else ():
            assert recording is not None
            now = clock.now_ns()
            await recording.notice_finished(Notice(leg_facts.handle, "n", "en", __file__, now - 1, now, clock.wall()))
    writers = [thread.native_id for thread in recorder.writer._threads]
    print(json.dumps({"ports": ports, "writers": writers}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    os._exit(0)  # a thousand recordings need no tidy end here


def relayed_and_recorded(load: Path, streams: int, seconds: float, base: Path) -> dict[str, float]:
    found: dict[str, float] = {}
    for name, recorded in (("relayed", False), ("recorded", True)):
        with (
            tempfile.TemporaryDirectory(dir=base) as folder,
            server(streams, recorded, Path(folder)) as (pid, ports, own),
        ):
            before: dict[str, int] = {}
            after: dict[str, int] = {}

            def watch(pid: int, own: list[int], into: dict[str, int]) -> None:
                into.update(threads_ns(pid, own))

            timer = threading.Timer(1.6, watch, (pid, own, before))  # load.c's warm-up
            timer.start()
            began = time.monotonic()
            result = measure(load, pid, ports, seconds, 0)
            after.update(threads_ns(pid, own))
            packets = streams * 50 * (time.monotonic() - began - 1.6)
            found[f"{name}_us"] = result.cpu_us_per_packet
            found[f"{name}_lost"] = result.packets_lost
            for part in before:
                found[f"{name}_{part}_us"] = (after[part] - before[part]) / 1000 / packets
    return found


# --- lag


def lag(recordings: int, seconds: float, base: Path) -> dict[str, float]:
    """Age of each leg's oldest packet in each round when the write has returned: `kill -9` cannot take it any more."""
    from mediaserver.ext.tap_harness import Feeder
    from mediaserver.media.taps import TapRing
    from mediaserver.recording import rings
    from mediaserver.recording.writer import JournalWriter
    from mediaserver.settings import RecordingSettings
    from tests.support.sealed import RING, begin_sealed
    from tests.support.synthetic_taps import rtp

    settings = RecordingSettings()
    with tempfile.TemporaryDirectory(dir=base) as folder:
        root = Path(folder)
        writer = JournalWriter(
            root,
            flush_interval_ms=settings.flush_interval_ms,
            segment_interval_ms=settings.segment_interval_ms,
            fsync_interval_ms=settings.fsync_interval_ms,
            min_free_mb=0,
            on_failure=lambda file, why: sys.exit(f"{file.path}: {why}"),
        )
        shared = rings.create(root, rings.place(settings.rings))
        if shared is None:
            writer.without_rings()
        writer.use_keys(RING)
        feeder = Feeder(2 * recordings, rtp(0, 0, b"\x55" * 160))
        files = [begin_sealed(root, str(number)) for number in range(2 * recordings)]
        for number, file in enumerate(files):
            ring = TapRing(number, pool=None if shared is None else shared.pool)
            feeder.add(ring)
            writer.attach(file, ring, b"", 0)
        writer.start()
        feeding = threading.Thread(target=feeder.run)
        feeding.start()
        time.sleep(1.5)
        own = [thread.native_id or 0 for thread in writer._threads]
        before, packets, writing_ns = threads_ns(os.getpid(), own)["writer"], feeder.packets, feeder.writing_ns
        lags_before = writer._rounds.lag_histogram()
        time.sleep(seconds)
        lags = [after - before for before, after in zip(lags_before, writer._rounds.lag_histogram(), strict=True)]
        used = threads_ns(os.getpid(), own)["writer"] - before
        packets, writing_ns = feeder.packets - packets, feeder.writing_ns - writing_ns
        feeder.stop()
        feeding.join()
        writer.stop()
        if shared is not None:
            shared.close()
        kept = writer.stats.bytes_written
    return {
        "recordings": recordings,
        "packets": packets,
        "packets_refused": feeder.refused,
        "bytes_on_disk": kept,
        "lag_p50_ms": quantile(lags, 0.5),
        "lag_p99_ms": quantile(lags, 0.99),
        "lag_max_ms": quantile(lags, 1.0),
        "writer_core": used / 1e9 / seconds,
        "writer_us_per_packet": used / 1000 / packets,
        "copy_us_per_packet": writing_ns / 1000 / packets,
    }


def quantile(counts: list[int], share: float) -> int:
    """Upper edge of the bucket, one per millisecond, that holds this share of all."""
    left = share * sum(counts)
    for edge, count in enumerate(counts, 1):
        left -= count
        if left <= 0:
            return edge
    return len(counts)


# --- rendering


def rendering(minutes: int, base: Path) -> dict[str, float]:
    from mediaserver.recording.render import render
    from tests.support.synthetic_taps import T0_NS, Talker, tone, write_journal

    with tempfile.TemporaryDirectory(dir=base) as folder:
        length_s = minutes * 60.0
        journals = {}
        for leg, ppm in (("1", 40.0), ("2", -60.0)):
            packets = list(Talker(tone(440, length_s), ppm=ppm, ssrc=int(leg)).packets())
            closed_ns = T0_NS + round(length_s * 1e9)
            journals[write_journal(Path(folder) / f"{leg}.journal", packets, leg=leg, closed_ns=closed_ns)] = None
        found = {}
        for form in ("opus", "wav", "lanes", "peaks"):
            began = time.process_time()
            render(journals, Path(folder) / f"out.{form}", form)
            found[f"{form}_x_real_time"] = length_s / (time.process_time() - began)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=600)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recordings", type=int, default=1_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--only", choices=("relay", "lag", "render"), action="append")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--recorded", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        asyncio.run(serve(args.serve, args.recorded, args.folder))
        return
    parts = args.only or ["relay", "lag", "render"]
    line: dict[str, Any] = {}
    if "relay" in parts:
        with tempfile.TemporaryDirectory() as folder:
            load = build(Path(folder), "load")
            rounds = [relayed_and_recorded(load, args.streams, args.seconds, args.folder) for _ in range(args.rounds)]
        line |= {key: statistics.median(found[key] for found in rounds) for key in rounds[0]}
        tap_us = line["recorded_media_us"] - line["relayed_media_us"]
        all_us = line["recorded_us"] - line["relayed_us"]
        percent = 100 * all_us / line["relayed_us"]
        line |= {"tap_us": tap_us, "cost_us": all_us, "percent": percent}
        print(f"relayed   {line['relayed_us']:6.2f} µs per packet, recorded {line['recorded_us']:6.2f}")
        print(f"tap       {tap_us:6.2f} µs per packet in the media worker (at most {TARGET_US})")
        print(f"writer    {line['recorded_writer_us']:6.2f} µs per packet")
        print(f"all       {all_us:6.2f} µs per packet, {percent:.0f} % on top (target {TARGET_PERCENT:.0f})")
    if "lag" in parts:
        found = lag(args.recordings, max(5.0, args.seconds), args.folder)
        line |= found
        ages = ", ".join(f"{key} {found[f'lag_{key}_ms']:.0f} ms" for key in ("p50", "p99", "max"))
        print(f"lag       {ages} at {args.recordings} two-party recordings (p99 at most {TARGET_LAG_MS:.0f})")
        print(
            f"writer    {found['writer_core']:.2f} of a core, {found['writer_us_per_packet']:.2f} µs per packet; "
            f"the copy into the rings {found['copy_us_per_packet']:.2f}; {found['packets_refused']} of "
            f"{found['packets']} packets refused"
        )
    if "render" in parts:
        found = rendering(10, args.folder)
        line |= found
        print(
            "render    "
            + ", ".join(f"{key.split('_')[0]} {value:.0f} ×" for key, value in found.items())
            + " real time"
        )
    if args.record:
        told = {
            "streams": args.streams,
            **line,
        }
        append("recording", told)


if __name__ == "__main__":
    main()
