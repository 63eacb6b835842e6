"""A server for the API to talk to, made of plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

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
from mediaserver.model import CallFacts, LegFacts, LegHandle, Masked
from mediaserver.recording.sealed import SealedFile
from mediaserver.store.quality import QualityEvent, QualityHour, QualityRow
from mediaserver.store.recordings import RecordingRow

CALL = CallFacts(
    call_id="c1",
    caller=Masked("+4930123456"),
    called=Masked("600"),
    caller_name=Masked("<b>Eve</b>"),
    identity="100",
    route="echo",
    program="echo",
    started_ns=1,
    started_wall=1_790_000_000.0,
    answered_wall=1_790_000_001.0,
    state="talking",
    recording_id="r1",
    legs=(
        LegFacts(
            leg_id="1",
            handle=LegHandle(7),
            role="caller",
            number=Masked("+4930123456"),
            identity="100",
            sip_call_id="x@y",
            opened_ns=1,
            opened_wall=1_790_000_000.0,
            codec="opus/48000",
            answered_wall=1_790_000_001.0,
        ),
    ),
)
RECORDING = RecordingRow(
    recording_id="r1",
    call_id="c1",
    state="complete",
    kind="message",
    directory="2026/r1",
    caller=Masked("100"),
    called=Masked("602"),
    started_ms=1_790_000_000_000,
    length_ms=12_340,
)


def score(mos: float = 4.2, *, whole_call: bool = False, direction: str = "received", missing: str = "") -> QualityRow:
    return QualityRow(
        call_id="c1",
        leg_id="1",
        direction=direction,
        start_ms=1_790_000_000_000,
        length_ms=5_000,
        whole_call=int(whole_call),
        mos=mos,
        mos_worst=mos,
        r=88.0,
        scale="nb",
        model="G.107",
        codec="opus/48000",
        basis="playout",
        missing=missing,
        loss=0.01,
        late=0.0,
        burst_ratio=1.0,
        delay_ms=80.0,
        jitter_ms=3.0,
        rtt_ms=40.0,
        concealed=0.01,
    )


@dataclass
class FakeFacade:
    audio: SealedFile | None = None
    parts: dict[str, str] = field(default_factory=lambda: {"sip": "", "database": ""})
    known: dict[str, str] = field(default_factory=dict)
    ended: list[str] = field(default_factory=list)
    recorded: list[tuple[str, str, float | None]] = field(default_factory=list)
    answered: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    counted: ServerCounters = field(default_factory=ServerCounters)
    filmed: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    there: set[str] = field(default_factory=lambda: {"r1"})

    def readiness(self) -> Readiness:
        return Readiness(self.parts)

    def counters(self) -> ServerCounters:
        return self.counted

    def calls(self) -> Sequence[CallView]:
        return [CallView(CALL, {"1": LegQuality(mos_received=4.21, scale="fb")})]

    def call(self, call_id: str) -> CallView:
        if call_id != "c1":
            raise NotFound(f"there is no call {call_id}")
        return replace(self.calls()[0], playout={"1": {"lost": 3, "stretched_ms": 4.5}})

    async def hang_up(self, call_id: str) -> None:
        self.ended.append(self.call(call_id).facts.call_id)

    async def record(self, call_id: str, action: RecordAction, reason: str, resume_after_s: float | None) -> None:
        self.call(call_id)
        if action == "stop":
            raise Conflict("it is not being recorded")
        self.recorded.append((action, reason, resume_after_s))

    async def consent(self, call_id: str, leg_id: str, answer: ConsentAnswer, purposes: Sequence[str] = ()) -> str:
        self.call(call_id)
        if leg_id != "1":
            raise NotFound("no such party")
        self.answered.append((answer, tuple(purposes)))
        return answer

    def consent_states(self, call_id: str) -> Mapping[str, str]:
        self.call(call_id)
        return {"1": "implied"}

    def consent_purposes(self, call_id: str) -> Mapping[str, Mapping[str, str]]:
        return {"1": {"contract": "implied", "training": "denied"}}

    async def users(self) -> Sequence[UserView]:
        return [UserView(name) for name in self.known]

    async def add_user(self, name: str, password: str, display_name: str = "") -> None:
        if name in self.known:
            raise Conflict(f"user {name} exists already")
        if " " in name:
            raise ValueError("a user name has no spaces")
        self.known[name] = password

    async def remove_user(self, name: str) -> None:
        if self.known.pop(name, None) is None:
            raise NotFound(f"there is no user {name}")

    async def recordings(self, limit: int, before_ms: int | None = None) -> Sequence[RecordingRow]:
        return [] if before_ms else [RECORDING][:limit]

    async def recording(self, recording_id: str) -> RecordingRow:
        if recording_id not in self.there:
            raise NotFound(f"there is no recording {recording_id}")
        return RECORDING

    async def pictures(self, recording_id: str) -> Sequence[tuple[str, str]]:
        await self.recording(recording_id)
        return [("1", "camera"), ("1", "screen")]

    async def film(
        self, recording_id: str, form: FilmFormat, party: str | None = None, picture: str | None = None
    ) -> SealedFile:
        self.filmed.append((form, party, picture))
        if party == "9":
            raise NotFound(f"recording {recording_id} has no such picture")
        return await self.export_recording(recording_id, "wav")

    def expect_listening(self) -> None:
        self.listening_expected = True

    def preparing(self, recording_id: str) -> Mapping[str, int]:
        return {"sound": 40} if recording_id in self.there else {}

    async def export_recording(self, recording_id: str, form: ExportFormat) -> SealedFile:
        await self.recording(recording_id)
        if self.audio is None:
            raise Conflict(f"recording {recording_id} is still running")
        return self.audio

    async def quality_events(self, call_id: str) -> Sequence[QualityEvent]:
        return [QualityEvent(call_id, "1", 1_790_000_002_000, "dropout", 400.0)] if call_id == "c1" else []

    async def quality_hours(self, from_ms: int, until_ms: int, trunk: str | None) -> Sequence[QualityHour]:
        self.asked = (from_ms, until_ms, trunk)
        return [
            QualityHour(
                from_ms, "carrier", "received", "PCMU", "nb", 20, 2, 80.0, 2.1, 0.4, 2_000.0, 400.0, {21: 2, 41: 18}
            )
        ]

    async def worst_calls(self, from_ms: int, until_ms: int, limit: int) -> Sequence[QualityRow]:
        self.asked = (from_ms, until_ms, limit)
        return [score(whole_call=True)]

    async def quality(self, call_id: str) -> Sequence[QualityRow]:
        if call_id == "boom":
            raise RuntimeError("planted inside text")
        return [score(missing="rtt, codec")]
