"""Plays the networks of tests/sim/networks.py to a real NetEQ (libwebrtc) and keeps what was heard as data.

    NODE_PATH=benchmarks/node/node_modules python benchmarks/neteq_record.py [--codec PCMU] [--at-once 3] [name…]

Writes benchmarks/data/neteq/CODEC.json; how, with which versions and on which speech is in SOURCE.md beside it. NetEQ
runs in real time, so this takes 21 s a network and wants a quiet machine and an address that is not loopback (libwebrtc
does not gather that one). Packets leave a thread of their own at their time of the trace, over SRTP.
"""

from __future__ import annotations

import argparse
import asyncio
import json
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
RECEIVER = Path(__file__).with_name("neteq_receiver.cjs")
SETTLE_S = 0.5
LATE_MS_MAX = 6.0  # a call of which any packet left later than this says more of the machine than of NetEQ


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


async def call(codec: str, name: str) -> dict[str, Any]:
    rtp_name, rate_hz, clock_hz, settings, _, _ = CODECS[codec]
    payloads = frames(Codec(rtp_name, rate_hz=rate_hz if rtp_name == "opus" else 0, **settings), speech(rate_hz))
    trace = networks()[name](steady(len(payloads), clock_hz=clock_hz))
    pc = RTCPeerConnection()
    pc.addTrack(Nothing())
    sender = pc.getSenders()[0]
    mime = "audio/PCMU" if rtp_name == "PCMU" else "audio/opus"
    chosen = [c for c in RTCRtpSender.getCapabilities("audio").codecs if c.mimeType == mime]
    pc.getTransceivers()[0].setCodecPreferences(chosen)
    await pc.setLocalDescription(await pc.createOffer())
    with tempfile.NamedTemporaryFile() as pcm:
        process = await asyncio.create_subprocess_exec(
            "node", str(RECEIVER), stdin=subprocess.PIPE, stdout=subprocess.PIPE, limit=1 << 20
        )
        assert process.stdin
        process.stdin.write(json.dumps({"offer": pc.localDescription.sdp, "pcm": pcm.name}).encode() + b"\n")
        seen: list[dict[str, Any]] = []
        answer = await lines(process, "answer", seen)
        await pc.setRemoteDescription(RTCSessionDescription(answer["answer"], "answer"))
        await lines(process, "connected", seen)
        await asyncio.sleep(SETTLE_S)
        began_ns = time.monotonic_ns() + SECOND // 2
        payload_type = 0 if rtp_name == "PCMU" else int(sender._RTCRtpSender__encoder is None and 96)
        worst_ms = await asyncio.to_thread(
            send_all, sender.transport, trace, payloads, payload_type, sender._ssrc, began_ns
        )
        await asyncio.sleep(SETTLE_S)
        process.stdin.close()
        await lines(process, "sink", seen)
        await process.wait()
        await pc.close()
        heard = np.fromfile(pcm.name, np.int16)
    return judge(codec, heard, seen, began_ns, worst_ms, arrivals(trace)[-1].arrival_ns)


def judge(
    codec: str, heard: NDArray[np.int16], seen: list[dict[str, Any]], began_ns: int, worst_ms: float, last_ns: int
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
    figures["sent_late_ms_max"] = round(worst_ms, 2)
    return figures


async def record(codec: str, names: list[str], at_once: int) -> None:
    """Of two tries at one network the less disturbed stays; who was sent too late is not kept at all."""
    target = DATA / f"{codec}.json"
    found: dict[str, Any] = json.loads(target.read_text()) if target.exists() else {}
    gate = asyncio.Semaphore(at_once)
    DATA.mkdir(parents=True, exist_ok=True)

    async def one(name: str) -> None:
        async with gate:
            # Each call is a process of its own, so that no sender waits for another's interpreter.
            process = await asyncio.create_subprocess_exec(
                sys.executable, __file__, "--codec", codec, "--call", name, stdout=subprocess.PIPE
            )
            out, _ = await process.communicate()
        figures = json.loads(out) if process.returncode == 0 else {"sent_late_ms_max": float("inf")}
        print(f"{codec} {name:24} {figures}", flush=True)
        if figures["sent_late_ms_max"] <= found.get(name, {"sent_late_ms_max": LATE_MS_MAX})["sent_late_ms_max"]:
            found[name] = figures
        rows = [f"{json.dumps(known)}: {json.dumps(found[known])}" for known in networks() if known in found]
        target.write_text("{\n" + ",\n".join(rows) + "\n}\n")

    await asyncio.gather(*(one(name) for name in names))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--codec", choices=sorted(CODECS), default="PCMU")
    parser.add_argument("--at-once", type=int, default=1, help="calls at the same time")
    parser.add_argument("--call", help="one call in this process; its figures as JSON")
    parser.add_argument("names", nargs="*", help="networks; all if none is named")
    arguments = parser.parse_args()
    if arguments.call:
        print(json.dumps(asyncio.run(call(arguments.codec, arguments.call))))
        return
    asyncio.run(record(arguments.codec, arguments.names or list(networks()), arguments.at_once))


if __name__ == "__main__":
    main()
