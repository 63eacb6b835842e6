"""What a participant of a conference costs per 20 ms tick: received, decoded, mixed, encoded and sent over real UDP.

    python benchmarks/mixing.py                rooms of 3 and one room of 200, PCMU and Opus
    python benchmarks/mixing.py --record       also appends a line to benchmarks/history/mixing.jsonl

Everybody talks all the time, which no real room does: it is the dearest case. CPU is the run time of every thread of
the server (as in benchmarks/relay.py), divided by the packets the phones received: one per participant and tick.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from relay import PHONE_HOST, PHONE_PORT, SERVER_HOST, Result, build, measure, resident_kb

from benchmarks._history import append
from mediaserver.clock import SystemClock
from mediaserver.codecs.audio import Codec
from mediaserver.media.engine import MediaEngine
from mediaserver.model import CodecName, CodecParams, MediaAddress, StreamSettings
from mediaserver.settings import MediaSettings

HERE = Path(__file__).resolve().parent
TICKS_PER_S = 50
CODECS = {
    "PCMU": CodecParams(CodecName.PCMU, 0, 8_000),
    "opus": CodecParams(CodecName.OPUS, 111, 48_000),
}
ROOMS = {"rooms of 3, PCMU": ("PCMU", 3, 100), "room of 200, PCMU": ("PCMU", 200, 1),
         "rooms of 3, Opus": ("opus", 3, 20), "room of 200, Opus": ("opus", 200, 1)}  # fmt: skip


def spoken(codec: CodecParams) -> tuple[str, ...]:
    """Payload type, RTP clock per packet and 20 ms of noisy voice in hex, for load.c."""
    coder = Codec(codec.name, bitrate_bps=32_000)
    count = coder.rate_hz // 50
    rng = np.random.default_rng(1)
    pcm = (
        6_000 * np.sin(2 * np.pi * 300 * np.arange(count * 10) / coder.rate_hz) + rng.normal(0, 800, count * 10)
    ).astype(np.int16)
    frames = [coder.encode(pcm[i * count : (i + 1) * count]) for i in range(10)]
    return str(codec.payload_type), str(codec.clock_hz // TICKS_PER_S), frames[-1].hex()


async def serve(codec: CodecParams, size: int, rooms: int, complexity: int) -> None:
    """The child process: rooms of `size` legs each, until stdin closes."""
    settings = MediaSettings(port_range="10000-19999", opus_complexity=complexity)
    engine = MediaEngine(settings, SystemClock(), lambda event: None)
    await engine.start()
    memory_before_kb = resident_kb(os.getpid())
    ports = []
    for _ in range(rooms):
        bridge = await engine.create_bridge()
        for _ in range(size):
            leg = await engine.open_leg(SERVER_HOST)
            remote = MediaAddress(PHONE_HOST, PHONE_PORT + len(ports))
            await engine.set_stream(
                leg.handle, StreamSettings(send=(codec,), receive=(codec,), remote=remote, cname="b")
            )
            await engine.bridge_add(bridge, leg.handle)
            ports.append(leg.rtp_port)
    print(json.dumps({"ports": ports, "memory_before_kb": memory_before_kb}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await engine.stop()


def run(load: Path, name: str, seconds: float, complexity: int) -> Result:
    codec = ROOMS[name][0]
    process = subprocess.Popen(
        ["taskset", "-c", "0", sys.executable, __file__, "--serve", name, "--complexity", str(complexity)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=HERE.parent,
        env={**os.environ, "PYTHONPATH": str(HERE.parent)},
    )
    assert process.stdout and process.stdin
    told = json.loads(process.stdout.readline())
    ports = [(SERVER_HOST, port) for port in told["ports"]]
    try:
        return measure(load, process.pid, ports, seconds, told["memory_before_kb"], spoken(CODECS[codec]))
    finally:
        process.stdin.close()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--complexity", type=int, default=5, help="of the Opus encoder, 0..10")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--serve", choices=ROOMS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        codec, size, rooms = ROOMS[args.serve]
        asyncio.run(serve(CODECS[codec], size, rooms, args.complexity))
        return
    medians: dict[str, dict[str, float]] = {}
    print(f"{'':20} {'µs/participant/tick':>20} {'packets lost':>13} {'KB/leg':>7}")
    with tempfile.TemporaryDirectory() as folder:
        load = build(Path(folder), "load")
        for name in ROOMS:
            found = [run(load, name, args.seconds, args.complexity) for _ in range(args.rounds)]
            medians[name] = {
                "us_per_participant_tick": statistics.median(r.cpu_us_per_packet for r in found),
                "packets_lost": statistics.median(r.packets_lost for r in found),
                "memory_kb_per_leg": statistics.median(r.memory_kb_per_leg for r in found),
            }
            us, lost, memory = medians[name].values()
            print(f"{name:20} {us:20.1f} {lost:13.0f} {memory:7.1f}", flush=True)
    if args.record:
        append(
            "mixing",
            {
                "opus_complexity": args.complexity,
                **medians,
            },
        )


if __name__ == "__main__":
    main()
