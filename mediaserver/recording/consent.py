"""Who may be recorded, from when, and why: the states of each party, the evidence, and the tokens that open taps.

Owns the state table (docs/recording-and-consent.md draws it), what one party's state means for the others, and the seal
that makes a token impossible to invent elsewhere. Plays no prompts and opens no taps.
"""

from __future__ import annotations

import enum
import hmac
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256

from mediaserver.errors import ConsentError
from mediaserver.model import ConsentToken, LegHandle
from mediaserver.model_consent import DEFAULT_RULES, ConsentRules
from mediaserver.model_consent import ConsentState as State
from mediaserver.recording.evidence import PURPOSE as PURPOSE
from mediaserver.recording.evidence import Evidence as Evidence


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


OnTransition = Callable[[LegHandle, str, State, State], None]  # leg, purpose, before, after

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
# What a party with several purposes is, said in one word: the first of these that one of them is.
MOST_FIRST = (
    State.GRANTED,
    State.IMPLIED,
    State.PAUSED,
    State.SUSPENDED_BY_JOINER,
    State.NOTICE_PLAYING,
    State.NOTICE_DELIVERED,
    State.UNKNOWN,
    State.NOTICE_FAILED,
    State.WITHDRAWN,
    State.DENIED,
    State.EXPIRED,
)


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
class _Held:
    """One purpose of one party."""

    state: State = State.UNKNOWN
    permitted_as: State = State.IMPLIED  # where RESUME and JOINER_CLEARED lead back to
    evidence: Evidence | None = None


