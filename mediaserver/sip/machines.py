"""The four SIP transaction machines as literal tables: RFC 3261 §17 with RFC 6026 (states Accepted, timers L and M).

Only data: state -> event -> (actions, next state), and which timers run in which state. `transaction` runs them; each
action is a method of its transaction by name. Timer events are named by the timer's letter.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

MS = 1_000_000
T1_NS = 500 * MS  # round-trip estimate, RFC 3261 §17.1.1.1
T2_NS = 4_000 * MS  # longest interval between retransmissions of a non-INVITE request and an INVITE response
T4_NS = 5_000 * MS  # longest time a message stays in the network
TRYING_NS = 200 * MS  # RFC 3261 §17.2.1: a 100 unless the user answers within this
TIMER_D_NS = 32_000 * MS  # RFC 3261 §17.1.1.2: at least 32 s


class State(enum.Enum):
    CALLING = "calling"
    TRYING = "trying"
    PROCEEDING = "proceeding"
    COMPLETED = "completed"
    CONFIRMED = "confirmed"
    ACCEPTED = "accepted"
    TERMINATED = "terminated"

    __hash__ = object.__hash__  # identity: Enum's own hashes the name in Python, and every step looks states up


class Timer(NamedTuple):
    """first_ns: 0 means at once. only_udp: not started (fast) or at once (slow) on reliable transports."""

    name: str  # also the event it makes
    first_ns: int
    only_udp: bool


TIMER_A = Timer("A", T1_NS, only_udp=True)
TIMER_B = Timer("B", 64 * T1_NS, only_udp=False)
TIMER_D = Timer("D", TIMER_D_NS, only_udp=True)
TIMER_E = Timer("E", T1_NS, only_udp=True)
TIMER_F = Timer("F", 64 * T1_NS, only_udp=False)
TIMER_G = Timer("G", T1_NS, only_udp=True)
TIMER_H = Timer("H", 64 * T1_NS, only_udp=False)
TIMER_I = Timer("I", T4_NS, only_udp=True)
TIMER_J = Timer("J", 64 * T1_NS, only_udp=True)
TIMER_K = Timer("K", T4_NS, only_udp=True)
TIMER_L = Timer("L", 64 * T1_NS, only_udp=False)
TIMER_M = Timer("M", 64 * T1_NS, only_udp=False)
TIMER_CANCEL = Timer("cancel", 64 * T1_NS, only_udp=False)  # RFC 3261 §9.1, after our CANCEL went out
TIMER_TRYING = Timer("trying", TRYING_NS, only_udp=False)
TIMER_2XX = Timer("2xx again", T1_NS, only_udp=False)  # RFC 3261 §13.3.1.4: on every transport
KEEP = Timer("keep", 0, only_udp=False)  # on entering a state: leave the timer as it runs

# A transaction runs at most two timers at once: a fast one that repeats something, a slow one that ends it.
EntryTimers = dict[State, tuple[Timer | None, Timer | None]]
Row = tuple[tuple[str, ...], State]
Table = dict[State, dict[str, Row]]

_CALLING, _TRYING, _PROCEEDING = State.CALLING, State.TRYING, State.PROCEEDING
_COMPLETED, _CONFIRMED, _ACCEPTED, _TERMINATED = State.COMPLETED, State.CONFIRMED, State.ACCEPTED, State.TERMINATED

# fmt: off
INVITE_CLIENT: Table = {  # RFC 3261 figure 5, RFC 6026 §7.2
    _CALLING: {
        "A":               (("send_again", "double"), _CALLING),
        "B":               (("time_out",), _TERMINATED),
        "1xx":             (("pass_response",), _PROCEEDING),
        "2xx":             (("pass_response",), _ACCEPTED),
        "3xx+":            (("send_ack", "pass_response"), _COMPLETED),
        "transport error": (("report_error",), _TERMINATED),
    },
    _PROCEEDING: {
        "1xx":             (("pass_response",), _PROCEEDING),
        "2xx":             (("pass_response",), _ACCEPTED),
        "3xx+":            (("send_ack", "pass_response"), _COMPLETED),
        "cancel":          (("time_out",), _TERMINATED),
        "transport error": (("report_error",), _TERMINATED),
    },
    _COMPLETED: {
        "1xx":             (("absorb",), _COMPLETED),
        "2xx":             (("absorb",), _COMPLETED),
        "3xx+":            (("absorb", "send_ack_again"), _COMPLETED),
        "D":               ((), _TERMINATED),
        "transport error": (("report_error",), _TERMINATED),
    },
    _ACCEPTED: {
        "1xx":             (("absorb",), _ACCEPTED),
        "2xx":             (("pass_response",), _ACCEPTED),
        "3xx+":            (("absorb",), _ACCEPTED),
        "M":               ((), _TERMINATED),
    },
}
INVITE_CLIENT_TIMERS: EntryTimers = {
    _CALLING:    (TIMER_A, TIMER_B),
    _PROCEEDING: (None, None),
    _COMPLETED:  (None, TIMER_D),
    _ACCEPTED:   (None, TIMER_M),
}

NON_INVITE_CLIENT: Table = {  # RFC 3261 figure 6
    _TRYING: {
        "E":               (("send_again", "double_to_t2"), _TRYING),
        "F":               (("time_out",), _TERMINATED),
        "1xx":             (("pass_response",), _PROCEEDING),
        "2xx":             (("pass_response",), _COMPLETED),
        "3xx+":            (("pass_response",), _COMPLETED),
        "transport error": (("report_error",), _TERMINATED),
    },
    _PROCEEDING: {
        "E":               (("send_again", "wait_t2"), _PROCEEDING),
        "F":               (("time_out",), _TERMINATED),
        "1xx":             (("pass_response",), _PROCEEDING),
        "2xx":             (("pass_response",), _COMPLETED),
        "3xx+":            (("pass_response",), _COMPLETED),
        "transport error": (("report_error",), _TERMINATED),
    },
    _COMPLETED: {
        "1xx":             (("absorb",), _COMPLETED),
        "2xx":             (("absorb",), _COMPLETED),
        "3xx+":            (("absorb",), _COMPLETED),
        "K":               ((), _TERMINATED),
    },
}
NON_INVITE_CLIENT_TIMERS: EntryTimers = {
    _TRYING:     (TIMER_E, TIMER_F),
    _PROCEEDING: (KEEP, KEEP),
    _COMPLETED:  (None, TIMER_K),
}

INVITE_SERVER: Table = {  # RFC 3261 figure 7, RFC 6026 §7.1
    _PROCEEDING: {
        "request":         (("absorb", "send_again_or_trying"), _PROCEEDING),
        "trying":          (("send_trying",), _PROCEEDING),
        "send 1xx":        (("send",), _PROCEEDING),
        "send 2xx":        (("send",), _ACCEPTED),
        "send 3xx+":       (("send",), _COMPLETED),
        "transport error": (("report_error",), _PROCEEDING),
    },
    _ACCEPTED: {
        "request":         (("absorb",), _ACCEPTED),
        "send 2xx":        (("send",), _ACCEPTED),
        "2xx again":       (("send_again", "double_to_t2"), _ACCEPTED),
        "ACK to 2xx":      (("stop_fast", "pass_ack"), _ACCEPTED),
        "L":               (("report_unacknowledged",), _TERMINATED),
        "transport error": (("report_error",), _ACCEPTED),
    },
    _COMPLETED: {
        "request":         (("absorb", "send_again"), _COMPLETED),
        "G":               (("send_again", "double_to_t2"), _COMPLETED),
        "ACK":             ((), _CONFIRMED),
        "H":               (("time_out",), _TERMINATED),
        "transport error": (("report_error",), _COMPLETED),
    },
    _CONFIRMED: {
        "request":         (("absorb",), _CONFIRMED),
        "ACK":             (("absorb",), _CONFIRMED),
        "I":               ((), _TERMINATED),
    },
}
INVITE_SERVER_TIMERS: EntryTimers = {
    _PROCEEDING: (TIMER_TRYING, None),
    _ACCEPTED:   (TIMER_2XX, TIMER_L),
    _COMPLETED:  (TIMER_G, TIMER_H),
    _CONFIRMED:  (None, TIMER_I),
}

NON_INVITE_SERVER: Table = {  # RFC 3261 figure 8
    _TRYING: {
        "request":         (("absorb",), _TRYING),
        "send 1xx":        (("send",), _PROCEEDING),
        "send 2xx":        (("send",), _COMPLETED),
        "send 3xx+":       (("send",), _COMPLETED),
    },
    _PROCEEDING: {
        "request":         (("absorb", "send_again"), _PROCEEDING),
        "send 1xx":        (("send",), _PROCEEDING),
        "send 2xx":        (("send",), _COMPLETED),
        "send 3xx+":       (("send",), _COMPLETED),
        "transport error": (("report_error",), _TERMINATED),
    },
    _COMPLETED: {
        "request":         (("absorb", "send_again"), _COMPLETED),
        "J":               ((), _TERMINATED),
        "transport error": (("report_error",), _TERMINATED),
    },
}
NON_INVITE_SERVER_TIMERS: EntryTimers = {
    _TRYING:     (None, None),
    _PROCEEDING: (None, None),
    _COMPLETED:  (None, TIMER_J),
}
# fmt: on
