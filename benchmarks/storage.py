"""Moving recordings to a bucket that is some milliseconds away, and fetching a long one back.

    python benchmarks/storage.py [--recordings 60] [--minutes 3] [--latency-ms 30] [--record]

The bucket is a process of its own that keeps objects in memory and answers each request after the latency. The goal: a
thousand calls of three minutes end 5.6 times a second, so that many recordings must move in a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks._history import append  # noqa: E402
from mediaserver.clock import SystemClock  # noqa: E402
from mediaserver.model import Masked  # noqa: E402
from mediaserver.recording import manifest  # noqa: E402
from mediaserver.recording.cabinet import Cabinet, StorageStats  # noqa: E402
from mediaserver.recording.keys import Signer  # noqa: E402
from mediaserver.recording.shipping import Shipper  # noqa: E402
from mediaserver.settings import S3Settings  # noqa: E402
from mediaserver.store.blobs import S3Blobs  # noqa: E402
from mediaserver.store.database import Database, open_database  # noqa: E402
from mediaserver.store.recordings import RecordingRow, RecordingStore  # noqa: E402
from mediaserver.store.spool import Spool  # noqa: E402

LEG_BYTES_PER_S = 8_000 + 50 * 40 + 10 * 80  # G.711, RTP and record headers, segments
GOAL_PER_S = 1_000 / 180


def bucket(latency_s: float, told: Connection) -> None:
    """Runs in a process of its own."""
    objects: dict[str, bytes] = {}

    async def answer(request: web.Request) -> web.Response:
        data = await request.read()
        await asyncio.sleep(latency_s)
        if request.method == "PUT":
            objects[request.path] = data
            return web.Response(headers={"ETag": '"x"'})
        if request.path not in objects:
            return web.Response(status=404, text="<Error><Code>NoSuchKey</Code></Error>")
        when = {"Last-Modified": "Mon, 21 Sep 2026 00:00:00 GMT", "ETag": '"x"'}
        return web.Response(body=objects[request.path], headers=when)

    async def run() -> None:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{any:.*}", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        told.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


def lay_down(root: Path, name: str, leg_bytes: int, signer: Signer) -> RecordingRow:
    directory = f"2026/09/21/{name}"
    folder = root / directory
    folder.mkdir(parents=True)
    for leg in ("1", "2"):
        (folder / f"{leg}.journal").write_bytes(os.urandom(leg_bytes))
    manifest.append(folder, manifest.manifest_body(name, "c", "complete", 1.0, []), signer)
    numbers = Masked("1"), Masked("2")
    return RecordingRow(name, "c", "complete", "call", directory, *numbers, 1, ended_ms=1, bytes=2 * leg_bytes)


@asynccontextmanager
async def catalogue(folder: Path, rows: list[RecordingRow]) -> AsyncIterator[RecordingStore]:
    database: Database = await open_database("", folder)
    spool = Spool(database)
    await spool.start()
    store = RecordingStore(database, spool)
    for row in rows:
        store.put(row)
    await spool.flush(30)
    yield store
    await spool.stop()
    await database.close()


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def measure(options: argparse.Namespace, port: int) -> dict[str, object]:
    signer = Signer(Ed25519PrivateKey.generate())
    settings = S3Settings(
        bucket="bench", endpoint=f"http://127.0.0.1:{port}", access_key_id="key", secret_access_key="x"
    )  # type: ignore[arg-type]
    blobs = S3Blobs(settings)
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "recordings"
        short = round(options.minutes * 60 * LEG_BYTES_PER_S)
        rows = [lay_down(root, f"r{number:05d}", short, signer) for number in range(options.recordings)]
        (root / "open").mkdir()
        async with catalogue(Path(place), rows) as store:
            stats = StorageStats()
            shipper = Shipper(root, store, blobs, SystemClock(), 0, stats)
            before, start = cpu_s(), time.perf_counter()
            while stats.moved < options.recordings:
                await shipper.round()
            took, used = time.perf_counter() - start, cpu_s() - before
            long = lay_down(root, "long", 7_200 * LEG_BYTES_PER_S, signer)
            store.put(long)
            await store._spool.flush(30)  # type: ignore[union-attr]
            while stats.moved == options.recordings:
                await shipper.round()
            cabinet = Cabinet(root, blobs, 1 << 40, 0, stats)
            start = time.perf_counter()
            async with cabinet.held(long.directory):
                fetched_s = time.perf_counter() - start
    return {
        "latency_ms": options.latency_ms,
        "recordings": options.recordings,
        "recordings_per_s": round(options.recordings / took, 2),
        "mb_per_s": round(2 * short * options.recordings / took / 1e6, 1),
        "cpu_ms_per_recording": round(used * 1000 / options.recordings, 1),
        "two_hours_fetched_s": round(fetched_s, 2),
        "goal_recordings_per_s": round(GOAL_PER_S, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--latency-ms", type=float, default=30.0)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=bucket, args=(options.latency_ms / 1000, theirs), daemon=True)
    process.start()
    try:
        row = {
            **asyncio.run(measure(options, ours.recv())),
        }
    finally:
        process.terminate()
        process.join()
    print(json.dumps(row, indent=2))
    if options.record:
        append("storage", row)


if __name__ == "__main__":
    main()
