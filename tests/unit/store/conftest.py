from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mediaserver.store.database import Database, open_database
from mediaserver.store.spool import Spool


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    database = await open_database("", tmp_path / "data")
    yield database
    await database.close()


@pytest.fixture
async def spool(database: Database) -> AsyncIterator[Spool]:
    spool = Spool(database, batch_delay_s=0, backoff_s=0)
    await spool.start()
    yield spool
    await spool.stop()
