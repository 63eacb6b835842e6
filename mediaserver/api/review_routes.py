"""What the review page asks: found calls, one call with lanes, audio, comments, tags, links, the access log.

Knows HTTP and the stores. Every answer that shows something of a recording is written into the access log first. What
a person's queues do not show is answered as if it were not there.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from aiohttp import web

from mediaserver.api import review_words as words
from mediaserver.api import views
from mediaserver.api.answer_routes import AnswerApi
from mediaserver.api.answers import SECURITY_HEADERS
from mediaserver.api.calibration_routes import CalibrationApi
from mediaserver.api.facade import Facade, NotFound
from mediaserver.api.live_routes import LiveApi, LiveRoom
from mediaserver.api.oidc import Issuer
from mediaserver.api.oidc_routes import OidcApi
from mediaserver.api.picture_routes import PictureApi, played_body
from mediaserver.api.report_routes import ReportApi
from mediaserver.api.review_audio import asked_range, send
from mediaserver.api.review_people import RIGHTS, ReviewGate, sha256
from mediaserver.api.review_sessions import SessionApi
from mediaserver.api.review_visits import Visits
from mediaserver.api.routes import BadRequest
from mediaserver.api.sampling_routes import SamplingApi
from mediaserver.api.scoring_routes import ScoringApi
from mediaserver.limits import (
    REVIEW_CSV_ROWS_MAX,
    REVIEW_PAGE_ROWS_MAX,
    REVIEW_SEARCHES_MAX,
    REVIEW_SHARE_S_MAX,
    REVIEW_TAGS_MAX,
)
from mediaserver.recording.calibrating import Calibrator
from mediaserver.recording.growing import GrowingSound
from mediaserver.recording.sampling import Sampler
from mediaserver.recording.sealed import SealedAudio
from mediaserver.store.calibrations import CalibrationStore
from mediaserver.store.review import ReviewStore
from mediaserver.store.review_answers import AnswerStore
from mediaserver.store.review_search import CallSearch
from mediaserver.store.reviewers import ReviewerStore, Share
from mediaserver.store.sampling import SamplingStore
from mediaserver.store.score_reports import ScoreReports
from mediaserver.store.scorecards import ScorecardStore

ADDRESS = "/api/v1/review/"
CSV_PAGE = 1_000
AudioOf = Callable[[str], Awaitable[SealedAudio | GrowingSound]]


class Room(Protocol):
    def routes(self, address: str) -> list[web.RouteDef]: ...


class ReviewApi:
    def __init__(
        self,
        gate: ReviewGate,
        people: ReviewerStore,
        store: ReviewStore,
        search: CallSearch,
        facade: Facade,
        audio: AudioOf,
        scorecards: ScorecardStore,
        reports: ScoreReports,
        answers: AnswerStore,
        sampling: SamplingStore,
        sampler: Sampler,
        calibrations: CalibrationStore,
        live: LiveRoom,
        issuer: Issuer | None = None,
    ) -> None:
        """issuer: by which one may sign in besides; None: by password alone."""
        self._gate, self._people, self._store, self._search = gate, people, store, search
        self._facade, self._audio = facade, audio
        visits = Visits(gate, search, store, calibrations)
        calibrator = Calibrator(calibrations, scorecards, gate)
        self._of, self._note, self._hears = visits.call_of, visits.note, visits.may_hear
        self._hidden = visits.hidden
        self.live = LiveApi(visits, facade, live)
        oidc = None if issuer is None else OidcApi(issuer, gate, people, visits.note)
        self._rooms: list[Room] = [
            SessionApi(visits, gate, people, oidc),
            ScoringApi(visits, scorecards, answers, calibrator),
            self.live,
            AnswerApi(visits, answers, scorecards),
            PictureApi(visits, facade),
            ReportApi(visits, reports),
            SamplingApi(visits, sampling, people, sampler),
            CalibrationApi(visits, calibrations, calibrator, people, search, scorecards),
            *([] if oidc is None else [oidc]),
        ]

    def routes(self) -> list[web.RouteDef]:
        call = ADDRESS + "calls/{id}"
        return [
            web.get(ADDRESS + "calls", self._calls),
            web.get(ADDRESS + "calls.csv", self._csv),
            web.get(call, self._call),
            web.get(call + "/lanes.json", self._lanes),
            web.get(call + "/peaks", self._peaks),
            web.get(call + "/audio.wav", self._wav, allow_head=False),
            web.post(call + "/played", self._played),
            web.put(call + "/tags/{tag}", self._tag),
            web.delete(call + "/tags/{tag}", self._untag),
            web.post(call + "/comments", self._comment),
            web.delete(call + "/comments/{comment}", self._uncomment),
            web.get(call + "/shares", self._shares),
            web.post(call + "/shares", self._share),
            web.delete(call + "/shares/{share}", self._unshare),
            web.get(ADDRESS + "searches", self._searches),
            web.put(ADDRESS + "searches/{name}", self._save_search),
            web.delete(ADDRESS + "searches/{name}", self._forget_search),
            web.get(ADDRESS + "log", self._log),
            *(route for room in self._rooms for route in room.routes(ADDRESS)),
        ]

    # -- finding

    async def _calls(self, request: web.Request) -> web.Response:
        who = await self._gate.who(request, "find")
        search = words.search_of(request.query)
        if "listen" in RIGHTS[who.role]:
            self._facade.expect_listening()
        limit = int(words.number("limit", request.query.get("limit", "50"), 1, REVIEW_PAGE_ROWS_MAX))
        after = words.place_of(request.query.get("after"))
        if after is None:
            await self._note(who, "searched", detail=_asked(request))
        rows = await self._search.find(search, queues=who.queues, limit=limit, after=after)
        following = words.place_text(rows[-1]) if len(rows) == limit else None
        hidden = await self._hidden(who)
        if search.score_below is not None:  # that a call is found by its score would tell it
            rows = [row for row in rows if row.recording_id not in hidden]
        told = [words.call_json(row, blind=row.recording_id in hidden) for row in rows]
        return web.json_response({"calls": told, "after": following})

    async def _csv(self, request: web.Request) -> web.StreamResponse:
        who = await self._gate.who(request, "find")
        search = words.search_of(request.query)
        await self._note(who, "exported", detail=_asked(request))
        response = web.StreamResponse(
            headers={
                **SECURITY_HEADERS,
                "Content-Type": "text/csv; charset=utf-8",
                "Content-Disposition": 'attachment; filename="calls.csv"',
                "Cache-Control": "no-store",
            }
        )
        await response.prepare(request)
        after, head, hidden = None, True, await self._hidden(who)
        for _ in range(REVIEW_CSV_ROWS_MAX // CSV_PAGE):
            rows = await self._search.find(search, queues=who.queues, limit=CSV_PAGE, after=after)
            shown = [row for row in rows if search.score_below is None or row.recording_id not in hidden]
            await response.write(words.csv_rows(shown, head=head, hidden=hidden).encode())
            head = False
            if len(rows) < CSV_PAGE:
                break
            after = words.place_of(words.place_text(rows[-1]))
        await response.write_eof()
        return response

    # -- one call

    async def _call(self, request: web.Request) -> web.Response:
        who, call = await self._of(request, "")
        await self._note(who, "opened", call)
        blind = call.recording_id in await self._hidden(who)
        answer: dict[str, Any] = {"call": words.call_json(call, blind=blind)}
        answer["call"]["hear"] = await self._hears(who, call)
        if who.share is not None:
            kept = ("id", "started", "length")
            return web.json_response(
                {"call": {name: answer["call"][name] for name in kept}, "range": _range(who.share)}
            )
        if who.role == "agent":  # tags and comments are between reviewers
            answer["call"]["tags"], answer["comments"] = [], []
        else:
            answer["comments"] = [words.comment_json(one) for one in await self._store.comments(call.recording_id)]
        answer["evidence"] = [words.evidence_json(row) for row in await self._store.evidence(call.recording_id)]
        rows = await self._facade.quality(call.call_id)
        events = await self._facade.quality_events(call.call_id)
        answer["scores"] = [views.quality_json(row) for row in rows]
        answer["events"] = [views.event_json(event) for event in events]
        return web.json_response(answer)

    async def _lanes(self, request: web.Request) -> web.StreamResponse:
        return await self._whole(request, "lanes", "application/json")

    async def _peaks(self, request: web.Request) -> web.StreamResponse:
        return await self._whole(request, "peaks", "application/octet-stream")

    async def _whole(self, request: web.Request, form: Any, content_type: str) -> web.StreamResponse:
        who, call = await self._of(request, "")
        if who.share is not None and (who.share.from_ms or who.share.to_ms is not None):
            raise NotFound("the link is for a part of the recording")
        file = await self._facade.export_recording(call.recording_id, form)
        return await send(request, file, headers={"Content-Type": content_type})

    async def _wav(self, request: web.Request) -> web.StreamResponse:
        who, call = await self._of(request, "listen")
        audio = await self._audio(call.recording_id)
        window = audio.window() if who.share is None else audio.window(who.share.from_ms, who.share.to_ms)
        start, _ = asked_range(request, window.size) or (0, 0)
        await self._note(who, "listens", call, {"from": window.seconds(start, start)[0]})
        sent = start

        def told(last: int) -> None:
            nonlocal sent
            sent = last

        try:
            return await send(request, window, told)
        finally:
            first, last = window.seconds(start, sent)
            if last > first:
                await self._note(who, "sent", call, {"seconds": [[first, last]]})

    async def _played(self, request: web.Request) -> web.Response:
        who, call = await self._of(request, "listen")
        body, shown = await played_body(request)
        if seconds := words.played_of(body, call.length_ms):
            await self._note(who, "played", call, {"seconds": seconds} | ({"pictures": shown} if shown else {}))
        return web.Response(status=204)

    # -- what reviewers leave

    async def _tag(self, request: web.Request) -> web.Response:
        who, call = await self._of(request, "comment")
        tag = words.name_of(request.match_info["tag"])
        if len(call.tags) >= REVIEW_TAGS_MAX and tag not in call.tags:
            raise BadRequest(f"a recording has at most {REVIEW_TAGS_MAX} tags")
        await self._store.tag(call.recording_id, tag)
        await self._note(who, "tagged", call, {"tag": tag})
        return web.Response(status=204)

    async def _untag(self, request: web.Request) -> web.Response:
        who, call = await self._of(request, "comment")
        tag = words.name_of(request.match_info["tag"])
        await self._store.untag(call.recording_id, tag)
        await self._note(who, "untagged", call, {"tag": tag})
        return web.Response(status=204)

    async def _comment(self, request: web.Request) -> web.Response:
        who, call = await self._of(request, "comment")
        body = await words.body_of(request, ("from", "text"), ("to",))
        first, last, text = words.comment_of(body, call.length_ms)
        made = await self._store.comment(call.recording_id, who.name, first, last, text, self._gate.now_ms())
        await self._note(who, "commented", call)
        return web.json_response(words.comment_json(made), status=201)

    async def _uncomment(self, request: web.Request) -> web.Response:
        who, call = await self._of(request, "comment")
        if not await self._store.uncomment(request.match_info["comment"], who.name):
            raise NotFound("there is no such comment of yours")
        await self._note(who, "uncommented", call)
        return web.Response(status=204)

    async def _share(self, request: web.Request) -> web.Response:
        who, call = await self._of(request, "share")
        body = await words.body_of(request, ("hours",), ("from", "to"))
        hours = words.number("hours", body["hours"], 0.01, REVIEW_SHARE_S_MAX / 3600)
        first = words.number("from", body.get("from") or 0, 0, call.length_ms / 1000)
        last = None if body.get("to") is None else words.number("to", body["to"], first, call.length_ms / 1000 + 1)
        now_ms, token = self._gate.now_ms(), secrets.token_urlsafe(32)
        share = Share(
            share_id=secrets.token_hex(8),
            token_sha256=sha256(token),
            recording_id=call.recording_id,
            from_ms=round(first * 1000),
            to_ms=None if last is None else round(last * 1000),
            created_by=who.name,
            created_ms=now_ms,
            expires_ms=now_ms + round(hours * 3_600_000),
        )
        await self._people.add_share(share)
        await self._note(who, "shared", call, {"share": share.share_id, "hours": hours, **_range(share)})
        # In the part of an address that no server, log or referrer ever gets.
        body = {"id": share.share_id, "path": f"/qa#share={token}", "expires": share.expires_ms / 1000}
        return web.json_response(body, status=201)

    async def _shares(self, request: web.Request) -> web.Response:
        """Links that still work, whoever made them. Their secrets are known to nobody but who got them."""
        _, call = await self._of(request, "share")
        alive = await self._people.shares(call.recording_id, self._gate.now_ms())
        told = [
            {
                "id": one.share_id,
                "by": one.created_by,
                "created": one.created_ms / 1000,
                "expires": one.expires_ms / 1000,
                **_range(one),
            }
            for one in alive
        ]
        return web.json_response({"shares": told})

    async def _unshare(self, request: web.Request) -> web.Response:
        who, call = await self._of(request, "share")
        share = await self._people.share(now_ms=self._gate.now_ms(), share_id=request.match_info["share"])
        if share is None or share.recording_id != call.recording_id:
            raise NotFound("there is no such link")
        await self._people.end_share(share.share_id)
        await self._note(who, "unshared", call, {"share": share.share_id})
        return web.Response(status=204)

    # -- saved searches, the log

    async def _searches(self, request: web.Request) -> web.Response:
        who = await self._gate.who(request, "find")
        return web.json_response({"searches": await self._store.searches(who.name)})

    async def _save_search(self, request: web.Request) -> web.Response:
        who = await self._gate.who(request, "find")
        name = words.name_of(request.match_info["name"])
        filters = (await words.body_of(request, ("filters",)))["filters"]
        if not isinstance(filters, dict) or not all(isinstance(value, str) for value in filters.values()):
            raise BadRequest("filters must be an object of texts")
        words.search_of(filters)
        known = await self._store.searches(who.name)
        if name not in known and len(known) >= REVIEW_SEARCHES_MAX:
            raise BadRequest(f"one has at most {REVIEW_SEARCHES_MAX} saved searches")
        await self._store.save_search(who.name, name, filters)
        return web.Response(status=204)

    async def _forget_search(self, request: web.Request) -> web.Response:
        who = await self._gate.who(request, "find")
        await self._store.forget_search(who.name, words.name_of(request.match_info["name"]))
        return web.Response(status=204)

    async def _log(self, request: web.Request) -> web.Response:
        who = await self._gate.who(request, "log")
        query = request.query
        if not all(text.isprintable() for text in query.values()):
            raise BadRequest("printable characters only")
        await self._note(
            who, "read log", detail={name: query[name][:64] for name in ("recording", "who") if name in query}
        )
        limit = int(words.number("limit", query.get("limit", "100"), 1, REVIEW_PAGE_ROWS_MAX))
        found = await self._store.accesses(
            recording_id=query.get("recording", ""),
            who=query.get("who", ""),
            before=query.get("before", ""),
            limit=limit,
            queues=who.queues,
            reader=who.name,
        )
        return web.json_response({"entries": [words.access_json(one) for one in found]})


def _asked(request: web.Request) -> dict[str, str]:
    return {name: request.query[name][:255] for name in words.FILTERS if request.query.get(name)}


def _range(share: Share) -> dict[str, float | None]:
    return {"from": share.from_ms / 1000, "to": None if share.to_ms is None else share.to_ms / 1000}
