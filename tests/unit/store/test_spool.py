"""The spool: calls go on whatever the database does."""

import asyncio
from collections.abc import Iterable
from typing import Any

from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError

from mediaserver.limits import STORE_BATCH_ROWS_MAX
from mediaserver.store.database import Database
from mediaserver.store.models import calls, quality_intervals, recordings
from mediaserver.store.spool import Row, Spool, statements_of, upsert


def call_row(call_id: str, **changes: Any) -> dict[str, Any]:
    return {
        "call_id": call_id,
        "caller": "1",
        "caller_name": "",
        "called": "2",
        "state": "up",
        "started_ms": 1,
        **changes,
    }


def sample_row(start_ms: int) -> dict[str, Any]:
    numbers = dict.fromkeys(
        ("mos", "mos_worst", "r", "loss", "late", "burst_ratio", "delay_ms", "jitter_ms", "concealed"), 1.0
    )
    texts = dict.fromkeys(("scale", "model", "codec", "codec_row", "basis", "missing"), "nb")
    return {
        "call_id": "c",
        "leg_id": "1",
        "direction": "sent",
        "start_ms": start_ms,
        "length_ms": 1,
        **numbers,
        **texts,
    }


async def count(database: Database, table: str) -> int:
    async with database.read() as connection:
        return int((await connection.execute(text(f"SELECT count(*) FROM {table}"))).scalar() or 0)


class Dying(Spool):
    """Fails its first writes as a dead database does."""

    failures = 0

    async def _write(self, batch: list[Row]) -> None:
        if self.failures:
            self.failures -= 1
            raise OperationalError("INSERT", {}, Exception("disk I/O error"))
        await super()._write(batch)


async def test_rows_arrive_in_batches(database: Database, spool: Spool) -> None:
    for index in range(2 * STORE_BATCH_ROWS_MAX + 1):
        assert spool.put(calls, call_row(str(index)))
    assert await spool.flush()
    assert await count(database, "calls") == spool.stats.rows_written == 2 * STORE_BATCH_ROWS_MAX + 1


async def test_a_later_row_of_the_same_key_overwrites_only_its_columns(database: Database, spool: Spool) -> None:
    spool.put(calls, call_row("a", reason="first", state="up"))
    spool.put(calls, call_row("a", state="ended", ended_ms=9))
    await spool.flush()
    async with database.read() as connection:
        row = (await connection.execute(select(calls))).mappings().one()
    assert (row["state"], row["ended_ms"], row["reason"]) == ("ended", 9, "first")


def test_what_a_burst_of_calls_brings_is_a_statement_per_table() -> None:
    batch: list[Row] = []
    for n in range(50):
        batch.append((calls, call_row(f"c{n}", state="new")))
        batch.append((quality_intervals, sample_row(n)))
        batch.append((calls, call_row(f"c{n}", state="ended", ended_ms=n)))
    of_calls, of_samples = sorted(statements_of(batch), key=lambda statement: statement[0].name)
    assert (of_calls[0], of_samples[0]) == (calls, quality_intervals)
    assert [(row["call_id"], row["state"], row["ended_ms"]) for row in of_calls[2]] == [
        (f"c{n}", "ended", n) for n in range(50)
    ]
    assert len(of_samples[2]) == 50
    assert batch[0][1]["state"] == "new", "a batch that must be sent again is as it was"


async def test_rows_with_other_columns_go_in_a_statement_of_their_own(database: Database, spool: Spool) -> None:
    spool.put(calls, call_row("a"))
    spool.put(calls, call_row("b", reason="said"))
    spool.put(calls, {"call_id": "a", "state": "ended", "started_ms": 5})
    assert await spool.flush()
    async with database.read() as connection:
        rows = (await connection.execute(select(calls).order_by(calls.c.call_id))).mappings().all()
    assert [(row["state"], row["started_ms"], row["reason"]) for row in rows] == [("ended", 5, ""), ("up", 1, "said")]


