"""`mediaserver reviewers`: who may open the review page, as what, and which queues each sees. Works on the database."""

from __future__ import annotations

import asyncio
import time
import tomllib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mediaserver.cli_common import (
    CommandFailed,
    ConfigOption,
    Exit,
    JsonOption,
    done,
    load_settings,
    password_of,
    show,
    told_as_text,
)
from mediaserver.limits import REVIEW_PASSWORD_CHARS_MIN
from mediaserver.settings import Settings

if TYPE_CHECKING:
    from mediaserver.store.reviewers import ReviewerStore

app = typer.Typer(
    no_args_is_help=True,
    help="""Who may open the review page /qa.

    [bold]mediaserver reviewers add kate --role supervisor[/bold] asks for her password; she sees every queue unless
    --queue names some. Changing a reviewer ends all its sessions.""",
)


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="Name to sign in with.")],
    role: Annotated[
        str,
        typer.Option(
            help="qa (finds, listens, comments), supervisor (also links and running calls), "
            "admin (also the access log), auditor (finds and reads the log, hears nothing), "
            "agent (reads and answers scores of the calls of the user of this name)."
        ),
    ] = "qa",
    queue: Annotated[
        list[str] | None,
        typer.Option(help="Name of a routing rule whose recordings it sees; may be repeated. None: all."),
    ] = None,
    password: Annotated[
        str | None, typer.Option(help="Password. Others on this machine may see it: --password-stdin hides it.")
    ] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read it from standard input.")] = False,
    oidc: Annotated[
        bool, typer.Option("--oidc", help="Without a password: who has this name at the issuer of [oidc].")
    ] = False,
    update: Annotated[bool, typer.Option("--update", help="Change one that is there.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a reviewer, or change one, with the password given, read from standard input, or asked for."""
    with told_as_text():
        from mediaserver.api.review_people import hash_password
        from mediaserver.store.reviewers import FROM_ISSUER, Reviewer, check_new_reviewer

        if oidc and (password is not None or password_stdin):
            raise CommandFailed("who comes by the issuer has no password here: --oidc alone", Exit.USAGE)
        word = "" if oidc else password_of(password, password_stdin, shortest=REVIEW_PASSWORD_CHARS_MIN)
        try:
            check_new_reviewer(name)
            secret = FROM_ISSUER if oidc else hash_password(word)
            reviewer = Reviewer(name, secret, role, tuple(queue) if queue else None, round(time.time() * 1000))
        except ValueError as error:
            raise CommandFailed(str(error), Exit.USAGE) from error

        async def put(store: ReviewerStore) -> None:
            if update and await store.change(reviewer):
                return
            try:
                await store.add(reviewer)
            except ValueError as error:
                raise CommandFailed(str(error)) from error

        asyncio.run(_with_reviewers(load_settings(config), put))
        done(f"reviewer {name} may sign in at /qa as {role}", as_json=as_json, name=name, role=role)


@app.command("list")
def list_reviewers(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show all reviewers. Passwords are kept as argon2 hashes only, which are not shown."""
    with told_as_text():
        found = asyncio.run(_with_reviewers(load_settings(config), lambda store: store.list()))
        rows = [
            {
                "name": one.name,
                "role": one.role,
                "by": "issuer" if one.from_issuer else "password",
                "queues": "all" if one.queues is None else ", ".join(one.queues),
                "created": time.strftime("%Y-%m-%d %H:%M", time.localtime(one.created_ms / 1000)),
            }
            for one in found
        ]
        columns = {"name": "Reviewer", "role": "Role", "by": "Signs in by", "queues": "Queues", "created": "Added"}
        show(rows, columns, as_json=as_json, empty="no reviewers yet: mediaserver reviewers add NAME")


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="Reviewer to remove.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a reviewer: its sessions and the links it gave out end at once. The access log stays."""
    with told_as_text():
        if not asyncio.run(_with_reviewers(load_settings(config), lambda store: store.remove(name))):
            raise CommandFailed(f"there is no reviewer {name}; mediaserver reviewers list shows them")
        done(f"reviewer {name} removed", as_json=as_json, name=name)


@app.command()
def scorecard(
    name: Annotated[str, typer.Argument(help="Name of the card: lower-case letters, digits and -.")],
    file: Annotated[Path, typer.Argument(help="TOML with its sections; config/examples/scorecard.toml explains it.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a scorecard. Changed, it becomes the next version; reviews keep the one they were made with."""
    with told_as_text():
        from mediaserver.recording.scorecard import NAME, parse, plain

        try:
            if not NAME.fullmatch(name):
                raise ValueError(f"a scorecard's name is lower-case letters, digits and -, got {name[:80]!r}")
            definition = plain(parse(tomllib.loads(file.read_text("utf-8"))))
        except OSError as error:
            raise CommandFailed(f"{file}: {error.strerror}", Exit.USAGE) from error
        except ValueError as error:
            raise CommandFailed(f"{file}: {error}", Exit.USAGE) from error
        version = asyncio.run(_put_card(load_settings(config), name, definition))
        done(f"scorecard {name} is at version {version}", as_json=as_json, name=name, version=version)


async def _put_card(settings: Settings, name: str, definition: dict[str, Any]) -> int:
    from mediaserver.store.database import open_database
    from mediaserver.store.scorecards import ScorecardStore

    database = await open_database(settings.store.url, settings.server.data_dir)
    try:
        made = await ScorecardStore(database).put(name, definition, "command line", round(time.time() * 1000))
    finally:
        await database.close()
    return made.version


async def _with_reviewers(settings: Settings, work: Callable[[ReviewerStore], Awaitable[Any]]) -> Any:
    from mediaserver.store.database import open_database
    from mediaserver.store.reviewers import ReviewerStore

    database = await open_database(settings.store.url, settings.server.data_dir)
    try:
        return await work(ReviewerStore(database))
    finally:
        await database.close()
