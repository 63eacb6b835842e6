"""Opening: what people get when it works, and what they read when it does not."""

import re
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateIndex, CreateTable

import mediaserver.store.database as database_module
from mediaserver.errors import StorageError
from mediaserver.store.database import Database, open_database
from mediaserver.store.models import HEAD_REVISION, metadata

MIGRATIONS = Path(database_module.__file__).parent / "migrations"


async def test_a_migrated_database_is_exactly_what_the_models_say(database: Database) -> None:
    async with database.read() as connection:
        differences = await connection.run_sync(
            lambda c: compare_metadata(MigrationContext.configure(c, opts={"compare_type": True}), metadata)
        )
    assert differences == []


def test_the_head_revision_constant_names_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == HEAD_REVISION


async def test_sqlite_runs_with_a_write_ahead_log_and_private_files(database: Database) -> None:
    async with database.read() as connection:
        assert (await connection.execute(text("PRAGMA journal_mode"))).scalar() == "wal"
        assert (await connection.execute(text("PRAGMA synchronous"))).scalar() == 1
        assert (await connection.execute(text("PRAGMA busy_timeout"))).scalar() == 5_000
    assert database.path is not None
    assert stat.S_IMODE(database.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(database.path.parent.stat().st_mode) == 0o700


async def test_opening_an_up_to_date_database_never_imports_alembic(tmp_path: Path) -> None:
    await (await open_database("", tmp_path)).close()
    program = (
        "import asyncio, sys, pathlib\n"
        "from mediaserver.store.database import open_database\n"
        "async def main():\n"
        "    await (await open_database('', pathlib.Path(sys.argv[1]))).close()\n"
        "asyncio.run(main())\n"
        "print('alembic' in sys.modules)\n"
    )
    run = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


async def test_a_file_that_is_no_database_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "mediaserver.db").write_bytes(b"this is a letter to my aunt" * 100)
    with pytest.raises(StorageError, match=r"not a database; move .*mediaserver\.db away"):
        await open_database("", tmp_path)


async def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"database file .*mediaserver\.db.*make the directory writable"):
        await open_database("", tmp_path / "file" / "data")


async def test_a_missing_folder_in_the_url_is_named_and_not_made(tmp_path: Path) -> None:
    folder = tmp_path / "typo"
    with pytest.raises(StorageError, match=rf"there is no folder {re.escape(str(folder))}; make it, or correct"):
        await open_database(f"sqlite+aiosqlite:///{folder}/x.db", tmp_path)
    assert not folder.exists()


async def test_the_default_data_dir_is_made(tmp_path: Path) -> None:
    database = await open_database("", tmp_path / "new" / "data")
    await database.close()
    assert (tmp_path / "new" / "data" / "mediaserver.db").exists()


async def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    database = await open_database("", tmp_path)
    await database.close()
    with sqlite3.connect(tmp_path / "mediaserver.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(StorageError, match=r"schema 9999.*newer mediaserver"):
        await open_database("", tmp_path)


async def test_a_locked_database_is_said_to_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_module, "STORE_BUSY_TIMEOUT_MS", 1)
    holder = sqlite3.connect(tmp_path / "mediaserver.db", isolation_level=None)
    holder.execute("PRAGMA locking_mode=EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(StorageError, match=r"locked; another process holds it"):
            await open_database("", tmp_path)
    finally:
        holder.close()


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("not a url", "store.url is not a database URL"),
        ("sqlite+aiosqlite://", "store.url is not a database URL"),
        ("postgresql+nodriver://u:p@h/d", "store.url"),
    ],
)
async def test_a_wrong_url_is_explained(url: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=says):
        await open_database(url, tmp_path)


async def test_a_password_in_the_url_is_never_shown(tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        await open_database("postgresql+asyncpg://bob:hunter2@127.0.0.1:1/calls", tmp_path)
    assert "hunter2" not in str(caught.value)


async def test_a_second_process_may_read_and_write_beside_the_first(database: Database) -> None:
    assert database.path is not None
    async with database.read() as connection:
        await connection.execute(text("SELECT count(*) FROM users"))
        other = sqlite3.connect(database.path)
        other.execute("INSERT INTO users VALUES ('a','r','x','y','','',0,0)")
        other.commit()
        other.close()
    async with database.read() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM users"))).scalar() == 1


async def test_a_deleted_file_is_noticed_and_made_anew(database: Database) -> None:
    assert database.path is not None
    for suffix in ("", "-wal", "-shm"):
        Path(f"{database.path}{suffix}").unlink(missing_ok=True)
    assert database.file_vanished()
    await database.revive()
    assert not database.file_vanished()
    async with database.read() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM calls"))).scalar() == 0


def test_migrations_ship_inside_the_package() -> None:
    assert {"env.py", "script.py.mako", "versions"} <= {path.name for path in MIGRATIONS.iterdir()}


def test_every_table_and_index_can_be_made_by_postgresql() -> None:
    for table in metadata.sorted_tables:
        assert "CREATE TABLE" in str(CreateTable(table).compile(dialect=postgresql.dialect()))
        for index in table.indexes:
            assert "CREATE INDEX" in str(CreateIndex(index).compile(dialect=postgresql.dialect()))
