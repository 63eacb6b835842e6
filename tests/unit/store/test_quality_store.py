"""Quality in the database: hours that outlive their intervals, events, the worst calls; SQLite and PostgreSQL alike."""

import dataclasses
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, MetaData, Table, create_engine, insert
from sqlalchemy.ext.asyncio import create_async_engine

import mediaserver.store.database as database_module
from mediaserver.clock import VirtualClock
from mediaserver.quality.retention import Retention
from mediaserver.settings import QualitySettings
from mediaserver.store.database import Database, open_database
from mediaserver.store.models import HEAD_REVISION
from mediaserver.store.quality import HOUR_MS, QualityEvent, QualityRow, QualityStore, percentile_of
from mediaserver.store.spool import Spool
from tests.support.postgres import Postgres
from tests.unit.api.fake_facade import score

MIGRATIONS = Path(database_module.__file__).parent / "migrations"
BEFORE_QUALITY, BEFORE_SECONDS = "0002", "0010"
HOUR = 1_790_000_000_000 // HOUR_MS * HOUR_MS


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Postgres]:
    with Postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[QualityStore, Spool]]:
    url = ""
    if request.param == "postgresql":
        url = request.getfixturevalue("postgres").new_database()
    database: Database = await open_database(url, tmp_path / "data")
    spool = Spool(database, batch_delay_s=0, backoff_s=0)
    await spool.start()
    yield QualityStore(database, spool), spool
    await spool.stop()
    await database.close()


async def put(pair: tuple[QualityStore, Spool], *values: float, trunk: str = "carrier", at_ms: int = HOUR) -> None:
    store, spool = pair
    for number, mos in enumerate(values):
        made = dataclasses.replace(
            score(mos), trunk=trunk, leg_id=trunk or "1", start_ms=at_ms + 5_000 * number, loss=0.02
        )
        store.put(made)
    assert await spool.flush()


async def test_an_hour_is_summed_by_trunk_with_its_percentiles(store: tuple[QualityStore, Spool]) -> None:
    await put(store, *[4.2] * 18, 2.12, 3.5)
    await put(store, 4.4, trunk="")
    quality, _ = store
    assert await quality.roll_up(HOUR) == 2
    (hour,) = await quality.hours(HOUR, HOUR + 1, "carrier")
    assert (hour.intervals, hour.bad) == (20, 2)
    assert hour.mos_sum / hour.intervals == pytest.approx((18 * 4.2 + 2.12 + 3.5) / 20)
    assert (hour.percentile(0.05), hour.percentile(0.1), hour.percentile(0.5)) == (2.1, 3.5, 4.2)
    assert hour.mos_min == 2.12
    assert hour.loss_sum == pytest.approx(0.4)
    assert len(await quality.hours(HOUR, HOUR + 1)) == 2
    assert percentile_of([hour], 0.05) == 2.1


async def test_summing_again_replaces_and_never_doubles(store: tuple[QualityStore, Spool]) -> None:
    quality, _ = store
    await put(store, 4.0, 4.0)
    await quality.roll_up(HOUR)
    await put(store, 3.0, at_ms=HOUR + 60_000)
    await quality.roll_up(HOUR)
    (hour,) = await quality.hours(HOUR, HOUR + 1)
    assert hour.intervals == 3
    assert await quality.last_hour() == HOUR


async def test_hours_are_summed_again_after_a_long_silence(store: tuple[QualityStore, Spool]) -> None:
    """A weekend without a call, longer than what is summed in one go: Monday's hours are summed all the same."""
    quality, _ = store
    monday = HOUR + 100 * HOUR_MS
    await put(store, 4.0, 4.0)
    await put(store, 3.0, at_ms=monday)
    retention = Retention(QualitySettings(), quality, VirtualClock())
    await retention.roll_up(HOUR + 2 * HOUR_MS)
    assert await quality.last_hour() == HOUR
    await retention.roll_up(monday + 2 * HOUR_MS)
    assert [(hour.hour_ms, hour.intervals) for hour in await quality.hours(HOUR, monday + 1)] == [
        (HOUR, 2),
        (monday, 1),
    ]
    await retention.round(monday + 1_000 * 86_400_000)
    assert await quality.of_call("c1") == []
    assert await quality.hours(HOUR, monday + 1) == []


