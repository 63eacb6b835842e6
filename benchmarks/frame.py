"""What a leg costs for each 20 ms of sound, all in: microseconds of CPU of the media workers, user and system.

    python benchmarks/frame.py             prints a table (under a minute)
    python benchmarks/frame.py --record    also appends a line to benchmarks/history/frame.jsonl

All in: the kernel's receiving, SRTP where a browser is, jitter buffer, decoding, concealment and time stretching,
level, clipping and quality counters, the mix, encoding, and the kernel's sending. Real speech over real UDP from phones
(benchmarks/load.c) on another core. CPU is the worker threads' own clock, divided by legs and ticks.

    heard       rooms of 3 that are only listened to: no encoding, no sending
    pair        two legs that hear each other, decoded and encoded for them
    room        rooms of 3, all talk all the time, which no real room does: every leg has an encoding of its own
    one talks   rooms of 3, one talks: the two that listen share an encoding

Beside it, in the same run, what nobody can go below: the bare reflector (the kernel alone) and the codec library alone,
decoding and encoding the same speech.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import relay
from kernels import Pcm, speech

from benchmarks._history import append
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
from mediaserver.settings import MediaSettings

KEY = bytes(range(30))
BROWSER_PORT = 9_990
FRAMES = 200
STREAMS = 1_000  # of the bare reflector
WARMUP_MS = 700
LOSSY = {"LOSS": "0.02", "JITTER_MS": "12"}
GOAL_US = 25
TRANSCODED_DB = 0.5  # a gain makes a pair of the same codec be decoded: what is relayed costs no codec
QUIET_AMPLITUDE = 10  # of a silent room's noise, some -75 dBov


@dataclass(frozen=True)
class Kind:
    """One sort of leg. rate_hz: of what its phone encodes, and of what it wants to hear."""

    params: CodecParams
    rate_hz: int
    legs: int
    srtp: bool = False

    def payloads(self, pcm: Pcm) -> list[bytes]:
        coder = Codec(self.params.name, rate_hz=self.rate_hz if self.params.name is CodecName.OPUS else 0,
                      bitrate_bps=32_000, fec=True)  # fmt: skip
        return [coder.encode(frame) for frame in np.split(pcm, FRAMES)]

    def spoken(self, pcm: Pcm) -> tuple[str, str, str]:
        """For load.c: payload type, RTP clock per packet, payloads."""
        hexes = ",".join(payload.hex() for payload in self.payloads(pcm))
        return str(self.params.payload_type), str(self.params.clock_hz // 50), hexes


def opus(rate_hz: int) -> CodecParams:
    return CodecParams(
        CodecName.OPUS, 111, 48_000, 2, {"useinbandfec": "1", "stereo": "0", "maxplaybackrate": str(rate_hz)}
    )


KINDS = {
    "PCMU": Kind(CodecParams(CodecName.PCMU, 0, 8_000), 8_000, 240),
    "G.722": Kind(CodecParams(CodecName.G722, 9, 8_000), 16_000, 240),
    "Opus 16 kHz": Kind(opus(16_000), 16_000, 90, True),
    "Opus 48 kHz": Kind(opus(48_000), 48_000, 90, True),
}
EVENTS = CodecParams(CodecName.TELEPHONE_EVENT, 101, 8_000)  # so that nobody listens for tones in the sound


@dataclass(frozen=True)
class Case:
    name: str  # heard, pair, room, one talks
    kind: str
    other: str = ""  # of the pair's second leg; "": the same
    lossy: bool = False

    @property
    def title(self) -> str:
        return f"{self.kind}{' to ' * bool(self.other)}{self.other}, {self.name}{', lossy' * self.lossy}"

    @property
    def size(self) -> int:
        return 2 if self.name == "pair" else 3


def cases() -> Iterator[Case]:
    for kind in KINDS:
        for name in ("heard", "pair", "room", "one talks"):
            yield Case(name, kind)
        for name in ("heard", "pair"):
            yield Case(name, kind, lossy=True)
    for other in ("PCMU", "G.722"):
        yield Case("pair", "Opus 48 kHz", other)


def noise(rate_hz: int) -> Pcm:
    return np.random.default_rng(1).normal(0, QUIET_AMPLITUDE, rate_hz // 50 * FRAMES).astype(np.int16)


async def open_leg(engine: MediaEngine, kind: Kind, number: int, direction: Direction) -> tuple[int, int]:
    """Its handle and its port."""
    remote = MediaAddress(relay.PHONE_HOST, relay.PHONE_PORT + number)
    key = SrtpKey(SrtpProfile.AES_CM_128_HMAC_SHA1_80, KEY) if kind.srtp else None
    leg = await engine.open_leg(relay.SERVER_HOST, datagrams=kind.srtp)
    if kind.srtp:
        engine.bind_address(leg.handle, remote)
    await engine.set_stream(
        leg.handle,
        StreamSettings(
            send=(kind.params, EVENTS),
            receive=(kind.params, EVENTS),
            remote=remote,
            remote_proven=kind.srtp,
            rtcp_mux=kind.srtp,
            direction=direction,
            cname="bench",
            send_key=key,
            receive_key=key,
        ),
    )
    return leg.handle, leg.rtp_port


async def measure(engine: MediaEngine, loads: dict[bool, Path], case: Case, seconds: float) -> float:
    """Microseconds of a worker's CPU per leg and tick."""
    kind = KINDS[case.kind]
    direction = Direction.RECVONLY if case.name == "heard" else Direction.SENDRECV
    legs, bridges, ports = [], [], []
    for number in range(kind.legs):
        if number % case.size == 0:
            bridges.append(await engine.create_bridge())
        which = KINDS[case.other] if case.other and number % 2 else kind
        handle, port = await open_leg(engine, which, number, direction)
        if case.name == "pair" and not case.other:
            await engine.set_gain(handle, TRANSCODED_DB)
        await engine.bridge_add(bridges[-1], handle)
        legs.append(handle)
        ports.append((relay.SERVER_HOST, port))
    more = dict(LOSSY) if case.lossy else {}
    if kind.srtp:
        more["SRTP_KEY"] = KEY.hex()
        if not case.other:
            more["SRTP_ALL"] = "1"
    if case.name == "one talks":
        more["QUIET"] = kind.spoken(noise(kind.rate_hz))[2]
    if case.other:
        other = KINDS[case.other]
        more["OTHER_TYPE"], more["OTHER_CLOCK"], more["OTHER"] = other.spoken(speech(other.rate_hz))
    used_ns, _ = await asyncio.to_thread(
        relay.drive, loads[kind.srtp], ports, seconds, kind.spoken(speech(kind.rate_hz)),
        lambda: engine.engine_stats().cpu_ns, warmup_ms=WARMUP_MS, more=more,
    )  # fmt: skip
    for handle in legs:
        await engine.close_leg(handle)
    for bridge in bridges:
        await engine.destroy_bridge(bridge)
    return used_ns / 1000 / (kind.legs * 50 * seconds)


