"""A leg that speaks narrowband and could do better is offered it when it comes to be heard by somebody else.

While a party talks to a narrowband one, both may be relayed in that codec. A transfer, a pick-up, a room or a program
brings a new listener: then the leg gets one re-INVITE with wideband first (RFC 3264 §8.3.2). Owns when that is due and
that it is not asked twice: a party that refuses, or that chooses narrowband again, is left alone. A leg on hold waits
until it is back. Until the answer is in effect, and when there is none, everything goes on as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import structlog

from mediaserver.limits import WIDEN_GLARE_TRIES_MAX, WIDEN_OFFER_S_MAX
from mediaserver.sdp.formats import Encoding

if TYPE_CHECKING:
    from mediaserver.calls.leg import Leg

log = structlog.get_logger()
_CROSSED: Final = 491  # RFC 3261 §14.1; SIP sessions try again by themselves
_AGAIN_S: Final = 2.5  # between 2.1 and 4 s


class Widening:
    """One per leg."""

    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self._other: Leg | None = None  # who alone hears it now
        self._due = False
        self._refused = False
        self._asking = False

    def meets(self, other: Leg) -> None:
        """The two alone hear each other from now on; returns at once. Not due for the first two of a call: they were
        answered with regard to each other.
        """
        here, there = self, other.widening
        if here._turns_to(other) | there._turns_to(self._leg):
            here._due = there._due = True
        self.look()

    def heard_by_all(self) -> None:
        """A room or a program hears it from now on, in full band whoever else does; returns at once."""
        if self._other is not None:
            self._other, self._due = None, True
        self.look()

    def look(self) -> None:
        """Something changed that may have stood in the way: the leg was answered, or came back from hold."""
        if self._due and not self._asking and self._is_free:
            self._leg.tasks.spawn(self._settle(), f"widening {self._leg.leg_id}")

    def _turns_to(self, other: Leg) -> bool:
        former, self._other = self._other, other
        return former is not None and former is not other

    @property
    def _is_free(self) -> bool:
        leg = self._leg
        return leg.answered and leg.takes_offers and not leg.held and not leg.media.hold_wanted

    async def _settle(self) -> None:
        """One after the other, first of whom less is known, so that a refusal of the first spares the second."""
        other = self._other
        if other is None:
            await self._try(None)
            return
        for leg in sorted((self._leg, other), key=lambda leg: bool(leg.media.widest(sure=True))):
            partner = other if leg is self._leg else self._leg
            if leg.widening._other is partner:
                await leg.widening._try(partner)

    async def _try(self, other: Leg | None) -> None:
        if not self._due or self._asking or not self._is_free or (other is not None and other.widening._asking):
            return
        self._due = False
        wished = self._wished(other)
        if not wished or self._refused:
            return
        self._asking = True
        try:
            self._refused = not await self._ask(wished)
        finally:
            self._asking = False

    def _wished(self, other: Leg | None) -> list[Encoding]:
        """What both could speak first, so that they can be relayed. []: the other one makes no use of it."""
        if not self._leg.media.is_narrow:
            return []
        mine = self._leg.media.widest()
        if other is None:
            return list(mine)
        theirs = other.media.widest()
        return [*(e for e in mine if e in theirs), *(e for e in mine if e not in theirs)] if theirs else []

    async def _ask(self, wished: Sequence[Encoding]) -> bool:
        """Returns whether the leg took the offer, whatever it chose."""
        leg = self._leg
        log.info("a party is offered wideband", leg=leg.leg_id, codec=wished[0].name.value)
        try:
            async with asyncio.timeout(WIDEN_OFFER_S_MAX):
                for attempt in range(1, WIDEN_GLARE_TRIES_MAX + 1):
                    if await leg.reoffer(wished, optional=True):
                        log.info(
                            "a party has answered the offer of wideband", leg=leg.leg_id, narrow=leg.media.is_narrow
                        )
                        return True
                    if leg.refusal != _CROSSED or not self._is_free:
                        return False
                    await asyncio.sleep(_AGAIN_S * attempt)
        except TimeoutError:
            log.info("a party did not answer the offer of wideband", leg=leg.leg_id)
        return False
