"""Consent by another way: what a careful clerk would allow, and random call scripts on which both must agree.

The clerk keeps no states, only what each party has heard and said; who may be captured follows from that alone.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import get_args

from mediaserver.errors import ConsentError
from mediaserver.model import LegHandle, Masked
from mediaserver.model_consent import Ask, ConsentRules, ConsentState
from mediaserver.model_delivery import Delivery
from mediaserver.recording.consent import PURPOSE, CallConsent, ConsentAuthority, Evidence

PARTIES = tuple(LegHandle(0x100000001 + n) for n in range(4))


@dataclass
class Heard:
    notice: bool = False
    stayed: bool = False
    said: str = ""  # yes, no


@dataclass
class Clerk:
    rules: ConsentRules
    paused: bool = False
    present: dict[LegHandle, Heard] = field(default_factory=dict)

    def willing(self, party: Heard) -> bool:
        if party.said:
            return party.said == "yes"
        if not party.notice:
            return False
        return self.rules.ask == "announce" or (self.rules.ask == "stay" and (party.stayed or not self.rules.stay_s))

    def undecided(self, party: Heard) -> bool:
        return not party.said and not self.willing(party)

    def may_capture(self, leg: LegHandle) -> bool:
        party = self.present.get(leg)
        if party is None or self.paused or self.rules.ask == "never" or not self.willing(party):
            return False
        if self.rules.joiner == "all" and any(map(self.undecided, self.present.values())):
            return False
        return self.rules.parties == "each" or all(map(self.willing, self.present.values()))


def evidence(leg: LegHandle, now: int, *, lost: int = -1, how: str = "notice") -> Evidence:
    return Evidence(f"e{leg}-{now}", "c1", leg, "1", Masked("100"), PURPOSE, "p", ConsentState.IMPLIED, "n", "ab", "en",
                    now, now, 1.0, how, Delivery(100, lost))  # fmt: skip


def draw_rules(draw: random.Random) -> ConsentRules:
    return ConsentRules(
        "p",
        ask=draw.choice(get_args(Ask)),
        stay_s=draw.choice((0.0, 2.0)),
        parties=draw.choice(("each", "all")),
        joiner=draw.choice(("all", "joiner")),
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
            allowed = clerk.may_capture(leg)
            assert consent.may_capture(leg) is allowed, (seed, hex(leg), consent.states(), clerk)
            if leg not in clerk.present:
                continue
            try:
                token = consent.token(leg, now)
            except ConsentError:
                assert not allowed, seed
            else:
                assert allowed, seed
                assert authority.verify(token), seed
                assert consent.evidence(leg).evidence_id == token.evidence_id, seed
                assert token.evidence_id.startswith(f"e{leg}-"), seed
                tokens += 1
    return tokens


def step(draw: random.Random, consent: CallConsent, clerk: Clerk, leg: LegHandle, now: int) -> None:
    party = clerk.present.get(leg)
    action = draw.choice(
        ("join", "join", "hear", "hear", "lost", "stay", "yes", "no", "leave", "pause", "resume", "back")
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
    elif action == "hear":
        consent.delivered(evidence(leg, now, lost=draw.choice((-1, 0, 5))))
        party.notice = True
    elif action == "lost":
        consent.delivered(evidence(leg, now, lost=6))
    elif action == "stay":
        consent.stayed(leg)
        party.stayed = party.stayed or party.notice
    elif action == "yes":
        # A yes of somebody who is permitted already and only waits for others changes nothing.
        waits = consent.state(leg) in (ConsentState.SUSPENDED_BY_JOINER, ConsentState.PAUSED)
        consent.agreed(evidence(leg, now, how="dtmf"))
        party.said = party.said if waits else "yes"
    elif action == "no":
        consent.refused(leg)
        party.said = "no"