async def measure_all(loads: dict[bool, Path], seconds: float, only: str = "") -> dict[Case, float]:
    engine = MediaEngine(
        MediaSettings(port_range="10000-19999"), SystemClock(), lambda event: None, webrtc_port=BROWSER_PORT
    )
    await engine.start()
    found: dict[Case, float] = {}
    try:
        for case in (case for case in cases() if only in case.title):
            found[case] = await measure(engine, loads, case, seconds)
    finally:
        await engine.stop()
    return found


def codec_alone_us(kind: Kind, complexity: int, bitrate_bps: int) -> tuple[float, float]:
    """(decode, encode) of the library, of one frame; for Opus about 1 us of each is the call from Python."""
    rate_hz = kind.rate_hz if kind.params.name is CodecName.OPUS else 0
    pcm = speech(kind.rate_hz)
    payloads = kind.payloads(pcm)
    frames = np.split(pcm, FRAMES) if rate_hz else [pcm]
    best = [float("inf"), float("inf")]
    for _ in range(7):
        coder = Codec(
            kind.params.name, rate_hz=rate_hz, complexity=complexity, bitrate_bps=bitrate_bps, fec=bool(rate_hz)
        )
        began = time.thread_time_ns()
        coder.decode_batch(payloads)
        decoded = time.thread_time_ns()
        for frame in frames:
            coder.encode(frame)
        best = [min(best[0], decoded - began), min(best[1], time.thread_time_ns() - decoded)]
    return best[0] / 1000 / FRAMES, best[1] / 1000 / FRAMES


