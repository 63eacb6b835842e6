"""What is remembered of a leg between two scores of it, and how its counters are read by what was agreed with it."""

from __future__ import annotations

from dataclasses import dataclass, field

from mediaserver.model import CodecName, LegStats, StreamSettings
from mediaserver.quality.far_end import FarEnd, figures_between
from mediaserver.quality.score import Score, score_received, score_sent

REPORT_STALE_S = 30.0  # RTCP comes every 5 s or so: what was said so long ago says nothing of now
FEC_SHARE = 0.15  # of what came; fewer are of a sender that has just begun or ended it
RECEIVED, SENT = "received", "sent"
PAUSING = {CodecName.CN}  # with it a pause of any length is no fault; Opus says something every 400 ms


@dataclass(slots=True)
class Sum:
    """What a call's intervals add up to, per direction."""

    scored: int = 0
    worst: float = 5.0


@dataclass(slots=True)
class Watched:
    call_id: str
    leg_id: str
    trunk: str
    ptime_ms: int
    sends: CodecName | None
    opened_ns: int
    opened_wall: float
    first: LegStats
    before: LegStats
    before_ns: int
    sums: dict[str, Sum] = field(default_factory=lambda: {RECEIVED: Sum(), SENT: Sum()})
    last: dict[str, Score] = field(default_factory=dict)
    pauses: bool = True  # it may stop sending while nobody speaks
    fec_sent: bool = False  # what it was sent in the last interval carried FEC
    fec_scored: int = 0  # intervals in which what we sent it carried FEC
    line_faults: set[str] = field(default_factory=set)  # told already: hum, echo
    reports: int = 0  # of the far end about what we send, and when their number last grew
    reported_ns: int = 0
    one_way: bool = False  # told already
    dead_air_ms: float = 0.0  # of the one that goes on
    dead_air_ns: int = 0  # begin of the interval in which it began
    far: FarEnd = field(default_factory=FarEnd)
    client_ns: int = 0  # when its page last said how it hears us

    def take(self, stream: StreamSettings) -> None:
        self.ptime_ms, self.sends = stream.ptime_ms, sends(stream)
        names = {
            codec.name for codec in stream.send
        }  # what both have; that we have offered it says nothing of the peer
        self.pauses = bool(names & PAUSING) or not stream.direction.receives

    def wall_ms(self, at_ns: int) -> int:
        return round((self.opened_wall + (at_ns - self.opened_ns) / 1e9) * 1000)

    def received(self, before: LegStats, after: LegStats) -> Score | None:
        return score_received(before, after, self.ptime_ms, fec=carried_fec(before, after), pauses=self.pauses)

    def sent(self, before: LegStats, after: LegStats, now_ns: int, *, whole_call: bool = False) -> Score | None:
        if after.remote_reports != self.reports:
            self.reports, self.reported_ns = after.remote_reports, now_ns
        if not whole_call and now_ns - self.reported_ns > REPORT_STALE_S * 1e9:
            return None
        # FEC takes its bits from the voice while it is there, whatever was agreed: the row is that of what was sent.
        fec = 2 * self.fec_scored > self.sums[SENT].scored if whole_call else self.fec_sent
        far = figures_between(before, after) if whole_call else self.far.interval(before, after)
        return score_sent(before, after, self.ptime_ms, self.sends, fec=fec, far=far)


def sends(stream: StreamSettings) -> CodecName | None:
    try:
        return stream.audio.name
    except StopIteration:  # nothing but telephone-event was agreed on
        return None


def protected(before: LegStats, after: LegStats) -> bool:
    """What it is sent carries FEC: ours where it is encoded here, the other party's where that is relayed."""
    relayed = after.packets_fec_relayed - before.packets_fec_relayed
    return after.fec_on or relayed > FEC_SHARE * (after.packets_sent - before.packets_sent)


def carried_fec(before: LegStats, after: LegStats) -> bool:
    """A sender that was told of loss puts FEC into each packet with a voice in it, which in a talk are some 40 %; one
    that was told of none agrees on FEC just the same and spends nothing on it."""
    return after.packets_fec - before.packets_fec > FEC_SHARE * (after.packets_received - before.packets_received)
