"""What the HTTP API may ask of the running server, as one protocol; `app.py` implements it.

Owns the plain values that cross (views) and nothing else. The API never sees a call, a session, a database or the
engine: a page or a program gets exactly these fields. All methods run on the event loop; the `async` ones may wait
for the database or a worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from mediaserver.api.webhooks import WebhookStats
from mediaserver.model import CallFacts, EngineStats
from mediaserver.recording.cabinet import StorageStats
from mediaserver.recording.sealed import SealedFile
from mediaserver.sip.counters import SipCounters
from mediaserver.store.quality import QualityEvent, QualityHour, QualityRow
from mediaserver.store.recordings import RecordingRow

ExportFormat = Literal["wav", "opus", "lanes", "peaks"]
FilmFormat = Literal["webm", "mp4", "pictures"]
RecordAction = Literal["start", "stop", "pause", "resume"]
ConsentAnswer = Literal["granted", "denied", "withdrawn"]


class NotFound(LookupError):
    """No such call, user or recording; the text names it."""


class Conflict(ValueError):
    """The request fits no present state: the user exists already, the recording has not ended."""


@dataclass(frozen=True, slots=True)
class LegQuality:
    """How one leg sounds now: the last interval's scores. None before the first one, or when an input is missing."""

    mos_received: float | None = None  # what we got from this party
    mos_sent: float | None = None  # what this party heard, by its own RTCP
    scale: str = ""  # of both: a MOS without its scale is no number
    loss_fraction: float = 0.0  # received, after the jitter buffer, 0..1
    jitter_ms: float = 0.0
    round_trip_ms: float | None = None
    cause: str = ""  # what costs most in the worse direction: loss, burst, late, delay, clipping, dead_air
    mos_worst: float | None = None  # of all its intervals so far, in either direction


@dataclass(frozen=True, slots=True)
class CallView:
    """A running call. quality: by leg_id of facts.legs; a leg may be absent."""

    facts: CallFacts
    quality: Mapping[str, LegQuality] = field(default_factory=dict)
    playout: Mapping[str, Mapping[str, int | float | bool]] = field(
        default_factory=dict
    )  # of one call asked for, by leg


@dataclass(frozen=True, slots=True)
class UserView:
    name: str
    display_name: str = ""
    contacts: int = 0  # registered devices now
    created_wall: float | None = None


