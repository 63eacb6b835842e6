"""Who may be recorded, from when, and why: the states of each party, the evidence, and the tokens that open taps.

Owns the state table (docs/recording-and-consent.md draws it), what one party's state means for the others, and the seal
that makes a token impossible to invent elsewhere. Plays no prompts and opens no taps.
"""

from __future__ import annotations

import enum
import hmac
import json
import secrets
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from mediaserver.errors import ConsentError
from mediaserver.model import ConsentToken, LegHandle, Masked
from mediaserver.model_consent import DEFAULT_RULES, ConsentRules
from mediaserver.model_consent import ConsentState as State
from mediaserver.model_delivery import UNPROVEN, Delivery
from mediaserver.store.recordings import EvidenceRow

PURPOSE = "recording"


class Event(enum.StrEnum):
    NOTICE_STARTED = "notice_started"
    NOTICE_ENDED = "notice_ended"
    NOTICE_BROKEN = "notice_broken"
    STAYED = "stayed"
    AGREED = "agreed"
    REFUSED = "refused"
    PAUSE = "pause"
    RESUME = "resume"
    JOINER = "joiner"
    JOINER_CLEARED = "joiner_cleared"
    WITHDRAW = "withdraw"
    RETENTION_OVER = "retention_over"


OnTransition = Callable[[LegHandle, State, State], None]

# Only in these does a byte of the party reach a disk.
PERMITTED = frozenset({State.IMPLIED, State.GRANTED})

# None: back to the permitted state it had before. An event that has no line here changes nothing and is counted.
TRANSITIONS: dict[tuple[State, Event], State | None] = {
    (State.UNKNOWN, Event.NOTICE_STARTED): State.NOTICE_PLAYING,
    (State.UNKNOWN, Event.NOTICE_ENDED): State.NOTICE_DELIVERED,
    (State.UNKNOWN, Event.AGREED): State.GRANTED,
    (State.UNKNOWN, Event.REFUSED): State.DENIED,
    (State.NOTICE_PLAYING, Event.NOTICE_ENDED): State.NOTICE_DELIVERED,
    (State.NOTICE_PLAYING, Event.NOTICE_BROKEN): State.NOTICE_FAILED,
    (State.NOTICE_PLAYING, Event.AGREED): State.GRANTED,
    (State.NOTICE_PLAYING, Event.REFUSED): State.DENIED,
    (State.NOTICE_FAILED, Event.NOTICE_STARTED): State.NOTICE_PLAYING,
    (State.NOTICE_FAILED, Event.NOTICE_ENDED): State.NOTICE_DELIVERED,
    (State.NOTICE_FAILED, Event.AGREED): State.GRANTED,
    (State.NOTICE_FAILED, Event.REFUSED): State.DENIED,
    (State.NOTICE_DELIVERED, Event.STAYED): State.IMPLIED,
    (State.NOTICE_DELIVERED, Event.AGREED): State.GRANTED,
    (State.NOTICE_DELIVERED, Event.REFUSED): State.DENIED,
    (State.IMPLIED, Event.AGREED): State.GRANTED,
    (State.IMPLIED, Event.PAUSE): State.PAUSED,
    (State.IMPLIED, Event.JOINER): State.SUSPENDED_BY_JOINER,
    (State.IMPLIED, Event.WITHDRAW): State.WITHDRAWN,
    (State.IMPLIED, Event.RETENTION_OVER): State.EXPIRED,
    (State.GRANTED, Event.PAUSE): State.PAUSED,
    (State.GRANTED, Event.JOINER): State.SUSPENDED_BY_JOINER,
    (State.GRANTED, Event.WITHDRAW): State.WITHDRAWN,
    (State.GRANTED, Event.RETENTION_OVER): State.EXPIRED,
    (State.PAUSED, Event.RESUME): None,
    (State.PAUSED, Event.WITHDRAW): State.WITHDRAWN,
    (State.SUSPENDED_BY_JOINER, Event.JOINER_CLEARED): None,
    (State.SUSPENDED_BY_JOINER, Event.PAUSE): State.PAUSED,
    (State.SUSPENDED_BY_JOINER, Event.WITHDRAW): State.WITHDRAWN,
    (State.DENIED, Event.AGREED): State.GRANTED,
    (State.WITHDRAWN, Event.AGREED): State.GRANTED,
    (State.WITHDRAWN, Event.RETENTION_OVER): State.EXPIRED,
}
# Nobody knows yet what such a party wants.
OPEN = frozenset({State.UNKNOWN, State.NOTICE_PLAYING, State.NOTICE_DELIVERED, State.NOTICE_FAILED})
REFUSALS = frozenset({State.DENIED, State.WITHDRAWN, State.EXPIRED})


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


