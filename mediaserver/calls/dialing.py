"""Dialling out: rings all branches at once, first answer wins. Owns the fork, its timeout and the best final status.

Status of a failed fork by RFC 3261 §16.7: a 6xx ends it, else the lowest class, the caller-helping 4xx first. Every
branch is a leg of its own with its own ports and offer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from mediaserver.calls.leg import Leg
from mediaserver.calls.parties import LegState
from mediaserver.calls.targets import Branch
from mediaserver.errors import MediaError, NoPortFree
from mediaserver.limits import FORK_BRANCHES_MAX
from mediaserver.model import Cause
from mediaserver.sdp.formats import Encoding

if TYPE_CHECKING:
    from mediaserver.calls.call import Call

log = structlog.get_logger()
_HELPFUL = (415, 420, 484, 486, 480)  # what a caller can act on, before the rest of the 4xx
_SECURITY_REFUSED = (488, 606)  # a device that insists on RTP/SAVP answers so to RTP/AVP with keys
NO_ANSWER = 480


@dataclass(frozen=True, slots=True)
class DialResult:
    """leg: who answered, or None and why nobody did."""

    leg: Leg | None
    status: int = 200
    reason: str = ""
    cause: Cause | None = None

    @property
    def answered(self) -> bool:
        return self.leg is not None


# To the phones that ring on when another has answered: no call was missed. RFC 3326 §2.
ELSEWHERE = (("Reason", 'SIP;cause=200;text="Call completed elsewhere"'),)


class Dialer:
    """One fork. `progress` is awaited for a leg that rings or sends early media, whenever that is news."""

    def __init__(
        self,
        call: Call,
        branches: Sequence[Branch],
        timeout_s: float,
        *,
        near: Leg,
        prefer: Sequence[Encoding],
        caller: tuple[str, str],
        progress: Callable[[Leg], Awaitable[None]],
    ) -> None:
        """caller: number and display name shown to the called party."""
        self._call = call
        self._branches = branches[:FORK_BRANCHES_MAX]
        self._timeout_s = timeout_s
        self.near = near
        self.prefer = prefer
        self._caller = caller
        self._progress = progress
        self._legs: list[tuple[Leg, Branch]] = []
        self._picked_up: Leg | None = None
        self._over = False
        self._retried: set[Branch] = set()
        self._told: set[tuple[str, bool]] = set()
        self._statuses: list[int] = []
        self._reason: dict[int, str] = {}

    async def run(self) -> DialResult:
        """Returns when somebody answered, all failed or the time is over; every other branch has been cancelled."""
        winner: Leg | None = None
        moved = self._call.legs.watch()
        self._call.legs.forks.append(self)
        try:
            async with asyncio.timeout(self._timeout_s):
                for branch in self._branches:
                    await self._start(branch)
                while (winner := await self._look()) is None and self._legs:
                    await moved.wait()
                    moved.clear()
        except TimeoutError:
            return DialResult(None, NO_ANSWER, "No Answer", Cause.NO_ANSWER)
        finally:
            self._over = True
            self._call.legs.forks.remove(self)
            self._call.legs.unwatch(moved)
            for leg, _ in self._legs:
                if leg is not winner:
                    leg.hang_up(Cause.CANCELLED, ELSEWHERE if winner is not None else ())
                    self._call.legs.drop_soon(leg)
        if winner is not None:
            return DialResult(winner)
        status = best_status(self._statuses)
        return DialResult(None, status, self._reason.get(status, ""), Cause.REJECTED)

    def rings(self, leg: Leg) -> bool:
        """Whether it is one of the branches that have not answered."""
        return any(leg is other for other, _ in self._legs)

    def pick_up(self, leg: Leg) -> bool:
        """A leg that has been answered already wins; False: too late."""
        if self._over or self._picked_up is not None:
            return False
        self._picked_up = leg
        self._call.legs.moved()
        return True

    async def _start(self, branch: Branch, *, secure: bool = False) -> None:
        leg = self._call.legs.new("callee", branch.party, trunk=branch.trunk, secure_offer=secure)
        if leg is None:
            self._failed(503, "Too Many Legs")
            return
        self._legs.append((leg, branch))
        try:
            await leg.call_out(
                branch.target,
                caller_user=self._caller[0],
                caller_name=self._caller[1],
                called_user=branch.called_user,
                trunk=branch.trunk,
                prefer=self.prefer,
                near=self.near.voice.handle or None,
                video=self.near.video.wishes(),
            )
        except NoPortFree as error:
            log.error("a device could not be rung: no media port is free", error=str(error))
            self._give_up(leg, branch, 503)
        except MediaError as error:
            log.error("a device could not be rung", error=str(error))
            self._give_up(leg, branch, 500)

    async def _look(self) -> Leg | None:
        """Takes stock of all branches: the one that answered, or None after handling the others' news."""
        if self._picked_up is not None:
            return self._picked_up
        for leg, _ in self._legs:
            if leg.answered:
                return leg
        for leg, branch in list(self._legs):
            if leg.is_over and (leg, branch) in self._legs:  # a 6xx before it may have removed it
                await self._branch_over(leg, branch)
        for leg, _ in self._legs:
            news = (leg.leg_id, leg.early)
            if leg.state is LegState.RINGING and news not in self._told:
                self._told.add(news)
                await self._progress(leg)
        return None

    async def _branch_over(self, leg: Leg, branch: Branch) -> None:
        self._give_up(leg, branch, leg.status or 500)
        if leg.status >= 600:  # RFC 3261 §16.7 step 5: nobody else shall ring on
            for other, other_branch in list(self._legs):
                other.hang_up(Cause.CANCELLED)
                self._give_up(other, other_branch, 487)
        elif leg.status in _SECURITY_REFUSED and leg.policy.srtp == "optional" and branch not in self._retried:
            self._retried.add(branch)
            self._statuses.pop()
            await self._start(branch, secure=True)

    def _give_up(self, leg: Leg, branch: Branch, status: int) -> None:
        self._legs.remove((leg, branch))
        self._failed(status, leg.reason)
        self._call.legs.drop_soon(leg)

    def _failed(self, status: int, reason: str) -> None:
        self._statuses.append(status)
        self._reason.setdefault(status, reason)


def best_status(statuses: Sequence[int]) -> int:
    """The final status for the caller out of all branches' (RFC 3261 §16.7 step 6).

    A challenge or redirection met by us is nobody else's business, nor is our 487: they count as 480.
    """
    usable = [status if status >= 400 and status not in (401, 407, 408, 487) else NO_ANSWER for status in statuses]
    if not usable:
        return NO_ANSWER
    sixes = [status for status in usable if status >= 600]
    if sixes:
        return min(sixes)
    fours = [status for status in usable if status < 500]
    for status in _HELPFUL:
        if status in fours:
            return status
    return min(fours or usable)
