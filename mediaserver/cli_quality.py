"""`mediaserver quality`: what calls sounded like, asked of the running server's store over its API."""

from __future__ import annotations

import time
from typing import Annotated, Any
from urllib.parse import quote, urlencode

import typer

from mediaserver.cli_common import ConfigOption, JsonOption, load_settings, show, told_as_text

app = typer.Typer(
    no_args_is_help=True,
    help="""How calls sounded, from the scores that are kept.

    [bold]mediaserver quality worst[/bold] shows the calls of the last day by their worst seconds;
    [bold]mediaserver quality call ID[/bold] shows one call by interval, with what cost most;
    [bold]mediaserver quality hours[/bold] shows the sums of each hour.""",
)
CallId = Annotated[str, typer.Argument(help="The call's id, as `mediaserver quality worst` shows it.")]
HoursOption = Annotated[float, typer.Option("--hours", min=0.1, max=2_208, help="How far to look back.")]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=500, help="How many calls at the most.")]
TrunkOption = Annotated[str | None, typer.Option("--trunk", help='Only this trunk\'s; "": only our own phones.')]
CallsOption = Annotated[bool, typer.Option("--sums", help="Only the rows that sum the call up.")]


@app.command("worst")
def worst(
    hours: HoursOption = 24.0, limit: LimitOption = 20, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Show calls by their worst interval, the worst first."""
    with told_as_text():
        calls = _ask(config, "worst", hours, limit=limit)["calls"]
        rows = calls if as_json else [{**_row(call), "call_id": call["call_id"]} for call in calls]
        columns = {
            "at": "Began",
            "call_id": "Call",
            "leg": "Leg",
            "direction": "Way",
            "mos_worst": "Worst MOS",
            "mos": "MOS",
            "scale": "Scale",
            "codec": "Codec",
            "cause": "Cause",
        }
        show(rows, columns, as_json=as_json, empty="no call ended in that time", whole=("call_id",))


@app.command("call")
def call(call_id: CallId, sums: CallsOption = False, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show one call's scores by leg, way and interval, and what happened in it."""
    with told_as_text():
        told = _request(config, f"/api/v1/quality/{quote(call_id, safe='')}")
        scores = [row for row in told["scores"] if row["whole_call"] or not sums]
        if as_json:
            show(scores, {}, as_json=True, empty="")
            return
        columns = {
            "at": "At",
            "length": "s",
            "leg": "Leg",
            "direction": "Way",
            "mos": "MOS",
            "scale": "Of",
            "loss_percent": "Loss",
            "late_percent": "Late",
            "concealed_percent": "Made up",
            "cause": "Cause",
        }
        scores.sort(key=lambda row: (row["leg"], row["direction"], row["whole_call"], row["start"]))
        show([_row(row, "%H:%M:%S") for row in scores], columns, as_json=False, empty="that call has no scores")
        if told["events"]:
            print()
            events = [{**event, "at": _clock(event["start"], "%H:%M:%S")} for event in told["events"]]
            show(events, {"at": "At", "leg": "Leg", "kind": "Event", "value": "Value"}, as_json=False)


@app.command("hours")
def by_hour(
    hours: HoursOption = 24.0, trunk: TrunkOption = None, config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Show what each full hour sounded like, by trunk, way, codec and scale."""
    with told_as_text():
        asked = {} if trunk is None else {"trunk": trunk}
        found = _ask(config, "hours", hours, **asked)["hours"]
        rows = found if as_json else [{**hour, "at": _clock(hour["start"])} for hour in found]
        columns = {
            "at": "Hour",
            "trunk": "Trunk",
            "direction": "Way",
            "codec": "Codec",
            "scale": "Scale",
            "intervals": "Intervals",
            "bad": "Bad",
            "mos_p5": "MOS p5",
            "mos_p50": "MOS p50",
            "mos_min": "Lowest",
        }
        show(rows, columns, as_json=as_json, empty="no hour of that time has been summed yet")


def _ask(config: Any, what: str, hours: float, **more: Any) -> Any:
    now_ms = round(time.time() * 1000)
    period = {"from_ms": round(now_ms - hours * 3_600_000), "until_ms": now_ms + 1}
    return _request(config, f"/api/v1/quality/{what}?{urlencode({**period, **more})}")


def _request(config: Any, path: str) -> Any:
    from mediaserver.cli_http import request

    return request(load_settings(config), "GET", path)


def _clock(at: float, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    return time.strftime(form, time.localtime(at))


def _row(score: dict[str, Any], form: str = "%Y-%m-%d %H:%M:%S") -> dict[str, Any]:
    return {
        **score,
        "at": _clock(score["start"], form),
        "length": "all" if score["whole_call"] else f"{score['length']:.0f}",
        "loss_percent": f"{100.0 * max(0.0, score['loss'] - score['late']):.1f} %",
        "late_percent": f"{100.0 * score['late']:.1f} %",
        "concealed_percent": f"{100.0 * score['concealed']:.1f} %",
    }
