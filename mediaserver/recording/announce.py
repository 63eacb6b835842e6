"""What happens to recordings, told to whoever wants to know: begun, refused, withdrawn, sealed, removed.

Owns the events' names and facts, and the follower that reads the ledger as it grows: what stands there is sealed or
removed, whoever did it, the server or a command beside it. No number, name or word of a party is in an event.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from mediaserver.errors import StorageError
from mediaserver.limits import LEDGER_FOLLOW_S, LEDGER_NEWS_BYTES_MAX
from mediaserver.model_consent import ConsentState
from mediaserver.recording import ledger, manifest

log = structlog.get_logger(__name__)

STARTED = "recording.started"  # the first party is being captured
SEALED = "recording.sealed"  # closed, its manifest signed
REMOVED = "recording.removed"
DENIED = "consent.denied"
WITHDRAWN = "consent.withdrawn"
GRANTED = "consent.granted"
IMPLIED = "consent.implied"  # by staying on the line
NOTICE_FAILED = "consent.notice_failed"  # it did not arrive, or broke off
OF_CONSENT = {
    ConsentState.DENIED: DENIED,
    ConsentState.WITHDRAWN: WITHDRAWN,
    ConsentState.GRANTED: GRANTED,
    ConsentState.IMPLIED: IMPLIED,
    ConsentState.NOTICE_FAILED: NOTICE_FAILED,
}


@dataclass(frozen=True, slots=True)
class RecordingEvent:
    """at: wall seconds."""

    name: str
    at: float
    recording_id: str
    call_id: str
    facts: Mapping[str, Any] = field(default_factory=dict)


Tell = Callable[[RecordingEvent], None]


class LedgerFollower:
    """From its start on."""

    def __init__(self, root: Path, tell: Tell) -> None:
        self._root, self._tell = root, tell
        self._file, self._offset = "", 0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await asyncio.to_thread(self.to_the_end)
        self._task = asyncio.create_task(self._run(), name="news of recordings")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
            self._task = None
            await self.look()  # what ended with the server

    async def _run(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(LEDGER_FOLLOW_S)

    async def look(self) -> None:
        try:
            for event in await asyncio.to_thread(self.news):
                self._tell(event)
        except OSError as error:
            log.error("recording.ledger_unreadable", error=str(error))

    # -- blocking

    def to_the_end(self) -> None:
        files = ledger.files(self._root)
        if files:
            self._file, self._offset = files[-1].name, files[-1].stat().st_size

    def news(self) -> list[RecordingEvent]:
        """Whole lines that are new. Raises OSError."""
        events = []
        for path in ledger.files(self._root):
            if path.name < self._file:
                continue
            if path.name > self._file:
                self._file, self._offset = path.name, 0
            with path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(LEDGER_NEWS_BYTES_MAX)
            whole = data[: data.rfind(b"\n") + 1]
            for line in whole.splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    events.append(self._event(json.loads(json.loads(line)["body"])))
            self._offset += len(whole)
            if len(data) == LEDGER_NEWS_BYTES_MAX:  # the rest, and later files, next time
                break
        return events

    def _event(self, body: Mapping[str, Any]) -> RecordingEvent:
        recording_id, at = str(body["recording"]), float(body["at"])
        closing = self._closing(str(body["directory"]))
        call_id = str(closing.get("call", ""))
        if body["event"] == "removed":
            facts = {"by": str(body["actor"]), "reason": str(body["reason"])}
            return RecordingEvent(REMOVED, at, recording_id, call_id, facts)
        facts = {"state": str(closing.get("state", "")), "manifest": str(body["manifest"])}
        return RecordingEvent(SEALED, at, recording_id, call_id, facts)

    def _closing(self, directory: str) -> dict[str, Any]:
        """What the manifest's first line says. Empty: it cannot be read."""
        with contextlib.suppress(ValueError, KeyError, TypeError, StorageError):
            for text in manifest.read_lines(self._root / directory / manifest.NAME)[:1]:
                return dict(json.loads(json.loads(text)["body"]))
        return {}
