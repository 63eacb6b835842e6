"""What a listener would say of a call, by PESQ (ITU-T P.862, P.862.2), and what our counters and others' see of it.

Human speech (Debian's festvox-ru: recordings of one speaker) goes through a codec, a trace and this server's own
playout in virtual time. PESQ wants silence around the speech: without it any delay costs half a MOS.

PESQ is not on the E-model's scales, so it is mapped by anchors, not by fitting what is then judged: narrowband by its
floor (1) and clean G.711 (R 93.2, MOS 4.41); wideband by its floor, by G.722 at 64 kbit/s, whose Ie,wb of 13 G.113
publishes (MOS 4.34), and by an identical signal (4.5).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray
from pesq import pesq
from scipy.io import wavfile

from mediaserver.codecs.audio import Codec
from mediaserver.model import CodecName, LegHandle, LegStats
from mediaserver.quality.score import Score, score_received
from tests.sim.other_meters import Delivery
from tests.sim.playing import frames, play
from tests.sim.traces import MS, Trace, steady

RECORDINGS = Path("/usr/share/festival/voices/russian/msu_ru_nsh_clunits/wav")
CLIP_S = 8.5
SILENCE_S = 0.5
PEAK = 16_000
FLOOR_NB, CLEAN_G711, MOS_G711 = 1.02, 4.47, 4.409
FLOOR_WB, CLEAN_G722, MOS_G722, SAME_WB = 1.04, 4.06, 4.337, 4.644

# name: RTP name, PCM rate, encoder settings, whether its in-band FEC is used
CODECS: Mapping[str, tuple[CodecName, int, Mapping[str, Any], bool]] = {
    "PCMU": (CodecName.PCMU, 8_000, {}, False),
    "PCMA": (CodecName.PCMA, 8_000, {}, False),
    "G722": (CodecName.G722, 16_000, {}, False),
    "opus16": (CodecName.OPUS, 16_000, {"bitrate_bps": 16_000}, False),
    "opus24": (CodecName.OPUS, 16_000, {"bitrate_bps": 24_000}, False),
    "opus32": (CodecName.OPUS, 16_000, {"bitrate_bps": 32_000}, False),
    "opus32fec6": (CodecName.OPUS, 16_000, {"bitrate_bps": 32_000, "fec": True, "packet_loss_percent": 6}, True),
    "opus24fec": (CodecName.OPUS, 16_000, {"bitrate_bps": 24_000, "fec": True, "packet_loss_percent": 10}, True),
    "opus32fec": (CodecName.OPUS, 16_000, {"bitrate_bps": 32_000, "fec": True, "packet_loss_percent": 10}, True),
}


@dataclass(frozen=True, slots=True)
class Heard:
    pesq: float
    mos: float  # mapped to the codec's scale
    score: Score  # ours, without round trip
    delivery: Delivery


def mapped(pesq_lqo: float, wideband: bool) -> float:
    """PESQ's MOS-LQO on the E-model's MOS scale."""
    if not wideband:
        return 1 + (pesq_lqo - FLOOR_NB) * (MOS_G711 - 1) / (CLEAN_G711 - FLOOR_NB)
    low = (MOS_G722 - 1) / (CLEAN_G722 - FLOOR_WB)
    high = (4.5 - MOS_G722) / (SAME_WB - CLEAN_G722)
    bend = (high - low) / (SAME_WB - FLOOR_WB)
    return 1 + (pesq_lqo - FLOOR_WB) * (low + bend * (pesq_lqo - CLEAN_G722))


@cache
def clip(number: int, rate_hz: int) -> NDArray[np.int16]:
    """8.5 s of speech between two half seconds of silence; each number other sentences."""
    files = sorted(RECORDINGS.glob("ru_*.wav"))
    parts: list[NDArray[np.float64]] = []
    seconds, at, rate = 0.0, number * 5, 1
    while seconds < CLIP_S:
        rate, samples = wavfile.read(files[at % len(files)])
        parts.append(samples.astype(np.float64))
        seconds += len(samples) / rate
        at += 1
    sound = np.concatenate(parts)
    silence = np.zeros(int(SILENCE_S * rate_hz), np.int16)
    speech = soxr.resample(sound / np.max(np.abs(sound)) * PEAK, rate, rate_hz)[: int(CLIP_S * rate_hz)]
    return np.concatenate([silence, speech.astype(np.int16), silence])


def packets(rate_hz: int) -> int:
    return len(clip(0, rate_hz)) * 50 // rate_hz


def unbent(codec: str) -> Trace:
    """One clip's packets, undisturbed."""
    name, rate_hz, _, _ = CODECS[codec]
    clock_hz = {CodecName.G722: 8_000, CodecName.OPUS: 48_000}.get(name, rate_hz)
    return steady(packets(rate_hz), clock_hz=clock_hz)


def listen(codec: str, number: int, trace: Trace) -> Heard:
    """One clip through one trace (made from `unbent`)."""
    name, rate_hz, settings, fec = CODECS[codec]
    sent = clip(number, rate_hz)
    coder = Codec(name.value, rate_hz=rate_hz if name is CodecName.OPUS else 0, **settings)
    payloads = frames(coder, sent)
    heard = play(trace, payloads, codec=coder.name, rate_hz=rate_hz)
    mode = "nb" if rate_hz == 8_000 else "wb"
    lqo = float(pesq(rate_hz, sent, heard.pcm[: len(sent) + rate_hz // 2], mode))
    score = score_received(leg(), leg(name, len(payloads), heard.stats), 20, fec=fec)
    assert score is not None
    return Heard(lqo, mapped(lqo, rate_hz > 8_000), score, delivery(trace, len(payloads)))


def leg(codec: CodecName | None = None, expected: int = 0, stats: Mapping[str, int] | None = None) -> LegStats:
    """A leg's counters from those of a playout."""
    values: dict[str, Any] = {field.name: 0 for field in dataclasses.fields(LegStats)}
    values |= {name: value for name, value in (stats or {}).items() if name in values}
    values |= {
        "leg": LegHandle(1),
        "codec": codec,
        "source": None,
        "remote_xr": None,
        "remote_concealment": None,
        "packets_expected": expected,
    }
    return LegStats(**values)


def delivery(trace: Trace, count: int) -> Delivery:
    came = np.zeros(count, bool)
    delay = np.zeros(count)
    for p in trace:
        if p.index < count and not came[p.index]:
            came[p.index] = True
            delay[p.index] = p.arrival_ns / MS - 20.0 * p.index
    delay[came] -= delay[came].min()
    return Delivery(came, delay)
