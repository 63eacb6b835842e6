"""`mediaserver recordings`: what was recorded, and playable files of it. Works on disk and database, server or none."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any

import typer

from mediaserver.cli_common import ConfigOption, JsonOption, load_settings, show, told_as_text
from mediaserver.settings import Settings

app = typer.Typer(
    no_args_is_help=True,
    help="""Recordings of calls.

    [bold]mediaserver recordings export ID --format wav --output call.wav[/bold] writes a stereo file, both parties in
    step.""",
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
