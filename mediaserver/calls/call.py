"""A call: its legs, the program that drives it, and everything that must be gone when it ends.

Owns the life from the INVITE to the call detail record: route, program, hand-over to another program, end. Every task
and resource of a call hangs on it; `run` returns when all are closed. Programs act through `control.CallControl`.
"""

from __future__ import annotations

import asyncio
import contextvars
import enum
from typing import TYPE_CHECKING

import structlog

from mediaserver.calls.apology import apologise
from mediaserver.calls.attended import AttendedTransfer
from mediaserver.calls.bridge import Conversation
from mediaserver.calls.call_legs import CallLegs
from mediaserver.calls.call_recording import CallRecording
from mediaserver.calls.control import CallControl
from mediaserver.calls.domains import is_for_us
from mediaserver.calls.house import House
from mediaserver.calls.leg import Leg
from mediaserver.calls.library import Program, ProgramLibrary, ProgramMissing, place_of
from mediaserver.calls.parties import Party
from mediaserver.calls.ports import Session
from mediaserver.calls.routing import Route, route_or_status
from mediaserver.calls.tasks import TaskGroup
from mediaserver.calls.transfer import Transfer
from mediaserver.calls.watch import RoutingFile
from mediaserver.errors import CallEnded, MediaError, NegotiationError, NoPortFree, ParseError
from mediaserver.limits import REROUTES_MAX
from mediaserver.model import CallFacts, Cause, DtmfSource, Masked
from mediaserver.sip.session import ReferReceived

if TYPE_CHECKING:
    from mediaserver.calls.conference import Rooms

log = structlog.get_logger()
RETRY_AFTER_S = 10  # told to whom we have no port or place for
_SAME_END_NS = 2_000_000_000  # between the other party's BYE and the end of a program that does nothing more


class CallState(enum.StrEnum):
    NEW = "new"
    RUNNING = "running"
    ENDING = "ending"
    ENDED = "ended"


