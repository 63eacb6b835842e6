"""No Python runs per packet: with 300 relayed calls up, the event loop's thread is idle while a worker moves media."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.lanes import SIPP_MEDIA_PORT, SIPP_PORT
from tests.support.server import Server
from tests.support.sipp import media_ports, run_sipp

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.alone]

CALLEE_PORT = SIPP_PORT + 10
EXTRA_CONFIG = f"""
[trunks.sipp]
uri = "sip:127.0.0.1:{CALLEE_PORT}"
allow_from = ["127.0.0.1"]
"""

# Two rounds of scoring, whenever it begins: in eight seconds there were one or two, 3.9 % or 5.8 % of a core.
LOOK_S = 10

ROUTES = """
[[route]]
name = "outside"
number = "800*"
trunk = "sipp"
callers = "trunks"
"""


def run_ns(pid: int, task: int) -> int:
    """CPU time of one thread; /proc/stat counts ticks and is wrong for such work."""
    return int(Path(f"/proc/{pid}/task/{task}/schedstat").read_text().split()[0])


def wake_ups(pid: int, task: int) -> int:
    """How often a thread went to sleep by itself, and so how often something woke it."""
    status = Path(f"/proc/{pid}/task/{task}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("voluntary_ctxt_switches")).split()[1])


async def test_300_relayed_calls_leave_the_main_thread_idle(server: Server, tmp_path: Path) -> None:
    callee = await asyncio.create_subprocess_exec(
        "sipp",
        "-sf",
        str(Path(__file__).parents[1] / "support/sipp/callee_with_echo.xml"),
        "-i",
        "127.0.0.1",
        "-mi",
        "127.0.0.1",
        "-p",
        str(CALLEE_PORT),
        *media_ports(SIPP_MEDIA_PORT + 2_000),
        "-rtp_echo",
        "-nostdin",
        "-mb",
        "2048",
        cwd=tmp_path,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        stdin=asyncio.subprocess.DEVNULL,
    )
    try:
        load = asyncio.create_task(
            run_sipp(
                tmp_path / "caller",
                "caller_with_media",
                server.sip,
                service="8005551234",
                calls=300,
                rate=60,
                at_once=300,
                talk_ms=22_000,  # five seconds until all talk, twelve until they were looked at, and five spare
                port=SIPP_PORT + 11,
                media_port=SIPP_MEDIA_PORT,
            )
        )
        for _ in range(200):
            if len(await server.calls()) == 300:
                break
            await asyncio.sleep(0.2)
        await asyncio.sleep(2)
        assert server.process is not None
        pid = server.process.pid
        tasks = [int(path.name) for path in Path(f"/proc/{pid}/task").iterdir()]
        packets = await server.metric("mediaserver_media_packets_received_total")
        before = {task: run_ns(pid, task) for task in tasks}
        woken = wake_ups(pid, pid)
        await asyncio.sleep(LOOK_S)
        used = {task: run_ns(pid, task) - before[task] for task in tasks}
        woken = wake_ups(pid, pid) - woken
        moved = await server.metric("mediaserver_media_packets_received_total") - packets
        main_share = used[pid] / (LOOK_S * 1e9)
        worker_share = max(ns for task, ns in used.items() if task != pid) / (LOOK_S * 1e9)
        print(f"packets {moved:.0f}, main thread {main_share:.2%}, worker {worker_share:.2%}, woken {woken}")
        assert moved > LOOK_S * 300 * 50 * 1.5, "both directions of 300 calls are flowing"
        assert woken < moved / 100, "the event loop does not wake for packets"
        # Scoring 600 directions every five seconds costs a third of what moving their packets does, whatever its
        # clock makes of it today; Python for each packet would cost several times as much as that.
        assert main_share < 0.6 * worker_share
        result = await load
        assert (result.successful, result.failed) == (300, 0), result.output
    finally:
        callee.kill()
        await callee.wait()
