"""Is what the server keeps of a page's own measurements what that page's Chromium says in getStats?

    python benchmarks/page_stats.py            some 90 s: prints each report beside getStats and what was kept
    python benchmarks/page_stats.py --record   also appends a line to benchmarks/history/page_stats.jsonl

The phone page of a real Chromium talks to an echo behind `tests/support/impair.py`: clean, losing, late, out of order,
clean. getStats is read every half second beside the page; of each report of the page, its share of lost packets and of
what was made up is held against getStats over the same time and against the row that the server stored. Ends with an
error if they differ.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks._history import append  # noqa: E402
from tests.support.impair import Impairment, Proxy  # noqa: E402
from tests.support.page import Browser, Page  # noqa: E402
from tests.support.server import Server  # noqa: E402
from tests.support.speech import speech  # noqa: E402

PORT, NETWORK_HOST = 15_960, "127.0.0.2"
GOOD = Impairment(delay_ms=20.0)
NETWORKS = (
    (GOOD, 14),
    (replace(GOOD, loss=0.08), 26),
    (replace(GOOD, jitter_ms=40.0, reorder=0.05, reorder_ms=80.0), 26),
    (GOOD, 14),
)
APART = 0.03  # of a share: the two are read up to a quarter of a second apart, of six
CALL = "document.querySelector('phone-app').phone.current"
# Of the host candidates only the one behind the network is left to the browser.
BY_THE_NETWORK = f"""(() => {{
  const set = RTCPeerConnection.prototype.setRemoteDescription;
  RTCPeerConnection.prototype.setRemoteDescription = function (it) {{
    const ours = (line) => !line.startsWith("a=candidate") || line.includes(" {NETWORK_HOST} ");
    const lines = it.sdp.split("\\r\\n").filter(ours);
    return set.call(this, {{ type: it.type, sdp: lines.join("\\r\\n") }});
  }};
  return 1;
}})()"""
LISTEN = f"""
  window.told = [];
  {CALL}.addEventListener("report", (it) => told.push({{ at: performance.now(), ...it.detail }}));
"""
READ = f"""(async () => {{
  for (const it of (await {CALL}.peer.getStats()).values()) {{
    if (it.type !== "inbound-rtp" || it.kind !== "audio") continue;
    const madeUp = it.concealedSamples - it.silentConcealedSamples;
    return [performance.now(), it.packetsReceived, it.packetsLost, it.totalSamplesReceived, madeUp];
  }}
}})()"""


async def talk(page: Page, proxy: Proxy) -> tuple[list[list[float]], list[dict[str, Any]]]:
    """Readings of getStats (time, packets, lost, samples, made up), and what the page reported."""
    await page.sign_in("ann", "secret-of-ann")
    await page.evaluate(BY_THE_NETWORK)
    await page.dial("603")
    await page.until(f"{CALL}?.state === 'talking'", 30)
    await page.evaluate(LISTEN)
    readings = []
    for network, seconds in NETWORKS:
        proxy.impair(network)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            reading = await page.evaluate(READ)
            if reading:
                readings.append(reading)
            await asyncio.sleep(0.5)
    told = await page.evaluate("told")
    await page.click("Hang up")
    await asyncio.sleep(2)
    return readings, told


async def measure(folder: Path) -> tuple[list[list[float]], list[dict[str, Any]], list[dict[str, Any]]]:
    sections = {"quality": "interval_s = 2", "webrtc": f'external_addresses = ["{NETWORK_HOST}"]'}
    server = Server(folder / "server", PORT, {"ann": "secret-of-ann"}, sections=sections, rtp_ports="29500-29599",
                    max_calls=4)  # fmt: skip
    browser = Browser(folder / "browser", speech("ann", 48_000, tail_s=1))
    await server.start()
    try:
        async with Proxy((NETWORK_HOST, PORT + 4), ("127.0.0.1", PORT + 4), GOOD) as proxy:
            await browser.start()
            readings, told = await talk(await browser.open(f"https://127.0.0.1:{PORT + 2}/phone"), proxy)
    finally:
        await browser.stop()
        await server.stop()
    database = sqlite3.connect(folder / "server" / "data" / "mediaserver.db")
    database.row_factory = sqlite3.Row
    query = "SELECT * FROM quality_intervals WHERE direction = 'client' ORDER BY start_ms"
    rows = [dict(row) for row in database.execute(query)]
    database.close()
    return readings, told, rows


def compare(readings: list[list[float]], told: list[dict[str, Any]], rows: list[dict[str, Any]]) -> dict[str, float]:
    def shares(begin: float, end: float) -> tuple[float, float]:
        a, b = (min(readings, key=lambda reading: abs(reading[0] - at)) for at in (begin, end))
        _, packets, lost, samples, made_up = (after - before for before, after in zip(a, b, strict=True))
        return max(0.0, lost) / max(1, packets + lost), max(0.0, made_up) / max(1, samples)

    worst = {"lost": 0.0, "made up": 0.0, "kept": 0.0}
    for before, report, row in zip(told, told[1:], rows[1:], strict=False):
        lost, made_up = shares(before["at"], report["at"])
        network = row["loss"] - row["late"]
        print(f"getStats lost {lost:6.3f} made up {made_up:6.3f}   told {report['loss_received']:6.3f} "
              f"{report['concealed']:6.3f}   kept {network:6.3f} {row['loss']:6.3f}, MOS {row['mos']:.2f}")  # fmt: skip
        worst["lost"] = max(worst["lost"], abs(lost - report["loss_received"]))
        worst["made up"] = max(worst["made up"], abs(made_up - report["concealed"]))
        kept = max(
            abs(network - report["loss_received"]), row["loss"] - max(report["loss_received"], report["concealed"])
        )
        worst["kept"] = max(worst["kept"], kept)
    return {name: round(value, 4) for name, value in worst.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="append a line to benchmarks/history/page_stats.jsonl")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        readings, told, rows = asyncio.run(measure(Path(folder)))
    apart = compare(readings, told, rows)
    heard = [max(report["loss_received"], report["concealed"]) for report in told]
    print(json.dumps({"reports": len(told), "rows": len(rows), "most lost": max(heard), "apart at the most": apart}))
    if arguments.record:
        print(append("page_stats", {"reports": len(told), "rows": len(rows), **apart}))
    if (
        len(told) != len(rows)
        or max(heard) < 0.04
        or max(apart["lost"], apart["made up"]) > APART
        or apart["kept"] > 1e-9
    ):
        sys.exit("what is kept is not what the browser said")


if __name__ == "__main__":
    main()
