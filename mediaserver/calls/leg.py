"""A leg: one party's signalling and media held together. Owns its session, its offer/answer and its engine leg.

Session events wait in a bounded queue and are handled one after the other by the leg's own task, so that an SDP answer,
a hold and a hang-up take effect in the order they arrived. Knows no other leg; its call decides what to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, ClassVar

import structlog

from mediaserver.calls.browser import TRICKLE, PathChanged
from mediaserver.calls.digits import digit_of_info
from mediaserver.calls.house import House
from mediaserver.calls.leg_media import LegMedia
from mediaserver.calls.leg_offers import LegOffers
from mediaserver.calls.leg_video import Track, Wish
from mediaserver.calls.media_control import MEDIA_CONTROL, asks_for_key_frame, key_frame_request
from mediaserver.calls.parties import LegOwner, LegState, Party
from mediaserver.calls.ports import Session
from mediaserver.calls.record_signal import RecordSignal
from mediaserver.calls.tasks import TaskGroup
from mediaserver.calls.widening import Widening
from mediaserver.errors import MediaError, NegotiationError, ParseError
from mediaserver.limits import LEG_EVENTS_MAX
from mediaserver.model import Cause, LegFacts, LegHandle, MediaAddress
from mediaserver.model_video import Content
from mediaserver.sdp.formats import Encoding
from mediaserver.sdp.words import MediaPolicy
from mediaserver.sip.session import (
    Answered,
    Cancelled,
    Confirmed,
    Ended,
    Failed,
    InfoReceived,
    Progress,
    ReferReceived,
    Reoffer,
    ReofferAnswered,
    ReofferFailed,
    SessionEvent,
)
from mediaserver.webrtc.sctp import DataChannel

log = structlog.get_logger()


class _Moved:
    """Among the session's events: what comes behind it is for the leg's next owner."""


class Leg:
    """One party. Create it, then `prepare` (incoming) or `call_out` (outgoing); `close` ends everything it owns."""

    def __init__(
        self,
        leg_id: str,
        role: str,
        party: Party,
        owner: LegOwner,
        house: House,
        policy: MediaPolicy,
        tasks: TaskGroup,
        *,
        secure_offer: bool = False,
    ) -> None:
        """secure_offer: an outgoing offer is RTP/SAVP although SRTP is optional."""
        self.leg_id = leg_id
        self.role = role
        self.party = party
        self.state = LegState.NEW
        self.session: Session | None = None
        self.policy = policy
        self.tasks = tasks
        self.media = LegMedia(
            self,
            house,
            policy,
            secure_offer=secure_offer,
            on_path_change=lambda: self._take(PathChanged()),
            on_change=self._media_changed,
            on_channel=self._channel_opened,
        )
        self.voice = self.media.voice
        self.video = self.media.video
        self.early = False  # media before the answer
        self.held = False  # the party put us on hold
        self.cause: Cause | None = None
        self.status = 0  # final response of a leg that was never answered
        self.reason = ""
        self.answered_wall: float | None = None
        self.ended_wall: float | None = None
        self.conversation: Any = None  # bridge.Conversation it is part of
        self._owner = owner
        self._house = house
        self._opened_ns = house.clock.now_ns()
        self._opened_wall = house.clock.wall()
        self._events: asyncio.Queue[SessionEvent | PathChanged | _Moved] = asyncio.Queue(LEG_EVENTS_MAX)
        self._offers = LegOffers(self)
        self.record = RecordSignal(self)
        self.widening = Widening(self)
        self._ended = asyncio.Event()
        self.voice.on_digit = lambda digit, source: self._owner.leg_digit(self, digit, source)
        self.voice.on_silence = lambda: self._owner.leg_silent(self)
        self._task = tasks.spawn(self._run(), f"leg {leg_id}")

    # -- facts

    @property
    def is_over(self) -> bool:
        return self.state is LegState.ENDED

    @property
    def answered(self) -> bool:
        return self.state is LegState.ANSWERED

    @property
    def preferred(self) -> list[Encoding]:
        """What another leg should prefer so that the two can be relayed."""
        return self.media.preferred

    @property
    def best(self) -> list[Encoding]:
        """As `preferred`, for one that this leg comes to talk to in mid-call: better than what runs now comes first."""
        return [*self.media.widest(sure=True), *self.media.preferred]

    @property
    def refusal(self) -> int:
        """Status of the last offer of ours that failed, 0: none has."""
        return self._offers.refusal

    @property
    def takes_offers(self) -> bool:
        """We may change what was agreed. A WHIP or WHEP client has no way to be asked."""
        return self.session is None or self.session.takes_offers

    def facts(self) -> LegFacts:
        stream = self.voice.stream
        media = self.voice.media if self.voice.handle else None
        codec = f"{stream.audio.name}/{stream.audio.clock_hz}" if stream is not None else None
        return LegFacts(
            leg_id=self.leg_id,
            handle=self.voice.handle,
            role=self.role,
            number=self.party.number,
            identity=self.party.identity,
            sip_call_id=self.session.call_id if self.session is not None else "",
            opened_ns=self._opened_ns,
            opened_wall=self._opened_wall,
            state="held" if self.held and self.answered else self.state.value,
            codec=codec,
            video=self.video.codec_of(Content.MAIN),
            screen=self.video.codec_of(Content.SLIDES),
            security=stream.send_key.profile.value if stream is not None and stream.send_key is not None else None,
            local=MediaAddress(media.host, media.rtp_port) if media is not None else None,
            remote=stream.remote if stream is not None else None,
            source=self.voice.source,
            answered_wall=self.answered_wall,
            ended_wall=self.ended_wall,
            cause=self.cause,
            sip_status=self.status or None,
        )

    @property
    def owner(self) -> LegOwner:
        return self._owner

    @property
    def call_id(self) -> str:
        """Of the call that owns it."""
        return self._owner.call_id

    async def wait_ended(self) -> None:
        await self._ended.wait()

    # -- incoming

    def attach(self, session: Session) -> None:
        """Takes the session's events from now on; call it before anything can happen."""
        self.session = session
        session.belongs_to(self._owner.call_id)
        session.on_event = self._take
        session.may_refer = self._may_refer

    async def prepare(self, near: LegHandle | None = None) -> None:
        """Incoming: reads the offer and opens the media. Raises ParseError, NegotiationError, NoPortFree, QueueFull."""
        session = self._session()
        if session.remote_sdp:
            self.media.read_first_offer(session.remote_sdp)
        await self._open(session.local_host, near)

    def ring(self) -> None:
        """180 once; nothing after early media, whose 183 said more."""
        if self.state is LegState.NEW:
            self._move(LegState.RINGING)
            self._session().ring(180)

    async def ring_with_media(self, prefer: Sequence[Encoding] = ()) -> None:
        """183 with our answer: what is bridged or played to the caller is heard before the call is answered."""
        if self.state not in (LegState.NEW, LegState.RINGING) or self.early or not self._session().remote_sdp:
            return
        sdp = await self.media.write_answer(prefer)
        await self.media.apply()
        self.early = True
        self._move(LegState.RINGING)
        self._session().ring(183, sdp)

    async def answer(self, prefer: Sequence[Encoding] = (), ready: Callable[[], Awaitable[None]] | None = None) -> None:
        """200 with our answer, or with our offer if the caller sent none; then waits for the ACK that answers it.

        ready: what must stand before the caller can know that he is through, so that his first packet finds its way.
        """
        if self.state not in (LegState.NEW, LegState.RINGING):
            return
        session = self._session()
        if session.remote_sdp:
            sdp = await self.media.write_answer(prefer)
            if not self.early:
                await self.media.apply()
            if ready is not None:
                await ready()
            if self.is_over:
                return
            self._answered()
            session.accept(sdp)
            await self._wait_for_path()
            return
        self._answered()
        self._offers.accept_with_offer(session, prefer)
        await self._offers.wait_confirmed()
        if ready is not None:
            await ready()

    def reject(self, status: int, reason: str = "", headers: Sequence[tuple[str, str]] = ()) -> None:
        if self.state in (LegState.NEW, LegState.RINGING):
            self.status, self.reason = status, reason
            self.cause = self.cause or Cause.REJECTED
            self._session().reject(status, reason, headers)
            self._over()

    # -- outgoing

    async def call_out(
        self,
        target: str,
        *,
        caller_user: str,
        caller_name: str,
        called_user: str,
        trunk: str | None,
        prefer: Sequence[Encoding],
        near: LegHandle | None,
        video: Sequence[Wish] = (),
    ) -> None:
        """Opens the media and sends the INVITE with our offer. Raises NoPortFree, QueueFull.

        video: the pictures that are offered along with the sound.
        """
        gateway = self._house.gateway
        if gateway.is_browser(target):
            self.media.become_browser(offers_data=True)
        await self._open(gateway.local_host_for(target, trunk), near)
        for wish in video:
            await self.video.add(wish)
        sdp = self.media.write_offer(prefer)
        self.state = LegState.CALLING
        self.attach(
            gateway.invite(
                target,
                sdp=sdp,
                caller_user=caller_user,
                caller_name=caller_name,
                called_user=called_user,
                trunk=trunk,
            )
        )

    # -- in the dialog

    async def set_hold(self, hold: bool) -> bool:
        """Re-INVITE with sendonly or sendrecv. False: the peer refused or the leg is not in a state for it."""
        if not self.answered:
            return False
        self.media.hold_wanted = hold
        return await self.reoffer()

    async def reoffer(self, prefer: Sequence[Encoding] = (), *, optional: bool = False) -> bool:
        """Our re-INVITE; True once its answer is in effect. prefer: instead of the codec in use.

        optional: a peer that does not answer it keeps its call.
        """
        return self.answered and await self._offers.offer(self._session(), prefer, optional=optional)

    def hang_up(self, cause: Cause, headers: Sequence[tuple[str, str]] = ()) -> None:
        """CANCEL, final response or BYE, whatever fits. The leg is over at once; its session ends behind it.

        headers: for the party to read, such as Reason.
        """
        if not self.is_over:
            self.cause = self.cause or cause
            if self.session is not None:
                self.session.hang_up(headers)
            self._over()

    async def close(self) -> None:
        """Ends the session if it still runs, the leg's task and its media."""
        self.hang_up(Cause.LOCAL_HANGUP)
        if self._task is not None:
            self._task.cancel()
        await self.media.close()
        self._house.legs.pop(self.voice.handle, None)

    async def move(self, owner: LegOwner, leg_id: str, role: str, tasks: TaskGroup) -> None:
        """Another call owns it from now on. Never by the leg's own task: that one finishes what it is at first."""
        self._take(_Moved())
        if self._task is not None and not self.is_over:
            await asyncio.wait({self._task})
        self._owner, self.leg_id, self.role, self.tasks = owner, leg_id, role, tasks
        self._house.engine.part_of(self.voice.handle, owner.call_id)
        self._opened_ns, self._opened_wall = self._house.clock.now_ns(), self._house.clock.wall()
        self.answered_wall = self._opened_wall
        self._session().belongs_to(owner.call_id)
        self._task = tasks.spawn(self._run(), f"leg {leg_id}")

    # -- events of the session

    def _take(self, event: SessionEvent | PathChanged | _Moved) -> None:
        if isinstance(event, Failed):
            self.status, self.reason = event.status, event.reason
            self.cause = self.cause or Cause.REJECTED
            return
        if isinstance(event, Cancelled):
            self.cause = self.cause or Cause.CANCELLED
            return
        if isinstance(event, Ended):
            self._ended_by(event)
            return
        try:
            self._events.put_nowait(event)
        except asyncio.QueueFull:
            log.warning("a peer sends faster than its leg can follow; hung up", leg=self.leg_id, limit=LEG_EVENTS_MAX)
            self.cause = self.cause or Cause.TRANSPORT
            self._over()
            self._session().hang_up()

    async def _run(self) -> None:
        while True:
            event = await self._events.get()
            if isinstance(event, _Moved):
                return
            handler = self._HANDLERS.get(type(event))
            if handler is None or self.is_over:
                continue
            try:
                await handler(self, event)
            except (ParseError, NegotiationError) as error:
                log.warning("a peer's session description cannot be used", leg=self.leg_id, error=str(error))
                self._fail(error.status)
            except MediaError as error:
                log.warning("the media plane refused a leg's stream", leg=self.leg_id, error=str(error))
                self._fail(500)

    def _fail(self, status: int) -> None:
        self.status = self.status or status
        self.hang_up(Cause.REJECTED)

    async def _on_progress(self, event: Progress) -> None:
        if event.sdp and not self.answered:
            self.media.read_answer(event.sdp)
            await self.media.apply()
            self.early = True
        if event.status >= 180 and not self.answered:
            self.state = LegState.RINGING
            self._owner.leg_moved(self)

    async def _on_answered(self, event: Answered) -> None:
        if event.sdp:
            self.media.read_answer(event.sdp)
            await self.media.apply()
        elif self.media.negotiator.stream is None:
            raise NegotiationError("a 200 without a session description")
        await self._wait_for_path()
        if not self.is_over:
            self._answered()

    async def _on_confirmed(self, event: Confirmed) -> None:
        await self._offers.on_confirmed(event)

    async def _on_reoffer(self, event: Reoffer) -> None:
        await self._offers.on_reoffer(self._session(), event)
        await self._house.desk.prefers(self, self.record.preference)

    async def _on_reoffer_answered(self, event: ReofferAnswered) -> None:
        await self._offers.on_answered(event)
        await self._house.desk.prefers(self, self.record.preference)

    async def _on_reoffer_failed(self, event: ReofferFailed) -> None:
        await self._offers.on_failed(event)

    async def _on_info(self, event: InfoReceived) -> None:
        if self.media.path is not None and event.content_type.partition(";")[0].strip().lower() == TRICKLE:
            self.media.path.trickle(event.body)
            return
        if await self._house.desk.info(self, event.content_type, event.body):
            return
        pressed = digit_of_info(event.content_type, event.body)
        if pressed is not None:
            await self.voice.report_digit(pressed[0])
        elif event.content_type == MEDIA_CONTROL and asks_for_key_frame(event.body):
            await self.video.want_key_frames()

    async def _on_path_changed(self, event: PathChanged) -> None:
        await self.media.apply()
        if self.media.path is not None and self.media.path.failure and self.answered:
            self.hang_up(Cause.NO_MEDIA)

    def _may_refer(self) -> bool:
        """Only who talks with one other party can send it elsewhere."""
        return self.conversation is not None and len(self.conversation.others(self)) == 1

    async def _on_refer(self, event: ReferReceived) -> None:
        self._owner.leg_refers(self, event)

    _HANDLERS: ClassVar[dict[type[Any], Callable[[Any, Any], Awaitable[None]]]] = {
        Progress: _on_progress,
        Answered: _on_answered,
        Confirmed: _on_confirmed,
        Reoffer: _on_reoffer,
        ReofferAnswered: _on_reoffer_answered,
        ReofferFailed: _on_reoffer_failed,
        InfoReceived: _on_info,
        ReferReceived: _on_refer,
        PathChanged: _on_path_changed,
    }

    # -- inside

    def _session(self) -> Session:
        if self.session is None:
            raise MediaError("the leg has no session yet")
        return self.session

    async def _open(self, our_host: str, near: LegHandle | None) -> None:
        self._house.legs[await self.media.open(our_host, self._owner.call_id, near)] = self
        await self.media.find_way(our_host)
        processing = self._house.processing(self.party.identity)
        if processing.does_something:
            await self.voice.set_processing(processing)

    def _channel_opened(self, channel: DataChannel) -> bool:
        taker = self._house.data_channels
        return taker is not None and taker(self._owner.call_id, self.facts(), channel)

    async def _wait_for_path(self) -> None:
        """Until a browser's media can flow; a leg whose ICE or DTLS fails is hung up."""
        path = self.media.path
        if path is None:
            return
        if await path.wait_ready():
            await self.media.apply()
        elif not self.is_over:
            log.warning("no secure way to a browser was found", leg=self.leg_id, reason=path.failure)
            self.status = self.status or 488
            self.hang_up(Cause.NO_MEDIA)

    def _media_changed(self) -> None:
        was = self.held
        self.held = self.media.negotiator.peer_holds and not self._session().one_way
        self._owner.leg_streams(self)  # who is told of the streams reads there whether the party holds
        if self.held != was:
            self._owner.leg_held(self)
        self._owner.leg_silent(self)
        self.widening.look()

    def ask_for_key_frame(self, track: Track) -> None:
        """The sender of this track takes no RTCP feedback: by SIP INFO (RFC 5168)."""
        if self.answered and self.session is not None and track.leg is self:
            self.session.send_info(MEDIA_CONTROL, key_frame_request())

    def _answered(self) -> None:
        self.answered_wall = self._house.clock.wall()
        self._move(LegState.ANSWERED)
        self.widening.look()

    def _move(self, state: LegState) -> None:
        order = list(LegState)
        if order.index(state) > order.index(self.state):
            self.state = state
            self._owner.leg_moved(self)

    def _ended_by(self, event: Ended) -> None:
        if event.by_us:
            self.cause = self.cause or Cause.LOCAL_HANGUP
        elif self.state is LegState.ANSWERED:
            self.cause = self.cause or Cause.REMOTE_HANGUP
        elif self.session is not None and self.session.incoming:
            self.cause = self.cause or Cause.CANCELLED
        self.reason = self.reason or event.reason
        self._over()

    def _over(self) -> None:
        if not self.is_over:
            self.state = LegState.ENDED
            self.ended_wall = self._house.clock.wall()
            self._ended.set()
            self._offers.close()
            self.media.close_path()
            self._owner.leg_moved(self)
