"""The `mediaserver` command: run, init, check-config, version, demo, and the groups users, calls, recordings and so on.

Owns what each command prints and its exit code. Heavy parts are imported by the command that needs them, so that
`--help` and completion answer at once.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from mediaserver import (
    __version__,
    cli_calls,
    cli_demo,
    cli_keeping,
    cli_quality,
    cli_reviewers,
    cli_tokens,
    cli_top,
    cli_users,
)
from mediaserver.cli_common import (
    EXIT_CODES_HELP,
    CommandFailed,
    ConfigOption,
    JsonOption,
    done,
    find_config,
    load_settings,
    told_as_text,
)
from mediaserver.errors import ConfigError
from mediaserver.settings import Settings
from mediaserver.settings_checks import Complaint

app = typer.Typer(
    name="mediaserver",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,  # locals hold passwords
    help=f"""A real-time media server for SIP phones and trunks.

    Start it with [bold]mediaserver run --config FILE[/bold]; the other commands look at or change a server on this
    machine. Tables are for people, --json is for programs. {EXIT_CODES_HELP}.""",
)
app.add_typer(cli_users.app, name="users")
app.add_typer(cli_calls.app, name="calls")
app.add_typer(cli_keeping.app, name="recordings")  # adds its own to those of cli_recordings
app.add_typer(cli_quality.app, name="quality")
app.add_typer(cli_reviewers.app, name="reviewers")
app.add_typer(cli_tokens.app, name="tokens")
app.command("top")(cli_top.top)
app.command("demo")(cli_demo.demo)


@app.command()
def run(
    config: ConfigOption = None,
    welcome: Annotated[bool, typer.Option("--welcome", help="First print where to point a phone and what to dial.")] = (
        False
    ),
) -> None:
    """Start the server; SIGTERM or ^C ends it after the running calls.

    Every setting can also come from the environment:

    [bold]MEDIASERVER_SIP__UDP_PORT=5080 mediaserver run --config my.toml[/bold]

    SIGTERM refuses new calls with 503, waits server.drain_timeout_s for running ones, then ends them; a second signal
    ends them at once.
    """
    with told_as_text():
        from mediaserver import bootstrap, logs

        settings = bootstrap.with_certificates(load_settings(config, [_tones]))
        if welcome:
            typer.echo(bootstrap.FirstCall(settings, find_config(config), {}).text())
        logs.configure(settings.log)
        from mediaserver.app import run as run_server

        code = run_server(settings)
        logs.shutdown()
    raise typer.Exit(code)


@app.command()
def init(
    config: Annotated[Path, typer.Option("--config", "-c", help="File to write; its folder holds all data.")] = Path(
        "var/mediaserver.toml"
    ),
) -> None:
    """Write a first configuration with an admin password, a self-signed certificate and the demo users 100 and 101.

    Nothing that exists is changed; the passwords are kept in first-call.txt beside the configuration, readable by you
    only, and printed if this is a terminal.
    """
    with told_as_text():
        from mediaserver import bootstrap

        try:
            admin_password = bootstrap.write_first_configuration(config)
        except OSError as error:
            raise CommandFailed(f"{config}: {error.strerror or error}") from error
        settings = bootstrap.with_certificates(load_settings(config))
        passwords = cli_users.add_demo_users(settings)
        text = bootstrap.FirstCall(settings, config, passwords).text()
        kept = settings.server.data_dir / bootstrap.FIRST_CALL_NAME
        bootstrap.write_private(kept, f"{text}\nadmin password: {admin_password}\n".encode(), replace=True)
        if sys.stdout.isatty():  # a file or a log of a container is read by more people than a terminal
            for name, password in passwords.items():
                typer.echo(f"demo user {name}, password {password}")
            typer.echo(f"admin password {admin_password}\nall of it is kept in {kept}")
        else:
            typer.echo(f"made {config}; the passwords of admin and of the demo users are in {kept}")


@app.command("check-config")
def check_config(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Read the configuration and say what is wrong with it: file, line, key, what is allowed, what to try.

    Routing rules and consent policies are read too: a trunk, program or policy that does not exist is refused. Exit
    code 3 when something is wrong. The server itself is not touched.
    """
    with told_as_text():
        from mediaserver.calls.watch import RoutingFile
        from mediaserver.recording.policy import load_policies

        settings = load_settings(config, [_tones])
        routing = RoutingFile.of(settings)
        routing.load()
        policies = load_policies(settings.recording).rules
        for rule in routing.table.rules:
            if rule.consent is not None and rule.consent not in policies:
                known = ", ".join(sorted(policies))
                raise ConfigError(
                    f"{routing.path}: rule {rule.name}: consent: no policy {rule.consent!r}; known: {known}"
                )
        for name, trunk in settings.trunks.items():
            if trunk.siprec_policy and trunk.siprec_policy not in policies:
                known = ", ".join(sorted(policies))
                raise ConfigError(f"trunks.{name}.siprec_policy: no policy {trunk.siprec_policy!r}; known: {known}")
        path = find_config(config)
        if as_json:
            typer.echo(settings.model_dump_json())
            return
        done(f"{path or 'the defaults'}: all {_count(settings.model_dump())} settings are fine")
        done(f"{routing.path}: all {len(routing.table.rules)} rules are fine")


def _tones(settings: Settings) -> Iterator[Complaint]:
    from mediaserver.media.tones import COUNTRIES

    if settings.media.tones not in COUNTRIES:
        yield Complaint((("media", "tones"),), f'is "{settings.media.tones}"; allowed: {", ".join(sorted(COUNTRIES))}')


def _count(values: object) -> int:
    return sum(_count(value) for value in values.values()) if isinstance(values, dict) else 1


@app.command()
def version(as_json: JsonOption = False) -> None:
    """Version of the server and of what it stands on."""
    python, system = platform.python_version(), platform.platform()
    done(
        f"mediaserver {__version__} (Python {python}, {system})",
        as_json=as_json,
        version=__version__,
        python=python,
        system=system,
    )


def main() -> None:
    app(prog_name="mediaserver")
