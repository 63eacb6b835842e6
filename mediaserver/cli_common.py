"""What all commands share: finding the configuration, tables for people and JSON for programs, exit codes.

Owns the shape of output. Knows no command.
"""

from __future__ import annotations

import contextlib
import enum
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from mediaserver.errors import ConfigError, MediaServerError, StorageError
from mediaserver.settings import Settings
from mediaserver.settings_checks import Check
from mediaserver.settings_file import load


class Exit(enum.IntEnum):
    """Exit codes, the same for every command; shown by `mediaserver --help`."""

    OK = 0
    FAILED = 1  # the thing asked for cannot be done: no such user, no such call
    USAGE = 2  # wrong arguments (also what click uses)
    CONFIG = 3  # the configuration is wrong
    UNREACHABLE = 4  # the running server or the database does not answer


EXIT_CODES_HELP = "Exit codes: 0 done · 1 refused · 2 wrong arguments · 3 wrong configuration · 4 no answer"
SEARCHED = (Path("var/mediaserver.toml"), Path("mediaserver.toml"), Path("/etc/mediaserver/mediaserver.toml"))

ConfigOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        envvar="MEDIASERVER_CONFIG",
        help="Configuration file. Without it the first of these that exists: " + ", ".join(map(str, SEARCHED)) + ".",
        show_default=False,
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="For programs: JSON on standard output.")]

errors = Console(stderr=True, highlight=False, soft_wrap=True)


class CommandFailed(MediaServerError):
    """Ends a command with its text on standard error and its exit code."""

    def __init__(self, text: str, code: Exit = Exit.FAILED) -> None:
        super().__init__(text)
        self.code = code


def find_config(given: Path | None) -> Path | None:
    return given or next((path for path in SEARCHED if path.is_file()), None)


def load_settings(config: Path | None, more_checks: Sequence[Check] = ()) -> Settings:
    """Raises ConfigError."""
    return load(find_config(config), os.environ, more_checks)


@contextlib.contextmanager
def told_as_text() -> Iterator[None]:
    """Errors made for people end the command with their text and code; others keep their traceback."""
    try:
        yield
    except CommandFailed as error:
        code, text = error.code, str(error)
    except ConfigError as error:
        code, text = Exit.CONFIG, str(error)
    except StorageError as error:
        code, text = Exit.UNREACHABLE, str(error)
    except MediaServerError as error:
        code, text = Exit.FAILED, str(error)
    else:
        return
    errors.print(text, style="red", markup=False)
    raise typer.Exit(code)


def show(
    rows: Sequence[Mapping[str, Any]],
    columns: Mapping[str, str],
    *,
    as_json: bool,
    empty: str = "nothing there",
    whole: Sequence[str] = (),
) -> None:
    """rows: plain values. columns: key of a row and its heading, in order. JSON has every key, the table only these.

    whole: keys whose cells are copied by people, so never broken over two lines. Where the terminal is too narrow for
    all in one line, they get a line of their own above the others.
    """
    if as_json:
        print(json.dumps(list(rows), ensure_ascii=False, indent=2 if sys.stdout.isatty() else None))
        return
    console = Console(highlight=False)
    if not rows:
        console.print(empty)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for key, heading in columns.items():
        table.add_column(heading, overflow="fold", no_wrap=key in whole)
    for row in rows:
        table.add_row(*(_cell(row.get(key)) for key in columns))
    if whole and console.measure(table, options=console.options.update(max_width=10_000)).maximum > console.width:
        _show_in_two_lines(console, rows, columns, whole)
    else:
        console.print(table)


def _show_in_two_lines(
    console: Console, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], whole: Sequence[str]
) -> None:
    others = [key for key in columns if key not in whole]
    width = {key: max(len(columns[key]), *(len(_cell(row.get(key))) for row in rows)) for key in others}
    between = "  " if 2 + sum(width.values()) + 2 * len(others) <= console.width else " "

    def line(cells: Mapping[str, str], style: str) -> None:
        first = between.join(cells[key] for key in whole)
        second = between.join(cells[key].ljust(width[key]) for key in others).rstrip()
        for text in (first, f"  {second}"):
            console.print(text, style=style, markup=False, soft_wrap=True)

    line(columns, "bold")
    for row in rows:
        line({key: _cell(row.get(key)) for key in columns}, "")


def show_beside(things: Sequence[Mapping[str, Any]], fields: Mapping[str, str], *, empty: str) -> None:
    """Each thing is a column and each field a row: for few things of many fields, which one line does not hold."""
    console = Console(highlight=False)
    if not things:
        console.print(empty)
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    for _ in things:
        table.add_column(overflow="fold")
    for key, heading in fields.items():
        table.add_row(heading, *(_cell(thing.get(key)) for thing in things))
    console.print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.2f}"
    return str(value)


def done(text: str, *, as_json: bool = False, **facts: Any) -> None:
    if as_json:
        print(json.dumps(facts, ensure_ascii=False))
    else:
        Console(highlight=False).print(text, markup=False)


def password_of(given: str | None, from_stdin: bool, *, shortest: int) -> str:
    """As --password gave it, read from standard input, or asked for at the terminal. Raises CommandFailed."""
    if from_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    elif given is not None:
        password = given
    elif sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        raise CommandFailed("no password: give --password, or pipe it in with --password-stdin", Exit.USAGE)
    if len(password) < shortest:
        raise CommandFailed(f"the password has {len(password)} characters; at least {shortest}", Exit.USAGE)
    return str(password)
