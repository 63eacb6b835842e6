"""One stream of a recording session: its ports, what was agreed of it, and who speaks on it.

Owns its place in the engine and what observers hear of it. What is recorded is `siprec`'s to say.
"""

from __future__ import annotations

from typing import Any

from mediaserver.calls.house import House
from mediaserver.calls.ports import Session
from mediaserver.calls.voice import Voice
from mediaserver.model import Cause, LegFacts, Masked, MediaAddress
from mediaserver.sdp.received_streams import ReceivedStream
from mediaserver.sdp.words import LocalMedia
from mediaserver.sip.rs_metadata import Metadata, Participant

NAMED_MAX = 8  # speakers of one stream that are written down: a mixed conference has more


class RecordedStream:
    """`open`, `apply` after each exchange, `close`."""

    def __init__(self, leg_id: str, line: ReceivedStream, house: House, session: Session) -> None:
        self.leg_id = leg_id
        self.line = line
        self.voice = Voice(house.engine)
        self.recorded = False
        self._house = house
        self._session = session
        self._speakers: tuple[Participant, ...] = ()
        self._sessions: tuple[str, ...] = ()
        self._opened = (house.clock.now_ns(), house.clock.wall())
        self._answered_wall: float | None = None
        self._ended_wall: float | None = None
        self._cause: Cause | None = None

    # -- who speaks

    @property
    def number(self) -> Masked:
        """The parties' numbers, or what is known of the stream itself."""
        named = [one.number for one in self._speakers[:NAMED_MAX] if one.number]
        return Masked(", ".join(named) or f"stream {self.line.label or self.leg_id}")

    def name(self, metadata: Metadata) -> bool:
        """Takes from it who speaks here. True: somebody else than before, or by another name.

        Who has left sends no more; what was heard was that party's all the same.
        """
        before = (self._speakers, self._sessions)
        speakers = tuple(metadata.speakers(self.line.label)) or self._speakers
        self._speakers, self._sessions = speakers, metadata.sessions[:NAMED_MAX]
        return (self._speakers, self._sessions) != before

    def evidence(self) -> dict[str, str]:
        """What a piece of evidence says of the declaration: ids, no names."""
        return {
            "label": self.line.label,
            "session": ", ".join(self._sessions),
            "participant": ", ".join(one.participant_id for one in self._speakers[:NAMED_MAX]),
        }

    def note(self) -> dict[str, Any]:
        """For the journal, sealed with the sound."""
        people = [{"id": one.participant_id, "aor": one.aor, "name": one.name} for one in self._speakers[:NAMED_MAX]]
        return {"siprec": {"label": self.line.label, "sessions": list(self._sessions), "participants": people}}

    # -- media

    @property
    def expected(self) -> bool:
        """The client said that it sends."""
        return self.voice.stream is not None and self.voice.stream.direction.receives

    def facts(self) -> LegFacts:
        stream = self.voice.stream
        media = self.voice.media if self.voice.handle else None
        key = stream.receive_key if stream is not None else None
        return LegFacts(
            leg_id=self.leg_id,
            handle=self.voice.handle,
            role="caller" if self.leg_id == "1" else "callee",
            number=self.number,
            identity=self._session.identity,
            sip_call_id=self._session.call_id,
            opened_ns=self._opened[0],
            opened_wall=self._opened[1],
            state="ended" if self._ended_wall else "answered" if self.expected else "held",
            codec=f"{stream.audio.name}/{stream.audio.clock_hz}" if stream is not None else None,
            security=key.profile.value if key is not None else None,
            local=None if media is None else MediaAddress(media.host, media.rtp_port),
            remote=stream.remote if stream is not None else None,
            source=self.voice.source,
            answered_wall=self._answered_wall,
            ended_wall=self._ended_wall,
            cause=self._cause,
        )

    async def open(self, call_id: str, first: RecordedStream) -> None:
        """first: of the same session; they share a worker. Raises NoPortFree, QueueFull, MediaError."""
        sip, host = self._house.settings.sip, self._session.local_host
        near = first.voice.handle if first is not self and first.voice.is_open else None
        media = await self.voice.open(sip.host if sip.external_host else host, call_id, near)
        self._house.voices[media.handle] = self.voice
        self.line.negotiator.local = LocalMedia(host, media.rtp_port, media.rtcp_port, media.ssrc)

    async def apply(self, call_id: str) -> None:
        """Raises MediaError."""
        agreed = self.line.negotiator.stream
        if agreed is None or agreed == self.voice.stream or not self.voice.is_open:
            return
        first = self.voice.stream is None
        await self.voice.set_stream(agreed)
        self._answered_wall = self._answered_wall or self._house.clock.wall()
        facts = self.facts()
        if first:
            self._house.observe(lambda observer: observer.leg_opened(call_id, facts, agreed))
        else:
            self._house.observe(lambda observer: observer.leg_changed(call_id, facts, agreed))

    async def close(self, call_id: str, cause: Cause | None) -> None:
        """Idempotent."""
        if not self.voice.is_open:
            return
        await self.voice.close()
        self._house.voices.pop(self.voice.handle, None)
        self._ended_wall, self._cause = self._house.clock.wall(), cause or Cause.REMOTE_HANGUP
        if self.voice.stream is not None:
            facts = self.facts()
            self._house.observe(lambda observer: observer.leg_closed(call_id, facts, self.voice.stats))
