"""Calls per second per core: the real server, real sockets, SIPp as a trunk. INVITE to BYE at 603, no media sent.

CPU of the server's process over the run (all threads) divided by the calls; one core's calls per second is its inverse.
The peers' figures on such a machine: Asterisk 0.86 ms of CPU per one-leg call, FreeSWITCH 3.5.
`python benchmarks/calls.py [--rate 200] [--calls 4000] [--record]`
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import platform
import tempfile
from pathlib import Path

from tests.support.lanes import SERVER_PORT, SERVER_RTP, SIPP_MEDIA_PORT, SIPP_PORT
from tests.support.server import Server
from tests.support.sipp import run_sipp

HISTORY = Path(__file__).parent / "history" / "calls.jsonl"
TRUNK = '[trunks.sipp]\nuri = "sip:127.0.0.1:5999"\nallow_from = ["127.0.0.1"]\n'


def cpu_ns(pid: int) -> int:
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())


async def measure(rate: int, calls: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory(prefix="mediaserver-bench-") as name:
        folder = Path(name)
        server = Server(folder / "server", SERVER_PORT, extra=TRUNK, rtp_ports=f"{SERVER_RTP}-{SERVER_RTP + 1_499}")
        await server.start()
        try:
            assert server.process is not None
            before = cpu_ns(server.process.pid)
            result = await run_sipp(
                folder / "sipp",
                "caller",
                server.sip,
                service="603",
                calls=calls,
                rate=rate,
                at_once=300,
                talk_ms=500,
                port=SIPP_PORT,
                media_port=SIPP_MEDIA_PORT,
            )
            await asyncio.sleep(1)
            used_ms = (cpu_ns(server.process.pid) - before) / 1e6
        finally:
            await server.stop()
    return {
        "rate": rate,
        "calls": result.successful,
        "failed": result.failed,
        "retransmissions": result.retransmissions,
        "cpu_ms_per_call": round(used_ms / max(1, result.successful), 3),
        "calls_per_s_per_core": round(1000 * result.successful / used_ms),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=200)
    parser.add_argument("--calls", type=int, default=4_000)
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    figures = asyncio.run(measure(options.rate, options.calls))
    print(json.dumps(figures))
    if options.record:
        line = {"at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "machine": platform.release()}
        with HISTORY.open("a") as file:
            file.write(json.dumps(line | figures) + "\n")


if __name__ == "__main__":
    main()
