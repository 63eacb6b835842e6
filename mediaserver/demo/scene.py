"""Plays the plan: all calls side by side, each agent one after the other, and says what became of each.

Owns one call from the first INVITE to the last BYE. A call that goes wrong is told and hurts no other.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mediaserver.demo.phone import CallFailed, Phone, Switchboard
from mediaserver.demo.plan import AGENTS, Both, Hold, Keys, Person, Planned, Say, Step, Transfer, Wait
from mediaserver.demo.speech import Speech
from mediaserver.errors import MediaServerError

ANSWER_S_MAX = 20.0
RING_S_MAX = 60.0  # a notice that a bad network lost is played three times
RING_S = 0.8  # an agent looks up before answering
TRANSFER_S_MAX = 20.0
KEY_EVERY_S = 1.5
BEGIN_EVERY_S = 0.6
PAUSE_S = 0.3  # between two lines
BEEP_S = 1.0  # after the greeting, and a breath
VOICEMAIL_S_MAX = 45.0
CALL_S_MAX = 120.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """problem: "" if the call went as planned."""

    planned: Planned
    problem: str = ""


class Scene:
    def __init__(
        self,
        customers: Switchboard,
        agents: Switchboard,
        account_of: Callable[[Planned], tuple[str, str]],
        speech: Speech,
    ) -> None:
        """account_of: of the customers' switchboard, for a call; and the number that agents will see."""
        self._customers = customers
        self._agents = agents
        self._account_of = account_of
        self._speech = speech
        self._busy: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def play(self, plan: Sequence[Planned], on_done: Callable[[Outcome], None]) -> list[Outcome]:
        """All calls; on_done hears of each as it ends."""

        async def one(index: int, planned: Planned) -> Outcome:
            await asyncio.sleep(index * BEGIN_EVERY_S)
            outcome = await self._one(planned, index)
            on_done(outcome)
            return outcome

        return list(await asyncio.gather(*(one(index, planned) for index, planned in enumerate(plan))))

    async def _one(self, planned: Planned, seed: int) -> Outcome:
        async with contextlib.AsyncExitStack() as stack:
            if planned.agent:  # one call at a time for each person
                await stack.enter_async_context(self._busy[planned.agent])
            call = _Call(self._customers, self._agents, self._busy, self._speech, planned, seed)
            try:
                async with asyncio.timeout(CALL_S_MAX):
                    await call.run(*self._account_of(planned))
            except (MediaServerError, OSError) as error:
                return Outcome(planned, str(error))
            except TimeoutError:
                return Outcome(planned, f"did not end in {CALL_S_MAX:g} s")
            finally:
                await call.close()
        return Outcome(planned)


class _Call:
    def __init__(
        self,
        customers: Switchboard,
        agents: Switchboard,
        busy: defaultdict[str, asyncio.Lock],
        speech: Speech,
        planned: Planned,
        seed: int,
    ) -> None:
        self._agents = agents
        self._busy = busy
        self._speech = speech
        self._planned = planned
        self._caller = Phone(customers, planned.name, planned.person.codecs, planned.network, seed)
        self._phones: dict[str, Phone] = {"caller": self._caller}
        self._people: dict[str, Person] = {"caller": planned.person}
        self._notice_s = 0.0
        self._shown = ""  # the number that agents see
        self._stack = contextlib.AsyncExitStack()

    async def close(self) -> None:
        for phone in self._phones.values():
            await phone.close()
        for user in (self._planned.agent, self._planned.second):
            self._agents.forget(user, self._shown)
        await self._stack.aclose()

    async def run(self, account: str, shown: str) -> None:
        """Raises CallFailed, or what the media or signalling rooms raise."""
        planned, caller = self._planned, self._caller
        self._shown = shown
        rings = self._agents.expect(planned.agent, self._shown) if planned.agent else None
        await caller.dial(account, self._shown, planned.name, planned.queue)
        await caller.answered(ANSWER_S_MAX)
        self._notice_s = await self._speech.seconds("recording-notice", planned.person.language) + PAUSE_S
        if planned.hangs_up_s:
            await asyncio.sleep(planned.hangs_up_s)
            caller.hang_up()
            return
        if rings is None:
            await self._leave_message()
            return
        async with asyncio.timeout(RING_S_MAX):
            while not rings.done():
                await asyncio.wait({rings}, timeout=KEY_EVERY_S)
                if planned.key and not rings.done():
                    await caller.press(planned.key)
        await asyncio.sleep(RING_S)
        await self._join("agent", planned.agent).answer(rings.result())
        await self._phones["agent"].answered(ANSWER_S_MAX)
        for step in planned.steps:
            await self._take(step)
        last = self._phones["second" if "second" in self._phones else "agent"]
        (caller if planned.ends == "caller" else last).hang_up()
        await caller.ended(ANSWER_S_MAX)

    def _join(self, role: str, user: str) -> Phone:
        person = AGENTS[user]
        phone = self._phones[role] = Phone(self._agents, user, person.codecs, None, 0)
        self._people[role] = person
        return phone

    async def _leave_message(self) -> None:
        """Speaks after the beep; the program plays it back and hangs up."""
        await asyncio.sleep(await self._speech.seconds("message-intro", self._planned.person.language) + BEEP_S)
        for step in self._planned.steps:
            await self._take(step)
        await self._caller.ended(VOICEMAIL_S_MAX)

    async def _take(self, step: Step) -> None:
        match step:
            case Say(who, text):
                await self._phones[who].say(await self._line(who, text))
                await asyncio.sleep(PAUSE_S)
            case Both(caller, agent):
                lines = await self._line("caller", caller), await self._line("agent", agent)
                await asyncio.gather(self._caller.say(lines[0]), self._phones["agent"].say(lines[1]))
            case Wait(seconds):
                await asyncio.sleep(seconds)
            case Hold(seconds, told):
                await self._phones["agent"].hold(True)
                await asyncio.sleep(seconds)
                await self._phones["agent"].hold(False)
                await asyncio.sleep(self._notice_s if told else 0)
            case Keys(who, keys):
                await self._phones[who].press(keys)
                await asyncio.sleep(0.3 + 0.2 * len(keys))
            case Transfer():
                await self._transfer()
        if self._caller.over:
            raise CallFailed(f"the call of {self._planned.name} ended before its time")

    async def _line(self, who: str, text: str) -> Path:
        person = self._people[who]
        return await self._speech.line(person.voice, person.language, text)

    async def _transfer(self) -> None:
        second = self._planned.second
        await self._stack.enter_async_context(self._busy[second])
        rings = self._agents.expect(second, self._shown)
        await self._phones["agent"].transfer(second)
        async with asyncio.timeout(TRANSFER_S_MAX):
            session = await rings
        await asyncio.sleep(RING_S)
        await self._join("second", second).answer(session)
        await self._phones["second"].answered(ANSWER_S_MAX)
        await self._phones["agent"].ended(TRANSFER_S_MAX)
