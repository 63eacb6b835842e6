"""The words around a leg: its states, who is at its other end, and what it tells the call that owns it."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mediaserver.model import DtmfSource, Masked
from mediaserver.sip.session import ReferReceived

if TYPE_CHECKING:
    from mediaserver.calls.call import Call
    from mediaserver.calls.leg import Leg


class LegState(enum.StrEnum):
    """incoming: NEW → RINGING → ANSWERED → ENDED; outgoing: NEW → CALLING → RINGING → ANSWERED → ENDED."""

    NEW = "new"
    CALLING = "calling"
    RINGING = "ringing"
    ANSWERED = "talking"
    ENDED = "ended"


class LegOwner(Protocol):
    """The call: told of what its legs do. All but `leg_refers` return at once."""

    call_id: str

    def as_call(self) -> Call:
        """For who moves legs between calls."""
        ...

    def leg_moved(self, leg: Leg) -> None:
        """Ringing, early media, answered or ended."""

    def leg_streams(self, leg: Leg) -> None:
        """A stream was negotiated and is in effect."""

    def leg_held(self, leg: Leg) -> None:
        """`leg.held` changed."""

    def leg_digit(self, leg: Leg, digit: str, source: DtmfSource) -> None: ...

    def leg_silent(self, leg: Leg) -> None:
        """`leg.voice.silent` or what silence means for it changed."""

    def leg_refers(self, leg: Leg, event: ReferReceived) -> None: ...


@dataclass(frozen=True, slots=True)
class Party:
    """Who is at the other end of a leg."""

    number: Masked
    identity: str | None = None  # user name or "trunk:NAME"
