"""Signalling for tests of the call room: sessions with a scripted far end, and the gateway that makes them.

`FakeSession` has the signatures of the real one; every session ends with one Ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from mediaserver.calls.picture_choice import PictureChoice
from mediaserver.sip.session import (
    Answered,
    Cancelled,
    Confirmed,
    Ended,
    Failed,
    ReferReceived,
    SessionEvent,
)


class FakeSession:
    """An INVITE session with a scripted far end: what we call is kept in `did`, what it tells comes by `tell`."""

    def __init__(
        self,
        *,
        incoming: bool,
        called_user: str,
        caller_user: str = "alice",
        identity: str | None = None,
        sdp: bytes | None = None,
        call_id: str = "sip-call-id",
    ) -> None:
        self.incoming = incoming
        self.call_id = call_id
        self.request_uri = f"sip:{called_user}@pbx.example"
        self.called_user = called_user
        self.caller_user = caller_user
        self.caller_name = caller_user.title()
        self.identity = identity
        self.source = ("192.0.2.7", 5060)
        self.local_host = "127.0.0.1"
        self.remote_sdp = sdp if incoming else None
        self.offer = None if incoming else sdp
        self.on_event: Callable[[SessionEvent], None] = lambda _event: None
        self.may_refer: Callable[[], bool] = lambda: True
        self.did: list[tuple[Any, ...]] = []
        self.shown: tuple[str, str] | None = None  # whom it was told that it talks to now
        self.over = False
        self.established = False
        self.rights: frozenset[str] | None = None
        self.takes_offers = True
        self.one_way = False
        self.peer_host = self.source[0]
        self.siprec = False
        self.metadata: bytes | None = None
        self.record_aware = False
        self.replaces: FakeSession | None = None
        self.picture: PictureChoice | None = None
        self.on_did: Callable[[str], None] | None = None
        self.last_words: tuple[tuple[str, str], ...] = ()  # headers of the hang-up

    def belongs_to(self, call_id: str) -> None:
        self.room_id = call_id

    def refers(self, target: str, replaces: FakeSession | None = None) -> None:
        """The far end sends a REFER: answered as the real session answers it."""
        if replaces is not None or self.may_refer():
            self.tell(ReferReceived(target, None, replaces))  # type: ignore[arg-type]
        else:
            self._do("refuse_refer", 603)

    def tell(self, event: SessionEvent) -> None:
        """The far end does something; heard on the loop's next turn, as from the real pump."""
        asyncio.get_running_loop().call_soon(self._tell, event)

    def _tell(self, event: SessionEvent) -> None:
        if self.over:
            return
        if isinstance(event, Answered):
            self.established = True
        if isinstance(event, Ended):
            self.over = True
        self.on_event(event)
        if isinstance(event, (Failed, Cancelled)):
            self._tell(Ended(False))

    def _do(self, *what: Any) -> bool:
        if self.over:
            return False
        self.did.append(what)
        if self.on_did is not None:
            self.on_did(what[0])
        return True

    def names(self) -> list[str]:
        return [str(what[0]) for what in self.did]

    def ring(self, status: int = 180, sdp: bytes | None = None, headers: Sequence[tuple[str, str]] = ()) -> None:
        self._do("ring", status, sdp)

    def accept(self, sdp: bytes, headers: Sequence[tuple[str, str]] = ()) -> None:
        if self._do("accept", sdp):
            self.established = True
            if self.remote_sdp:
                self.tell(Confirmed())

    def reject(self, status: int, reason: str = "", headers: Sequence[tuple[str, str]] = ()) -> None:
        if self._do("reject", status, tuple(headers)):
            self.tell(Ended(True))

    def cancel(self) -> None:
        if self._do("cancel"):
            self.tell(Failed(487, "Request Terminated"))

    def send_answer(self, sdp: bytes) -> None:
        self._do("send_answer", sdp)

    def reinvite(self, sdp: bytes | Callable[[], bytes] | None, *, optional: bool = False) -> None:
        self._do("reinvite", sdp() if callable(sdp) else sdp)

    def answer_reoffer(self, sdp: bytes) -> None:
        self._do("answer_reoffer", sdp)

    def reject_reoffer(self, status: int) -> None:
        self._do("reject_reoffer", status)

    def send_info(self, content_type: str, body: bytes) -> None:
        self._do("send_info", content_type, body)

    def identify(self, user: str, name: str = "") -> None:
        self.shown = (user, name)

    def refer(self, target_uri: str, referred_by: str | None = None) -> None:
        self._do("refer", target_uri)

    def notify_refer(self, status: int, reason: str = "") -> None:
        self._do("notify_refer", status)

    def hang_up(self, headers: Sequence[tuple[str, str]] = ()) -> None:
        self.last_words = tuple(headers)
        if not self.incoming and not self.established:
            self.cancel()
        elif self._do("hang_up"):
            self.tell(Ended(True))


class FakeGateway:
    """Registered users and the sessions we started; `on_invite` scripts what a rung device does."""

    def __init__(self) -> None:
        self.users: dict[str, list[str]] = {}
        self.sessions: list[FakeSession] = []
        self.on_invite: Callable[[FakeSession, str], None] = lambda _session, _target: None

    def contacts(self, user: str) -> list[str] | None:
        return self.users.get(user)

    def display_name(self, user: str) -> str:
        return {"carol": "Carol C."}.get(user, "")

    def is_browser(self, target: str) -> bool:
        return target.startswith("browser")

    def local_host_for(self, target: str, trunk: str | None = None) -> str:
        return "127.0.0.1"

    def invite(
        self,
        target: str,
        *,
        sdp: bytes | None,
        caller_user: str,
        caller_name: str = "",
        called_user: str = "",
        trunk: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> FakeSession:
        session = FakeSession(incoming=False, called_user=called_user, caller_user=caller_user, sdp=sdp)
        session.did.append(("invite", target, trunk))
        self.sessions.append(session)
        asyncio.get_running_loop().call_soon(self.on_invite, session, target)
        return session
