"""Plays the networks of tests/sim/networks.py to a real NetEQ (libwebrtc) and keeps what was heard as data.

    (cd benchmarks/node && npm ci)                                              once: 26 MB
    python benchmarks/neteq_record.py --codec PCMU --codec opus --seed 1 --seed 2 --jobs 6     [name…]

Writes benchmarks/data/neteq/CODEC.json, of further seeds CODEC-SEED.json; how, with which versions and on which speech
is in SOURCE.md beside it. What is there already is not recorded again unless its network is named. NetEQ runs in real
time: a call takes some 25 s, and the machine should be quiet. It needs an address that is not loopback (libwebrtc does
not gather that one).

Packets leave a thread of their own at their time of the trace, over SRTP. Each call is two processes, its sender and
its receiver. Senders and judges share all cores but the last, receivers have that one for themselves; where it is
allowed, sending and libwebrtc's threads are in the real-time class from when they are connected on (Node's own thread
is not: it takes a tenth of a second now and then), and judging is nice. Whether that was enough is measured: a call of
which a packet left late, or in which a thread of libwebrtc waited for a core (by the kernel's account), is recorded
again, and not kept if it will not be better.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from aiortc import RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mediaserver.codecs.audio import Codec  # noqa: E402
from tests.sim.networks import CODECS, SECOND, measure, networks, speech  # noqa: E402
from tests.sim.playing import frames  # noqa: E402
from tests.sim.traces import Trace, arrivals, steady  # noqa: E402

DATA = ROOT / "benchmarks" / "data" / "neteq"
MODULES = ROOT / "benchmarks" / "node" / "node_modules"
RECEIVER = Path(__file__).with_name("neteq_receiver.cjs")
SETTLE_S = 0.5
LATE_MS_MAX = 6.0  # a call of which any packet left later than this says more of the machine than of NetEQ
WAITED_MS_MAX = 5.0  # nor one in which NetEQ's pull of 10 ms may have been half of that late
WATCH_S = 0.1
MEASURED = "waited_ms_max"  # a row without it is of a call of which that is not known
TRIES = 4
PRIORITY = 40  # of the real-time class
APART_S = 1.2  # between two calls' beginnings, so that they do not start and end together


class Nothing(MediaStreamTrack):
    """Sends nothing by itself."""

    kind = "audio"

    async def recv(self) -> Any:
        await asyncio.Future()


async def lines(process: asyncio.subprocess.Process, wanted: str, seen: list[dict[str, Any]]) -> dict[str, Any]:
    assert process.stdout
    while True:
        line = json.loads(await process.stdout.readline())
        seen.append(line)
        if wanted in line:
            return dict(line)


def send_all(transport: Any, trace: Trace, payloads: list[bytes], payload_type: int, ssrc: int, began_ns: int) -> float:
    """Blocks; returns the worst lateness in ms. The packets are protected in the order and at the time of sending."""
    in_real_time(True)
    component = transport.transport._connection
    worst = 0
    for p in arrivals(trace):
        due = began_ns + p.arrival_ns
        while (left := due - time.monotonic_ns()) > 0:
            time.sleep(max(left - 200_000, 0) / SECOND)
        worst = max(worst, -left)
        header = struct.pack("!BBHII", 0x80, payload_type, p.sequence, p.timestamp, ssrc)
        data = transport._tx_srtp.protect(header + payloads[p.index])
        pair = component._nominated[1]
        pair.protocol.transport._sock.sendto(data, pair.remote_addr)
    return worst / 1e6


def in_real_time(wanted: bool, thread: int = 0) -> None:
    """Where that is not allowed, what is measured must tell whether it was needed."""
    with contextlib.suppress(PermissionError, ProcessLookupError):
        if wanted:
            os.sched_setscheduler(thread, os.SCHED_FIFO, os.sched_param(PRIORITY))
        else:
            os.sched_setscheduler(thread, os.SCHED_OTHER, os.sched_param(0))


def place(process: int, receiving: bool, on: set[int]) -> None:
    """Starting Node and ending it take a core for longer than a call that runs beside it can wait."""
    for thread in threads(process):
        in_real_time(receiving and not is_nodes(process, thread), thread)
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(thread, on)


def is_nodes(process: int, thread: int) -> bool:
    """Node's own threads bear its name, libwebrtc's have names."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{process}/task/{thread}/comm").read_text().strip() == "node"
    return True


