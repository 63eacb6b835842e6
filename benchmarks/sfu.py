"""What forwarding one 1.5 Mbit/s picture to N viewers costs, and one speaker heard by a thousand: consumers per core.

Beside the thousand stands what the kernel alone takes for as many packets from as many sockets (benchmarks/announce.c).

    python benchmarks/sfu.py                 300 viewers, plain and by two SRTP ciphers, and 1,000 Opus listeners
    python benchmarks/sfu.py --record        also appends a line to benchmarks/history/sfu.jsonl

One media worker with real UDP sockets on loopback; its CPU time is its own thread's (EngineStats.cpu_ns). Every viewer
is a leg with one sending track and its own address. A second process empties the viewers' sockets every 10 ms: a full
one would refuse packets, which costs half of what queueing them does. Run it on a quiet machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import secrets
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks._history import append
from benchmarks.relay import build
from mediaserver.clock import SystemClock
from mediaserver.codecs.audio import Codec
from mediaserver.media.engine import MediaEngine
from mediaserver.model import (
    CodecName,
    CodecParams,
    Direction,
    MediaAddress,
    SrtpKey,
    SrtpProfile,
    StreamSettings,
)
from mediaserver.model_video import Feedback, TrackSettings, VideoCodec, VideoFormat
from mediaserver.settings import MediaSettings

PACKETS_PER_FRAME, FRAMES_PER_S, PAYLOAD_BYTES = 5, 30, 1_250  # 1.5 Mbit/s
OPUS_BYTES = 80  # of a packet: 32 kbit/s
OPUS = (CodecParams(CodecName.OPUS, 111, 48_000),)
PCMU = (CodecParams(CodecName.PCMU, 0, 8_000),)
VP8 = (VideoFormat(VideoCodec.VP8, 96, 97),)
CM, GCM = SrtpProfile.AES_CM_128_HMAC_SHA1_80, SrtpProfile.AEAD_AES_128_GCM


@dataclass
class Result:
    name: str
    receivers: int
    packets_sent: int
    cpu_us_per_packet: float
    cpu_us_per_receiver_s: float

    @property
    def receivers_per_core(self) -> float:
        return 1e6 / self.cpu_us_per_receiver_s


def engine() -> MediaEngine:
    settings = MediaSettings(port_range="20000-29999", realtime=True, workers=1)
    return MediaEngine(settings, SystemClock(), lambda event: None)


def keys(profile: SrtpProfile) -> dict[str, SrtpKey]:
    octets = 28 if profile is GCM else 30  # key and salt, RFC 7714 §12, RFC 3711 §8.2
    return {name: SrtpKey(profile, secrets.token_bytes(octets)) for name in ("send_key", "receive_key")}


def sink_socket(stack: contextlib.ExitStack) -> socket.socket:
    opened = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    opened.bind(("127.0.0.1", 0))
    opened.setblocking(False)
    return opened


def address(of: socket.socket) -> MediaAddress:
    return MediaAddress(*of.getsockname()[:2])


@contextlib.contextmanager
def viewers_elsewhere(count: int) -> Iterator[list[MediaAddress]]:
    """Addresses of `count` sockets that another process keeps empty."""
    with contextlib.ExitStack() as stack:
        sockets = [sink_socket(stack) for _ in range(count)]
        reader = multiprocessing.get_context("fork").Process(target=_read_all, args=(sockets,), daemon=True)
        reader.start()
        try:
            yield [address(one) for one in sockets]
        finally:
            reader.terminate()
            reader.join()


def _read_all(sockets: list[socket.socket]) -> None:
    space = bytearray(2_048)
    while True:
        for one in sockets:
            with contextlib.suppress(BlockingIOError):
                while True:
                    one.recv_into(space)
        time.sleep(0.01)


def picture(frame: int, part: int, sequence: int) -> bytes:
    last = part == PACKETS_PER_FRAME - 1
    head = struct.pack(">BBHII", 0x80, 96 | (0x80 if last else 0), sequence & 0xFFFF, frame * 3_000, 0xABC)
    descriptor = bytes([0x90 if part == 0 else 0x80, 0x80, 0x80 | frame >> 8 & 0x7F, frame & 0xFF])
    return head + descriptor + bytes([0 if frame % 300 == 0 else 1]) + bytes(PAYLOAD_BYTES)


async def measure(media: MediaEngine, name: str, receivers: int, feed: asyncio.Task[None], seconds: float) -> Result:
    await asyncio.sleep(1.5)
    before, started = media.engine_stats(), asyncio.get_running_loop().time()
    await asyncio.sleep(seconds)
    after, elapsed = media.engine_stats(), asyncio.get_running_loop().time() - started
    feed.cancel()
    cpu_us = (after.cpu_ns - before.cpu_ns) / 1e3
    sent = after.packets_sent - before.packets_sent
    return Result(name, receivers, sent, cpu_us / max(sent, 1), cpu_us / elapsed / receivers)


async def video(viewers: list[MediaAddress], profile: SrtpProfile | None, seconds: float) -> Result:
    media = engine()
    await media.start()
    with contextlib.ExitStack() as stack:
        camera = sink_socket(stack)
        from_ = await media.open_leg("127.0.0.1")
        await media.set_stream(from_.handle, StreamSettings(PCMU, PCMU, address(camera), rtcp_mux=True))
        source = await media.open_track(from_.handle)
        feedback = Feedback(nack=True, pli=True)
        await media.set_track(source.handle, TrackSettings("v", Direction.RECVONLY, VP8, VP8, feedback=feedback))
        for remote in viewers:
            leg = await media.open_leg("127.0.0.1")
            fields = keys(profile) if profile else {}
            await media.set_stream(leg.handle, StreamSettings(PCMU, PCMU, remote, rtcp_mux=True, **fields))
            sink = await media.open_track(leg.handle)
            await media.set_track(sink.handle, TrackSettings("v", Direction.SENDONLY, VP8, VP8, feedback=feedback))
            await media.connect_track(sink.handle, source.handle)

        async def film() -> None:
            frame = sequence = 0
            due = asyncio.get_running_loop().time()
            while True:
                for part in range(PACKETS_PER_FRAME):
                    camera.sendto(picture(frame, part, sequence), ("127.0.0.1", from_.rtp_port))
                    sequence += 1
                frame += 1
                due += 1 / FRAMES_PER_S
                await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))

        feed = asyncio.create_task(film())
        return await measure_and_stop(
            media, f"video, {profile.value}" if profile else "video, plain", len(viewers), feed, seconds
        )


async def sound(listeners: list[MediaAddress], seconds: float) -> Result:
    """One speaker, Opus, mixed for a room: one encode for all."""
    media = engine()
    await media.start()
    with contextlib.ExitStack() as stack:
        speaker = sink_socket(stack)
        bridge = await media.create_bridge()
        from_ = await media.open_leg("127.0.0.1")
        await media.set_stream(from_.handle, StreamSettings(OPUS, OPUS, address(speaker), rtcp_mux=True))
        await media.bridge_add(bridge, from_.handle)
        for remote in listeners:
            leg = await media.open_leg("127.0.0.1")
            await media.set_stream(leg.handle, StreamSettings(OPUS, OPUS, remote, rtcp_mux=True))
            await media.bridge_add(bridge, leg.handle)
        coder = Codec(CodecName.OPUS, clock_hz=48_000, complexity=0)
        payload = coder.encode(np.frombuffer(os.urandom(960 * 2), np.int16))

        async def talk() -> None:
            number = 0
            due = asyncio.get_running_loop().time()
            while True:
                head = struct.pack(">BBHII", 0x80, 111, number & 0xFFFF, number * 960, 0xDEF)
                speaker.sendto(head + payload, ("127.0.0.1", from_.rtp_port))
                number += 1
                due += 0.02
                await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))

        feed = asyncio.create_task(talk())
        return await measure_and_stop(media, "sound, Opus, one speaker", len(listeners), feed, seconds)


def kernel_alone(listeners: list[MediaAddress], seconds: float) -> Result:
    """Packets as long as those of our listeners, from a socket for each: benchmarks/announce.c."""
    with tempfile.TemporaryDirectory() as folder:
        ports = [str(one.port) for one in listeners]
        command = [build(Path(folder), "announce"), str(round(seconds * 50)), str(12 + OPUS_BYTES), *ports]
        sent, cpu_ns = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    result = Result("kernel alone", len(ports), sent, cpu_ns / 1e3 / sent, cpu_ns / 1e3 / seconds / len(ports))
    print(f"{result.name:32} {len(ports):5} receivers  {result.cpu_us_per_packet:6.2f} us per packet sent")
    return result


async def measure_and_stop(
    media: MediaEngine, name: str, receivers: int, feed: asyncio.Task[None], seconds: float
) -> Result:
    counters = media._links[0].worker.counters
    before = counters()["encodes"]
    result = await measure(media, name, receivers, feed, seconds)
    encodes = counters()["encodes"] - before
    await media.stop()
    print(
        f"{name:32} {receivers:5} receivers  {result.cpu_us_per_packet:6.2f} us per packet sent  "
        f"{result.receivers_per_core:7.0f} receivers per core  {encodes} encodes"
    )
    return result


async def run(viewers: list[MediaAddress], listeners: list[MediaAddress], seconds: float) -> list[Result]:
    return [
        await video(viewers, None, seconds),
        await video(viewers, CM, seconds),
        await video(viewers, GCM, seconds),
        kernel_alone(listeners, seconds),
        await sound(listeners, seconds),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--viewers", type=int, default=300)
    parser.add_argument("--listeners", type=int, default=1_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--record", action="store_true")
    arguments = parser.parse_args()
    with viewers_elsewhere(arguments.viewers) as viewers, viewers_elsewhere(arguments.listeners) as listeners:
        results = asyncio.run(run(viewers, listeners, arguments.seconds))
    if arguments.record:
        append(
            "sfu",
            {
                "results": [{**asdict(result), "receivers_per_core": result.receivers_per_core} for result in results],
            },
        )


if __name__ == "__main__":
    main()