async def test_intervals_are_pruned_and_their_hour_stays(store: tuple[QualityStore, Spool]) -> None:
    quality, spool = store
    await put(store, 4.0, 4.0)
    quality.put_event(QualityEvent("c1", "1", HOUR, "dropout", 400.0, {"codec": "PCMU"}))
    assert await spool.flush()
    await quality.roll_up(HOUR)
    (event,) = await quality.events_of_call("c1")
    assert (event.kind, event.value, event.detail) == ("dropout", 400.0, {"codec": "PCMU"})
    assert await quality.prune(HOUR + HOUR_MS) == 3
    assert await quality.of_call("c1") == []
    assert len(await quality.hours(HOUR, HOUR + 1)) == 1
    assert await quality.prune_hours(HOUR + 1) == 1


async def test_the_worst_calls_come_first(store: tuple[QualityStore, Spool]) -> None:
    quality, spool = store
    for name, worst in (("good", 4.3), ("bad", 1.4), ("fair", 3.2)):
        quality.put(dataclasses.replace(score(4.0, whole_call=True), call_id=name, mos_worst=worst, start_ms=HOUR))
    assert await spool.flush()
    assert [row.call_id for row in await quality.worst_calls(HOUR, HOUR + 1, 2)] == ["bad", "fair"]


def test_scales_are_never_mixed_in_one_percentile() -> None:
    from mediaserver.store.quality import QualityHour

    hours = [QualityHour(0, "", "sent", "x", scale, 1, 0, 4.0, 4.0, 0, 0, 0, {40: 1}) for scale in ("nb", "wb")]
    with pytest.raises(ValueError, match="scales"):
        percentile_of(hours, 0.5)


def as_it_was(connection: Connection, revision: str, rows: list[QualityRow]) -> None:
    """The schema of that time, with rows in the columns that it had."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
    table = Table("quality_intervals", MetaData(), autoload_with=connection)
    values = [{name: getattr(row, name) for name in table.columns.keys()} for row in rows]  # noqa: SIM118  # not a dict
    connection.execute(insert(table), values)


@pytest.mark.parametrize(
    ("kind", "revision"), [("sqlite", BEFORE_QUALITY), ("sqlite", BEFORE_SECONDS), ("postgresql", BEFORE_QUALITY)]
)
async def test_an_older_servers_rows_are_read_summed_and_pruned(
    kind: str, revision: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rows = [
        score(
            4.2 if n else 2.0,
        )
        for n in range(20)
    ]
    rows = [
        QualityRow(**{**_fields(row), "start_ms": HOUR + 5_000 * n, "length_ms": 5_000}) for n, row in enumerate(rows)
    ]
    if kind == "sqlite":
        url = ""
        (tmp_path / "data").mkdir()
        engine = create_engine(f"sqlite:///{tmp_path}/data/mediaserver.db")
        with engine.begin() as connection:
            as_it_was(connection, revision, rows)
        engine.dispose()
    else:
        url = request.getfixturevalue("postgres").new_database()
        made = create_async_engine(url)
        async with made.begin() as opened:
            await opened.run_sync(as_it_was, revision, rows)
        await made.dispose()
    database = await open_database(url, tmp_path / "data")
    spool = Spool(database, batch_delay_s=0, backoff_s=0)
    await spool.start()
    store = QualityStore(database, spool)
    old = await store.of_call("c1")
    assert [row.mos for row in old] == [row.mos for row in rows]
    assert {(row.concealed_s, row.severe_s, row.cost_loss, row.trunk) for row in old} == {(None, None, 0.0, "")}
    new = QualityRow(**{**_fields(rows[0]), "start_ms": HOUR + 200_000, "concealed_s": 3, "severe_s": 1})
    store.put(new)
    assert await spool.flush()
    assert (await store.of_call("c1"))[-1] == new
    assert await store.roll_up(HOUR) == 1
    (hour,) = await store.hours(HOUR, HOUR + 1)
    assert (hour.intervals, hour.bad) == (21, 2)
    assert await store.prune(HOUR + 100_000) == 20
    assert await store.of_call("c1") == [new]
    await spool.stop()
    await database.close()
    assert HEAD_REVISION > BEFORE_SECONDS


def _fields(row: QualityRow) -> dict[str, object]:
    return {name: getattr(row, name) for name in QualityRow.__slots__}
