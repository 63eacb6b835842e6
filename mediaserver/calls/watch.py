"""Routing that follows its file: read at start, again when the file changed. A bad file keeps the former rules.

Owns no calls. The file is looked at every two seconds by `run`, or at once by `reload` (SIGHUP). Rules may name
programs that are shipped or in `routing.programs_dir`; a file that comes or goes there has the rules checked again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import structlog

from mediaserver.calls.library import program_names
from mediaserver.calls.routing import RoutingTable, read_routing
from mediaserver.errors import ConfigError
from mediaserver.settings import SHIPPED_CONFIG_DIR, Settings

log = structlog.get_logger()
_POLL_S = 2.0


class RoutingFile:
    def __init__(self, path: Path, trunks: Sequence[str], programs_dir: Path | None = None) -> None:
        self.path = path
        self._trunks = tuple(trunks)
        self._programs_dir = programs_dir
        self._seen: tuple[frozenset[str], tuple[int, int, int] | None] | None = None
        self.table = RoutingTable()

    @classmethod
    def of(cls, settings: Settings, otherwise: Path | None = None) -> RoutingFile:
        """The file these settings name, else `otherwise`, else the shipped one; not yet read."""
        path = settings.routing.file or otherwise or SHIPPED_CONFIG_DIR / "routing.toml"
        return cls(path, tuple(settings.trunks), settings.routing.programs_dir)

    def load(self) -> None:
        """Reads the file. Raises ConfigError starting with `file:line:`; then the former table stays."""
        self._seen = self._fingerprint()
        self.table = read_routing(self.path, self._trunks, self._seen[0])

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

    def _fingerprint(self) -> tuple[frozenset[str], tuple[int, int, int] | None]:
        programs = program_names(self._programs_dir)
        try:
            status = self.path.stat()
        except OSError:
            return programs, None
        return programs, (status.st_mtime_ns, status.st_size, status.st_ino)
