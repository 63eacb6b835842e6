"""What each audio kernel costs: microseconds of CPU for 20 ms of sound, beside spandsp and bare libopus in one run.

    python benchmarks/kernels.py             prints a table
    python benchmarks/kernels.py --record    also appends a line to benchmarks/history/kernels.jsonl

Owns the measuring of codecs, resampler, mixer and DTMF; calls them as Python can, in stretches long enough that the
calls themselves do not count (Opus takes one frame a call: about 1 us of its figure is the call). The peers are a C
program built on the spot; without a compiler, libspandsp-dev or libopus-dev they are left out. Speech is the shipped
welcome prompt.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soxr

from benchmarks._history import append
from mediaserver.codecs.audio import Codec
from mediaserver.codecs.resample import StreamResampler
from mediaserver.ext import dtmf, mix
from mediaserver.ext.processing import ProcessingRun
from mediaserver.ext.tone import Tone
from mediaserver.media.prompts import decode_audio

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 4
FRAMES = SECONDS * 50
ROUNDS = 9  # the best of them: what the machine can do when nobody disturbs it
Pcm = npt.NDArray[np.int16]

PEER_SOURCE = r"""
#include <opus.h>
#include <spandsp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}
static int16_t pcm[48000 * 8], out[5760];
static uint8_t payload[400][1500];
static int size[400];
/* arguments: file of int16, rate, complexity (-1: G.722); prints "encode decode" in us per frame */
int main(int argc, char **argv)
{
    FILE *file = fopen(argv[1], "rb");
    int rate = atoi(argv[2]), complexity = atoi(argv[3]), error, i, n = rate / 50;
    int frames = fread(pcm, 2, sizeof pcm / 2, file) / n;
    double start, encoded, decoded;
    if (complexity < 0) {
        g722_encode_state_t *e = g722_encode_init(NULL, 64000, 0);
        g722_decode_state_t *d = g722_decode_init(NULL, 64000, 0);
        start = now_us();
        for (i = 0; i < frames; i++)
            size[i] = g722_encode(e, payload[i], pcm + i * n, n);
        encoded = now_us();
        for (i = 0; i < frames; i++)
            g722_decode(d, out, payload[i], size[i]);
        decoded = now_us();
    } else {
        OpusEncoder *e = opus_encoder_create(rate, 1, OPUS_APPLICATION_VOIP, &error);
        OpusDecoder *d = opus_decoder_create(rate, 1, &error);
        opus_encoder_ctl(e, OPUS_SET_BITRATE(rate > 16000 ? 40000 : rate > 12000 ? 24000 : 20000));
        opus_encoder_ctl(e, OPUS_SET_COMPLEXITY(complexity));
        start = now_us();
        for (i = 0; i < frames; i++)
            size[i] = opus_encode(e, pcm + i * n, n, payload[i], 1500);
        encoded = now_us();
        for (i = 0; i < frames; i++)
            opus_decode(d, payload[i], size[i], out, 5760, 0);
        decoded = now_us();
    }
    printf("%f %f\n", (encoded - start) / frames, (decoded - encoded) / frames);
    return 0;
}
"""


class Peer:
    """The C program, or nothing if it cannot be built here."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._program: Path | None = folder / "peer"
        (folder / "peer.c").write_text(PEER_SOURCE)
        command = [
            "gcc",
            "-O3",
            "-w",
            "-I/usr/include/opus",
            str(folder / "peer.c"),
            "-o",
            str(self._program),
            "-lspandsp",
            "-lopus",
        ]
        built = subprocess.run(command, capture_output=True, text=True, check=False)
        if built.returncode != 0:
            self._program = None
            print(f"peers are left out: {built.stderr.strip().splitlines()[0] if built.stderr else 'no gcc'}")

    def run(self, pcm: Pcm, rate_hz: int, complexity: int) -> tuple[float, float] | None:
        if self._program is None:
            return None
        source = self._folder / f"{rate_hz}.s16"
        source.write_bytes(pcm.tobytes())
        arguments = [str(self._program), str(source), str(rate_hz), str(complexity)]
        encode, decode = subprocess.run(arguments, capture_output=True, text=True, check=True).stdout.split()
        return float(encode), float(decode)


