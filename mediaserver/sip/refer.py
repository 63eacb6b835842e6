"""Transfer: REFER both ways and the NOTIFYs about it. RFC 3515, 5589, RFC 3892 (Referred-By), RFC 6665 §4.

Owns the one implicit subscription of a session in each direction. Placing the call somebody was referred to is the
call room's work; subscriptions to anything else come with their own module.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mediaserver.errors import ParseError
from mediaserver.sip.address import parse_name_addr
from mediaserver.sip.message import Request
from mediaserver.sip.reasons import REASONS
from mediaserver.sip.replaces import NO_SUCH_CALL, parse_replaces, session_named
from mediaserver.sip.session_events import ReferProgress, ReferReceived
from mediaserver.sip.timers import Timer
from mediaserver.sip.transaction import ServerTransaction

if TYPE_CHECKING:
    from mediaserver.sip.session import InviteSession

SIPFRAG: Final = "message/sipfrag;version=2.0"
_LIFE_S: Final = 180  # a transfer target that rings longer than this is given up by everybody
_STATUS_LINE: Final = re.compile(rb"\s*SIP/2\.0[ \t]+([1-6][0-9]{2})(?:[ \t]|\r|\n|$)", re.IGNORECASE)


class Refers:
    def __init__(self, session: InviteSession) -> None:
        self._session = session
        self._served: int | None = None  # CSeq of the peer's REFER we report about
        self._count = 0  # REFERs taken; from the second on NOTIFY names its id (RFC 3515 §2.4.6)
        self._life: Timer | None = None
        self._asking = False  # our REFER is under way or its NOTIFYs still come

    # -- the peer asks us

    def on_refer(self, tx: ServerTransaction, request: Request) -> None:
        session = self._session
        lines = request.headers.all("Refer-To")
        try:
            if len(lines) != 1:
                raise ParseError("REFER needs exactly one Refer-To")
            target = parse_name_addr(lines[0]).uri
            named = target.header("Replaces")
            replaces = parse_replaces(named) if named is not None else None
            by = request.headers.get("Referred-By")
            referred_by = str(parse_name_addr(by).uri) if by else None
        except ParseError:
            session.respond(tx, request, 400)
            return
        if not session.confirmed or self._served is not None:
            session.respond(tx, request, 491)
            return
        if replaces is None and not session.may_refer():  # no subscription for what is known to lead nowhere
            session.respond(tx, request, 603)
            return
        session.respond(tx, request, 202, headers=(("Contact", session.contact),))
        self._served = request.cseq.number
        self._count += 1
        self._life = session.host.timers.at(session.host.now_ns() + _LIFE_S * 1_000_000_000, self._expired)
        self._notify(100, "", final=False)
        other = session_named(session.host, replaces, session.identity) if replaces is not None else None
        if isinstance(other, int) or other is session:
            self.report(other if isinstance(other, int) else NO_SUCH_CALL, "")
            return
        session.tell(ReferReceived(str(target), referred_by, other))

    def report(self, status: int, reason: str) -> None:
        if self._served is None or not 100 <= status <= 699:
            return
        self._notify(status, reason, final=status >= 200)
        if status >= 200:
            self._drop()

    def _notify(self, status: int, reason: str, *, final: bool, why: str = "noresource") -> None:
        named = f";id={self._served}" if self._count > 1 else ""
        state = f"terminated;reason={why}" if final else f"active;expires={_LIFE_S}"
        line = f"SIP/2.0 {status} {reason or REASONS.get(status, '')}".replace("\r", " ").replace("\n", " ")
        self._session.send_ordered(
            "NOTIFY",
            (("Event", "refer" + named), ("Subscription-State", state), ("Content-Type", SIPFRAG)),
            line.encode("utf-8", "surrogateescape") + b"\r\n",
            self._notified,
        )

    def _notified(self, status: int, reason: str) -> None:
        if status >= 300:  # nobody listens (any more); the call itself is not concerned (RFC 5057 §5.1)
            self._drop()

    def _expired(self) -> None:
        self._notify(408, "", final=True, why="timeout")
        self._drop()

    def _drop(self) -> None:
        self._served = None
        if self._life is not None:
            self._life.cancel()

    # -- we ask the peer

    def ask(self, target_uri: str, referred_by: str | None) -> None:
        headers = [("Refer-To", f"<{target_uri}>")]
        if referred_by:
            headers.append(("Referred-By", f"<{referred_by}>"))
        if any("\r" in value or "\n" in value or ">" in value[:-1] for _, value in headers):
            self._session.tell(ReferProgress(400))
            return
        if self._session.send_ordered("REFER", headers, b"", self._referred):
            self._asking = True
        else:
            self._session.tell(ReferProgress(503))

    def _referred(self, status: int, reason: str) -> None:
        if status >= 300:
            self._asking = False
            self._session.tell(ReferProgress(status))
            self._session.after_request(status, reason)

    def on_notify(self, tx: ServerTransaction, request: Request) -> None:
        session = self._session
        event = (request.headers.get("Event") or "").partition(";")[0].strip().lower()
        if event != "refer":
            session.respond(tx, request, 489, headers=(("Allow-Events", "refer"),))
            return
        if not self._asking:
            session.respond(tx, request, 481)
            return
        session.respond(tx, request, 200)
        state = (request.headers.get("Subscription-State") or "").partition(";")[0].strip().lower()
        if state == "terminated":
            self._asking = False
        match = _STATUS_LINE.match(request.body)
        if match is not None:
            session.tell(ReferProgress(int(match.group(1))))
        elif state == "terminated":
            session.tell(ReferProgress(503))  # the peer stopped telling without a word on how it went

    def close(self) -> None:
        self._drop()
        self._asking = False
