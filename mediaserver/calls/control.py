"""What a call program holds: one object to drive its call. docs/call-programs.md is its manual.

Every method may raise CallEnded when the caller has hung up or the call was handed to another program; a program need
not catch it. Owns the meaning of the steps, not the call: `call` keeps what outlives a program.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from mediaserver.calls.bridge import Bridge, Conversation, play_to
from mediaserver.calls.dialing import Dialer, DialResult
from mediaserver.calls.leg import Leg
from mediaserver.calls.message import RecordedMessage, record_message
from mediaserver.calls.mirror import Mirror
from mediaserver.calls.parties import LegState
from mediaserver.calls.routing import Route, sendable
from mediaserver.calls.targets import (
    Branch,
    route_branches,
    shown_caller,
    trunk_branch,
    uri_branch,
    user_branches,
)
from mediaserver.errors import CallEnded, MediaError, MediaServerError
from mediaserver.media.engine import Tone
from mediaserver.model import Cause, Masked, PromptHandle
from mediaserver.model_voice import VoiceProcessing
from mediaserver.sdp.formats import Encoding

if TYPE_CHECKING:
    from mediaserver.calls.call import Call

log = structlog.get_logger()
T = TypeVar("T")
Playable = str | Path | Tone | RecordedMessage
DigitHandler = Callable[[str], Awaitable[None] | None]


class CallControl:
    """Drives one call from one program."""

    def __init__(self, call: Call, route: Route) -> None:
        self._call = call
        self._route = route
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._digit_handlers: list[DigitHandler] = []
        self._ringback = False

    # -- facts

    @property
    def call_id(self) -> str:
        return self._call.call_id

    @property
    def number(self) -> str:
        """What was dialled to reach this program."""
        return self._route.number

    @property
    def caller(self) -> str:
        return self._call.session.caller_user

    @property
    def caller_name(self) -> str:
        return self._call.session.caller_name

    @property
    def identity(self) -> str | None:
        """Authenticated user, "trunk:NAME", or None."""
        return self._call.session.identity

    @property
    def language(self) -> str:
        return self._call.language

    @property
    def options(self) -> Mapping[str, Any]:
        """The rule's `options` table."""
        return self._route.rule.options

    @property
    def route(self) -> Route:
        return self._route

    @property
    def answered(self) -> bool:
        return self._call.primary.answered

    @property
    def recorded(self) -> bool:
        """The rule says `record = true`."""
        return self._call.records

    # -- before the answer

    async def ring(self) -> None:
        """180: the caller hears ringing."""
        self._check()
        self._call.primary.ring()

    async def answer(self, *, capture: bool = True) -> None:
        """Answers; on a recorded call the notice has been heard to its end when this returns. Again: nothing.

        capture False: nothing is captured before somebody is bridged to the caller.
        """
        await self._during_call(self._answer(capture=capture))

    async def refuse(self, why: int | DialResult = 480) -> None:
        """Ends the call: with this SIP status or a failed dial's; once answered, with the prompt not-available."""
        self._check()
        status = why if isinstance(why, int) else why.status
        cause = None if isinstance(why, int) else why.cause
        if self.answered:
            with contextlib.suppress(MediaServerError):
                await self.play("not-available" if status not in (403, 404) else "no-route", interruptible=False)
        self._call.end(cause or Cause.REJECTED, "server", status)

    async def hang_up(self, reason: str = "") -> None:
        """Ends the call; returns at once."""
        self._check()  # a program that was replaced must not end the call it no longer drives
        self._call.end(Cause.LOCAL_HANGUP, "server", None, reason)

    # -- hearing and pressing

    async def play(
        self, what: Playable, *, language: str | None = None, interruptible: bool = True, loop: bool = False
    ) -> bool:
        """Plays a prompt by name, a file, a tone or a recorded message; True: to its end.

        A digit interrupts (or, typed ahead, skips) it and stays for `gather`. Raises PromptError. Answers the call.
        """
        return await self._during_call(self._play(what, language or self.language, interruptible, loop))

    async def gather(
        self,
        max_digits: int = 1,
        timeout_s: float = 5.0,
        *,
        terminators: str = "#",
        first_timeout_s: float | None = None,
    ) -> str:
        """Digits typed, at most max_digits; ends at a terminator (not part of it) or when the next takes too long."""
        return await self._during_call(self._gather(max_digits, timeout_s, terminators, first_timeout_s or timeout_s))

    async def record(
        self,
        max_s: float = 120.0,
        *,
        silence_s: float = 4.0,
        terminators: str = "#",
        beep: bool = True,
        notice: str = "message-intro",
    ) -> RecordedMessage:
        """Records the caller after the notice has been played to its end; `play` plays the result.

        Ends by max_s, by a terminator, or by silence_s of silence (0: never). Raises StorageError. Answers the call.
        """
        await self.answer()
        return await self._during_call(
            record_message(self._call, max_s, silence_s, terminators, beep=beep, notice=notice)
        )

    async def send_dtmf(self, digits: str, *, duration_ms: int = 100) -> None:
        """Presses digits towards the caller."""
        await self._during_call(self._call.primary.voice.send_dtmf(digits, duration_ms))

    async def process_voice(
        self,
        *,
        high_pass: bool = False,
        noise_suppression_db: float = 0.0,
        loudness_dbov: float = 0.0,
        boost_max_db: float = 18.0,
        line_check: bool = False,
        echo_cancel: bool = False,
    ) -> None:
        """What others hear of the caller from now on, instead of what the settings say: see [voice] there.

        Raises ValueError outside the ranges of those settings.
        """
        wanted = VoiceProcessing(high_pass, noise_suppression_db, loudness_dbov, boost_max_db, line_check, echo_cancel)
        await self._during_call(self._call.primary.voice.set_processing(wanted))

    async def start_recording(self, policy: str | None = None) -> bool:
        """Everybody there hears the notice of the consent policy, then is recorded. False: it cannot be."""
        return await self._during_call(self._call.recording.start(policy))

    async def stop_recording(self) -> bool:
        """The recording is complete when this returns. False: there was none."""
        return await self._during_call(self._call.recording.stop())

    async def pause_recording(self, reason: str = "card data", *, resume_after_s: float | None = None) -> None:
        """No sound and no digit of anybody is stored from now on. Raises LookupError if nothing is being recorded.

        resume_after_s: None for recording.pause_max_s, 0: until `resume_recording`.
        """
        self._check()
        await self._call.house.desk.pause(self.call_id, reason, resume_after_s)

    async def resume_recording(self) -> None:
        """Raises LookupError if nothing is being recorded."""
        self._check()
        await self._call.house.desk.resume(self.call_id)

    def on_digit(self, handler: DigitHandler) -> None:
        """Calls (or awaits) the handler for every digit the caller presses from now on, in bridges and rooms too."""
        self._digit_handlers.append(handler)

    async def sleep(self, seconds: float) -> None:
        await self._call.primary.voice.hush()
        await self._during_call(asyncio.sleep(seconds))

    async def echo(self) -> None:
        """The caller hears himself until the call ends. Answers the call."""
        await self._during_call(self._echo())

    # -- other parties

    async def dial(
        self, targets: str | Sequence[str], *, timeout_s: float | None = None, trunk: str | None = None
    ) -> DialResult:
        """Rings all devices of these users, a number on a trunk, or sip: URIs, at once; the first to answer wins.

        The caller hears ringing or, with one device, its early media. The winner waits for `bridge`.
        """
        names = [targets] if isinstance(targets, str) else list(targets)
        branches, status = self._branches(names, trunk)
        return await self._during_call(self._dial(branches, status, timeout_s))

    async def dial_route(self) -> DialResult:
        """Rings what this call's routing rule names: user, users or trunk."""
        branches, status = route_branches(self._call.house.gateway, self._route)
        return await self._during_call(self._dial(branches, status, self._route.rule.ring_timeout_s))

    async def bridge(
        self, other: Leg | DialResult | str | Sequence[str], *, timeout_s: float | None = None
    ) -> DialResult:
        """Lets caller and `other` talk until one hangs up; targets are dialled first. Answers the call.

        Returns at once if nobody answered; look at `.answered` and `.status`.
        """
        if isinstance(other, Leg):
            other = DialResult(other)
        result = other if isinstance(other, DialResult) else await self.dial(other, timeout_s=timeout_s)
        if result.leg is not None:
            await self._during_call(self._bridge(result.leg))
        return result

    async def join(self, room: str) -> None:
        """The caller is in this conference room until he hangs up or is removed. Answers the call, or refuses it (403)
        when a moderator has locked the room."""
        if self._call.rooms.is_locked(room):
            await self.refuse(403)
            raise CallEnded("the room is locked")
        turn = self._call.rooms.expect(self._call.primary, room)
        if not self._call.records:  # a recorded room plays its own notice
            await self.answer()
        await self._during_call(self._join(room, turn))

    async def transfer(self, number: str, *, identity: str | None = None) -> None:
        """Hands the caller to whatever `number` is routed to; this program ends. Raises ValueError: no route.

        identity: whose rights count, by default the caller's.
        """
        self._check()
        route = self._call.routing.table.find(number, identity or self._call.primary.party.identity)
        if route is None:
            raise ValueError("no routing rule lets this caller reach that number")
        self._call.hand_over(route, self._call.primary)
        raise CallEnded("the call went on to another program")

    # -- for the call

    def close(self) -> None:
        """From now on every method raises CallEnded."""
        if not self._closed.done():
            self._closed.set_result(None)

    def digit_pressed(self, digit: str) -> None:
        for handler in self._digit_handlers:
            try:
                wanted = handler(digit)
            except Exception as error:
                log.error("a program's digit handler failed", error=repr(error))
                continue
            if inspect.iscoroutine(wanted):
                self._call.tasks.spawn(wanted, "digit handler")

    # -- inside

    def _check(self) -> None:
        if self._closed.done():
            raise CallEnded("the call is over")

    async def _during_call(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a step until it is done or the call is over, whichever is first."""
        if self._closed.done():
            work.close()
            raise CallEnded("the call is over")
        self._call.goes_on()
        task = asyncio.ensure_future(work)
        steps: set[asyncio.Future[Any]] = {task, self._closed}
        try:
            await asyncio.wait(steps, return_when=asyncio.FIRST_COMPLETED)
            if not task.done():
                raise CallEnded("the call is over")
            if self._closed.done() and isinstance(task.exception(), MediaError):
                raise CallEnded("the call is over") from task.exception()
            return task.result()
        finally:
            if not task.done():
                task.cancel()
                await asyncio.wait({task})

    async def _answer(
        self,
        prefer: Sequence[Encoding] = (),
        *,
        capture: bool = True,
        ready: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """ready is passed over on a recorded call: its notice comes before anybody is connected."""
        leg = self._call.primary
        await leg.answer(prefer, None if self._call.records else ready)
        await self._call.recording.admit(leg, capture=capture)

    async def _load(self, what: Playable, language: str) -> PromptHandle | Tone:
        house = self._call.house
        if isinstance(what, Tone):
            return what
        if isinstance(what, RecordedMessage):
            return await house.engine.load_samples(*await what.samples())  # a file of it would lie in the clear
        return await house.load(what if isinstance(what, Path) else house.prompts.find(what, language))

    async def _play(self, what: Playable, language: str, interruptible: bool, loop: bool) -> bool:
        await self._answer()
        voice = self._call.primary.voice
        if interruptible and voice.has_digits:
            return False
        source = await self._load(what, language)
        finished = await voice.play(source, loop=loop)
        if not interruptible:
            return await finished
        pressed = asyncio.ensure_future(voice.digit_waiting())
        steps: set[asyncio.Future[Any]] = {finished, pressed}
        try:
            await asyncio.wait(steps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            pressed.cancel()
            if not finished.done():
                await voice.stop_play()
        return finished.done() and finished.result()

    async def _gather(self, max_digits: int, timeout_s: float, terminators: str, first_timeout_s: float) -> str:
        await self._answer()
        voice = self._call.primary.voice
        typed = ""
        while len(typed) < max_digits:
            try:
                async with asyncio.timeout(timeout_s if typed else first_timeout_s):
                    digit = await voice.next_digit()
            except TimeoutError:
                break
            if digit in terminators:
                break
            typed += digit
        return Masked(typed)

    async def _echo(self) -> None:
        leg = self._call.primary
        bridge = Bridge(self._call.house)

        async def connect() -> None:
            await bridge.add(leg, hears_itself=True)

        mirror = Mirror(self._call.house, self._call.tasks, leg)
        try:
            await self._answer(ready=connect)
            await connect()
            await leg.wait_ended()
        finally:
            mirror.close()
            await bridge.close()

    def _branches(self, names: Sequence[str], trunk: str | None) -> tuple[list[Branch], int]:
        if trunk is not None:
            return [trunk_branch(name, trunk) for name in names if sendable(name)], 404
        users = [name for name in names if ":" not in name]
        found, status = user_branches(self._call.house.gateway, users)
        return found + [uri_branch(name) for name in names if ":" in name], status

    async def _dial(self, branches: Sequence[Branch], status: int, timeout_s: float | None) -> DialResult:
        call = self._call
        if not branches:
            return DialResult(None, status, "", Cause.NO_ROUTE if status == 404 else Cause.REJECTED)
        early = call.conversation()
        single = len(branches) == 1

        async def progress(leg: Leg) -> None:
            await self._tell_caller(leg, early if single and not call.records else None)

        dialer = Dialer(
            call,
            branches,
            timeout_s or float(call.house.settings.sip.ring_timeout_s),
            near=call.primary,
            prefer=call.primary.preferred,
            caller=shown_caller(call.session, self._route.rule),
            progress=progress,
        )
        result = DialResult(None, 487)
        try:
            result = await dialer.run()
        finally:
            if result.leg is None:
                await self._stop_ringback()
            if result.leg is None or result.leg.conversation is not early:
                await early.close()
        return result

    async def _tell_caller(self, leg: Leg, early: Conversation | None) -> None:
        """The called party rings, or sends media already."""
        caller = self._call.primary
        if leg.early and early is not None:
            early.couple(caller, leg)
            await caller.ring_with_media(leg.preferred)
            if caller.early or caller.answered:
                await self._stop_ringback()
                await early.add(caller, leg)
                return
        if caller.state in (LegState.NEW, LegState.RINGING):
            caller.ring()
        elif not self._ringback:
            self._ringback = True
            await play_to(caller, self._call.house.tone("ringback"))

    async def _stop_ringback(self) -> None:
        if self._ringback:
            self._ringback = False
            await self._call.primary.voice.stop_play()

    async def _bridge(self, leg: Leg) -> None:
        call = self._call
        conversation = leg.conversation if isinstance(leg.conversation, Conversation) else call.conversation()

        conversation.couple(call.primary, leg)

        async def connect() -> None:
            await self._stop_ringback()
            await conversation.add(call.primary, leg)

        try:
            await self._answer(leg.preferred, capture=False, ready=connect)
            if await call.recording.admit(leg, capture=False):
                await call.recording.cover(call.primary, leg)
                await connect()
                await conversation.wait_over()
        finally:
            others = [other for other in {leg, *conversation.legs} if other is not call.primary]
            await conversation.close()
            for other in others:
                await call.legs.drop(other)
            call.primary.voice.forget_digits()

    async def _join(self, room: str, turn: int) -> None:
        await self._call.primary.answer()
        await self._call.rooms.join(self._call, self._call.primary, room, turn, record=self._call.records)
