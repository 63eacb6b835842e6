"""One score from two snapshots of a leg's counters: what happened between them, rated by the E-model, with its honesty.

Owns the arithmetic from counters to loss, bursts and delay, for both directions, and the list of inputs that were
lacking. Absurd counters (a peer's RTCP is not to be trusted) are clamped: a score is always 1.0..4.5, never NaN.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite

from mediaserver.model import CodecName, LegStats
from mediaserver.model_news import ClientStats
from mediaserver.quality.emodel import burst_ratio
from mediaserver.quality.factors import CodecFactors, factors_of
from mediaserver.quality.far_end import NOTHING_TOLD, FarFigures
from mediaserver.quality.rating import DELAY_MS_MAX, MODELS, Rated, rate_connection

BURSTS_MIN = 2  # of fewer bursts no mean is worth the name, unless the one is a dropout: else it counts as random loss
REMOTE_BUFFER_MS = 40.0  # what a phone's jitter buffer adds where it does not tell: two packets
# No standard has these: a voice clipped in every tenth frame costs what one percent of loss does, about four points.
CLIPPING_POINTS = 40.0
CLIPPING_POINTS_MAX = 25.0
WORTH_NAMING = 3.0  # points; less is no tenth of a MOS
FRAME_MS = 20.0  # what LegStats counts frames in
STEADY_SHARE = 0.9  # of the time covered by packets: less, and the sender paused
SILENT_SHARE = 0.5  # of an interval in which nothing came at all: more, and that is what was heard
DROPOUT_PACKETS = 10.0  # a run that long is a burst even when it is alone: 200 ms of nothing

# Names of inputs a score can lack; in `missing` and in mos_input_missing_total{input}.
RTT = "rtt"
BURST = "burst"
CODEC = "codec"
FACTORS = "factors"  # the codec has no published or measured (Ie, Bpl)
REMOTE_BUFFER = "remote_buffer"
REMOTE_DISCARD = "remote_discard"  # RTCP counts what the network lost, not what came too late for the far end


@dataclass(frozen=True, slots=True)
class Costs:
    """Points each cause took from the ceiling of the score's scale. They add up to ceiling - r."""

    codec: float = 0.0
    loss: float = 0.0
    burst: float = 0.0
    late: float = 0.0  # discarded by the jitter buffer
    delay: float = 0.0
    clipping: float = 0.0
    dead_air: float = 0.0

    @property
    def worst(self) -> str:
        """Name of the greatest cost that somebody can mend; "" when none reaches three points."""
        name, points = max(
            ((name, getattr(self, name)) for name in ("loss", "burst", "late", "delay", "clipping", "dead_air")),
            key=lambda pair: pair[1],
        )
        return name if points >= WORTH_NAMING else ""


@dataclass(frozen=True, slots=True)
class Score:
    """A rating and all it rests on. Fractions 0..1; delay one-way, mouth to ear, ms."""

    mos: float
    mos_listening: float  # without delay
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
    costs: Costs = Costs()
    dropout_ms: float = 0.0  # in holes of 200 ms or more
    dead_air_ms: float = 0.0  # a sender stopped that may not
    # What the listener says of its own seconds (RFC 7294 §4): ours where we listen, the far end's where it does.
    concealed_s: int | None = None
    severe_s: int | None = None


