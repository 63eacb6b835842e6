"""What reviewers send, checked: filters, pages, comments, played seconds. Whatever else is sent is a BadRequest.

Owns the translation between the words of the API (seconds, shares in percent as fractions) and those of the store.
"""

from __future__ import annotations

import base64
import csv
import io
import math
from collections.abc import Container, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from mediaserver.api.routes import BadRequest, json_object
from mediaserver.limits import REVIEW_NAME_CHARS_MAX, REVIEW_PLAYED_MAX, REVIEW_TEXT_CHARS_MAX
from mediaserver.model import Masked
from mediaserver.store.review import Access, Comment
from mediaserver.store.review_answers import ReviewAnswer
from mediaserver.store.review_search import FoundCall, Place, Search
from mediaserver.store.scorecards import Review

TEXTS = ("agent", "queue", "consent", "ended_by", "tag")
SECONDS = {"from": "from_ms", "until": "until_ms", "length_min": "length_min_ms", "length_max": "length_max_ms"}
NUMBERS = ("mos_below", "silence_above", "overtalk_above", "score_below")
FILTERS = ("number", *TEXTS, *SECONDS, *NUMBERS)
FILTER_CHARS_MAX = 255
# A cell that begins so is a formula to a spreadsheet (OWASP, CSV injection).
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
COLUMNS = ("id", "call_id", "started", "length", "queue", "agent", "caller", "called", "consent", "ended_by", "mos",
           "silence", "overtalk", "score", "tags")  # fmt: skip


def search_of(given: Mapping[str, str]) -> Search:
    """Raises BadRequest."""
    if unknown := sorted(set(given) - {*FILTERS, "limit", "after"}):
        raise BadRequest(f"unknown: {', '.join(unknown)[:100]}; filters are {', '.join(FILTERS)}")
    values: dict[str, Any] = {}
    for name in ("number", *TEXTS):
        text = given.get(name, "").strip()
        if len(text) > FILTER_CHARS_MAX or not text.isprintable():
            raise BadRequest(f"{name} must be at most {FILTER_CHARS_MAX} printable characters")
        values[name] = text
    dialled = "".join(mark for mark in values["number"] if mark not in " ()-\u00a0")
    values["number"] = Masked(dialled) if dialled else None
    for name, column in SECONDS.items():
        if given.get(name):
            values[column] = round(number(name, given[name], 0, 2**42) * 1000)
    for name in NUMBERS:
        if given.get(name):
            values[name] = number(name, given[name], 0, 100)
    return Search(**values)


MS_DIGITS_MAX = 18  # of a time in ms: a database's integer holds it


def number(name: str, text: object, low: float, high: float) -> float:
    """Raises BadRequest."""
    try:
        value = float(text) if isinstance(text, str | int | float) and not isinstance(text, bool) else math.nan
    except (ValueError, OverflowError):
        value = math.nan
    if not low <= value <= high:
        raise BadRequest(f"{name} is {str(text)[:40]!r}; allowed: {low:g} to {high:g}")
    return value


def whole(name: str, given: object, low: int, high: int) -> int:
    """Raises BadRequest, also for what would have to be rounded."""
    value = number(name, given, low, high)
    if not value.is_integer():
        raise BadRequest(f"{name} is {str(given)[:40]!r}; it must be a whole number")
    return int(value)


def place_of(text: str | None) -> Place | None:
    if not text:
        return None
    try:
        started, _, recording_id = base64.urlsafe_b64decode(text.encode()).decode().partition(" ")
        if not started.isascii() or not started.isdigit() or len(started) > MS_DIGITS_MAX:
            raise ValueError(started)
        return Place(int(started), recording_id)
    except (ValueError, UnicodeError) as error:
        raise BadRequest("after is not what an answer gave") from error


def place_text(call: FoundCall) -> str:
    return base64.urlsafe_b64encode(f"{call.started_ms} {call.recording_id}".encode()).decode()


async def body_of(request: web.Request, required: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Any]:
    """A JSON object with these keys. Raises BadRequest."""
    body = await json_object(request)
    if set(body) - {*required, *optional} or set(required) - set(body):
        raise BadRequest(
            f"needed: {', '.join(required) or 'nothing'}; allowed besides: {', '.join(optional) or 'nothing'}"
        )
    return body


def text_of(body: Mapping[str, Any], name: str, longest: int, *, lines: bool = False) -> str:
    """Printable text, with line ends where allowed, not empty. Raises BadRequest."""
    text = body.get(name)
    plain = text.replace("\n", " ") if isinstance(text, str) and lines else text
    if not isinstance(text, str) or not isinstance(plain, str) or not text.strip() or len(text) > longest:
        raise BadRequest(f"{name} must be a text of 1 to {longest} characters")
    if not plain.isprintable():
        raise BadRequest(f"{name} may hold printable characters only")
    return text.strip()


