"""A recorder and its database for every test that wants one."""

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from mediaserver.store.database import FILE_NAME, Database, open_database
from mediaserver.store.spool import Spool
from tests.support.recorder_room import Room


@pytest.fixture
async def database(tmp_path: Path, migrated_file: Path) -> AsyncIterator[Database]:
    shutil.copy(migrated_file, tmp_path / FILE_NAME)
    database = await open_database("", tmp_path)
    yield database
    await database.close()


@pytest.fixture
async def make_room(tmp_path: Path, database: Database) -> AsyncIterator[Callable[..., Room]]:
    spool = Spool(database, batch_delay_s=0, backoff_s=0)
    await spool.start()
    rooms: list[Room] = []

    def make(**settings: Any) -> Room:
        rooms.append(Room(tmp_path, database, spool, **{"min_free_mb": 0, **settings}))
        return rooms[-1]

    yield make
    for room in rooms:
        await room.recorder.stop()
    await spool.stop()


@pytest.fixture
async def room(make_room: Callable[..., Room]) -> Room:
    room = make_room()
    await room.recorder.start()
    return room