def threads(process: int) -> list[int]:
    return [int(task.name) for task in Path(f"/proc/{process}/task").iterdir()]


def waited_ns(process: int) -> dict[int, int]:
    """How long each thread of libwebrtc could have run and did not, since it began."""
    found = {}
    for thread in threads(process):
        if not is_nodes(process, thread):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                found[thread] = int(Path(f"/proc/{process}/task/{thread}/schedstat").read_text().split()[1])
    return found


async def watch(process: int, worst_ms: list[float]) -> None:
    """Until cancelled: the longest that one thread waited in a tenth of a second goes to worst_ms[0]."""
    before = waited_ns(process)
    while True:
        await asyncio.sleep(WATCH_S)
        now = waited_ns(process)
        worst_ms[0] = max([worst_ms[0], *((now[t] - before.get(t, 0)) / 1e6 for t in now)])
        before = now


def cores() -> tuple[set[int], set[int]]:
    """For receivers, and for all else."""
    here = sorted(os.sched_getaffinity(0))
    return set(here[-1:]), set(here[:-1]) or set(here)


async def call(codec: str, name: str, seed: int) -> dict[str, Any]:
    receivers, others = cores()
    os.sched_setaffinity(0, others)
    rtp_name, rate_hz, clock_hz, settings, _, _ = CODECS[codec]
    payloads = frames(Codec(rtp_name, rate_hz=rate_hz if rtp_name == "opus" else 0, **settings), speech(rate_hz))
    trace = networks(seed)[name](steady(len(payloads), clock_hz=clock_hz))
    pc = RTCPeerConnection()
    pc.addTrack(Nothing())
    sender = pc.getSenders()[0]
    mime = "audio/PCMU" if rtp_name == "PCMU" else "audio/opus"
    chosen = [c for c in RTCRtpSender.getCapabilities("audio").codecs if c.mimeType == mime]
    pc.getTransceivers()[0].setCodecPreferences(chosen)
    await pc.setLocalDescription(await pc.createOffer())
    with tempfile.NamedTemporaryFile() as pcm:
        process = await asyncio.create_subprocess_exec(
            "node",
            str(RECEIVER),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            limit=1 << 20,
            env={"NODE_PATH": str(MODULES)} | os.environ,
        )
        assert process.stdin
        process.stdin.write(json.dumps({"offer": pc.localDescription.sdp, "pcm": pcm.name}).encode() + b"\n")
        seen: list[dict[str, Any]] = []
        answer = await lines(process, "answer", seen)
        await pc.setRemoteDescription(RTCSessionDescription(answer["answer"], "answer"))
        await lines(process, "connected", seen)
        place(process.pid, True, receivers)
        await asyncio.sleep(SETTLE_S)
        in_real_time(True)  # as the thread that sends: they share an interpreter
        began_ns = time.monotonic_ns() + SECOND // 2
        waited_ms = [0.0]
        watching = asyncio.create_task(watch(process.pid, waited_ms))
        payload_type = 0 if rtp_name == "PCMU" else int(sender._RTCRtpSender__encoder is None and 96)
        worst_ms = await asyncio.to_thread(
            send_all, sender.transport, trace, payloads, payload_type, sender._ssrc, began_ns
        )
        watching.cancel()
        in_real_time(False)
        await asyncio.sleep(SETTLE_S)
        place(process.pid, False, others)
        process.stdin.close()
        await lines(process, "sink", seen)
        await process.wait()
        await pc.close()
        heard = np.fromfile(pcm.name, np.int16)
    os.nice(19)
    figures = judge(codec, heard, seen, began_ns, arrivals(trace)[-1].arrival_ns)
    return figures | {"sent_late_ms_max": round(worst_ms, 2), "waited_ms_max": round(waited_ms[0], 2)}


