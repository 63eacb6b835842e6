"""A supervisor listens to a running call: a leg that hears both parties and is heard by none.

Owns that leg, whether it may be there, and when it must go. Listening rests on the consent that the recording has: the
call is being recorded by a policy with `supervision`, and every party may be captured now. Who withdraws, a pause for
card data, a newcomer, the end of recording or of the call: the listener is out, at once or at the next look. It is no
party, and no call: nobody is told of it here. Whoever lets it in logs who listened.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import secrets
from typing import TYPE_CHECKING, Final

import structlog

from mediaserver.calls.bridge import Conversation
from mediaserver.calls.house import House
from mediaserver.calls.leg import Leg
from mediaserver.calls.parties import Party
from mediaserver.calls.ports import Session
from mediaserver.calls.tasks import TaskGroup, finish
from mediaserver.errors import MediaError, NegotiationError, NoPortFree, ParseError
from mediaserver.limits import LISTENERS_PER_CALL_MAX
from mediaserver.model import DtmfSource, Masked
from mediaserver.model_consent import ConsentState
from mediaserver.sip.session import ReferReceived

if TYPE_CHECKING:
    from mediaserver.calls.call import Call

log = structlog.get_logger()
LOOK_S = 0.2  # how often what nobody tells of is looked at: a recording that ended, a call that is over
HEARD: Final = frozenset({ConsentState.IMPLIED, ConsentState.GRANTED})  # as for capture


def conversation_of(call: Call) -> Conversation | None:
    """Two parties who talk; None in a room, with a program, or while it rings."""
    for leg in call.legs:
        if isinstance(leg.conversation, Conversation) and len(leg.conversation.legs) >= 2:
            return leg.conversation
    return None


def why_not(house: House, call: Call) -> str:
    """ "": it may be listened to now. Else "no_talk", "not_recorded", "policy" or "consent"."""
    conversation = None if call.ending else conversation_of(call)
    if conversation is None:
        return "no_talk"
    recordings = [one for leg in conversation.legs for one in house.desk.recordings(leg.call_id)]
    if not recordings:
        return "not_recorded"
    if not all(recording.supervision for recording in recordings):
        return "policy"
    states = [house.desk.states(leg.call_id).get(leg.leg_id) for leg in conversation.legs]
    return "" if all(state in HEARD for state in states) else "consent"


class Listening:
    """One listener. `run` drives it to its end; `end` makes that happen from outside."""

    def __init__(self, call_id: str, session: Session, house: House, target: Call) -> None:
        self.call_id = call_id
        self.target = target
        self.context = contextvars.copy_context()
        self.context.run(structlog.contextvars.bind_contextvars, call_id=call_id)
        self.ending = False
        self._house = house
        self._session = session
        self._tasks = TaskGroup(self.context)
        self._status = 0
        self._reason = ""
        self._look = asyncio.Event()
        party = Party(Masked(session.caller_user))
        self._leg = Leg("1", "listener", party, self, house, house.policy(None), self._tasks)
        self._leg.attach(session)

    # -- life

    async def run(self) -> None:
        """Everything is closed when it returns."""
        try:
            await self._listen()
        except (ParseError, NegotiationError) as error:
            self.end(str(error), error.status)
        except (NoPortFree, MediaError) as error:
            log.warning("nobody can listen", error=str(error))
            self.end("media", 503)
        except Exception as error:
            log.error("listening failed", error=repr(error))
            self.end("failed", 500)
        finally:
            self.end("over")
            await finish(self._close())

    def end(self, reason: str, status: int = 480) -> None:
        """The first reason given stays. status: if it was not answered yet."""
        if not self.ending:
            self.ending = True
            self._status, self._reason = status, reason
            self._look.set()

    async def _listen(self) -> None:
        conversation = conversation_of(self.target)
        why = why_not(self._house, self.target)
        if conversation is None or why:
            self.end(why or "no_talk", 403)
            return
        await self._leg.prepare(conversation.legs[0].voice.handle)
        await self._leg.answer()
        self._house.desk.listeners.append(self._consent_changed)
        try:
            if self._may(conversation):
                await conversation.let_listen(self._leg)
                log.info("somebody listens", listens_to=self.target.call_id)
            while self._may(conversation):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_S):
                        await self._look.wait()
                self._look.clear()
        finally:
            self._house.desk.listeners.remove(self._consent_changed)
            await conversation.end_listening(self._leg)

    def _may(self, conversation: Conversation) -> bool:
        """It goes on; else it is ended here."""
        if self._leg.is_over:
            self.end("left")
        why = why_not(self._house, self.target)
        if why or conversation_of(self.target) is not conversation:
            self.end(why or "no_talk", 403)
        return not self.ending

    def _consent_changed(self, call_id: str, leg_id: str, state: ConsentState) -> None:
        conversation = conversation_of(self.target)
        parties = conversation.legs if conversation is not None else ()
        if state not in HEARD and any((leg.call_id, leg.leg_id) == (call_id, leg_id) for leg in parties):
            self.end("consent", 403)

    async def _close(self) -> None:
        if not self._leg.answered and not self._leg.is_over:
            self._leg.reject(self._status)
        await self._leg.close()
        await self._tasks.close()
        log.info("nobody listens any more", listened_to=self.target.call_id, reason=self._reason)

    # -- LegOwner: a listener says nothing, so nothing of it concerns anybody

    def as_call(self) -> Call:
        raise LookupError("a listener is no call")

    def leg_moved(self, leg: Leg) -> None:
        self._look.set()

    def leg_streams(self, leg: Leg) -> None:
        pass

    def leg_held(self, leg: Leg) -> None:
        pass

    def leg_digit(self, leg: Leg, digit: str, source: DtmfSource) -> None:
        pass

    def leg_silent(self, leg: Leg) -> None:
        """Of course it is."""

    def leg_refers(self, leg: Leg, event: ReferReceived) -> None:
        pass


class Listeners:
    """All of them, whichever call they listen to."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._running: dict[asyncio.Task[None], Listening] = {}

    def why_not(self, call: Call) -> str:
        """As `why_not`; and "full"."""
        if sum(one.target is call for one in self._running.values()) >= LISTENERS_PER_CALL_MAX:
            return "full"
        return why_not(self._house, call)

    def add(self, call: Call, session: Session) -> None:
        """Takes the session over before returning; one that may not listen is rejected."""
        why = self.why_not(call)
        if why:
            session.on_event = lambda _event: None
            session.reject(403, why)
            return
        one = Listening(secrets.token_hex(8), session, self._house, call)
        task = asyncio.get_running_loop().create_task(one.run(), name=f"listener {one.call_id}", context=one.context)
        self._running[task] = one
        task.add_done_callback(self._running.pop)

    async def close(self) -> None:
        for one in self._running.values():
            one.end("over", 503)
        if self._running:
            await asyncio.wait(list(self._running))
