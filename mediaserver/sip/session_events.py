"""What a session reports to the call room, in order. Plain values; SDP, bodies and numbers never show in a repr."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mediaserver.sip.session import InviteSession


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
    """Our INVITE made no session: final response >= 300, timeout (408), transport error (503) or our cancel (487).

    headers: of the response, all of them in order; empty when there was none. Ended follows.
    """

    status: int
    reason: str
    headers: tuple[tuple[str, str], ...] = field(repr=False, default=())


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The caller gave up before we answered (487 has been sent). Ended follows."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """ACK to our 2xx. sdp: the answer, when our 2xx carried the offer (late offer, also in a re-INVITE)."""

    sdp: bytes | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class Reoffer:
    """The peer's re-INVITE or UPDATE. sdp None: it asks us to offer. Reply with answer_reoffer or reject_reoffer.

    metadata: of a recording session, when it came along (RFC 7866 §9.1).
    """

    sdp: bytes | None = field(repr=False, default=None)
    metadata: bytes | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class ReofferAnswered:
    """2xx to our re-INVITE. sdp: the answer, or the offer if ours carried none (then call `send_answer`)."""

    sdp: bytes | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class ReofferFailed:
    status: int  # 491 glare is retried inside and not reported until it fails for good
    reason: str


@dataclass(frozen=True, slots=True)
class InfoReceived:
    content_type: str  # lower case, without parameters
    body: bytes = field(repr=False, default=b"")


@dataclass(frozen=True, slots=True)
class MetadataReceived:
    """Metadata of a recording session that came without an offer, by UPDATE; answered already."""

    metadata: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ReferReceived:
    """Transfer asked for. 202 has been sent and NOTIFY 100; report progress with `notify_refer`.

    replaces: attended: whose peer shall be connected, another session of the same identity.
    """

    refer_to: str = field(repr=False)
    referred_by: str | None = field(repr=False, default=None)
    replaces: InviteSession | None = field(repr=False, default=None)


@dataclass(frozen=True, slots=True)
class ReferProgress:
    """NOTIFY about our REFER: the sipfrag's status, e.g. 100, 180, 200, 486; or the failure of the REFER itself."""

    status: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The session is over: BYE from them or us, no ACK, a request inside the dialog timed out. Always the last event.

    reason: the peer's Reason header if it sent one (RFC 3326), else a few words.
    """

    by_us: bool
    reason: str = ""


SessionEvent = (
    Progress
    | Answered
    | Failed
    | Cancelled
    | Confirmed
    | Reoffer
    | ReofferAnswered
    | ReofferFailed
    | InfoReceived
    | MetadataReceived
    | ReferReceived
    | ReferProgress
    | Ended
)
