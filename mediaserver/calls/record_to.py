"""Recording onto somebody else's recorder as well: we are the recording client (SRC) of RFC 7866.

Owns one recording session for one recording of ours: its dialog with the recorder, a section and a socket for each
party, and the metadata that names them. Sound flows only while a party is captured here (`recording.forwarding`); so
what the recorder gets rests on the same consent. A recorder that refuses or goes away costs its copy, never the call.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from mediaserver.calls.ports import Recording, Session
from mediaserver.errors import MediaError, NegotiationError, NoPortFree, ParseError
from mediaserver.limits import SIPREC_STREAMS_MAX
from mediaserver.media.ports import SocketPair
from mediaserver.model import LegFacts, LegHandle, MediaAddress
from mediaserver.sdp.sent_streams import SentStream, read_answer, write_offer
from mediaserver.sip.rs_metadata_write import Party, write_metadata
from mediaserver.sip.sdp_body import Multipart, recording_body
from mediaserver.sip.session import Answered, Ended, Failed, Reoffer, ReofferAnswered, ReofferFailed, SessionEvent

if TYPE_CHECKING:
    from mediaserver.calls.house import House
    from mediaserver.calls.leg import Leg

log = structlog.get_logger()
USER = "recording"  # user part of the recorder's address, where the trunk's URI has none
CALLER = "mediaserver"


@dataclass(slots=True, eq=False)
class _Copy:
    """One party. It keeps its section to the end of the session."""

    handle: LegHandle
    party: Party
    stream: SentStream
    pair: SocketPair
    connected: bool = False


class RecordTo:
    """`sync` whenever parties come or go, `end` with the recording."""

    def __init__(self, house: House, recording: Recording, trunk: str) -> None:
        self._house = house
        self._recording = recording
        self._trunk = trunk
        self._session: Session | None = None
        self._copies: list[_Copy] = []
        self._offered: list[SentStream] = []
        self._paused = False
        self._over = False
        self._busy = asyncio.Lock()
        self._events: asyncio.Queue[SessionEvent] = asyncio.Queue(64)
        self._task: asyncio.Task[None] | None = None
        self._id = os.urandom(16)
        self._session_id = int.from_bytes(os.urandom(4), "big") + 1
        self._version = 0
        self._since_wall = house.clock.wall()

    async def sync(self, parties: Sequence[tuple[Leg, LegFacts]]) -> None:
        """parties: those that are covered by the recording now. Never raises for what the recorder does."""
        async with self._busy:
            if self._over:
                return
            changed = False
            here = {leg.voice.handle for leg, _ in parties}
            for copy in self._copies:
                if copy.handle not in here and copy.stream.port:
                    await self._close(copy)
                    changed = True
            known = {copy.handle for copy in self._copies if copy.stream.port}
            for leg, facts in parties:
                if leg.voice.handle not in known and len(self._copies) < SIPREC_STREAMS_MAX:
                    changed = self._open(leg, facts) or changed
            if changed:
                self._say()

    async def pause(self, paused: bool) -> None:
        """Nothing is captured meanwhile: the recorder is told, lest it takes us for gone."""
        async with self._busy:
            if not self._over and paused is not self._paused:
                self._paused = paused
                if self._session is not None:
                    self._say()

    async def end(self) -> None:
        """Idempotent."""
        async with self._busy:
            self._over = True
            for copy in self._copies:
                if copy.stream.port:
                    await self._close(copy)
            if self._session is not None:
                self._session.hang_up()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
            await asyncio.wait({self._task})

    # -- parties

    def _open(self, leg: Leg, facts: LegFacts) -> bool:
        stream = leg.voice.stream
        if stream is None or not leg.voice.is_open:
            return False
        try:
            pair = self._house.engine.open_pair(self._host())
        except (NoPortFree, MediaError) as error:
            log.error("a party is not recorded elsewhere: no port is free", error=str(error))
            return False
        label = str(len(self._copies) + 1)
        party = Party(os.urandom(16), str(facts.number), label, self._house.clock.wall())
        self._copies.append(_Copy(leg.voice.handle, party, SentStream(label, pair.port, stream.receive), pair))
        return True

    async def _close(self, copy: _Copy) -> None:
        """Its section stays, with port 0. Cancelled before the copy has stopped, it is as it was."""
        await self._recording.send_to(copy.handle, None)
        party = copy.party
        copy.stream = SentStream(copy.stream.label, 0, copy.stream.codecs)
        copy.party = Party(party.unique, party.number, party.label, party.since_wall, self._house.clock.wall())
        self._house.engine.release_pair(copy.pair)

    def _host(self) -> str:
        sip = self._house.settings.sip
        return sip.host if sip.external_host else self._house.gateway.local_host_for(USER, self._trunk)

    # -- the recorder

    def _body(self) -> Multipart:
        self._version += 1
        self._offered = [replace(copy.stream, paused=self._paused) for copy in self._copies]
        host = self._house.settings.sip.external_host or self._host()
        sdp = write_offer(host, self._session_id, self._version, self._offered)
        realm = self._house.settings.server.realm
        domain = realm if realm.isascii() and " " not in realm else host
        parties = [copy.party for copy in self._copies]
        return recording_body(sdp, write_metadata(self._id, self._id.hex(), domain, self._since_wall, parties))

    def _say(self) -> None:
        if self._session is None:
            self._session = self._house.gateway.invite(
                USER, sdp=self._body(), caller_user=CALLER, called_user=USER, trunk=self._trunk
            )
            self._session.on_event = self._take
            self._task = asyncio.create_task(self._run(), name=f"leg recorder {self._trunk}")
        else:
            self._session.reinvite(self._body)  # written when it leaves: more may have changed by then

    def _take(self, event: SessionEvent) -> None:
        try:
            self._events.put_nowait(event)
        except asyncio.QueueFull:
            log.warning("a recorder sends faster than it can be followed", trunk=self._trunk)

    async def _run(self) -> None:
        while not self._over:
            event = await self._events.get()
            if isinstance(event, Answered | ReofferAnswered):
                await self._answered(event.sdp)
            elif isinstance(event, Reoffer) and self._session is not None:
                self._session.reject_reoffer(488)  # what is sent is ours to offer
            elif isinstance(event, ReofferFailed):
                log.warning("a recorder refused a change", trunk=self._trunk, status=event.status)
            elif isinstance(event, Failed):
                log.error("a recorder does not take a call", trunk=self._trunk, status=event.status)
            elif isinstance(event, Ended):
                if not event.by_us:
                    log.error("a recorder ended its session; the call goes on", trunk=self._trunk, reason=event.reason)
                await self.end()

    async def _answered(self, sdp: bytes | None) -> None:
        try:
            wanted = read_answer(sdp or b"", self._offered)
        except (ParseError, NegotiationError) as error:
            log.error("a recorder's answer cannot be used", trunk=self._trunk, error=str(error))
            return
        async with self._busy:
            for copy, address in zip(self._copies, wanted, strict=False):
                if not copy.stream.port or self._over:
                    continue
                reached = address is not None and _connect(copy.pair, address)
                if reached is not copy.connected:
                    await self._recording.send_to(copy.handle, copy.pair.rtp if reached else None)
                copy.connected = reached


def _connect(pair: SocketPair, address: MediaAddress) -> bool:
    try:
        pair.rtp.connect((address.host, address.port))
    except OSError as error:
        log.error("a recorder cannot be reached where it wants a stream", error=error.strerror or str(error))
        return False
    return True
