"""What echo cancellers make of a server's echo: of what a leg was sent, and comes back of it through its far end.

    ./run bench echo                  prints the tables (some three minutes)
    ./run bench echo --quick          one conversation on each path
    ./run bench echo --record         also appends a line to benchmarks/history/echo.jsonl

What is sent goes through a codec, a network and the far end's jitter buffer (ours), a loudspeaker that is not linear, a
room, then with what is said there through codec, network and our jitter buffer. All in virtual time, from seeds; human
speech of tests/sim/heard.py, one speaker at both ends, which is the hardest. Beside ours: Debian's libspeexdsp (its
canceller with a tail of 128 ms, told the delay, which in a call nobody knows) and WebRTC's AEC3 (in the package
`livekit`), where they are installed. Owns the paths and the measuring.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from pesq import pesq

from benchmarks._history import append
from mediaserver.codecs.audio import Codec
from mediaserver.ext.canceller import CancellerRun
from mediaserver.model import CodecName
from tests.sim import traces as t
from tests.sim.heard import CODECS, clip
from tests.sim.playing import frames, play
from tests.sim.traces import Trace

Pcm = NDArray[np.int16]
NEAR_AT_S = 15  # until then only the far end speaks
WINDOWS_S = ((2, 4), (4, 8), (8, 14))  # of echo alone
SPEEX_SET_RATE = 24  # speex/speex_echo.h


def untouched(trace: Trace) -> Trace:
    return trace


@dataclass(frozen=True, slots=True)
class Path:
    """From what is sent to a party to what is decoded of it. loss_db: how much softer the echo is; tail_ms: room."""

    name: str
    codec: str = "PCMU"
    loss_db: float = 12.0
    tail_ms: float = 60.0
    delay_ms: int = 80  # of the network, both ways; jitter buffers come on top
    bent: float = 0.3  # of the loudspeaker: 0 is linear, 1 clips at half of full scale
    out: Callable[[Trace], Trace] = untouched  # the network towards the party
    back: Callable[[Trace], Trace] = untouched
    noise: float = 10.0  # rms at the microphone

    @property
    def rate_hz(self) -> int:
        return CODECS[self.codec][1]


PATHS = (
    Path("PCMU, hybrid", tail_ms=12, bent=0),
    Path("PCMU, room", tail_ms=120),
    Path("PCMU, 6 dB", loss_db=6),
    Path("PCMU, 20 dB", loss_db=20),
    Path("PCMU, 30 dB", loss_db=30),
    Path("PCMU, loud room", noise=150),
    Path("PCMU, 1 % lost", out=lambda x: t.lose(x, 0.01, seed=1), back=lambda x: t.lose(x, 0.01, seed=2)),
    Path("PCMU, 5 % lost", out=lambda x: t.lose(x, 0.05, seed=1), back=lambda x: t.lose(x, 0.05, seed=2)),
    Path(
        "PCMU, jitter 10 ms",
        out=lambda x: t.gamma_jitter(x, 10, seed=3),
        back=lambda x: t.gamma_jitter(x, 10, seed=4),
    ),
    Path("PCMU, route +80 ms", back=lambda x: t.step_delay(x, 80, from_index=600)),
    Path("PCMU, clock 100 ppm", back=lambda x: t.delay(x, np.array([p.arrival_ns * 1e-4 for p in x]))),
    Path("G722, room", codec="G722", delay_ms=200),
    Path("opus24, room", codec="opus24"),
    Path("opus24, 1 % lost", codec="opus24", delay_ms=250, back=lambda x: t.lose(x, 0.01, seed=5)),
)


def room(rate_hz: int, tail_ms: float, loss_db: float, seed: int) -> NDArray[np.float64]:
    """Noise that has faded by 60 dB at the end, behind a direct sound; energy by loss_db."""
    rng = np.random.default_rng(seed)
    n = int(rate_hz * tail_ms / 1000)
    response = rng.normal(size=n) * 10 ** (-3 * np.arange(n) / n) * 0.5
    response[: rate_hz // 1000] *= 0.1
    response[rate_hz // 1000] = 1.0
    return response / np.sqrt(np.sum(response**2)) * 10 ** (-loss_db / 20)


def loudspeaker(pcm: NDArray[np.float64], bent: float) -> NDArray[np.float64]:
    """Even and odd distortion: a soft limit at 32768 / (2 * bent)."""
    if bent == 0:
        return pcm
    x = pcm / 32_768 * 2 * bent
    return np.tanh(x + 0.2 * x**2) / (2 * bent) * 32_768


def through(pcm: Pcm, codec: str, network: Callable[[Trace], Trace], delay_ms: float) -> Pcm:
    """Coded, sent, played by our playout. As long as pcm."""
    name, rate_hz, settings, _ = CODECS[codec]
    coder = Codec(name.value, rate_hz=rate_hz if name is CodecName.OPUS else 0, **settings)
    payloads = frames(coder, pcm)
    trace = network(t.steady(len(payloads), clock_hz=coder.clock_hz))
    heard = play(trace, payloads, codec=coder.name, rate_hz=rate_hz)
    late = np.zeros(int(delay_ms * rate_hz / 1000), np.int16)
    return np.concatenate([late, heard.pcm, np.zeros(len(pcm), np.int16)])[: len(pcm)]


def comes_back(path: Path, sent: Pcm, near: Pcm, seed: int, *, echo: bool = True) -> Pcm:
    """What is decoded of the party: near, what it says at its microphone, and the echo of what it was sent."""
    mouth = near.astype(np.float64) + np.random.default_rng(seed).normal(size=len(near)) * path.noise
    if echo:
        heard = through(sent, path.codec, path.out, path.delay_ms / 2).astype(np.float64)
        spoken = loudspeaker(heard, path.bent)
        mouth += np.convolve(spoken, room(path.rate_hz, path.tail_ms, path.loss_db, seed))[: len(near)]
    microphone = np.clip(np.rint(mouth), -32_768, 32_767).astype(np.int16)
    return through(microphone, path.codec, path.back, path.delay_ms / 2)


# --- the cancellers: what was said and what was sent to what is left, and how late that is, s


def ours(said: Pcm, sent: Pcm, rate_hz: int, _delay_ms: float) -> tuple[Pcm, float]:
    run, step = CancellerRun(rate_hz), rate_hz // 50
    out = np.zeros_like(said)
    for at in range(0, len(said) - step + 1, step):
        out[at : at + step] = run.said(said[at : at + step])
        run.sent(sent[at : at + step])
    return out, 0.01


def speex(said: Pcm, sent: Pcm, rate_hz: int, delay_ms: float) -> tuple[Pcm, float]:
    """The delay known is taken off, less 16 ms of room before it."""
    library = ctypes.CDLL("libspeexdsp.so.1")
    library.speex_echo_state_init.restype = ctypes.c_void_p
    step = rate_hz // 50
    state = ctypes.c_void_p(library.speex_echo_state_init(step, rate_hz * 128 // 1000))
    library.speex_echo_ctl(state, SPEEX_SET_RATE, ctypes.byref(ctypes.c_int(rate_hz)))
    late = np.concatenate([np.zeros(max(0, int((delay_ms - 16) * rate_hz / 1000)), np.int16), sent])
    out = np.zeros_like(said)
    for at in range(0, len(said) - step + 1, step):
        blocks = [np.ascontiguousarray(x[at : at + step]) for x in (said, late, out)]
        library.speex_echo_cancellation(state, *(block.ctypes.data_as(ctypes.c_void_p) for block in blocks))
        out[at : at + step] = blocks[2]
    library.speex_echo_state_destroy(state)
    return out, 0.0


def aec3(said: Pcm, sent: Pcm, rate_hz: int, _delay_ms: float) -> tuple[Pcm, float]:
    from livekit.rtc import AudioFrame
    from livekit.rtc.apm import AudioProcessingModule

    module, step = AudioProcessingModule(echo_cancellation=True), rate_hz // 100
    out = np.zeros_like(said)
    for at in range(0, len(said) - step + 1, step):
        module.set_stream_delay_ms(100)
        frame = AudioFrame(bytearray(said[at : at + step].tobytes()), rate_hz, 1, step)
        module.process_stream(frame)
        out[at : at + step] = np.frombuffer(bytes(frame.data), np.int16)
        module.process_reverse_stream(AudioFrame(bytearray(sent[at : at + step].tobytes()), rate_hz, 1, step))
    return out, 0.0


Canceller = Callable[[Pcm, Pcm, int, float], tuple[Pcm, float]]
CANCELLERS: Mapping[str, Canceller] = {"ours": ours, "speexdsp": speex, "AEC3": aec3}


def present() -> list[str]:
    found = ["ours"]
    try:
        ctypes.CDLL("libspeexdsp.so.1")
        found.append("speexdsp")
    except OSError:
        print("libspeexdsp1 is not installed: left out")
    if importlib.util.find_spec("livekit"):
        found.append("AEC3")
    else:
        print("the package livekit is not installed: AEC3 left out")
    return found


# --- the measuring


def delay_of(sent: Pcm, said: Pcm, rate_hz: int) -> float:
    """ms, by correlation over the first 12 s."""
    first = [np.fft.rfft(x[: 12 * rate_hz].astype(np.float64), 2**20) for x in (sent, said)]
    return float(np.argmax(np.abs(np.fft.irfft(first[1] * np.conj(first[0]))[:rate_hz])) / rate_hz * 1000)


def softer_db(before: Pcm, after: Pcm, rate_hz: int, window_s: tuple[int, int]) -> float:
    parts = [x[window_s[0] * rate_hz : window_s[1] * rate_hz].astype(np.float64) for x in (before, after)]
    return float(10 * np.log10((np.mean(parts[0] ** 2) + 1) / (np.mean(parts[1] ** 2) + 1)))


def measure(names: list[str], job: tuple[int, int]) -> dict[str, list[float]]:
    """Of each canceller: echo softer by (dB, in each window), PESQ with both speaking, PESQ of a voice without echo.

    Under "none": PESQ with both speaking and nothing cancelled. PESQ is against the same voice through the same path.
    """
    path, number = PATHS[job[0]], job[1]
    rate_hz = path.rate_hz
    sent = np.concatenate([clip(number + n, rate_hz) for n in (3, 4, 5)])
    silent, near = np.zeros_like(sent), np.zeros_like(sent)
    voice = clip(number, rate_hz)
    at = NEAR_AT_S * rate_hz
    near[at : at + len(voice)] = voice
    alone = comes_back(path, sent, near, number + 1, echo=False)
    echo = comes_back(path, sent, silent, number + 1)
    both = comes_back(path, sent, near, number + 1)
    heard = slice(at, at + len(voice) + rate_hz // 2)
    mode = "nb" if rate_hz == 8_000 else "wb"

    def like(out: Pcm, late_s: float = 0.0) -> float:
        return float(pesq(rate_hz, alone[heard], np.roll(out, -int(late_s * rate_hz))[heard], mode))

    found = {"none": [like(both)]}
    for name in names:
        cancel, delay_ms = CANCELLERS[name], delay_of(sent, echo, rate_hz)
        left, _ = cancel(echo, sent, rate_hz, delay_ms)
        found[name] = [softer_db(echo, left, rate_hz, window) for window in WINDOWS_S]
        found[name] += [like(*cancel(x, sent, rate_hz, delay_ms)) for x in (both, alone)]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one conversation on each path")
    parser.add_argument("--record", action="store_true", help="append the result to the history")
    arguments = parser.parse_args()
    names, numbers = present(), range(1 if arguments.quick else 3)
    print(
        "echo softer by, dB, in seconds 2-4, 4-8 and 8-14; PESQ of a voice over echo (before: nothing cancelled), alone"
    )
    figures: dict[str, dict[str, list[float]]] = {}
    with ProcessPoolExecutor(2) as pool:
        for number, path in enumerate(PATHS):
            rows = list(pool.map(partial(measure, names), [(number, n) for n in numbers]))
            means = {name: np.mean([row[name] for row in rows], axis=0).round(2).tolist() for name in rows[0]}
            figures[path.name] = means
            for name in names:
                *echo, over, alone = means[name]
                print(
                    f"{path.name:<20}{name:<10}" + "".join(f"{db:>7.1f}" for db in echo)
                    + f"   {means['none'][0]:.2f} -> {over:.2f}   {alone:.2f}", flush=True
                )  # fmt: skip
    if arguments.record:
        print(append("echo", {"paths": figures}))


if __name__ == "__main__":
    main()