class CallConsent:
    """The parties of one call, each with every purpose. Changes by its methods only.

    `may_capture` is the one question the recorder asks: a party is captured while at least one purpose permits it.
    """

    def __init__(
        self,
        authority: ConsentAuthority,
        call_id: str,
        rules: ConsentRules = DEFAULT_RULES,
        on_transition: OnTransition | None = None,
    ) -> None:
        self._authority = authority
        self._on_transition = on_transition
        self._asks = {one.name: one.ask for one in rules.each()}
        self._parties: dict[LegHandle, dict[str, _Held]] = {}
        self._paused = False
        self.call_id = call_id
        self.rules = rules
        self.ignored: Counter[Event] = Counter()  # events that had no line in the table

    def join(self, leg: LegHandle) -> None:
        """A party is there who has heard nothing; again: it is unknown anew, whatever it said before."""
        before = self._parties.get(leg, {})
        self._parties[leg] = {purpose: _Held() for purpose in self._asks}
        for purpose, held in before.items():
            if held.state is not State.UNKNOWN and self._on_transition is not None:
                self._on_transition(leg, purpose, held.state, State.UNKNOWN)
        self._settle()

    def leave(self, leg: LegHandle) -> None:
        """A party is gone; if it was the last without permission, the others may be captured again."""
        self._parties.pop(leg, None)
        self._settle()

    def happens(self, leg: LegHandle, event: Event, purpose: str | None = None) -> State:
        """Applies one event to one party; to one purpose, or all. Raises ConsentError for one that is not there."""
        for name in self._named(leg, purpose):
            self._move(leg, name, event)
        self._settle()
        return self.state(leg, purpose)

    def delivered(self, evidence: Evidence) -> None:
        """The party heard the notice to its end; where its purpose asks for no more, that is IMPLIED by staying.

        Fewer of its packets than the rules ask for: NOTICE_FAILED. Raises ConsentError for what proves no notice.
        """
        leg, purpose = evidence.leg, evidence.purpose
        held = self._held(leg, purpose)
        if evidence.call_id != self.call_id or evidence.ended_ns < evidence.started_ns or not evidence.prompt_sha256:
            raise ConsentError(
                f"evidence {evidence.evidence_id} does not prove a notice in call {self.call_id}: it must name this "
                "call, the prompt's SHA-256 and an end after its start"
            )
        if not self._arrived(evidence):
            if held.state is not State.NOTICE_PLAYING:
                self._move(leg, purpose, Event.NOTICE_STARTED)
            self._move(leg, purpose, Event.NOTICE_BROKEN)
            self._settle()
            return
        if held.state in OPEN:
            held.evidence = evidence
        self._move(leg, purpose, Event.NOTICE_ENDED)
        ask = self._asks[purpose]
        if ask == "announce" or (ask == "stay" and not self.rules.stay_s):
            self._move(leg, purpose, Event.STAYED)
        self._settle()

    def _arrived(self, evidence: Evidence) -> bool:
        fraction = evidence.delivery.fraction
        return self.rules.proof == "sent" if fraction is None else fraction >= self.rules.delivered_fraction

    def reported(self, evidence: Evidence) -> None:
        """What is now known of how its notice arrived: a party that rests on it rests on it as it is here."""
        held = self._parties.get(evidence.leg, {}).get(evidence.purpose)
        if held is not None and held.evidence is not None and held.evidence.evidence_id == evidence.evidence_id:
            held.evidence = evidence

    def stayed(self, leg: LegHandle) -> State:
        """The party is still there, so long after the notice as the rules ask for."""
        for purpose, ask in self._asks.items():
            if ask == "stay":
                self._move(leg, purpose, Event.STAYED)
        self._settle()
        return self.state(leg)

    def agreed(self, evidence: Evidence) -> State:
        """The party said yes to a purpose; from now on that is what its permission rests on.

        Raises ConsentError without a way. Returns the state of that purpose.
        """
        leg, purpose = evidence.leg, evidence.purpose
        held = self._held(leg, purpose)
        if evidence.call_id != self.call_id or not evidence.how:
            raise ConsentError(f"evidence {evidence.evidence_id} does not prove an answer in call {self.call_id}")
        if (held.state, Event.AGREED) in TRANSITIONS:
            held.evidence = evidence
        return self.happens(leg, Event.AGREED, purpose)

    def refused(self, leg: LegHandle, purpose: str | None = None) -> State:
        """The party said no, to one purpose or all: DENIED before it was captured for it, WITHDRAWN after."""
        for name in self._named(leg, purpose):
            self._move(leg, name, Event.REFUSED if self._held(leg, name).state in OPEN else Event.WITHDRAW)
        self._settle()
        return self.state(leg, purpose)

    def pause(self) -> None:
        """Nobody is captured until `resume`, whoever joins or agrees meanwhile."""
        self._paused = True
        self._settle()

    def resume(self) -> None:
        self._paused = False
        for leg, party in self._parties.items():
            for purpose, held in party.items():
                if held.state is State.PAUSED:
                    self._move(leg, purpose, Event.RESUME)
        self._settle()

    @property
    def paused(self) -> bool:
        return self._paused

    def state(self, leg: LegHandle, purpose: str | None = None) -> State:
        """Of one purpose, or the one that permits most: what the party is to whoever knows no purposes."""
        if purpose is not None:
            return self._held(leg, purpose).state
        return min((held.state for held in self._party(leg).values()), key=MOST_FIRST.index)

    def states(self) -> dict[LegHandle, State]:
        return {leg: self.state(leg) for leg in self._parties}

    def purposes(self, leg: LegHandle) -> dict[str, State]:
        """Of each purpose. Raises ConsentError for a party that is not there."""
        return {purpose: held.state for purpose, held in self._party(leg).items()}

    def evidence(self, leg: LegHandle, purpose: str | None = None) -> Evidence:
        """What the party's permission rests on; of no purpose in particular: of the first that permits, or was heard.

        Raises ConsentError if there is nothing.
        """
        found = [held.evidence for name, held in self._party(leg).items() if purpose in (None, name)]
        some = [*self.in_force(leg).values()] if purpose is None else []
        evidence = next((one for one in (*some, *found) if one is not None), None)
        if evidence is None:
            raise ConsentError(f"leg {leg:#x} of call {self.call_id} has heard no notice")
        return evidence

    def parties(self) -> tuple[LegHandle, ...]:
        return tuple(self._parties)

    def may_capture(self, leg: LegHandle) -> bool:
        """Whether this party may be captured now, for whatever. False for one that is not there."""
        return bool(self.in_force(leg))

    def in_force(self, leg: LegHandle) -> dict[str, Evidence]:
        """The purposes this party may be captured for now, and the one piece of evidence each rests on."""
        return {
            purpose: held.evidence
            for purpose, held in self._parties.get(leg, {}).items()
            if held.evidence is not None and self._permits(purpose, held)
        }

    def _permits(self, purpose: str, held: _Held) -> bool:
        if held.state not in PERMITTED or self._asks[purpose] == "never":
            return False
        return self.rules.parties == "each" or all(
            party[purpose].state in PERMITTED for party in self._parties.values()
        )

    def token(self, leg: LegHandle, now_ns: int) -> ConsentToken:
        """A sealed token for one leg. Raises ConsentError unless this party may be captured now."""
        self._party(leg)
        rests_on = list(self.in_force(leg).values())
        if not rests_on:
            states = ", ".join(f"leg {other:#x} is {state}" for other, state in self.states().items())
            raise ConsentError(
                f"call {self.call_id}: no token for leg {leg:#x} while {states}; policy {self.rules.name} lets a party "
                "be captured only with its permission, and only while the others' states allow it"
            )
        if now_ns < max(evidence.ended_ns for evidence in rests_on):
            raise ConsentError(f"call {self.call_id}: a token cannot be older than the notice it rests on")
        return self._authority._grant(self.call_id, leg, rests_on[0].evidence_id, now_ns, self.rules.pictures)

    def _party(self, leg: LegHandle) -> dict[str, _Held]:
        try:
            return self._parties[leg]
        except KeyError:
            raise ConsentError(
                f"leg {leg:#x} is no party of call {self.call_id}; announce it with join first"
            ) from None

    def _held(self, leg: LegHandle, purpose: str) -> _Held:
        try:
            return self._party(leg)[purpose]
        except KeyError:
            raise ConsentError(
                f"policy {self.rules.name} knows no purpose {purpose!r}; known: {', '.join(self._asks)}"
            ) from None

    def _named(self, leg: LegHandle, purpose: str | None) -> tuple[str, ...]:
        if purpose is None:
            return tuple(self._party(leg))
        self._held(leg, purpose)
        return (purpose,)

    def _settle(self) -> None:
        """What the state of one, or a pause, means for all: purpose by purpose."""
        for purpose in self._asks:
            waiting = self.rules.joiner == "all" and any(
                party[purpose].state in OPEN for party in self._parties.values()
            )
            for leg, party in self._parties.items():
                state = party[purpose].state
                if self._paused and state in PERMITTED | {State.SUSPENDED_BY_JOINER}:
                    self._move(leg, purpose, Event.PAUSE)
                elif waiting and state in PERMITTED:
                    self._move(leg, purpose, Event.JOINER)
                elif not waiting and state is State.SUSPENDED_BY_JOINER:
                    self._move(leg, purpose, Event.JOINER_CLEARED)

    def _move(self, leg: LegHandle, purpose: str, event: Event) -> None:
        held = self._held(leg, purpose)
        key = (held.state, event)
        if key not in TRANSITIONS:
            self.ignored[event] += 1
            return
        before, after = held.state, TRANSITIONS[key] or held.permitted_as
        if after in PERMITTED:
            held.permitted_as = after
        held.state = after
        if self._on_transition is not None:
            self._on_transition(leg, purpose, before, after)
