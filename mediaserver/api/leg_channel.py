"""Our messages on a data channel of a leg: the same JSON as on the WebSocket, for whoever is in the call already.

Owns which channels are ours (label `mediaserver` or protocol `mediaserver.v1`) and what may be said there: chat,
consent and measurements of this one leg. It needs no token: DTLS has shown that it is the leg's own.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import structlog

from mediaserver.api import socket_messages as said
from mediaserver.api.people import People
from mediaserver.api.person import AnswerConsent
from mediaserver.model import LegFacts
from mediaserver.webrtc.sctp import DataChannel

log = structlog.get_logger()
LABEL, PROTOCOL = "mediaserver", "mediaserver.v1"


class LegChannels:
    """Takes channels (`calls.house.TakeChannel`). consent: asked for when somebody answers."""

    def __init__(self, people: People, consent: Callable[[], AnswerConsent | None]) -> None:
        self._people = people
        self._consent = consent

    def __call__(self, call_id: str, leg: LegFacts, channel: DataChannel) -> bool:
        if channel.protocol != PROTOCOL and channel.label != LABEL:
            return False
        listener = _LegListener(call_id, leg, channel, self._people, self._consent)
        channel.on_message = listener.take
        channel.on_close = listener.gone
        self._people.join_leg(call_id, leg.leg_id, listener)
        return True


class _LegListener:
    def __init__(
        self,
        call_id: str,
        leg: LegFacts,
        channel: DataChannel,
        people: People,
        consent: Callable[[], AnswerConsent | None],
    ) -> None:
        self._call_id = call_id
        self._leg = leg
        self._channel = channel
        self._people = people
        self._consent = consent
        self._budget = said.Budget()
        self._answering: set[asyncio.Task[None]] = set()

    @property
    def user(self) -> str | None:
        return self._leg.identity

    def tell(self, message: dict[str, Any]) -> None:
        self._channel.send(json.dumps(message, ensure_ascii=False, separators=(",", ":")))

    def gone(self) -> None:
        self._people.leave_leg(self._call_id, self._leg.leg_id, self)

    def moved(self, call_id: str, leg: LegFacts) -> None:
        self._call_id, self._leg = call_id, leg

    def take(self, text: str | bytes) -> None:
        if not self._budget.take(asyncio.get_running_loop().time()):
            log.warning("a data channel was closed: it says too much", leg=self._leg.leg_id)
            self._channel.close()
            return
        message: said.Spoken | None = None
        try:
            message = said.read_message(text if isinstance(text, str) else text.decode("utf-8", "replace"))
            self._do(message)
            answer: dict[str, Any] = {"type": "ok"}
        except said.BadMessage as error:
            answer = {"type": "error", "code": "bad_request", "message": str(error)}
        if message is not None and message.id is not None:
            answer["id"] = message.id
        self.tell(answer)

    def _do(self, message: said.Spoken) -> None:
        if isinstance(message, said.Chat):
            if not self._people.chat(self._call_id, self._leg, message.text):
                raise said.BadMessage("chat: too much is written here; wait a little")
        elif isinstance(message, said.Stats):
            self._people.take_stats(self._call_id, self._leg, message.report.stats())
        elif isinstance(message, said.Consent):
            task = asyncio.get_running_loop().create_task(self._agree(message), name="consent")
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        else:
            raise said.BadMessage(f"{message.type}: on a data channel there are chat, consent and stats")

    async def _agree(self, message: said.Consent) -> None:
        consent = self._consent()
        try:
            if consent is None:
                raise LookupError(self._call_id)
            await consent(self._call_id, self._leg.leg_id, message.agree, message.purposes)
        except LookupError:
            self.tell({"type": "error", "code": "not_found", "message": "nobody asks this party for consent now"})
