"""Equipment impairment factors by codec: ITU-T G.113 (09/2024) Appendix I where it has a row, our own word where not.

Owns which row a score used and on what authority. `basis` says it: "G.113" a published planning value; "measured"
fitted by `benchmarks/fit_factors.py` to PESQ through this server's own decoder and concealment (data and account in
`tests/vectors/factors/`); "provisional" carried over from a related row; "none" no authority at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

from mediaserver.model import CodecName

NARROWBAND_SCALE, WIDEBAND_SCALE, FULLBAND_SCALE = "nb", "wb", "fb"


@dataclass(frozen=True, slots=True)
class BurstCost:
    """What bursts cost beyond random loss: points * (1 - BurstR^-power), in full where loss is above `loss_percent`.

    ITU-T G.107 has no such term and is too kind to bursts of G.711: at 5 % bursty loss its limit is Ie 19, the
    listening tests of G.113 Table I.2 say 30. Fitted to that column and to PESQ through our concealment at once.
    """

    points: float
    power: float
    loss_percent: float
    steepness: float


@dataclass(frozen=True, slots=True)
class CodecFactors:
    row: str  # what a reader of the score is told: codec and concealment assumed
    scale: str  # "nb", "wb" or "fb"
    ie: float
    bpl: float  # percent
    basis: str  # "G.113" | "measured" | "provisional" | "none"
    codec_delay_ms: float  # algorithmic look-ahead of encoder and decoder, beside the packet time
    # Packet loss in percent counts as Ppl^loss_power * run^-run_power * (1 + (Ppl / steep_percent)^2), run being the
    # mean length of a run of lost packets: 1, 0 and infinity are the plain formula.
    loss_power: float = 1.0
    run_power: float = 0.0
    steep_percent: float = inf
    bursts: BurstCost | None = None  # None: runs are the formula's BurstR, or run_power's where that is not 0


_G711_BURSTS = BurstCost(points=19.6, power=3.0, loss_percent=3.6, steepness=3.0)
# The playout conceals G.711 by pitch repetition, so its row is the one with Appendix I concealment.
_G711 = CodecFactors("G.711+PLC", NARROWBAND_SCALE, 0.0, 25.1, "G.113", 0.0, bursts=_G711_BURSTS)

OPUS = CodecFactors(
    "Opus 24 kbit/s", WIDEBAND_SCALE, 7.8, 7.6, "measured", 6.5, run_power=0.36, steep_percent=12.7
)  # fmt: skip
OPUS_FEC = CodecFactors(
    "Opus 24 kbit/s+FEC", WIDEBAND_SCALE, 16.9, 40.0, "measured", 6.5, run_power=-0.58, steep_percent=17.1
)  # fmt: skip
# What we send at 32 kbit/s, the encoder told of 6 % loss where FEC is on: `ext/fec` decides by them whether it is. No
# score is made of them, for what rate a party sends at is not known.
OPUS_32 = CodecFactors(
    "Opus 32 kbit/s", WIDEBAND_SCALE, 6.1, 7.4, "measured", 6.5, run_power=0.32, steep_percent=12.8
)  # fmt: skip
OPUS_32_FEC = CodecFactors(
    "Opus 32 kbit/s+FEC", WIDEBAND_SCALE, 10.1, 40.0, "measured", 6.5, run_power=-0.62, steep_percent=16.3
)  # fmt: skip
G722 = CodecFactors(
    "G.722 64 kbit/s+PLC", WIDEBAND_SCALE, 11.1, 5.2, "measured", 1.5, run_power=0.30, steep_percent=12.0
)

ROWS: Mapping[CodecName, CodecFactors] = {
    CodecName.PCMU: _G711,
    CodecName.PCMA: _G711,
    CodecName.G722: G722,
    CodecName.OPUS: OPUS,
    # Its rate is not known here: rated as the worst it can be, G.711's band without G.711's quantizing.
    CodecName.L16: CodecFactors("L16+PLC", NARROWBAND_SCALE, 0.0, 25.1, "provisional", 0.0, bursts=_G711_BURSTS),
}

UNKNOWN = CodecFactors("unknown codec as G.711+PLC", NARROWBAND_SCALE, 0.0, 25.1, "none", 0.0, bursts=_G711_BURSTS)

# Published rows of codecs and bands this server does not rate itself: for reports of other devices. Where G.113
# Table I.2 has points of listening tests, `loss_power` bends the formula through them.
PUBLISHED: Mapping[str, CodecFactors] = {
    "G.711": CodecFactors("G.711 without PLC", NARROWBAND_SCALE, 0.0, 2.85, "G.113", 0.0, loss_power=0.83),
    "G.729A+VAD": CodecFactors("G.729A+VAD", NARROWBAND_SCALE, 11.0, 19.0, "G.113", 15.0),
    "G.723.1-6.3+VAD": CodecFactors("G.723.1-6.3+VAD", NARROWBAND_SCALE, 15.0, 16.1, "G.113", 37.5),
    "GSM-EFR": CodecFactors("GSM-EFR", NARROWBAND_SCALE, 5.0, 7.3, "G.113", 20.0, loss_power=0.76),
    "AMR-WB-23.85": CodecFactors("AMR-WB 23.85 diotic", WIDEBAND_SCALE, 10.0, 4.9, "G.113", 5.9),
    "AMR-WB-12.65": CodecFactors("AMR-WB 12.65 diotic", WIDEBAND_SCALE, 13.0, 4.3, "G.113", 5.9),
    "EVS-SWB-24.4": CodecFactors("EVS-SWB 24.4 diotic", FULLBAND_SCALE, 7.2, 11.4, "G.113", 12.0),
    "EVS-SWB-13.2": CodecFactors("EVS-SWB 13.2 diotic", FULLBAND_SCALE, 17.1, 11.7, "G.113", 12.0),
    "EVS-SWB-9.6": CodecFactors("EVS-SWB 9.6 diotic", FULLBAND_SCALE, 22.7, 13.0, "G.113", 12.0),
}


def factors_of(codec: CodecName | None, *, fec: bool = False) -> CodecFactors:
    """The row for a codec; `UNKNOWN` (basis "none") when nothing was received yet or it has no row.

    fec: what is sent carries in-band FEC.
    """
    if codec is None:
        return UNKNOWN
    if fec and codec is CodecName.OPUS:
        return OPUS_FEC
    return ROWS.get(codec, UNKNOWN)
