"""Plays a trace to one playout in virtual time and keeps what was heard."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mediaserver.codecs.audio import Codec
from mediaserver.ext.playout_harness import PlayoutHarness
from tests.sim.traces import MS, Trace, arrivals

PHASE_NS = 7 * MS  # pulls fall between arrivals


@dataclass
class Heard:
    pcm: NDArray[np.int16]
    rate_hz: int
    pull_ms: int
    kinds: list[str]  # per pull
    delay_ms: list[float]  # per pull
    target_ms: list[float]
    puts: dict[str, int]
    stats: dict[str, int]
    leaked: int  # packets not back in the pool after the end
    stretched_at: list[int] = field(default_factory=list)  # pulls in which time was stretched or compressed

    def kinds_between(self, from_s: float, to_s: float) -> list[str]:
        return self.kinds[int(from_s * 1000 / self.pull_ms) : int(to_s * 1000 / self.pull_ms)]

    def level(self, from_s: float, to_s: float) -> float:
        """RMS."""
        part = self.pcm[int(from_s * self.rate_hz) : int(to_s * self.rate_hz)].astype(np.float64)
        return float(np.sqrt(np.mean(part**2)))


def frames(codec: Codec, pcm: NDArray[np.int16], frame_ms: int = 20) -> list[bytes]:
    size = codec.rate_hz * frame_ms // 1000
    return [codec.encode(pcm[i : i + size]) for i in range(0, len(pcm) - size + 1, size)]


def play(
    trace: Trace,
    payloads: Sequence[bytes],
    *,
    codec: str = "PCMU",
    rate_hz: int = 8000,
    codec_rate_hz: int = 0,
    min_delay_ms: int = 20,
    max_delay_ms: int = 500,
    pull_ms: int = 20,
    tail_ms: int = 0,
    phase_ns: int = PHASE_NS,
) -> Heard:
    h = PlayoutHarness(min_delay_ms=min_delay_ms, max_delay_ms=max_delay_ms, rate_hz=rate_hz)
    assert h.set_codec(0, codec, rate_hz=codec_rate_hz)
    queue = arrivals(trace)
    now = queue[0].arrival_ns + phase_ns
    end = queue[-1].arrival_ns + tail_ms * MS
    at, stream = 0, queue[0].stream
    out: list[NDArray[np.int16]] = []
    heard = Heard(np.empty(0, np.int16), rate_hz, pull_ms, [], [], [], {}, {}, 0)
    moved = 0
    while now <= end + pull_ms * MS:
        while at < len(queue) and queue[at].arrival_ns <= now:
            p = queue[at]
            if p.stream > stream:
                stream = p.stream
                h.restart()
            result = h.put(p.sequence, p.timestamp, payloads[p.index], 0, p.marker, p.arrival_ns)
            heard.puts[result] = heard.puts.get(result, 0) + 1
            at += 1
        pcm, kind = h.pull(now, rate_hz * pull_ms // 1000)
        stats = h.stats
        out.append(pcm)
        heard.kinds.append(kind)
        heard.delay_ms.append(stats["buffer_delay_ns"] / MS)
        heard.target_ms.append(stats["buffer_target_ns"] / MS)
        if stats["stretched_ns"] + stats["compressed_ns"] != moved:
            moved = stats["stretched_ns"] + stats["compressed_ns"]
            heard.stretched_at.append(len(out) - 1)
        now += pull_ms * MS
    heard.pcm = np.concatenate(out)
    heard.stats = h.stats
    h.close()
    heard.leaked = 512 - h.free_count
    return heard
