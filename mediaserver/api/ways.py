"""The ways in beside SIP, put together: tokens, and what they open. Owns their addresses in the HTTPS application."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from mediaserver.api.bearers import Doorkeeper
from mediaserver.api.token_routes import IceServersFor, TokenRoutes
from mediaserver.settings import Settings


@dataclass(frozen=True, slots=True)
class WaysIn:
    settings: Settings
    door: Doorkeeper
    ice_servers: IceServersFor

    def add_to(self, app: web.Application) -> None:
        tokens = TokenRoutes(self.door, self.settings.tokens.session_rights, self.ice_servers)
        app.add_routes(tokens.routes())