def comment_of(body: Mapping[str, Any], length_ms: int) -> tuple[int, int, str]:
    text = text_of(body, "text", REVIEW_TEXT_CHARS_MAX, lines=True)
    end_s = length_ms / 1000 + 1
    first = number("from", body["from"], 0, end_s)
    last = number("to", body.get("to", first), first, end_s)
    return round(first * 1000), round(last * 1000), text


def name_of(text: str) -> str:
    """Of a tag or a saved search."""
    return text_of({"name": text}, "name", REVIEW_NAME_CHARS_MAX)


def played_of(body: Mapping[str, Any], length_ms: int) -> list[list[float]]:
    """The stretches that were heard, merged, clipped to the recording. Raises BadRequest."""
    given = body["seconds"]
    if not isinstance(given, list) or not 0 < len(given) <= REVIEW_PLAYED_MAX:
        raise BadRequest(f"seconds must be a list of 1 to {REVIEW_PLAYED_MAX} pairs")
    pairs = []
    for pair in given:
        if not isinstance(pair, list) or len(pair) != 2:
            raise BadRequest("each of seconds is a pair, from and to")
        first = number("from", pair[0], 0, 1e9)
        pairs.append((first, min(number("to", pair[1], first, 1e9), length_ms / 1000)))
    merged: list[list[float]] = []
    for first, last in sorted(pairs):
        if last <= first:
            continue
        if merged and first <= merged[-1][1] + 0.05:
            merged[-1][1] = max(merged[-1][1], round(last, 2))
        else:
            merged.append([round(first, 2), round(last, 2)])
    return merged


def call_json(call: FoundCall, *, blind: bool = False) -> dict[str, Any]:
    """blind: for somebody who is not to know yet what others gave it."""
    return {
        "id": call.recording_id,
        "call_id": call.call_id,
        "started": call.started_ms / 1000,
        "length": call.length_ms / 1000,
        "queue": call.queue,
        "agent": call.agent,
        "caller": str(call.caller),
        "called": str(call.called),
        "consent": call.consent,
        "ended_by": call.ended_by,
        "mos": call.mos,
        "silence": call.silence,
        "overtalk": call.overtalk,
        "score": None if blind else call.score,
        "tags": list(call.tags),
    }


def evidence_json(row: Mapping[str, Any]) -> dict[str, Any]:
    """One notice or answer. packets None: no notice was played; arrived None: no report covers it."""
    lost, sent = row["packets_lost"], row["packets_sent"]
    return {
        "leg": row["leg_id"],
        "party": row["party"],
        "purpose": row["purpose"],
        "state": row["state"],
        "how": row["how"],
        "prompt": row["prompt"],
        "prompt_sha256": row["prompt_sha256"],
        "language": row["language"],
        "at": row["notice_ended_ms"] / 1000,
        "packets": [row["rtp_first"], row["rtp_last"]] if row["rtp_first"] >= 0 else None,
        "reported": row["rtcp_highest"] if row["rtcp_highest"] >= 0 else None,
        "arrived": round(max(0, sent - lost) / sent, 4) if lost >= 0 and sent > 0 else None,
    }


def comment_json(comment: Comment) -> dict[str, Any]:
    return {
        "id": comment.comment_id,
        "author": comment.author,
        "from": comment.from_ms / 1000,
        "to": comment.to_ms / 1000,
        "text": comment.text,
        "created": comment.created_ms / 1000,
    }


def review_json(review: Review) -> dict[str, Any]:
    return {
        "reviewer": review.reviewer,
        "scorecard": review.scorecard,
        "version": review.version,
        "answers": dict(review.answers),
        "score": review.score,
        "failed": review.failed,
        "made": review.made_ms / 1000,
    }


def answer_json(answer: ReviewAnswer | None) -> dict[str, Any] | None:
    if answer is None:
        return None
    return {
        "agent": answer.agent,
        "verdict": answer.verdict,
        "text": answer.text,
        "judged": answer.judged_ms / 1000,
        "made": answer.made_ms / 1000,
    }


def access_json(access: Access) -> dict[str, Any]:
    return {
        "id": access.entry_id,
        "at": access.at_ms / 1000,
        "who": access.who,
        "what": access.what,
        "recording": access.recording_id,
        "detail": dict(access.detail),
    }


def safe_cell(value: object) -> object:
    """A text that a spreadsheet takes for a formula gets an apostrophe in front, which it takes for "this is text"."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


def csv_rows(calls: Sequence[FoundCall], *, head: bool, hidden: Container[str] = ()) -> str:
    out = io.StringIO()
    rows = csv.writer(out, quoting=csv.QUOTE_MINIMAL)
    if head:
        rows.writerow(COLUMNS)
    for call in calls:
        values = call_json(call, blind=call.recording_id in hidden)
        values["started"] = datetime.fromtimestamp(call.started_ms / 1000, UTC).isoformat(timespec="seconds")
        values["tags"] = " ".join(call.tags)
        rows.writerow([safe_cell("" if values[name] is None else values[name]) for name in COLUMNS])
    return out.getvalue()
