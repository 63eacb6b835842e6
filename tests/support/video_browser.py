"""A browser with camera and screen, sans-I/O: the fake browser's transport, described by our own negotiator."""

from __future__ import annotations

from itertools import count

from mediaserver.model import Direction, MediaAddress
from mediaserver.sdp.parse import parse
from mediaserver.sdp.video import house_formats
from mediaserver.sdp.video_lines import LocalVideo, VideoLine
from mediaserver.sdp.webrtc import LocalTransport, WebRtcNegotiator
from mediaserver.sdp.words import LocalMedia, MediaPolicy
from tests.support.fake_browser import FakeBrowser

_HOSTS = count(20)


class VideoBrowser(FakeBrowser):
    def __init__(self, *codecs: str) -> None:
        super().__init__(address=MediaAddress(f"192.0.2.{next(_HOSTS)}", 50_000))
        self.formats = house_formats(codecs or ("VP8", "H264", "VP9", "AV1"))
        policy = MediaPolicy(("opus", "PCMU"), video_codecs=("VP8", "H264", "VP9", "AV1"), data=True)
        self.negotiator = WebRtcNegotiator(policy, session_id=1, cname="browser")
        self.negotiator.local = LocalMedia(self.address.host, 9, 9)
        self.negotiator.transport = LocalTransport(self.ufrag, self.password, self.fingerprint)
        self.takes_views = True

    def add(self, direction: Direction = Direction.SENDRECV) -> VideoLine:
        return self.negotiator.video.add(LocalVideo(self.formats, 1, 2, direction))

    def describe(self) -> bytes:
        """Its offer, with what it wants now."""
        return self.negotiator.write_offer()

    def take_answer(self, sdp: bytes) -> None:
        self.negotiator.read_answer(sdp)
        self.take(sdp)

    def answer_to(self, sdp: bytes) -> bytes:
        self.negotiator.read_offer(sdp)
        for line in self.negotiator.video.lines:
            if line.wanted is None and line.peer is not None and self.takes_views:
                line.wanted = LocalVideo(self.formats, 1, 2, Direction.RECVONLY)
        self.msids = {m.first("mid") or "": m.first("msid") or "" for m in parse(sdp).media if m.kind == "video"}
        return self.negotiator.write_answer().replace(b"a=setup:passive", b"a=setup:active")

    @property
    def seen(self) -> list[str]:
        """a=msid of every section by which somebody else's pictures come."""
        agreed = [(line.mid, line.settings.direction) for line in self.negotiator.video.lines if line.settings]
        return [self.msids[mid] for mid, direction in agreed if direction is Direction.RECVONLY]
