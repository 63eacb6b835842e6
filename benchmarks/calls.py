"""Calls per second per core: the real server, real sockets, SIPp as a trunk. INVITE to BYE, no media sent.

Echo: one leg, at 603. Bridged: two legs, from the trunk to a second SIPp behind it. CPU of the server's process over
the run (all threads) divided by the calls; one core's calls per second is its inverse. The peers' figures on such a
machine: Asterisk 0.86 ms of CPU per one-leg call and 2.6 per bridged one, FreeSWITCH 3.5 and 7.9.
`python benchmarks/calls.py [--rate 150] [--calls 3000] [--than TREE] [--record]`; --than: another built tree of this
project, measured in turns with this one, to see what a change brought.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from pathlib import Path

from benchmarks._history import append
from tests.support.lanes import SERVER_PORT, SERVER_RTP, SIPP_MEDIA_PORT, SIPP_PORT
from tests.support.server import Server
from tests.support.sipp import media_ports, run_sipp

ROOT = Path(__file__).parents[1]
CALLEE_PORT = SIPP_PORT + 10
TRUNK = f'[trunks.sipp]\nuri = "sip:127.0.0.1:{CALLEE_PORT}"\nallow_from = ["127.0.0.1"]\n'
ROUTE = '[[route]]\nname = "outside"\nnumber = "800*"\ntrunk = "sipp"\ncallers = "trunks"\n'
NUMBERS = {"echo": "603", "bridged": "8005551234"}
ROUNDS = 2  # of each; the cheapest counts: what else runs on a machine only adds


def cpu_ns(pid: int) -> int:
    return sum(int((task / "schedstat").read_text().split()[0]) for task in Path(f"/proc/{pid}/task").iterdir())


async def start_callee() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        "sipp",
        *("-sf", str(ROOT / "tests/support/sipp/callee_with_echo.xml"), "-nostdin"),
        *(
            "-i",
            "127.0.0.1",
            "-mi",
            "127.0.0.1",
            "-p",
            str(CALLEE_PORT),
            *media_ports(SIPP_MEDIA_PORT + 2_000),
        ),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        stdin=asyncio.subprocess.DEVNULL,
    )


async def measure(tree: Path, kind: str, rate: int, calls: int) -> dict[str, float]:
    """tree: whose server runs; the clients are ours."""
    with tempfile.TemporaryDirectory(prefix="mediaserver-bench-") as name:
        folder = Path(name)
        server = Server(
            folder / "server",
            SERVER_PORT,
            extra=TRUNK,
            routes=ROUTE,
            rtp_ports=f"{SERVER_RTP}-{SERVER_RTP + 1_499}",
            command=tree / ".venv/bin/mediaserver",
        )
        callee = await start_callee()
        try:
            await server.start()
            assert server.process is not None
            before = cpu_ns(server.process.pid)
            result = await run_sipp(
                folder / "sipp",
                "caller",
                server.sip,
                service=NUMBERS[kind],
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
            callee.kill()
            await callee.wait()
            await server.stop(timeout_s=30)
    return {
        "calls": result.successful,
        "failed": result.failed,
        "retransmissions": result.retransmissions,
        "cpu_ms_per_call": round(used_ms / max(1, result.successful), 3),
        "calls_per_s_per_core": round(1000 * result.successful / used_ms),
    }


async def compare(trees: list[Path], rate: int, calls: int) -> dict[str, object]:
    """The cheapest round of every tree and kind of call, the rounds taken in turns."""
    best: dict[tuple[str, Path], dict[str, float]] = {}
    for _ in range(ROUNDS):
        for kind in NUMBERS:
            for tree in trees:
                found = await measure(tree, kind, rate if kind == "echo" else rate // 2, calls)
                former = best.get((kind, tree), found)
                best[kind, tree] = min(former, found, key=lambda figures: figures["cpu_ms_per_call"])
    figures: dict[str, object] = {"rate": rate}
    for kind in NUMBERS:
        figures[kind] = best[kind, trees[0]]
        if len(trees) > 1:
            other = best[kind, trees[1]]["cpu_ms_per_call"]
            figures[f"{kind}_of_other_tree_ms"] = other
            figures[f"{kind}_ratio"] = round(best[kind, trees[0]]["cpu_ms_per_call"] / other, 3)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=150)
    parser.add_argument("--calls", type=int, default=3_000)
    parser.add_argument("--than", type=Path, help="another built tree, measured in the same run")
    parser.add_argument("--record", action="store_true")
    options = parser.parse_args()
    trees = [ROOT, options.than.resolve()] if options.than else [ROOT]
    figures = asyncio.run(compare(trees, options.rate, options.calls))
    print(json.dumps(figures))
    if options.record:
        append("calls", figures)


if __name__ == "__main__":
    main()
