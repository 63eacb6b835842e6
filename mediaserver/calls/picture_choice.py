"""What a viewer with one picture wants to see of a room: whose, and which simulcast stream of it.

Owns the words and who is told when they change. Who may be seen at all is `room_video`'s.
"""

from __future__ import annotations

from collections.abc import Callable


def _nobody() -> None:
    """Until the viewer is in a room."""


class PictureChoice:
    """participant: id, user or shown name; "": a shared screen, else who speaks. layer: a RID (RFC 8851); "": the best.

    A layer that the picture shown does not have is no wish: what fits is shown.
    """

    def __init__(self, participant: str = "", layer: str = "") -> None:
        self.participant = participant
        self.layer = layer
        self.on_change: Callable[[], None] = _nobody  # set by the room

    def change(self, participant: str, layer: str) -> None:
        if (participant, layer) != (self.participant, self.layer):
            self.participant, self.layer = participant, layer
            self.on_change()

    def forget(self) -> None:
        """The viewer has left the room."""
        self.on_change = _nobody
