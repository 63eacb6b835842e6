"""A recording as a vCon: parties, the audio as a dialog, for each party and purpose the lawful basis and its proof.

Follows draft-ietf-vcon-vcon-core-04 (7 September 2026) and draft-howe-vcon-lawful-basis-01. `vcon` is deprecated and
must be "0.4.0" where it is written (§4.1.1), as readers of older drafts ask for it; a body of encoding "json" is a
JSON value, not a text that holds one (§2.3.2); `parties` of a recording has one entry per channel (§4.3.4),
`originator` is left out because the first is he (§4.3.5), and so is `session_id`, which is for the UUIDs of RFC 7989
(§2.2). Who adds an attachment is a party (§4.4.3). What the drafts lack (which prompt, which packets of it arrived,
which signed manifest proves the audio) stands in `proof_data`. Renders nothing.
"""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha512
from pathlib import Path
from typing import Any

from mediaserver.recording.consent import PERMITTED
from mediaserver.store.recordings import EvidenceRow, RecordingRow

SYNTAX = "0.4.0"
_TELEPHONE = re.compile(r"\+?[0-9]{3,15}")
_PROOFS = {"notice": "verbal_confirmation", "prior": "signed_document"}


def make_vcon(
    row: RecordingRow,
    evidence: Sequence[EvidenceRow],
    audio: Path,
    mediatype: str,
    *,
    manifest: Sequence[bytes] = (),
    bases: Mapping[tuple[str, str], str] = {},
    heard: Collection[str] | None = None,
    created_wall: float,
) -> dict[str, Any]:
    """The JSON object. audio: a rendered file, taken in whole. manifest: the signed lines, as an attachment.

    bases: the lawful basis each consent policy names, by policy and purpose. heard: legs whose sound is in the audio,
    the first of them on the left, all others on the right; None: every one.
    """
    legs = _legs(row, evidence)
    channels = [index for index, (leg_id, _, _) in enumerate(legs) if heard is None or leg_id in heard]
    data = audio.read_bytes()
    digest = base64.urlsafe_b64encode(sha512(data).digest()).decode().rstrip("=")
    vcon: dict[str, Any] = {
        "vcon": SYNTAX,
        "uuid": str(_uuid8(row)),
        "created_at": _time(created_wall),
        "extensions": ["cc", "lawful_basis"],  # cc: a party's role (draft-ietf-vcon-cc-extension)
        "subject": f"recording {row.recording_id}",
        "parties": [_party(number, role) for _, number, role in legs],
        "dialog": [
            {
                "type": "recording",
                "start": _time(row.started_ms / 1000),
                "duration": round(row.length_ms / 1000, 3),
                "parties": [*channels[:1], channels[1:]] if len(channels) > 2 else channels,
                "mediatype": mediatype,
                "filename": f"{row.recording_id}{Path(audio.name.removesuffix('.part')).suffix}",
                "encoding": "base64url",
                "body": base64.urlsafe_b64encode(data).decode().rstrip("="),
                "content_hash": f"sha512-{digest}",
            }
        ],
        "attachments": [],
    }
    for index, (leg_id, _, _) in enumerate(legs):
        for purpose in dict.fromkeys(item.purpose for item in evidence):
            own = [item for item in evidence if (item.leg_id, item.purpose) == (leg_id, purpose)]
            if own:
                vcon["attachments"].append(_basis(row, index, own, bases))
    if manifest:
        vcon["parties"].append({"name": "mediaserver", "role": "recorder"})
        signed = [json.loads(line) for line in manifest]
        vcon["attachments"].append(_attachment("manifest", row.ended_ms or row.started_ms, len(legs), signed))
    return vcon


def _legs(row: RecordingRow, evidence: Sequence[EvidenceRow]) -> list[tuple[str, str, str]]:
    """Leg, number, role; the caller first. Without evidence: caller and called of the call."""
    found = dict.fromkeys((item.leg_id, str(item.party)) for item in evidence)
    legs = [(leg_id, number, "caller" if number == row.caller else "callee") for leg_id, number in found]
    legs.sort(key=lambda leg: (leg[2] != "caller", len(leg[0]), leg[0]))
    return legs or [("1", str(row.caller), "caller"), ("2", str(row.called), "callee")]


