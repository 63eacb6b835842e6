"""Browsers on bad networks: two Chromiums' worth of sound and pictures in a room, lost and squeezed on both ways.

    python benchmarks/bad_network.py             prints what each network leaves of sound and picture
    python benchmarks/bad_network.py --record    also appends a line to benchmarks/history/bad_network.jsonl

Sound is rated by our own statistics in both directions (E-model, `docs/quality.md`), every five seconds: mean and
worst. Pictures are counted where they are shown. The networks are those of `tests/support/impair.py`: seeded,
with 20 ms of delay a way; loss is independent, and the narrow link drops what would wait more than 200 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks._history import append  # noqa: E402
from tests.support.bad_network import GOOD, BadRoom  # noqa: E402

PORT = 15_920
SETTLE_S = 12  # the estimate of the bandwidth has found its place
INTERVALS = 4
NETWORKS = {
    "good": (GOOD, 4.0),
    "2 % loss": (replace(GOOD, loss=0.02), 4.0),
    "5 % loss": (replace(GOOD, loss=0.05), 3.8),
    "10 % loss": (replace(GOOD, loss=0.10), 3.4),
    "300 kbit/s": (replace(GOOD, rate_kbps=300.0), None),  # nobody has set an aim for it
}


async def video(room: BadRoom) -> dict[str, float]:
    """What all users have been shown so far."""
    total = {"frames": 0.0, "bytes": 0.0, "sent": 0.0, "concealed": 0.0, "samples": 0.0, "freeze_s": 0.0}
    for user in room.users:
        found = await room.statistics(user)
        pictures, sound = found["inbound-rtp video"], found["inbound-rtp audio"]
        total["frames"] += pictures.get("framesDecoded", 0)
        total["bytes"] += pictures["bytesReceived"]
        total["freeze_s"] += pictures.get("totalFreezesDuration", 0)
        total["sent"] += found["outbound-rtp video"]["bytesSent"]
        total["concealed"] += sound["concealedSamples"]
        total["samples"] += sound["totalSamplesReceived"]
    return total


async def measure(folder: Path) -> dict[str, dict[str, Any]]:
    figures: dict[str, dict[str, Any]] = {}
    async with BadRoom(folder, PORT, "29200-29299", rich=True) as room:
        for name, (network, aim) in NETWORKS.items():
            room.proxy.impair(network)
            await asyncio.sleep(SETTLE_S)
            before = await video(room)
            legs = await room.watch(INTERVALS)
            after = await video(room)
            seconds = INTERVALS * room.interval_s * len(room.users)
            change = {key: after[key] - before[key] for key in after}
            mos = {way: [score for leg in legs for score in getattr(leg, f"mos_{way}")] for way in ("received", "sent")}
            heard = [row for row in (await room.rows()) if row["direction"] == "received"]
            heard = heard[-(INTERVALS - 1) * len(room.users) :]
            delay_ms = statistics.mean(row["delay_ms"] for row in heard)
            round_trip_ms = statistics.mean(row["rtt_ms"] or 0.0 for row in heard)
            figures[name] = {
                "aim": aim,
                "mos_received": round(statistics.mean(mos["received"]), 2),
                "mos_received_worst": round(min(mos["received"]), 2),
                "mos_sent": round(statistics.mean(mos["sent"]), 2),
                "mos_sent_worst": round(min(mos["sent"]), 2),
                "delay_received_ms": round(delay_ms),
                "round_trip_ms": round(round_trip_ms),  # half of it is in the delay, and the link's queue is in it
                "at_our_end_ms": round(delay_ms - round_trip_ms / 2),  # buffer, packet time and codec
                "concealed_pct": round(100 * change["concealed"] / max(1, change["samples"]), 2),
                "frames_per_s": round(change["frames"] / seconds, 1),
                "frozen_pct": round(100 * change["freeze_s"] / seconds, 1),
                "video_down_kbps": round(change["bytes"] * 8 / seconds / 1000),
                "video_up_kbps": round(change["sent"] * 8 / seconds / 1000),
            }
            print(f"{name:12}", figures[name], flush=True)
            room.proxy.impair(GOOD)
            await asyncio.sleep(5)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--record", action="store_true", help="append the figures to benchmarks/history/bad_network.jsonl"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(measure(Path(folder)))
    if arguments.record:
        append(
            "bad_network",
            {
                "figures": figures,
            },
        )
    short = [
        name
        for name, found in figures.items()
        if found["aim"] is not None and min(found["mos_received"], found["mos_sent"]) < found["aim"]
    ]
    if short:
        sys.exit(f"sound below its aim: {', '.join(short)}")


if __name__ == "__main__":
    main()
