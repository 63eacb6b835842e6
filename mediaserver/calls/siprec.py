"""A recording session that somebody else sends us: we are the recording server (SRS) of RFC 7866.

Owns one dialog with a recording client, its streams and their recording as one conversation. Nobody is talked to: no
notice can be played, so what is captured rests on what the client declares, if the policy of its trunk takes that
(`trunks.NAME.siprec_policy`); else it is refused. Recording is all there is for it to do: when that fails, it ends.
"""

from __future__ import annotations

import asyncio
import contextvars
import os

import structlog

from mediaserver.calls.house import House
from mediaserver.calls.ports import Recording, Session
from mediaserver.calls.siprec_stream import RecordedStream
from mediaserver.calls.tasks import finish
from mediaserver.errors import (
    ConsentError,
    MediaError,
    MediaServerError,
    NegotiationError,
    NoPortFree,
    ParseError,
    StorageError,
)
from mediaserver.limits import LEG_EVENTS_MAX
from mediaserver.model import CallFacts, Cause, Masked, NoticeKind
from mediaserver.model_consent import Answer, ConsentCase, ConsentRules
from mediaserver.sdp.received_streams import ReceivedStream, ReceivedStreams
from mediaserver.sip.rs_metadata import Metadata, parse
from mediaserver.sip.session import (
    Cancelled,
    Ended,
    MetadataReceived,
    ReferReceived,
    Reoffer,
    SessionEvent,
)

log = structlog.get_logger()
PROGRAM = "siprec"
RETRY_AFTER_S = 10


