"""Telling a peer in mid-call whom it talks to now: connected identity, RFC 4916, and the asserted one, RFC 3325 §9.1.

After a transfer the other end is somebody else while the dialog is the same. An UPDATE without a description (RFC 3311
§5.1) says so to whoever allows the method; its From changes only for those who have said that they take it. Knows
neither who may know whom nor when: the call room does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediaserver.sip.address import NameAddr
from mediaserver.sip.exchange import one_line
from mediaserver.sip.message import Message
from mediaserver.sip.uri import Uri, escape_user

if TYPE_CHECKING:
    from mediaserver.sip.session import InviteSession


def note_abilities(session: InviteSession, message: Message) -> None:
    """What the peer's INVITE, or its 2xx to ours, says that it can."""
    supported = message.headers.tokens("Supported")
    session.record_aware = "record-aware" in supported
    session.takes_updates = "update" in message.headers.tokens("Allow")
    session.takes_identity = "from-change" in supported


def identify(session: InviteSession, user: str, name: str) -> None:
    """The peer talks to this user now; nothing where it cannot be told."""
    dialog = session.dialog
    if dialog is None or not session.confirmed or not session.takes_updates or not user:
        return
    now = NameAddr(Uri("sip", escape_user(user), dialog.local.uri.host), one_line(name))
    if session.takes_identity:
        dialog.local = now._replace(params=dialog.local.params)
    session.send_ordered("UPDATE", (("P-Asserted-Identity", str(now)),), b"", session.after_request)
