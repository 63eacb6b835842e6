"""What one recording knows of each party's notices and answers, as evidence: a row per party, purpose and event.

Owns how a piece of evidence is made and stored. Decides nothing: `consent` does.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import replace

from mediaserver.clock import Clock
from mediaserver.errors import ConsentError
from mediaserver.model import LegFacts, Notice
from mediaserver.model_consent import ConsentRules, ConsentState
from mediaserver.recording.consent import CallConsent
from mediaserver.recording.evidence import Evidence, evidence_row
from mediaserver.store.recordings import RecordingStore

FOLLOWS_PERMISSION = frozenset({ConsentState.SUSPENDED_BY_JOINER, ConsentState.PAUSED})  # only who may be captured
DAY_MS = 86_400_000


class Proofs:
    def __init__(self, store: RecordingStore, clock: Clock, consent: CallConsent, recording_id: str) -> None:
        self._store = store
        self._clock = clock
        self._consent = consent
        self._recording_id = recording_id
        self._put: dict[str, tuple[Evidence, ConsentState]] = {}  # by its id, and what it proved

    @property
    def _rules(self) -> ConsentRules:
        return self._consent.rules

    def put(self, evidence: Evidence, permitted: ConsentState) -> None:
        """The row says what this evidence proves for its purpose, whoever else has yet to hear the notice."""
        state = self._consent.state(evidence.leg, evidence.purpose)
        self._store_as(evidence, permitted if state in FOLLOWS_PERMISSION else state)

    def _store_as(self, evidence: Evidence, state: ConsentState) -> None:
        self._put[evidence.evidence_id] = evidence, state
        self._store.put_evidence(evidence_row(replace(evidence, state=state), self._recording_id))

    def reported(self, notice: Notice) -> Iterator[Evidence]:
        """All that rests on this notice, with what is now known of its arrival; stored anew."""
        for evidence, state in list(self._put.values()):
            if evidence.leg == notice.leg and evidence.started_ns == notice.started_ns:
                found = replace(evidence, delivery=notice.delivery)
                self._consent.reported(found)
                self._store_as(found, state)
                yield found

    def of_notice(self, facts: LegFacts, purpose: str, notice: Notice, digest: str) -> Evidence:
        return Evidence(
            evidence_id=secrets.token_hex(12),
            call_id=self._consent.call_id,
            leg=notice.leg,
            leg_id=facts.leg_id,
            party=facts.number,
            purpose=purpose,
            policy=self._rules.name,
            state=ConsentState.IMPLIED,
            prompt=notice.prompt,
            prompt_sha256=digest,
            language=notice.language,
            started_ns=notice.started_ns,
            ended_ns=notice.ended_ns,
            ended_wall=notice.ended_wall,
            delivery=notice.delivery,
        )

    def of_answer(self, facts: LegFacts, purpose: str, how: str, detail: Mapping[str, str]) -> Evidence:
        """An answer rests on the notice that was heard before it, if one was."""
        now_ns, wall = self._clock.now_ns(), self._clock.wall()
        try:
            heard = self._consent.evidence(facts.handle, purpose)
        except ConsentError:
            heard = None
        state = ConsentState.GRANTED
        blank = Evidence("", self._consent.call_id, facts.handle, facts.leg_id, facts.number, purpose,
                         self._rules.name, state, "", "", "", now_ns, now_ns, wall)  # fmt: skip
        return replace(
            heard or blank,
            evidence_id=secrets.token_hex(12),
            state=state,
            ended_ns=now_ns,
            ended_wall=wall,
            how=how,
            detail=dict(detail),
        )


def delete_after_ms(rules: ConsentRules, held: frozenset[str], started_ms: int) -> int | None:
    """When nothing of it is kept any more: the longest of what it is held for. None: until somebody deletes it."""
    days = [one.retention_days or 0 for one in rules.each() if one.name in held or not held]
    return None if not days or 0 in days else started_ms + max(days) * DAY_MS


def listeners(rules: ConsentRules, held: frozenset[str]) -> str:
    """Roles that may hear it, with commas: those of any purpose it is held for. "": all."""
    each = [one.listeners for one in rules.each() if one.name in held or not held]
    return "" if not each or () in each else ",".join(sorted({role for roles in each for role in roles}))
