"""Call detail records: one row per call, one per leg, written as the call goes on and final when it ends.

Owns the rows of `calls` and `legs`. Follows calls by the observer methods (`call_started` … `call_ended`), which only
queue: nothing here waits for a disk. Read back for the API and the CLI.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, Table, or_, select, update

from mediaserver.model import CallFacts, LegFacts, LegStats, Masked, MediaAddress, StreamSettings
from mediaserver.store.database import Database
from mediaserver.store.models import calls, legs, quality_intervals
from mediaserver.store.spool import Spool

# Of LegStats, what says nothing once the leg is closed or has a column of its own.
STATS_LEFT_OUT = ("leg", "at_ns", "codec", "source", "level_dbov")
STATS_KEPT = tuple(field.name for field in dataclasses.fields(LegStats) if field.name not in STATS_LEFT_OUT)
STATS_JSON = json.JSONEncoder(separators=(",", ":"), default=dataclasses.asdict)  # a peer's XR is a value of its own
TEXT_LENGTH_MAX = 255  # column width of numbers and names; what a peer sends may be longer and is cut


@dataclass(frozen=True, slots=True)
class CallRow:
    """A stored call as the API and the CLI show it. Times are UTC milliseconds."""

    call_id: str
    caller: Masked
    caller_name: Masked
    called: Masked
    identity: str | None
    route: str | None
    program: str | None
    state: str
    started_ms: int
    answered_ms: int | None
    ended_ms: int | None
    cause: str | None
    ended_by: str | None
    sip_status: int | None
    reason: str
    recording_id: str | None
    legs: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    quality: tuple[dict[str, Any], ...] = field(default=(), repr=False)


class CallStore:
    """Observes calls and keeps their records."""

    def __init__(self, database: Database, spool: Spool | None = None) -> None:
        """spool: None for a command that only reads."""
        self._database = database
        self._spool = spool

    # -- what the call room reports

    def call_started(self, call: CallFacts) -> None:
        self._put(calls, _call_columns(call))

    def leg_opened(self, call_id: str, leg: LegFacts, stream: StreamSettings) -> None:
        self._put(legs, _leg_columns(call_id, leg))

    def leg_changed(self, call_id: str, leg: LegFacts, stream: StreamSettings) -> None:
        self._put(legs, _leg_columns(call_id, leg))

    def leg_closed(self, call_id: str, leg: LegFacts, stats: LegStats | None) -> None:
        columns = _leg_columns(call_id, leg)
        if stats is not None:
            columns["stats"] = stats_json(stats)
        self._put(legs, columns)

    def call_ended(self, call: CallFacts) -> None:
        self._put(calls, _call_columns(call))
        for leg in call.legs:
            self._put(legs, _leg_columns(call.call_id, leg))

    def _put(self, table: Table, values: dict[str, Any]) -> None:
        assert self._spool is not None, "this store was opened to read"
        self._spool.put(table, values)

    # -- reading

    async def list(self, *, limit: int = 100, before_ms: int | None = None, number: str | None = None) -> list[CallRow]:
        """Newest first. before_ms: only calls that started earlier (the next page). number: caller or called, exact."""
        query: Select[Any] = select(calls).order_by(calls.c.started_ms.desc(), calls.c.call_id).limit(limit)
        if before_ms is not None:
            query = query.where(calls.c.started_ms < before_ms)
        if number is not None:
            query = query.where(or_(calls.c.caller == number, calls.c.called == number))
        async with self._database.read() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return [_call_row(dict(row)) for row in rows]

    async def show(self, call_id: str) -> CallRow | None:
        """One call with its legs and the quality of each, intervals and whole call."""
        async with self._database.read() as connection:
            row = (await connection.execute(select(calls).where(calls.c.call_id == call_id))).mappings().first()
            if row is None:
                return None
            leg_rows = await connection.execute(
                select(legs).where(legs.c.call_id == call_id).order_by(legs.c.opened_ms, legs.c.leg_id)
            )
            quality_rows = await connection.execute(
                select(quality_intervals)
                .where(quality_intervals.c.call_id == call_id)
                .order_by(quality_intervals.c.start_ms, quality_intervals.c.leg_id)
            )
            return _call_row(
                dict(row),
                tuple(_leg_dict(dict(r)) for r in leg_rows.mappings()),
                tuple(dict(r) for r in quality_rows.mappings()),
            )

    async def close_interrupted(self) -> int:
        """At start, before the first call: calls that a crash left open are marked so. Returns how many."""
        async with self._database.write() as connection:
            result = await connection.execute(
                update(calls).where(calls.c.ended_ms.is_(None)).values(state="interrupted", ended_ms=calls.c.started_ms)
            )
        return int(result.rowcount)


def stats_json(stats: LegStats) -> str:
    return STATS_JSON.encode({name: getattr(stats, name) for name in STATS_KEPT})


def _ms(wall: float | None) -> int | None:
    return None if wall is None else round(wall * 1000)


def _cut(value: str | None) -> str | None:
    """Peers' text cut to the column, without NUL (PostgreSQL refuses it) or lone surrogates (drivers refuse them)."""
    if value is None:
        return None
    return str(value).replace("\0", "").encode("utf-8", "replace").decode()[:TEXT_LENGTH_MAX]


def _address(address: MediaAddress | None) -> str | None:
    if address is None:
        return None
    return f"[{address.host}]:{address.port}" if ":" in address.host else f"{address.host}:{address.port}"


def _call_columns(call: CallFacts) -> dict[str, Any]:
    return {
        "call_id": call.call_id,
        "caller": _cut(call.caller),
        "caller_name": _cut(call.caller_name),
        "called": _cut(call.called),
        "identity": _cut(call.identity),
        "route": _cut(call.route),
        "program": _cut(call.program),
        "state": call.state,
        "started_ms": _ms(call.started_wall),
        "answered_ms": _ms(call.answered_wall),
        "ended_ms": _ms(call.ended_wall),
        "cause": None if call.cause is None else call.cause.value,
        "ended_by": call.ended_by,
        "sip_status": call.sip_status,
        "reason": _cut(call.reason),
        "recording_id": call.recording_id,
    }


def _leg_columns(call_id: str, leg: LegFacts) -> dict[str, Any]:
    return {
        "call_id": call_id,
        "leg_id": leg.leg_id,
        "role": leg.role,
        "number": _cut(leg.number),
        "identity": _cut(leg.identity),
        "sip_call_id": _cut(leg.sip_call_id),
        "codec": leg.codec,
        "security": None if leg.security is None else str(leg.security),
        "remote": _address(leg.remote),
        "source": _address(leg.source),
        "opened_ms": _ms(leg.opened_wall),
        "answered_ms": _ms(leg.answered_wall),
        "ended_ms": _ms(leg.ended_wall),
        "cause": None if leg.cause is None else leg.cause.value,
        "sip_status": leg.sip_status,
    }


def _call_row(
    row: dict[str, Any], leg_rows: tuple[dict[str, Any], ...] = (), quality: tuple[dict[str, Any], ...] = ()
) -> CallRow:
    for name in ("caller", "caller_name", "called"):
        row[name] = Masked(row[name])
    return CallRow(**row, legs=leg_rows, quality=quality)


def _leg_dict(row: dict[str, Any]) -> dict[str, Any]:
    row["number"] = Masked(row["number"])
    row["stats"] = None if row["stats"] is None else json.loads(row["stats"])
    return row
