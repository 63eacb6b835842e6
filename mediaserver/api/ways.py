"""The ways in beside SIP, put together: tokens, and what they open. Owns their addresses in the HTTPS application."""

from __future__ import annotations

from aiohttp import web

from mediaserver.api.bearers import Doorkeeper
from mediaserver.api.json_socket import JsonSockets
from mediaserver.api.leg_channel import LegChannels
from mediaserver.api.people import People
from mediaserver.api.person import AnswerConsent, CallRoom
from mediaserver.api.token_routes import SOCKET_ADDRESS, IceServersFor, TokenRoutes
from mediaserver.api.websocket import local_address
from mediaserver.api.whip import WhipRoutes
from mediaserver.clock import Clock
from mediaserver.settings import Settings


class WaysIn:
    """Give it the call room by `take_calls` before it listens: that one is made with the pages it may ring."""

    def __init__(
        self, settings: Settings, door: Doorkeeper, people: People, ice_servers: IceServersFor, clock: Clock
    ) -> None:
        realm = settings.server.realm
        self._external_host = settings.sip.external_host
        self._tokens = TokenRoutes(door, settings.tokens.session_rights, ice_servers)
        self.whip = WhipRoutes(door, ice_servers, realm=realm, local_host=self.local_host)
        self.pages = JsonSockets(
            door,
            people,
            ice_servers,
            clock,
            realm=realm,
            origins=settings.http.websocket_origins,
            local_host=self.local_host,
        )

        self.channels = LegChannels(people, lambda: self.pages.consent)

    def take_calls(self, calls: CallRoom, consent: AnswerConsent | None = None) -> None:
        self.whip.calls = calls
        self.pages.calls, self.pages.consent = calls, consent

    def add_to(self, app: web.Application) -> None:
        app.add_routes(self._tokens.routes())
        app.add_routes(self.whip.routes())
        app.router.add_get(SOCKET_ADDRESS, self.pages.handle)
        app.on_shutdown.append(self.pages.close_all)

    def local_host(self, request: web.Request) -> str:
        """Our address as the client of this request reaches us: what SDP shall say."""
        transport = request.transport
        if self._external_host or transport is None:
            return self._external_host or "127.0.0.1"
        return local_address(transport)[0]
