"""One score from two snapshots of a leg's counters: what happened between them, rated by the E-model, with its honesty.

Owns the arithmetic from counters to loss, bursts and delay, for both directions, and the list of inputs that were
lacking. Absurd counters (a peer's RTCP is not to be trusted) are clamped: a score is always 1.0..4.5, never NaN.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from mediaserver.model import CodecName, LegStats
from mediaserver.quality.emodel import Parameters, burst_ratio, rate
from mediaserver.quality.factors import CodecFactors, narrowband_factors

MODEL = "G.107 (06/2015)"
BURSTS_MIN = 2  # of fewer bursts no mean is worth the name: BurstR is 1 and the score says so
REMOTE_BUFFER_MS = 40.0  # what a phone's jitter buffer adds where it does not tell: two packets
DELAY_MS_MAX = 5_000.0  # a round trip above it is a broken clock, not a line

# Names of inputs a score can lack; in `missing` and in mos_input_missing_total{input}.
RTT = "rtt"
BURST = "burst"
CODEC = "codec"
FACTORS = "factors"  # the codec has no published (Ie, Bpl)
REMOTE_BUFFER = "remote_buffer"
REMOTE_DISCARD = "remote_discard"  # RTCP counts what the network lost, not what came too late for the far end


@dataclass(frozen=True, slots=True)
class Score:
    """A rating and all it rests on. Fractions 0..1; delay one-way, mouth to ear, ms."""

    mos: float
    r: float
    scale: str
    model: str
    codec: str  # RTP name; "" before anything was received
    codec_row: str
    basis: str
    missing: tuple[str, ...]
    loss: float  # lost and late together, what had to be concealed
    late: float  # of those, arrived after their time
    burst_ratio: float
    delay_ms: float
    jitter_ms: float
    rtt_ms: float | None
    concealed: float


def score_received(before: LegStats, after: LegStats, ptime_ms: float) -> Score | None:
    """What we (or the party bridged to it) heard of this leg. None: nothing was expected in between.

    ptime_ms: the sender's packet time, for the delay it adds.
    """
    expected = after.packets_expected - before.packets_expected
    if expected <= 0:
        return None
    late = _share(after.packets_late - before.packets_late, expected)
    # A packet judged lost that comes late moves from one counter to the other: only their sum is sure to grow.
    gone = after.packets_lost - before.packets_lost + after.packets_late - before.packets_late
    loss = _share(gone, expected)
    bursts = after.loss_events - before.loss_events
    in_bursts = after.loss_event_packets - before.loss_event_packets
    frames = after.frames_played - before.frames_played
    concealed = _share(after.frames_concealed - before.frames_concealed, frames) if frames > 0 else loss
    factors = narrowband_factors(after.codec)
    missing = _missing(after, after.codec, factors)
    ratio = 1.0
    if bursts >= BURSTS_MIN and in_bursts > 0:
        ratio = burst_ratio(loss, in_bursts / bursts)
    elif loss > 0:
        missing.append(BURST)
    delay_ms = after.buffer_delay_ns / 1e6 + ptime_ms + factors.codec_delay_ms + _half_round_trip_ms(after)
    return _score(after, after.codec, factors, loss, late, ratio, delay_ms, after.jitter_ns / 1e6, concealed, missing)


def score_sent(before: LegStats, after: LegStats, ptime_ms: float, codec: CodecName | None) -> Score | None:
    """What the far end heard of us, by its RTCP. None: it has sent no report, or we sent nothing.

    codec: what we send, None if unknown.
    Over a whole call the cumulative count of lost packets is used, over an interval the last report's fraction.
    """
    sent = after.packets_sent - before.packets_sent
    if sent <= 0 or after.remote_loss_fraction < 0 or not isfinite(after.remote_loss_fraction):
        return None
    if before.packets_sent == 0:
        loss = _share(after.remote_packets_lost, sent)
    else:
        loss = min(1.0, max(0.0, after.remote_loss_fraction))
    factors = narrowband_factors(codec)
    missing = [*_missing(after, codec, factors), REMOTE_BUFFER, REMOTE_DISCARD]
    if loss > 0:
        missing.append(BURST)
    jitter_ms = max(0.0, after.remote_jitter_ns / 1e6)
    delay_ms = REMOTE_BUFFER_MS + ptime_ms + factors.codec_delay_ms + _half_round_trip_ms(after)
    return _score(after, codec, factors, loss, 0.0, 1.0, delay_ms, jitter_ms, loss, missing)


def _score(
    stats: LegStats,
    codec: CodecName | None,
    factors: CodecFactors,
    loss: float,
    late: float,
    ratio: float,
    delay_ms: float,
    jitter_ms: float,
    concealed: float,
    missing: list[str],
) -> Score:
    delay_ms = min(DELAY_MS_MAX, max(0.0, delay_ms))
    rating = rate(
        Parameters(
            t_ms=delay_ms,
            ta_ms=delay_ms,
            tr_ms=2 * delay_ms,
            ie=factors.ie,
            bpl=factors.bpl,
            ppl=loss * 100,
            burst_r=ratio,
        )
    )
    return Score(
        mos=round(rating.mos, 4),
        r=round(rating.r, 4),
        scale=factors.scale,
        model=MODEL,
        codec="" if codec is None else codec.value,
        codec_row=factors.row,
        basis=factors.basis,
        missing=tuple(missing),
        loss=loss,
        late=late,
        burst_ratio=ratio,
        delay_ms=delay_ms,
        jitter_ms=min(DELAY_MS_MAX, max(0.0, jitter_ms)),
        rtt_ms=2 * _half_round_trip_ms(stats) if _knows_round_trip(stats) else None,
        concealed=concealed,
    )


def _missing(stats: LegStats, codec: CodecName | None, factors: CodecFactors) -> list[str]:
    missing = []
    if not _knows_round_trip(stats):
        missing.append(RTT)
    if codec is None:
        missing.append(CODEC)
    elif factors.basis == "none":
        missing.append(FACTORS)
    return missing


def _share(part: float, whole: float) -> float:
    return min(1.0, max(0.0, part / whole))


def _knows_round_trip(stats: LegStats) -> bool:
    return 0 < stats.round_trip_ns <= 2 * DELAY_MS_MAX * 1e6


def _half_round_trip_ms(stats: LegStats) -> float:
    return stats.round_trip_ns / 2e6 if _knows_round_trip(stats) else 0.0
