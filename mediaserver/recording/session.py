"""One recording: its parties, their consent, the evidence, its catalogue row.

Owns what each event of the call means for permission. Permission ends synchronously, before anything is awaited; taps
and files follow it (`capture.py`).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from mediaserver import __version__
from mediaserver.errors import ConsentError, StorageError
from mediaserver.model import CallFacts, LegFacts, LegHandle, Notice, NoticeKind, PromptHeard, StreamSettings
from mediaserver.model_consent import Answer, ConsentRules, ConsentState, PurposeRules
from mediaserver.recording import announce, catalogue
from mediaserver.recording.announce import RecordingEvent
from mediaserver.recording.capture import Capture
from mediaserver.recording.consent import MOST_FIRST, PERMITTED, Event
from mediaserver.recording.durable import LegFile
from mediaserver.recording.journal import Kind, note
from mediaserver.recording.keys import KeyRing
from mediaserver.recording.played import FOLDER, keep
from mediaserver.recording.proofs import FOLLOWS_PERMISSION, Proofs, delete_after_ms, listeners
from mediaserver.recording.recovery import ERASED
from mediaserver.recording.sealed import SUFFIX, SealedShelf, whole_audio
from mediaserver.store.recordings import RecordingRow

if TYPE_CHECKING:
    from mediaserver.recording.recorder import JournalRecorder

log = structlog.get_logger(__name__)


class JournalRecording:
    """What the call room holds of one recording. Its methods may be called in any order and never raise for a disk."""

    def __init__(
        self, recorder: JournalRecorder, call: CallFacts, kind: NoticeKind, rules: ConsentRules, ring: KeyRing
    ) -> None:
        self._recorder = recorder
        self._call = call
        self._kind = kind
        self._ring = ring
        self._wall = recorder.clock.wall()
        self.recording_id = catalogue.new_recording_id(self._wall)
        self.relative_directory = catalogue.relative_directory(self.recording_id, self._wall)
        self.call_id = call.call_id
        self.rules = rules
        self._consent = recorder.authority.open_call(call.call_id, self._moved, rules)
        self._proofs = Proofs(recorder.store, recorder.clock, self._consent, self.recording_id)
        self._capture = Capture(recorder, self, self._consent, ring, self._header, rules)
        self._lock = asyncio.Lock()  # opening and closing taps takes turns; permission itself never waits for it
        self._legs: dict[LegHandle, LegFacts] = {}
        self._row: RecordingRow | None = None
        self._packets_lost = 0
        self._held: dict[LegHandle, bool] = {}
        self._shown: dict[LegHandle, ConsentState] = {}
        self._ended = False
        self.failure = ""
        self.on_failure: Callable[[str], None] | None = None  # told once, at once
        self.on_state: Callable[[LegHandle, ConsentState], None] | None = None

    @property
    def capturing(self) -> bool:
        return self._capture.running

    @property
    def captured(self) -> bool:
        return self._capture.first_ns != 0

    @property
    def paused(self) -> bool:
        return self._consent.paused

    def owns(self, file: LegFile) -> bool:
        return file in self._capture.files

    def states(self) -> dict[LegHandle, ConsentState]:
        return self._consent.states()

    def purposes(self, leg: LegHandle) -> dict[str, ConsentState]:
        """Its state for each purpose; none of a party that is not there."""
        return self._consent.purposes(leg) if leg in self._legs else {}

    # -- driven by the call room

    async def leg_joined(self, leg: LegFacts) -> None:
        """A party who has not heard the notice, or is to hear it again: unknown from this very call on."""
        self._legs[leg.handle] = leg
        self._consent.join(leg.handle)
        await self._follow("joined")

    def notice_started(self, leg: LegHandle) -> None:
        """A party who has said nothing yet hears the notice: it may be captured as little as before."""
        if not self._ended and leg in self._legs:
            self._consent.happens(leg, Event.NOTICE_STARTED)

    async def notice_finished(self, notice: Notice) -> ConsentState:
        """A party heard the notice to its end. Returns what it is now: permitted, asked for more, or failed."""
        if self._ended or notice.leg not in self._legs:
            log.warning("recording.notice_of_a_stranger", call=self.call_id, recording=self.recording_id)
            return ConsentState.UNKNOWN
        try:
            digest = await self._recorder.hashes.of(Path(notice.path))
        except OSError as error:
            # Without the hash nobody can prove what was played: no evidence, no capture.
            log.error("recording.notice_unreadable", path=notice.path, error=error.strerror)
            return ConsentState.NOTICE_FAILED
        if self._ended or notice.leg not in self._legs:
            return ConsentState.UNKNOWN
        for one in self.rules.each():
            try:
                self._told_of(one, notice, digest)
            except ConsentError as error:
                log.error("recording.evidence_refused", call=self.call_id, error=str(error))
                return ConsentState.NOTICE_FAILED
        await self._follow("notice")
        return self._consent.state(notice.leg)

    def _told_of(self, purpose: PurposeRules, notice: Notice, digest: str) -> None:
        """One notice tells of every purpose. What the party agreed to in a contract needs no more than that."""
        facts = self._legs[notice.leg]
        if purpose.ask == "prior":
            evidence = self._proofs.of_answer(facts, purpose.name, "prior", {})
            self._consent.agreed(evidence)
            self._proofs.put(evidence, ConsentState.GRANTED)
            return
        evidence = self._proofs.of_notice(facts, purpose.name, notice, digest)
        self._consent.delivered(evidence)
        self._proofs.put(evidence, ConsentState.IMPLIED)

    async def notice_reported(self, notice: Notice) -> None:
        """A report that covers the notice came after its end: all that rests on it says so from now on."""
        for evidence in self._proofs.reported(notice):
            report = {"evidence": evidence.evidence_id, **asdict(notice.delivery)}
            self._note(notice.leg, Kind.EVENT, {"notice_report": report})
        fraction = notice.delivery.fraction
        if fraction is not None and fraction < self.rules.delivered_fraction:
            log.warning("recording.notice_lost", call=self.call_id, recording=self.recording_id, delivered=fraction)

    async def stayed(self, leg: LegHandle) -> None:
        """So long after its notice as the policy asks for, the party is still there."""
        if not self._ended and leg in self._legs:
            before = self._consent.purposes(leg)
            self._consent.stayed(leg)
            for purpose, state in self._consent.purposes(leg).items():
                if before[purpose] is ConsentState.NOTICE_DELIVERED and state is not before[purpose]:
                    self._proofs.put(self._consent.evidence(leg, purpose), ConsentState.IMPLIED)
            await self._follow("stayed")

    async def answer(
        self, leg: LegHandle, answer: Answer, how: str, detail: Mapping[str, str], purposes: Sequence[str] = ()
    ) -> ConsentState:
        """The party said yes or no to these purposes, or all, at whatever moment. The call goes on.

        A no ends its channel at once, unless another purpose holds it. Raises LookupError for a party that is not in
        this recording, or a purpose that its policy does not know.
        """
        if self._ended or leg not in self._legs:
            raise LookupError("this party is not in a running recording")
        known = [one.name for one in self.rules.each() if one.ask != "never"]
        if unknown := [name for name in purposes if name not in known]:
            raise LookupError(f"policy {self.rules.name} records for no such purpose: {unknown[0][:40]!r}")
        named = [name for name in known if name in purposes or not purposes]
        for name in named:
            evidence = self._proofs.of_answer(self._legs[leg], name, how, detail)
            if answer is Answer.GRANTED:
                self._consent.agreed(evidence)
            else:
                self._consent.refused(leg, name)
            self._proofs.put(evidence, ConsentState.GRANTED)
        state = min((self._consent.state(leg, name) for name in named), key=MOST_FIRST.index)
        await self._follow(state.value)
        if answer is not Answer.GRANTED and self.rules.withdrawal == "retroactive":  # also of who is asked anew
            await self._to_its_end(self._shred(leg, named, how))
        if self._row is not None and not self._ended:
            self._put_row("capturing")
        return state

    async def pause(self, reason: str) -> None:
        """Nothing of anybody is stored from this very call on, until `resume`."""
        self._consent.pause()
        await self._follow(f"paused: {reason}" if reason else "paused")

    async def resume(self) -> None:
        self._consent.resume()
        await self._follow("resumed")

    async def leg_left(self, leg: LegHandle) -> None:
        """The party leaves; called while its leg still exists, so that what it said last is drained."""
        await self._to_its_end(self._part_with(leg))

    async def end(self) -> None:
        """The journal is closed and on the disk, the row final. Idempotent; without capture there is no row."""
        self._capture.shut_windows(everybody=True)
        await self._to_its_end(self._finish())

    async def samples(self) -> tuple[int, bytes]:
        """Rate and int16 mono samples of the ended recording; nowhere else in the clear. Raises StorageError."""
        from mediaserver.recording.export import export_recording

        if not self._ended:
            raise StorageError(f"recording {self.recording_id} is still running: end it before rendering")
        if self._row is None or self._capture.directory is None:
            raise StorageError(f"recording {self.recording_id} captured nothing: no party heard the notice to its end")
        target, key = self._capture.directory / f"message.{SUFFIX}", SealedShelf.new_key()
        try:
            await export_recording(
                self._recorder.root, self._ring, self._row, "sealed", target, channels="one", seal=key
            )
            return await asyncio.to_thread(whole_audio, target, key)
        except OSError as error:
            raise StorageError(f"recording {self.recording_id}: cannot be read: {error.strerror}") from error
        finally:
            target.unlink(missing_ok=True)

    # -- driven by the recorder

    def stream_changed(self, leg: LegHandle, stream: StreamSettings) -> None:
        self._note(leg, Kind.CODECS, {"codecs": codec_map(stream)})

    def pictures_changed(self, leg: LegHandle) -> None:
        if leg in self._legs and not self._ended:
            self._recorder.spawn(self._adjust("pictures"))

    def held_changed(self, leg: LegFacts) -> None:
        """On hold or back: a lane of the recording."""
        held = leg.state == "held"
        if leg.handle in self._legs and self._held.get(leg.handle, False) is not held:
            self._held[leg.handle] = held
            self._note(leg.handle, Kind.EVENT, {"held": held})

    async def prompt_played(self, heard: PromptHeard) -> None:
        """What the server played to a party belongs to that party's channel; a tone is a lane only."""
        digest = None
        if heard.path is not None and self._capture.file(heard.leg) is not None:
            try:
                digest = await self._recorder.hashes.of(Path(heard.path))
                await asyncio.to_thread(keep, self._recorder.root / FOLDER, Path(heard.path), digest)
            except OSError as error:
                log.warning("recording.prompt_not_kept", path=heard.path, error=error.strerror)
        values = asdict(heard)
        del values["leg"], values["path"]
        self._note(heard.leg, Kind.PROMPT, {**values, "sha256": digest})

    async def send_to(self, leg: LegHandle, where: socket.socket | None) -> None:
        """A copy of what is captured of this party goes to another recorder as well; None: no more.

        where: connected, UDP, the caller's to close, after this has been called with None or the recording has ended.
        """
        async with self._lock:
            if not self._ended:
                await self._capture.send_to(leg, where)

    def named(self, call: CallFacts) -> None:
        """Caller and called of the catalogue's row; what stands in journals already stays as it was told first."""
        self._call = replace(self._call, caller=call.caller, called=call.called)
        if self._row is not None and not self._ended:
            self._put_row("capturing")

    def noted(self, leg: LegHandle, values: Mapping[str, Any]) -> None:
        """What somebody says of this party: kept with its channel, as an event of the journal."""
        self._note(leg, Kind.EVENT, values)

    def _note(self, leg: LegHandle, kind: Kind, values: Mapping[str, Any]) -> None:
        file = self._capture.file(leg)
        if file is not None and not self._ended:
            self._recorder.writer.append(file, note(kind, self._recorder.clock.now_ns(), values))

    def lost(self, file: LegFile, packets: int) -> None:
        self._packets_lost += 0 if file.sink.video else packets
        if not self._ended:
            self._recorder.writer.append(file, note(Kind.LOST, self._recorder.clock.now_ns(), {"packets": packets}))

    async def fail(self, reason: str) -> None:
        """A write failed: capture of every party ends, what is on the disk stays, the row says why."""
        if not self.failure:
            self.failure = reason
            if self.on_failure is not None:
                self.on_failure(reason)
        await self.end()

    # -- inside

    def _moved(self, leg: LegHandle, purpose: str, before: ConsentState, after: ConsentState) -> None:
        self._recorder.count_transition(before, after)
        name, facts = announce.OF_CONSENT.get(after), self._legs.get(leg)
        if name is not None and facts is not None and not (after in PERMITTED and before in FOLLOWS_PERMISSION):
            said = {"leg": facts.leg_id, "role": facts.role, "from": before.value, "policy": self.rules.name}
            self._tell(name, {**said, "purpose": purpose})
        state = self._consent.state(leg)
        self._count(leg, state)
        if self.on_state is not None and self._shown.get(leg) is not state:
            self._shown[leg] = state
            self.on_state(leg, state)

    def _count(self, leg: LegHandle, state: ConsentState | None) -> None:
        """For /metrics; None: this party's part in the recording is over."""
        now_ns = self._recorder.clock.now_ns()
        self._recorder.uncaptured.moved(self.recording_id, leg, None if self._ended else state, now_ns)

    def _tell(self, name: str, facts: Mapping[str, str]) -> None:
        wall = self._recorder.clock.wall()
        self._recorder.tell(RecordingEvent(name, wall, self.recording_id, self.call_id, facts))

    async def _follow(self, reason: str) -> None:
        """Windows shut now; taps close, and open where somebody may be captured, as soon as it is their turn."""
        self._capture.shut_windows()
        await self._to_its_end(self._adjust(reason))

    async def _to_its_end(self, work: Coroutine[Any, Any, None]) -> None:
        """A call that is cancelled while a tap opens or closes must not leave it half open."""
        await asyncio.shield(self._recorder.spawn(work))

    async def _adjust(self, reason: str) -> None:
        async with self._lock:
            await self._adjust_taps(reason)
        if self.failure:
            await self._finish()

    async def _adjust_taps(self, reason: str) -> None:
        if self._ended:
            return
        await self._capture.close_forbidden(reason)
        # A window that shut and may open again needs a tap of its own: what lay between was never permitted.
        reopened = [leg for leg in self._capture.tapped if (f := self._capture.file(leg)) and f.sink.window_closed]
        await self._capture.close_taps(reopened, reason)
        try:
            await self._capture.open_taps(self._legs)
        except (OSError, StorageError) as error:
            self._recorder.stats.failures["cannot_create"] += 1
            log.critical("recording.failed", reason="cannot_create", error=str(error), call=self.call_id)
            self.failure = "cannot_create"
            if self.on_failure is not None:
                self.on_failure(self.failure)
        if self._row is None and self._capture.first_ns:
            self._put_row("capturing")
            self._recorder.stats.started += 1
            self._tell(announce.STARTED, {"kind": self._kind.value, "policy": self.rules.name})

    async def _part_with(self, leg: LegHandle) -> None:
        async with self._lock:
            await self._capture.close_taps([leg], "left")
            self._consent.leave(leg)
            self._count(leg, None)
            self._capture.shut_windows()
            facts = self._legs.pop(leg, None)
            if facts is not None:
                await self._adjust_taps("left")
        if self.failure:
            await self._finish()

    async def _shred(self, leg: LegHandle, purposes: Sequence[str], actor: str) -> None:
        async with self._lock:
            await self._capture.shred(leg, purposes, "withdrawn", actor)

    async def _finish(self) -> None:
        async with self._lock:
            if self._ended:
                return
            self._ended = True
            await self._capture.close_taps(list(self._capture.tapped), "ended")
            state = "failed" if self.failure else "complete"
            await self._capture.finish(state, self.failure or "ended")
            if self._capture.directory is not None:
                self._put_row(state if self._capture.held else ERASED)  # everybody has withdrawn what there was
                if not self.failure:
                    self._recorder.stats.completed += 1
        self._recorder.running.pop(self.recording_id, None)
        for leg in self._legs:
            self._count(leg, None)

    # -- rows and evidence

    def _header(self, facts: LegFacts, now_ns: int) -> dict[str, Any]:
        stream = self._recorder.streams.get(facts.handle)
        return {
            "server": __version__,
            "recording": self.recording_id,
            "call": self.call_id,
            "kind": self._kind.value,
            "policy": self.rules.name,
            "caller": str(self._call.caller),
            "called": str(self._call.called),
            "leg": facts.leg_id,
            "role": facts.role,
            "party": str(facts.number),
            # The pair that ties the server's monotonic clock to the wall: enough to say when each byte arrived.
            "clock": {"monotonic_ns": now_ns, "wall": self._recorder.clock.wall()},
            "codecs": {} if stream is None else codec_map(stream),
        }

    def _put_row(self, state: str) -> None:
        first_ns = self._capture.first_ns
        length_ns = max(0, self._capture.last_ns - first_ns)
        ended = state != "capturing"
        if self._row is None:
            clock = self._recorder.clock
            wall_offset = clock.wall() - clock.now_ns() / 1e9
            started_ms = round((wall_offset + (first_ns or clock.now_ns()) / 1e9) * 1000)
            self._row = RecordingRow(
                self.recording_id,
                self.call_id,
                state,
                self._kind.value,
                self.relative_directory,
                self._call.caller,
                self._call.called,
                started_ms,
                policy=self.rules.name,
                purpose=self.rules.each()[0].name,
                route=self._call.route or "",
            )
        held = self._capture.held
        self._row = replace(
            self._row,
            state=state,
            purposes=",".join(one.name for one in self.rules.each() if one.name in held),
            listeners=listeners(self.rules, held),
            delete_after_ms=delete_after_ms(self.rules, held, self._row.started_ms),
            caller=self._call.caller,
            called=self._call.called,
            ended_ms=self._row.started_ms + round(length_ns / 1e6) if ended else None,
            length_ms=round(length_ns / 1e6) if ended else 0,
            bytes=sum(file.bytes_written for file in self._capture.files),
            legs=sum(not file.sink.video for file in self._capture.files),
            packets_lost=self._packets_lost,
            failure=self.failure,
        )
        self._recorder.store.put(self._row)


def codec_map(stream: StreamSettings) -> dict[str, dict[str, Any]]:
    """Payload type -> name, clock, channels of what the leg may send us: JSON for the journal."""
    return {
        str(codec.payload_type): {"name": codec.name.value, "clock_hz": codec.clock_hz, "channels": codec.channels}
        for codec in stream.receive
    }
