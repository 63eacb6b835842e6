"""A call between a user agent and a peer that the test plays, in either direction, over the network of `sip_net`."""

from __future__ import annotations

from typing import Any

from mediaserver.settings import Settings
from mediaserver.sip.message import Request
from mediaserver.sip.session import SessionEvent
from tests.support.sip_net import NO_LEAKS, SDP_A, SDP_B, Network, Script, Site

OURS, THEIRS = ("192.0.2.1", 5060), ("192.0.2.7", 5060)
TRUSTED = Settings.model_validate(
    {
        "server": {"realm": "home"},
        "trunks": {"pbx": {"uri": "sip:192.0.2.7", "username": "ms", "password": "pw-ms", "allow_from": ["192.0.2.7"]}},
    }
)


def request(
    method: str,
    cseq: int,
    *lines: str,
    body: bytes = b"",
    tag: str = "",
    branch: str = "",
    uri: str = "sip:600@192.0.2.1",
) -> str:
    """A message of the peer in the call it makes; tag: ours, empty in the first INVITE."""
    named = [line.partition(":")[0] for line in lines]
    head = [
        f"{method} {uri} SIP/2.0",
        f"Via: SIP/2.0/UDP 192.0.2.7:5060;branch=z9hG4bK{branch or f'{method}{cseq}'};rport",
        'From: "Bob B" <sip:bob@pbx>;tag=b1',
        f"To: <sip:600@192.0.2.1>{';tag=' + tag if tag else ''}",
        "Call-ID: call-1",
        f"CSeq: {cseq} {method}",
        "Max-Forwards: 70",
        *lines,
    ]
    if "Contact" not in named:
        head.append("Contact: <sip:bob@192.0.2.7:5060>")
    if body and "Content-Type" not in named:
        head.append("Content-Type: application/sdp")
    return "\n".join([*head, f"Content-Length: {len(body)}", "", ""]) + body.decode().replace("\r\n", "\n")


class IncomingCall:
    """A peer that has sent its INVITE, and the session it made."""

    def __init__(self, *, sdp: bytes = SDP_A, settings: Settings = TRUSTED, lines: tuple[str, ...] = ()) -> None:
        self.net = Network()
        self.site = Site(self.net, OURS, settings=settings)
        self.peer = Script(self.net, THEIRS)
        self.send("INVITE", 1, *lines, body=sdp, tagged=False)
        self.session = self.site.room.calls[0]

    def message(self, method: str, cseq: int, *lines: str, tagged: bool = True, **more: Any) -> str:
        """What `send` sends. tagged: with our tag, like everything but the first INVITE and its CANCEL."""
        tag = self.session.dialog.local.tag if tagged and self.session.dialog is not None else ""
        return request(method, cseq, *lines, tag=tag, **more)

    def send(self, method: str, cseq: int, *lines: str, **more: Any) -> None:
        self.peer.send(OURS, self.message(method, cseq, *lines, **more))
        self.net.run(0.05)

    def established(self) -> IncomingCall:
        self.session.accept(SDP_B)
        self.net.run(0.05)
        self.peer.clear()
        self.send("ACK", 1)
        return self

    @property
    def events(self) -> list[SessionEvent]:
        return self.site.room.events[self.session]


class OutgoingCall:
    """A call of ours to a peer that the test plays; its INVITE has arrived."""

    def __init__(self, *, sdp: bytes | None = SDP_A, **more: Any) -> None:
        self.net = Network()
        self.site = Site(self.net, OURS, settings=TRUSTED)
        self.peer = Script(self.net, THEIRS)
        self.session = self.site.call("sip:600@192.0.2.7", sdp, **more)
        self.net.run(0.05)
        self.invite: Request = self.peer.take("INVITE")

    def answer(self, status: int, **more: Any) -> None:
        self.peer.answer(self.invite, status, **more)
        self.net.run(0.05)

    def established(self) -> OutgoingCall:
        self.answer(200, sdp=SDP_B)
        self.peer.take("ACK")
        return self

    def finish(self) -> None:
        """The peer answers the BYE, if there is one, and all timers run out."""
        while self.peer.has("BYE"):
            self.peer.answer(self.peer.take("BYE"), 200)
        self.net.run(80)
        assert self.site.leaks() == NO_LEAKS

    @property
    def events(self) -> list[SessionEvent]:
        return self.site.room.events[self.session]

    @property
    def kinds(self) -> list[type]:
        return [type(e) for e in self.events]
