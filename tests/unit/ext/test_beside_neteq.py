"""The measuring stand of benchmarks/neteq.py, and three of its figures that must not be lost."""

import numpy as np
import pytest

from benchmarks.neteq import docs_table, judged, means, neteqs, ours, phase_of, rebuilt_ms, seeds_of, worse_on_both
from mediaserver.quality.emodel import mos_from_r
from tests.sim.networks import mean_delay_ms, networks, r_of, speech
from tests.sim.traces import steady


def test_the_delay_is_found_in_what_was_played() -> None:
    said = speech(8_000)
    played = np.concatenate([np.zeros(1_000, np.int16), said // 2, np.zeros(8_000, np.int16)])
    assert mean_delay_ms(said, played, 8_000) == pytest.approx(125.0, abs=0.2)


@pytest.mark.parametrize("r", [20.0, 55.5, 93.2])
def test_a_score_leads_back_to_its_rating(r: float) -> None:
    assert r_of(mos_from_r(r)) == pytest.approx(r, abs=0.01)


@pytest.mark.parametrize(
    ("network", "first_floor", "second_floor"),
    [("loss 3.35 %", 3.85, 3.85), ("loss 10.2 %", 2.95, 2.95), ("jitter half-normal 50", 3.8, 3.8)],
)
def test_g711_stays_where_it_got_ahead(network: str, first_floor: float, second_floor: float) -> None:
    figures = ours("PCMU", network)
    assert figures["pesq_first"] >= first_floor
    assert figures["pesq_second"] >= second_floor


@pytest.mark.parametrize(("codec", "network"), [("PCMU", "loss 10 % x1"), ("opus", "loss 20 % x1")])
def test_less_is_made_up_than_by_neteq_where_packets_are_lost_and_none_is_late(codec: str, network: str) -> None:
    assert ours(codec, network)["concealed"] < neteqs(codec)[network]["concealed"]


@pytest.mark.parametrize("codec", ["PCMU", "opus"])
def test_where_long_runs_are_lost_it_is_not_both_later_and_more_made_up(codec: str) -> None:
    assert not worse_on_both(ours(codec, "loss 3 % x8"), neteqs(codec)["loss 3 % x8"])


@pytest.mark.parametrize("codec", ["PCMU", "opus"])
def test_neteqs_figures_are_of_calls_that_the_machine_did_not_disturb(codec: str) -> None:
    for seed in seeds_of(codec):
        rows = neteqs(codec, seed)
        assert len(rows) >= 20
        assert all(row["sent_late_ms_max"] <= 6.0 for row in rows.values())
        assert all(row.get("waited_ms_max", 0.0) <= 5.0 for row in rows.values())
        assert all(0 <= row["delay_ms"] < 500 and 0 <= row["concealed"] < 0.4 for row in rows.values())


def test_each_seed_is_another_draw_of_what_can_be_drawn() -> None:
    sent = steady(950)
    drawn = [{name: tuple(network(sent)) for name, network in networks(seed).items()} for seed in range(3)]
    for name in set(drawn[0]) - {"clean", "slow clock 200 ppm", "fast clock 200 ppm"}:
        assert len({rows[name] for rows in drawn}) == 3, name
    assert len({phase_of(seed) for seed in range(3)}) == 3


def row(mos: float, **others: float) -> dict[str, float]:
    return {"mos_cq": mos, "mos_heard": 4.0, "pesq_first": 4.0, "pesq_second": 4.0} | others


def test_a_network_is_judged_by_the_means_over_its_seeds() -> None:
    """Ahead on two seeds by little and behind on one by much is behind."""
    ours_ = means([row(4.01, delay_ms=20.0, concealed=0.0), row(4.01, delay_ms=20.0, concealed=0.0), row(3.0, late=1)])
    neteq = means([row(4.0)] * 3)
    assert ours_["mos_cq"] == pytest.approx(3.6733, abs=1e-4)
    assert "late" not in ours_  # not every seed has it
    quiet = {"delay_ms": 20.0, "concealed": 0.01}
    counts = judged({"a": ours_ | quiet, "b": row(4.2) | quiet}, {"a": neteq | quiet, "b": row(4.1) | quiet})
    assert (counts["networks"], counts["ahead_by_concealment"], counts["worse_on_both"]) == (2, 1, 0)
    table = docs_table({"PCMU": counts | {"by_seed": {0: counts, 1: counts}}})
    assert "| PCMU, 2 networks, means of 2 seeds | **1** (50 %) | **0** (0 %) | 0 | 0 |" in table
    assert table.count("alone") == 2


def test_neteqs_delay_rebuilt_from_its_own_word_is_what_was_measured_in_its_sound() -> None:
    off = [row["delay_ms"] - rebuilt_ms("PCMU", name, row["own_delay_ms"]) for name, row in neteqs("PCMU").items()]
    assert len(off) >= 30
    assert 0 <= float(np.mean(off)) <= 3.0  # what our sender and its threads are late is in the sound alone
    assert float(np.std(off)) <= 5.0
    # What jitter itself delays is part of it: half-normal of 50 ms is 40 ms late on average.
    assert rebuilt_ms("opus", "jitter half-normal 50", 117.2) == pytest.approx(117.2 + 39.7 + 6.5, abs=1.0)
