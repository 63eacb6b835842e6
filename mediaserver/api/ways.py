"""The ways in beside SIP, put together: tokens, and what they open. Owns their addresses in the HTTPS application."""

from __future__ import annotations

from aiohttp import web

from mediaserver.api.bearers import Doorkeeper
from mediaserver.api.token_routes import IceServersFor, TokenRoutes
from mediaserver.api.websocket import local_address
from mediaserver.api.whip import CallDoor, WhipRoutes
from mediaserver.settings import Settings


class WaysIn:
    def __init__(self, settings: Settings, door: Doorkeeper, calls: CallDoor, ice_servers: IceServersFor) -> None:
        self.door = door
        self._external_host = settings.sip.external_host
        self._tokens = TokenRoutes(door, settings.tokens.session_rights, ice_servers)
        self.whip = WhipRoutes(door, calls, ice_servers, realm=settings.server.realm, local_host=self._local_host)

    def add_to(self, app: web.Application) -> None:
        app.add_routes(self._tokens.routes())
        app.add_routes(self.whip.routes())

    def _local_host(self, request: web.Request) -> str:
        """Our address as the client of this request reaches us: what SDP shall say."""
        transport = request.transport
        if self._external_host or transport is None:
            return self._external_host or "127.0.0.1"
        return local_address(transport)[0]
