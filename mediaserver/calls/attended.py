"""Attended transfer, RFC 3515, 3891 and 5589 §7: a party of two calls connects those it talks to and leaves.

Owns one REFER that names another call of the same party, from its 202 to the last NOTIFY. Both calls are here, so
nobody is called anew: the target's leg goes over to the call of the transferee. Whoever is connected so is unknown to
that call's recording and hears its notice, alone. Where one side is a program or a room, the other side goes there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from mediaserver.calls.bridge import Conversation
from mediaserver.calls.introducing import introduce
from mediaserver.calls.leg import Leg
from mediaserver.calls.transfer import Transfer
from mediaserver.errors import MediaServerError
from mediaserver.model import Cause

if TYPE_CHECKING:
    from mediaserver.calls.call import Call

log = structlog.get_logger()
_NO_SUCH_CALL = 481
_TRANSFERRED = "transferred"


@dataclass(frozen=True, slots=True)
class _Side:
    """One of the transferor's two calls. peer: whom it talks to there; None: a program, a room, or nobody yet."""

    call: Call
    leg: Leg
    conversation: Conversation | None
    peer: Leg | None
    alone: bool  # no conversation has begun: one whose peer has just hung up is none to go on with

    @classmethod
    def of(cls, call: Call, leg: Leg) -> _Side:
        conversation = leg.conversation if isinstance(leg.conversation, Conversation) else None
        others = conversation.others(leg) if conversation is not None else []
        talking = [other for other in others if other.answered]
        alone = conversation is None or (bool(others) and not talking)  # it may hear the ringing of who is called
        return cls(call, leg, conversation, talking[0] if len(talking) == 1 else None, alone)

    @property
    def is_programs(self) -> bool:
        """A program drives the call for the transferor. That of a conversation counts while somebody still rings."""
        route = self.call.route
        if not self.alone or self.call.primary is not self.leg or route is None or self.call.ending:
            return False
        return route.program != "dial" or any(leg is not self.leg and not leg.is_over for leg in self.call.legs)

    def end(self) -> None:
        self.call.end(Cause.LOCAL_HANGUP, self.leg.role, reason=_TRANSFERRED)


class AttendedTransfer(Transfer):
    """Made by the call in whose dialog the REFER came; `run` drives it."""

    async def run(self) -> None:
        """Connects the two and tells the transferor how it went. Raises nothing a peer could cause."""
        found = self._call.house.leg_of(self._event.replaces) if self._event.replaces is not None else None
        if found is None or found.is_over or found.owner is self._call:
            self._notify(_NO_SUCH_CALL)
            return
        here, there = _Side.of(self._call, self._transferor), _Side.of(found.owner.as_call(), found)
        log.info("attended transfer", by=here.leg.leg_id, other_call=there.call.call_id)
        try:
            await self._between(here, there)
        except MediaServerError as error:
            log.warning("transfer failed", error=str(error))
            self._notify(500)

    async def _between(self, here: _Side, there: _Side) -> None:
        if here.peer is not None and there.peer is not None:
            await self._connect_peers(here, there)
        elif here.peer is not None and there.is_programs:
            await self._to_route_of(here, there)
        elif there.peer is not None and here.is_programs:
            await self._bring_here(here, there)
        else:
            self._notify(603, "Nobody To Transfer")

    async def _connect_peers(self, here: _Side, there: _Side) -> None:
        call, transferee, target = self._call, here.peer, there.peer
        assert here.conversation is not None
        assert there.conversation is not None
        assert transferee is not None
        assert target is not None
        if call.primary is self._transferor:  # whoever stays is whose call it is from now on
            call.primary = transferee
        with here.conversation.expecting():
            if not await call.legs.take_in(target, there.call):
                self._notify(480)
                return
            await there.conversation.remove(target)
            there.end()
            if transferee.is_over or not await call.recording.admit(target):
                self._notify(480)
                await call.legs.drop(target)
                return
            await here.conversation.remove(self._transferor)
            await transferee.voice.stop_play()
            await here.conversation.add(target)
            self._notify(200)
            introduce(call.house, transferee, target)
            introduce(call.house, target, transferee)
            await call.legs.drop(self._transferor)

    async def _to_route_of(self, here: _Side, there: _Side) -> None:
        """The other call has nobody to take over: its target still rings (and is called anew), or is no party."""
        route, conversation, transferee = there.call.route, here.conversation, here.peer
        assert route is not None
        assert conversation is not None
        assert transferee is not None
        if route.program == "dial":
            there.end()
            await self._to_party(route, conversation, transferee)
        else:
            await self._to_program(route, conversation, transferee)
            there.end()

    @staticmethod
    async def _bring(side: _Side, elsewhere: _Side) -> None:
        """The peer of one side goes where the other side's program is."""
        assert side.peer is not None
        assert side.conversation is not None
        assert elsewhere.call.route is not None
        with side.conversation.expecting():  # else its program would end, and the call with it
            await side.conversation.remove(side.peer)
            side.call.hand_over(elsewhere.call.route, side.peer)

    async def _bring_here(self, here: _Side, there: _Side) -> None:
        await self._bring(there, here)
        self._notify(200)
        await there.call.legs.drop(there.leg)
        here.end()
