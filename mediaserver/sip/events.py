"""What the SIP stack puts out: bytes to send, and events for its transaction user (RFC 3261 §17 "TU")."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Request, Response

if TYPE_CHECKING:
    from mediaserver.sip.transaction import ClientTransaction, ServerTransaction, Transaction


class Send(NamedTuple):
    """Bytes for the transport. transaction: whom a failure to send concerns; None: nobody."""

    flow: Flow
    data: bytes
    transaction: Transaction | None = None


class IncomingRequest(NamedTuple):
    """A new request, once per server transaction; answer it by `SipStack.respond` or `SipStack.drop`."""

    transaction: ServerTransaction
    request: Request
    flow: Flow


class IncomingAck(NamedTuple):
    """ACK to a 2xx, every copy of it. transaction: the INVITE it confirms."""

    request: Request
    flow: Flow
    transaction: ServerTransaction


class RequestCancelled(NamedTuple):
    """CANCEL for an INVITE without final response; the CANCEL has its 200. The INVITE wants its 487."""

    transaction: ServerTransaction
    request: Request


class AnswerUnacknowledged(NamedTuple):
    """Our 2xx to INVITE was repeated for 64*T1 and no ACK came: send BYE (RFC 3261 §13.3.1.4)."""

    transaction: ServerTransaction


class ResponseReceived(NamedTuple):
    """Each 1xx, the final response once; for INVITE each 2xx and each copy of it (they want their ACK)."""

    transaction: ClientTransaction
    response: Response
    flow: Flow


class TransactionTimeout(NamedTuple):
    """Client: no final response, treat as 408. Server: no ACK to our non-2xx final (timer H)."""

    transaction: Transaction


class TransactionTransportError(NamedTuple):
    """Client: ended, treat as 503. Server: a response could not be sent; the transaction goes on (RFC 6026)."""

    transaction: Transaction
    reason: str


class FlowClosed(NamedTuple):
    """A TCP or TLS connection is gone."""

    flow: Flow


Event = (
    IncomingRequest
    | IncomingAck
    | RequestCancelled
    | AnswerUnacknowledged
    | ResponseReceived
    | TransactionTimeout
    | TransactionTransportError
    | FlowClosed
)
Output = Send | Event