def score_received(
    before: LegStats, after: LegStats, ptime_ms: float, *, fec: bool = False, pauses: bool = True
) -> Score | None:
    """What we (or the party bridged to it) heard of this leg. None: nothing was expected in between, and it may pause.

    ptime_ms: the sender's packet time, for the delay it adds. fec: its packets carried in-band FEC. pauses: it
    may stop sending altogether while nobody speaks (comfort noise, hold); else such a time is dead air.
    """
    expected = after.packets_expected - before.packets_expected
    silent = 0.0 if pauses else _share(after.unheard_ns - before.unheard_ns, max(1, after.at_ns - before.at_ns))
    if expected <= 0 and silent < SILENT_SHARE:
        return None
    expected = max(1, expected)
    late = _share(after.packets_late - before.packets_late, expected)
    # A packet judged lost that comes late moves from one counter to the other: only their sum is sure to grow.
    gone = after.packets_lost - before.packets_lost + after.packets_late - before.packets_late
    loss = _share(gone, expected)
    bursts = after.loss_events - before.loss_events
    in_bursts = after.loss_event_packets - before.loss_event_packets
    frames = after.frames_played - before.frames_played
    concealed = _share(after.frames_concealed - before.frames_concealed, frames) if frames > 0 else loss
    if concealed > loss and expected * ptime_ms >= STEADY_SHARE * frames * FRAME_MS:
        # The buffer ran empty: packets that came, but after their time. In a sender's pause (DTX) that is no fault.
        late = min(1.0, late + concealed - loss)
        loss = concealed
    dropout_ms = max(0.0, (after.dropout_ns - before.dropout_ns) / 1e6)
    holes = _share(dropout_ms, FRAME_MS * frames) if frames > 0 else 0.0
    if holes > loss:
        # A stall: everything came, after a silence that is concealment only while it has not faded.
        late = min(1.0, late + holes - loss)
        loss = holes
    factors = factors_of(after.codec, fec=fec)
    missing = _missing(after, after.codec, factors)
    ratio = 1.0
    if bursts > 0 and (bursts >= BURSTS_MIN or in_bursts >= DROPOUT_PACKETS):
        ratio = burst_ratio(loss, in_bursts / bursts)
    elif loss > 0:
        missing.append(BURST)
    return _score(
        after,
        after.codec,
        factors,
        loss=loss,
        late=late,
        ratio=ratio,
        delay_ms=after.buffer_delay_ns / 1e6 + ptime_ms + factors.codec_delay_ms + _half_round_trip_ms(after),
        jitter_ms=after.jitter_ns / 1e6,
        concealed=concealed,
        missing=missing,
        dropout_ms=dropout_ms,
        clipped=_share(after.frames_clipped - before.frames_clipped, frames) if frames > 0 else 0.0,
        silent=silent,
        silent_ms=silent * (after.at_ns - before.at_ns) / 1e6,
        seconds=(
            max(0, after.seconds_concealed - before.seconds_concealed),
            max(0, after.seconds_severe - before.seconds_severe),
        ),
    )


def score_sent(
    before: LegStats,
    after: LegStats,
    ptime_ms: float,
    codec: CodecName | None,
    *,
    fec: bool = False,
    far: FarFigures = NOTHING_TOLD,
) -> Score | None:
    """What the far end heard of us, by its RTCP. None: it has sent no report, or we sent nothing.

    codec: what we send, None if unknown. fec: what we send carries in-band FEC.
    Over a whole call the cumulative count of lost packets is used, over an interval the last report's fraction. Where
    it sends VoIP metrics (RTCP XR), its bursts and delays are used too; these are means since the call began.
    far: what it says it discarded in between, and what it made up (RFC 7294): more than was lost on the way came too
    late for it.
    """
    sent = after.packets_sent - before.packets_sent
    if sent <= 0 or after.remote_loss_fraction < 0 or not isfinite(after.remote_loss_fraction):
        return None
    if before.packets_sent == 0:
        loss = _share(after.remote_packets_lost, sent)
    else:
        loss = min(1.0, max(0.0, after.remote_loss_fraction))
    factors = factors_of(codec, fec=fec)
    missing = _missing(after, codec, factors)
    late, ratio, buffer_ms = 0.0, 1.0, REMOTE_BUFFER_MS
    told = after.remote_xr
    if far.made_up is not None:
        late = max(0.0, far.made_up - loss)
    elif far.discarded is not None:
        late = min(1.0 - loss, far.discarded)
    else:
        missing.append(REMOTE_DISCARD)
    loss += late
    if told is None:
        missing.append(REMOTE_BUFFER)
    else:
        buffer_ms = min(DELAY_MS_MAX, float(told.buffer_ms))
        if told.burst_ms and loss > 0:
            ratio = burst_ratio(loss, told.burst_ms / max(ptime_ms, 10) * told.burst_density)
    if loss > 0 and (told is None or not told.burst_ms):
        missing.append(BURST)
    return _score(
        after,
        codec,
        factors,
        loss=loss,
        late=late,
        ratio=ratio,
        delay_ms=buffer_ms + ptime_ms + factors.codec_delay_ms + _half_round_trip_ms(after),
        jitter_ms=after.remote_jitter_ns / 1e6,
        concealed=loss if far.made_up is None else far.made_up,
        missing=missing,
        seconds=(far.concealed_s, far.severe_s),
    )