class Call:
    """One call. `run` drives it to its end; `end` makes that happen from outside."""

    def __init__(
        self,
        call_id: str,
        session: Session,
        house: House,
        routing: RoutingFile,
        programs: ProgramLibrary,
        rooms: Rooms,
    ) -> None:
        self.call_id = call_id
        self.house = house
        self.routing = routing
        self.rooms = rooms
        self.state = CallState.NEW
        self.session = session
        self.route: Route | None = None
        self.recording = CallRecording(self)
        self.cause: Cause | None = None
        self._programs = programs
        self._program_name: str | None = None
        self._ended_by: str | None = None
        self._left_by: tuple[int, str] | None = None  # when and by whom the last other party hung up on the caller
        self._status: int | None = None
        self._reason = ""
        self._started = (house.clock.now_ns(), house.clock.wall())
        self._answered: tuple[int, float] | None = None
        self._ended: tuple[int, float] | None = None
        self._next: tuple[Route, Leg] | None = None
        self._reroutes = 0
        self._control: CallControl | None = None
        self._stop: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # see _stop_program
        context = contextvars.copy_context()
        context.run(structlog.contextvars.bind_contextvars, call_id=call_id)
        self.context = context
        self.tasks = TaskGroup(context)
        self.legs = CallLegs(self)
        self.trunk = _trunk_of(session.identity)
        number = Masked(session.caller_user)
        self.primary = self.legs.make("caller", Party(number, session.identity), self.trunk)
        self.primary.attach(session)

    # -- facts

    @property
    def ending(self) -> bool:
        return self.state in (CallState.ENDING, CallState.ENDED)

    @property
    def language(self) -> str:
        rule = self.route.rule if self.route is not None else None
        return (rule.language if rule is not None else None) or self.house.settings.server.language

    @property
    def records(self) -> bool:
        return self.route is not None and self.route.rule.record

    def facts(self) -> CallFacts:
        session = self.session
        return CallFacts(
            call_id=self.call_id,
            caller=Masked(session.caller_user),
            called=Masked(session.called_user),
            caller_name=Masked(session.caller_name),
            identity=session.identity,
            route=self.route.rule.name if self.route is not None else None,
            program=self._program_name,
            started_ns=self._started[0],
            started_wall=self._started[1],
            answered_ns=self._answered[0] if self._answered else None,
            answered_wall=self._answered[1] if self._answered else None,
            ended_ns=self._ended[0] if self._ended else None,
            ended_wall=self._ended[1] if self._ended else None,
            cause=self.cause,
            ended_by=self._ended_by,
            sip_status=self._status,
            reason=self._reason,
            state=self.state.value,
            recording_id=self.recording.recording_id,
            legs=self.legs.facts(),
        )

    # -- life

    async def run(self) -> None:
        """From the INVITE to the call detail record; everything of the call is closed when it returns."""
        facts = self.facts()
        self.house.observe(lambda observer: observer.call_started(facts))
        self.state = CallState.RUNNING
        limit_s = self.house.settings.calls.max_duration_s
        try:
            async with asyncio.timeout(limit_s or None):
                await self._serve()
        except TimeoutError:
            log.info("call ended: it reached calls.max_duration_s", limit_s=limit_s)
        except Exception as error:
            log.error("call failed", at=place_of(error), error=repr(error))
            self.end(Cause.PROGRAM_ERROR, "server", 500)
        finally:
            self.end(Cause.LOCAL_HANGUP, "server")
            await self._close()

    def end(self, cause: Cause, by: str, status: int | None = None, reason: str = "") -> None:
        """Ends the call. The first reason given stays. status: for a caller who was not answered yet."""
        if self.ending:
            return
        self.state = CallState.ENDING
        if self._left_by is not None and cause is Cause.LOCAL_HANGUP and by == "server":
            at_ns, role = self._left_by  # the program ends because its caller was hung up on
            by = role if self.house.clock.now_ns() - at_ns < _SAME_END_NS else by
        self.cause, self._ended_by = cause, by
        self._status = status
        self._reason = self._reason or reason
        self._stop_program()

    def _stop_program(self) -> None:
        """The running program is to end: the call is over, or handed to another program."""
        if not self._stop.done():
            self._stop.set_result(None)
        if self._control is not None:
            self._control.close()

    async def _serve(self) -> None:
        session = self.session
        if not is_for_us(session, self.house.settings):
            log.warning("no route: the call is for another host; name it in sip.domains if it is ours", status=404)
            self.end(Cause.NO_ROUTE, "server", 404)
            return
        found = route_or_status(self.routing.table, session.called_user, session.identity)
        if isinstance(found, int):
            log.info("no route", status=found, called=Masked(session.called_user))
            self.end(Cause.NO_ROUTE, "server", found)
            return
        self.route = found
        if self.records and session.rights is not None and "record" not in session.rights:
            log.info("refused: calls to this number are recorded, and the token lacks the right to be", status=403)
            self.end(Cause.REJECTED, "server", 403)
            return
        if not await self._prepare():
            return
        while self.route is not None and not self.ending:
            self._next = None
            if self._stop.done():
                self._stop = asyncio.get_running_loop().create_future()
            await self._run_program(self.route)
            if self._next is None or self.ending:
                return
            self.route, self.primary = self._next

    async def _prepare(self) -> bool:
        """Reads the offer and opens the caller's media; False after the fitting refusal."""
        near = self.rooms.near(self.route.conference) if self.route and self.route.program == "conference" else None
        try:
            await self.primary.prepare(near)
        except (ParseError, NegotiationError) as error:
            log.info("offer refused", status=error.status, error=str(error))
            self.end(Cause.REJECTED, "server", error.status, str(error))
        except NoPortFree as error:
            log.error("call refused: no media port is free; widen media.port_range", error=str(error))
            self.end(Cause.REJECTED, "server", 503)
        except MediaError as error:
            log.error("call refused by the media plane", error=str(error))
            self.end(Cause.REJECTED, "server", 503)
        return not self.ending

    async def _run_program(self, route: Route) -> None:
        self._program_name = route.program
        try:
            program = self._programs.find(route.program)
        except ProgramMissing as error:
            log.error("call program missing", program=route.program, error=str(error))
            await self._apologise()
            return
        control = self._control = CallControl(self, route)
        log.info("call program starts", program=route.program, route=route.rule.name)
        task = asyncio.get_running_loop().create_task(_call(program, control), name=f"program {route.program}")
        steps: set[asyncio.Future[None]] = {task, self._stop}
        try:
            await asyncio.wait(steps, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():  # its next or present call of ours raises CallEnded; then it may tidy up for a while
                await asyncio.wait({task}, timeout=self.house.settings.calls.program_grace_s)
        finally:
            control.close()
            if not task.done():
                task.cancel()
                await asyncio.wait({task})
        raised = None if task.cancelled() else task.exception()
        if raised is None or isinstance(raised, CallEnded):
            return
        log.error("call program failed", program=route.program, at=place_of(raised), error=repr(raised))
        if not self.ending:
            self._next = None
            await self._apologise()

    async def _apologise(self) -> None:
        """technical-error to a caller who can hear it; then the call is over."""
        if self.primary.answered and not self.primary.is_over:
            for conversation in {leg.conversation for leg in self.legs if leg.conversation is not None}:
                await conversation.close()
            await apologise(self.house, self.language, [self.primary])
        self.end(Cause.PROGRAM_ERROR, "server", 500)

    async def _close(self) -> None:
        if self._answered is None and not self.primary.is_over:
            self._refuse()
        self.legs.hang_up(self.cause or Cause.LOCAL_HANGUP)
        await self.tasks.close()
        await self.legs.close()
        await self.recording.end()
        self._ended = (self.house.clock.now_ns(), self.house.clock.wall())
        self.state = CallState.ENDED
        facts = self.facts()
        log.info("call ended", cause=self.cause, by=self._ended_by, status=self._status)
        self.house.observe(lambda observer: observer.call_ended(facts))

    def _refuse(self) -> None:
        status = self._status or (503 if self.cause is Cause.SHUTDOWN else 480)
        self._status = status
        headers = [("Retry-After", str(RETRY_AFTER_S))] if status == 503 else []
        self.primary.reject(status, headers=headers)

    def as_call(self) -> Call:
        return self

    # -- what legs tell (LegOwner)

    def leg_moved(self, leg: Leg) -> None:
        if leg is self.primary:
            if leg.answered and self._answered is None:
                self._answered = (self.house.clock.now_ns(), self.house.clock.wall())
            if leg.is_over:
                by = "server" if leg.cause in (Cause.LOCAL_HANGUP, Cause.REJECTED) else leg.role
                self.end(leg.cause or Cause.REMOTE_HANGUP, by, leg.status or None, leg.reason)
        if leg.is_over and leg.conversation is not None:
            if leg.cause is Cause.REMOTE_HANGUP and leg.conversation.others(leg) == [self.primary]:
                self._left_by = (self.house.clock.now_ns(), leg.role)
            leg.conversation.leg_ended(leg)
        if leg.is_over and leg is not self.primary and not self.ending:
            self.legs.drop_soon(leg)
        self.legs.moved()

    def leg_streams(self, leg: Leg) -> None:
        self.legs.streams(leg)

    def leg_held(self, leg: Leg) -> None:
        if leg.conversation is not None:
            leg.conversation.refresh_music()
            if not leg.held:  # those it talks to come back from hold
                self.recording.returned(*leg.conversation.others(leg))
        self.rooms.leg_held(leg)

    def leg_digit(self, leg: Leg, digit: str, source: DtmfSource) -> None:
        if leg.conversation is not None and source is DtmfSource.SIP_INFO:
            leg.conversation.relay_digit(leg, digit)
        if leg is self.primary and self._control is not None:
            self._control.digit_pressed(digit)
        self.tasks.spawn(self.house.desk.digit(leg, digit), "recording keys")

    def leg_silent(self, leg: Leg) -> None:
        self.legs.silence.look(leg)

    def leg_refers(self, leg: Leg, event: ReferReceived) -> None:
        transfer = Transfer(self, leg, event) if event.replaces is None else AttendedTransfer(self, leg, event)
        self.tasks.spawn(transfer.run(), "transfer")

    # -- what programs, transfers and people ask for

    @property
    def can_record(self) -> bool:
        """There is a recorder and it is switched on; a policy or a full disk may still say no."""
        return self.house.recorder is not None and self.house.settings.recording.enabled

    def goes_on(self) -> None:
        """Its program does something more with the caller: whoever hung up on him did not end the call."""
        self._left_by = None

    async def record(self, start: bool) -> bool:
        return await (self.recording.start() if start else self.recording.stop())

    def conversation(self) -> Conversation:
        return Conversation(self.house, self.language, self.tasks)

    def hand_over(self, route: Route, leg: Leg) -> None:
        """The leg goes on in another program; the present one ends. Too many hand-overs end the call."""
        self._reroutes += 1
        if self._reroutes > REROUTES_MAX:
            log.error("call ended: its programs hand it to each other in circles", limit=REROUTES_MAX)
            self.end(Cause.PROGRAM_ERROR, "server", 482)
            return
        self._next = (route, leg)
        self.primary = leg
        leg.widening.heard_by_all()
        self._stop_program()


def _trunk_of(identity: str | None) -> str | None:
    return identity.removeprefix("trunk:") if identity is not None and identity.startswith("trunk:") else None


async def _call(program: Program, control: CallControl) -> None:
    await program(control)
