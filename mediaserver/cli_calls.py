"""`mediaserver calls`: what is going on now, asked of the running server over its API."""

from __future__ import annotations

import time
from typing import Annotated, Any
from urllib.parse import quote

import typer

from mediaserver.cli_common import ConfigOption, JsonOption, done, load_settings, show, show_beside, told_as_text

app = typer.Typer(
    no_args_is_help=True,
    help="""Calls of the running server.

    [bold]mediaserver calls list[/bold] shows who talks to whom and how it sounds;
    [bold]mediaserver calls hangup ID[/bold] ends a call properly.""",
)
CallId = Annotated[str, typer.Argument(help="The call's id, as `mediaserver calls list` shows it.")]


@app.command("list")
def list_calls(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show the running calls, the oldest first, each with the worst MOS of its parties in the last seconds."""
    with told_as_text():
        calls = _ask(config, "GET", "/api/v1/calls")["calls"]
        rows = calls if as_json else [_row(call) for call in calls]
        columns = {
            "id": "Call",
            "state": "State",
            "caller": "From",
            "called": "To",
            "program": "Program",
            "for": "For",
            "mos": "MOS",
            "recording": "Recorded",
        }
        show(rows, columns, as_json=as_json, empty="no calls now")


@app.command("show")
def show_call(call_id: CallId, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show one call and how each of its parties sounds."""
    with told_as_text():
        call = _ask(config, "GET", f"/api/v1/calls/{quote(call_id, safe='')}")
        if as_json:
            done("", as_json=True, **call)
            return
        show(
            [_row(call)],
            {"id": "Call", "state": "State", "caller": "From", "called": "To", "for": "For"},
            as_json=False,
        )
        print()
        fields = {
            "id": "Leg",
            "role": "Role",
            "party": "Party",
            "state": "State",
            "codec": "Codec",
            "srtp": "SRTP",
            "mos_received": "MOS from",
            "mos_sent": "MOS to",
            "loss_percent": "Loss %",
            "jitter_ms": "Jitter ms",
            "round_trip_ms": "RTT ms",
        }
        legs = [{**leg, "loss_percent": 100.0 * leg["loss_fraction"]} for leg in call["legs"]]
        show_beside(legs, fields, empty="no parties")


@app.command()
def hangup(call_id: CallId, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """End a call: every party gets a proper BYE, a recording is closed whole."""
    with told_as_text():
        _ask(config, "POST", f"/api/v1/calls/{quote(call_id, safe='')}/hangup")
        done(f"call {call_id} is ending", as_json=as_json, id=call_id)


def _ask(config: Any, method: str, path: str) -> Any:
    from mediaserver.cli_http import request

    return request(load_settings(config), method, path)


def _row(call: dict[str, Any]) -> dict[str, Any]:
    scores = [leg[key] for leg in call["legs"] for key in ("mos_received", "mos_sent") if leg[key] is not None]
    seconds = max(0, int(time.time() - call["started"]))
    return {**call, "for": f"{seconds // 60}:{seconds % 60:02d}", "mos": min(scores, default=None)}
