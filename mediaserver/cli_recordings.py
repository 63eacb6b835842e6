"""`mediaserver recordings`: what was recorded, and playable files of it. Works on disk and database, server or none."""

from __future__ import annotations

import asyncio
import enum
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from mediaserver.recording.keeping import Keeper
    from mediaserver.recording.verify import Report


class Form(enum.StrEnum):
    WAV = "wav"
    OPUS = "opus"
    LANES = "lanes"
    PEAKS = "peaks"
    WEBM = "webm"
    MP4 = "mp4"


class Seen(enum.StrEnum):
    CAMERA = "camera"
    SCREEN = "screen"


class Channels(enum.StrEnum):
    ONE = "one"
    TWO = "two"
    EACH = "each"


RecordingId = Annotated[str, typer.Argument(metavar="ID", help="As `mediaserver recordings list` shows it.")]
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
            "storage": "Lies",
        }
        show(rows, columns, as_json=as_json, empty="no recordings yet: dial 602 to make one", whole=("id",))


@app.command()
def export(
    recording_id: Annotated[str, typer.Argument(metavar="ID", help="As `mediaserver recordings list` shows it.")],
    form: Annotated[
        Form,
        typer.Option(
            "--format",
            help="wav: 16 bit. opus: a tenth of the size. lanes: what happened when, JSON. peaks: waveform. "
            "webm, mp4: what was shown, with the sound; one picture as it was sent, several side by side (webm).",
        ),
    ] = Form.WAV,
    channels: Annotated[
        Channels,
        typer.Option("--channels", help="two: caller left, others right. each: one a party. one: mono."),
    ] = Channels.TWO,
    party: Annotated[
        str | None, typer.Option("--party", help="Only this party: its leg's number in the call. Without it all.")
    ] = None,
    picture: Annotated[
        Seen | None,
        typer.Option("--picture", help="Of a film: the camera or the shared screen. Without it what there is."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; without it ID.wav, ID.opus … here.")
    ] = None,
    heard: Annotated[
        bool, typer.Option("--heard", help="As the others heard it, through the jitter buffer; else as it was sent.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a playable file of a recording: the caller left, the other party right, both in step.

    [bold]mediaserver recordings export 20261122-… --format opus --output call.opus[/bold]
    [bold]mediaserver recordings export 20261122-… --format webm --party 1[/bold]
    """
    with told_as_text():
        target = output or Path(f"{recording_id}.{form.value}")
        if target.exists() and not force:
            raise CommandFailed(f"{target} exists already; --force replaces it")
        if heard and form in (Form.WEBM, Form.MP4):
            raise CommandFailed("a film has the sound as it was sent; --heard goes with wav, opus, peaks and lanes")
        wanted = _Wanted(form, channels, party, None if picture is None else picture.value, heard)
        written = asyncio.run(_export(load_settings(config), recording_id, wanted, target))
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
        given = folder.is_dir()
        if not given:
            folder = _folder_of(settings, recording)
        public = load_public(public_key or settings.server.data_dir / PUBLIC_NAME)
        report = verify_directory(folder, public) if given else asyncio.run(_verify_kept(settings, folder, public))
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
        changed, kept = keys.rewrap(recordings_root(settings), ring)
        text = f"{changed} keys wrapped by master key {ring.current.master_id}, {kept} were so already"
        done(text, as_json=as_json, changed=changed, kept=kept, master=ring.current.master_id)


Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the signed manifest.")]


@app.command()
def hold(
    recording_id: RecordingId,
    reason: Annotated[str, typer.Option("--reason", help="Why it must not be deleted; empty: release it.")],
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a recording on legal hold, so that neither retention nor erasure touches it; --reason "" releases it."""
    with told_as_text():
        asyncio.run(keep(load_settings(config), lambda keeper: keeper.hold(recording_id, reason)))
        done(f"{recording_id}: {'on hold' if reason else 'released'}", as_json=as_json, id=recording_id, hold=reason)


@app.command()
def vcon(
    recording_id: RecordingId,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File; without it ID.vcon.json.")] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a recording as a vCon (IETF): parties, audio, and for each party on what its consent rests."""
    with told_as_text():
        target = output or Path(f"{recording_id}.vcon.json")
        asyncio.run(_vcon(load_settings(config), recording_id, target))
        done(f"{target} ({target.stat().st_size:,} bytes)", as_json=as_json, id=recording_id, file=str(target))


@app.command()
def subject(
    number: Annotated[str, typer.Argument(help="The person's number, as recordings name it.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="ZIP to write.")] = Path("subject.zip"),
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write what is kept of one person: its own channel of every recording, its consent, the rows (GDPR art. 15)."""
    with told_as_text():
        count = asyncio.run(_subject(load_settings(config), number, output))
        done(f"{output}: {count} recordings", as_json=as_json, file=str(output), recordings=count)


async def _verify_kept(settings: Settings, folder: Path, public: Ed25519PublicKey) -> Report:
    from mediaserver.recording.cabinet import open_cabinet
    from mediaserver.recording.verify import verify_directory

    root = recordings_root(settings)
    async with open_cabinet(settings, root).held(str(folder.relative_to(root))):
        return await asyncio.to_thread(verify_directory, folder, public)


async def keep(settings: Settings, work: Callable[[Keeper], Awaitable[Any]]) -> Any:
    from mediaserver.recording import keys
    from mediaserver.recording.keeping import EXPORTS, Keeper
    from mediaserver.store.database import open_database
    from mediaserver.store.recordings import RecordingStore

    data_dir = settings.server.data_dir
    database = await open_database(settings.store.url, data_dir)
    try:
        ring = keys.load_ring(settings.recording, data_dir)
        store = RecordingStore(database)
        return await work(
            Keeper(recordings_root(settings), store, keys.load_signer(data_dir), ring, data_dir / EXPORTS)
        )
    except LookupError as error:
        raise CommandFailed(str(error.args[0])) from error
    finally:
        await database.close()


async def _vcon(settings: Settings, recording_id: str, target: Path) -> None:
    from mediaserver.recording import manifest
    from mediaserver.recording.cabinet import open_cabinet
    from mediaserver.recording.export import export_recording
    from mediaserver.recording.policy import bases_of, load_policies
    from mediaserver.recording.vcon import make_vcon

    async def work(keeper: Keeper) -> None:
        row = await keeper.store.get(recording_id)
        if row is None:
            raise LookupError(f"there is no recording {recording_id}; see: mediaserver recordings list")
        assert keeper.ring is not None
        audio = target.with_suffix(".ogg.part")
        try:
            cabinet = open_cabinet(settings, keeper.root)
            await export_recording(keeper.root, keeper.ring, row, "opus", audio, cabinet=cabinet)
            lines = manifest.read_lines(keeper.root / row.directory / manifest.NAME)
            evidence = await keeper.store.evidence(recording_id)
            made = make_vcon(
                row,
                evidence,
                audio,
                "audio/ogg",
                manifest=lines,
                bases=bases_of(load_policies(settings.recording).rules),
                heard=manifest.heard(keeper.root / row.directory),
                created_wall=time.time(),
            )
        finally:
            audio.unlink(missing_ok=True)
        await asyncio.to_thread(_write_private, target, json.dumps(made, indent=2, ensure_ascii=False))

    await keep(settings, work)


def _write_private(target: Path, text: str) -> None:
    target.touch(mode=0o600)
    target.write_text(text, "utf-8")


async def _subject(settings: Settings, number: str, output: Path) -> int:
    from mediaserver.recording.cabinet import open_cabinet
    from mediaserver.recording.keeping import collect_subject

    async def work(keeper: Keeper) -> int:
        with tempfile.TemporaryDirectory(dir=output.parent) as folder:
            return await collect_subject(keeper, number, output, Path(folder), open_cabinet(settings, keeper.root))

    return int(await keep(settings, work))


def recordings_root(settings: Settings) -> Path:
    return settings.recording.directory or settings.server.data_dir / "recordings"


def _folder_of(settings: Settings, recording_id: str) -> Path:
    from mediaserver.recording.catalogue import SAFE_NAME

    safe = SAFE_NAME.fullmatch(recording_id)
    found = next(recordings_root(settings).glob(f"[0-9]*/[0-9]*/[0-9]*/{recording_id}"), None) if safe else None
    if found is None:
        raise CommandFailed(f"there is no recording {recording_id} under {recordings_root(settings)}")
    return found


@dataclass(frozen=True, slots=True)
class _Wanted:
    form: Form
    channels: Channels
    party: str | None
    picture: str | None
    heard: bool


async def _export(settings: Settings, recording_id: str, wanted: _Wanted, target: Path) -> Path:
    from mediaserver.store.database import open_database
    from mediaserver.store.recordings import RecordingStore

    database = await open_database(settings.store.url, settings.server.data_dir)
    try:
        row = await RecordingStore(database).get(recording_id)
    finally:
        await database.close()
    if row is None:
        raise CommandFailed(f"there is no recording {recording_id}; see: mediaserver recordings list")
    from mediaserver.recording.cabinet import open_cabinet
    from mediaserver.recording.export import export_recording  # renders, so it loads what decodes
    from mediaserver.recording.keys import load_ring

    ring = load_ring(settings.recording, settings.server.data_dir)
    try:
        root = recordings_root(settings)
        cabinet = open_cabinet(settings, root)
        return await export_recording(
            root,
            ring,
            row,
            wanted.form.value,
            target,
            channels=wanted.channels.value,
            only_leg=wanted.party,
            picture=wanted.picture,
            cabinet=cabinet,
            heard=wanted.heard,
        )
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
            "storage": row.storage,
            "storage_problem": row.storage_problem,
        }
        for row in recordings
    ]
