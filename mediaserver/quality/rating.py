"""R and MOS of one connection on its codec's scale, in about a microsecond, with what each impairment costs.

Owns the choice of scale and the arithmetic of loss by factor row; the models themselves are in `emodel.py` (G.107) and
`emodel_wide.py` (G.107.1, G.107.2), whose results this reproduces within 0.01 R. A score is made for every leg and
direction every five seconds, so the terms that depend on delay alone are tabulated once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from mediaserver.quality.emodel import (
    IE_EFF_CEILING,
    R_MOS_FLOOR,
    Parameters,
    absolute_delay_impairment,
    mos_from_r,
    rate,
)
from mediaserver.quality.emodel_wide import IE_EFF_CEILING_FULLBAND, RO_FULLBAND, RO_WIDEBAND
from mediaserver.quality.factors import FULLBAND_SCALE, NARROWBAND_SCALE, CodecFactors

MODELS = {"nb": "G.107 (06/2015)", "wb": "G.107.1 (06/2019)", "fb": "G.107.2 (03/2023)"}
# R of a perfect connection, and by what R is divided to become that of the narrowband MOS curve.
CEILING = {"nb": rate(Parameters()).r, "wb": RO_WIDEBAND, "fb": RO_FULLBAND}
MOS_SPAN = {"nb": 1.0, "wb": 1.29, "fb": 1.48}
DELAY_MS_MAX = 5_000.0  # one way; a longer one is a broken clock, not a line
RUN_PACKETS_MAX = 8.0  # longest mean run that the measured rows were fitted to
RUN_LOSS_MAX = 0.875  # above it even random loss has runs that long
_TABLE_MS = 1_000  # beyond it delays are rare enough to be computed
_EXACT_BELOW_MS = 4.0  # the echo terms bend sharply there


@dataclass(slots=True)  # not frozen: setting each field the long way round cost as much as the whole rating
class Rated:
    """R on the row's own scale; the costs are points on it and add up to what R lacks of that scale's ceiling."""

    r: float
    mos: float
    mos_listening: float  # the same without delay (MOS-LQ)
    codec_cost: float
    loss_cost: float  # packets that never came, as if lost at random
    late_cost: float  # packets that came too late for the jitter buffer
    burst_cost: float  # that losses come in runs
    delay_cost: float


def rate_connection(
    factors: CodecFactors, loss: float, late: float, burst_ratio: float, delay_ms: float, extra_cost: float = 0.0
) -> Rated:
    """Rates a connection.

    loss: share of packets lost to the listener, late ones included, 0..1; late: of those, the late ones. burst_ratio:
    mean length of a run of lost packets over that of random loss, >= 1. delay_ms: mouth to ear. extra_cost: points of
    impairments measured elsewhere. Values outside are clamped: what a peer reports never raises.
    """
    scale = factors.scale
    loss = loss if 0.0 <= loss <= 1.0 else 1.0 if loss > 1.0 else 0.0
    total = random = net = factors.ie
    if loss:
        late = late if 0.0 <= late <= loss else loss if late > loss else 0.0
        total = random = loss_cost(factors, loss, 1.0)
        if burst_ratio > 1.0:
            total = loss_cost(factors, loss, burst_ratio)
            # Where runs hurt less than single holes (a decoder that suffers at their edges), all of it is loss.
            random = min(total, random)
        net = min(random, loss_cost(factors, loss - late, 1.0)) if late else random
    listening = CEILING[scale] - total - extra_cost
    delay = delay_cost(scale, delay_ms)
    # Of the narrowband scale a delay of a few ms costs less than nothing, by the sidetone's ripple.
    mos_listening = mos_on_scale(scale, listening)
    mos = mos_on_scale(scale, listening - delay) if delay else mos_listening
    return Rated(
        listening - delay,
        mos,
        mos if mos > mos_listening else mos_listening,
        factors.ie,
        net - factors.ie,
        random - net,
        total - random,
        delay,
    )


def score_mos(factors: CodecFactors, loss: float, burst_ratio: float, delay_ms: float) -> float:
    """MOS alone, for those who fit and compare."""
    scale = factors.scale
    return mos_on_scale(scale, CEILING[scale] - loss_cost(factors, loss, burst_ratio) - delay_cost(scale, delay_ms))


def loss_cost(factors: CodecFactors, loss: float, burst_ratio: float) -> float:
    """Ie,eff of the row: its Ie and what loss adds, on the R scale. loss: 0..1; burst_ratio: >= 1.

    Rows of G.113 without bends give exactly the formula of G.107 clause 7.5 (of G.107.2 on the fullband scale).
    """
    ie, ppl = factors.ie, loss * 100
    if ppl <= 0:
        return ie
    ceiling = IE_EFF_CEILING_FULLBAND if factors.scale == FULLBAND_SCALE else IE_EFF_CEILING
    if factors.run_power:
        run = burst_ratio / (1 - loss) if loss < RUN_LOSS_MAX else RUN_PACKETS_MAX
        steep = ppl / factors.steep_percent
        weight: float = (run if run < RUN_PACKETS_MAX else RUN_PACKETS_MAX) ** -factors.run_power
        counted = ppl * (1 + steep * steep) * weight
        return ie + (ceiling - ie) * counted / (counted + factors.bpl)
    bursts = factors.bursts
    if bursts is None:
        bent: float = ppl if factors.loss_power == 1.0 else ppl**factors.loss_power
        return ie + (ceiling - ie) * bent / (bent / burst_ratio + factors.bpl)
    cost = ie + (ceiling - ie) * ppl / (ppl + factors.bpl)
    if burst_ratio > 1.0:
        shape = (bursts.loss_percent / ppl) ** bursts.steepness
        cost += bursts.points * (1 - burst_ratio**-bursts.power) * (1 - cost / ceiling) / (1 + shape)
    return cost


def mos_on_scale(scale: str, r: float) -> float:
    """MOS-CQE, MOS-CQEW or MOS-CQEF: three scales, never one axis."""
    r /= MOS_SPAN[scale]
    if R_MOS_FLOOR < r < 100.0:
        return 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6
    return mos_from_r(r)


def delay_cost(scale: str, delay_ms: float) -> float:
    """What a mouth-to-ear delay costs on the scale, with echo cancelled (TELR 65 dB on the narrowband scale)."""
    if not _EXACT_BELOW_MS <= delay_ms < _TABLE_MS:
        return _delay_cost(scale, min(DELAY_MS_MAX, max(0.0, delay_ms)))
    at = int(delay_ms)
    table = _delay_table(scale)
    return table[at] + (delay_ms - at) * (table[at + 1] - table[at])


def _delay_cost(scale: str, delay_ms: float) -> float:
    if scale == NARROWBAND_SCALE:
        # May be below zero by a twentieth: the sidetone term ripples at the shortest delays, in the standard too.
        return CEILING[scale] - rate(Parameters(t_ms=delay_ms, ta_ms=delay_ms, tr_ms=2 * delay_ms)).r
    return absolute_delay_impairment(delay_ms) * (1.48 if scale == FULLBAND_SCALE else 1.0)


@cache
def _delay_table(scale: str) -> tuple[float, ...]:
    return tuple(_delay_cost(scale, float(ms)) for ms in range(_TABLE_MS + 1))
