"""The monitor: what happened after the jitter buffer becomes a score, honestly labelled, per interval and per call."""

import dataclasses
import random
from itertools import pairwise
from typing import Any

import pytest

from mediaserver.clock import VirtualClock
from mediaserver.errors import StaleHandle
from mediaserver.model import (
    CodecName,
    CodecParams,
    LegFacts,
    LegHandle,
    LegStats,
    Masked,
    StreamSettings,
)
from mediaserver.model_far import RemoteConcealment, RemoteXr
from mediaserver.model_news import ClientStats
from mediaserver.quality.far_end import FarEnd, figures_between
from mediaserver.quality.monitor import OnEnd, QualityMonitor
from mediaserver.quality.score import score_client, score_received, score_sent
from mediaserver.settings import QualitySettings
from mediaserver.store.quality import QualityEvent, QualityRow

STREAM = StreamSettings((CodecParams(CodecName.PCMU, 0, 8_000),), (CodecParams(CodecName.PCMU, 0, 8_000),), None)
SECOND = 1_000_000_000


def stats(**changes: Any) -> LegStats:
    values: dict[str, Any] = {f.name: 0 for f in dataclasses.fields(LegStats)}
    values |= {
        "codec": CodecName.PCMU,
        "source": None,
        "remote_xr": None,
        "remote_concealment": None,
        "relayed": False,
        "level_dbov": -30.0,
        "remote_loss_fraction": -1.0,
    }
    return LegStats(**(values | changes))


ZERO = stats()


def leg(number: int = 1) -> LegFacts:
    return LegFacts(str(number), LegHandle(number), "caller", Masked("100"), None, "s", 0, 0.0)


class Engine:
    def __init__(self) -> None:
        self.now: dict[LegHandle, LegStats] = {}

    def leg_stats(self, leg: LegHandle) -> LegStats:
        if leg not in self.now:
            raise StaleHandle("gone")
        return self.now[leg]


class Store:
    def __init__(self) -> None:
        self.rows: list[QualityRow] = []

    def put(self, row: QualityRow) -> bool:
        self.rows.append(row)
        return True

    def take(self) -> list[QualityRow]:
        rows, self.rows = self.rows, []
        return rows


class Desk:
    def __init__(self, interval_s: float = 5.0, on_end: OnEnd | None = None) -> None:
        self.engine, self.store, self.clock = Engine(), Store(), VirtualClock()
        self.seen: list[QualityRow] = []
        self.monitor = QualityMonitor(
            QualitySettings(interval_s=interval_s), self.engine, self.store, self.clock,  # type: ignore[arg-type]
            on_row=lambda row, _stats: self.seen.append(row), on_end=on_end,
        )  # fmt: skip

    def open(self, number: int = 1) -> LegFacts:
        facts = leg(number)
        self.engine.now[facts.handle] = ZERO
        self.monitor.leg_opened("c1", facts, STREAM)
        return facts

    def advance(self, seconds: float) -> list[QualityRow]:
        self.monitor.poll(self.clock.advance(round(seconds * SECOND)))
        return self.store.take()


def test_a_clean_leg_scores_the_model_at_its_delay() -> None:
    after = stats(packets_expected=250, packets_received=250, frames_played=250, buffer_delay_ns=40_000_000,
                  round_trip_ns=60_000_000)  # fmt: skip
    score = score_received(ZERO, after, 20)
    assert score is not None
    assert score.delay_ms == 40 + 20 + 30
    assert score.mos == pytest.approx(4.36, abs=0.01)
    assert (score.scale, score.basis, score.missing, score.codec, score.codec_row) == (
        "nb",
        "G.113",
        (),
        "PCMU",
        "G.711+PLC",
    )


