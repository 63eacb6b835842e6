"""`mediaserver demo`: two dozen real calls between synthetic people, so that the review page has something to show.

Owns the demo's users, its reviewer and what is printed. Calls are placed by `demo`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
import tomllib
from collections.abc import AsyncIterator, Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mediaserver.cli_common import CommandFailed, ConfigOption, Exit, JsonOption, load_settings, show, told_as_text
from mediaserver.cli_users import make_user
from mediaserver.settings import Settings

if TYPE_CHECKING:
    from mediaserver.demo.scene import Outcome
    from mediaserver.store.review_search import FoundCall

REVIEWER = "demo"
USERS_TAKEN_UP_S = 2.0  # a running server knows new users within a second
COLUMNS = {
    "queue": "Queue",
    "agent": "Agent",
    "caller": "Caller",
    "consent": "Consent",
    "length_s": "Seconds",
    "mos": "MOS",
    "silence": "Silence",
    "overtalk": "Overtalk",
}


def demo(
    folder: Annotated[Path, typer.Option(help="Where the demo's own server keeps its data.")] = Path("var/demo"),
    page_host: Annotated[str, typer.Option(help="Address of its review page; 0.0.0.0 to look from elsewhere.")] = (
        "127.0.0.1"
    ),
    serve: Annotated[bool, typer.Option(help="Go on serving the review page after the calls, until ^C.")] = True,
    server: Annotated[
        str,
        typer.Option(
            help="HOST:PORT of a running server (SIP by UDP) to call through instead; --config is its configuration."
        ),
    ] = "",
    elsewhere: Annotated[bool, typer.Option("--elsewhere", help="Let --server be another machine.")] = False,
    routes: Annotated[bool, typer.Option("--routes", help="Print the rules that --server needs, and end.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make two dozen real calls by SIP and RTP, recorded with consent, and show where to look at them.

    Synthetic customers and agents speak English and Russian (with espeak-ng, if it is installed). Some lose packets,
    are put on hold or transferred, refuse the recording, withdraw, say a card number in a pause, or give up.

    A server of its own is started on loopback ports; nothing else on this machine is touched. With --server the calls
    go through a running one: its routing needs the rules that --routes prints; users demo-… are added meanwhile.
    """
    with told_as_text():
        from mediaserver.demo import place

        if routes:
            print(place.routes(), end="")
            return
        if not server:
            asyncio.run(_until_told(_own(folder.absolute(), page_host, serve=serve, as_json=as_json)))
            return
        host, port = _address(server)
        if not elsewhere and not place.is_local(host):
            raise CommandFailed(
                f"{host} is not this machine: the demo fills a server's catalogue with calls that nobody made; "
                "--elsewhere lets it",
                Exit.USAGE,
            )
        asyncio.run(_until_told(_through(load_settings(config), f"{host}:{port}", as_json=as_json)))


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise CommandFailed(f"--server is HOST:PORT, such as 127.0.0.1:5060; got {text[:80]!r}", Exit.USAGE)
    return host.strip("[]"), int(port)


async def _own(folder: Path, page_host: str, *, serve: bool, as_json: bool) -> None:
    from mediaserver.demo.place import SERVER_HOST, OwnServer

    own = OwnServer(folder, page_host)
    try:
        own.write()
    except OSError as error:
        raise CommandFailed(f"{folder}: {error.strerror or error}") from error
    settings = load_settings(own.config)
    async with _users(settings, with_customers=False) as passwords:
        where = f"Look at {own.page}  user {REVIEWER}  password {await _reviewer(settings)}"
        _say(as_json, f"A server of the demo's own starts (log: {own.log}) …")
        try:
            await own.start()
            _say(as_json, where)
            await _calls(settings, f"{SERVER_HOST}:{own.sip_port}", SERVER_HOST, passwords, as_json=as_json)
            if serve:
                _say(
                    as_json,
                    f"{where}\nThe browser warns once of a certificate of this machine's own. ^C ends the server.",
                )
                await asyncio.Event().wait()
        finally:
            await own.stop()


async def _through(settings: Settings, server: str, *, as_json: bool) -> None:
    from mediaserver.calls.watch import RoutingFile
    from mediaserver.demo.place import CARRIER, address_towards
    from mediaserver.demo.plan import QUEUES

    routing = RoutingFile.of(settings)
    routing.load()
    missing = {queue.name for queue in QUEUES} - {rule.name for rule in routing.table.rules}
    if missing:
        raise CommandFailed(
            f"{routing.path} has no rules {', '.join(sorted(missing))}; put what `mediaserver demo --routes` prints "
            "before its last rule",
            Exit.CONFIG,
        )
    async with _users(settings, with_customers=CARRIER not in settings.trunks) as passwords:
        await asyncio.sleep(USERS_TAKEN_UP_S)
        await _calls(settings, server, address_towards(server), passwords, as_json=as_json)