def _party(number: str, role: str) -> dict[str, Any]:
    if _TELEPHONE.fullmatch(number):
        return {"tel": number, "role": role}
    return {"name": number or "anonymous", "role": role}


def _basis(
    row: RecordingRow, party: int, own: Sequence[EvidenceRow], bases: Mapping[tuple[str, str], str]
) -> dict[str, Any]:
    """The last word counts; every step is a proof."""
    last = own[-1]
    granted = last.state in PERMITTED
    expires = None if row.delete_after_ms is None else _time(row.delete_after_ms / 1000)
    body = {
        "lawful_basis": "consent" if last.state == "granted" and last.how != "prior" else _basis_word(last, bases),
        "expiration": expires,
        "purpose_grants": [
            {"purpose": last.purpose, "granted": granted, "granted_at": _time(last.notice_ended_ms / 1000)}
        ],
        "proof_mechanisms": [_proof(item) for item in own],
        "metadata": {"policy": last.policy, "call": row.call_id},
    }
    return _attachment("lawful_basis", own[0].notice_started_ms, party, body)


def _basis_word(item: EvidenceRow, bases: Mapping[tuple[str, str], str]) -> str:
    """What the policy says; of one that is there no more, what its way of asking suggests."""
    return bases.get((item.policy, item.purpose)) or ("contract" if item.how == "prior" else "legitimate_interests")


def _proof(item: EvidenceRow) -> dict[str, Any]:
    """proof_data in the words of ISO/IEC TS 27560: how it was collected, in which language, what was shown."""
    delivered = None
    if item.packets_lost >= 0 and item.packets_sent > 0:
        delivered = round(1 - min(item.packets_lost, item.packets_sent) / item.packets_sent, 4)
    return {
        "proof_type": _PROOFS.get(item.how, "external_system"),
        "timestamp": _time(item.notice_ended_ms / 1000),
        "proof_data": {
            "evidence": item.evidence_id,
            "state": item.state,
            "collectionMethod": item.how,
            "language": item.language,
            "notice": {
                "prompt": item.prompt,
                "sha256": item.prompt_sha256,
                "started": _time(item.notice_started_ms / 1000),
                "ended": _time(item.notice_ended_ms / 1000),
                "rtp_packets_sent": item.packets_sent,
                "rtp": _packets(item),
                "rtcp_packets_lost": None if item.packets_lost < 0 else item.packets_lost,
                "rtcp": _report(item),
                "delivered": delivered,
            },
            "answer": json.loads(item.detail),
        },
    }


def _packets(item: EvidenceRow) -> dict[str, int] | None:
    """Extended sequence numbers (RFC 3550 §6.4.1) of the first and last packet that carried the notice."""
    if item.rtp_first < 0:
        return None
    return {"ssrc": item.rtp_ssrc, "first_sequence": item.rtp_first, "last_sequence": item.rtp_last}


def _report(item: EvidenceRow) -> dict[str, int | None] | None:
    """The report that covers them, and the one its loss is counted from; null: the party sent none that does."""
    if item.rtcp_highest < 0:
        return None
    before = None if item.rtcp_before < 0 else item.rtcp_before
    return {"reporter": item.rtcp_reporter, "highest_sequence": item.rtcp_highest, "counted_from": before}


def _attachment(purpose: str, at_ms: int, party: int, body: Any) -> dict[str, Any]:
    return {
        "purpose": purpose,
        "start": _time(at_ms / 1000),
        "party": party,
        "dialog": 0,
        "mediatype": "application/json",
        "encoding": "json",
        "body": body,
    }


def _time(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds")


def _uuid8(row: RecordingRow) -> uuid.UUID:
    """The same recording is always the same vCon: RFC 9562 version 8, time and the id's own bits."""
    seed = bytearray(sha512(row.recording_id.encode()).digest()[:16])
    seed[:6] = max(0, row.started_ms).to_bytes(8, "big")[2:]
    seed[6] = seed[6] & 0x0F | 0x80
    seed[8] = seed[8] & 0x3F | 0x80
    return uuid.UUID(bytes=bytes(seed))
