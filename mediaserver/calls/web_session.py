"""A call leg whose signalling is not SIP: a page's JSON WebSocket, or a WHIP or WHEP client over HTTP.

The same face as `sip.session.InviteSession` (see `ports.Session`), so that call room, programs, bridges and recordings
need not know. Owns the order of offers and answers (RFC 3264: one open at a time) and the one end. What carries the
words is a `Carrier`; SDP is bytes here.
"""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Sequence
from typing import Protocol

from mediaserver.calls.picture_choice import PictureChoice
from mediaserver.sip.session_events import (
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

GLARE = 491  # RFC 3261 §21.4.27: both sides offered at once; ours stays, theirs is tried again
DIGIT_TYPE = "application/dtmf-relay"


class Carrier(Protocol):
    """What brings our words to the far end. All return at once; a far end that is gone hears nothing."""

    def ringing(self, status: int, sdp: bytes | None) -> None:
        """The called party rings; sdp: early media."""

    def accepted(self, sdp: bytes) -> None:
        """The far end's call is answered."""

    def offered(self, sdp: bytes) -> None:
        """We want to change the media; only when the session takes offers."""

    def answered(self, sdp: bytes) -> None:
        """Our answer to the far end's later offer."""

    def refused(self, status: int) -> None:
        """The far end's later offer was not taken; the call goes on as it was."""

    def transfer(self, status: int, reason: str) -> None:
        """How the transfer goes that the far end asked for."""

    def over(self, status: int, reason: str) -> None:
        """The session has ended, whoever wanted it. status: why it was never answered, 0 after an answer."""


class _Stage(enum.Enum):
    EARLY = "early"
    ANSWERED = "answered"
    ENDED = "ended"


def _unheard(_event: SessionEvent) -> None:
    """Until the call room listens."""


class WebSession:
    """One leg. The call room uses the `Session` part, whoever carries it the `far_…` part."""

    siprec: bool = False
    metadata: bytes | None = None
    replaces: None = None
    record_aware: bool = False  # its page is told otherwise

    def __init__(
        self,
        carrier: Carrier,
        *,
        incoming: bool,
        call_id: str,
        request_uri: str,
        called_user: str,
        caller_user: str,
        caller_name: str = "",
        identity: str | None = None,
        local_host: str,
        remote_sdp: bytes | None = None,
        rights: frozenset[str] | None = None,
        takes_offers: bool = True,
        one_way: bool = False,
        picture: PictureChoice | None = None,
    ) -> None:
        """rights, takes_offers, one_way, picture: see `ports.Session`."""
        self.incoming = incoming
        self.call_id = call_id
        self.request_uri = request_uri
        self.called_user = called_user
        self.caller_user = caller_user
        self.caller_name = caller_name
        self.identity = identity
        self.local_host = local_host
        self.remote_sdp = remote_sdp
        self.rights = rights
        self.takes_offers = takes_offers
        self.one_way = one_way
        self.picture = picture
        self.peer_host = ""  # its media proves itself by ICE
        self.on_event: Callable[[SessionEvent], None] = _unheard
        self.may_refer: Callable[[], bool] = lambda: True  # set by the call room at once
        self.room_call_id = ""  # the call room's id of the call, once it has one
        self._carrier = carrier
        self._stage = _Stage.EARLY
        self._offer_open = False  # an offer of ours waits for its answer
        self._their_offer_open = False
        self._offer_waiting: bytes | Callable[[], bytes] | None = None  # ours, until theirs is answered

    # -- the call room's part, see `ports.Session`

    def belongs_to(self, call_id: str) -> None:
        self.room_call_id = call_id

    def ring(self, status: int = 180, sdp: bytes | None = None, headers: Sequence[tuple[str, str]] = ()) -> None:
        if self._stage is _Stage.EARLY and self.incoming:
            self._carrier.ringing(status, sdp)

    def accept(self, sdp: bytes, headers: Sequence[tuple[str, str]] = ()) -> None:
        if self._stage is _Stage.EARLY and self.incoming:
            self._stage = _Stage.ANSWERED
            self._carrier.accepted(sdp)
            self._tell(Confirmed())

    def reject(self, status: int, reason: str = "", headers: Sequence[tuple[str, str]] = ()) -> None:
        if self._stage is _Stage.EARLY and self.incoming:
            self._end(Ended(True, reason), status, reason)

    def cancel(self) -> None:
        if self._stage is _Stage.EARLY and not self.incoming:
            self._tell(Failed(487, "Request Terminated"))
            self._end(Ended(True, "cancelled"), 487, "cancelled")

    def send_answer(self, sdp: bytes) -> None:
        """Late offers do not exist here: whoever calls brings an offer, whom we call gets one."""

    def reinvite(self, sdp: bytes | Callable[[], bytes] | None, *, optional: bool = False) -> None:
        """A callable writes the offer when it leaves. optional: as all are here."""
        if self._stage is not _Stage.ANSWERED:
            return
        if sdp is None or not self.takes_offers:
            self._tell(ReofferFailed(488, "no offer of ours can be brought to this far end"))
        elif self._offer_open:
            self._tell(ReofferFailed(GLARE, "an offer of ours is open"))
        elif self._their_offer_open:
            self._offer_waiting = sdp
        else:
            self._offer_open = True
            self._carrier.offered(sdp if isinstance(sdp, bytes) else sdp())

    def answer_reoffer(self, sdp: bytes) -> None:
        if self._their_offer_open and self._stage is not _Stage.ENDED:
            self._their_offer_open = False
            self._carrier.answered(sdp)
            self._offer_now()

    def reject_reoffer(self, status: int) -> None:
        if self._their_offer_open and self._stage is not _Stage.ENDED:
            self._their_offer_open = False
            self._carrier.refused(status)
            self._offer_now()

    def send_info(self, content_type: str, body: bytes) -> None:
        """INFO has no meaning here: digits go in RTP, key frames are asked by RTCP."""

    def identify(self, user: str, name: str = "") -> None:
        """Its page hears it with its other news."""

    def refer(self, target_uri: str, referred_by: str | None = None) -> None:
        """We ask nobody to dial for us."""

    def notify_refer(self, status: int, reason: str = "") -> None:
        if self._stage is _Stage.ANSWERED:
            self._carrier.transfer(status, reason)

    def hang_up(self, headers: Sequence[tuple[str, str]] = ()) -> None:
        if self._stage is _Stage.EARLY and not self.incoming:
            self.cancel()
        else:
            self._end(Ended(True), 480 if self._stage is _Stage.EARLY else 0, "")

    # -- the far end's part

    @property
    def ended(self) -> bool:
        return self._stage is _Stage.ENDED

    @property
    def is_answered(self) -> bool:
        return self._stage is _Stage.ANSWERED

    def far_rings(self) -> None:
        if self._stage is _Stage.EARLY and not self.incoming:
            self._tell(Progress(180, "Ringing"))

    def far_answers(self, sdp: bytes) -> bool:
        """Its answer to our first or a later offer. False: none of ours is open."""
        if self._stage is _Stage.EARLY and not self.incoming:
            self._stage = _Stage.ANSWERED
            self._tell(Answered(sdp))
        elif self._stage is _Stage.ANSWERED and self._offer_open:
            self._offer_open = False
            self._tell(ReofferAnswered(sdp))
        else:
            return False
        return True

    def far_refuses(self, status: int, reason: str = "") -> bool:
        """It will not take our call, or our later offer. False: neither is open."""
        if self._stage is _Stage.EARLY and not self.incoming:
            self._tell(Failed(status, reason))
            self._end(Ended(False, reason), status, reason)
        elif self._stage is _Stage.ANSWERED and self._offer_open:
            self._offer_open = False
            self._tell(ReofferFailed(status, reason))
        else:
            return False
        return True

    def far_offers(self, sdp: bytes) -> int:
        """Hold, resume, another network, more media. 0: `answered` or `refused` follows; else the status to refuse."""
        if self._stage is not _Stage.ANSWERED:
            return 481
        if self._offer_open or self._their_offer_open:
            return GLARE
        self._their_offer_open = True
        self._tell(Reoffer(sdp))
        return 0

    def far_presses(self, digits: str) -> None:
        """Keys that did not go in RTP; each becomes one press."""
        if self._stage is _Stage.ANSWERED:
            for digit in digits:
                self._tell(InfoReceived(DIGIT_TYPE, f"Signal={digit}\r\nDuration=160\r\n".encode()))

    def far_informs(self, content_type: str, body: bytes) -> None:
        """What SIP would bring in an INFO, such as trickled candidates."""
        if self._stage is not _Stage.ENDED:
            self._tell(InfoReceived(content_type, body))

    def far_transfers(self, target: str) -> bool:
        """It sends the other party to this number. False: there is nobody to send yet."""
        if self._stage is not _Stage.ANSWERED or not self.may_refer():
            return False
        self._tell(ReferReceived(target))
        return True

    def far_leaves(self, reason: str = "") -> None:
        """It hangs up, gives up, or cannot be reached any more."""
        if self._stage is _Stage.EARLY:
            self._tell(Cancelled() if self.incoming else Failed(480, reason or "Temporarily Unavailable"))
        self._end(Ended(False, reason), 487 if self._stage is _Stage.EARLY else 0, reason)

    # -- inside

    def _offer_now(self) -> None:
        waiting, self._offer_waiting = self._offer_waiting, None
        if waiting is not None:
            self.reinvite(waiting)

    def _end(self, event: Ended, status: int, reason: str) -> None:
        if self._stage is _Stage.ENDED:
            return
        self._stage = _Stage.ENDED
        self._tell(event)
        self._carrier.over(status, reason)

    def _tell(self, event: SessionEvent) -> None:
        """On the loop's next turn: the call room is never entered from inside one of its own steps."""
        asyncio.get_running_loop().call_soon(self._deliver, event)

    def _deliver(self, event: SessionEvent) -> None:
        self.on_event(event)
