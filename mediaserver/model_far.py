"""What the far end says by RTCP extended reports of what it heard of us: its figures, beside ours in `LegStats`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RemoteXr:
    """VoIP metrics, RFC 3611 §4.7. Means since it began to listen. Fractions 0..1 in steps of 1/256; None: not said."""

    loss_fraction: float  # never came
    discard_fraction: float  # came too late, or too early for its buffer
    burst_density: float
    gap_density: float
    burst_ms: int
    gap_ms: int
    end_system_ms: int  # its buffer, decoder and its way back
    buffer_ms: int
    r: int | None
    mos_listening: float | None
    mos_conversational: float | None
    reporter: int = 0  # SSRC of who says so
    reports: int = 0  # how many came
    packets_sent: int = 0  # by us, when the last one came


@dataclass(frozen=True, slots=True)
class RemoteConcealment:
    """What it made up of what we sent, RFC 7294; monotonic sums of all its reports. None: it does not say that."""

    on_time_ms: int | None  # played as it came
    concealed_ms: int | None  # made up, because a packet was lost or late
    adjusted_ms: int | None  # made by stretching
    interrupts: int | None  # times it had to
    unimpaired_s: int | None  # seconds in which nothing was made up
    concealed_s: int | None  # the others
    severe_s: int | None  # of those, with more made up than its threshold, mostly a tenth
