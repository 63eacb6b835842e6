"""Sampling over HTTP: rules that supervisors make, draws they ask for, and the calls that wait for a reviewer.

Knows HTTP and the store; what is drawn is `recording.sampling`'s. A supervisor sees and ends rules that draw from his
queues only; a rule draws from what its author saw when he made it.
"""

from __future__ import annotations

import secrets
from collections.abc import Container
from typing import Any

from aiohttp import web

from mediaserver.api import review_words as words
from mediaserver.api.facade import NotFound
from mediaserver.api.review_people import Who
from mediaserver.api.review_visits import Visits
from mediaserver.api.routes import BadRequest
from mediaserver.limits import (
    REVIEW_NAME_CHARS_MAX,
    REVIEW_PAGE_ROWS_MAX,
    SAMPLING_DRAWN_MAX,
    SAMPLING_REVIEWERS_MAX,
    SAMPLING_RULES_MAX,
)
from mediaserver.recording.sampling import GROUPS, JUDGES, PERIODS, Sampler, period_of
from mediaserver.store.reviewers import Reviewer, ReviewerStore
from mediaserver.store.sampling import Assigned, SamplingRule, SamplingStore

# Which calls of a period: all of a search's words but those for its time, and a number, which is no rule's business.
FILTERS = tuple(name for name in words.FILTERS if name not in ("number", "from", "until"))


class SamplingApi:
    def __init__(self, visits: Visits, store: SamplingStore, people: ReviewerStore, sampler: Sampler) -> None:
        self._visits, self._store, self._people, self._sampler = visits, store, people, sampler

    def routes(self, address: str) -> list[web.RouteDef]:
        rule = address + "sampling/{rule}"
        return [
            web.get(address + "assigned", self._assigned),
            web.get(address + "sampling", self._rules),
            web.post(address + "sampling", self._add),
            web.delete(rule, self._end),
            web.post(rule + "/draw", self._draw),
        ]

    async def _assigned(self, request: web.Request) -> web.Response:
        who = await self._visits.who(request, "comment")
        found = await self._store.assigned(who.name, queues=who.queues, limit=REVIEW_PAGE_ROWS_MAX)
        hidden = await self._visits.hidden(who)
        return web.json_response({"assigned": [_assigned_json(one, hidden) for one in found]})

    async def _rules(self, request: web.Request) -> web.Response:
        who = await self._visits.who(request, "sample")
        progress = await self._store.progress()
        shown = [_rule_json(rule, progress) for rule in await self._store.rules() if rule.shown_to(who.queues)]
        judges = [{"name": one.name, "role": one.role} for one in await judges_for(self._people, who)]
        return web.json_response({"rules": shown, "reviewers": judges})

    async def _add(self, request: web.Request) -> web.Response:
        who = await self._visits.who(request, "sample")
        body = await words.body_of(request, ("name", "per", "period", "reviewers"), ("calls", "percent", "filters"))
        rule = _rule_of(body, who, self._visits.now_ms())
        unknown = sorted(set(rule.reviewers) - {one.name for one in await judges_for(self._people, who)})
        if unknown:
            raise BadRequest(f"nobody of that name judges calls of your queues: {', '.join(unknown)[:200]}")
        if len(await self._store.rules()) >= SAMPLING_RULES_MAX:
            raise BadRequest(f"there are {SAMPLING_RULES_MAX} sampling rules already; end one")
        await self._visits.note(who, "made sampling", None, {"rule": rule.rule_id, "name": rule.name})
        await self._store.add(rule)
        return web.json_response(_rule_json(rule, {}), status=201)

    async def _rule(self, request: web.Request, who: Who) -> SamplingRule:
        """Raises NotFound."""
        for rule in await self._store.rules():
            if rule.rule_id == request.match_info["rule"] and rule.shown_to(who.queues):
                return rule
        raise NotFound("there is no such sampling rule")

    async def _end(self, request: web.Request) -> web.Response:
        who = await self._visits.who(request, "sample")
        rule = await self._rule(request, who)
        await self._visits.note(who, "ended sampling", None, {"rule": rule.rule_id, "name": rule.name})
        await self._store.end(rule.rule_id)
        return web.Response(status=204)

    async def _draw(self, request: web.Request) -> web.Response:
        """Of the period that runs, without waiting for its end; what is drawn then comes on top."""
        who = await self._visits.who(request, "sample")
        rule = await self._rule(request, who)
        await self._visits.note(who, "drew sample", None, {"rule": rule.rule_id, "name": rule.name})
        given = await self._sampler.draw(rule, *period_of(self._visits.now_ms(), rule.period))
        return web.json_response({"assigned": given})


