"""Metadata of a recording session that we send, RFC 7865: the parties of one call and the streams they speak on.

A complete document each time: what changed is not worked out, it is two to four kilobytes.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from xml.sax.saxutils import escape, quoteattr

from mediaserver.sip.rs_metadata import NAMESPACE
from mediaserver.sip.uri import Uri, escape_user


@dataclass(frozen=True, slots=True)
class Party:
    """unique: 16 random bytes, the same as long as the party is there. label: of its m= section. wall: UTC seconds."""

    unique: bytes
    number: str = field(repr=False)
    label: str
    since_wall: float
    until_wall: float | None = None


def write_metadata(session: bytes, sip_call_id: str, domain: str, since_wall: float, parties: Sequence[Party]) -> bytes:
    """session: 16 random bytes, the same for the whole call. domain: of the parties' addresses."""
    session_id = _id(session)
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<recording xmlns="{NAMESPACE}:1">',
        "<datamode>complete</datamode>",
        f'<session session_id="{session_id}"><sipSessionID>{escape(sip_call_id)}</sipSessionID></session>',
    ]
    for party in parties:
        aor = quoteattr(str(Uri("sip", escape_user(party.number) or None, domain)))
        lines.append(f'<participant participant_id="{_id(party.unique)}"><nameID aor={aor}/></participant>')
    for party in parties:
        label = f"<label>{escape(party.label)}</label>"
        lines += [f'<stream stream_id="{_stream(party)}" session_id="{session_id}">{label}</stream>']
    lines.append(
        f'<sessionrecordingassoc session_id="{session_id}"><associate-time>{_time(since_wall)}</associate-time>'
        "</sessionrecordingassoc>"
    )
    for party in parties:
        times = f"<associate-time>{_time(party.since_wall)}</associate-time>"
        if party.until_wall is not None:
            times += f"<disassociate-time>{_time(party.until_wall)}</disassociate-time>"
        who = f'participant_id="{_id(party.unique)}"'
        lines.append(f'<participantsessionassoc {who} session_id="{session_id}">{times}</participantsessionassoc>')
        streams = f"<send>{_stream(party)}</send>" if party.until_wall is None else ""
        streams += "".join(f"<recv>{_stream(other)}</recv>" for other in parties if other is not party)
        lines.append(f"<participantstreamassoc {who}>{streams}{times}</participantstreamassoc>")
    return "\r\n".join([*lines, "</recording>", ""]).encode()


def _id(unique: bytes) -> str:
    """RFC 7865 §6.10: a UUID in base64."""
    return base64.b64encode(unique).decode()


def _stream(party: Party) -> str:
    return _id(party.unique[8:] + party.unique[:8])


def _time(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
