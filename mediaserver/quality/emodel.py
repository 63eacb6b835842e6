"""The narrowband E-model, ITU-T G.107 (06/2015), every term: from planning parameters to R and MOS-CQE.

Owns the arithmetic only. Knows no codecs by name (`factors.py`), no counters and no calls (`monitor.py`). The wideband
and fullband models, whose scales must never share an axis with this one, are in `emodel_wide.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, isfinite, log2, log10, sqrt

R_MOS_FLOOR = 6.515  # below it the cubic of G.107 Annex B dips under 1.0
IE_EFF_CEILING = 95.0  # Ie,eff tends to this R cost when everything is lost


@dataclass(frozen=True, slots=True)
class Parameters:
    """Input parameters with the defaults of G.107 Table 2. dB unless the name says otherwise."""

    slr: float = 8.0  # send loudness rating
    rlr: float = 2.0  # receive loudness rating
    stmr: float = 15.0  # sidetone masking rating
    lstr: float = 18.0  # listener sidetone rating, = STMR + Dr
    ds: float = 3.0  # D-value of the sending telephone
    dr: float = 3.0  # D-value of the receiving telephone
    telr: float = 65.0  # talker echo loudness rating; 65 means echo is cancelled, not that it was measured
    wepl: float = 110.0  # weighted echo path loss
    t_ms: float = 0.0  # T: mean one-way delay of the echo path
    tr_ms: float = 0.0  # Tr: round-trip delay in the four-wire loop
    ta_ms: float = 0.0  # Ta: absolute one-way delay
    qdu: float = 1.0  # quantizing distortion units
    ie: float = 0.0  # equipment impairment factor
    bpl: float = 4.3  # packet-loss robustness, percent
    ppl: float = 0.0  # packet loss, percent 0..100
    burst_r: float = 1.0  # burst ratio, >= 1
    nc: float = -70.0  # circuit noise, dBm0p
    nfor: float = -64.0  # noise floor at the receive side, dBmp
    ps: float = 35.0  # room noise at the send side, dB(A)
    pr: float = 35.0  # room noise at the receive side, dB(A)
    a: float = 0.0  # advantage factor
    s_t: float = 1.0  # delay sensitivity: 1 default, 0.55 low, 0.4 very low
    m_t_ms: float = 100.0  # minimum perceivable delay: 100 default, 120 low, 150 very low


@dataclass(frozen=True, slots=True)
class Rating:
    """R and every term it is made of, all on the R scale except `no` (dBm0p)."""

    r: float
    no: float
    ro: float
    iolr: float
    ist: float
    iq: float
    is_: float
    idte: float
    idle: float
    idd: float
    id_: float
    ie_eff: float

    @property
    def mos(self) -> float:
        return mos_from_r(self.r)


def rate(p: Parameters) -> Rating:
    """R = Ro - Is - Id - Ie,eff + A (G.107 clause 7.1). Raises ValueError for values outside the model."""
    _check(p)
    no, ro = _noise(p)
    olr = p.slr + p.rlr
    iolr, ist, iq = _loudness(olr, no, p.rlr), _sidetone(p), _quantizing(ro, p.qdu)
    idte, idle, idd = (
        _talker_echo(p, no, ist),
        _listener_echo(p, ro),
        absolute_delay_impairment(p.ta_ms, p.s_t, p.m_t_ms),
    )
    ie_eff = loss_impairment(p.ppl / 100, p.burst_r, p.ie, p.bpl)
    is_, id_ = iolr + ist + iq, idte + idle + idd
    r = ro - is_ - id_ - ie_eff + p.a
    return Rating(r, no, ro, iolr, ist, iq, is_, idte, idle, idd, id_, ie_eff)


def mos_from_r(r: float) -> float:
    """MOS-CQE 1.0..4.5 from R on the narrowband scale (G.107 Annex B), clipped where the cubic dips under 1."""
    if not isfinite(r):
        raise ValueError(f"R must be finite, got {r}")
    if r <= R_MOS_FLOOR:
        return 1.0
    if r >= 100:
        return 4.5
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)


def loss_impairment(
    loss_fraction: float, burst_ratio: float, ie: float, bpl: float, ceiling: float = IE_EFF_CEILING
) -> float:
    """Effective equipment impairment Ie,eff on the R scale, `ie`..`ceiling` (95; 132 in G.107.2).

    loss_fraction: share of frames lost or discarded after the jitter buffer, 0..1. burst_ratio: mean burst length over
    that of random loss, >= 1. bpl: robustness in percent, > 0. Raises ValueError outside those ranges.
    Source: ITU-T G.107 clause 7.5, equation for Ie,eff.
    """
    if not 0 <= loss_fraction <= 1:
        raise ValueError(f"loss_fraction is a share of 0..1, got {loss_fraction}")
    if not 1 <= burst_ratio < inf:
        raise ValueError(f"burst_ratio is at least 1 and finite, got {burst_ratio}")
    if not 0 < bpl < inf:
        raise ValueError(f"bpl must be above 0 and finite, got {bpl}")
    ppl = loss_fraction * 100
    return ie + (ceiling - ie) * ppl / (ppl / burst_ratio + bpl)


def burst_ratio(loss_fraction: float, mean_burst_packets: float) -> float:
    """BurstR: observed mean burst length over the 1/(1 - loss) that random loss would show; never below 1.

    Source: ITU-T G.107 clause 7.5. Loss shorter-lived than random counts as random, as the model asks for >= 1.
    """
    if loss_fraction >= 1:
        return 1.0
    return max(1.0, mean_burst_packets * (1 - loss_fraction))


def absolute_delay_impairment(ta_ms: float, s_t: float = 1.0, m_t_ms: float = 100.0) -> float:
    """Idd: cost of pure delay on the R scale (G.107 clause 7.4, equations with sT and mT of the 2014 revision)."""
    if ta_ms <= m_t_ms:
        return 0.0
    x = log2(ta_ms / m_t_ms)
    n = 6 * s_t
    return float(25 * ((1 + x**n) ** (1 / n) - 3 * (1 + (x / 3) ** n) ** (1 / n) + 2))


def _check(p: Parameters) -> None:
    if not 0 <= p.ppl <= 100:
        raise ValueError(f"ppl is percent 0..100, got {p.ppl}")
    for name, value in (("t_ms", p.t_ms), ("tr_ms", p.tr_ms), ("ta_ms", p.ta_ms)):
        if not 0 <= value < inf:
            raise ValueError(f"{name} is a delay of 0 or more, got {value}")
    if p.qdu <= 0 or p.m_t_ms <= 0 or p.s_t <= 0:
        raise ValueError(f"qdu, s_t and m_t_ms must be above 0, got {p.qdu}, {p.s_t}, {p.m_t_ms}")


def _power_sum_db(*levels: float) -> float:
    return 10 * log10(sum(10 ** (level / 10) for level in levels))


def _noise(p: Parameters) -> tuple[float, float]:
    """No (sum of all noises at the 0 dBr point) and the basic signal-to-noise ratio Ro; clause 7.2."""
    olr = p.slr + p.rlr
    nos = p.ps - p.slr - p.ds - 100 + 0.004 * (p.ps - olr - p.ds - 14) ** 2
    pre = p.pr + 10 * log10(1 + 10 ** ((10 - p.lstr) / 10))
    nor = p.rlr - 121 + pre + 0.008 * (pre - 35) ** 2
    nfo = p.nfor + p.rlr
    no = _power_sum_db(p.nc, nos, nor, nfo)
    return no, 15 - 1.5 * (p.slr + no)


def _loudness(olr: float, no: float, rlr: float) -> float:
    """Iolr: too loud a connection; clause 7.3."""
    x = (olr + 0.2 * (64 + no - rlr)) / 8
    return float(20 * ((1 + x**8) ** (1 / 8) - x))


def _sidetone(p: Parameters) -> float:
    """Ist: non-optimum sidetone; clause 7.3."""
    stmr_o = -10 * log10(10 ** (-p.stmr / 10) + exp(-p.t_ms / 4) * 10 ** (-p.telr / 10))

    def bend(x: float, power: int) -> float:
        return float((1 + abs(x) ** power) ** (1 / power))

    return 12 * bend((stmr_o - 13) / 6, 8) - 28 * bend((stmr_o + 1) / 19.4, 35) - 13 * bend((stmr_o - 3) / 33, 13) + 29


def _quantizing(ro: float, qdu: float) -> float:
    """Iq: quantizing distortion; clause 7.3."""
    q = 37 - 15 * log10(qdu)
    g = 1.07 + 0.258 * q + 0.0602 * q**2
    y = (ro - 100) / 15 + 46 / 8.4 - g / 9
    z = 46 / 30 - g / 40
    return 15 * log10(1 + 10**y + 10**z)


def _talker_echo(p: Parameters, no: float, ist: float) -> float:
    """Idte: the talker hears himself; clause 7.4, with both corrections for extreme sidetone."""
    if p.t_ms < 1:
        return 0.0
    terv = p.telr - 40 * log10((1 + p.t_ms / 10) / (1 + p.t_ms / 150)) + 6 * exp(-0.3 * p.t_ms**2)
    if p.stmr < 9:
        terv += ist / 2
    half = (-1.5 * (no - p.rlr) - (80 + 2.5 * (terv - 14))) / 2  # (Roe - Re) / 2
    idte = (half + sqrt(half**2 + 100) - 1) * (1 - exp(-p.t_ms))
    return sqrt(idte**2 + ist**2) if p.stmr > 20 else idte


def _listener_echo(p: Parameters, ro: float) -> float:
    """Idle: the listener hears the talker twice; clause 7.4."""
    half = (ro - 10.5 * (p.wepl + 7) / sqrt(sqrt(p.tr_ms + 1))) / 2
    return half + sqrt(half**2 + 169)
