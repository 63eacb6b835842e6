"""Reports over reviews: per agent, queue, question or reviewer and period, as JSON and as CSV.

Knows HTTP and the store; sums are made by `recording.score_report`. Everybody gets what his queues show; the role qa,
which is not to be led by others, only of calls that it has judged itself.
"""

from __future__ import annotations

import asyncio
import csv
import io
from dataclasses import replace
from typing import Any

from aiohttp import web

from mediaserver.api import review_words as words
from mediaserver.api.answers import SECURITY_HEADERS
from mediaserver.api.review_people import Who
from mediaserver.api.review_visits import Visits
from mediaserver.api.routes import BadRequest
from mediaserver.limits import REPORT_REVIEWS_MAX, REPORT_ROWS_MAX
from mediaserver.recording.score_report import KINDS, PERIODS, Report, ReportRow
from mediaserver.recording.scorecard import VALUES
from mediaserver.store.score_reports import Asked, ScoreReports

TEXTS = ("agent", "queue", "scorecard")
GIVEN = ("by", "period", "from", "until", "offset", *TEXTS)
OFFSET_MIN_MAX = 14 * 60  # Kiribati; the other end is -12 hours
COLUMNS = ("name", "period", "calls", "reviews", "mean", "failed", "compared")
SHEETS = {
    "agent": (*COLUMNS, "spread"),
    "queue": (*COLUMNS, "spread"),
    "reviewer": (*COLUMNS, "leaning", "distance"),
    "question": ("scorecard", "name", "text", *COLUMNS[1:], "spread", *VALUES, "furthest"),
}


class ReportApi:
    def __init__(self, visits: Visits, store: ScoreReports) -> None:
        self._visits, self._store = visits, store

    def routes(self, address: str) -> list[web.RouteDef]:
        return [web.get(address + "reports", self._report), web.get(address + "reports.csv", self._csv)]

    async def _report(self, request: web.Request) -> web.Response:
        who = await self._visits.who(request, "report")
        kind, rows = await self._rows(who, request, "read report")
        return web.json_response({"by": kind, "rows": [_json(row) for row in rows]})

    async def _csv(self, request: web.Request) -> web.Response:
        who = await self._visits.who(request, "report")
        kind, rows = await self._rows(who, request, "exported report")
        out = io.StringIO()
        sheet = csv.writer(out, quoting=csv.QUOTE_MINIMAL)
        columns = SHEETS[kind]
        sheet.writerow([kind if name == "name" else name for name in columns])
        for row in rows:
            values = _json(row)
            values |= values.pop("answers", {})
            values["furthest"] = "; ".join(f"{name} {away:+g}" for name, away in row.leanings.items() if away)
            sheet.writerow([words.safe_cell("" if values[name] is None else values[name]) for name in columns])
        return web.Response(
            text=out.getvalue(),
            headers={
                **SECURITY_HEADERS,
                "Content-Type": "text/csv; charset=utf-8",
                "Content-Disposition": f'attachment; filename="report-{kind}.csv"',
                "Cache-Control": "no-store",
            },
        )

    async def _rows(self, who: Who, request: web.Request, what: str) -> tuple[str, list[ReportRow]]:
        """Raises BadRequest, StorageError."""
        asked, kind, period, offset = _asked(who, request)
        await self._visits.note(
            who, what, None, {name: request.query[name] for name in GIVEN if request.query.get(name)}
        )
        asked = replace(asked, hidden=await self._visits.hidden(who))
        report, count = Report(kind, period, offset), 0
        async for piece in self._store.reviews(asked, answers=kind == "question"):
            await asyncio.to_thread(report.add, piece)  # a thousand cards of answers are some 20 ms of parsing
            count += len(piece)
            if count > REPORT_REVIEWS_MAX or len(report) > REPORT_ROWS_MAX:
                raise BadRequest(
                    f"that is more than {REPORT_REVIEWS_MAX:,} reviews or {REPORT_ROWS_MAX:,} lines; "
                    "ask for less time, longer periods, one queue or one agent"
                )
        cards = await self._store.cards() if kind == "question" else {}
        return kind, await asyncio.to_thread(report.rows, cards)


def _asked(who: Who, request: web.Request) -> tuple[Asked, str, str, int]:
    """Raises BadRequest."""
    query = request.query
    if unknown := sorted(set(query) - set(GIVEN)):
        raise BadRequest(f"unknown: {', '.join(unknown)[:100]}; known are {', '.join(GIVEN)}")
    kind, period = query.get("by", "agent"), query.get("period", "")
    if kind not in KINDS or period not in PERIODS:
        raise BadRequest(f"by is one of {', '.join(KINDS)}; period one of {', '.join(PERIODS[1:])}, or left out")
    texts: dict[str, Any] = {name: query[name].strip() for name in TEXTS if query.get(name)}
    if any(len(text) > words.FILTER_CHARS_MAX or not text.isprintable() for text in texts.values()):
        raise BadRequest(f"{', '.join(TEXTS)} have at most {words.FILTER_CHARS_MAX} printable characters")
    times: dict[str, Any] = {
        column: round(words.number(name, query[name], 0, 2**42) * 1000)
        for name, column in (("from", "from_ms"), ("until", "until_ms"))
        if query.get(name)
    }
    offset = int(words.number("offset", query.get("offset") or "0", -OFFSET_MIN_MAX, OFFSET_MIN_MAX))
    judged_by = "" if who.may("scores") else who.name
    return Asked(**texts, **times, queues=who.queues, judged_by=judged_by), kind, period, offset


def _json(row: ReportRow) -> dict[str, Any]:
    told: dict[str, Any] = {name: getattr(row, name) for name in (*COLUMNS, "spread", "leaning", "distance")}
    if row.scorecard:
        told |= {"scorecard": row.scorecard, "text": row.text, "answers": dict(row.answers)}
        told["leanings"] = dict(row.leanings)
    return told