async def _calls(settings: Settings, server: str, host: str, passwords: Mapping[str, str], *, as_json: bool) -> None:
    from mediaserver import logs
    from mediaserver.demo.plan import CALLS
    from mediaserver.demo.run import found_calls, place_calls
    from mediaserver.demo.speech import Speech
    from mediaserver.media.prompts import PromptLibrary
    from mediaserver.settings import SHIPPED_CONFIG_DIR, LogSettings
    from mediaserver.store.database import open_database

    logs.configure(LogSettings(level="error"))  # of the phones
    speech = Speech(settings.server.data_dir / "demo-speech", PromptLibrary([SHIPPED_CONFIG_DIR / "prompts"]))
    if not speech.command:
        _say(as_json, "espeak-ng is not installed: people say what the shipped prompts say (apt install espeak-ng).")
    _say(as_json, f"{len(CALLS)} calls, in a minute and a half:")
    began, done = time.time(), _Told(len(CALLS), as_json)
    outcomes = await place_calls(server, host, passwords, speech, done)
    database = await open_database(settings.store.url, settings.server.data_dir)
    try:
        found = await found_calls(database, round(began * 1000) - 1)
    except TimeoutError:
        raise CommandFailed("the calls were made, but the server did not enter them into its catalogue") from None
    finally:
        await database.close()
    failed = [outcome for outcome in outcomes if outcome.problem]
    rows = [_row(call) for call in found]
    if as_json:
        facts = {"calls": len(outcomes), "failed": [f"{one.planned.name}: {one.problem}" for one in failed]}
        print(json.dumps({**facts, "seconds": round(time.time() - began, 1), "recordings": rows}, ensure_ascii=False))
    else:
        show(rows, COLUMNS, as_json=False)
        _say(
            as_json,
            f"{len(outcomes)} calls in {time.time() - began:.0f} s, {len(rows)} recordings, {len(failed)} failed",
        )
    if failed:
        raise CommandFailed("; ".join(f"{one.planned.name}: {one.problem}" for one in failed))


class _Told:
    """Tells of each call as it ends."""

    def __init__(self, calls: int, as_json: bool) -> None:
        self._calls, self._as_json, self._ended = calls, as_json, 0

    def __call__(self, outcome: Outcome) -> None:
        self._ended += 1
        planned = outcome.planned
        what = planned.agent or ("gives up" if planned.hangs_up_s else "leaves a message")
        problem = f"  FAILED: {outcome.problem}" if outcome.problem else ""
        _say(self._as_json, f"  {self._ended:2}/{self._calls}  {planned.name}: {planned.queue}, {what}{problem}")


def _row(call: FoundCall) -> dict[str, Any]:
    return {
        "recording": call.recording_id,
        "queue": call.queue,
        "agent": call.agent,
        "caller": str(call.caller),
        "consent": call.consent,
        "length_s": round(call.length_ms / 1000, 1),
        "mos": call.mos,
        "silence": call.silence,
        "overtalk": call.overtalk,
    }


@contextlib.asynccontextmanager
async def _users(settings: Settings, *, with_customers: bool) -> AsyncIterator[dict[str, str]]:
    """Passwords of the demo's people, who are users as long as this lasts."""
    from mediaserver.bootstrap import new_password
    from mediaserver.demo.plan import AGENTS
    from mediaserver.demo.run import customer_accounts
    from mediaserver.store.database import open_database
    from mediaserver.store.users import UserStore

    names = [*AGENTS, *(customer_accounts().values() if with_customers else ())]
    passwords = {name: new_password() for name in names}
    database = await open_database(settings.store.url, settings.server.data_dir)
    store = UserStore(database)
    try:
        for name, password in passwords.items():
            await store.remove(name)  # left over from a demo that was killed
            await store.add(make_user(settings, name, password, f"Demo: {name.removeprefix('demo-')}"))
        yield passwords
    finally:
        for name in passwords:
            await store.remove(name)
        await database.close()


async def _reviewer(settings: Settings) -> str:
    """Password of the demo's reviewer, new each time; with a scorecard to judge by."""
    from mediaserver.api.review_people import hash_password
    from mediaserver.bootstrap import new_password
    from mediaserver.recording.scorecard import parse, plain
    from mediaserver.settings import SHIPPED_CONFIG_DIR
    from mediaserver.store.database import open_database
    from mediaserver.store.reviewers import Reviewer, ReviewerStore
    from mediaserver.store.scorecards import ScorecardStore

    password, now_ms = new_password(), round(time.time() * 1000)
    reviewer = Reviewer(REVIEWER, hash_password(password), "supervisor", None, now_ms)
    card = plain(parse(tomllib.loads((SHIPPED_CONFIG_DIR / "examples" / "scorecard.toml").read_text("utf-8"))))
    database = await open_database(settings.store.url, settings.server.data_dir)
    try:
        store = ReviewerStore(database)
        if not await store.change(reviewer):
            await store.add(reviewer)
        await ScorecardStore(database).put("demo", card, "demo", now_ms)
    finally:
        await database.close()
    return password


async def _until_told(work: Coroutine[Any, Any, None]) -> None:
    """`work` to its end, or to ^C or SIGTERM: then it tidies up."""
    task, loop = asyncio.ensure_future(work), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _say(as_json: bool, text: str) -> None:
    """For people; programs read one JSON object at the end."""
    if not as_json:
        print(text, flush=True)
