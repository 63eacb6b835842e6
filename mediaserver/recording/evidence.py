"""One piece of evidence: why one party may be recorded for one purpose, and its row of the catalogue.

Owns what is known of a notice that was heard or an answer that was given. What follows from it is `consent`'s.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from mediaserver.model import LegHandle, Masked
from mediaserver.model_consent import ConsentState as State
from mediaserver.model_delivery import UNPROVEN, Delivery
from mediaserver.store.recordings import EvidenceRow

PURPOSE = "recording"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Why one party may be recorded: what it heard, in which language, from when to when. Stored for good."""

    evidence_id: str
    call_id: str
    leg: LegHandle
    leg_id: str
    party: Masked
    purpose: str
    policy: str
    state: State  # the permitted state it led to
    prompt: str
    prompt_sha256: str  # of the very file that was played
    language: str
    started_ns: int
    ended_ns: int
    ended_wall: float
    how: str = "notice"  # or what said yes or no: dtmf, web, sip, api, prior, token
    delivery: Delivery = UNPROVEN  # of the notice
    detail: Mapping[str, str] = field(default_factory=dict)  # what the way of answering adds: a session, a key


def evidence_row(evidence: Evidence, recording_id: str) -> EvidenceRow:
    """For the table consent_evidence."""
    length_ms = round((evidence.ended_ns - evidence.started_ns) / 1e6)
    ended_ms = round(evidence.ended_wall * 1000)
    return EvidenceRow(
        evidence.evidence_id,
        evidence.call_id,
        recording_id,
        evidence.leg_id,
        evidence.party,
        evidence.purpose,
        evidence.state.value,
        evidence.policy,
        evidence.prompt,
        evidence.prompt_sha256,
        evidence.language,
        ended_ms - length_ms,
        ended_ms,
        evidence.started_ns,
        evidence.ended_ns,
        evidence.how,
        evidence.delivery.packets_sent,
        evidence.delivery.packets_lost,
        json.dumps(dict(evidence.detail)),
        evidence.delivery.ssrc,
        evidence.delivery.first_sequence,
        evidence.delivery.last_sequence,
        evidence.delivery.reported_sequence,
        evidence.delivery.reported_before,
        evidence.delivery.reporter,
    )
