"""An INVITE with Replaces, RFC 3891 §3: a party goes on with its conversation on another device, or answers a call that
rings elsewhere.

Owns the way from such an INVITE to the end of the leg it replaces, inside the call that leg is in. The signalling room
has made sure that it may. Until the new leg is through, the old one stays as it is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING

import structlog

from mediaserver.calls.bridge import Conversation
from mediaserver.calls.leg import Leg
from mediaserver.calls.parties import Party
from mediaserver.calls.ports import Session
from mediaserver.errors import MediaError, MediaServerError, NegotiationError, NoPortFree, ParseError
from mediaserver.model import Masked

if TYPE_CHECKING:
    from mediaserver.calls.call import Call
    from mediaserver.calls.dialing import Dialer

log = structlog.get_logger()
_NO_SUCH_CALL = 481


class Takeover:
    """Make one and spawn `run` before the session can say anything."""

    def __init__(self, call: Call, old: Leg, session: Session) -> None:
        self._call = call
        self._old = old
        self._session = session
        identity = session.identity or ""
        trunk = identity.removeprefix("trunk:") if identity.startswith("trunk:") else None
        self._new = call.legs.new(old.role, Party(Masked(session.caller_user), session.identity), trunk=trunk)
        if self._new is not None:
            self._new.attach(session)

    @classmethod
    def begin(cls, call: Call, old: Leg, session: Session) -> None:
        """Takes the session over; returns at once."""
        takeover = cls(call, old, session)
        if takeover._new is None:
            session.on_event = lambda _event: None
            session.reject(_NO_SUCH_CALL)
        else:
            call.tasks.spawn(takeover.run(takeover._new), "takeover")

    async def run(self, new: Leg) -> None:
        """Raises nothing a peer could cause."""
        fork = next((fork for fork in self._call.legs.forks if fork.rings(self._old)), None)
        if fork is not None:
            await self._guarded(new, self._pick_up(fork, new))
            return
        conversation = self._old.conversation if isinstance(self._old.conversation, Conversation) else None
        others = conversation.others(self._old) if conversation is not None else []
        if not self._old.answered or (not others and self._call.primary is not self._old):
            new.reject(_NO_SUCH_CALL)
            return
        log.info("a party goes on elsewhere", leg=self._old.leg_id, new=new.leg_id)
        await self._guarded(new, self._go_on(conversation, others, new))

    @staticmethod
    async def _guarded(new: Leg, work: Awaitable[None]) -> None:
        try:
            await work
        except (ParseError, NegotiationError) as error:
            new.reject(error.status, str(error))
        except (NoPortFree, MediaError) as error:
            log.error("a takeover was refused by the media plane", error=str(error))
            new.reject(503)
        except MediaServerError as error:
            log.warning("takeover failed", error=str(error))
            new.reject(500)

    async def _go_on(self, conversation: Conversation | None, others: Sequence[Leg], new: Leg) -> None:
        await new.prepare(others[0].voice.handle if others else self._old.voice.handle)
        if conversation is not None and others:
            await self._into(conversation, others[0], new)
        else:
            await self._into_program(new)

    async def _pick_up(self, fork: Dialer, new: Leg) -> None:
        """Call pickup: whoever rings is told that another has answered, and the caller is connected to this one."""
        log.info("a ringing call is picked up", leg=self._old.leg_id, new=new.leg_id)
        await new.prepare(fork.near.voice.handle or None)
        await new.answer(fork.prefer)
        if not new.answered or not fork.pick_up(new):
            await self._call.legs.drop(new)

    async def _into(self, conversation: Conversation, other: Leg, new: Leg) -> None:
        call = self._call
        with conversation.expecting():
            await new.answer(other.best)
            if not new.answered or other.is_over or not await call.recording.admit(new):
                await call.legs.drop(new)
                return
            if call.primary is self._old:
                call.primary = new
            await conversation.remove(self._old)
            await conversation.add(new)
            await call.legs.drop(self._old)

    async def _into_program(self, new: Leg) -> None:
        """A program or a room begins anew for the other device."""
        if self._call.route is None:
            new.reject(_NO_SUCH_CALL)
            return
        self._call.hand_over(self._call.route, new)
        await self._call.legs.drop(self._old)
