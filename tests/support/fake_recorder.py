"""A recorder for tests of the call room: no disk, the consent states of the real one."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mediaserver.model import (
    CallFacts,
    LegFacts,
    LegHandle,
    Notice,
    NoticeKind,
    PromptHeard,
    TapBehind,
)
from mediaserver.model_consent import DEFAULT_RULES, Answer, ConsentCase, ConsentRules, ConsentState
from mediaserver.model_video import PictureSource


class FakeRecording:
    """Holds the rule: capture runs only while every joined party may be captured. `log` tells when it ran."""

    def __init__(self, recording_id: str, kind: NoticeKind, call_id: str, rules: ConsentRules = DEFAULT_RULES) -> None:
        self.recording_id = recording_id
        self.kind = kind
        self.call_id = call_id
        self.rules = rules
        self.legs: list[LegFacts] = []
        self.joined: dict[LegHandle, ConsentState] = {}
        self.log: list[str] = []
        self.capturing = self.captured = False
        self.paused = False
        self.ended = False
        self.notices: list[Notice] = []
        self.reported: list[Notice] = []
        self.answered_for: list[tuple[Answer, tuple[str, ...]]] = []
        self.sent_to: list[tuple[LegHandle, Any]] = []
        self.named_as: tuple[str, str] | None = None
        self.notes: list[tuple[LegHandle, dict[str, Any]]] = []
        self.played: list[tuple[LegHandle, str]] = []
        self.answers: list[tuple[LegHandle, Answer, str, dict[str, str]]] = []
        self.part_of: Callable[[LegHandle], tuple[str, ...]] | None = None  # the engine's word
        self.on_failure: Callable[[str], None] | None = None
        self.on_state: Callable[[LegHandle, ConsentState], None] | None = None

    def _settle(self) -> None:
        captured = {ConsentState.IMPLIED, ConsentState.GRANTED}
        refused = {ConsentState.DENIED, ConsentState.WITHDRAWN}
        states = set(self.joined.values()) - refused
        wanted = bool(states) and states <= captured and not self.ended and not self.paused
        if wanted != self.capturing:
            self.capturing = wanted
            self.captured = self.captured or wanted
            self.log.append("capture" if wanted else "pause")

    def _set(self, leg: LegHandle, state: ConsentState) -> ConsentState:
        self.joined[leg] = state
        self._settle()
        if self.on_state is not None:
            self.on_state(leg, state)
        return state

    def states(self) -> dict[LegHandle, ConsentState]:
        return dict(self.joined)

    async def leg_joined(self, leg: LegFacts) -> None:
        if self.part_of is not None:  # else the engine opens no tap: the consent would be of another call
            assert self.call_id in self.part_of(leg.handle), f"{self.call_id} is not in {self.part_of(leg.handle)}"
        if leg.handle not in self.joined:
            self.legs.append(leg)
        self._set(leg.handle, ConsentState.UNKNOWN)

    def notice_started(self, leg: LegHandle) -> None:
        assert self.joined[leg] is ConsentState.UNKNOWN
        self._set(leg, ConsentState.NOTICE_PLAYING)

    async def notice_reported(self, notice: Notice) -> None:
        self.reported.append(notice)

    async def notice_finished(self, notice: Notice) -> ConsentState:
        assert self.joined[notice.leg] is ConsentState.NOTICE_PLAYING
        assert notice.ended_ns > notice.started_ns
        self.notices.append(notice)
        fraction = notice.delivery.fraction
        if fraction is None and self.rules.proof == "rtcp":
            return self._set(notice.leg, ConsentState.NOTICE_FAILED)
        if fraction is not None and fraction < self.rules.delivered_fraction:
            return self._set(notice.leg, ConsentState.NOTICE_FAILED)
        implied = self.rules.ask == "announce" or (self.rules.ask == "stay" and not self.rules.stay_s)
        return self._set(notice.leg, ConsentState.IMPLIED if implied else ConsentState.NOTICE_DELIVERED)

    async def send_to(self, leg: LegHandle, where: socket.socket | None) -> None:
        self.sent_to.append((leg, where.getpeername() if where is not None else None))

    def named(self, call: CallFacts) -> None:
        self.named_as = (str(call.caller), str(call.called))

    def noted(self, leg: LegHandle, values: Mapping[str, Any]) -> None:
        self.notes.append((leg, dict(values)))

    async def stayed(self, leg: LegHandle) -> None:
        if leg in self.joined:
            self._set(leg, ConsentState.IMPLIED)

    def purposes(self, leg: LegHandle) -> dict[str, ConsentState]:
        return {"recording": self.joined[leg]} if leg in self.joined else {}

    async def answer(
        self, leg: LegHandle, answer: Answer, how: str, detail: Mapping[str, str], purposes: Sequence[str] = ()
    ) -> ConsentState:
        self.answers.append((leg, answer, how, dict(detail)))
        self.answered_for.append((answer, tuple(purposes)))
        return self._set(leg, ConsentState(answer.value))

    async def prompt_played(self, heard: PromptHeard) -> None:
        assert heard.ended_ns >= heard.started_ns
        self.played.append((heard.leg, heard.name))

    async def pause(self, reason: str) -> None:
        self.paused = True
        self.log.append(reason)
        self._settle()
        self._tell_all()

    async def resume(self) -> None:
        self.paused = False
        self._settle()
        self._tell_all()

    def _tell_all(self) -> None:
        """As the real one: a pause moves everybody who may be captured, and its end moves them back."""
        for leg, state in self.joined.items():
            if self.on_state is not None and state in (ConsentState.IMPLIED, ConsentState.GRANTED):
                self.on_state(leg, ConsentState.PAUSED if self.paused else state)

    async def leg_left(self, leg: LegHandle) -> None:
        await asyncio.sleep(0)
        del self.joined[leg]
        self._settle()

    async def end(self) -> None:
        await asyncio.sleep(0)
        self.ended = True
        self._settle()

    async def samples(self) -> tuple[int, bytes]:
        assert self.ended
        return 8_000, self.recording_id.encode()


class FakeRecorder:
    def __init__(self) -> None:
        self.recordings: list[FakeRecording] = []
        self.part_of: Callable[[LegHandle], tuple[str, ...]] | None = None
        self.fail: Exception | None = None
        self.policy = DEFAULT_RULES
        self.cases: list[ConsentCase] = []
        self.pictures: dict[LegHandle, tuple[PictureSource, ...]] = {}

    def rules(self, case: ConsentCase) -> ConsentRules:
        self.cases.append(case)
        return self.policy

    async def begin(self, call: CallFacts, kind: NoticeKind, rules: ConsentRules = DEFAULT_RULES) -> FakeRecording:
        await asyncio.sleep(0)
        if self.fail is not None:
            raise self.fail
        self.recordings.append(FakeRecording(f"rec-{len(self.recordings) + 1}", kind, call.call_id, rules))
        self.recordings[-1].part_of = self.part_of
        return self.recordings[-1]

    def pictures_changed(self, leg: LegHandle, pictures: Sequence[PictureSource]) -> None:
        self.pictures[leg] = tuple(pictures)

    def tap_behind(self, event: TapBehind) -> None:
        pass
