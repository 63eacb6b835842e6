"""What ops read: names and bounds of /metrics, exemplars, rules that promtool runs, dashboards whose queries exist."""

import dataclasses
import json
import random
import re
import subprocess
from pathlib import Path

import pytest

from mediaserver.api.facade import ServerCounters
from mediaserver.api.metrics import CAUSES, SIP_METRICS, Metrics
from mediaserver.limits import METRICS_TRUNKS_MAX
from mediaserver.model import Cause, CodecName
from mediaserver.quality.factors import OPUS_FEC, ROWS, UNKNOWN
from mediaserver.sip.counters import SipCounters
from mediaserver.store.quality import QualityRow
from tests.unit.api.fake_facade import score
from tests.unit.api.test_metrics import full, leg, text

CONFIG = Path(__file__).parents[3] / "config"
DASHBOARDS = sorted((CONFIG / "grafana").glob("*.json"))
SERIES_MAX = 2_000


def row(mos: float = 4.0, **changes: object) -> QualityRow:
    return dataclasses.replace(score(mos), **changes)


def crowd() -> Metrics:
    """As many different scores as a busy node could ever see: every codec, more trunks than have labels."""
    metrics, draw = Metrics(), random.Random(1)
    factors = [(codec.value, ROWS.get(codec, UNKNOWN)) for codec in CodecName]
    factors += [(CodecName.OPUS.value, OPUS_FEC), ("", UNKNOWN), ("EVS", UNKNOWN)]
    for number in range(3_000):
        codec, made = factors[number % len(factors)]
        metrics.observe_quality(
            row(
                draw.uniform(1, 4.5), call_id=f"call{number}", leg_id=str(number % 7), codec=codec,
                scale=made.scale, basis=made.basis, direction=draw.choice(("received", "sent", "client")),
                trunk=f"trunk{number % 40}",
                whole_call=number % 2, missing=draw.choice(("", "rtt", "burst,codec", "remote_buffer,remote_discard")),
                dropout_ms=300.0, cost_clipping=1.0, cost_dead_air=2.0,
            ),
            leg(loss_events=2, loss_event_packets=6, packets_sent=1_000),
        )  # fmt: skip
    for whole in (0, 1):  # a leg from its first interval to its end
        metrics.observe_quality(row(3.0, call_id="last", whole_call=whole))
    return metrics


def everything() -> ServerCounters:
    """Every labelled counter of the server with something in it."""
    sip = SipCounters()
    for name, (_, label) in SIP_METRICS.items():
        if label:
            getattr(sip, name)["one"] = 1
    return dataclasses.replace(full(), sip=sip, calls_ended={cause.value: 1 for cause in Cause})


def samples(shown: str) -> list[str]:
    return [line for line in shown.splitlines() if line and not line.startswith("#")]


def test_there_are_never_more_than_two_thousand_series() -> None:
    assert len(samples(text(crowd(), everything()))) <= SERIES_MAX


def test_codecs_that_no_voice_is_scored_in_share_one_label() -> None:
    labels = set(re.findall(r'media_mos_count\{.*?codec="([^"]+)"', text(crowd())))
    assert labels == {"PCMU", "PCMA", "G722", "opus", "L16", "other", "none"}


def test_trunks_beyond_the_bound_share_one_label() -> None:
    trunks = set(re.findall(r'media_trunk_mos_count\{.*?trunk="([^"]+)"', text(crowd())))
    assert len(trunks) == METRICS_TRUNKS_MAX + 1
    assert "other" in trunks


def test_an_exemplar_names_the_call_in_openmetrics_only() -> None:
    metrics = Metrics()
    metrics.observe_quality(row(2.2, call_id="c-42"))
    shown = metrics.render_openmetrics(full()).decode()
    assert re.search(r'media_mos_bucket\{.*le="2.5".*\} 1.0 # \{call_id="c-42",leg="1"\} 2.2', shown)
    assert shown.endswith("# EOF\n")
    assert "c-42" not in text(metrics)


def test_what_causes_cost_is_seen_by_cause() -> None:
    metrics = Metrics()
    metrics.observe_quality(row(3.0, cost_loss=12.0, cost_delay=4.0, dropout_ms=400.0, length_ms=5_000))
    shown = text(metrics)
    assert 'media_cost_points_sum{cause="loss"} 12.0' in shown
    assert all(f'media_cost_points_count{{cause="{cause}"}} 1.0' in shown for cause in CAUSES)
    assert "media_dropouts_total 1.0" in shown


def test_what_a_page_measured_itself_is_not_counted_twice() -> None:
    metrics = Metrics()
    metrics.observe_quality(row(3.0, direction="client"))
    assert "media_mos_count" not in text(metrics)


def test_the_rules_do_what_they_say() -> None:
    for command in (["promtool", "check", "rules", "rules.yml"], ["promtool", "test", "rules", "rules.test.yml"]):
        done = subprocess.run(command, cwd=CONFIG / "prometheus", capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def names() -> set[str]:
    """Every metric of a full server, as Prometheus stores it."""
    return {re.split(r"[{ ]", line)[0] for line in samples(text(crowd(), everything()))}


def used(expression: str) -> set[str]:
    found = set(re.findall(r"\b((?:media|mediaserver|recording|consent|mos|process)_[a-z0-9_]+)\b(?!=)", expression))
    return {name for name in found if not re.search(rf"\b{name}\s*=~?\"", expression)}


def test_every_rule_reads_metrics_that_exist() -> None:
    rules = (CONFIG / "prometheus" / "rules.yml").read_text()
    expressions = re.findall(r"^\s+expr: (.*)$", rules, re.MULTILINE)
    assert len(expressions) == 15
    assert set().union(*map(used, expressions)) <= names()


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_whole_and_every_query_reads_metrics_that_exist(path: Path) -> None:
    board = json.loads(path.read_text())
    assert board["uid"] == path.stem
    assert {"title", "panels", "schemaVersion", "templating", "time"} <= set(board)
    source = board["templating"]["list"][0]
    assert (source["type"], source["query"]) == ("datasource", "prometheus")
    places: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        assert (place["x"], place["y"]) not in places
        places.add((place["x"], place["y"]))
        assert panel["targets"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${source}"
            assert used(target["expr"]), target["expr"]
            assert used(target["expr"]) <= names(), used(target["expr"]) - names()
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_there_are_three_dashboards() -> None:
    assert [path.stem for path in DASHBOARDS] == [
        "mediaserver-overview",
        "mediaserver-quality",
        "mediaserver-recording",
    ]
