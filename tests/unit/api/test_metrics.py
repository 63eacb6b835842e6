"""/metrics: every counter is shown, no label is a peer's choice, promtool finds nothing to say."""

import ast
import dataclasses
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

from mediaserver import app_facade
from mediaserver.api.facade import ServerCounters
from mediaserver.api.metrics import ENGINE_METRICS, ENGINE_NOT_SHOWN, SIP_METRICS, Metrics, codec_label
from mediaserver.api.recording_metrics import RECORDING_FAILURES
from mediaserver.api.webhooks import WebhookStats
from mediaserver.limits import METRICS_LEGS_MAX
from mediaserver.model import EngineStats, LegHandle, LegStats
from mediaserver.recording.cabinet import StorageStats
from mediaserver.recording.durable import REASONS
from mediaserver.sip.counters import SipCounters
from tests.unit.api.fake_facade import score
from tests.unit.quality.test_monitor import Desk
from tests.unit.quality.test_monitor import stats as leg_stats


def engine() -> EngineStats:
    return EngineStats(**{field.name: 7 for field in dataclasses.fields(EngineStats)})


def leg(**changed: int) -> LegStats:
    values = {field.name: 0 for field in dataclasses.fields(LegStats)}
    return LegStats(
        **{
            **values,
            "leg": LegHandle(1),
            "codec": None,
            "source": None,
            "remote_xr": None,
            "remote_concealment": None,
            **changed,
        }
    )  # type: ignore[arg-type]


def full() -> ServerCounters:
    sip = SipCounters()
    sip.requests_in["INVITE"] = 3
    sip.timeouts["B"] = 1
    return ServerCounters(
        engine=engine(),
        sip=sip,
        calls_ended={"remote": 2},
        calls_refused={"no_port": 1},
        sip_authentications={"accepted": 9},
        recording_failures={"disk_full": 1},
        recording_fsyncs=((0.001, 3), (0.005, 0), (float("inf"), 1)),
        recording_spool_bytes=700,
        recording_spool_room_bytes=300,
        events=WebhookStats(delivered=6),
        storage=StorageStats(moved=2, bytes_sent=512, errors=Counter(refused=3)),
        storage_counts={"remote": 5},
        recording_fsync_s=0.1,
        consent_transitions={("unknown", "notice_playing"): 4},
        consent_blocked_s=2.5,
        recording_gaps_s={"paused": 7.0, "joiner": 1.0},
    )


def text(metrics: Metrics, counters: ServerCounters | None = None) -> str:
    return metrics.render(counters or ServerCounters()).decode()


def test_every_field_of_the_engines_and_sips_counters_has_its_metric() -> None:
    assert set(ENGINE_METRICS) | ENGINE_NOT_SHOWN >= {field.name for field in dataclasses.fields(EngineStats)}
    assert set(SIP_METRICS) == {field.name for field in dataclasses.fields(SipCounters)}


def test_every_counter_that_is_shown_is_filled_by_the_server() -> None:
    """Two were shown and always zero: what only the spool has, and notices that failed."""
    tree = ast.parse(Path(app_facade.__file__).read_text())
    (made,) = (
        call
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "ServerCounters"
    )
    assert {keyword.arg for keyword in made.keywords} == {field.name for field in dataclasses.fields(ServerCounters)}


def test_what_a_rule_waits_for_is_shown_before_it_happens_for_the_first_time() -> None:
    """A series that is born with its first failure has grown by nothing: `increase` is 0 and nobody is woken."""
    reasons = set(REASONS.values())
    for path in (Path(app_facade.__file__).parent / "recording").glob("*.py"):
        for counted, failed in re.findall(r'failures\["(\w+)"\]|_fail\(.*?"(\w+)"', path.read_text()):
            reasons.add(counted or failed)
    assert reasons == set(RECORDING_FAILURES)
    shown = text(Metrics())
    assert all(f'recording_failures_total{{reason="{reason}"}} 0.0' in shown for reason in reasons)
    assert 'mediaserver_calls_ended_total{cause="no_media"} 0.0' in shown
    assert 'media_interval_bad_ratio_count{dir="sent"} 0.0' in shown
    assert "media_one_way_audio_total 0.0" in shown


