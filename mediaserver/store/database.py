"""Opening the database: SQLite in data_dir by default, PostgreSQL by URL. Migrated to HEAD before anyone reads it.

Owns the engine, its pragmas and the migration at start. Knows no table's meaning. Every failure to open becomes a
StorageError that says what is wrong, with which database, and what to do; passwords never appear in it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from mediaserver.errors import StorageError
from mediaserver.limits import STORE_BUSY_TIMEOUT_MS, STORE_CONNECTIONS_MAX
from mediaserver.store.models import HEAD_REVISION

FILE_NAME = "mediaserver.db"


class Database:
    """An open, migrated database. Make it with `open_database`."""

    def __init__(self, engine: AsyncEngine, path: Path | None, *, makes_folder: bool) -> None:
        self.engine = engine
        self._makes_folder = makes_folder
        self.path = path  # of the SQLite file; None: a server's
        self._inode = _inode(path)

    @property
    def dialect(self) -> str:
        return self.engine.dialect.name

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A connection to read with. Raises StorageError when the database does not answer."""
        try:
            async with self.engine.connect() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise StorageError(f"{self}: cannot read: {_reason(error)}") from error

    @contextlib.asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction, for commands of people (users add …); calls go through the Spool. Raises StorageError."""
        try:
            async with self.engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise StorageError(f"{self}: cannot write: {_reason(error)}") from error

    async def revive(self) -> None:
        """After a failure: drops the pooled connections and brings to HEAD whatever stands at the old place now."""
        await self.engine.dispose()
        if self.path is not None:
            _prepare_file(self.path, makes_folder=self._makes_folder)
        async with self.engine.begin() as connection:
            await connection.run_sync(migrate)
        self._inode = _inode(self.path)

    def file_vanished(self) -> bool:
        """True if the SQLite file was deleted or replaced under us: writes would go to a file nobody can read.

        Our open connection holds the old inode, so its number cannot have been given to another file.
        """
        return self.path is not None and _inode(self.path) != self._inode

    async def close(self) -> None:
        await self.engine.dispose()

    def __str__(self) -> str:
        return f"database {self.engine.url.render_as_string(hide_password=True)}"


async def open_database(url: str, data_dir: Path) -> Database:
    """Opens and migrates. url: SQLAlchemy async URL, empty for SQLite in `data_dir`. Raises StorageError."""
    try:
        parsed = make_url(url) if url else URL.create("sqlite+aiosqlite", database=str(data_dir / FILE_NAME))
        path = _sqlite_path(parsed)
        if path is not None:
            _prepare_file(path, makes_folder=not url)
        engine = _engine(parsed)
    except ArgumentError as error:
        raise StorageError(
            "store.url is not a database URL; write sqlite+aiosqlite:////path/file.db or "
            "postgresql+asyncpg://user:password@host/name, or leave it empty for SQLite in server.data_dir"
        ) from error
    except ModuleNotFoundError as error:
        raise StorageError(f"store.url needs the Python package {error.name!r}: pip install {error.name}") from error
    except OSError as error:
        raise StorageError(
            f"database file {path}: {error.strerror}; make the directory writable for this user"
        ) from error
    database = Database(engine, path, makes_folder=not url)
    try:
        async with engine.begin() as connection:
            await connection.run_sync(migrate)
    except StorageError:
        await engine.dispose()
        raise
    except (SQLAlchemyError, OSError) as error:
        await engine.dispose()
        raise StorageError(f"{database} cannot be opened: {_reason(error)}{_advice(path, error)}") from error
    return database


def migrate(connection: Connection) -> None:
    """Brings the schema to HEAD_REVISION. One query when it is there already. Raises StorageError if it is newer."""
    current = _revision(connection)
    if current == HEAD_REVISION:
        return
    if current is not None and current > HEAD_REVISION:
        raise StorageError(
            f"the database is at schema {current}, this version knows up to {HEAD_REVISION}: "
            "it was made by a newer mediaserver; install that one, or restore a backup"
        )
    from alembic import command  # 0.3 s of imports, paid only when there is something to migrate
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
    return None if row is None else str(row[0])


def _engine(url: URL) -> AsyncEngine:
    if url.get_backend_name() != "sqlite":
        return create_async_engine(url, pool_size=STORE_CONNECTIONS_MAX, pool_pre_ping=True, pool_timeout=10)
    engine = create_async_engine(
        url,
        pool_size=STORE_CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=10,
        connect_args={"timeout": STORE_BUSY_TIMEOUT_MS / 1000},
    )

    def set_pragmas(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        # WAL with NORMAL: a crash of the process loses nothing, a power cut the last transactions, never the file.
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    event.listen(engine.sync_engine, "connect", set_pragmas)
    return engine


def _sqlite_path(url: URL) -> Path | None:
    if url.get_backend_name() != "sqlite":
        return None
    if not url.database or url.database == ":memory:":
        raise ArgumentError("an in-memory database is lost at the end of each connection")
    return Path(url.database)


def _prepare_file(path: Path, *, makes_folder: bool) -> None:
    """Directory 0700 and file 0600 before SQLite makes them world-readable; its WAL takes the file's mode.

    makes_folder False: a folder somebody wrote into store.url must stand; making it would hide a typo, or a disk that
    is not mounted, behind an empty database. Raises OSError, StorageError.
    """
    if makes_folder:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    elif not path.parent.is_dir():
        raise StorageError(
            f"store.url names {path}, but there is no folder {path.parent}; make it, or correct store.url"
        )
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _inode(path: Path | None) -> int | None:
    if path is None:
        return None
    try:
        return path.stat().st_ino
    except OSError:
        return 0


def _reason(error: BaseException) -> str:
    """The driver's own words, without SQLAlchemy's statement and parameters: those may hold personal data."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return str(error.orig).strip() or type(error.orig).__name__
    return str(error).split("\n", 1)[0].strip() or type(error).__name__


def _advice(path: Path | None, error: BaseException) -> str:
    reason = _reason(error)
    if path is not None and "not a database" in reason:
        return f"; move {path} away to start with an empty one"
    if path is not None and "locked" in reason:
        return "; another process holds it, is a second server running on the same data_dir?"
    if path is None:
        return "; check store.url and that the database server accepts connections from here"
    return ""
