"""`mediaserver tokens`: bearer tokens for pages, WHIP and WHEP, made by the running server over its API."""

from __future__ import annotations

import enum
import time
from typing import Annotated

import typer

from mediaserver.cli_common import ConfigOption, JsonOption, done, load_settings, told_as_text

app = typer.Typer(
    no_args_is_help=True,
    help="""Tokens for pages, WHIP and WHEP.

    [bold]mediaserver tokens create --number 700 --right publish[/bold] lets its holder speak in 700 for an hour.""",
)


class Right(enum.StrEnum):
    publish = "publish"
    subscribe = "subscribe"
    record = "record"
    moderate = "moderate"


@app.command()
def create(
    user: Annotated[str, typer.Option(help="The SIP user its holder acts as.")] = "",
    number: Annotated[str, typer.Option(help="The only room or number it opens.")] = "",
    right: Annotated[list[Right] | None, typer.Option(help="May be given several times; default: subscribe.")] = None,
    name: Annotated[str, typer.Option(help="What others see of a guest.")] = "",
    minutes: Annotated[float, typer.Option(min=1.0, help="How long it is good for.")] = 60.0,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a new token. Give it to one client: whoever has it has its rights until it expires."""
    from mediaserver.cli_http import request

    with told_as_text():
        wanted = {"rights": [str(r) for r in right or [Right.subscribe]], "lifetime_s": minutes * 60.0, "name": name}
        wanted |= {key: value for key, value in (("user", user), ("number", number)) if value}
        made = request(load_settings(config), "POST", "/api/v1/tokens", wanted)
        if as_json:
            done("", as_json=True, **made)
        else:  # in one line, whatever the terminal's width
            until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(made["expires"]))
            typer.echo(f"good until {until}", err=True)
            typer.echo(made["token"])
