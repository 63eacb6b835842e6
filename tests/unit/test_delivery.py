"""What a report proves of a range of packets."""

import pytest

from mediaserver.model_delivery import NOT_SENT, Delivery, PacketRange, Reported, judged, sent

NOTICE = PacketRange(ssrc=9, first=65_500, last=65_649, packets=150)  # across a wrap
NONE = Reported(0)
BEFORE = Reported(3, reporter=7, highest=65_480, lost=10)
NEXT = 65_700


@pytest.mark.parametrize(
    ("before", "now", "lost"),
    [
        (NONE, Reported(1, 7, 65_649, 0), 0),  # its last packet is the highest that came
        (NONE, Reported(1, 7, 65_648, 0), -1),  # one short: what became of the last, nobody says
        (NONE, Reported(1, 7, 65_699, 4), 4),  # a later one covers it too
        (NONE, Reported(1, 7, 65_700, 0), -1),  # of a packet that was never sent
        (NONE, Reported(1, 7, 65_649 & 0xFFFF, 0), 0),  # it came in behind the wrap: its own count of wraps is 0
        (NONE, Reported(1, 7, 65_649 + 0x20000, 0), 0),
        (NONE, NONE, -1),  # it never reports
        (BEFORE, BEFORE, -1),  # no new report since
        (BEFORE, Reported(4, 7, 65_650, 12), 2),  # lost since the report before
        (BEFORE, Reported(4, 7, 65_650, 8), 0),  # duplicates lower the count
        (BEFORE, Reported(4, 7, 65_650, 900), 150),  # never more than there were
        (BEFORE, Reported(4, 8, 65_650, 0), -1),  # another receiver: it may have come in their midst
    ],
)
def test_a_report_proves_what_it_covers_and_nothing_else(before: Reported, now: Reported, lost: int) -> None:
    found = judged(NOTICE, before, now, NEXT)
    assert found.packets_lost == lost
    assert found.covered is (lost >= 0)
    assert (found.first_sequence, found.last_sequence, found.packets_sent, found.ssrc) == (65_500, 65_649, 150, 9)
    if lost < 0:
        assert found == sent(NOTICE)
        assert found.fraction is None
    else:
        assert found.fraction == pytest.approx(1 - lost / 150)
        assert 65_649 <= found.reported_sequence < NEXT
        assert found.reported_before == (65_480 if before is BEFORE else -1)


def test_what_was_never_sent_has_not_arrived() -> None:
    assert NOT_SENT.fraction == 0.0
    assert Delivery().fraction is None
