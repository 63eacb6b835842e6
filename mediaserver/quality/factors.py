"""Equipment impairment factors by codec: ITU-T G.113 (09/2024) Appendix I where it has a row, our own word where not.

Owns which (Ie, Bpl) a score used and on what authority. `basis` says it: "G.113" a published planning value;
"provisional" a value carried over from a related row; "none" no authority at all: the number is only good for
comparing two moments of the same call. Measured rows get their own basis when they come.
"""

from __future__ import annotations

from dataclasses import dataclass

from mediaserver.model import CodecName


@dataclass(frozen=True, slots=True)
class CodecFactors:
    row: str  # what a reader of the score is told: codec and concealment assumed
    scale: str  # "nb", "wb" or "fb"
    ie: float
    bpl: float
    basis: str  # "G.113" | "provisional" | "none"
    codec_delay_ms: float  # algorithmic look-ahead of encoder and decoder, beside the packet time


# The playout conceals G.711 by pitch repetition, so its row is the one with Appendix I concealment.
_G711 = CodecFactors("G.711+PLC", "nb", 0.0, 25.1, "G.113", 0.0)

NARROWBAND: dict[CodecName, CodecFactors] = {
    CodecName.PCMU: _G711,
    CodecName.PCMA: _G711,
    # A wideband codec is better than this scale can say: Ie 0 is its ceiling, robustness that of concealed G.711.
    CodecName.G722: CodecFactors("G.722+PLC on the NB scale", "nb", 0.0, 25.1, "provisional", 1.5),
    CodecName.L16: CodecFactors("L16+PLC", "nb", 0.0, 25.1, "provisional", 0.0),
    # G.113 has no row for Opus on any scale.
    CodecName.OPUS: CodecFactors("Opus on the NB scale", "nb", 0.0, 25.1, "none", 6.5),
}

UNKNOWN = CodecFactors("unknown codec as G.711+PLC", "nb", 0.0, 25.1, "none", 0.0)

# Published rows of codecs this server does not carry: for reports of other devices.
PUBLISHED_NARROWBAND: dict[str, CodecFactors] = {
    "G.711": CodecFactors("G.711 without PLC", "nb", 0.0, 4.3, "G.113", 0.0),
    "G.729A+VAD": CodecFactors("G.729A+VAD", "nb", 11.0, 19.0, "G.113", 15.0),
    "G.723.1-6.3+VAD": CodecFactors("G.723.1-6.3+VAD", "nb", 15.0, 16.1, "G.113", 37.5),
    "GSM-EFR": CodecFactors("GSM-EFR", "nb", 5.0, 10.0, "G.113", 20.0),
}


def narrowband_factors(codec: CodecName | None) -> CodecFactors:
    """The row for a received codec; `UNKNOWN` (basis "none") when nothing was received yet or it has no row."""
    return UNKNOWN if codec is None else NARROWBAND.get(codec, UNKNOWN)