async def judges_for(people: ReviewerStore, who: Who) -> list[Reviewer]:
    """Who may be given calls of this person's queues."""

    def fits(one: Reviewer) -> bool:
        return who.queues is None or one.queues is None or bool(set(one.queues) & set(who.queues))

    return [one for one in await people.list() if one.role in JUDGES and fits(one)]


def _rule_of(body: dict[str, Any], who: Who, now_ms: int) -> SamplingRule:
    """Raises BadRequest."""
    per, period, reviewers, filters = body["per"], body["period"], body["reviewers"], body.get("filters", {})
    if per not in GROUPS or period not in PERIODS:
        raise BadRequest(f"per is one of {', '.join(GROUPS)}; period one of {', '.join(PERIODS)}")
    if (body.get("calls") is None) == (body.get("percent") is None):
        raise BadRequest("how many: calls, a number, or percent; one of them")
    if not isinstance(reviewers, list) or not 0 < len(reviewers) <= SAMPLING_REVIEWERS_MAX:
        raise BadRequest(f"reviewers is a list of 1 to {SAMPLING_REVIEWERS_MAX} names")
    if not all(isinstance(name, str) for name in reviewers):
        raise BadRequest("reviewers is a list of names")
    if not isinstance(filters, dict) or not all(isinstance(value, str) for value in filters.values()):
        raise BadRequest("filters must be an object of texts")
    if unknown := sorted(set(filters) - set(FILTERS)):
        raise BadRequest(f"unknown: {', '.join(unknown)[:100]}; filters are {', '.join(FILTERS)}")
    words.search_of(filters)
    calls, percent = body.get("calls"), body.get("percent")
    return SamplingRule(
        rule_id=secrets.token_hex(8),
        name=words.text_of(body, "name", REVIEW_NAME_CHARS_MAX),
        per=per,
        calls=None if calls is None else words.whole("calls", calls, 1, SAMPLING_DRAWN_MAX),
        percent=None if percent is None else words.number("percent", percent, 0.1, 100),
        period=period,
        filters={name: value for name, value in filters.items() if value},
        reviewers=tuple(dict.fromkeys(reviewers)),
        queues=who.queues,
        created_by=who.name,
        created_ms=now_ms,
    )


def _rule_json(rule: SamplingRule, progress: dict[str, tuple[int, int]]) -> dict[str, Any]:
    given, done = progress.get(rule.rule_id, (0, 0))
    return {
        "id": rule.rule_id,
        "name": rule.name,
        "per": rule.per,
        "calls": rule.calls,
        "percent": rule.percent,
        "period": rule.period,
        "filters": dict(rule.filters),
        "reviewers": list(rule.reviewers),
        "by": rule.created_by,
        "created": rule.created_ms / 1000,
        "assigned": given,
        "done": done,
    }


def _assigned_json(one: Assigned, hidden: Container[str]) -> dict[str, Any]:
    return {
        "call": words.call_json(one.call, blind=one.call.recording_id in hidden),
        "rule": one.rule_name,
        "assigned": one.assigned_ms / 1000,
        "done": None if one.done_ms is None else one.done_ms / 1000,
    }
