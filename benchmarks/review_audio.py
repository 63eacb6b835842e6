"""Listening to a two-hour recording as the review page does: from a request to its first byte of sound, by ranges.

    python benchmarks/review_audio.py [--hours 2] [--jumps 200] [--codec PCMU] [--together 20] [--record]

Two parties, sealed as the server seals them, answers over HTTP on loopback, the access log in SQLite written before
each. First a recording that was never rendered: first sound, jumps into what is not rendered yet, and after a restart;
then one that was. Then so many never rendered ones (of five minutes) opened at once. The worker waits ready, as it does
while somebody looks at the list. The goals: 300 ms for the first sound and a jump into what is not rendered, 100 ms for
a jump into what is.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import ClientSession, web

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks._history import append  # noqa: E402
from mediaserver.api.review_audio import send  # noqa: E402
from mediaserver.model import Masked  # noqa: E402
from mediaserver.recording.cabinet import Cabinet  # noqa: E402
from mediaserver.recording.listening import Listening  # noqa: E402
from mediaserver.settings import RecordingSettings  # noqa: E402
from mediaserver.store.database import open_database  # noqa: E402
from mediaserver.store.recordings import RecordingRow  # noqa: E402
from mediaserver.store.review import ReviewStore  # noqa: E402
from tests.support.sealed import RING, write_sealed  # noqa: E402
from tests.support.synthetic_taps import T0_NS, Talker, tone  # noqa: E402

SHORT_S = 300
SEGMENT_PACKETS = RecordingSettings().segment_interval_ms // 20  # as the server seals them
NEW_JUMPS = 9


def row(name: str) -> RecordingRow:
    return RecordingRow(name, "c1", "complete", "call", name, Masked("1"), Masked("2"), 1)


def record(folder: Path, name: str, seconds: int, codec: str) -> None:
    """Two parties with clocks that drift, over a network with 4 ms of jitter."""
    (folder / name).mkdir()
    rate_hz = 16_000 if codec == "opus" else 8_000
    for number in (1, 2):
        delays = np.random.default_rng(number).exponential(4e6, seconds * 50 + 1).tolist()
        loud = 0.5 + 0.5 * np.sin(np.arange(seconds * rate_hz) / rate_hz / 3)
        talker = Talker(
            (tone(300 * number, seconds, rate_hz) * loud).astype(np.int16), codec, rate_hz, ppm=40.0 * number,
            ssrc=number, delay_ns=lambda index, delays=delays: int(delays[index]),
        )  # fmt: skip
        end_ns = T0_NS + seconds * 1_000_000_000
        write_sealed(folder / name, sorted(talker.packets()), str(number), closed_ns=end_ns,
                     per_segment=SEGMENT_PACKETS)  # fmt: skip


async def jump(client: ClientSession, url: str, at: int, size: int = 16_000) -> float:
    """Milliseconds from the request to the first 16 kB: half a second of sound at 8 kHz."""
    start = time.perf_counter()
    async with client.get(url, headers={"Range": f"bytes={at}-"}) as answer:
        assert answer.status == 206
        await answer.content.readexactly(size)
        took = (time.perf_counter() - start) * 1000
        answer.close()
    return took


class House:
    def __init__(self, folder: Path, store: ReviewStore) -> None:
        self._folder, self._store = folder, store
        self.listening = self._begin()

    def _begin(self) -> Listening:
        async def ring() -> Any:
            return RING

        return Listening(self._folder, self._folder / "exports", Cabinet(self._folder, None, 0, 0), ring)

    async def restart(self) -> None:
        await self.listening.stop()
        self.listening = self._begin()
        await self.listening.worker.warm()

    async def audio(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["id"]
        await self._store.log("kate", "listens", name, {}, 1)
        sound = await self.listening.sound(row(name))
        return await send(request, sound.window())


def middle(values: list[float]) -> float:
    return round(statistics.median(values), 1)


async def measure(options: argparse.Namespace, house: House, client: ClientSession, url: str) -> dict[str, Any]:
    draw = random.Random(1)
    firsts = []
    for _ in range(3):
        await house.listening.stop()
        shutil.rmtree(house._folder / "exports", ignore_errors=True)
        await house.restart()
        firsts.append(await jump(client, f"{url}/long", 0))
    sound = await house.listening.sound(row("long"))
    size = sound.window().size
    fresh = []
    for number in range(NEW_JUMPS):
        undone = [place for place, done in enumerate(sound.done) if not done]
        fresh.append(await jump(client, f"{url}/long", 44 + undone[len(undone) * (number % 5 + 2) // 8] * 65_536))
    at_restart = sound.percent
    await house.restart()
    again = await jump(client, f"{url}/long", 0)
    sound = await house.listening.sound(row("long"))
    begun = time.perf_counter()
    while not sound.complete:
        await sound._news.wait()
    rest_s = time.perf_counter() - begun
    jumps = [await jump(client, f"{url}/long", draw.randrange(size - 64_000)) for _ in range(options.jumps)]
    many = await asyncio.gather(*(jump(client, f"{url}/short{number}", 0) for number in range(options.together)))
    return {
        "hours": options.hours,
        "codec": options.codec,
        "new_first_sound_ms": middle(firsts),
        "new_jump_median_ms": middle(fresh),
        "new_jump_worst_ms": round(max(fresh), 1),
        "restart_at_percent": at_restart,
        "restart_first_sound_ms": round(again, 1),
        "rest_rendered_s": round(rest_s, 1),
        "jump_median_ms": middle(jumps),
        "jump_worst_ms": round(max(jumps), 1),
        "together": options.together,
        "together_median_ms": middle(list(many)),
        "together_worst_ms": round(max(many), 1),
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--jumps", type=int, default=200)
    parser.add_argument("--codec", choices=("PCMU", "PCMA", "opus"), default="PCMU")
    parser.add_argument("--together", type=int, default=20)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        record(folder, "long", round(options.hours * 3600), options.codec)
        for number in range(options.together):
            record(folder, f"short{number}", SHORT_S, options.codec)
        database = await open_database("", folder / "data")
        house = House(folder, ReviewStore(database))
        app = web.Application()
        app.router.add_get("/{id}", house.audio)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        async with ClientSession() as client:
            figures = await measure(options, house, client, f"http://127.0.0.1:{runner.addresses[0][1]}")
        await house.listening.stop()
        await runner.cleanup()
        await database.close()
    print(json.dumps(figures))
    if options.record:
        append("review_audio", figures)


if __name__ == "__main__":
    asyncio.run(main())
