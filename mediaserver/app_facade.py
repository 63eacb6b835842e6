"""What the HTTP API may ask of the running server, answered by the rooms (see `api.facade.Facade`).

Owns nothing but the translation from rooms to views.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from mediaserver.api.facade import (
    CallView,
    Conflict,
    ConsentAnswer,
    ExportFormat,
    FilmFormat,
    LegQuality,
    NotFound,
    Readiness,
    RecordAction,
    ServerCounters,
    UserView,
)
from mediaserver.errors import MediaError, StorageError
from mediaserver.model import CallFacts
from mediaserver.model_consent import ConsentState
from mediaserver.quality.played import decisions
from mediaserver.recording.durable import FSYNC_BUCKETS_S
from mediaserver.recording.export import Form, export_recording, pictures_of
from mediaserver.recording.growing import GrowingSound
from mediaserver.recording.sealed import SealedFile
from mediaserver.recording.uncaptured import NO_CONSENT
from mediaserver.sip.auth import make_credentials
from mediaserver.store.quality import QualityEvent, QualityHour, QualityRow
from mediaserver.store.recordings import RecordingRow
from mediaserver.store.users import User

if TYPE_CHECKING:
    from mediaserver.app import Server

EXPORT_SUFFIX = {"wav": "wav", "opus": "ogg", "lanes": "lanes.json", "peaks": "peaks"}
PACKET_S = 0.02  # what a packet that was not captured stands for: nearly all senders use 20 ms


class ServerFacade:
    def __init__(self, server: Server) -> None:
        self._server = server
        self._rendering: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # by file name
        self._percent: dict[str, dict[str, int]] = {}  # of what is rendered now: by recording, what

    # -- how the server is

    def readiness(self) -> Readiness:
        server = self._server
        return Readiness(
            {
                "sip": "" if server.transport.ports else "no port is bound",
                "media": "" if server.engine.running else "no media worker runs",
                "database": "the database does not take rows" if server.spool.stats.failing else "",
                "recording": "",
                "draining": "the server is shutting down" if server.agent.draining else "",
            }
        )

    def counters(self) -> ServerCounters:
        server = self._server
        recorder = server.recorder
        writer = recorder.writer.stats
        uncaptured = recorder.uncaptured.seconds(server.clock.now_ns())
        authenticator = server.agent.authenticator
        free, size = writer.disk()
        return ServerCounters(
            engine=server.engine.engine_stats(),
            sip=server.agent.stack.counters,
            calls_active=len(server.calls),
            calls_ended=dict(server.calls.ended),
            calls_refused={
                **server.calls.refused,
                "draining": server.agent.inbound.refused_draining,
                "full": server.agent.inbound.refused_full,
            },
            programs_failed=server.calls.programs_failed,
            registrations=len(server.agent.registrar.table),
            sip_authentications={
                "accepted": authenticator.accepted,
                "failed": authenticator.failed,
                "silenced": authenticator.silenced,
            },
            recordings_active=recorder.active,
            recording_lag_s=writer.lag_s,
            recording_lost_s=recorder.stats.packets_lost * PACKET_S,
            recording_lost_pictures=recorder.stats.picture_packets_lost,
            recording_failures=dict(recorder.stats.failures),
            recording_fsyncs=tuple(zip((*FSYNC_BUCKETS_S, math.inf), writer.fsync_counts, strict=True)),
            recording_fsync_s=writer.fsync_s_total,
            recording_spool_bytes=writer.spool_bytes,
            recording_spool_room_bytes=max(0, free - (server.settings.recording.min_free_mb << 20)),
            recording_disk_free_bytes=free,
            recording_disk_size_bytes=size,
            consent_blocked_s=uncaptured.pop(NO_CONSENT),
            recording_gaps_s=uncaptured,
            consent_announcements_failed=sum(
                count for (_, after), count in recorder.stats.transitions.items() if after == ConsentState.NOTICE_FAILED
            ),
            recordings_recovered=recorder.stats.recovered,
            storage=server.cabinet.stats if server.cabinet.blobs is not None else None,
            events=server.events.stats if server.events.url else None,
            storage_counts={} if server.shipper is None else dict(server.shipper.counts),
            consent_transitions=dict(recorder.stats.transitions),
            tokens_issued=server.tokens.issued,
            tokens_refused=dict(server.tokens.refused),
            web_sessions={**server.ways.whip.active, "page": len(server.ways.pages)},
            data_channels_dropped=dict(server.calls.data_dropped),
            pages_ended=dict(server.ways.pages.ended),
            web_sessions_opened=dict(server.ways.whip.opened),
            database_rows_dropped=server.spool.stats.rows_dropped + server.spool.stats.rows_refused,
            database_rows_waiting=len(server.spool),
        )

    # -- calls

    def calls(self) -> Sequence[CallView]:
        return [self._view(facts) for facts in self._server.calls.calls()]

    def call(self, call_id: str) -> CallView:
        facts = self._server.calls.call(call_id)
        if facts is None:
            raise NotFound(f"no call {call_id} is running")
        return replace(self._view(facts), playout=dict(self._decisions(facts)))

    def _decisions(self, facts: CallFacts) -> Iterator[tuple[str, Mapping[str, int | float | bool]]]:
        """What the jitter buffer of each leg has decided so far."""
        for leg in facts.legs:
            with contextlib.suppress(MediaError):  # just gone
                yield leg.leg_id, decisions(self._server.engine.leg_stats(leg.handle))

    def _view(self, facts: CallFacts) -> CallView:
        return CallView(facts, self.live_quality(facts.call_id))

    def live_quality(self, call_id: str) -> Mapping[str, LegQuality]:
        """How the legs of a running call sound now, by leg id."""
        live = self._server.monitor.live(call_id)
        return {
            leg_id: LegQuality(
                mos_received=quality.mos_received,
                mos_sent=quality.mos_sent,
                scale=quality.scale,
                loss_fraction=quality.loss_fraction,
                jitter_ms=quality.jitter_ms,
                round_trip_ms=quality.round_trip_ms,
                cause=quality.cause,
                mos_worst=quality.mos_worst,
            )
            for leg_id, quality in live.items()
        }

    async def hang_up(self, call_id: str) -> None:
        if not await self._server.calls.hang_up(call_id):
            raise NotFound(f"no call {call_id} is running")

    async def record(self, call_id: str, action: RecordAction, reason: str, resume_after_s: float | None) -> None:
        calls = self._server.calls
        self.call(call_id)
        try:
            if action == "pause":
                await calls.consent_desk.pause(call_id, reason, resume_after_s)
            elif action == "resume":
                await calls.consent_desk.resume(call_id)
            elif not await calls.record(call_id, action == "start"):
                why = "it cannot be recorded; the log says why" if action == "start" else "it is not being recorded"
                raise Conflict(f"call {call_id}: {why}")
        except LookupError as error:
            raise Conflict(str(error)) from error

    async def consent(self, call_id: str, leg_id: str, answer: ConsentAnswer, purposes: Sequence[str] = ()) -> str:
        try:
            return await self._server.calls.consent_desk.answer(call_id, leg_id, answer, "api", {}, purposes)
        except LookupError as error:
            raise NotFound(str(error)) from error

    def consent_states(self, call_id: str) -> Mapping[str, str]:
        self.call(call_id)
        return {leg: state.value for leg, state in self._server.calls.consent_desk.states(call_id).items()}

    def consent_purposes(self, call_id: str) -> Mapping[str, Mapping[str, str]]:
        found = self._server.calls.consent_desk.purposes(call_id)
        return {leg: {name: state.value for name, state in own.items()} for leg, own in found.items()}

    # -- users

    async def users(self) -> Sequence[UserView]:
        return [
            UserView(user.name, user.display_name, len(self._server.agent.targets_for(user.name)), user.created)
            for user in await self._server.users.list()
        ]

    async def add_user(self, name: str, password: str, display_name: str = "") -> None:
        server = self._server
        made = make_credentials(name, server.settings.server.realm, password, display_name)
        user = User(name, made.realm, made.ha1_sha256, made.ha1_md5, display_name, created=server.clock.wall())
        try:
            await server.users.add(user)
        except ValueError as error:
            raise Conflict(str(error)) from error
        await server.user_view.refresh()

    async def remove_user(self, name: str) -> None:
        server = self._server
        if not await server.users.remove(name):
            raise NotFound(f"there is no user {name}")
        await server.user_view.refresh()
        server.agent.registrar.forget(name)

    # -- recordings

    async def recordings(self, limit: int, before_ms: int | None = None) -> Sequence[RecordingRow]:
        return await self._server.recordings.list(limit=limit, before_ms=before_ms)

    async def recording(self, recording_id: str) -> RecordingRow:
        row = await self._server.recordings.get(recording_id)
        if row is None:
            raise NotFound(f"there is no recording {recording_id}")
        return row

    async def export_recording(self, recording_id: str, form: ExportFormat) -> SealedFile:
        """Rendered on the first request, sealed with a key that only this process has. Raises NotFound, Conflict."""
        row = await self._ended(recording_id)
        shelf, name = self._server.shelf, f"{row.recording_id}.{EXPORT_SUFFIX[form]}"
        async with self._turn(shelf.path(name)):
            file = await asyncio.to_thread(shelf.find_file, name)
            if file is None:
                await self._render(row, form, name)
                file = await asyncio.to_thread(shelf.find_file, name)
        if file is None:
            raise Conflict(f"recording {recording_id} was erased meanwhile")
        return file

    async def pictures(self, recording_id: str) -> Sequence[tuple[str, str]]:
        row = await self.recording(recording_id)
        return await asyncio.to_thread(pictures_of, self._server.recorder.root, row)

    async def film(
        self, recording_id: str, form: FilmFormat, party: str | None = None, picture: str | None = None
    ) -> SealedFile:
        """Rendered on the first request and sealed, as export_recording."""
        row = await self._ended(recording_id)
        known = await asyncio.to_thread(pictures_of, self._server.recorder.root, row)
        if not any(party in (None, whose) and picture in (None, what) for whose, what in known):
            raise NotFound(f"recording {recording_id} has no such picture")
        shelf = self._server.shelf
        name = ".".join((row.recording_id, party or "all", picture or "any", form))
        async with self._turn(shelf.path(name)):
            file = await asyncio.to_thread(shelf.find_file, name)
            if file is None:
                try:
                    await self._render(row, form, name, party, picture)
                except StorageError as error:
                    raise Conflict(str(error)) from error
                file = await asyncio.to_thread(shelf.find_file, name)
        if file is None:
            raise Conflict(f"recording {recording_id} was erased meanwhile")
        return file

    async def lanes(self, recording_id: str) -> bytes:
        """What happened when, JSON. Raises as export_recording."""
        return await asyncio.to_thread((await self.export_recording(recording_id, "lanes")).whole)

    def expect_listening(self) -> None:
        """Somebody looks at recordings: what renders them waits ready."""
        self._server.listening.warm()

    async def sealed_audio(self, recording_id: str) -> GrowingSound:
        """To be read while it is rendered. Raises NotFound, Conflict."""
        try:
            return await self._server.listening.sound(await self._ended(recording_id))
        except LookupError as error:
            raise NotFound(str(error)) from error

    def _turn(self, output: Path) -> asyncio.Lock:
        """Two who ask for the same file wait for one render; the lock goes when nobody holds it any more."""
        return self._rendering.setdefault(output.name, asyncio.Lock())

    async def _ended(self, recording_id: str) -> RecordingRow:
        row = await self.recording(recording_id)
        if row.state == "capturing":
            raise Conflict(f"recording {recording_id} has not ended yet")
        return row

    async def _render(
        self, row: RecordingRow, form: Form, name: str, party: str | None = None, picture: str | None = None
    ) -> None:
        """Nothing of it stands on the disk in the clear, not even while it is made."""
        shelf = self._server.shelf
        output, seal = shelf.path(name), shelf.new_key()
        done, what = self._percent.setdefault(row.recording_id, {}), name.removeprefix(row.recording_id).lstrip(".")
        done[what or "sound"] = 0
        await asyncio.to_thread(output.parent.mkdir, mode=0o700, parents=True, exist_ok=True)
        try:
            ring = await self._server.recorder.keys()
            server = self._server
            await export_recording(
                server.recorder.root,
                ring,
                row,
                form,
                output,
                lambda percent: done.update({what or "sound": percent}),
                only_leg=party,
                picture=picture,
                seal=seal,
                cabinet=server.cabinet,
            )
            await asyncio.to_thread(shelf.keep, name, seal)
        except LookupError as error:
            raise NotFound(str(error)) from error
        finally:
            del done[what or "sound"]
            if not done:
                self._percent.pop(row.recording_id, None)

    def preparing(self, recording_id: str) -> Mapping[str, int]:
        percent = self._server.listening.percent(recording_id)
        return ({} if percent is None else {"sound": percent}) | self._percent.get(recording_id, {})

    async def quality_events(self, call_id: str) -> Sequence[QualityEvent]:
        return await self._server.quality.events_of_call(call_id)

    async def quality_hours(self, from_ms: int, until_ms: int, trunk: str | None) -> Sequence[QualityHour]:
        return await self._server.quality.hours(from_ms, until_ms, trunk)

    async def worst_calls(self, from_ms: int, until_ms: int, limit: int) -> Sequence[QualityRow]:
        return await self._server.quality.worst_calls(from_ms, until_ms, limit)

    async def quality(self, call_id: str) -> Sequence[QualityRow]:
        await self._server.spool.flush(1.0)
        try:
            return await self._server.quality.of_call(call_id)
        except StorageError as error:
            raise Conflict(str(error)) from error
