"""`mediaserver recordings erase`, `remove`, `ledger`, `check-bucket`: what goes, by whom; proof that no other went."""

from __future__ import annotations

import asyncio
import getpass
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from mediaserver import cli_recordings
from mediaserver.cli_common import CommandFailed, ConfigOption, JsonOption, done, errors, load_settings, told_as_text
from mediaserver.cli_recordings import Reason, RecordingId, keep, recordings_root
from mediaserver.limits import REMOVAL_REASON_CHARACTERS_MAX
from mediaserver.settings import Settings

app = cli_recordings.app  # with what it has already


By = Annotated[str, typer.Option("--by", help="Who; without it the user who runs this.")]


@app.command()
def erase(
    recording_id: RecordingId,
    reason: Reason,
    party: Annotated[
        str | None, typer.Option("--party", help="Only this party: its leg's number in the call. Without it all.")
    ] = None,
    by: By = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a recording, or one party of it, unreadable for ever: its key is destroyed. A signed note of that stays."""
    with told_as_text():
        actor, now = by or _user(), time.time()
        gone = asyncio.run(
            keep(load_settings(config), lambda kept: kept.erase(recording_id, party, reason, actor, now))
        )
        done(f"unreadable now: {', '.join(gone)}", as_json=as_json, id=recording_id, journals=gone)


@app.command()
def remove(
    recording_id: RecordingId,
    reason: Reason,
    by: By = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove a recording as a whole, here and in a bucket. Its manifest stays and says who, when and why."""
    with told_as_text():
        if not reason.strip() or len(reason) > REMOVAL_REASON_CHARACTERS_MAX or not reason.isprintable():
            raise CommandFailed(f"--reason must say something, in up to {REMOVAL_REASON_CHARACTERS_MAX} characters")
        actor, now = by or _user(), time.time()
        asyncio.run(keep(load_settings(config), lambda keeper: keeper.remove(recording_id, reason, actor, now)))
        done(f"{recording_id}: removed; the ledger says by {actor}", as_json=as_json, id=recording_id, by=actor)


@app.command()
def ledger(
    expect: Annotated[
        str, typer.Option("--expect", help="A head that was noted before: it must be in the chain.")
    ] = "",
    public_key: Annotated[
        Path | None, typer.Option("--public-key", help="PEM of the signer; without it the one in data_dir.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove that every recording that was closed is still here, or was removed by somebody who signed for it.

    Note the head it prints somewhere else: with --expect a cut tail is found, too. Exit codes: 0 proven, 1 not.
    """
    with told_as_text():
        from mediaserver.recording import ledger as book
        from mediaserver.recording.keys import PUBLIC_NAME, load_public

        settings = load_settings(config)
        public = load_public(public_key or settings.server.data_dir / PUBLIC_NAME)
        report = book.verify(recordings_root(settings), public, expect)
        for one in [] if as_json else report.removals:
            when = datetime.fromtimestamp(one["at"], UTC).isoformat(timespec="seconds")
            done(f"{one['recording']}: removed by {one['actor']} at {when}: {one['reason']}")
        for text in [] if as_json else report.findings:
            errors.print(text, style="red", markup=False)
        word = "NOT whole" if report.findings else "whole"
        text = (
            f"{word}: {report.closed} closed, {len(report.removals)} of them removed; head {report.head or 'none yet'}"
        )
        done(
            text,
            as_json=as_json,
            whole=not report.findings,
            findings=report.findings,
            closed=report.closed,
            removals=report.removals,
            head=report.head,
        )
        if report.findings:
            raise typer.Exit(1)


@app.command("check-bucket")
def check_bucket(
    recording_id: Annotated[
        str, typer.Argument(metavar="[ID]", help="Only this one; without it all that lie there.")
    ] = "",
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read back what lies in the bucket and compare it with what was brought there. Changes nothing.

    Exit codes: 0 all as it was · 1 something is missing or changed · 4 the bucket does not answer.
    """
    with told_as_text():
        checked, size, findings = asyncio.run(_check(load_settings(config), recording_id))
        for text in [] if as_json else findings:
            errors.print(text, style="red", markup=False)
        word = f"{len(findings)} objects are WRONG" if findings else "all as it was brought there"
        text = f"{checked} recordings, {size:,} bytes read: {word}"
        done(text, as_json=as_json, recordings=checked, bytes=size, findings=findings)
        if findings:
            raise typer.Exit(1)


async def _check(settings: Settings, recording_id: str) -> tuple[int, int, list[str]]:
    from mediaserver.recording.scrub import scrub
    from mediaserver.store.blobs import S3Blobs
    from mediaserver.store.database import open_database
    from mediaserver.store.recordings import RecordingStore

    if not settings.s3.bucket:
        raise CommandFailed("s3.bucket is not set: nothing lies in a bucket")
    blobs, root = S3Blobs(settings.s3), recordings_root(settings)
    checked, size = 0, 0
    findings: list[str] = []
    database = await open_database(settings.store.url, settings.server.data_dir)
    try:
        async for row in RecordingStore(database).remote(recording_id):
            wrong, read = await scrub(root, row.directory, blobs)
            checked, size, findings = checked + 1, size + read, findings + wrong
    finally:
        await database.close()
    if recording_id and not checked:
        raise CommandFailed(f"recording {recording_id} does not lie in the bucket; see: mediaserver recordings list")
    return checked, size, findings


def _user() -> str:
    try:
        return f"CLI: {getpass.getuser()}"[:64]
    except (KeyError, OSError):  # a container's user without a name
        return f"CLI: user {os.getuid()}"