def speech(rate_hz: int) -> Pcm:
    found_hz, pcm = decode_audio(ROOT / "config" / "prompts" / "en" / "welcome.ogg")
    return soxr.resample(pcm, found_hz, rate_hz)[rate_hz // 2 :][: rate_hz * SECONDS]


def cpu_us(work: Callable[[], object]) -> float:
    start = time.process_time_ns()
    work()
    return (time.process_time_ns() - start) / 1e3


class Table:
    """Best of the rounds for each kernel, ours and the peer's."""

    def __init__(self) -> None:
        self.ours: dict[str, float] = {}
        self.peers: dict[str, float] = {}

    def add(self, name: str, us: float, peer_us: float | None = None) -> None:
        self.ours[name] = min(us, self.ours.get(name, us))
        if peer_us is not None:
            self.peers[name] = min(peer_us, self.peers.get(name, peer_us))

    def ratios(self) -> dict[str, float]:
        return {name: round(self.ours[name] / us, 3) for name, us in self.peers.items()}

    def show(self) -> None:
        print(f"{'kernel':<34}{'us / 20 ms':>12}{'peer':>10}{'ratio':>8}")
        for name, us in self.ours.items():
            peer = self.peers.get(name)
            print(f"{name:<34}{us:>12.3f}" + (f"{peer:>10.3f}{us / peer:>8.2f}" if peer else ""))


def measure_stateless(table: Table) -> None:
    for name, rate_hz in (("PCMU", 8_000), ("PCMA", 8_000), ("L16", 8_000)):
        codec, pcm = Codec(name), speech(rate_hz)
        payload = codec.encode(pcm)
        table.add(f"{name} encode", cpu_us(lambda c=codec, p=pcm: [c.encode(p) for _ in range(20)]) / FRAMES / 20)
        table.add(f"{name} decode", cpu_us(lambda c=codec, p=payload: [c.decode(p) for _ in range(20)]) / FRAMES / 20)


def measure_g722(table: Table, peer: Peer) -> None:
    codec, pcm = Codec("G722"), speech(16_000)
    payload = codec.encode(pcm)
    theirs = peer.run(pcm, 16_000, -1) or (None, None)
    table.add("G722 encode", cpu_us(lambda: codec.encode(pcm)) / FRAMES, theirs[0])
    table.add("G722 decode", cpu_us(lambda: codec.decode(payload)) / FRAMES, theirs[1])


def measure_opus(table: Table, peer: Peer) -> None:
    for rate_hz in (8_000, 16_000, 48_000):
        pcm = speech(rate_hz)
        frames = np.split(pcm, FRAMES)
        for complexity in (0, 5, 10):
            codec = Codec("opus", rate_hz=rate_hz, complexity=complexity)
            payloads: list[bytes] = []
            theirs = peer.run(pcm, rate_hz, complexity) or (None, None)
            spent = cpu_us(lambda c=codec, p=payloads, f=frames: p.extend(c.encode(x) for x in f)) / FRAMES
            table.add(f"opus {rate_hz // 1000} kHz c{complexity} encode", spent, theirs[0])
            spent = cpu_us(lambda c=codec, p=payloads: c.decode_batch(p)) / FRAMES
            table.add(f"opus {rate_hz // 1000} kHz c{complexity} decode", spent, theirs[1])


def measure_resampler(table: Table) -> None:
    for in_hz, out_hz in (
        (8_000, 16_000),
        (16_000, 8_000),
        (8_000, 48_000),
        (48_000, 8_000),
        (16_000, 48_000),
        (48_000, 16_000),
    ):
        resampler, pcm = StreamResampler(in_hz, out_hz), speech(in_hz)
        table.add(
            f"resample {in_hz // 1000} -> {out_hz // 1000} kHz", cpu_us(lambda r=resampler, p=pcm: r.step(p)) / FRAMES
        )


def measure_mix(table: Table) -> None:
    for rate_hz in (8_000, 16_000, 48_000):
        for people in (3, 200):
            rows = np.random.default_rng(1).integers(-20_000, 20_000, (people, rate_hz // 50)).astype(np.int16)
            times = 3_000 // people
            spent = cpu_us(lambda r=rows, n=times: [mix.mix_tick(r) for _ in range(n)]) / times / people
            table.add(f"mix {rate_hz // 1000} kHz, of {people}, a person", spent)


def measure_tones(table: Table) -> None:
    pcm = speech(8_000)
    blocks = [pcm[at : at + 480] for at in range(0, len(pcm) - 479, 480)]
    detector = dtmf.Detector()
    table.add("DTMF detect", cpu_us(lambda: [detector.step(block) for block in blocks]) / (len(blocks) * 3))
    table.add("level (RFC 6464)", cpu_us(lambda: [mix.level(pcm) for _ in range(20)]) / FRAMES / 20)
    tone = Tone(8_000, (440.0, 480.0))
    table.add("tone, two sines, 8 kHz", cpu_us(lambda: tone.step(8_000 * SECONDS)) / FRAMES)
    noise = Codec("CN")
    noise.decode(bytes([40, 100, 140]))
    table.add("comfort noise, 8 kHz", cpu_us(lambda: noise.conceal(8_000)) / 50)


PROCESSING: dict[str, float] = {
    "high_pass": 0,
    "noise_db": 0.0,
    "target_dbov": 0.0,
    "boost_max_db": 18.0,
    "cut_max_db": 20.0,
    "line_check": 0,
    "echo_cancel": 0,
}
STEPS: dict[str, dict[str, float]] = {
    "high-pass": {"high_pass": 1},
    "noise suppression": {"noise_db": 15.0},
    "automatic gain and limiter": {"target_dbov": -23.0},
    "hum and echo looked for": {"line_check": 1},
}


def measure_processing(table: Table) -> None:
    for rate_hz in (8_000, 16_000, 48_000):
        blocks = speech(rate_hz).reshape(-1, rate_hz // 50)
        for name, step in STEPS.items():
            run = ProcessingRun(PROCESSING | step)
            spent = cpu_us(lambda r=run, b=blocks, hz=rate_hz: [r.step(block, hz) for block in b]) / FRAMES
            table.add(f"{name}, {rate_hz // 1000} kHz", spent)
        canceller, echo = ProcessingRun(PROCESSING | {"echo_cancel": 1}), np.roll(blocks, 6, axis=0) // 4

        def cancel(r: ProcessingRun = canceller, b: Pcm = blocks, e: Pcm = echo, hz: int = rate_hz) -> None:
            for back, sent in zip(e, b, strict=True):
                r.step(back, hz)
                r.heard(sent)

        table.add(f"echo cancelling, {rate_hz // 1000} kHz", cpu_us(cancel) / FRAMES)


def commit() -> str:
    found = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return found.stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="append the result to benchmarks/history/kernels.jsonl")
    arguments = parser.parse_args()
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        peer = Peer(Path(folder))
        for _ in range(ROUNDS):
            measure_stateless(table)
            measure_g722(table, peer)
            measure_opus(table, peer)
            measure_resampler(table)
            measure_mix(table)
            measure_tones(table)
            measure_processing(table)
    table.show()
    if arguments.record:
        append(
            "kernels",
            {
                "commit": commit(),
                "us_per_20ms": {name: round(us, 3) for name, us in table.ours.items()},
                "ratio_to_peer": table.ratios(),
            },
        )


if __name__ == "__main__":
    main()
