# Invariant: whatever order of messages, losses, call-room actions and waits a session meets, nothing raises, Ended is
# told exactly once and last, and when all timers have run out no session, dialog, transaction or timer is left.
"""Random peers and random call rooms against sessions in both directions.

By hand: python -m tests.fuzz.test_sip_session SECONDS [SEED]
"""

from __future__ import annotations

import random
import sys
import time

import pytest

from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Headers, Request
from mediaserver.sip.session import Ended, InviteSession
from tests.support.sip_calls import OURS, THEIRS, IncomingCall, OutgoingCall
from tests.support.sip_net import NO_LEAKS, SDP_A, SDP_B

METHODS = (
    *("INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "INFO", "UPDATE", "REFER", "NOTIFY"),
    *("PRACK", "MESSAGE", "SUBSCRIBE", "FROB", "REGISTER"),
)
TYPES = ("application/sdp", "message/sipfrag", "text/x", "multipart/mixed;boundary=a")
STATUSES = (100, 180, 183, 199, 200, 200, 202, 302, 401, 407, 408, 422, 481, 486, 487, 488, 491, 500, 503, 603)
CHALLENGE = 'Digest realm="r", nonce="n%d", qop="auth", algorithm=%s, stale=%s'


class Story:
    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.incoming = self.rng.random() < 0.5
        if self.incoming:
            self.call = IncomingCall(sdp=self.rng.choice((SDP_A, b"")))
        else:
            sdp = self.rng.choice((SDP_A, None))
            self.call = OutgoingCall(sdp=sdp, **({"trunk": "pbx"} if self.rng.random() < 0.5 else {}))
        self.session: InviteSession = self.call.session
        self.site, self.peer, self.net = self.call.site, self.call.peer, self.call.net
        self.requests: list[Request] = []  # ours, that the peer may answer at any time
        self.cseq = 1
        self.first_via = "INVITE1"
        if self.rng.random() < 0.3:
            self.site.room.on_event = self.act_at_once

    def act_at_once(self, session, event) -> None:
        if self.rng.random() < 0.3:
            self.room()

    def collect(self) -> None:
        self.requests += [m for m in self.peer.inbox if isinstance(m, Request)]
        if not self.incoming and not self.requests:
            self.requests.append(self.call.invite)
        self.peer.clear()

    def body(self) -> bytes:
        return self.rng.choice((b"", b"", SDP_A, SDP_B, b"SIP/2.0 180 Ringing\r\n", b"SIP/2.0 200 OK", b"\xff\x00junk"))

    def lines(self) -> list[tuple[str, str]]:
        pool = [
            (
                "Content-Type",
                self.rng.choice(("application/sdp", "message/sipfrag", "text/x", "multipart/mixed;boundary=a")),
            ),
            ("Refer-To", self.rng.choice(("<sip:700@192.0.2.1>", "<<", "sip:x"))),
            ("Event", self.rng.choice(("refer", "presence", ""))),
            ("Subscription-State", self.rng.choice(("active", "terminated;reason=x", ";;"))),
            ("Contact", self.rng.choice(("<sip:b@192.0.2.7>", "<sip:b@10.0.0.1>", "<<", "<tel:1>", "*"))),
            ("Record-Route", self.rng.choice(("<sip:192.0.2.7;lr>", "<sip:192.0.2.7>", "<<"))),
            ("Reason", "Q.850;cause=16"),
            ("Require", self.rng.choice(("100rel", "timer", ""))),
            ("Info-Package", "x"),
        ]
        return self.rng.sample(pool, self.rng.randrange(len(pool)))

    def peer_request(self) -> None:
        """Anything the peer might say in the dialog, often with a wrong tag, an old CSeq or another one's branch."""
        dialog = self.session.dialog
        invite = None if self.incoming else self.call.invite
        ours = dialog.local.tag if dialog is not None else invite.from_.tag if invite is not None else "x"
        theirs = dialog.remote.tag if dialog is not None else self.rng.choice(("far", "fork1", "fork2"))
        if self.rng.random() < 0.1:
            ours = self.rng.choice(("", "wrong"))
        method = self.rng.choice(METHODS)
        self.cseq += self.rng.choice((1, 1, 1, 0, -1, 5))
        cseq = max(0, self.cseq) if method != "ACK" else self.rng.choice((1, max(0, self.cseq)))
        branch = self.rng.choice((f"{method}{cseq}{self.rng.random()}", self.first_via, f"INVITE{cseq}"))
        if method == "CANCEL":
            branch, cseq = self.rng.choice(((self.first_via, 1), (branch, cseq)))
        headers = [
            ("Via", f"SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK{branch};rport"),
            ("From", f"<sip:bob@pbx>;tag={theirs}"),
            ("To", f"<sip:600@192.0.2.1>{';tag=' + ours if ours else ''}"),
            ("Call-ID", self.session.call_id),
            ("CSeq", f"{cseq} {method}"),
            ("Max-Forwards", "70"),
            *self.lines(),
        ]
        self.peer.send(
            OURS, Request(headers=Headers(headers), method=method, uri="sip:600@192.0.2.1", body=self.body())
        )

    def peer_response(self) -> None:
        self.collect()
        if not self.requests:
            return
        request = self.rng.choice(self.requests)
        if request.method == "ACK":
            return
        status = self.rng.choice(STATUSES)
        headers = self.lines()
        if status in (401, 407):
            challenge = CHALLENGE % (
                self.rng.randrange(5),
                self.rng.choice(("MD5", "SHA-256", "X")),
                self.rng.choice(("true", "false")),
            )
            headers.append(("WWW-Authenticate" if status == 401 else "Proxy-Authenticate", challenge))
        tag = self.rng.choice(("far", "far", "far", "fork1", "fork2", ""))
        body = self.body()
        self.peer.send(OURS, request.response(status, to_tag=tag if status > 100 else "", headers=headers, body=body))

    def room(self) -> None:
        session = self.session
        self.rng.choice(
            (
                lambda: session.ring(self.rng.choice((180, 183, 200, 99)), self.rng.choice((None, SDP_B))),
                lambda: session.accept(SDP_B),
                lambda: session.reject(self.rng.choice((486, 302, 200, 900))),
                session.cancel,
                lambda: session.send_answer(SDP_A),
                lambda: session.reinvite(self.rng.choice((None, SDP_A))),
                lambda: session.answer_reoffer(SDP_B),
                lambda: session.reject_reoffer(self.rng.choice((488, 200, 700))),
                lambda: session.send_info("a/b", b"x"),
                lambda: session.refer(self.rng.choice(("sip:x@y", "a\r\nb"))),
                lambda: session.notify_refer(self.rng.choice((100, 180, 200, 486, 7)), "a\r\nb: c"),
                lambda: session.hang_up([("Reason", "a\r\nb")]) if self.rng.random() < 0.2 else None,
            )
        )()

    def play(self) -> None:
        for _ in range(self.rng.randrange(5, 60)):
            self.rng.choice((self.peer_request, self.peer_response, self.peer_response, self.room))()
            if self.rng.random() < 0.05:
                self.site.ua.flow_closed(self.flow(), self.net.now)
            self.net.run(self.rng.choice((0, 0, 0.05, 0.3, 0.3, 2, 40)))
        for session in self.site.ua.sessions:  # an INVITE that lost its tag made a call of its own
            session.hang_up()
        self.net.run(600)

    def flow(self) -> Flow:
        return self.session.dialog.flow if self.session.dialog is not None else Flow("udp", *THEIRS)

    def check(self) -> None:
        for events in self.site.room.events.values():
            kinds = [type(e) for e in events]
            assert kinds.count(Ended) == 1
            assert kinds[-1] is Ended
        assert self.site.leaks() == NO_LEAKS


def one(seed: int) -> None:
    story = Story(seed)
    story.play()
    story.check()


@pytest.mark.parametrize("block", range(4))
def test_sessions_survive_any_order_of_messages_and_end_once(block):
    for seed in range(block * 60, block * 60 + 60):
        try:
            one(seed)
        except BaseException as error:
            raise AssertionError(f"seed {seed}") from error


def main() -> None:
    seconds, seed = float(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1_000
    end = time.monotonic() + seconds
    begun = seed
    while time.monotonic() < end:
        try:
            one(seed)
        except BaseException:
            sys.stderr.write(f"seed {seed}\n")
            raise
        seed += 1
    sys.stderr.write(f"{seed - begun} stories, none broke the invariant\n")


if __name__ == "__main__":
    main()
