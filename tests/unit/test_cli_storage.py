"""The recordings commands on what lies in a bucket: they fetch it themselves, server or none."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mediaserver.cli import app
from mediaserver.cli_common import Exit
from mediaserver.store.database import open_database
from mediaserver.store.spool import Spool
from tests.support import s3
from tests.support.kept import Kept
from tests.support.recorder_room import Room


async def move_one(folder: Path, endpoint: str) -> Kept:
    database = await open_database("", folder)
    spool = Spool(database, batch_delay_s=0, backoff_s=0)
    await spool.start()
    room = Room(folder, database, spool, min_free_mb=0)
    await room.recorder.start()
    kept = Kept(room, s3.blobs(endpoint))
    await kept.record()
    await kept.shipper.round()
    await room.recorder.stop()
    await spool.stop()
    await database.close()
    return kept


def test_commands_read_from_the_bucket_and_tell_what_is_wrong_there(
    tmp_path: Path, faulty: s3.FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = asyncio.run(move_one(tmp_path, faulty.endpoint))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mediaserver.toml").write_text(
        f'[server]\ndata_dir = "."\n[recording]\nmin_free_mb = 0\n[s3]\nbucket = "recordings"\nprefix = "a"\n'
        f'endpoint = "{faulty.endpoint}"\naccess_key_id = "key"\nsecret_access_key = "{s3.SECRET}"\n'
    )

    def run(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["recordings", *words])
        return result.exit_code, result.output

    code, text = run("check-bucket")
    assert (code, text.startswith("1 recordings, ") and "all as it was brought there" in text) == (0, True)
    assert run("check-bucket", "zz")[0] == 1
    listed = json.loads(run("list", "--json")[1])
    assert [(row["id"], row["storage"]) for row in listed] == [(kept.id, "remote")]
    code, text = run("verify", kept.id)
    assert (code, "proven: every byte is as it was signed" in text) == (0, True)
    assert run("export", kept.id, "--output", "call.wav")[0] == 0
    assert (tmp_path / "call.wav").read_bytes()[:4] == b"RIFF"
    for path in kept.folder.glob("*.journal"):
        path.unlink()
    for path in faulty.objects:
        if path.endswith("1.journal.0000"):
            faulty.objects[path] = b"noise"
    del faulty.objects[next(path for path in faulty.objects if path.endswith("2.journal.0000"))]
    code, text = run("check-bucket", kept.id)
    text = " ".join(text.split())
    assert code == 1
    assert f"{kept.directory}/1.journal.0000 is not what was brought there: 5 bytes" in text
    assert f"{kept.directory}/2.journal.0000 is missing" in text
    code, text = run("export", kept.id, "--output", "again.wav")
    assert code == Exit.UNREACHABLE
    assert "is not what was brought there" in " ".join(text.split())
    assert s3.SECRET not in text
    assert not (tmp_path / "again.wav").exists()


def test_a_recording_is_removed_by_name_and_the_ledger_tells_it(
    tmp_path: Path, faulty: s3.FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = asyncio.run(move_one(tmp_path, faulty.endpoint))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mediaserver.toml").write_text('[server]\ndata_dir = "."\n')

    def run(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["recordings", *words])
        return result.exit_code, " ".join(result.output.split())

    code, text = run("ledger")
    assert (code, text.startswith("whole: 1 closed, 0 of them removed; head ")) == (0, True)
    assert run("erase", kept.id, "--party", "2", "--reason", "asked for it", "--by", "olga") == (
        0,
        "unreadable now: 2.journal",
    )
    assert "olga" in (tmp_path / "recordings" / kept.directory / "manifest.jsonl").read_text()
    assert run("remove", kept.id, "--reason", " ")[0] == 1
    assert run("remove", kept.id, "--reason", "wrong number", "--by", "anna")[0] == 0
    assert run("remove", kept.id, "--reason", "wrong number")[0] == 1
    code, text = run("ledger", "--expect", text.rsplit(" ", 1)[1])
    assert code == 0
    assert f"{kept.id}: removed by anna at " in text
    (row,) = json.loads(run("list", "--json")[1])
    assert (row["state"], row["storage"]) == ("removed", "removing")
    code, text = run("ledger", "--expect", "0" * 64)
    assert (code, "its end was cut off" in text) == (1, True)
