"""Users as the SIP room sees them: a view in memory of the users table, refreshed when another process changed it.

Owns the polling of the table's marker. A database that does not answer leaves the last view in place: phones that are
known go on registering.
"""

from __future__ import annotations

import asyncio

import structlog

from mediaserver.errors import StorageError
from mediaserver.limits import USERS_POLL_S
from mediaserver.sip.auth import Credentials
from mediaserver.store.users import User, UserStore

log = structlog.get_logger(__name__)


class UserView:
    """A UserDirectory (see `sip.auth`)."""

    def __init__(self, store: UserStore) -> None:
        self._store = store
        self._users: dict[str, Credentials] = {}
        self._marker: tuple[int, int, int] | None = None
        self._failing = False

    def credentials(self, name: str) -> Credentials | None:
        return self._users.get(name)

    def stamp(self, name: str) -> str | None:
        """A secret of the user that changes with his password: what else was given on it ends with it."""
        known = self._users.get(name)
        return known.ha1_sha256 if known is not None else None

    async def refresh(self) -> None:
        """Reads the table if it changed. Raises StorageError."""
        marker = await self._store.marker()
        if marker == self._marker:
            return
        self._users = {user.name: _credentials(user) for user in await self._store.list()}
        self._marker = marker
        log.info("users read", count=len(self._users))

    async def follow(self) -> None:
        """Refreshes for ever: `mediaserver users add` is known to the running server within a second."""
        while True:
            await asyncio.sleep(USERS_POLL_S)
            try:
                await self.refresh()
                self._failing = False
            except StorageError as error:
                if not self._failing:
                    log.error("users cannot be read; the known ones stay valid", reason=str(error))
                self._failing = True


def _credentials(user: User) -> Credentials:
    return Credentials(user.name, user.realm, user.ha1_sha256, user.ha1_md5, user.display_name)
