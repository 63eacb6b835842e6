"""The E-model against its vectors, and the properties no score may break."""

import json
import math
import random
from pathlib import Path

import pytest

from mediaserver.quality.emodel import Parameters, burst_ratio, mos_from_r, rate
from mediaserver.quality.emodel_wide import mos_fullband, mos_wideband, rate_fullband, rate_wideband

VECTORS = Path(__file__).parents[2] / "vectors" / "emodel"
G107 = json.loads((VECTORS / "g107.json").read_text())
WIDE = json.loads((VECTORS / "wide.json").read_text())
TWO_DECIMALS = 0.005 + 1e-6
THREE_DECIMALS = 0.0005 + 1e-6


def test_every_term_of_the_default_connection_is_the_published_one() -> None:
    rating = rate(Parameters())
    for name, expected in G107["terms_at_defaults"].items():
        assert getattr(rating, name) == pytest.approx(expected, abs=1e-3 / 10), name
    assert rating.r == pytest.approx(93.2062077233, abs=1e-9)


@pytest.mark.parametrize("point", G107["delay"]["points"])
def test_delay_costs_what_the_model_says(point: dict[str, float]) -> None:
    t = point["t"]
    rating = rate(
        Parameters(t_ms=t, ta_ms=t, tr_ms=2 * t, s_t=point.get("s_t", 1.0), m_t_ms=point.get("m_t_ms", 100.0))
    )
    assert rating.r == pytest.approx(point["r"], abs=TWO_DECIMALS)
    if "mos" in point:
        assert rating.mos == pytest.approx(point["mos"], abs=THREE_DECIMALS)


@pytest.mark.parametrize(("ta_ms", "idd"), G107["idd"])
def test_pure_delay_impairment(ta_ms: float, idd: float) -> None:
    assert rate(Parameters(ta_ms=ta_ms)).idd == pytest.approx(idd, abs=TWO_DECIMALS)


@pytest.mark.parametrize(("telr", "r"), G107["echo_at_100ms"])
def test_talker_echo_at_100_ms(telr: float, r: float) -> None:
    assert rate(Parameters(t_ms=100, ta_ms=100, tr_ms=200, telr=telr)).r == pytest.approx(r, abs=0.05 + 1e-6)


@pytest.mark.parametrize("row", G107["loss"], ids=lambda row: row["codec"])
def test_random_loss_by_codec(row: dict[str, list[list[float]]]) -> None:
    for ppl, r in row["points"]:
        assert rate(Parameters(ie=row["ie"], bpl=row["bpl"], ppl=ppl)).r == pytest.approx(r, abs=TWO_DECIMALS)


@pytest.mark.parametrize(("ratio", "r"), G107["burst_at_5_percent_bpl_25.1"])
def test_bursts_cost_more_than_random_loss(ratio: float, r: float) -> None:
    assert rate(Parameters(bpl=25.1, ppl=5, burst_r=ratio)).r == pytest.approx(r, abs=TWO_DECIMALS)


@pytest.mark.parametrize(("r", "mos"), G107["mos_of_r"])
def test_r_becomes_mos(r: float, mos: float) -> None:
    assert mos_from_r(r) == pytest.approx(mos, abs=THREE_DECIMALS)


@pytest.mark.parametrize(("loss_percent", "mos"), G107["g711_plc_mos_by_loss_percent"])
def test_g711_with_concealment_scores_what_the_reference_table_says(loss_percent: float, mos: float) -> None:
    assert rate(Parameters(bpl=25.1, ppl=loss_percent)).mos == pytest.approx(mos, abs=TWO_DECIMALS)


def test_the_cubic_is_clipped_where_it_dips_under_one() -> None:
    assert [mos_from_r(r) for r in (-1e9, -5.0, 0.0, 3.0, 6.515)] == [1.0] * 5
    assert mos_from_r(6.6) > 1.0
    assert mos_from_r(100.0) == mos_from_r(1e9) == 4.5
    for bad in (math.nan, math.inf, -math.inf):
        with pytest.raises(ValueError, match="finite"):
            mos_from_r(bad)


@pytest.mark.parametrize(("ie", "r", "mos"), WIDE["ie_wb_to_r_and_mos"])
def test_wideband_conversion(ie: float, r: float, mos: float) -> None:
    rated = rate_wideband(0.0, 1.0, 0.0, ie, 4.3)
    assert rated == pytest.approx(r, abs=1e-9)
    assert mos_wideband(rated) == pytest.approx(mos, abs=1e-4)


def test_wideband_loss_keeps_the_narrowband_ceiling_of_95() -> None:
    row = WIDE["amr_wb_12_65_diotic_2_percent"]
    rated = rate_wideband(row["loss_percent"] / 100, 1.0, 0.0, row["ie"], row["bpl"])
    assert 129 - rated == pytest.approx(row["ie_eff"], abs=TWO_DECIMALS)
    assert mos_wideband(rated) == pytest.approx(row["mos"], abs=1e-4)


def test_fullband_costs_delay_on_its_own_scale() -> None:
    clean, delayed = rate_fullband(0.0, 1.0, 0.0, 0.0, 10.0), rate_fullband(0.0, 1.0, 300.0, 0.0, 10.0)
    assert clean == 148.0
    assert mos_fullband(clean) == 4.5
    assert clean - delayed == pytest.approx(1.48 * 14.76, abs=0.01)


def test_a_worse_connection_never_scores_better() -> None:
    draw = random.Random(107)
    for _ in range(10_000):
        loss, burst, delay = draw.uniform(0, 1), draw.uniform(1, 20), draw.uniform(0, 1_500)
        ie, bpl = draw.uniform(0, 60), draw.uniform(1, 40)

        def score(loss: float, burst: float, delay: float, ie: float = ie, bpl: float = bpl) -> float:
            p = Parameters(t_ms=delay, ta_ms=delay, tr_ms=2 * delay, ie=ie, bpl=bpl, ppl=100 * loss, burst_r=burst)
            rating = rate(p)
            assert math.isfinite(rating.r)
            assert 1.0 <= rating.mos <= 4.5
            return rating.r

        base = score(loss, burst, delay)
        assert score(min(1.0, loss + draw.uniform(0, 0.2)), burst, delay) <= base + 1e-9
        assert score(loss, burst + draw.uniform(0, 5), delay) <= base + 1e-9
        # Ist moves by under 0.01 R while the sidetone echo of T < 40 ms fades: the standard's own ripple.
        assert score(loss, burst, delay + draw.uniform(0, 300)) <= base + 0.01


@pytest.mark.parametrize(
    "wrong", [{"ppl": -1}, {"ppl": 101}, {"burst_r": 0.5}, {"burst_r": math.inf}, {"bpl": 0}, {"ta_ms": -1}, {"qdu": 0}]
)
def test_values_outside_the_model_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"ppl|burst_ratio|bpl|ta_ms|qdu"):
        rate(Parameters(**wrong))


def test_burst_ratio_is_one_for_random_loss_and_never_less() -> None:
    assert burst_ratio(0.05, 1 / 0.95) == pytest.approx(1.0)
    assert burst_ratio(0.05, 4.0) == pytest.approx(3.8)
    assert burst_ratio(0.5, 1.0) == 1.0
    assert burst_ratio(1.0, 50.0) == 1.0
