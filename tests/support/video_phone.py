"""A SIP video phone's descriptions, made by our own negotiator as the other side; no signalling and no media."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count

from mediaserver.model import Direction
from mediaserver.model_video import Content, VideoFormat
from mediaserver.sdp.negotiate import LocalMedia, MediaPolicy, Negotiator
from mediaserver.sdp.video import house_formats
from mediaserver.sdp.video_lines import LocalVideo, VideoLine

_PORTS = count(40_000, 2)


class VideoPhone:
    """`offer`, or `answer` what it is offered; codecs: what it can, in its order."""

    def __init__(self, *codecs: str, formats: Sequence[VideoFormat] = ()) -> None:
        self.formats = tuple(formats) or house_formats(codecs)
        policy = MediaPolicy(("PCMU",), "off", video_codecs=("VP8", "H264", "VP9", "AV1"))
        self.negotiator = Negotiator(policy, session_id=next(_PORTS), random_bytes=bytes)
        self.negotiator.local = LocalMedia("192.0.2.7", next(_PORTS), 0)
        self.takes_video = True

    def _local(self, content: Content = Content.MAIN, direction: Direction = Direction.SENDRECV) -> LocalVideo:
        port = next(_PORTS)
        return LocalVideo(self.formats, 1, 2, direction, content, ports=LocalMedia("192.0.2.7", port, port + 1))

    def add(self, content: Content = Content.MAIN, direction: Direction = Direction.SENDRECV) -> VideoLine:
        return self.negotiator.video.add(self._local(content, direction))

    def offer(self, direction: Direction = Direction.SENDRECV) -> bytes:
        return self.negotiator.write_offer(direction)

    def answer(self, sdp: bytes) -> bytes:
        self.negotiator.read_offer(sdp)
        for line in self.negotiator.video.lines:
            if not self.takes_video:
                line.wanted = None
            elif line.wanted is None and line.peer is not None:
                line.wanted = self._local(line.peer.content or Content.MAIN)
        return self.negotiator.write_answer()

    def take(self, sdp: bytes) -> None:
        """The server's answer."""
        self.negotiator.read_answer(sdp)

    @property
    def pictures(self) -> list[tuple[str, str]]:
        """Codec and direction of each agreed picture, as this phone sees it."""
        agreed = [line.settings for line in self.negotiator.video.lines]
        return [(made.send[0].codec.value, made.direction.value) for made in agreed if made is not None]
