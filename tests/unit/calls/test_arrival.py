"""calls.arrival: which reports say something of what was played."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from mediaserver.calls.arrival import Arrival
from mediaserver.model import LegStats
from mediaserver.model_delivery import PacketRange, Reported

PLAYED = PacketRange(ssrc=0xA, first=100, last=149, packets=50)


def arrival(**stats: Any) -> Arrival:
    nothing = dict.fromkeys((field.name for field in dataclasses.fields(LegStats)), 0)
    told = LegStats(**{**nothing, **stats})  # type: ignore[arg-type]
    house: Any = SimpleNamespace(engine=SimpleNamespace(leg_stats=lambda handle: told))
    party: Any = SimpleNamespace(voice=SimpleNamespace(handle=1), is_over=False)
    return Arrival(house, party, PLAYED, Reported(0))


@pytest.mark.asyncio
@pytest.mark.parametrize(("ssrc", "covered"), [(0xA, True), (0xB, False)])
async def test_a_report_of_another_ssrc_than_carried_it_proves_nothing(ssrc: int, covered: bool) -> None:
    """After a collision (RFC 3550 §8.2) the numbers in a report are of other packets, whatever they are."""
    told = {"sent_ssrc": ssrc, "sent_sequence": 151, "remote_reports": 1, "remote_reporter": 7, "remote_highest": 150}
    found = await arrival(**told).proven(0.0)
    assert found.covered is covered
    assert found.packets_sent == 50
