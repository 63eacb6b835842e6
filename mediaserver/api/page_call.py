"""One call of a page: brings the call room's words to its WebSocket as messages, and the page's to its session.

Owns the message names of a call; docs/api.md lists them. What a page may not do with its token is narrowed here: an
offer without `publish` loses its microphone, one without `subscribe` its loudspeaker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mediaserver.api.tokens import Right
from mediaserver.calls.web_session import WebSession
from mediaserver.sdp.directions import narrowed

Send = Callable[[dict[str, Any]], None]


class PageCall:
    """The carrier of one `WebSession`. ended: told once."""

    def __init__(self, call: str, send: Send, rights: frozenset[Right], ended: Callable[[PageCall], None]) -> None:
        self.call = call
        self.session: WebSession | None = None
        self._send = send
        self._rights = rights
        self._ended = ended

    def allowed(self, sdp: str) -> bytes:
        """The page's description, as open as its token."""
        may_send, may_receive = Right.PUBLISH in self._rights, Right.SUBSCRIBE in self._rights
        text = sdp.encode("utf-8", "replace")
        return text if may_send and may_receive else narrowed(text, may_send=may_send, may_receive=may_receive)

    # -- Carrier

    def ringing(self, status: int, sdp: bytes | None) -> None:
        self._say("ringing", status=status, sdp=_text(sdp))

    def accepted(self, sdp: bytes) -> None:
        self._say("answered", sdp=_text(sdp))

    def offered(self, sdp: bytes) -> None:
        self._say("offer", sdp=_text(sdp))

    def answered(self, sdp: bytes) -> None:
        self._say("answer", sdp=_text(sdp))

    def refused(self, status: int) -> None:
        self._say("refused", status=status)

    def transfer(self, status: int, reason: str) -> None:
        self._say("transfer", status=status, reason=reason)

    def over(self, status: int, reason: str) -> None:
        self._ended(self)
        self._say("ended", status=status, reason=reason)

    def _say(self, kind: str, **facts: Any) -> None:
        self._send({"type": kind, "call": self.call, **facts})


def _text(sdp: bytes | None) -> str | None:
    return None if sdp is None else sdp.decode("utf-8", "replace")
