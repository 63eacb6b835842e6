"""S3 for whoever asks: one moto per test process, and a server that fails on purpose, new for each test. And a migrated
database to copy: migrating one takes as long as most tests that need it."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mediaserver.store.database import FILE_NAME, open_database
from tests.support import s3


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("migrated")

    async def make() -> None:
        await (await open_database("", folder)).close()

    with ThreadPoolExecutor(1) as pool:  # a loop of its own, whatever runs here
        pool.submit(asyncio.run, make()).result()
    return folder / FILE_NAME


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    with s3.moto() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(moto_endpoint: str, request: pytest.FixtureRequest) -> str:
    """A bucket of this test alone."""
    name = f"b{abs(hash(request.node.nodeid)):x}"
    s3.make_bucket(moto_endpoint, name)
    return name


@pytest.fixture
def faulty() -> Iterator[s3.FaultyS3]:
    server = s3.FaultyS3()
    yield server
    server.close()
