"""`mediaserver quality`: the tables that come of what the server answers, and what it is asked."""

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner

from mediaserver import cli, cli_quality
from mediaserver.api import views
from mediaserver.store.quality import QualityEvent, QualityHour
from tests.unit.api.fake_facade import score

HOUR = QualityHour(1_790_000_000_000, "carrier", "received", "PCMU", "nb", 20, 2, 80.0, 2.1, 0.4, 2e3, 400.0,
                   {21: 2, 41: 18})  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    paths: list[str] = []

    def answer(config: Any, path: str) -> Any:
        paths.append(path)
        if "/hours" in path:
            return {"hours": [views.hour_json(HOUR)]}
        scores = [views.quality_json(score(2.1)), views.quality_json(score(4.0, whole_call=True))]
        if "/worst" in path:
            return {"calls": [{"call_id": "c-42", **scores[1]}]}
        event = QualityEvent("c-42", "1", 1_790_000_002_000, "dropout", 400.0)
        return {"scores": scores, "events": [views.event_json(event)]}

    monkeypatch.setattr(cli_quality, "_request", answer)
    monkeypatch.setenv("COLUMNS", "80")
    return paths


def told(*words: str) -> str:
    result = CliRunner().invoke(cli.app, ["quality", *words])
    assert result.exit_code == 0, result.output
    return result.output


def test_the_worst_calls_of_the_last_hours_are_a_table_and_json(asked: list[str]) -> None:
    shown = told("worst", "--hours", "3", "--limit", "7")
    assert "c-42" in shown
    assert "Worst MOS" in shown
    query = {name: int(values[0]) for name, values in parse_qs(urlsplit(asked[0]).query).items()}
    assert query["until_ms"] - query["from_ms"] == 3 * 3_600_000 + 1
    assert query["limit"] == 7
    (call,) = json.loads(told("worst", "--json"))
    assert (call["call_id"], call["mos"]) == ("c-42", 4.0)


def test_a_call_is_shown_by_interval_with_its_events_or_only_its_sums(asked: list[str]) -> None:
    shown = told("call", "c/42")
    assert asked == ["/api/v1/quality/c%2F42"]
    assert all(word in shown for word in ("2.1", "4.0", "all", "1.0 %", "dropout", "400"))
    assert [row["mos"] for row in json.loads(told("call", "c-42", "--sums", "--json"))] == [4.0]


def test_hours_are_asked_by_trunk(asked: list[str]) -> None:
    shown = told("hours", "--trunk", "carrier")
    assert parse_qs(urlsplit(asked[0]).query)["trunk"] == ["carrier"]
    assert all(word in shown for word in ("carrier", "PCMU", "20", "2.1"))
