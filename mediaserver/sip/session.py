"""INVITE sessions: one dialog with media, seen from the call room. RFC 3261 §12–15, RFC 3264 exchange rules, RFC 6026.

Sans-I/O: a session changes by calls from the call room and by messages the user agent hands it; what it wants sent it
gives to the user agent, what the call room must know it reports through `on_event`, in order, never re-entrantly.
Knows nothing of codecs: SDP is bytes to it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Progress:
    """1xx to our INVITE (180 ringing, 183 with early media …)."""

    status: int
    reason: str
    sdp: bytes | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class Answered:
    """2xx to our INVITE. sdp: answer to our offer, or the offer if we sent none (then call `send_answer`)."""

    sdp: bytes | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class Failed:
    """Our INVITE ended without a session: final response >= 300, timeout (408), transport error (503) or our cancel (487)."""

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The caller gave up before we answered (487 has been sent)."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """ACK to our 2xx. sdp: the answer, when our 2xx carried the offer (late offer)."""

    sdp: bytes | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class Reoffer:
    """The peer's re-INVITE or UPDATE. sdp None: it asks us to offer. Reply with answer_reoffer or reject_reoffer."""

    sdp: bytes | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class ReofferAnswered:
    """2xx to our re-INVITE."""

    sdp: bytes | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class ReofferFailed:
    status: int  # 491 glare is retried inside and not reported until it fails for good
    reason: str


@dataclass(frozen=True, slots=True)
class InfoReceived:
    content_type: str
    body: bytes = field(repr=False, default=b"")


@dataclass(frozen=True, slots=True)
class ReferReceived:
    """Blind transfer asked for. 202 has been sent and NOTIFY 100; report progress with `notify_refer`."""

    refer_to: str
    referred_by: str | None = None


@dataclass(frozen=True, slots=True)
class ReferProgress:
    """NOTIFY about our REFER: the sipfrag's status, e.g. 100, 180, 200, 486."""

    status: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is over: BYE from them, from us, no ACK, or timeout of a request inside the dialog. Always the last event."""

    by_us: bool
    reason: str = ""


SessionEvent = (
    Progress | Answered | Failed | Cancelled | Confirmed | Reoffer | ReofferAnswered | ReofferFailed
    | InfoReceived | ReferReceived | ReferProgress | Ended
)


class InviteSession:
    """Read-only facts: call_id, incoming, method headers of the first INVITE, who called whom."""

    incoming: bool
    call_id: str
    request_uri: str  # of the first INVITE
    called_user: str  # user part of request_uri (incoming) or of the target (outgoing), unescaped
    caller_user: str  # user part of From
    caller_name: str  # display name of From
    identity: str | None  # authenticated user name, or "trunk:NAME", or None
    source: tuple[str, int] | None  # transport address the INVITE came from
    local_host: str  # our address as this peer reaches us: what SDP shall say and sockets shall bind
    remote_sdp: bytes | None  # of the first INVITE (incoming)
    on_event: Callable[[SessionEvent], None]  # set by the call room at once

    # -- incoming, before the final answer
    def ring(self, status: int = 180, sdp: bytes | None = None, headers: Sequence[tuple[str, str]] = ()) -> None: ...
    def accept(self, sdp: bytes, headers: Sequence[tuple[str, str]] = ()) -> None: ...
    def reject(self, status: int, reason: str = "", headers: Sequence[tuple[str, str]] = ()) -> None: ...

    # -- outgoing
    def cancel(self) -> None: ...
    def send_answer(self, sdp: bytes) -> None:
        """Late offer: the ACK is held back until this is called with the answer to Answered.sdp."""

    # -- in the dialog
    def reinvite(self, sdp: bytes | None) -> None:
        """Queued while another offer is open; glare (491) is retried by RFC 3261 §14.1."""

    def answer_reoffer(self, sdp: bytes) -> None: ...
    def reject_reoffer(self, status: int) -> None: ...
    def send_info(self, content_type: str, body: bytes) -> None: ...
    def refer(self, target_uri: str, referred_by: str | None = None) -> None: ...
    def notify_refer(self, status: int, reason: str = "") -> None: ...
    def hang_up(self, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Whatever fits the state: CANCEL, a final response, BYE; Ended follows. Safe to call twice."""
