"""Who asks, which recording the address means, and the line in the access log: what each route begins with.

Owns no route. What a person's queues do not show is answered as if it were not there; an agent has his own calls once
they are judged.
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from mediaserver.api.answers import Refused, refusal
from mediaserver.api.facade import NotFound
from mediaserver.api.review_people import ReviewGate, Who
from mediaserver.store.calibrations import CalibrationStore
from mediaserver.store.review import ReviewStore
from mediaserver.store.review_search import CallSearch, FoundCall

HEARING = ("listen", "share")


class Visits:
    def __init__(
        self, gate: ReviewGate, search: CallSearch, store: ReviewStore, calibrations: CalibrationStore
    ) -> None:
        self._gate, self._search, self._store, self._calibrations = gate, search, store, calibrations

    def now_ms(self) -> int:
        return self._gate.now_ms()

    async def who(self, request: web.Request, right: str) -> Who:
        """Raises Refused: 401 nobody, 403 without the right or the CSRF token."""
        return await self._gate.who(request, right)

    async def holds(self, who: Who, right: str) -> bool:
        """Whether the session, and its person's right, are still there. Raises StorageError."""
        return await self._gate.holds(who, right)

    async def call_of(self, request: web.Request, right: str) -> tuple[Who, FoundCall]:
        """Who asks, and the recording of the address. Raises Refused, NotFound."""
        who = await self._gate.who(request, right)
        recording_id = request.match_info["id"]
        found = None
        shared = recording_id if who.share is None else who.share.recording_id
        if recording_id.isprintable() and recording_id == shared:
            found = await self._search.get(recording_id, queues=who.queues)
        if found is not None and who.role == "agent" and (found.agent != who.name or found.score is None):
            found = None
        if found is None:
            raise NotFound("there is no such recording")
        if right in HEARING and not await self.may_hear(who, found):
            raise Refused(refusal(403, "forbidden", "what this recording is kept for is not yours to hear"))
        return who, found

    async def may_hear(self, who: Who, call: FoundCall) -> bool:
        """Its policy may name who hears what is kept for one purpose alone. A link is vouched for by who made it."""
        listeners = await self._store.listeners(call.recording_id)
        return not listeners or who.share is not None or who.role in listeners.split(",")

    async def hidden(self, who: Who) -> frozenset[str]:
        """Recordings that he judges blind: nothing of what others gave them is for him yet. Raises StorageError."""
        return await self._calibrations.hidden_from(who.name) if who.may("comment") else frozenset()

    async def note(
        self,
        who: Who,
        what: str,
        call: FoundCall | None = None,
        detail: dict[str, Any] | None = None,
        *,
        recording_id: str = "",
    ) -> None:
        """Into the access log, before the answer: what is not logged is not given out. Raises StorageError."""
        recording_id = recording_id if call is None else call.recording_id
        await self._store.log(who.name, what, recording_id, detail or {}, self._gate.now_ms())
