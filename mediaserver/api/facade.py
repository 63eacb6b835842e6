"""What the HTTP API may ask of the running server, as one protocol; `app.py` implements it.

Owns the plain values that cross (views) and nothing else. The API never sees a call, a session, a database or the
engine: a page or a program gets exactly these fields. All methods run on the event loop; the `async` ones may wait
for the database or a worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from mediaserver.model import EngineStats, Masked

ExportFormat = Literal["wav", "opus"]


class NotFound(LookupError):
    """No such call, user or recording; the text names it."""


class Conflict(ValueError):
    """The request fits no present state: the user exists already, the recording has not ended."""


@dataclass(frozen=True, slots=True)
class LegView:
    """One party as it is now. mos: of the last interval, None before the first one (or when an input is missing)."""

    leg_id: str
    role: Literal["caller", "callee", "member"]
    party: Masked  # number or user name
    state: str  # ringing, talking, held, …: the call room's word
    codec: str = ""
    srtp: bool = False
    mos_received: float | None = None  # what we got from this party
    mos_sent: float | None = None  # what this party heard, by its own RTCP
    mos_scale: str = ""  # e.g. "nb-mos-cqe": a MOS without its scale is no number
    loss_fraction: float = 0.0
    jitter_ms: float = 0.0
    round_trip_ms: float | None = None


@dataclass(frozen=True, slots=True)
class CallView:
    call_id: str
    state: str
    caller: Masked
    called: Masked
    program: str  # the call program that drives it
    started_wall: float  # seconds since 1970 UTC
    answered_wall: float | None = None
    recording: bool = False
    legs: tuple[LegView, ...] = ()


@dataclass(frozen=True, slots=True)
class UserView:
    name: str
    contacts: int = 0  # registered devices now
    created_wall: float | None = None


@dataclass(frozen=True, slots=True)
class RecordingView:
    recording_id: str
    call_id: str
    started_wall: float
    duration_s: float
    state: str  # recording, complete, recovered, …: the recording room's word
    caller: Masked
    called: Masked
    mos: float | None = None
    mos_scale: str = ""


@dataclass(frozen=True, slots=True)
class QualityView:
    """One score of one leg and direction over one interval or the whole call."""

    call_id: str
    leg_id: str
    direction: Literal["received", "sent"]
    started_wall: float
    duration_s: float
    mos: float | None
    r_factor: float | None
    scale: str
    basis: str  # what the score stands on: after-buffer statistics, RTCP of the peer …
    codec: str = ""
    loss_fraction: float = 0.0
    burst_ratio: float = 1.0
    jitter_ms: float = 0.0
    round_trip_ms: float | None = None
    whole_call: bool = False


@dataclass(frozen=True, slots=True)
class Readiness:
    """parts: "" when the part is ready, else why it is not. The names: sip, media, database, recording, draining."""

    parts: Mapping[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        return not any(self.parts.values())


@dataclass(frozen=True, slots=True)
class ServerCounters:
    """What /metrics shows besides the histograms. Counters are totals since the start of the process.

    sip: by name, e.g. {"messages_received": 12, "parse_errors": 0}; each becomes mediaserver_sip_<name>_total.
    responses: final responses we sent, by method and status class: {("INVITE", "2xx"): 40}.
    rejected: calls refused, by reason (bounded set): {"no_port": 0, "no_codec": 1, "draining": 0}.
    """

    engine: EngineStats | None = None  # None before the engine started
    calls_active: int = 0
    calls_total: Mapping[str, int] = field(default_factory=dict)  # ended calls by cause (model.Cause)
    registrations: int = 0
    sip: Mapping[str, int] = field(default_factory=dict)
    responses: Mapping[tuple[str, str], int] = field(default_factory=dict)
    rejected: Mapping[str, int] = field(default_factory=dict)
    recordings_active: int = 0
    recording_lag_s: float = 0.0  # captured but not yet on disk
    recording_lost_s: float = 0.0  # audio that did not reach the disk; must stay 0
    recording_failures: Mapping[str, int] = field(default_factory=dict)  # by reason
    recording_bytes: int = 0


class Facade(Protocol):
    def readiness(self) -> Readiness: ...

    def counters(self) -> ServerCounters: ...

    def calls(self) -> Sequence[CallView]: ...

    def call(self, call_id: str) -> CallView:
        """Raises NotFound."""
        ...

    async def hang_up(self, call_id: str) -> None:
        """Ends every leg of the call with cause OPERATOR. Raises NotFound."""

    async def users(self) -> Sequence[UserView]: ...

    async def add_user(self, name: str, password: str) -> None:
        """Raises Conflict when the name is taken, ValueError when it is no SIP user name."""

    async def remove_user(self, name: str) -> None:
        """Its registrations end at once. Raises NotFound."""

    async def recordings(self, limit: int, before_wall: float | None = None) -> Sequence[RecordingView]:
        """Newest first; before_wall: only those started earlier, for paging."""
        ...

    async def recording(self, recording_id: str) -> RecordingView:
        """Raises NotFound."""
        ...

    async def export_recording(self, recording_id: str, form: ExportFormat) -> Path:
        """A playable file, rendered on the first request and kept; both legs in step, stereo.

        Raises NotFound, Conflict while it is still being recorded.
        """
        ...

    async def quality(self, call_id: str) -> Sequence[QualityView]:
        """All scores of a running or ended call, oldest first. Raises NotFound."""
        ...