async def test_a_database_that_dies_loses_no_row_and_blocks_nobody(database: Database) -> None:
    spool = Dying(database, batch_delay_s=0, backoff_s=0)
    spool.failures = 3
    await spool.start()
    for index in range(100):
        assert spool.put(calls, call_row(str(index)))  # never waits, never raises
    assert await spool.flush()
    assert spool.stats.retries == 3
    assert not spool.stats.failing
    assert await count(database, "calls") == 100
    await spool.stop()


async def test_a_full_queue_drops_samples_and_keeps_facts(database: Database) -> None:
    spool = Spool(database, facts_max=2, samples_max=3)
    assert [spool.put(quality_intervals, sample_row(n), expendable=True) for n in range(4)] == [True, True, True, False]
    assert [spool.put(calls, call_row(str(n))) for n in range(3)] == [True, True, False]
    assert spool.stats.rows_dropped == 2
    assert len(spool) == 5


async def test_one_row_the_database_refuses_does_not_take_the_others_with_it(database: Database, spool: Spool) -> None:
    spool.put(calls, call_row("good"))
    spool.put(calls, call_row("bad", started_ms=None))  # NOT NULL
    spool.put(calls, call_row("fine"))
    assert await spool.flush()
    assert await count(database, "calls") == 2
    assert spool.stats.rows_refused == 1


async def test_a_deleted_database_file_is_replaced_and_later_rows_are_kept(database: Database, spool: Spool) -> None:
    spool.put(calls, call_row("before"))
    await spool.flush()
    assert database.path is not None
    for path in database.path.parent.glob("mediaserver.db*"):
        path.unlink()
    spool.put(calls, call_row("after"))
    assert await spool.flush()
    assert await count(database, "calls") == 1


async def test_stop_gives_up_on_a_dead_database_and_says_how_much_was_lost(database: Database) -> None:
    spool = Dying(database, batch_delay_s=0, backoff_s=0.01)
    spool.failures = 1_000_000
    await spool.start()
    spool.put(calls, call_row("lost"))
    await asyncio.sleep(0)
    await spool.stop(timeout_s=0.05)
    assert spool.stats.rows_dropped == 1


def test_both_dialects_get_the_same_upsert() -> None:
    def sql(dialect: str, columns: Iterable[str]) -> str:
        return str(upsert(recordings, columns, dialect).compile(compile_kwargs={"literal_binds": False}))

    for dialect in ("sqlite", "postgresql"):
        statement = upsert(recordings, ("recording_id", "state"), dialect)
        compiled = str(statement.compile(dialect=_dialect(dialect)))
        assert "ON CONFLICT (recording_id) DO UPDATE SET state = excluded.state" in compiled
        keys_only = upsert(recordings, ("recording_id",), dialect)
        assert "DO NOTHING" in str(keys_only.compile(dialect=_dialect(dialect)))


def _dialect(name: str) -> Any:
    from sqlalchemy.dialects import postgresql, sqlite

    return {"sqlite": sqlite, "postgresql": postgresql}[name].dialect()


def recording_row(recording_id: str, caller: str) -> dict[str, Any]:
    return {"recording_id": recording_id, "call_id": "c", "state": "complete", "kind": "call", "directory": "d",
            "caller": caller, "called": "602", "started_ms": 1}  # fmt: skip


async def test_a_row_that_the_driver_cannot_even_bind_costs_itself_alone(database: Database, spool: Spool) -> None:
    spool.put(recordings, {**recording_row("r1", "1"), "length_ms": 2**80})  # OverflowError, of no database
    spool.put(recordings, recording_row("r2", "2"))
    assert await spool.flush()
    assert await count(database, "recordings") == 1
    assert spool.stats.rows_refused == 1
    spool.put(recordings, recording_row("r3", "3"))
    assert await spool.flush()
    assert await count(database, "recordings") == 2