def test_counters_are_shown_with_their_units() -> None:
    shown = text(Metrics(), full())
    assert 'mediaserver_sip_requests_in_total{method="INVITE"} 3.0' in shown
    assert "mediaserver_media_packets_received_total 7.0" in shown
    assert "mediaserver_media_cpu_seconds_total 7e-09" in shown
    assert "recording_fsync_seconds_count 4.0" in shown
    assert "recording_fsync_seconds_sum 0.1" in shown
    assert 'recording_fsync_seconds_bucket{le="0.005"} 3.0' in shown
    assert "recording_spool_capacity_bytes 1000.0" in shown
    assert 'mediaserver_calls_ended_total{cause="remote"} 2.0' in shown
    assert 'mediaserver_events_total{result="delivered"} 6.0' in shown
    assert "consent_blocked_audio_seconds_total 2.5" in shown
    assert 'recording_gap_seconds_total{reason="paused"} 7.0' in shown
    assert 'recording_storage_recordings{storage="remote"} 5.0' in shown
    assert 'recording_storage_errors_total{reason="refused"} 3.0' in shown
    assert "recording_storage_sent_bytes_total 512.0" in shown
    assert 'consent_state_transitions_total{from="unknown",to="notice_playing"} 4.0' in shown


def test_a_score_is_observed_in_its_window() -> None:
    metrics = Metrics()
    metrics.observe_quality(score(4.2, missing="rtt"))
    shown = text(metrics)
    labels = 'basis="playout",codec="opus",dir="received",scale="nb",window="interval"'
    assert f"media_mos_count{{{labels}}} 1.0" in shown
    assert 'mos_input_missing_total{input="rtt"} 1.0' in shown
    assert "media_rtt_seconds_sum 0.04" in shown
    assert 'media_rtp_loss_ratio_sum{codec="opus",dir="received"} 0.01' in shown


def test_at_the_end_the_share_of_bad_intervals_is_told_once() -> None:
    metrics = Metrics()
    for mos in (4.2, 3.0, 4.1, 3.5):
        metrics.observe_quality(score(mos))
    metrics.observe_quality(score(3.7, whole_call=True), leg(loss_events=2, loss_event_packets=6))
    shown = text(metrics)
    assert 'media_interval_bad_ratio_sum{dir="received"} 0.5' in shown
    assert "media_burst_length_packets_sum 3.0" in shown
    assert "media_one_way_audio_total 0.0" in shown


def test_a_leg_that_never_sent_anything_is_one_way_audio() -> None:
    """It has no score of what was received, so it is not by its rows that it is counted."""
    metrics, desk = Metrics(), Desk(on_end=lambda _trunk, one_way: metrics.leg_ended(one_way))
    desk.store.put_event = lambda event: True  # type: ignore[attr-defined]
    for sent, received in ((1_000, 0), (10, 0), (1_000, 1_000)):
        facts = desk.open()
        desk.monitor.leg_closed("c1", facts, leg_stats(packets_sent=sent, packets_received=received))
    assert [row.direction for row in desk.store.rows] == []
    assert "media_one_way_audio_total 1.0" in text(metrics)


def test_legs_whose_end_was_lost_do_not_pile_up() -> None:
    metrics = Metrics()
    for number in range(METRICS_LEGS_MAX + 5):
        metrics.observe_quality(dataclasses.replace(score(), call_id=str(number)))
    assert len(metrics._intervals) == METRICS_LEGS_MAX


def test_codec_labels_come_from_our_own_list() -> None:
    assert [codec_label(name) for name in ("opus/48000", "PCMU", "g722/8000", "evil\n", "")] == [
        "opus",
        "PCMU",
        "G722",
        "other",
        "none",
    ]


def test_promtool_finds_nothing_to_say() -> None:
    metrics = Metrics()
    metrics.observe_quality(score(missing="rtt"), leg())
    metrics.observe_quality(score(whole_call=True), leg(loss_events=1, loss_event_packets=1))
    promtool = shutil.which("promtool")
    assert promtool, "promtool comes with Debian's package prometheus; ./run test installs it"
    checked = subprocess.run(
        [promtool, "check", "metrics"], input=metrics.render(full()), capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