def test_loss_is_lost_and_late_over_expected_and_bursts_need_two() -> None:
    after = stats(packets_expected=1_000, packets_lost=30, packets_late=20, loss_events=10, loss_event_packets=50)
    score = score_received(ZERO, after, 20)
    assert score is not None
    assert (score.loss, score.late) == (0.05, 0.02)
    assert score.burst_ratio == pytest.approx(5 * 0.95)
    assert score.missing == ("rtt",)
    single = score_received(ZERO, dataclasses.replace(after, loss_events=1, loss_event_packets=5), 20)
    assert single is not None
    assert single.burst_ratio == 1.0
    assert single.missing == ("rtt", "burst")
    assert single.mos > score.mos


def test_an_interval_is_a_difference_not_the_sum_since_the_start() -> None:
    before = stats(packets_expected=1_000, packets_lost=500, loss_events=9, loss_event_packets=500)
    after = dataclasses.replace(before, packets_expected=1_250)
    score = score_received(before, after, 20)
    assert score is not None
    assert score.loss == 0
    assert score.mos > 4.3


def test_a_packet_that_was_judged_lost_and_then_came_late_counts_once() -> None:
    before = stats(packets_expected=100, packets_lost=5)
    after = dataclasses.replace(before, packets_expected=200, packets_lost=4, packets_late=1)
    score = score_received(before, after, 20)
    assert score is not None
    assert score.loss == 0


def test_a_silent_leg_has_no_score_instead_of_a_perfect_one() -> None:
    assert score_received(ZERO, stats(frames_played=250), 20) is None


def test_what_the_far_end_heard_is_known_only_from_its_reports() -> None:
    assert score_sent(ZERO, stats(packets_sent=250), 20, CodecName.PCMU) is None
    reported = stats(packets_sent=500, remote_loss_fraction=0.1, remote_jitter_ns=5_000_000, round_trip_ns=20_000_000)
    interval = score_sent(stats(packets_sent=250), reported, 20, CodecName.PCMA)
    assert interval is not None
    assert interval.loss == 0.1
    assert interval.codec == "PCMA"  # what we send, not what we receive
    assert {"remote_buffer", "remote_discard", "burst"} <= set(interval.missing)
    call = score_sent(ZERO, dataclasses.replace(reported, remote_packets_lost=5), 20, CodecName.PCMA)
    assert call is not None
    assert call.loss == 0.01  # over the call the cumulative count


@pytest.mark.parametrize(
    ("codec", "basis", "lacks"),
    [(CodecName.OPUS, "measured", ""), (CodecName.G722, "measured", ""), (CodecName.L16, "provisional", ""),
     (None, "none", "codec")],
)  # fmt: skip
def test_a_score_says_on_whose_word_its_factors_stand(codec: CodecName | None, basis: str, lacks: str) -> None:
    score = score_received(ZERO, stats(packets_expected=250, codec=codec, round_trip_ns=1_000_000), 20)
    assert score is not None
    assert score.basis == basis
    assert score.missing == ((lacks,) if lacks else ())


def test_wideband_codecs_are_rated_on_the_wideband_scale_and_fec_has_its_own_row() -> None:
    after = stats(packets_expected=250, codec=CodecName.OPUS)
    plain, fec = score_received(ZERO, after, 20), score_received(ZERO, after, 20, fec=True)
    assert plain is not None
    assert fec is not None
    assert (plain.scale, plain.model, plain.codec_row) == ("wb", "G.107.1 (06/2019)", "Opus 24 kbit/s")
    assert fec.codec_row == "Opus 24 kbit/s+FEC"
    lossy = dataclasses.replace(after, packets_lost=12, loss_events=12, loss_event_packets=12)
    assert score_received(ZERO, lossy, 20).mos < score_received(ZERO, lossy, 20, fec=True).mos  # type: ignore[union-attr]


def test_what_came_is_rated_with_fec_while_its_packets_carry_some() -> None:
    desk = Desk()
    facts = desk.open()
    rows = []
    for second, carried in ((5, 0), (10, 90), (15, 100), (20, 190)):
        desk.engine.now[facts.handle] = stats(
            at_ns=second * SECOND,
            codec=CodecName.OPUS,
            packets_expected=50 * second,
            packets_received=50 * second,
            packets_fec=carried,
        )
        rows += [row for row in desk.advance(5) if row.direction == "received"]
    assert [row.codec_row.endswith("+FEC") for row in rows] == [False, True, False, True]
    assert rows[0].mos > rows[1].mos