def kernel_alone_us(folder: Path, load: Path, seconds: float) -> float:
    """A packet received and one sent by the bare reflector, with so many streams that it need not wake for each."""
    with relay.reflector(folder, STREAMS) as (pid, ports, _):
        used_ns, _ = relay.drive(load, ports, seconds, (), lambda: relay.run_time_ns(pid), warmup_ms=WARMUP_MS)
    return used_ns / 1000 / (STREAMS * 50 * seconds)


def show(found: dict[Case, float], kernel: float, alone: dict[str, tuple[float, float]]) -> None:
    columns = [
        ("heard", False),
        ("heard", True),
        ("pair", False),
        ("pair", True),
        ("room", False),
        ("one talks", False),
    ]
    print(f"us per leg and 20 ms; lossy: {LOSSY['LOSS']} lost, {LOSSY['JITTER_MS']} ms jitter; goal {GOAL_US}\n")
    print(f"{'':26}" + "".join(f"{name + (' lossy' if lossy else ''):>12}" for name, lossy in columns)
          + f"{'kernel':>9}{'decode':>8}{'encode':>8}{'pair/bare':>11}")  # fmt: skip
    for name in KINDS:
        decode, encode = alone[name]
        bare = kernel + decode + encode
        row = "".join(f"{found[Case(case, name, lossy=lossy)]:>12.1f}" for case, lossy in columns)
        ratio = found[Case("pair", name)] / bare
        print(f"{name:26}{row}{kernel:>9.1f}{decode:>8.1f}{encode:>8.1f}{ratio:>11.2f}")
    for case, us in found.items():
        if case.other:
            print(f"{case.kind + ' to ' + case.other:26}{'':24}{us:>12.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.7, help="measured of each case")
    parser.add_argument("--only", default="", help="cases with this in their name, e.g. 'Opus 48 kHz, heard'")
    parser.add_argument("--record", action="store_true", help="append the result to the history")
    args = parser.parse_args()
    settings = MediaSettings()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        secure = folder / "secure"
        secure.mkdir()
        loads = {False: relay.build(folder, "load"), True: relay.build(secure, "load", "-DSRTP", "-lsrtp2")}
        os.sched_setaffinity(0, {0})
        if args.only:
            for case, us in asyncio.run(measure_all(loads, args.seconds, args.only)).items():
                print(f"{case.title:40} {us:8.1f}")
            return
        kernel = kernel_alone_us(folder, loads[False], args.seconds)
        alone = {
            name: codec_alone_us(kind, settings.opus_complexity, settings.opus_bitrate_bps)
            for name, kind in KINDS.items()
        }
        found = asyncio.run(measure_all(loads, args.seconds))
    show(found, kernel, alone)
    if args.record:
        append(
            "frame",
            {
                "us_per_leg_and_frame": {case.title: round(us, 2) for case, us in found.items()},
                "kernel_us": round(kernel, 2),
                "codec_us": {name: {"decode": round(d, 2), "encode": round(e, 2)} for name, (d, e) in alone.items()},
            },
        )


if __name__ == "__main__":
    main()
