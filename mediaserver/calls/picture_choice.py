"""What a viewer with one picture wants to see of a room: whose, and which simulcast stream of it.

Owns the words and who is told when they change. Who may be seen at all is `room_video`'s.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

BY_NAME: Final = "name:"  # no user's name and no id begins so


class Named(enum.Enum):
    """How many participants a word means."""

    ONE = "one"  # or several devices of one user
    NOBODY = "nobody"
    SEVERAL = "several"  # different people who are shown alike: none of them is meant


@dataclass(frozen=True, slots=True)
class PictureShown:
    """What a viewer is shown now."""

    mid: str  # of its section
    participant: str
    rids: tuple[str, ...]  # the simulcast streams that were agreed with the sender; none: it sends one stream
    rid: str | None  # the one shown; "": there is one stream only; None: the viewer's bandwidth allows none
    streams: tuple[tuple[str, int], ...]  # being sent now: RID, bit/s


def _nobody() -> None:
    """Until the viewer is in a room."""


def _anybody(participant: str) -> Named:
    """Likewise: whom it wants to see may come yet."""
    return Named.ONE


def _nothing() -> PictureShown | None:
    return None


class PictureChoice:
    """participant: an id or an authenticated user; "name:" and a shown name, which anybody may bear: it means the only
    one who is shown so; "": a shared screen, else who speaks. layer: a RID (RFC 8851); "": the best.

    A layer that the picture shown does not have is no wish: what fits is shown.
    """

    def __init__(self, participant: str = "", layer: str = "") -> None:
        self.participant = participant
        self.layer = layer
        self.on_change: Callable[[], None] = _nobody  # these three: set by the room
        self.who_is: Callable[[str], Named] = _anybody
        self.look: Callable[[], PictureShown | None] = _nothing
        self.shown = ""  # id of the participant that a shown name led to: it stays that one while it is there

    def change(self, participant: str, layer: str) -> None:
        if (participant, layer) != (self.participant, self.layer):
            if participant != self.participant:
                self.shown = ""
            self.participant, self.layer = participant, layer
            self.on_change()

    def forget(self) -> None:
        """The viewer has left the room."""
        self.on_change = _nobody
        self.who_is = _anybody
        self.look = _nothing