def test_what_is_relayed_to_it_is_rated_with_the_fec_that_the_other_party_put_in() -> None:
    desk = Desk()
    facts = desk.open()
    desk.monitor._watched[facts.handle].sends = CodecName.OPUS
    rows = []
    for second, carried in ((5, 0), (10, 90)):
        desk.engine.now[facts.handle] = stats(
            at_ns=second * SECOND,
            packets_sent=50 * second,
            remote_loss_fraction=0.05,
            remote_reports=second,
            packets_fec_relayed=carried,
        )
        rows += desk.advance(5)
    desk.monitor.client_stats("c1", facts, ClientStats(concealed=0.0, loss_received=0.05))
    rows += desk.store.take()
    assert [(row.direction, row.codec_row.endswith("+FEC")) for row in rows] == [
        ("sent", False),
        ("sent", True),
        ("client", True),
    ]


def test_the_costs_of_all_causes_add_up_to_what_the_score_lacks() -> None:
    after = stats(packets_expected=250, packets_lost=10, packets_late=6, loss_events=4, loss_event_packets=16,
                  buffer_delay_ns=200_000_000, round_trip_ns=100_000_000)  # fmt: skip
    score = score_received(ZERO, after, 20)
    assert score is not None
    costs = score.costs
    assert min(costs.loss, costs.late, costs.burst, costs.delay) > 0
    assert costs.codec + costs.loss + costs.late + costs.burst + costs.delay == pytest.approx(
        93.2062 - score.r, abs=1e-3
    )
    assert score.mos_listening > score.mos


def test_one_hole_of_400_ms_in_ten_minutes_is_seen_in_its_interval() -> None:
    """Twenty packets in a row: the call's mean hardly moves, the worst interval and the dropout say it."""
    for codec in (CodecName.PCMU, CodecName.G722, CodecName.OPUS):
        before = stats(packets_expected=15_000, codec=codec)
        hole = dataclasses.replace(before, packets_expected=15_250, packets_lost=20, loss_events=1,
                                   loss_event_packets=20, dropouts=1, dropout_ns=400_000_000)  # fmt: skip
        interval, call = score_received(before, hole, 20), score_received(ZERO, hole, 20)
        clean = score_received(ZERO, before, 20)
        assert interval is not None
        assert call is not None
        assert clean is not None
        assert interval.dropout_ms == call.dropout_ms == 400
        assert interval.mos < 3.6
        assert call.mos > clean.mos - 0.1


def test_what_a_phone_reports_by_extended_reports_fills_the_gaps_of_plain_ones() -> None:
    told = RemoteXr(0.04, 0.04, 0.5, 0.01, 200, 5_000, 90, 60, 70, 3.7, 3.6)
    reported = stats(packets_sent=500, remote_loss_fraction=0.04, remote_xr=told, round_trip_ns=20_000_000)
    before = stats(packets_sent=250)
    score = score_sent(before, reported, 20, CodecName.PCMU, far=figures_between(before, reported))
    assert score is not None
    assert score.missing == ()
    assert (score.loss, score.late) == (0.08, 0.04)
    assert score.burst_ratio == pytest.approx(5 * 0.92)
    assert score.delay_ms == 60 + 20 + 10


