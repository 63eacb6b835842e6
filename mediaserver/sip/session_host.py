"""What sessions need around them: the user agent's side of the bargain, what we say we can do, ACK and Reason.

Shared by `session`, the two ways into a call, and `inbound`. RFC 3261 §13.2.2.4 (ACK), §20.5 (Allow), RFC 3326.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from mediaserver.errors import ParseError
from mediaserver.sip.dialog import Dialog, DialogId
from mediaserver.sip.events import Send
from mediaserver.sip.exchange import Host
from mediaserver.sip.message import Message, Request
from mediaserver.sip.sdp_body import sdp_headers
from mediaserver.sip.session_events import SessionEvent

if TYPE_CHECKING:
    from mediaserver.sip.session import InviteSession

ALLOW: Final = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, REFER, NOTIFY"
SUPPORTED: Final = "replaces"
ACCEPT: Final = "application/sdp, application/dtmf-relay, application/dtmf"
KNOWN_METHODS: Final = frozenset((*ALLOW.split(", "), "REGISTER", "PRACK", "SUBSCRIBE", "PUBLISH", "MESSAGE"))


class SessionHost(Host, Protocol):
    """What a session gets from its user agent beyond sending."""

    def tell(self, session: InviteSession, event: SessionEvent) -> None:
        """Deliver to `session.on_event` from the next `poll`, in order."""
        ...

    def keep(self, session: InviteSession, dialog_id: DialogId) -> None:
        """Requests with this id belong to the session."""
        ...

    def release(self, dialog_id: DialogId) -> None: ...

    def session_of(self, dialog_id: DialogId) -> InviteSession | None:
        """Whose dialog this is; also while its BYE is under way."""
        ...

    def session_ended(self, session: InviteSession) -> None:
        """Ended has been queued; the session may still finish its BYE."""
        ...


def send_ack(host: Host, dialog: Dialog, invite: Request, sdp: bytes | None) -> Send | None:
    """None when the dialog gives no way to send it."""
    kept = [(n, v) for n, v in invite.headers.items() if n in ("Authorization", "Proxy-Authorization")]
    ack = dialog.request("ACK", headers=(*kept, *sdp_headers(sdp)), body=sdp or b"", cseq=invite.cseq.number)
    try:
        send = host.stack.send_ack(ack, dialog.next_hop())
    except ParseError:
        return None
    host.wake()
    return send


def reason_of(message: Message) -> str:
    """The Reason header as it came (RFC 3326), cut to a length that logs and records can bear."""
    return (message.headers.get("Reason") or "")[:200]
