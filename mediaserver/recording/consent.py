"""Who may be recorded, from when, and why: the states of each party, the evidence, and the tokens that open taps.

Owns the state table (docs/recording-and-consent.md draws it), the rule that one party without permission silences the
capture of all, and the seal that makes a token impossible to invent elsewhere. Plays no prompts and opens no taps.
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
from mediaserver.model import ConsentToken, LegHandle, Masked

PURPOSE = "recording"
POLICY = "announce-and-stay"  # heard the notice to its end and stayed on the line


class State(enum.StrEnum):
    """Per party and purpose."""

    UNKNOWN = "unknown"  # there, and has heard nothing yet
    NOTICE_PLAYING = "notice_playing"
    NOTICE_DELIVERED = "notice_delivered"  # heard to its end
    NOTICE_FAILED = "notice_failed"  # broke off: replay it
    IMPLIED = "implied"  # stayed on the line after the notice
    GRANTED = "granted"  # said yes: key, word, click, prior contract
    DENIED = "denied"  # said no; the call goes on unrecorded
    PAUSED = "paused"  # card data and the like
    WITHDRAWN = "withdrawn"  # said no later
    SUSPENDED_BY_JOINER = "suspended_by_joiner"  # somebody joined who has not heard the notice
    EXPIRED = "expired"  # retention is over, the channel is destroyed


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
    (State.WITHDRAWN, Event.RETENTION_OVER): State.EXPIRED,
}


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


class ConsentAuthority:
    """Seals and checks tokens. One per process; the key never leaves it and dies with it."""

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key if key is not None else secrets.token_bytes(32)

    def verify(self, token: ConsentToken) -> bool:
        """True if this authority sealed exactly this token. What the media engine asks before it opens a tap."""
        return hmac.compare_digest(
            token.seal, self._sealed(token.call_id, token.leg, token.evidence_id, token.granted_at_ns)
        )

    def open_call(self, call_id: str, on_transition: Callable[[State, State], None] | None = None) -> CallConsent:
        return CallConsent(self, call_id, on_transition)

    def _grant(self, call_id: str, leg: LegHandle, evidence_id: str, now_ns: int) -> ConsentToken:
        """For CallConsent only: it alone knows that everybody present has heard the notice."""
        return ConsentToken(call_id, leg, evidence_id, now_ns, self._sealed(call_id, leg, evidence_id, now_ns))

    def _sealed(self, call_id: str, leg: int, evidence_id: str, granted_at_ns: int) -> bytes:
        # Lengths in front keep two texts from sharing one concatenation.
        parts = (call_id.encode("utf-8", "surrogatepass"), evidence_id.encode("utf-8", "surrogatepass"))
        text = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._key, text + f"|{leg}|{granted_at_ns}".encode(), sha256)


@dataclass(slots=True)
class _Party:
    state: State = State.UNKNOWN
    permitted_as: State = State.IMPLIED  # where RESUME and JOINER_CLEARED lead back to
    evidence: Evidence | None = None


class CallConsent:
    """The parties of one call. Changes by its methods only; `may_capture` is the one question the recorder asks."""

    def __init__(
        self, authority: ConsentAuthority, call_id: str, on_transition: Callable[[State, State], None] | None = None
    ) -> None:
        self._authority = authority
        self._on_transition = on_transition
        self._parties: dict[LegHandle, _Party] = {}
        self.call_id = call_id
        self.ignored: Counter[Event] = Counter()  # events that had no line in the table

    def join(self, leg: LegHandle) -> None:
        """A party is there who has heard nothing: from this call on nobody is captured until it has."""
        if leg in self._parties:
            return
        self._parties[leg] = _Party()
        for other in self._parties.values():
            if other.state in PERMITTED:
                self._move(other, Event.JOINER)

    def leave(self, leg: LegHandle) -> None:
        """A party is gone; if it was the last without permission, the others may be captured again."""
        self._parties.pop(leg, None)
        self._clear_joiners()

    def happens(self, leg: LegHandle, event: Event) -> State:
        """Applies one event to one party. Raises ConsentError for a party that is not there."""
        party = self._party(leg)
        self._move(party, event)
        self._clear_joiners()
        return party.state

    def delivered(self, evidence: Evidence) -> None:
        """The party heard the notice to its end and stayed: NOTICE_DELIVERED, then IMPLIED on this evidence."""
        party = self._party(evidence.leg)
        if evidence.call_id != self.call_id or evidence.ended_ns < evidence.started_ns or not evidence.prompt_sha256:
            raise ConsentError(
                f"evidence {evidence.evidence_id} does not prove a notice in call {self.call_id}: it must name this "
                "call, the prompt's SHA-256 and an end after its start"
            )
        if party.state in (State.UNKNOWN, State.NOTICE_PLAYING, State.NOTICE_FAILED):
            party.evidence = evidence
        self._move(party, Event.NOTICE_ENDED)
        self._move(party, Event.STAYED)
        self._clear_joiners()

    def state(self, leg: LegHandle) -> State:
        return self._party(leg).state

    def evidence(self, leg: LegHandle) -> Evidence:
        """What the party's permission rests on. Raises ConsentError if there is nothing."""
        evidence = self._party(leg).evidence
        if evidence is None:
            raise ConsentError(f"leg {leg:#x} of call {self.call_id} has heard no notice")
        return evidence

    def parties(self) -> tuple[LegHandle, ...]:
        return tuple(self._parties)

    @property
    def may_capture(self) -> bool:
        """Somebody is there and everybody there is in a permitted state with evidence for it."""
        return bool(self._parties) and all(p.state in PERMITTED and p.evidence for p in self._parties.values())

    def token(self, leg: LegHandle, now_ns: int) -> ConsentToken:
        """A sealed token for one leg. Raises ConsentError unless every party present may be captured now."""
        party = self._party(leg)
        blocking = [f"leg {other:#x} is {p.state}" for other, p in self._parties.items() if p.state not in PERMITTED]
        if blocking or party.evidence is None:
            raise ConsentError(
                f"call {self.call_id}: no token for leg {leg:#x} while {', '.join(blocking) or 'it has no evidence'}; "
                "every party present must have heard the notice to its end"
            )
        if now_ns < max(p.evidence.ended_ns for p in self._parties.values() if p.evidence):
            raise ConsentError(f"call {self.call_id}: a token cannot be older than the notice it rests on")
        return self._authority._grant(self.call_id, leg, party.evidence.evidence_id, now_ns)

    def _party(self, leg: LegHandle) -> _Party:
        try:
            return self._parties[leg]
        except KeyError:
            raise ConsentError(
                f"leg {leg:#x} is no party of call {self.call_id}; announce it with join first"
            ) from None

    def _clear_joiners(self) -> None:
        waiting = (State.UNKNOWN, State.NOTICE_PLAYING, State.NOTICE_DELIVERED, State.NOTICE_FAILED)
        if any(party.state in waiting for party in self._parties.values()):
            return
        for party in self._parties.values():
            if party.state is State.SUSPENDED_BY_JOINER:
                self._move(party, Event.JOINER_CLEARED)

    def _move(self, party: _Party, event: Event) -> None:
        key = (party.state, event)
        if key not in TRANSITIONS:
            self.ignored[event] += 1
            return
        before, after = party.state, TRANSITIONS[key] or party.permitted_as
        if after in PERMITTED:
            party.permitted_as = after
        party.state = after
        if self._on_transition is not None:
            self._on_transition(before, after)