def score_client(told: ClientStats, codec: CodecName | None, ptime_ms: float, *, fec: bool = False) -> Score | None:
    """What a browser heard of us, by its own getStats. None: it said nothing of loss or concealment.

    What it had to make up is what was lost to the listener, whatever the reason; its buffer is not told.
    """
    lost = [share for share in (told.concealed, told.loss_received) if share is not None]
    if not lost:
        return None
    loss = min(1.0, max(0.0, *lost)) if len(lost) > 1 else min(1.0, max(0.0, lost[0]))
    late = max(0.0, loss - max(0.0, told.loss_received)) if told.loss_received is not None else 0.0
    factors = factors_of(codec, fec=fec)
    rtt_ms = told.rtt_ms if told.rtt_ms is not None and 0 < told.rtt_ms <= 2 * DELAY_MS_MAX else None
    missing = [*([] if rtt_ms else [RTT]), REMOTE_BUFFER, *([BURST] if loss else [])]
    if codec is None:
        missing.append(CODEC)
    delay_ms = (rtt_ms or 0.0) / 2 + ptime_ms + factors.codec_delay_ms + REMOTE_BUFFER_MS
    rated = rate_connection(factors, loss, late, 1.0, delay_ms)
    return _made(rated, factors, codec, missing, loss, late, 1.0, delay_ms, told.jitter_ms or 0.0, rtt_ms, loss)


def _score(
    stats: LegStats,
    codec: CodecName | None,
    factors: CodecFactors,
    *,
    loss: float,
    late: float,
    ratio: float,
    delay_ms: float,
    jitter_ms: float,
    concealed: float,
    missing: list[str],
    dropout_ms: float = 0.0,
    clipped: float = 0.0,
    silent: float = 0.0,
    silent_ms: float = 0.0,
    seconds: tuple[int | None, int | None],
) -> Score:
    delay_ms = min(DELAY_MS_MAX, max(0.0, delay_ms))
    rated = rate_connection(factors, loss, late, ratio, delay_ms)
    clipping = min(CLIPPING_POINTS_MAX, CLIPPING_POINTS * clipped)
    # What is not heard at all is worth nothing: its share of the points that are left.
    dead_air = silent * max(0.0, rated.r - clipping)
    if clipping or dead_air:
        rated = rate_connection(factors, loss, late, ratio, delay_ms, clipping + dead_air)
    rtt_ms = 2 * _half_round_trip_ms(stats) if _knows_round_trip(stats) else None
    made = _made(rated, factors, codec, missing, loss, late, ratio, delay_ms, jitter_ms, rtt_ms, concealed)
    concealed_s, severe_s = seconds
    if not (clipping or dead_air or dropout_ms or concealed_s is not None or severe_s is not None):
        return made
    costs = replace(made.costs, clipping=clipping, dead_air=dead_air)
    return replace(
        made,
        costs=costs,
        dropout_ms=dropout_ms,
        dead_air_ms=silent_ms,
        concealed_s=concealed_s,
        severe_s=severe_s,
    )


def _made(
    rated: Rated,
    factors: CodecFactors,
    codec: CodecName | None,
    missing: list[str],
    loss: float,
    late: float,
    ratio: float,
    delay_ms: float,
    jitter_ms: float,
    rtt_ms: float | None,
    concealed: float,
) -> Score:
    return Score(
        mos=round(rated.mos, 4),
        mos_listening=round(rated.mos_listening, 4),
        r=round(rated.r, 4),
        scale=factors.scale,
        model=MODELS[factors.scale],
        codec="" if codec is None else codec.value,
        codec_row=factors.row,
        basis=factors.basis,
        missing=tuple(missing),
        loss=loss,
        late=late,
        burst_ratio=ratio,
        delay_ms=delay_ms,
        jitter_ms=min(DELAY_MS_MAX, max(0.0, jitter_ms)),
        rtt_ms=rtt_ms,
        concealed=concealed,
        costs=Costs(
            codec=rated.codec_cost,
            loss=rated.loss_cost,
            burst=rated.burst_cost,
            late=rated.late_cost,
            delay=rated.delay_cost,
        ),
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
