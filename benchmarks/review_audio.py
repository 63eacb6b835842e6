"""Listening to a two-hour recording as the review page does: from a request to its first byte of sound, by ranges.

    python benchmarks/review_audio.py [--hours 2] [--jumps 200] [--record]

The file is sealed as the server seals it; the answers come over HTTP on loopback, the access log in SQLite is written
before each. The goals: 100 ms for a jump, 300 ms for the first sound (the recording rendered before).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from aiohttp import ClientSession, web

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks._history import append  # noqa: E402
from mediaserver.api.review_audio import send  # noqa: E402
from mediaserver.recording.sealed import SealedAudio, SealedSink  # noqa: E402
from mediaserver.store.database import open_database  # noqa: E402
from mediaserver.store.review import ReviewStore  # noqa: E402

RATE_HZ = 8_000
KEY = bytes(32)


def seal(path: Path, hours: float) -> None:
    second = np.random.default_rng(1).integers(-8_000, 8_000, (RATE_HZ, 2), dtype=np.int16)
    with SealedSink(path, RATE_HZ, 2, KEY) as sink:
        for _ in range(round(hours * 3600)):
            sink.write_pcm(second)


async def jump(client: ClientSession, url: str, at: int) -> float:
    """Milliseconds from the request to the first 16 kB: half a second of sound."""
    start = time.perf_counter()
    async with client.get(url, headers={"Range": f"bytes={at}-"}) as answer:
        assert answer.status == 206
        await answer.content.readexactly(16_000)
        took = (time.perf_counter() - start) * 1000
        answer.close()
    return took


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--jumps", type=int, default=200)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "audio.sealed"
        seal(path, options.hours)
        database = await open_database("", Path(folder) / "data")
        store = ReviewStore(database)

        async def audio(request: web.Request) -> web.StreamResponse:
            await store.log("kate", "listens", "r1", {}, 1)
            opened = await asyncio.to_thread(SealedAudio.open, path, KEY)
            return await send(request, opened.window(), lambda _last: None)

        app = web.Application()
        app.router.add_get("/audio.wav", audio)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/audio.wav"
        size = SealedAudio.open(path, KEY).window().size
        draw = random.Random(1)
        async with ClientSession() as client:
            first = await jump(client, url, 0)
            took = [await jump(client, url, draw.randrange(size - 32_000)) for _ in range(options.jumps)]
        await runner.cleanup()
        await database.close()
    row = {
        "hours": options.hours,
        "first_sound_ms": round(first, 1),
        "jump_median_ms": round(statistics.median(took), 1),
        "jump_worst_ms": round(max(took), 1),
    }
    print(json.dumps(row))
    if options.record:
        append("review_audio", row)


if __name__ == "__main__":
    asyncio.run(main())