def judge(
    codec: str, heard: NDArray[np.int16], seen: list[dict[str, Any]], began_ns: int, last_ns: int
) -> dict[str, Any]:
    sink = seen[-1]["sink"]
    rate_hz = CODECS[codec][1]
    at = round((began_ns - sink["began_ns"]) * sink["rate"] / SECOND)
    part = np.concatenate([heard[at:] if at >= 0 else np.concatenate([np.zeros(-at, np.int16), heard])])
    played = soxr.resample(part, sink["rate"], rate_hz) if sink["rate"] != rate_hz else part
    stats = [line for line in seen if "stats" in line]
    # NetEQ plays (and counts as concealed) nothing before the first packet: counted from there on.
    start = next(line["stats"] for line in stats if line["stats"].get("packetsReceived", 0) > 0)
    after = [line["stats"] for line in stats if line["at_ns"] < began_ns + last_ns][-1]

    def grown(key: str) -> float:
        return float(after.get(key, 0)) - float(start.get(key, 0))

    total = grown("totalSamplesReceived") or 1.0
    figures: dict[str, Any] = measure(codec, played, grown("concealedSamples") / total).as_dict()
    emitted = grown("jitterBufferEmittedCount") or 1.0
    figures["own_delay_ms"] = round(grown("jitterBufferDelay") / emitted * 1000, 1)
    figures["own_target_ms"] = round(grown("jitterBufferTargetDelay") / emitted * 1000, 1)
    figures["stretched"] = round(grown("insertedSamplesForDeceleration") / total, 4)
    figures["compressed"] = round(grown("removedSamplesForAcceleration") / total, 4)
    figures["packets"] = int(grown("packetsReceived"))
    return figures


def disturbed(figures: dict[str, Any]) -> bool:
    return bool(figures["sent_late_ms_max"] > LATE_MS_MAX or figures[MEASURED] > WAITED_MS_MAX)


def data_file(codec: str, seed: int) -> Path:
    return DATA / (f"{codec}-{seed}.json" if seed else f"{codec}.json")


def keep(codec: str, seed: int, name: str, figures: dict[str, Any]) -> None:
    target = data_file(codec, seed)
    found: dict[str, Any] = json.loads(target.read_text()) if target.exists() else {}
    found[name] = figures
    rows = [f"{json.dumps(known)}: {json.dumps(found[known])}" for known in networks() if known in found]
    target.write_text("{\n" + ",\n".join(rows) + "\n}\n")


async def one(codec: str, seed: int, name: str) -> bool:
    """One call until it was undisturbed; whether it is kept."""
    for attempt in range(1, TRIES + 1):
        # A process of its own, so that no sender waits for another's interpreter.
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, __file__, "--codec", codec, "--seed", str(seed), "--call", name), stdout=subprocess.PIPE
        )
        out, _ = await process.communicate()
        if process.returncode != 0:
            print(f"{codec} {seed} {name:24} try {attempt}: failed", flush=True)
            continue
        figures = json.loads(out)
        again = disturbed(figures)
        late = f"left {figures['sent_late_ms_max']:.1f} ms late, waited {figures[MEASURED]:.1f} ms"
        print(f"{codec} {seed} {name:24} try {attempt}: {late}{': again' if again else ''}", flush=True)
        if not again:
            keep(codec, seed, name, figures)
            return True
    return False


async def record(codecs: list[str], seeds: list[int], names: list[str], jobs: int) -> bool:
    """True: every call was kept."""
    DATA.mkdir(parents=True, exist_ok=True)
    wanted = []
    for codec in codecs:
        for seed in seeds:
            file = data_file(codec, seed)
            known = json.loads(file.read_text()) if file.exists() else {}
            wanted += [
                (codec, seed, name) for name in names or networks() if names or MEASURED not in known.get(name, {})
            ]
    gate = asyncio.Semaphore(jobs)
    began = time.monotonic()

    async def in_turn(number: int, of: tuple[str, int, str]) -> bool:
        async with gate:
            await asyncio.sleep(number % jobs * APART_S if number < jobs else 0)
            return await one(*of)

    kept = await asyncio.gather(*(in_turn(number, of) for number, of in enumerate(wanted)))
    print(f"{sum(kept)} of {len(kept)} calls kept, {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
    return all(kept)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--codec", choices=["PCMU", "opus"], action="append", help="PCMU if none is said")
    parser.add_argument("--seed", type=int, action="append", help="0 if none is said; 0 is what was recorded first")
    parser.add_argument("--jobs", type=int, default=1, help="calls at the same time")
    parser.add_argument("--call", help="one call in this process; its figures as JSON")
    parser.add_argument("names", nargs="*", help="networks; all that are not recorded yet if none is named")
    arguments = parser.parse_args()
    codecs, seeds = arguments.codec or ["PCMU"], arguments.seed or [0]
    if arguments.call:
        print(json.dumps(asyncio.run(call(codecs[0], arguments.call, seeds[0]))))
        return 0
    return 0 if asyncio.run(record(codecs, seeds, arguments.names, arguments.jobs)) else 1


if __name__ == "__main__":
    sys.exit(main())
