"""Finding a call among a million: how long one page of fifty takes, by what is asked for. SQLite, or PostgreSQL by URL.

    ./run bench catalogue [--record]
    python benchmarks/catalogue.py [--rows 1000000] [--url postgresql+asyncpg://…]

The goal is 50 ms. What is measured is the whole answer of the store: probes, page and tags, the median of nine.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import insert, text

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks._history import append  # noqa: E402
from mediaserver.model import Masked  # noqa: E402
from mediaserver.store.database import Database, open_database  # noqa: E402
from mediaserver.store.models import review_calls, review_tags  # noqa: E402
from mediaserver.store.review_search import CallSearch, Place, Search  # noqa: E402

START_MS = 1_700_000_000_000
BATCH = 20_000
ASKED: dict[str, tuple[Search, list[str] | None]] = {
    "newest": (Search(), None),
    "number, whole": (Search(number=Masked("+7495000123")), None),
    "number, begins": (Search(number=Masked("+749")), None),
    "number, nobody": (Search(number=Masked("+999")), None),
    "agent": (Search(agent="agent17"), None),
    "agent who left long ago": (Search(agent="left"), None),
    "MOS below 1.2 (few)": (Search(mos_below=1.2), None),
    "MOS below 3.6 (many)": (Search(mos_below=3.6), None),
    "silence over 90 %": (Search(silence_above=0.9), None),
    "agent, MOS, silence": (Search(agent="agent17", mos_below=3.0, silence_above=0.5), None),
    "MOS and overtalk, both rare": (Search(mos_below=2.0, overtalk_above=0.29), None),
    "tag (few)": (Search(tag="escalated"), None),
    "who hung up, consent, length": (Search(ended_by="caller", consent="granted", length_min_ms=600_000), None),
    "a week a year ago": (Search(from_ms=START_MS + 604_800_000, until_ms=START_MS + 2 * 604_800_000), None),
    "one queue of forty": (Search(mos_below=3.0), ["queue3"]),
    "three queues of forty": (Search(), ["queue3", "queue5", "queue7"]),
}


def rows(count: int) -> Iterator[dict[str, Any]]:
    draw = random.Random(4)
    for number in range(count):
        yield {
            "recording_id": f"{number:024x}",
            "call_id": f"c{number}",
            "started_ms": START_MS + number * 40_000,
            "length_ms": int(draw.expovariate(1 / 240_000)),
            "queue": f"queue{draw.randrange(40)}",
            "agent": "left" if number < 9_000 else f"agent{draw.randrange(300)}",
            "caller": f"+7{draw.choice((495, 812, 343))}{draw.randrange(10_000_000):07}",
            "called": f"{draw.randrange(800, 900)}",
            "consent": draw.choice(("implied", "implied", "granted")),
            "ended_by": draw.choice(("caller", "caller", "callee")),
            "mos": round(min(4.5, max(1.0, draw.gauss(4.0, 0.8))), 2),
            "silence": round(draw.betavariate(2, 8), 3),
            "overtalk": round(draw.betavariate(1, 30), 3),
            "score": round(draw.uniform(40, 100), 1) if draw.random() < 0.03 else None,
        }


async def fill(database: Database, count: int) -> None:
    batch: list[dict[str, Any]] = []
    for row in rows(count):
        batch.append(row)
        if len(batch) == BATCH:
            await write(database, batch)
            batch = []
    if batch:
        await write(database, batch)


async def write(database: Database, batch: list[dict[str, Any]]) -> None:
    tags = [
        {"recording_id": row["recording_id"], "tag": "escalated"}
        for row in batch
        if int(row["recording_id"], 16) % 2_000 == 7
    ]
    async with database.write() as connection:
        await connection.execute(insert(review_calls), batch)
        if tags:
            await connection.execute(insert(review_tags), tags)


async def timed(search: CallSearch, wanted: Search, queues: list[str] | None, after: Place | None) -> float:
    times = []
    for _ in range(9):
        start = time.perf_counter()
        await search.find(wanted, queues=queues, limit=50, after=after)
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


async def measure(database: Database) -> dict[str, float]:
    search = CallSearch(database)
    took: dict[str, float] = {}
    for name, (wanted, queues) in ASKED.items():
        found = await search.find(wanted, queues=queues, limit=50)
        took[name] = await timed(search, wanted, queues, None)
        print(f"{name:32} {took[name]:8.1f} ms  {len(found)} rows", flush=True)
        if len(found) == 50:
            after = Place(found[-1].started_ms, found[-1].recording_id)
            took[f"{name}, page 2"] = await timed(search, wanted, queues, after)
    return took


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--url", default="")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = await open_database(options.url, Path(folder) / "data")
        try:
            start = time.perf_counter()
            await fill(database, options.rows)
            if database.dialect == "postgresql":  # as its autovacuum does by and by
                async with database.write() as connection:
                    await connection.execute(text("ANALYZE"))
            print(f"{options.rows} rows in {time.perf_counter() - start:.0f} s, {database.dialect}", flush=True)
            took = await measure(database)
        finally:
            await database.close()
    if options.record:
        row = {
            "database": database.dialect,
            "rows": options.rows,
            "ms": {name: round(value, 1) for name, value in took.items()},
        }
        append("catalogue", row)
    worst = max(took, key=lambda name: took[name])
    print(f"worst: {worst} {took[worst]:.1f} ms")


if __name__ == "__main__":
    asyncio.run(main())