@dataclass(frozen=True, slots=True)
class Readiness:
    """parts: "" when the part is ready, else why it is not. The names: sip, media, database, recording, draining."""

    parts: Mapping[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return not any(self.parts.values())


@dataclass(frozen=True, slots=True)
class ServerCounters:
    """What /metrics shows besides the histograms of `Metrics`. Mappings are totals since the start of the process.

    Whatever is handed over is shown as it was at that moment: hand over copies or values that only grow.
    """

    engine: EngineStats | None = None  # None before the engine started
    sip: SipCounters | None = None
    calls_active: int = 0
    calls_ended: Mapping[str, int] = field(default_factory=dict)  # by cause (model.Cause)
    calls_refused: Mapping[str, int] = field(
        default_factory=dict
    )  # by reason, a fixed set: no_port, no_codec, draining
    programs_failed: int = 0
    registrations: int = 0
    sip_authentications: Mapping[str, int] = field(default_factory=dict)  # by result: accepted, failed, silenced
    recordings_active: int = 0
    recording_lag_s: float = 0.0  # captured but not yet on disk
    recording_lost_s: float = 0.0  # audio that did not reach the disk; must stay 0
    recording_lost_pictures: int = 0  # packets of cameras and screens
    recording_failures: Mapping[str, int] = field(default_factory=dict)  # by reason
    recording_fsyncs: Sequence[tuple[float, int]] = ()  # seconds at the most, the last infinite: how many, not summed
    recording_fsync_s: float = 0.0  # all of them together
    recording_spool_bytes: int = 0  # on the disk only in the spool
    recording_spool_room_bytes: int = 0  # that it may grow by before its disk has recording.min_free_mb
    recording_disk_free_bytes: int = 0
    recording_disk_size_bytes: int = 0
    recording_gaps_s: Mapping[str, float] = field(default_factory=dict)  # by reason
    consent_blocked_s: float = 0.0
    recordings_recovered: int = 0  # at the start, from journals of a server that was killed
    events: WebhookStats | None = None  # None: no webhook
    storage: StorageStats | None = None  # None: no bucket
    storage_counts: Mapping[str, int] = field(default_factory=dict)  # recordings by where they lie
    consent_transitions: Mapping[tuple[str, str], int] = field(default_factory=dict)  # by (from, to)
    consent_announcements_failed: int = 0
    tokens_issued: int = 0
    tokens_refused: Mapping[str, int] = field(default_factory=dict)  # by reason, a fixed set: expired, forged, right …
    web_sessions: Mapping[str, int] = field(default_factory=dict)  # open now, by way in: whip, whep, page
    pages_ended: Mapping[str, int] = field(default_factory=dict)  # JSON WebSockets cut off, by reason, a fixed set
    data_channels_dropped: Mapping[str, int] = field(default_factory=dict)  # what peers broke, by reason, a fixed set
    web_sessions_opened: Mapping[str, int] = field(default_factory=dict)
    database_rows_dropped: int = 0
    database_rows_waiting: int = 0


class Facade(Protocol):
    def readiness(self) -> Readiness: ...

    def counters(self) -> ServerCounters: ...

    def calls(self) -> Sequence[CallView]:
        """The running calls, the oldest first."""
        ...

    def call(self, call_id: str) -> CallView:
        """Raises NotFound."""
        ...

    async def hang_up(self, call_id: str) -> None:
        """Ends every leg of the call with cause OPERATOR. Raises NotFound."""

    async def record(self, call_id: str, action: RecordAction, reason: str, resume_after_s: float | None) -> None:
        """Starts, stops, pauses or resumes the recording of a running call. resume_after_s: of a pause; None: as set.

        Raises NotFound, Conflict when there is nothing to stop or pause, or nothing can be recorded.
        """

    async def consent(self, call_id: str, leg_id: str, answer: ConsentAnswer, purposes: Sequence[str] = ()) -> str:
        """A party's answer to these purposes or all, told by the operator. Returns its state now. Raises NotFound."""
        ...

    def consent_purposes(self, call_id: str) -> Mapping[str, Mapping[str, str]]:
        """As `consent_states`, for each purpose of the policy."""
        ...

    def consent_states(self, call_id: str) -> Mapping[str, str]:
        """By leg; empty when nothing is being recorded. Raises NotFound."""
        ...

    async def users(self) -> Sequence[UserView]: ...

    async def add_user(self, name: str, password: str, display_name: str = "") -> None:
        """Raises Conflict when the name is taken, ValueError when it is no SIP user name."""

    async def remove_user(self, name: str) -> None:
        """Its registrations end at once. Raises NotFound."""

    async def recordings(self, limit: int, before_ms: int | None = None) -> Sequence[RecordingRow]:
        """Newest first; before_ms: only those started earlier, for paging."""
        ...

    async def recording(self, recording_id: str) -> RecordingRow:
        """Raises NotFound."""
        ...

    async def pictures(self, recording_id: str) -> Sequence[tuple[str, str]]:
        """Party and "camera" or "screen" of all there is to be seen. Raises NotFound."""
        ...

    async def film(
        self, recording_id: str, form: FilmFormat, party: str | None = None, picture: str | None = None
    ) -> SealedFile:
        """One party's picture with its sound, or all side by side with everybody's. Raises as export_recording.

        "pictures": without sound, on the time line of the recording's sound; WebM or MP4, as its codec needs.
        BadRequest-worthy wishes (pictures that do not go into the form) are a Conflict that says so.
        """
        ...

    def expect_listening(self) -> None: ...

    def preparing(self, recording_id: str) -> Mapping[str, int]:
        """Percent done of all that is rendered of this recording now: "sound", "lanes.json", "1.camera.pictures"."""
        ...

    async def export_recording(self, recording_id: str, form: ExportFormat) -> SealedFile:
        """A playable file, rendered on the first request and kept sealed; both legs in step, stereo; of one leg mono.

        Raises NotFound, Conflict while it is still being recorded.
        """
        ...

    async def quality_events(self, call_id: str) -> Sequence[QualityEvent]:
        """Dropouts, one-way audio and phones' own reports of a call, oldest first."""
        ...

    async def quality_hours(self, from_ms: int, until_ms: int, trunk: str | None) -> Sequence[QualityHour]:
        """Summed hours begun in [from, until), oldest first; trunk "": our own phones, None: everybody."""
        ...

    async def worst_calls(self, from_ms: int, until_ms: int, limit: int) -> Sequence[QualityRow]:
        """What sums calls up, the worst interval first."""
        ...

    async def quality(self, call_id: str) -> Sequence[QualityRow]:
        """All scores of a running or ended call, oldest first; empty when there are none."""
        ...
