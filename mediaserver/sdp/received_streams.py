"""Answers to offers of which every audio section is a stream of its own that we only receive. RFC 7866 §7.

Owns which section is which stream over all exchanges of a dialog; what is agreed of one is its `Negotiator`'s, who sees
an offer with that section alone. Sections that are no audio, off, too many or unusable are answered with port 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from mediaserver.errors import NegotiationError, ParseError
from mediaserver.limits import SIPREC_STREAMS_MAX
from mediaserver.model import Direction
from mediaserver.sdp.crypto import RandomBytes
from mediaserver.sdp.description import Media, Session
from mediaserver.sdp.negotiate import Negotiator
from mediaserver.sdp.parse import parse
from mediaserver.sdp.words import MediaPolicy
from mediaserver.sdp.write import write


@dataclass(slots=True, eq=False)
class ReceivedStream:
    """index: of its m= section. label: of RFC 4574, as the last offer has it. The caller sets `negotiator.local`."""

    index: int
    label: str
    negotiator: Negotiator


class ReceivedStreams:
    """`read_offer`, open and close what it says, `write_answer`."""

    def __init__(self, policy: MediaPolicy, *, session_id: int, random_bytes: RandomBytes, cname: str) -> None:
        self._policy = replace(policy, video_codecs=())
        self._session_id = session_id
        self._random_bytes = random_bytes
        self._cname = cname
        self._offered: list[Media] = []
        self._version = session_id
        self._body = b""
        self.streams: dict[int, ReceivedStream] = {}  # by section

    def read_offer(self, sdp: bytes) -> tuple[list[ReceivedStream], list[ReceivedStream]]:
        """Streams that are new, and those that are gone.

        Raises ParseError (400) or NegotiationError (488); then nothing has changed.
        """
        session = parse(sdp)
        found: dict[int, ReceivedStream] = {}
        reasons: list[str] = []
        for index, media in enumerate(session.media):
            if media.kind != "audio" or media.port == 0 or len(found) >= SIPREC_STREAMS_MAX:
                continue
            stream = self.streams.get(index) or ReceivedStream(index, "", self._negotiator())
            try:
                stream.negotiator.read_offer(write(replace(session, media=[media])))
            except (ParseError, NegotiationError) as error:
                reasons.append(str(error))
                continue
            found[index] = stream
        if not found and (reasons or not self.streams):
            raise NegotiationError("; ".join(reasons) or "the offer has no audio that is switched on")
        for index, stream in found.items():
            stream.label = session.media[index].first("label") or ""
        new = [stream for index, stream in found.items() if index not in self.streams]
        gone = [stream for index, stream in self.streams.items() if index not in found]
        self.streams, self._offered = found, session.media
        return new, gone

    def write_answer(self, host: str) -> bytes:
        """host: our address, for the session level. Raises NegotiationError for a stream without ports."""
        sections: list[Media] = []
        for index, offered in enumerate(self._offered):
            stream = self.streams.get(index)
            if stream is None:
                sections.append(Media(offered.kind, 0, offered.protocol, offered.formats[:1] or ["0"]))
                continue
            answer = parse(stream.negotiator.write_answer(Direction.RECVONLY))
            (media,) = answer.media
            media.connection = media.connection or answer.connection
            sections.append(media)
        return self._written(host, sections)

    def _written(self, host: str, sections: list[Media]) -> bytes:
        """o='s version grows by one whenever anything else changed (RFC 3264 §8)."""
        session = Session(media=sections)
        session.origin.session_id, session.origin.host = self._session_id, host
        session.origin.family = "IP6" if ":" in host else "IP4"
        session.origin.version = self._version
        body = write(session)
        if self._body and body != self._body:
            self._version += 1
            session.origin.version = self._version
            body = write(session)
        self._body = body
        return body

    def _negotiator(self) -> Negotiator:
        return Negotiator(self._policy, session_id=self._session_id, random_bytes=self._random_bytes, cname=self._cname)
