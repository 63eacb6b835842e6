"""The demo's bad network: so much loss as it says, in bursts as long as it says, the same from the same seed."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from mediaserver.demo.network import BadNetwork, Impairment, Line

PACKETS = 50_000


def lost(impairment: Impairment, seed: int = 7) -> list[bool]:
    line = Line(impairment, random.Random(seed))
    return [line.delay_s() is None for _ in range(PACKETS)]


@pytest.mark.parametrize(("loss", "burst"), [(0.03, 3.0), (0.12, 6.0)])
def test_loss_and_bursts_are_what_was_asked_for(loss: float, burst: float) -> None:
    pattern = lost(Impairment(loss, burst))
    runs = [len(list(run)) for gone, run in itertools.groupby(pattern) if gone]
    assert sum(pattern) / PACKETS == pytest.approx(loss, rel=0.25)
    assert sum(runs) / len(runs) == pytest.approx(burst, rel=0.15)


def test_a_good_network_loses_and_delays_nothing() -> None:
    line = Line(Impairment(), random.Random(1))
    assert {line.delay_s() for _ in range(1_000)} == {0.0}


def test_the_same_seed_is_the_same_network() -> None:
    assert lost(Impairment(0.1, 4.0)) == lost(Impairment(0.1, 4.0))
    assert lost(Impairment(0.1, 4.0)) != lost(Impairment(0.1, 4.0), seed=8)


async def test_packets_pass_between_the_phone_and_the_server_and_strangers_do_not() -> None:
    network = BadNetwork(Impairment(), 1)
    sent: list[tuple[bytes, object]] = []
    network._send = lambda data, to: sent.append((data, to))  # type: ignore[method-assign]
    network.phone, network.server = ("127.0.0.1", 1), ("127.0.0.1", 2)
    for data, source in ((b"up", network.phone), (b"down", network.server), (b"stray", ("127.0.0.1", 3))):
        network.datagram_received(data, source)
    while len(sent) < 2:
        await asyncio.sleep(0)
    assert sent == [(b"up", network.server), (b"down", network.phone)]
