"""What the SIP stack and its transport count, for metrics. Plain ints and Counters, monotonic, read by anyone any time.

Every label comes from a closed set (methods we know, status classes, words of our own): a peer cannot make labels.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

KNOWN_METHODS = frozenset(
    {"ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS", "PRACK", "PUBLISH", "REFER", "REGISTER"}
    | {"SUBSCRIBE", "UPDATE"}
)
_STATUS_CLASSES = ("", "1xx", "2xx", "3xx", "4xx", "5xx", "6xx")


def method_label(method: str) -> str:
    return method if method in KNOWN_METHODS else "other"


def status_class(status: int) -> str:
    """ "1xx" … "6xx"."""
    return _STATUS_CLASSES[status // 100]


@dataclass(slots=True)
class SipCounters:
    requests_in: Counter[str] = field(default_factory=Counter)  # by method
    requests_out: Counter[str] = field(default_factory=Counter)  # by method, without retransmissions
    responses_in: Counter[str] = field(default_factory=Counter)  # by status class
    responses_out: Counter[str] = field(default_factory=Counter)  # by status class, without retransmissions
    parse_errors: Counter[str] = field(default_factory=Counter)  # by reason: BadMessage.reason
    rejected: Counter[str] = field(default_factory=Counter)  # requests the stack answered itself, by status
    dropped: Counter[str] = field(default_factory=Counter)  # messages answered by nothing, by reason
    retransmissions_absorbed: int = 0  # repeated requests and responses that went no further
    retransmissions_sent: int = 0  # by timers A, E, G, the 2xx timer, and answers to repeated requests
    timeouts: Counter[str] = field(default_factory=Counter)  # by timer: B, F, H, L (2xx without ACK), cancel
    transport_errors: int = 0  # sends that failed and connections lost under a waiting transaction
    floods: int = 0  # new requests over a source's rate: answered 503, then not at all
    transactions_refused: int = 0  # new requests over SIP_TRANSACTIONS_MAX
    # the transport's
    datagrams_in: int = 0
    datagrams_out: int = 0
    connections_in: int = 0
    connections_out: int = 0
    connections_closed: Counter[str] = field(default_factory=Counter)  # by reason: idle, slow, oversize, peer …
    connections_refused: int = 0  # over SIP_CONNECTIONS_MAX, SIP_HANDSHAKES_MAX, or what one source may have
    handshakes_failed: int = 0  # TLS that was none, or did not come in time
    keepalives: int = 0
    send_errors: Counter[str] = field(default_factory=Counter)  # by reason: resolve, connect, accept, slow, os
