"""The bad network is as bad as it says, and the same again from the same seed."""

import asyncio
import itertools
import random
import socket

import pytest

from tests.support.impair import MS, Impairment, Line, Proxy


def run(impairment: Impairment, count: int = 20_000, seed: int = 5, every_ns: int = 20 * MS, size: int = 200):
    line = Line(impairment, random.Random(seed))
    return line, [line.put(size, n * every_ns) for n in range(count)]


@pytest.mark.parametrize(("loss", "burst"), [(0.05, 1.0), (0.05, 3.0), (0.2, 5.0), (0.01, 1.0)])
def test_losses_have_the_share_and_the_runs_they_should(loss: float, burst: float) -> None:
    _, arrivals = run(Impairment(loss=loss, burst=burst), 30_000)
    lost = [not at for at in arrivals]
    runs = sum(now and not before for now, before in zip(lost, [False, *lost], strict=False))
    assert sum(lost) / len(lost) == pytest.approx(loss, rel=0.15)
    expected = burst if burst > 1 else 1 / (1 - loss)
    assert sum(lost) / runs == pytest.approx(expected, rel=0.15)


def test_a_perfect_line_changes_nothing_and_a_dead_one_passes_nothing() -> None:
    assert run(Impairment(), 100)[1] == [[n * 20 * MS] for n in range(100)]
    assert run(Impairment(loss=1.0), 100)[1] == [[]] * 100


def test_delay_and_jitter_keep_the_order() -> None:
    _, arrivals = run(Impairment(delay_ms=40, jitter_ms=30))
    times = [at for (at,) in arrivals]
    assert times == sorted(times)
    delays = [at - n * 20 * MS for n, at in enumerate(times)]
    assert min(delays) >= 40 * MS
    assert 55 * MS < sum(delays) / len(delays) < 90 * MS


def test_some_are_overtaken_and_some_come_twice() -> None:
    line, arrivals = run(Impairment(delay_ms=10, reorder=0.1, reorder_ms=50, duplicate=0.02))
    firsts = [at[0] for at in arrivals]
    overtaken = sum(later < now for now, later in itertools.pairwise(firsts))
    assert 0.08 < overtaken / len(firsts) < 0.1
    assert line.counts["duplicate"] / len(firsts) == pytest.approx(0.02, rel=0.2)


def test_a_narrow_link_passes_its_rate_and_loses_the_rest_after_a_full_queue() -> None:
    line, arrivals = run(Impairment(rate_kbps=300, queue_ms=100), 5_000, every_ns=2 * MS, size=1_200)
    passed = [at[0] for at in arrivals if at]
    assert len(passed) * 1_200 * 8 / (passed[-1] / 1e9) == pytest.approx(300_000, rel=0.01)
    assert max(at[0] - n * 2 * MS for n, at in enumerate(arrivals) if at) < 140 * MS
    assert line.counts["queue"] == 5_000 - len(passed)


def test_a_seed_is_a_network() -> None:
    bad = Impairment(loss=0.1, burst=2, delay_ms=20, jitter_ms=10, reorder=0.02, duplicate=0.01, rate_kbps=500)
    assert run(bad, 2_000)[1] == run(bad, 2_000)[1] != run(bad, 2_000, seed=6)[1]


@pytest.mark.parametrize("wrong", [{"loss": 1.1}, {"burst": 0.5}, {"delay_ms": -1}, {"duplicate": -0.1}])
def test_what_cannot_be_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"share is|burst is"):
        Impairment(**wrong)


async def test_the_proxy_carries_both_ways_for_each_client_and_loses_what_it_is_told_to() -> None:
    loop = asyncio.get_running_loop()
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anna,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as boris,
    ):
        for one in (server, anna, boris):
            one.bind(("127.0.0.1", 0))
            one.setblocking(False)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            listen = free.getsockname()
        async with Proxy(listen, server.getsockname(), Impairment(), seed=3) as proxy, asyncio.timeout(5):
            anna.sendto(b"anna", listen)
            boris.sendto(b"boris", listen)
            seen = [await loop.sock_recvfrom(server, 100) for _ in range(2)]
            assert {data for data, _ in seen} == {b"anna", b"boris"}
            assert seen[0][1] != seen[1][1]
            for data, source in seen:
                server.sendto(data.upper(), source)
            assert await loop.sock_recvfrom(anna, 100) == (b"ANNA", listen)
            assert await loop.sock_recvfrom(boris, 100) == (b"BORIS", listen)
            proxy.impair(Impairment(loss=1.0), Impairment())
            for _ in range(10):
                anna.sendto(b"lost", listen)
            server.sendto(b"back", seen[0][1])
            while proxy.counts()["up_lost"] < 10:
                await asyncio.sleep(0)
            assert proxy.counts()["up_passed"] == 2
