"""Replaces: a new dialog, or one somebody is sent to, takes the place of a dialog that is named. RFC 3891 §3, §6.1.

Owns the header's value and whose dialog may be named by whom. What taking its place means is the call room's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from mediaserver.errors import ParseError
from mediaserver.sip.dialog import DialogId

if TYPE_CHECKING:
    from mediaserver.sip.session import InviteSession
    from mediaserver.sip.session_host import SessionHost

NO_SUCH_CALL: Final = 481  # also for a dialog of somebody else: nobody learns which there are
DECLINED: Final = 603
BUSY: Final = 486
_NO_TAG: Final = "0"  # RFC 3891 §6.1: stands for the missing tag of RFC 2543's dialogs


@dataclass(frozen=True, slots=True)
class Replaces:
    """dialog: as we keep it, for to-tag is the tag of whoever gets this header: ours."""

    dialog: DialogId
    early_only: bool = False


def parse_replaces(value: str) -> Replaces:
    """Raises ParseError unless there is a Call-ID and exactly one tag of each kind."""
    call_id, *parameters = (part.strip() for part in value.split(";"))
    tags: dict[str, str] = {}
    early_only = False
    for parameter in parameters:
        name, _, tag = parameter.partition("=")
        name, tag = name.strip().lower(), tag.strip()
        if name == "early-only":
            early_only = True
        elif name in ("to-tag", "from-tag"):
            if name in tags or not tag:
                raise ParseError(f"Replaces with no or two values of {name}; exactly one is allowed")
            tags[name] = tag
    if not call_id or any(letter.isspace() for letter in call_id) or len(tags) != 2:
        raise ParseError("Replaces needs a Call-ID, a to-tag and a from-tag")
    return Replaces(DialogId(call_id, tags["to-tag"], tags["from-tag"]), early_only)


PickupGroups = Sequence[frozenset[str]]


def pickup_named(host: SessionHost, named: Replaces, identity: str, groups: PickupGroups) -> InviteSession | int:
    """The session an INVITE may take the place of: one of its own; or, call pickup, one by which we ring somebody of a
    group that both are in (RFC 3891 §1, §3). Else the status that says why not.

    A dialog that rings here for an answer of ours has no end yet that could be replaced: 481.
    """
    found = session_named(host, named, identity, groups)
    if not isinstance(found, int) and found.early and found.incoming:
        return NO_SUCH_CALL
    return found


def _may_pick_up(session: InviteSession, identity: str, groups: PickupGroups) -> bool:
    if not session.early or session.incoming:
        return False
    return any(identity in group and session.identity in group for group in groups)


def session_named(
    host: SessionHost, named: Replaces, identity: str | None, groups: PickupGroups = ()
) -> InviteSession | int:
    """The session that `identity` names, one of its own; else the status that says why not: 481, 603 or 486."""
    call_id, to_tag, from_tag = named.dialog
    session = host.session_of(named.dialog) or host.session_of(
        DialogId(call_id, from_tag, to_tag)
    )  # JsSIP, when called
    if session is None and from_tag == _NO_TAG:
        session = host.session_of(DialogId(call_id, to_tag, ""))
    if session is None or identity is None:
        return NO_SUCH_CALL
    if session.identity != identity and not _may_pick_up(session, identity, groups):
        return NO_SUCH_CALL
    if session.ended:  # its BYE is under way
        return DECLINED
    if named.early_only and not session.early:
        return BUSY
    return session