class SiprecCall:
    """`run` drives it to its end; `end` makes that happen from outside. Has the face of `call.Call`."""

    def __init__(self, call_id: str, session: Session, house: House) -> None:
        self.call_id = call_id
        self.context = contextvars.copy_context()
        self.context.run(structlog.contextvars.bind_contextvars, call_id=call_id)
        self.ending = False
        self._house = house
        self._session = session
        self._trunk = (session.identity or "").partition("trunk:")[2]
        self._streams: dict[ReceivedStream, RecordedStream] = {}
        self._past: list[RecordedStream] = []
        self._recording: Recording | None = None
        self._recording_id: str | None = None
        self._metadata = Metadata()
        self._started = (house.clock.now_ns(), house.clock.wall())
        self._answered: tuple[int, float] | None = None
        self._ended: tuple[int, float] | None = None
        self._cause: Cause | None = None
        self._by: str | None = None
        self._status: int | None = None
        self._reason = ""
        self._over = asyncio.Event()
        self._silence: asyncio.TimerHandle | None = None
        self._events: asyncio.Queue[SessionEvent] = asyncio.Queue(LEG_EVENTS_MAX)
        self._lines = ReceivedStreams(
            house.policy(self._trunk),
            session_id=int.from_bytes(os.urandom(4), "big") + 1,
            random_bytes=os.urandom,
            cname=os.urandom(9).hex(),
        )
        session.belongs_to(call_id)
        session.on_event = self._take
        session.may_refer = lambda: False

    # -- facts

    def facts(self) -> CallFacts:
        """The parties are the recorded call's, as far as its client names them."""
        parties = [Masked(one.number) for one in self._metadata.participants.values() if one.number]
        heard = [stream.number for stream in (*self._past, *self._streams.values())]
        known = list(dict.fromkeys([*heard, *parties]))
        session = self._session
        return CallFacts(
            call_id=self.call_id,
            caller=known[0] if known else Masked(session.caller_user),
            called=known[1] if len(known) > 1 else Masked(session.called_user),
            caller_name=Masked(session.caller_name),
            identity=session.identity,
            route=f"siprec-{self._trunk}",
            program=PROGRAM,
            started_ns=self._started[0],
            started_wall=self._started[1],
            answered_ns=self._answered[0] if self._answered else None,
            answered_wall=self._answered[1] if self._answered else None,
            ended_ns=self._ended[0] if self._ended else None,
            ended_wall=self._ended[1] if self._ended else None,
            cause=self._cause,
            ended_by=self._by,
            sip_status=self._status,
            reason=self._reason,
            state="ended" if self._ended else "running",
            recording_id=self._recording_id,
            legs=tuple(stream.facts() for stream in (*self._past, *self._streams.values())),
        )

    async def record(self, start: bool) -> bool:
        """It records by itself, or is over; stop: its client decides, hanging it up ends it."""
        return start and self._recording is not None and not self.ending

    # -- life

    async def run(self) -> None:
        """From the INVITE to the record of the call; everything is closed when it returns."""
        facts = self.facts()
        self._house.observe(lambda observer: observer.call_started(facts))
        try:
            await self._begin()
            while not self.ending:
                await self._follow()
        except (ParseError, NegotiationError) as error:
            log.info("recording session refused", status=error.status, error=str(error))
            self.end(Cause.REJECTED, "server", error.status, str(error))
        except (NoPortFree, MediaError, StorageError) as error:
            log.error("recording session cannot be recorded", error=str(error))
            self.end(Cause.REJECTED, "server", 503)
        except Exception as error:
            log.error("recording session failed", error=repr(error))
            self.end(Cause.PROGRAM_ERROR, "server", 500)
        finally:
            self.end(Cause.LOCAL_HANGUP, "server")
            await finish(self._close())

    def end(self, cause: Cause, by: str, status: int | None = None, reason: str = "") -> None:
        """The first reason given stays. status: if it was not answered yet."""
        if not self.ending:
            self.ending = True
            self._cause, self._by, self._status, self._reason = cause, by, status, reason
            self._over.set()

    async def _begin(self) -> None:
        """Raises what `run` turns into an answer."""
        rules = self._rules()
        if rules is None or self.ending:
            return
        self._learn(self._session.metadata)
        new, _ = self._lines.read_offer(self._session.remote_sdp or b"")
        for line in new:
            await self._open(line)
        answer = self._lines.write_answer(self._session.local_host)
        assert self._house.recorder is not None  # _rules looked
        recording = await self._house.recorder.begin(self.facts(), NoticeKind.CALL, rules)
        self._recording, self._recording_id = recording, recording.recording_id
        recording.on_failure = lambda reason: self.end(Cause.PROGRAM_ERROR, "server", 503, f"recording: {reason}")
        # Before the answer: the client sends as soon as it has it, and its first words count.
        await self._apply()
        if not self.ending:
            self._session.accept(answer)
            self._answered = (self._house.clock.now_ns(), self._house.clock.wall())
            log.info("recording session answered", client=self._trunk, streams=len(new))

    def _rules(self) -> ConsentRules | None:
        """What the policy of its trunk asks for; None: refused."""
        trunk = self._house.settings.trunks.get(self._trunk)
        policy = trunk.siprec_policy if trunk is not None else ""
        if not policy:
            log.warning("refused: whoever sends recording sessions needs trunks.NAME.siprec_policy")
            self.end(Cause.REJECTED, "server", 403)
            return None
        recorder = self._house.recorder
        if recorder is None or not self._house.settings.recording.enabled:
            log.warning("recording session refused: recording is switched off")
            self.end(Cause.REJECTED, "server", 503)
            return None
        rules = recorder.rules(ConsentCase(policy=policy, trunk=self._trunk, direction="in"))
        if rules.ask != "prior":
            log.error(
                "recording session refused: nobody can be asked in it, so its policy must say prior", policy=policy
            )
            self.end(Cause.REJECTED, "server", 403)
            return None
        return rules

    async def _close(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
        if self._answered is None:
            headers = [("Retry-After", str(RETRY_AFTER_S))] if self._status == 503 else []
            self._session.reject(self._status or 480, headers=headers)
        else:
            self._session.hang_up()
        for line in list(self._streams):
            await self._shut(line)
        if self._recording is not None:
            await self._recording.end()
        self._ended = (self._house.clock.now_ns(), self._house.clock.wall())
        facts = self.facts()
        log.info("recording session ended", cause=self._cause, by=self._by, status=self._status)
        self._house.observe(lambda observer: observer.call_ended(facts))

    # -- streams

    async def _open(self, line: ReceivedStream) -> None:
        number = len(self._past) + len(self._streams) + 1
        stream = self._streams[line] = RecordedStream(str(number), line, self._house, self._session)
        stream.name(self._metadata)
        stream.voice.on_silence = self._look_alive
        await stream.open(self.call_id, next(iter(self._streams.values())))

    async def _apply(self) -> None:
        """What was negotiated takes effect; who is new is recorded on the client's word."""
        recording = self._recording
        fresh = [stream for stream in self._streams.values() if not stream.recorded]
        for stream in self._streams.values():
            await stream.apply(self.call_id)
        if recording is None:
            return
        for stream in fresh:
            stream.recorded = True
            await recording.leg_joined(stream.facts())
        for stream in fresh:
            detail = {"declared_by": self._trunk, "sip_call": self._session.call_id, **stream.evidence()}
            try:
                await recording.answer(stream.voice.handle, Answer.GRANTED, "siprec", detail)
            except (LookupError, ConsentError) as error:
                log.warning("a stream is not recorded", stream=stream.leg_id, error=str(error))
            recording.noted(stream.voice.handle, stream.note())

    async def _shut(self, line: ReceivedStream) -> None:
        stream = self._streams.pop(line)
        self._past.append(stream)
        if self._recording is not None and stream.recorded:
            try:
                await self._recording.leg_left(stream.voice.handle)
            except (MediaServerError, OSError) as error:
                log.error("closing a tap failed", error=str(error))
        await stream.close(self.call_id, self._cause)

    # -- what the client says

    def _take(self, event: SessionEvent) -> None:
        if isinstance(event, Ended):
            self.end(Cause.LOCAL_HANGUP if event.by_us else Cause.REMOTE_HANGUP, "caller", reason=event.reason)
        elif isinstance(event, Cancelled):
            self.end(Cause.CANCELLED, "caller", 487)
        else:
            try:
                self._events.put_nowait(event)
            except asyncio.QueueFull:
                log.warning("a recording client sends faster than it can be followed", limit=LEG_EVENTS_MAX)
                self.end(Cause.TRANSPORT, "server")

    async def _follow(self) -> None:
        """The next event, or the end."""
        tasks = {asyncio.ensure_future(self._events.get()), asyncio.ensure_future(self._over.wait())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            event = next((task.result() for task in tasks if task.done() and not isinstance(task.result(), bool)), None)
        finally:
            for task in tasks:
                task.cancel()
        if isinstance(event, MetadataReceived):
            self._learn(event.metadata)
        elif isinstance(event, Reoffer):
            self._learn(event.metadata)
            await self._reoffered(event.sdp)
        elif isinstance(event, ReferReceived):  # with Replaces; any other was refused at once
            self._session.notify_refer(603, "Nobody To Transfer")

    async def _reoffered(self, sdp: bytes | None) -> None:
        if sdp is None:
            self._session.reject_reoffer(488)  # what is recorded is the client's to offer
            return
        try:
            new, gone = self._lines.read_offer(sdp)
        except (ParseError, NegotiationError) as error:
            log.warning("a recording client's offer cannot be used", error=str(error))
            self._session.reject_reoffer(error.status)
            return
        for line in gone:
            await self._shut(line)
        for line in new:
            await self._open(line)
        answer = self._lines.write_answer(self._session.local_host)
        await self._apply()
        self._session.answer_reoffer(answer)
        self._look_alive()

    def _learn(self, document: bytes | None) -> None:
        """Metadata that cannot be read changes nothing: sound without a name is worth more than none."""
        if document is None:
            return
        try:
            self._metadata = self._metadata.updated(parse(document))
        except ParseError as error:
            log.warning("metadata of a recording session cannot be used", error=str(error))
            return
        renamed = [stream for stream in self._streams.values() if stream.name(self._metadata) and stream.recorded]
        if renamed and self._recording is not None:
            for stream in renamed:
                self._recording.noted(stream.voice.handle, stream.note())
            self._recording.named(self.facts())

    # -- a client that is gone without a word

    def _look_alive(self) -> None:
        """All that should send is silent: some time more, then it is over."""
        limit_s = self._house.settings.calls.no_media_timeout_s
        expected = [stream for stream in self._streams.values() if stream.expected]
        silent = bool(expected) and all(stream.voice.silent for stream in expected)
        if self._silence is not None and not (silent and limit_s):
            self._silence.cancel()
            self._silence = None
        elif self._silence is None and silent and limit_s:
            wait_s = max(0.0, limit_s - self._house.settings.media.silence_timeout_s)
            loop = asyncio.get_running_loop()
            self._silence = loop.call_later(wait_s, self.end, Cause.NO_MEDIA, "server")
