"""Our own pages as devices of their users: rung beside the SIP phones, called over the page's WebSocket.

Wraps the user agent's side of `ports.SipGateway`; who has a page open is asked of `Pages`. A page's target is
`page:ID`: no SIP URI, so no phone and no routing rule can name one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mediaserver.calls.ports import Session, SipGateway

SCHEME = "page:"


class Pages(Protocol):
    def targets(self, user: str) -> Sequence[str]:
        """Of this user's pages that take calls now."""
        ...

    def local_host(self, target: str) -> str: ...

    def invite(self, target: str, *, sdp: bytes, caller_user: str, caller_name: str, called_user: str) -> Session:
        """As `SipGateway.invite`; a page that is gone meanwhile fails the session."""
        ...


class PagesGateway:
    """A SipGateway that knows pages too."""

    def __init__(self, sip: SipGateway, pages: Pages) -> None:
        self._sip = sip
        self._pages = pages

    def contacts(self, user: str) -> Sequence[str] | None:
        known = self._sip.contacts(user)
        return None if known is None else [*known, *self._pages.targets(user)]

    def display_name(self, user: str) -> str:
        return self._sip.display_name(user)

    def local_host_for(self, target: str, trunk: str | None = None) -> str:
        if target.startswith(SCHEME):
            return self._pages.local_host(target)
        return self._sip.local_host_for(target, trunk)

    def is_browser(self, target: str) -> bool:
        return target.startswith(SCHEME) or self._sip.is_browser(target)

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
    ) -> Session:
        if target.startswith(SCHEME):
            return self._pages.invite(
                target, sdp=sdp or b"", caller_user=caller_user, caller_name=caller_name, called_user=called_user
            )
        return self._sip.invite(
            target,
            sdp=sdp,
            caller_user=caller_user,
            caller_name=caller_name,
            called_user=called_user,
            trunk=trunk,
            headers=headers,
        )
