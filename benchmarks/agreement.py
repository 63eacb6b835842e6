"""Do Chromium's getStats and our statistics tell the same of a call, and is it what the network did?

    python benchmarks/agreement.py             prints both beside what the network lost
    python benchmarks/agreement.py --record    also appends a line to benchmarks/history/agreement.jsonl

Two phones of a real Chromium in a room behind `tests/support/impair.py`, which counts the packets it loses of each
stream. Each way has its witnesses: that network, who received (Chromium's inbound-rtp; our RTCP reports, as Chromium's
remote-inbound-rtp has them) and, of what we sent, what our quality record made of Chromium's reports. One way is bad at
a time: a relay passes on what was lost before it. The network loses nothing any more before the counts are read, so
that all are of the same packets. Ends with an error if they differ.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks._history import append  # noqa: E402
from tests.support.bad_network import GOOD, BadRoom  # noqa: E402
from tests.support.impair import Impairment  # noqa: E402

PORT = 15_940
LOSING_S = 20
QUIET_S = 9  # the next report of each side has come: ours every 2.5 to 7.5 s
NETWORKS = {
    "3 % loss": replace(GOOD, loss=0.03),
    "8 % loss, 10 ms jitter": replace(GOOD, loss=0.08, jitter_ms=10.0),
}
PACKETS_APART = 2  # one that a report was too early for
MACHINE_SHARE = 0.005  # of the packets that a busy machine may lose before or behind the network
ROUND_TRIP_MS = 39.0  # 40 of the network, as coarse as RTCP tells it; more is how busy the machine is


async def one(folder: Path, network: Impairment) -> list[dict[str, Any]]:
    async with BadRoom(folder, PORT, "29300-29399", rich=False) as room:
        down = await _bad_for_a_while(room, GOOD, network)
        up = await _bad_for_a_while(room, network, GOOD)
        for user in room.users:
            await room.browser.evaluate(f"{user}.hangUp()")
        rows = await _whole_calls(room)
        return [_figures(user, up, down, rows) for user in room.users]


@dataclass(frozen=True)
class Watched:
    """Of each user, or of each stream."""

    legs: dict[str, list[dict[str, Any]]]  # what our API said while the network was bad
    told: dict[str, dict[str, dict[str, Any]]]  # Chromium's statistics, at the end of that
    counted: dict[str, dict[str, dict[str, Any]]]  # and once it was good again, and all reports had come
    streams: dict[tuple[str, str, int], int]


async def _bad_for_a_while(room: BadRoom, up: Impairment, down: Impairment) -> Watched:
    room.proxy.impair(up, down)
    legs: dict[str, list[dict[str, Any]]] = {user: [] for user in room.users}
    for _ in range(LOSING_S):
        await asyncio.sleep(1)
        for leg in await room.legs():
            legs[leg["party"]].append(leg)
    told = {user: await room.statistics(user) for user in room.users}
    room.proxy.impair(GOOD)
    await asyncio.sleep(QUIET_S)
    streams = dict(room.proxy.streams)
    return Watched(legs, told, {user: await room.statistics(user) for user in room.users}, streams)


async def _whole_calls(room: BadRoom) -> list[dict[str, Any]]:
    """Rows that sum a call up, of what we sent, once both are there."""
    for _ in range(100):
        rows = [row for row in await room.rows() if row["whole_call"] and row["direction"] == "sent"]
        if len(rows) == len(room.users):
            return rows
        await asyncio.sleep(0.1)
    raise AssertionError("the calls have ended and their quality is not in the record")


def _figures(user: str, up: Watched, down: Watched, rows: list[dict[str, Any]]) -> dict[str, Any]:
    says, reported = (up.counted[user][f"{kind} audio"] for kind in ("outbound-rtp", "remote-inbound-rtp"))
    heard, at_the_end = down.counted[user]["inbound-rtp audio"], up.counted[user]["inbound-rtp audio"]
    sent = at_the_end["packetsReceived"] + at_the_end["packetsLost"]
    recorded = min(
        (round(row["loss"] * sent) for row in rows), key=lambda found: abs(found - at_the_end["packetsLost"])
    )
    return {
        "up": {
            "packets": says["packetsSent"],
            "lost_by_network": up.streams.get(("up", "lost", says["ssrc"]), 0),
            "lost_as_we_report": reported["packetsLost"],
        },
        "down": {
            "packets": heard["packetsReceived"] + heard["packetsLost"],
            "lost_by_network": down.streams.get(("down", "lost", heard["ssrc"]), 0),
            "lost_as_chromium_counts": heard["packetsLost"],
        },
        "whole_call": {
            "packets": sent,
            "lost_as_chromium_counts": at_the_end["packetsLost"],
            "lost_in_our_record": recorded,
        },
        "round_trip_ms": {
            "ours": down.legs[user][-1]["round_trip_ms"],
            "chromium": 1_000 * down.told[user]["remote-inbound-rtp audio"]["roundTripTime"],
        },
        "jitter_ms": {
            "ours, of what it says": statistics.median(leg["jitter_ms"] for leg in up.legs[user]),
            "chromium's, of what it hears": 1_000 * down.told[user]["inbound-rtp audio"]["jitter"],
        },
    }


def _apart(found: dict[str, Any]) -> list[str]:
    """Where the witnesses differ."""
    wrong = []
    for way in ("up", "down", "whole_call"):
        packets, one, other = found[way].values()
        most = PACKETS_APART + (MACHINE_SHARE * packets if way != "whole_call" else 0)
        if not -PACKETS_APART <= other - one <= most:
            wrong.append(f"{way}: {found[way]}")
    wrong += [
        f"round trip: {who} {ms}" for who, ms in found["round_trip_ms"].items() if ms is None or ms < ROUND_TRIP_MS
    ]
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--record", action="store_true", help="append the figures to the history")
    arguments = parser.parse_args()
    figures: dict[str, list[dict[str, Any]]] = {}
    for name, network in NETWORKS.items():
        with tempfile.TemporaryDirectory() as folder:
            figures[name] = asyncio.run(one(Path(folder), network))
        for found in figures[name]:
            print(f"{name:24}", found, flush=True)
    if arguments.record:
        append("agreement", {"figures": figures})
    if wrong := [text for parties in figures.values() for found in parties for text in _apart(found)]:
        sys.exit("they do not agree: " + "; ".join(wrong))


if __name__ == "__main__":
    main()
