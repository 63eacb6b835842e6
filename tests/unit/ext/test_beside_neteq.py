"""The measuring stand of benchmarks/neteq.py, and three of its figures that must not be lost."""

import numpy as np
import pytest

from benchmarks.neteq import neteqs, ours, rebuilt_ms, worse_on_both
from mediaserver.quality.emodel import mos_from_r
from tests.sim.networks import mean_delay_ms, r_of, speech


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


def test_neteqs_figures_are_of_calls_that_the_machine_did_not_disturb() -> None:
    for codec in ("PCMU", "opus"):
        rows = neteqs(codec)
        assert len(rows) >= 20
        assert all(row["sent_late_ms_max"] <= 6.0 for row in rows.values())
        assert all(0 <= row["delay_ms"] < 500 and 0 <= row["concealed"] < 0.4 for row in rows.values())


def test_neteqs_delay_rebuilt_from_its_own_word_is_what_was_measured_in_its_sound() -> None:
    off = [row["delay_ms"] - rebuilt_ms("PCMU", name, row["own_delay_ms"]) for name, row in neteqs("PCMU").items()]
    assert len(off) >= 30
    assert abs(float(np.mean(off))) <= 1.5
    assert float(np.std(off)) <= 5.0
    # What jitter itself delays is part of it: half-normal of 50 ms is 40 ms late on average.
    assert rebuilt_ms("opus", "jitter half-normal 50", 117.2) == pytest.approx(117.2 + 39.7 + 6.5, abs=1.0)
