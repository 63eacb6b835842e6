"""How something we played arrived: the RTP packets that carried it, and what the receiver's RTCP says of them.

Owns the numbers and their judgement (RFC 3550 §6.4.1: extended highest sequence number, cumulative loss). Plain values.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class PacketRange:
    """What carried one playing. Keys pressed meanwhile have numbers between, and are not in `packets`."""

    ssrc: int
    first: int  # extended sequence numbers: wraps since the leg opened, then the number on the wire
    last: int
    packets: int


@dataclass(frozen=True, slots=True)
class Reported:
    """The last report block about what we send. reports: how many there were; 0: none, and the rest means nothing."""

    reports: int
    reporter: int = 0  # SSRC
    highest: int = 0  # extended highest sequence number received, as it counts wraps
    lost: int = 0  # cumulative, since its first packet; less than 0 with duplicates


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a notice arrived. packets_lost: of its packets at the most, by a report that covers them; -1: there is none.

    reported_*: that report's extended highest sequence number and its sender; reported_before: the highest of the one
    before the notice, from which the loss is counted. -1: none, then it is what was lost since the first packet that
    came, and what was lost before that is not in it.
    """

    packets_sent: int = 0
    packets_lost: int = -1
    ssrc: int = 0
    first_sequence: int = -1  # extended; -1: not known
    last_sequence: int = -1
    reported_sequence: int = -1
    reported_before: int = -1
    reporter: int = 0

    @property
    def fraction(self) -> float | None:
        """Arrived, 0..1; None: nobody says so. What was never sent has not arrived, whoever says what."""
        if self.packets_lost < 0:
            return None
        return max(0.0, 1.0 - self.packets_lost / self.packets_sent) if self.packets_sent > 0 else 0.0

    @property
    def covered(self) -> bool:
        return self.packets_lost >= 0


UNPROVEN = Delivery()  # nobody looked
NOT_SENT = Delivery(0, 0)  # it was played to a party to whom nothing goes, as one on hold


def sent(packets: PacketRange) -> Delivery:
    """Sent, and nothing known of its arrival."""
    return Delivery(packets.packets, -1, packets.ssrc, packets.first, packets.last)


def judged(packets: PacketRange, before: Reported, now: Reported, next_sequence: int) -> Delivery:
    """What the report `now` proves of these packets, beside the last one before them.

    It covers them if it is a later one, names a number at or behind their last and one that was sent, and comes from
    who reported before: another receiver counts from its own first packet, maybe in their midst.
    next_sequence: extended number of the next packet to be sent.
    """
    plain = sent(packets)
    ahead = _signed(now.highest - packets.last)
    if now.reports <= before.reports or not 0 <= ahead < next_sequence - packets.last:
        return plain
    if before.reports and before.reporter != now.reporter:
        return plain
    lost = now.lost - before.lost if before.reports else now.lost
    return replace(
        plain,
        packets_lost=min(max(0, lost), packets.packets),
        reported_sequence=packets.last + ahead,
        reported_before=packets.first + _signed(before.highest - packets.first) if before.reports else -1,
        reporter=now.reporter,
    )


def _signed(difference: int) -> int:
    """Of two numbers that are near each other: by the 16 bits on the wire, since each side counts its own wraps."""
    return (difference + 0x8000) % 0x10000 - 0x8000
