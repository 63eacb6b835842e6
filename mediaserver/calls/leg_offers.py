"""Offers of a leg after the first: ours and the peer's, and the answer that comes with an ACK. RFC 3264 §8.

Owns which of our offers waits for its answer. What is in a description is `leg_media`'s, how it travels the session's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

import structlog

from mediaserver.errors import NegotiationError, ParseError
from mediaserver.limits import REOFFER_WAIT_S_MAX
from mediaserver.sdp.formats import Encoding
from mediaserver.sip.session import Confirmed, Reoffer, ReofferAnswered, ReofferFailed

if TYPE_CHECKING:
    from mediaserver.calls.leg import Leg
    from mediaserver.calls.ports import Session

log = structlog.get_logger()


class LegOffers:
    def __init__(self, leg: Leg) -> None:
        self._leg = leg
        self._answered_by_ack = False  # our offer went out in a 2xx
        self._confirmed = asyncio.Event()
        self._ours: asyncio.Future[bool] | None = None
        self._one_at_a_time = asyncio.Lock()
        self.refusal = 0  # status of the last of ours that failed

    async def wait_confirmed(self) -> None:
        """Until the ACK to our answer came, or the leg is over."""
        await self._confirmed.wait()

    def accept_with_offer(self, session: Session, prefer: Sequence[Encoding]) -> None:
        """200 with our offer; its answer comes with the ACK."""
        self._answered_by_ack = True
        session.accept(self._leg.media.write_offer(prefer))

    async def offer(self, session: Session, prefer: Sequence[Encoding], *, optional: bool) -> bool:
        """Our re-INVITE; True once its answer is in effect. One at a time: it waits a while for the one before it.

        optional: a peer that does not answer it keeps its call.
        """
        try:
            async with asyncio.timeout(REOFFER_WAIT_S_MAX):
                await self._one_at_a_time.acquire()
        except TimeoutError:
            return False
        self._ours = asyncio.get_running_loop().create_future()
        try:
            # Written when it leaves: what was agreed may change while it waits, or before it is tried again (491).
            session.reinvite(lambda: self._write(prefer), optional=optional)
            return await self._ours
        finally:
            self._ours = None
            self._one_at_a_time.release()

    def _write(self, prefer: Sequence[Encoding]) -> bytes:
        """The peer may send what is offered before its answer is here (RFC 3264 §5.1): it is heard from now on."""
        media = self._leg.media
        sdp = media.write_later_offer(prefer)
        self._leg.tasks.spawn(media.apply(), f"offer of {self._leg.leg_id}")
        return sdp

    def close(self) -> None:
        self._confirmed.set()
        self._settle(False)

    # -- events of the session

    async def on_confirmed(self, event: Confirmed) -> None:
        """Raises ParseError, NegotiationError."""
        if self._answered_by_ack:
            self._answered_by_ack = False
            if not event.sdp:
                raise NegotiationError("the ACK has no answer to our offer")
            self._leg.media.read_answer(event.sdp)
            await self._leg.media.apply()
        self._confirmed.set()

    async def on_reoffer(self, session: Session, event: Reoffer) -> None:
        media = self._leg.media
        if not event.sdp:
            self._answered_by_ack = True
            session.answer_reoffer(media.write_offer())
            return
        try:
            media.read_offer(event.sdp)
            sdp = await media.write_answer(media.preferred[:1])
        except (ParseError, NegotiationError) as error:
            log.info("a re-offer was refused; the call goes on as it was", leg=self._leg.leg_id, error=str(error))
            media.negotiator.rollback()
            session.reject_reoffer(error.status)
            return
        await media.apply()
        session.answer_reoffer(sdp)

    async def on_answered(self, event: ReofferAnswered) -> None:
        """Raises ParseError, NegotiationError."""
        done = False
        try:
            if event.sdp:
                self._leg.media.read_answer(event.sdp)
                await self._leg.media.apply()
                done = True
        finally:
            self._settle(done)

    async def on_failed(self, event: ReofferFailed) -> None:
        log.info("our re-INVITE was refused", leg=self._leg.leg_id, status=event.status)
        self.refusal = event.status
        self._leg.media.negotiator.rollback()
        self._settle(False)

    def _settle(self, done: bool) -> None:
        if self._ours is not None and not self._ours.done():
            self._ours.set_result(done)
