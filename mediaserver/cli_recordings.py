"""`mediaserver recordings`: what was recorded, and playable files of it. Works on disk and database, server or none."""

from __future__ import annotations

import asyncio
import enum
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from mediaserver.cli_common import (
    CommandFailed,
    ConfigOption,
    JsonOption,
    done,
    errors,
    load_settings,
    show,
    told_as_text,
)
from mediaserver.settings import Settings


class Form(enum.StrEnum):
    WAV = "wav"
    OPUS = "opus"


app = typer.Typer(
    no_args_is_help=True,
    help="""Recordings of calls.

    [bold]mediaserver recordings export ID --format wav --output call.wav[/bold] writes both parties in step,
    one on each channel; a message left by one party is mono.""",
)


@app.command("list")
def list_recordings(
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Show so many, the newest.")] = 50,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show recordings, the newest first."""
    with told_as_text():
        rows = asyncio.run(_rows(load_settings(config), limit))
        columns = {
            "id": "Recording",
            "started": "Started",
            "length": "Length",
            "caller": "From",
            "called": "To",
            "state": "State",
        }
        show(rows, columns, as_json=as_json, empty="no recordings yet: dial 602 to make one")


@app.command()
def export(
    recording_id: Annotated[str, typer.Argument(metavar="ID", help="As `mediaserver recordings list` shows it.")],
    form: Annotated[Form, typer.Option("--format", help="wav: 16 bit. opus: Ogg Opus, a tenth of the size.")] = (
        Form.WAV
    ),
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; without it ID.wav or ID.opus here.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a playable file of a recording: the caller left, the other party right, both in step.

    [bold]mediaserver recordings export 20261122-… --format opus --output call.opus[/bold]
    """
    with told_as_text():
        target = output or Path(f"{recording_id}.{form.value}")
        if target.exists() and not force:
            raise CommandFailed(f"{target} exists already; --force replaces it")
        written = asyncio.run(_export(load_settings(config), recording_id, form, target))
        size = written.stat().st_size
        done(f"{written} ({size:,} bytes)", as_json=as_json, id=recording_id, file=str(written), bytes=size)


@app.command()
def verify(
    recording: Annotated[str, typer.Argument(metavar="ID|FOLDER", help="A recording's id, or a folder of its files.")],
    public_key: Annotated[
        Path | None, typer.Option("--public-key", help="PEM of the signer; without it the one in data_dir.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove that nothing of a recording was changed, removed, reordered or cut off; needs no server and no secret.

    Exit codes: 0 proven · 1 not as it was signed · 5 not closed yet, or of a version that signed nothing.
    """
    with told_as_text():
        from mediaserver.recording.keys import PUBLIC_NAME, load_public
        from mediaserver.recording.verify import verify_directory

        folder = Path(recording)
        settings = Settings() if public_key and folder.is_dir() else load_settings(config)
        if not folder.is_dir():
            folder = _folder_of(settings, recording)
        report = verify_directory(folder, load_public(public_key or settings.server.data_dir / PUBLIC_NAME))
        for text in [] if as_json else report.facts:
            done(text)
        for text in [] if as_json else report.findings:
            errors.print(text, style="red", markup=False)
        words = {0: "proven: every byte is as it was signed", 1: "NOT as it was signed", 5: "cannot be proven"}
        verdict = report.verdict.name.lower()
        done(words[report.verdict], as_json=as_json, verdict=verdict, findings=report.findings, facts=report.facts)
        if report.verdict:
            raise typer.Exit(report.verdict)


@app.command()
def rewrap(config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Wrap every recording's key by the master key that is given first now; then older ones can be thrown away."""
    with told_as_text():
        from mediaserver.recording import keys

        settings = load_settings(config)
        ring = keys.load_ring(settings.recording, settings.server.data_dir)
        changed, kept = keys.rewrap(_root(settings), ring)
        text = f"{changed} keys wrapped by master key {ring.current.master_id}, {kept} were so already"
        done(text, as_json=as_json, changed=changed, kept=kept, master=ring.current.master_id)


def _root(settings: Settings) -> Path:
    return settings.recording.directory or settings.server.data_dir / "recordings"


def _folder_of(settings: Settings, recording_id: str) -> Path:
    from mediaserver.recording.catalogue import SAFE_NAME

    safe = SAFE_NAME.fullmatch(recording_id)
    found = next(_root(settings).glob(f"[0-9]*/[0-9]*/[0-9]*/{recording_id}"), None) if safe else None
    if found is None:
        raise CommandFailed(f"there is no recording {recording_id} under {_root(settings)}")
    return found


async def _export(settings: Settings, recording_id: str, form: Form, target: Path) -> Path:
    from mediaserver.store.database import open_database
    from mediaserver.store.recordings import RecordingStore

    database = await open_database(settings.store.url, settings.server.data_dir)
    try:
        row = await RecordingStore(database).get(recording_id)
    finally:
        await database.close()
    if row is None:
        raise CommandFailed(f"there is no recording {recording_id}; see: mediaserver recordings list")
    from mediaserver.recording.export import export_recording  # renders, so it loads what decodes
    from mediaserver.recording.keys import load_ring

    ring = load_ring(settings.recording, settings.server.data_dir)
    try:
        return await export_recording(_root(settings), ring, row, "wav" if form is Form.WAV else "opus", target)
    except LookupError as error:
        raise CommandFailed(str(error.args[0])) from error


async def _rows(settings: Settings, limit: int) -> list[dict[str, Any]]:
    from mediaserver.store.database import open_database
    from mediaserver.store.recordings import RecordingStore

    database = await open_database(settings.store.url, settings.server.data_dir)
    try:
        recordings = await RecordingStore(database).list(limit=limit)
    finally:
        await database.close()
    return [
        {
            "id": row.recording_id,
            "call_id": row.call_id,
            "started": time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.started_ms / 1000)),
            "started_wall": row.started_ms / 1000,
            "length": f"{row.length_ms // 60_000}:{row.length_ms // 1000 % 60:02d}",
            "length_s": row.length_ms / 1000,
            "caller": str(row.caller),
            "called": str(row.called),
            "kind": row.kind,
            "state": row.state,
        }
        for row in recordings
    ]