class ConsentAuthority:
    """Seals and checks tokens. One per process; the key never leaves it and dies with it."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key if key is not None else secrets.token_bytes(32)

    def verify(self, token: ConsentToken) -> bool:
        """True if this authority sealed exactly this token. What the media engine asks before it opens a tap."""
        return hmac.compare_digest(
            token.seal,
            self._sealed(token.call_id, token.leg, token.evidence_id, token.granted_at_ns, token.pictures),
        )

    def open_call(
        self, call_id: str, on_transition: OnTransition | None = None, rules: ConsentRules = DEFAULT_RULES
    ) -> CallConsent:
        return CallConsent(self, call_id, rules, on_transition)

    def _grant(self, call_id: str, leg: LegHandle, evidence_id: str, now_ns: int, pictures: bool) -> ConsentToken:
        """For CallConsent only: it alone knows that everybody present has heard the notice."""
        seal = self._sealed(call_id, leg, evidence_id, now_ns, pictures)
        return ConsentToken(call_id, leg, evidence_id, now_ns, seal, pictures)

    def _sealed(self, call_id: str, leg: int, evidence_id: str, granted_at_ns: int, pictures: bool = False) -> bytes:
        # Lengths in front keep two texts from sharing one concatenation.
        parts = (call_id.encode("utf-8", "surrogatepass"), evidence_id.encode("utf-8", "surrogatepass"))
        text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._key, text + f"|{leg}|{granted_at_ns}|{pictures:d}".encode(), sha256)


@dataclass(slots=True)
class _Party:
    state: State = State.UNKNOWN
    permitted_as: State = State.IMPLIED  # where RESUME and JOINER_CLEARED lead back to
    evidence: Evidence | None = None


class CallConsent:
    """The parties of one call. Changes by its methods only; `may_capture` is the one question the recorder asks."""

    def __init__(
        self,
        authority: ConsentAuthority,
        call_id: str,
        rules: ConsentRules = DEFAULT_RULES,
        on_transition: OnTransition | None = None,
    ) -> None:
        self._authority = authority
        self._on_transition = on_transition
        self._parties: dict[LegHandle, _Party] = {}
        self._paused = False
        self.call_id = call_id
        self.rules = rules
        self.ignored: Counter[Event] = Counter()  # events that had no line in the table

    def join(self, leg: LegHandle) -> None:
        """A party is there who has heard nothing; again: it is unknown anew, whatever it said before."""
        before = self._parties.get(leg)
        self._parties[leg] = _Party()
        if before is not None and before.state is not State.UNKNOWN and self._on_transition is not None:
            self._on_transition(leg, before.state, State.UNKNOWN)
        self._settle()

    def leave(self, leg: LegHandle) -> None:
        """A party is gone; if it was the last without permission, the others may be captured again."""
        self._parties.pop(leg, None)
        self._settle()

    def happens(self, leg: LegHandle, event: Event) -> State:
        """Applies one event to one party. Raises ConsentError for a party that is not there."""
        self._move(leg, event)
        self._settle()
        return self._party(leg).state

    def delivered(self, evidence: Evidence) -> None:
        """The party heard the notice to its end; where the rules ask for no more, it is IMPLIED by staying.

        Fewer of its packets than the rules ask for: NOTICE_FAILED. Raises ConsentError for what proves no notice.
        """
        party = self._party(evidence.leg)
        if evidence.call_id != self.call_id or evidence.ended_ns < evidence.started_ns or not evidence.prompt_sha256:
            raise ConsentError(
                f"evidence {evidence.evidence_id} does not prove a notice in call {self.call_id}: it must name this "
                "call, the prompt's SHA-256 and an end after its start"
            )
        if not self._arrived(evidence):
            if party.state is not State.NOTICE_PLAYING:
                self._move(evidence.leg, Event.NOTICE_STARTED)
            self._move(evidence.leg, Event.NOTICE_BROKEN)
            self._settle()
            return
        if party.state in OPEN:
            party.evidence = evidence
        self._move(evidence.leg, Event.NOTICE_ENDED)
        if self.rules.ask == "announce" or (self.rules.ask == "stay" and not self.rules.stay_s):
            self._move(evidence.leg, Event.STAYED)
        self._settle()

    def _arrived(self, evidence: Evidence) -> bool:
        fraction = evidence.delivery.fraction
        return self.rules.proof == "sent" if fraction is None else fraction >= self.rules.delivered_fraction

    def reported(self, evidence: Evidence) -> None:
        """What is now known of how its notice arrived: a party that rests on it rests on it as it is here."""
        party = self._parties.get(evidence.leg)
        if party is not None and party.evidence is not None and party.evidence.evidence_id == evidence.evidence_id:
            party.evidence = evidence

    def stayed(self, leg: LegHandle) -> State:
        """The party is still there, so long after the notice as the rules ask for."""
        return self.happens(leg, Event.STAYED) if self.rules.ask == "stay" else self.state(leg)

    def agreed(self, evidence: Evidence) -> State:
        """The party said yes; from now on that is what its permission rests on. Raises ConsentError without a way."""
        party = self._party(evidence.leg)
        if evidence.call_id != self.call_id or not evidence.how:
            raise ConsentError(f"evidence {evidence.evidence_id} does not prove an answer in call {self.call_id}")
        if (party.state, Event.AGREED) in TRANSITIONS:
            party.evidence = evidence
        return self.happens(evidence.leg, Event.AGREED)

    def refused(self, leg: LegHandle) -> State:
        """The party said no: DENIED before it was captured, WITHDRAWN after."""
        return self.happens(leg, Event.REFUSED if self.state(leg) in OPEN else Event.WITHDRAW)

    def pause(self) -> None:
        """Nobody is captured until `resume`, whoever joins or agrees meanwhile."""
        self._paused = True
        self._settle()

    def resume(self) -> None:
        self._paused = False
        for leg in self._parties:
            if self._parties[leg].state is State.PAUSED:
                self._move(leg, Event.RESUME)
        self._settle()

    @property
    def paused(self) -> bool:
        return self._paused

    def state(self, leg: LegHandle) -> State:
        return self._party(leg).state

    def states(self) -> dict[LegHandle, State]:
        return {leg: party.state for leg, party in self._parties.items()}

    def evidence(self, leg: LegHandle) -> Evidence:
        """What the party's permission rests on. Raises ConsentError if there is nothing."""
        evidence = self._party(leg).evidence
        if evidence is None:
            raise ConsentError(f"leg {leg:#x} of call {self.call_id} has heard no notice")
        return evidence

    def parties(self) -> tuple[LegHandle, ...]:
        return tuple(self._parties)

    def may_capture(self, leg: LegHandle) -> bool:
        """Whether this party may be captured now. False for one that is not there."""
        party = self._parties.get(leg)
        if party is None or party.state not in PERMITTED or party.evidence is None or self.rules.ask == "never":
            return False
        return self.rules.parties == "each" or all(p.state in PERMITTED for p in self._parties.values())

    def token(self, leg: LegHandle, now_ns: int) -> ConsentToken:
        """A sealed token for one leg. Raises ConsentError unless this party may be captured now."""
        party = self._party(leg)
        if not self.may_capture(leg) or party.evidence is None:
            states = ", ".join(f"leg {other:#x} is {p.state}" for other, p in self._parties.items())
            raise ConsentError(
                f"call {self.call_id}: no token for leg {leg:#x} while {states}; policy {self.rules.name} lets a party "
                "be captured only with its permission, and only while the others' states allow it"
            )
        if now_ns < party.evidence.ended_ns:
            raise ConsentError(f"call {self.call_id}: a token cannot be older than the notice it rests on")
        return self._authority._grant(self.call_id, leg, party.evidence.evidence_id, now_ns, self.rules.pictures)

    def _party(self, leg: LegHandle) -> _Party:
        try:
            return self._parties[leg]
        except KeyError:
            raise ConsentError(
                f"leg {leg:#x} is no party of call {self.call_id}; announce it with join first"
            ) from None

    def _settle(self) -> None:
        """What the state of one, or a pause, means for all."""
        waiting = self.rules.joiner == "all" and any(party.state in OPEN for party in self._parties.values())
        for leg, party in self._parties.items():
            if self._paused and party.state in PERMITTED | {State.SUSPENDED_BY_JOINER}:
                self._move(leg, Event.PAUSE)
            elif waiting and party.state in PERMITTED:
                self._move(leg, Event.JOINER)
            elif not waiting and party.state is State.SUSPENDED_BY_JOINER:
                self._move(leg, Event.JOINER_CLEARED)

    def _move(self, leg: LegHandle, event: Event) -> None:
        party = self._party(leg)
        key = (party.state, event)
        if key not in TRANSITIONS:
            self.ignored[event] += 1
            return
        before, after = party.state, TRANSITIONS[key] or party.permitted_as
        if after in PERMITTED:
            party.permitted_as = after
        party.state = after
        if self._on_transition is not None:
            self._on_transition(leg, before, after)


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
