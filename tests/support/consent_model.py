"""Consent by another way: what a careful clerk would allow, and random call scripts on which both must agree.

The clerk keeps no states, only what each party has heard and said; who may be captured follows from that alone.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import get_args

from mediaserver.errors import ConsentError
from mediaserver.model import LegHandle, Masked
from mediaserver.model_consent import Ask, ConsentRules, ConsentState, PurposeRules
from mediaserver.model_delivery import Delivery
from mediaserver.recording.consent import PURPOSE, CallConsent, ConsentAuthority, Evidence

PARTIES = tuple(LegHandle(0x100000001 + n) for n in range(4))


@dataclass
class Heard:
    notice: set[str] = field(default_factory=set)  # purposes it was told of
    stayed: set[str] = field(default_factory=set)  # on the line, long enough after the notice of these
    said: dict[str, str] = field(default_factory=dict)  # purpose: yes, no


@dataclass
class Clerk:
    rules: ConsentRules
    paused: bool = False
    present: dict[LegHandle, Heard] = field(default_factory=dict)

    def willing(self, party: Heard, purpose: PurposeRules) -> bool:
        if purpose.name in party.said:
            return party.said[purpose.name] == "yes"
        if purpose.name not in party.notice:
            return False
        return purpose.ask == "announce" or (
            purpose.ask == "stay" and (purpose.name in party.stayed or not self.rules.stay_s)
        )

    def undecided(self, party: Heard, purpose: PurposeRules) -> bool:
        return purpose.name not in party.said and not self.willing(party, purpose)

    def allowed_for(self, leg: LegHandle) -> set[str]:
        """The purposes this party may be captured for now."""
        party = self.present.get(leg)
        if party is None or self.paused or self.rules.ask == "never":
            return set()
        return {one.name for one in self.rules.each() if self._allowed(party, one)}

    def _allowed(self, party: Heard, purpose: PurposeRules) -> bool:
        if purpose.ask == "never" or not self.willing(party, purpose):
            return False
        everybody = self.present.values()
        if self.rules.joiner == "all" and any(self.undecided(one, purpose) for one in everybody):
            return False
        return self.rules.parties == "each" or all(self.willing(one, purpose) for one in everybody)


def evidence(leg: LegHandle, now: int, purpose: str, *, lost: int = -1, how: str = "notice") -> Evidence:
    return Evidence(f"e{leg}-{purpose}-{now}", "c1", leg, "1", Masked("100"), purpose, "p", ConsentState.IMPLIED, "n",
                    "ab", "en", now, now, 1.0, how, Delivery(100, lost))  # fmt: skip


def draw_rules(draw: random.Random) -> ConsentRules:
    """One purpose, as the policy asks for it, or up to three, each asked for in its own way."""
    several = draw.sample(("quality", "training", "contract"), draw.randrange(4))
    return ConsentRules(
        "p",
        ask=draw.choice(get_args(Ask)),
        stay_s=draw.choice((0.0, 2.0)),
        parties=draw.choice(("each", "all")),
        joiner=draw.choice(("all", "joiner")),
        purpose=PURPOSE,
        purposes=tuple(PurposeRules(name, draw.choice((None, *get_args(Ask)))) for name in several),
    )


def run_script(seed: int) -> int:
    """One random call: join, hear, stay, agree, refuse, hold and come back, transfer, pause, restart. Returns tokens.

    Raises AssertionError, with the seed, where consent and clerk differ, or a token's evidence is not the party's own.
    """
    draw = random.Random(seed)
    authority = ConsentAuthority(b"k" * 32)
    rules = draw_rules(draw)
    consent, clerk = authority.open_call("c1", None, rules), Clerk(rules)
    now, tokens = 100, 0
    for _ in range(draw.randrange(2, 20)):
        now += draw.randrange(1, 5)
        step(draw, consent, clerk, draw.choice(PARTIES), now)
        if draw.random() < 0.02:  # the server restarts: nothing is known of anybody
            consent, clerk = authority.open_call("c1", None, rules), Clerk(rules)
        for leg in PARTIES:
            allowed = clerk.allowed_for(leg)
            in_force = consent.in_force(leg)
            assert set(in_force) == allowed, (seed, hex(leg), consent.states(), clerk)
            assert consent.may_capture(leg) is bool(allowed), seed
            for purpose, rests_on in in_force.items():  # each on one piece of evidence, its own
                assert rests_on.evidence_id.startswith(f"e{leg}-{purpose}-"), seed
            if leg not in clerk.present:
                continue
            try:
                token = consent.token(leg, now)
            except ConsentError:
                assert not allowed, seed
            else:
                assert allowed, seed
                assert authority.verify(token), seed
                assert token.evidence_id in {one.evidence_id for one in in_force.values()}, seed
                tokens += 1
    return tokens


def step(draw: random.Random, consent: CallConsent, clerk: Clerk, leg: LegHandle, now: int) -> None:
    party = clerk.present.get(leg)
    purpose = draw.choice(clerk.rules.each()).name
    action = draw.choice(
        ("join", "join", "hear", "hear", "lost", "stay", "yes", "no", "no_all", "leave", "pause", "resume", "back")
    )
    if action == "join" and party is None:  # a caller, a transfer's target, one more in a conference
        consent.join(leg)
        clerk.present[leg] = Heard()
    elif action == "leave":
        consent.leave(leg)
        clerk.present.pop(leg, None)
    elif action == "pause":
        consent.pause()
        clerk.paused = True
    elif action == "resume":
        consent.resume()
        clerk.paused = False
    elif party is None:
        return
    elif action == "back":  # from hold: whoever speaks there now is unknown
        consent.join(leg)
        clerk.present[leg] = Heard()
    elif action == "hear":  # one notice tells of some purposes or all
        for one in clerk.rules.each()[draw.randrange(2) :] or clerk.rules.each():
            consent.delivered(evidence(leg, now, one.name, lost=draw.choice((-1, 0, 5))))
            party.notice.add(one.name)
    elif action == "lost":
        consent.delivered(evidence(leg, now, purpose, lost=6))
    elif action == "stay":
        consent.stayed(leg)
        party.stayed |= party.notice
    elif action == "yes":
        # A yes of somebody who is permitted already and only waits for others changes nothing.
        waits = consent.state(leg, purpose) in (ConsentState.SUSPENDED_BY_JOINER, ConsentState.PAUSED)
        consent.agreed(evidence(leg, now, purpose, how="dtmf"))
        if not waits:
            party.said[purpose] = "yes"
    elif action == "no":
        consent.refused(leg, purpose)
        party.said[purpose] = "no"
    elif action == "no_all":
        consent.refused(leg)
        party.said.update({one.name: "no" for one in clerk.rules.each()})
