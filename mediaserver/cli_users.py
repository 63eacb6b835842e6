"""`mediaserver users`: who may register. Works on the database; a running server takes changes up by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
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
from mediaserver.settings import Settings

if TYPE_CHECKING:
    from mediaserver.store.users import User, UserStore

app = typer.Typer(
    no_args_is_help=True,
    help="""Users who may register a phone.

    [bold]mediaserver users add 102 --password hunter2[/bold] — a running server knows the user a second later.""",
)
PASSWORD_SHORTEST = 4  # a phone's keypad; guessing is slowed by sip.failed_auth_per_source_per_min


@app.command()
def add(
    name: Annotated[str, typer.Argument(help="User part of the SIP address, what others dial: 102 or alice.")],
    password: Annotated[
        str | None, typer.Option(help="Password. Others on this machine may see it: --password-stdin hides it.")
    ] = None,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read it from standard input.")] = False,
    display_name: Annotated[str, typer.Option(help="Name that called phones show.")] = "",
    language: Annotated[str, typer.Option(help="Language of prompts, en or ru; empty: the server's.")] = "",
    update: Annotated[bool, typer.Option("--update", help="Give an existing user this password.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a user, with the password given, read from standard input, or asked for.

    [bold]mediaserver users add alice --display-name "Alice A."[/bold] asks for the password;
    [bold]pass show alice | mediaserver users add alice --password-stdin[/bold] reads it.
    """
    with told_as_text():
        settings = load_settings(config)
        word = password_of(password, password_stdin, shortest=PASSWORD_SHORTEST)
        user = make_user(settings, name, word, display_name, language)
        asyncio.run(_with_users(settings, lambda users: _add(users, user, update=update)))
        done(f"user {name} may register", as_json=as_json, name=name)


@app.command("list")
def list_users(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Show all users. Passwords are not kept, only their digest hashes, which are not shown."""
    with told_as_text():
        settings = load_settings(config)
        users = asyncio.run(_with_users(settings, lambda users: users.list()))
        rows = [
            {
                "name": user.name,
                "display_name": user.display_name,
                "language": user.language,
                "realm": user.realm,
                "created": time.strftime("%Y-%m-%d %H:%M", time.localtime(user.created)),
                "fits_realm": user.realm == settings.server.realm,
            }
            for user in users
        ]
        columns = {"name": "User", "display_name": "Name", "language": "Language", "realm": "Realm", "created": "Added"}
        show(rows, columns, as_json=as_json, empty="no users yet: mediaserver users add NAME")
        strangers = [user.name for user in users if user.realm != settings.server.realm]
        if strangers and not as_json:
            typer.echo(
                f"{', '.join(strangers)}: password was set for another realm than {settings.server.realm}; "
                "set it again with: mediaserver users add NAME --update",
                err=True,
            )


@app.command()
def remove(
    name: Annotated[str, typer.Argument(help="User to remove.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a user: its phones cannot register or call any more. Running calls go on."""
    with told_as_text():
        removed = asyncio.run(_with_users(load_settings(config), lambda users: users.remove(name)))
        if not removed:
            raise CommandFailed(f"there is no user {name}; see: mediaserver users list")
        done(f"user {name} is removed", as_json=as_json, name=name)


def make_user(settings: Settings, name: str, password: str, display_name: str = "", language: str = "") -> User:
    """Raises CommandFailed with what is allowed."""
    from mediaserver.sip.auth import make_credentials
    from mediaserver.store.users import User, check_new_name

    try:
        check_new_name(name)
        made = make_credentials(name, settings.server.realm, password, display_name)
        return User(
            made.name,
            made.realm,
            made.ha1_sha256,
            made.ha1_md5,
            display_name=display_name,
            language=language,
            created=time.time(),
        )
    except ValueError as error:
        raise CommandFailed(str(error), Exit.USAGE) from error


def add_demo_users(settings: Settings) -> dict[str, str]:
    """Adds those of the demo users that are not there; name and generated password of each that was added."""
    from mediaserver.bootstrap import DEMO_USERS, new_password

    async def add_missing(users: UserStore) -> dict[str, str]:
        passwords = {name: new_password() for name in DEMO_USERS if await users.get(name) is None}
        for name, password in passwords.items():
            await users.add(make_user(settings, name, password))
        return passwords

    return asyncio.run(_with_users(settings, add_missing))


async def _add(users: UserStore, user: User, *, update: bool) -> None:
    if update and await users.set_password(
        user.name, user.ha1_sha256, user.ha1_md5, realm=user.realm, changed=user.created
    ):
        return
    try:
        await users.add(replace(user))
    except ValueError as error:
        raise CommandFailed(f"user {user.name} exists already; --update gives it this password") from error


async def _with_users(settings: Settings, work: Callable[[UserStore], Awaitable[Any]]) -> Any:
    from mediaserver.store.database import open_database
    from mediaserver.store.users import UserStore

    database = await open_database(settings.store.url, settings.server.data_dir)
    try:
        return await work(UserStore(database))
    finally:
        await database.close()
