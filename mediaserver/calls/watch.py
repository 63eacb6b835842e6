"""Routing that follows its file: read at start, again when the file changed. A bad file keeps the former rules.

Owns no calls. The file is looked at every two seconds by `run`, or at once by `reload` (SIGHUP).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import structlog

from mediaserver.calls.routing import RoutingTable, read_routing
from mediaserver.errors import ConfigError

log = structlog.get_logger()
_POLL_S = 2.0


class RoutingFile:
    def __init__(self, path: Path, trunks: Sequence[str]) -> None:
        self.path = path
        self._trunks = tuple(trunks)
        self._seen: tuple[int, int, int] | None = None
        self.table = RoutingTable()

    def load(self) -> None:
        """Reads the file. Raises ConfigError starting with `file:line:`; then the former table stays."""
        self._seen = self._fingerprint()
        self.table = read_routing(self.path, self._trunks)

    def reload(self) -> bool:
        """Reads the file again; False, logged with file and line, if it is wrong and the former rules stay."""
        try:
            self.load()
        except ConfigError as error:
            log.error("routing file refused; the former rules stay in force", error=str(error))
            return False
        log.info("routing read", file=str(self.path), rules=len(self.table.rules))
        return True

    async def run(self) -> None:
        """Follows the file until cancelled."""
        while True:
            await asyncio.sleep(_POLL_S)
            if self._fingerprint() != self._seen:
                self.reload()

    def _fingerprint(self) -> tuple[int, int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino
