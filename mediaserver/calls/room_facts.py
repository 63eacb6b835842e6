"""What is known of a room and its participants, and who may direct it. Plain values; `conference` fills them."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mediaserver.model import Masked


@dataclass(frozen=True, slots=True)
class ParticipantFacts:
    """participant: its id everywhere, also the a=msid stream by which its pictures reach other browsers."""

    call_id: str
    leg_id: str
    number: Masked
    muted: bool
    speaking: bool
    participant: str = ""
    name: str = ""  # as its device calls it
    moderator: bool = False
    held: bool = False
    camera: bool = False  # it sends pictures that others may see
    screen: bool = False
    hidden: bool = False  # its pictures are muted


@dataclass(frozen=True, slots=True)
class RoomFacts:
    name: str
    recording_id: str | None
    participants: tuple[ParticipantFacts, ...]
    locked: bool = False


class Action(enum.StrEnum):
    """What a moderator can do; the last two concern the room, the others one participant."""

    MUTE = "mute"
    UNMUTE = "unmute"
    HIDE = "hide"
    SHOW = "show"
    KICK = "kick"
    LOCK = "lock"
    UNLOCK = "unlock"


OWN = frozenset({Action.MUTE, Action.UNMUTE, Action.HIDE, Action.SHOW})  # what anybody may do to himself


class Outcome(enum.StrEnum):
    DONE = "done"
    FORBIDDEN = "forbidden"  # the actor is no moderator
    MISSING = "missing"  # no such room or participant


def is_moderator(
    identity: str | None,
    rights: frozenset[str] | None,
    options: Mapping[str, Any],
    identities: Sequence[str | None],
) -> bool:
    """By a token's right; else by the rule's `options.moderators`; else whoever is the first user we know by name.

    identities: of all participants, in the order they came to the door.
    """
    if rights is not None:
        return "moderate" in rights
    named = options.get("moderators")
    if isinstance(named, list):
        return identity is not None and identity in named
    first = next((name for name in identities if name is not None and not name.startswith("trunk:")), None)
    return identity is not None and identity == first
