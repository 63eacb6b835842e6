"""Running calls for supervisors: who talks, and how each party sounds now. Knows HTTP and the facade."""

from __future__ import annotations

from aiohttp import web

from mediaserver.api import views
from mediaserver.api.facade import Facade
from mediaserver.api.review_visits import Visits


class LiveApi:
    def __init__(self, visits: Visits, facade: Facade) -> None:
        self._visits, self._facade = visits, facade

    def routes(self, address: str) -> list[web.RouteDef]:
        return [web.get(address + "live", self._live)]

    async def _live(self, request: web.Request) -> web.Response:
        """Of one's queues."""
        who = await self._visits.who(request, "live")
        shown = [
            views.call_json(call)
            for call in self._facade.calls()
            if who.queues is None or call.facts.route in who.queues
        ]
        return web.json_response({"calls": shown})