def made_up(on_time_ms: int, concealed_ms: int, concealed_s: int, severe_s: int) -> RemoteConcealment:
    return RemoteConcealment(on_time_ms, concealed_ms, 0, 9, on_time_ms // 1_000, concealed_s, severe_s)


def test_what_the_far_end_made_up_stands_in_the_interval_in_which_it_did() -> None:
    """RFC 7294: what came too late for it is what it made up beyond the loss on the way."""
    before = stats(packets_sent=15_000, remote_loss_fraction=0.0, remote_concealment=made_up(299_000, 1_000, 3, 0))
    after = stats(packets_sent=15_250, remote_loss_fraction=0.02, remote_concealment=made_up(303_500, 1_500, 6, 2))
    far = figures_between(before, after)
    score = score_sent(before, after, 20, CodecName.PCMU, far=far)
    assert score is not None
    assert (score.concealed, score.concealed_s, score.severe_s) == (0.1, 3, 2)
    assert (score.loss, score.late) == (pytest.approx(0.1), pytest.approx(0.08))
    assert "remote_discard" not in score.missing
    quiet = score_sent(before, after, 20, CodecName.PCMU)
    assert quiet is not None
    assert (quiet.concealed, quiet.concealed_s) == (0.02, None)
    assert "remote_discard" in quiet.missing


def test_an_interval_without_a_report_keeps_the_last_share_and_no_seconds() -> None:
    far, told = FarEnd(), [None, made_up(4_500, 500, 2, 1), made_up(4_500, 500, 2, 1), made_up(9_500, 500, 2, 1)]
    seen = [stats(remote_concealment=each) for each in told]
    got = [far.interval(before, after) for before, after in pairwise(seen)]
    assert [each.made_up for each in got] == [0.1, 0.1, 0.0]
    assert [(each.concealed_s, each.severe_s) for each in got] == [(2, 1), (None, None), (0, 0)]


def test_our_own_seconds_stand_beside_theirs() -> None:
    before = stats(packets_expected=250, seconds_concealed=1)
    after = stats(packets_expected=500, packets_lost=25, seconds_concealed=4, seconds_severe=2)
    score = score_received(before, after, 20)
    assert score is not None
    assert (score.concealed_s, score.severe_s) == (3, 2)


def test_a_page_that_hears_well_scores_the_codecs_best_and_says_what_it_lacks() -> None:
    score = score_client(ClientStats(concealed=0.0, rtt_ms=40.0, jitter_ms=3.0), CodecName.PCMU, 20)
    assert score is not None
    assert score.mos == pytest.approx(4.4, abs=0.05)
    assert (score.rtt_ms, score.jitter_ms, score.delay_ms) == (40.0, 3.0, 20 + 20 + 40)
    assert score.missing == ("remote_buffer",)
    blind = score_client(ClientStats(loss_received=0.0), None, 20)
    assert blind is not None
    assert set(blind.missing) == {"rtt", "remote_buffer", "codec"}


def test_what_a_page_made_up_counts_as_lost_and_beyond_the_loss_as_late() -> None:
    score = score_client(ClientStats(concealed=0.05, loss_received=0.02), CodecName.PCMU, 20)
    assert score is not None
    assert (score.loss, score.late) == (0.05, pytest.approx(0.03))
    only_lost = score_client(ClientStats(loss_received=0.05), CodecName.PCMU, 20)
    clean = score_client(ClientStats(loss_received=0.0), CodecName.PCMU, 20)
    assert only_lost is not None
    assert clean is not None
    assert only_lost.late == 0
    assert only_lost.mos < clean.mos - 0.3
    assert score_client(ClientStats(rtt_ms=20.0), CodecName.PCMU, 20) is None


def test_whatever_a_page_says_its_score_stays_on_the_scale() -> None:
    draw = random.Random(7)
    values = (None, 0.0, -1.0, 1.0, 2.0, 1e300, -1e300, 5e-324)
    for _ in range(2_000):
        told = ClientStats(
            rtt_ms=draw.choice(values),
            jitter_ms=draw.choice(values),
            loss_received=draw.choice(values),
            concealed=draw.choice(values),
        )
        score = score_client(told, draw.choice((None, *CodecName)), 20)
        if score is not None:
            assert 1.0 <= score.mos <= 4.5
            assert 0 <= score.loss <= 1
            assert 0 <= score.jitter_ms <= 5_000


def test_absurd_counters_never_leave_the_scale() -> None:
    draw = random.Random(3611)
    for _ in range(3_000):

        def absurd(before: LegStats) -> LegStats:
            wild = {
                name: draw.choice((0, 1, -1, 10**18, -(10**18), draw.randrange(-1_000, 1_000)))
                for name in ("packets_expected", "packets_lost", "packets_late", "packets_sent", "loss_events",
                             "loss_event_packets", "frames_played", "frames_concealed", "jitter_ns", "buffer_delay_ns",
                             "round_trip_ns", "remote_packets_lost", "remote_jitter_ns")
            }  # fmt: skip
            fraction = draw.choice((-1.0, 0.0, 255.0, float("nan"), float("inf")))
            told = draw.choice((None, RemoteXr(9.0, -3.0, 1e9, 0, 65_535, 0, 65_535, 65_535, None, None, None)))
            return dataclasses.replace(before, **wild, remote_loss_fraction=fraction, remote_xr=told)

        before, after = absurd(ZERO), absurd(ZERO)
        far = FarEnd()
        for score in (
            score_received(before, after, 20),
            score_sent(before, after, 20, None, far=figures_between(before, after)),
            score_sent(before, after, 20, None, far=far.interval(before, after)),
        ):
            if score is not None:
                assert 1.0 <= score.mos <= 4.5
                assert 0 <= score.loss <= 1
                assert 0 <= score.concealed <= 1


def test_each_leg_is_scored_every_interval_on_its_own_grid() -> None:
    desk = Desk()
    first = desk.open(1)
    assert desk.advance(2) == []
    desk.open(2)
    desk.engine.now[first.handle] = stats(packets_expected=250)
    (row,) = desk.advance(3)
    assert (row.leg_id, row.direction, row.length_ms, row.whole_call) == ("1", "received", 5_000, 0)
    assert desk.advance(1.9) == []  # the second leg is due in 0.1 s, and silent anyway
    desk.engine.now[first.handle] = stats(packets_expected=500, packets_lost=50)
    (row,) = desk.advance(3.1)
    assert row.loss == 0.2
    assert row.start_ms - desk.seen[0].start_ms == 5_000


def test_the_call_gets_its_mean_and_its_worst_interval() -> None:
    desk = Desk()
    facts = desk.open()
    desk.engine.now[facts.handle] = stats(packets_expected=250)
    desk.advance(5)
    bad = stats(packets_expected=500, packets_lost=50, loss_events=20, loss_event_packets=50)
    desk.engine.now[facts.handle] = bad
    desk.advance(5)
    desk.clock.advance(SECOND // 10)
    desk.monitor.leg_closed("c1", facts, dataclasses.replace(bad, packets_expected=1_000))
    rows = desk.store.take()
    (call,) = [row for row in rows if row.whole_call]
    assert call.loss == 0.05
    assert call.mos_worst < call.mos
    assert call.length_ms == 10_100
    assert desk.monitor.live("c1") == {}
    assert desk.advance(60) == []  # nothing is scored after the end


def test_the_rest_of_the_last_interval_is_scored_if_it_is_worth_it() -> None:
    desk = Desk()
    facts = desk.open()
    desk.clock.advance(3 * SECOND)
    desk.monitor.leg_closed("c1", facts, stats(packets_expected=150))
    assert [row.whole_call for row in desk.store.take()] == [0, 1]


def test_a_leg_that_the_engine_lost_costs_nobody_anything() -> None:
    desk = Desk()
    facts, other = desk.open(1), desk.open(2)
    del desk.engine.now[facts.handle]
    desk.engine.now[other.handle] = stats(packets_expected=250)
    assert [row.leg_id for row in desk.advance(5)] == ["2"]
    desk.monitor.leg_closed("c1", facts, None)
    desk.monitor.leg_closed("c1", facts, None)
    desk.monitor.leg_opened("c2", leg(9), STREAM)  # closed before we looked
    desk.monitor.leg_closed("c2", leg(9), None)


def test_pages_see_the_last_interval_of_a_running_leg() -> None:
    desk = Desk()
    facts = desk.open()
    assert desk.monitor.live("c1") == {}
    desk.engine.now[facts.handle] = stats(packets_expected=250, packets_lost=25, round_trip_ns=80_000_000)
    desk.advance(5)
    live = desk.monitor.live("c1")["1"]
    assert live.mos_received is not None
    assert live.mos_received < 4
    assert (live.mos_sent, live.loss_fraction, live.round_trip_ms, live.scale) == (None, 0.1, 80.0, "nb")
    desk.engine.now[facts.handle] = stats(packets_expected=500, packets_lost=25, round_trip_ns=80_000_000)
    desk.advance(5)
    better = desk.monitor.live("c1")["1"]
    assert better.mos_received is not None
    assert better.mos_received > live.mos_received
    assert better.mos_worst == live.mos_worst == live.mos_received  # the bad one stays in sight


def test_a_line_that_hums_or_echoes_is_told_once_a_call() -> None:
    desk = Desk()
    told: list[QualityEvent] = []
    desk.store.put_event = told.append  # type: ignore[attr-defined]
    facts = desk.open()
    desk.engine.now[facts.handle] = stats(packets_expected=250, hum_hz=50, hum_dbov=-40)
    desk.advance(5)
    desk.engine.now[facts.handle] = stats(packets_expected=500, hum_hz=50, echo_ms=120, echo_loss_db=18)
    desk.advance(5)
    desk.advance(5)
    assert [(event.kind, event.value) for event in told] == [("hum", 50.0), ("echo", 18.0)]


def test_a_cancelled_echo_is_told_once_a_call_when_it_was_worth_it() -> None:
    desk = Desk()
    told: list[QualityEvent] = []
    desk.store.put_event = told.append  # type: ignore[attr-defined]
    facts = desk.open()
    for removed_db in (0, 5, 16, 21):
        desk.engine.now[facts.handle] = stats(packets_expected=250, echo_removed_db=removed_db)
        desk.advance(5)
    assert [(event.kind, event.value) for event in told] == [("echo_cancelled", 16.0)]


def test_what_we_send_is_rated_with_fec_while_it_carries_some_and_its_coming_and_going_is_told() -> None:
    desk = Desk()
    told: list[QualityEvent] = []
    desk.store.put_event = told.append  # type: ignore[attr-defined]
    facts = desk.open()
    desk.monitor._watched[facts.handle].sends = CodecName.OPUS  # the desk's legs speak PCMU
    rows = []
    for second, on, reason in ((5, False, ""), (10, True, "loss"), (15, True, "loss"), (20, False, "red")):
        desk.engine.now[facts.handle] = stats(
            at_ns=second * SECOND,
            packets_sent=50 * second,
            remote_loss_fraction=0.05,
            remote_reports=second,
            fec_on=on,
            fec_reason=reason,
            fec_switches=1 + (reason == "red"),
            red_levels=2 * (reason == "red"),
        )
        rows += desk.advance(5)
    assert [row.codec_row.endswith("+FEC") for row in rows] == [False, True, True, False]
    assert [(e.kind, e.value, e.detail.get("reason")) for e in told] == [
        ("fec", 1.0, "loss"),
        ("fec", 0.0, "red"),
        ("red", 2.0, None),
    ]
    assert told[0].detail["loss"] == 0.05


def test_a_sender_that_stops_is_dead_air_in_its_intervals_and_one_event() -> None:
    """Thirty seconds of nothing in mid-call, on a leg that may not pause: no packets, so nothing was lost either."""
    desk = Desk()
    told: list[QualityEvent] = []
    desk.store.put_event = told.append  # type: ignore[attr-defined]
    facts = desk.open()
    rows = []
    for second in range(5, 65, 5):
        heard = 250 * min(second, 15) // 5 + 250 * max(0, second - 45) // 5
        unheard = min(max(0, second - 15), 30) * SECOND
        desk.engine.now[facts.handle] = stats(
            at_ns=second * SECOND, packets_expected=heard, packets_received=heard, packets_sent=50 * second,
            frames_played=heard, unheard_ns=unheard,
        )  # fmt: skip
        rows += desk.advance(5)
    assert [row.cause for row in rows] == [""] * 3 + ["dead_air"] * 6 + [""] * 3
    assert {row.mos for row in rows[3:9]} == {1.0}
    assert rows[3].cost_dead_air > 85
    (event,) = told
    assert (event.kind, event.value, event.start_ms) == ("dead_air", 30_000.0, rows[3].start_ms)
    call = score_received(ZERO, desk.engine.now[facts.handle], 20, pauses=False)
    assert call is not None
    assert call.costs.dead_air == pytest.approx(0.5 * (call.r + call.costs.dead_air), abs=0.01)


def test_a_pause_that_was_agreed_on_is_no_dead_air() -> None:
    silent = stats(at_ns=5 * SECOND, unheard_ns=5 * SECOND)
    assert score_received(ZERO, silent, 20, pauses=True) is None
    dead = score_received(ZERO, silent, 20, pauses=False)
    assert dead is not None
    assert (dead.mos, dead.costs.worst, dead.loss) == (1.0, "dead_air", 0.0)


@pytest.mark.parametrize("peer_has_it", [False, True])
def test_comfort_noise_that_only_we_have_offered_is_not_agreed_on(peer_has_it: bool) -> None:
    desk = Desk()
    facts = desk.open()
    noise = CodecParams(CodecName.CN, 13, 8_000)
    send = (*STREAM.send, noise) if peer_has_it else STREAM.send
    desk.monitor.leg_changed("c1", facts, dataclasses.replace(STREAM, send=send, receive=(*STREAM.receive, noise)))
    desk.engine.now[facts.handle] = stats(at_ns=5 * SECOND, unheard_ns=5 * SECOND)
    assert [row.cause for row in desk.advance(5)] == ([] if peer_has_it else ["dead_air"])


def test_what_the_far_end_said_half_a_minute_ago_says_nothing_of_now() -> None:
    """Its reports stop (its way back broke, it hung): what it hears is not known, rather than perfect for ever."""
    desk = Desk()
    facts = desk.open()
    scored = []
    for second in range(5, 95, 5):
        reports = min(second // 5, 4) + max(0, second // 5 - 16)
        desk.engine.now[facts.handle] = stats(
            at_ns=second * SECOND,
            packets_sent=50 * second,
            packets_received=1,
            remote_loss_fraction=0.0,
            remote_reports=reports,
        )
        scored.append([row.direction for row in desk.advance(5)])
    assert scored == [["sent"]] * 10 + [[]] * 6 + [["sent"]] * 2


def test_audio_in_one_direction_is_told_while_the_call_goes_on_and_once() -> None:
    desk = Desk()
    told: list[QualityEvent] = []
    desk.store.put_event = told.append  # type: ignore[attr-defined]
    facts = desk.open()
    for second in range(5, 45, 5):
        desk.engine.now[facts.handle] = stats(at_ns=second * SECOND, packets_sent=50 * second)
        desk.advance(5)
        assert ("1" in desk.monitor.live("c1")) == (second >= 30)
    assert desk.monitor.live("c1")["1"].cause == "one_way"
    desk.monitor.leg_closed("c1", facts, desk.engine.now[facts.handle])
    assert [event.kind for event in told] == ["one_way"]


def test_a_thousand_legs_are_never_scored_in_one_turn() -> None:
    desk = Desk()
    for number in range(1, 1_001):
        facts = desk.open(number)
        desk.engine.now[facts.handle] = stats(packets_expected=250)
    turns = [len(desk.advance(5))] + [len(desk.advance(0.1)) for _ in range(12)]
    assert max(turns) <= 100
    assert sum(turns) == 1_000


def test_metrics_that_raise_cost_no_score() -> None:
    desk = Desk()

    def broken(_row: QualityRow, _stats: LegStats | None) -> None:
        raise RuntimeError("no such label")

    desk.monitor._on_row = broken
    facts = desk.open()
    desk.engine.now[facts.handle] = stats(packets_expected=250)
    assert len(desk.advance(5)) == 1
