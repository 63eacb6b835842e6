"""Wideband (ITU-T G.107.1, 06/2019 with Corrigendum 1) and fullband (G.107.2, 03/2023) E-models.

Owns the arithmetic of both for a connection whose echo is cancelled: pure delay and packet loss cost points, the talker
echo term of G.107.1 is left out because nothing here measures echo. Their MOS are on scales of their own
(MOS-CQEW, MOS-CQEF): never on one axis with each other or with `emodel.py`.
"""

from __future__ import annotations

from mediaserver.quality.emodel import absolute_delay_impairment, loss_impairment, mos_from_r

RO_WIDEBAND = 129.0
RO_FULLBAND = 148.0
IE_EFF_CEILING_FULLBAND = 132.0


def rate_wideband(loss_fraction: float, burst_ratio: float, delay_ms: float, ie_wb: float, bpl_wb: float) -> float:
    """R on the wideband scale, up to 129. The ceiling of Ie,eff,wb stays 95 (G.107.1 clause 7.5)."""
    ie_eff = loss_impairment(loss_fraction, burst_ratio, ie_wb, bpl_wb)
    return RO_WIDEBAND - absolute_delay_impairment(delay_ms) - ie_eff


def mos_wideband(r: float) -> float:
    """MOS-CQEW from R of 0..129."""
    return mos_from_r(r / 1.29)


def rate_fullband(loss_fraction: float, burst_ratio: float, delay_ms: float, ie_fb: float, bpl_fb: float) -> float:
    """R on the fullband scale, up to 148."""
    ie_eff = loss_impairment(loss_fraction, burst_ratio, ie_fb, bpl_fb, IE_EFF_CEILING_FULLBAND)
    return RO_FULLBAND - 1.48 * absolute_delay_impairment(delay_ms) - ie_eff


def mos_fullband(r: float) -> float:
    """MOS-CQEF from R of 0..148."""
    return mos_from_r(r / 1.48)
