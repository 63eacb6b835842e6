"""The vocabulary of consent: states of a party, its answers, and the rules that cover a call. Plain values.

What the states mean and which event leads where is `recording.consent`'s; where the rules are written, its policies'.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from mediaserver.model import Masked


class ConsentState(enum.StrEnum):
    """Per party and purpose."""

    UNKNOWN = "unknown"  # there, and has heard nothing yet
    NOTICE_PLAYING = "notice_playing"
    NOTICE_DELIVERED = "notice_delivered"  # heard to its end
    NOTICE_FAILED = "notice_failed"  # broke off, or did not arrive: replay it
    IMPLIED = "implied"  # stayed on the line after the notice
    GRANTED = "granted"  # said yes: key, word, click, prior contract
    DENIED = "denied"  # said no; the call goes on, without its channel
    PAUSED = "paused"  # card data and the like
    WITHDRAWN = "withdrawn"  # said no later
    SUSPENDED_BY_JOINER = "suspended_by_joiner"  # somebody joined who has not heard the notice
    EXPIRED = "expired"  # retention is over, the channel is destroyed


class Answer(enum.StrEnum):
    """What a party, or somebody on its behalf, says."""

    GRANTED = "granted"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"


class Said(NamedTuple):
    """One answer of a party, and how it was given."""

    answer: Answer
    how: str
    detail: dict[str, str]
    purposes: tuple[str, ...] = ()  # (): all


Ask = Literal["announce", "stay", "press", "prior", "never"]


@dataclass(frozen=True, slots=True)
class PurposeRules:
    """What a recording is for, and how it is asked for. Of a policy that names none, the policy itself is the one."""

    name: str
    ask: Ask | None = None  # None, here and below: as the policy
    agree_key: str = ""  # ask "press"; "": as the policy. One key may say yes to several
    lawful_basis: str = ""
    retention_days: int | None = None  # 0: until somebody deletes it
    listeners: tuple[str, ...] = ()  # roles of the review page that may hear what is kept for this alone; (): all


@dataclass(frozen=True, slots=True)
class ConsentRules:
    """What one policy asks for. config/consent/*.toml explains each."""

    name: str
    ask: Ask = "stay"
    prompt: str = "recording-notice"
    stay_s: float = 0.0  # ask "stay": so long after the notice's end the party must still be there
    agree_key: str = "1"  # ask "press"
    refuse_key: str = "2"
    answer_s: float = 10.0  # ask "press": after it silence is a no
    prior_for_users: bool = False  # our own users agreed in their contract of work: they hear no notice
    parties: Literal["each", "all"] = "each"  # all: nobody is captured while one of them may not be
    joiner: Literal["all", "joiner"] = "all"  # who is not captured while a newcomer has not heard the notice
    after_hold: Literal["notice", "go_on"] = "notice"  # who comes back from hold is unknown again
    withdrawal: Literal["from_now", "retroactive"] = "from_now"  # retroactive: the channel's key is destroyed
    on_failure: Literal["open", "closed"] = "open"  # closed: who cannot be recorded is told and not connected
    proof: Literal["sent", "rtcp"] = "sent"  # rtcp: only what the party's own report confirms counts as delivered
    proof_s: float = 6.0  # how long such a report is waited for
    delivered_fraction: float = 0.95  # of the notice's packets; fewer: it is played again
    supervision: bool = False  # supervisors may listen live while all parties may be captured; the notice must say so
    lawful_basis: str = "legitimate_interests"  # words of draft-howe-vcon-lawful-basis
    jurisdiction: str = ""
    purpose: str = "recording"
    purposes: tuple[PurposeRules, ...] = ()  # several; each party may permit one and refuse another
    pictures: bool = True  # who may be captured, may be seen: camera and screen are recorded beside the sound
    retention_days: int = 0  # 0: until somebody deletes it

    def each(self) -> tuple[PurposeRules, ...]:
        """The purposes, with nothing left open."""
        own = self.purposes or (PurposeRules(self.purpose),)
        return tuple(
            PurposeRules(
                one.name,
                self.ask if one.ask is None or self.ask == "never" else one.ask,
                one.agree_key or self.agree_key,
                one.lawful_basis or self.lawful_basis,
                self.retention_days if one.retention_days is None else one.retention_days,
                one.listeners,
            )
            for one in own
        )

    def asking(self, *asks: Ask) -> tuple[str, ...]:
        """Names of the purposes that are asked for in one of these ways."""
        return tuple(one.name for one in self.each() if one.ask in asks)


DEFAULT_RULES = ConsentRules("announce-and-stay")


@dataclass(frozen=True, slots=True)
class ConsentCase:
    """What decides which policy covers a call."""

    policy: str | None = None  # named by the routing rule: wins
    route: str | None = None
    trunk: str | None = None
    direction: Literal["in", "out", "inside"] = "inside"
    numbers: tuple[Masked, ...] = field(default=())
