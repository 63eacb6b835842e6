"""The pictures of one leg: its video sections in SDP and its tracks in the media plane, held together.

Owns opening, settling and closing tracks; which section a track belongs to; what the party can do. Decides nothing:
`video_pair`, `conference` and the echo say what is taken, `forwarding` what is shown.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import structlog

from mediaserver.calls.house import House
from mediaserver.calls.ports import VideoPlane
from mediaserver.calls.tasks import finish
from mediaserver.calls.voice import Voice
from mediaserver.errors import MediaError, NoPortFree
from mediaserver.model import Direction
from mediaserver.model_video import Content, MediaTrack, PictureSource, TrackSettings, VideoFormat
from mediaserver.sdp.negotiate import Negotiator
from mediaserver.sdp.video import house_formats
from mediaserver.sdp.video_lines import LocalVideo, VideoLine
from mediaserver.sdp.webrtc import WebRtcNegotiator
from mediaserver.sdp.words import LocalMedia

if TYPE_CHECKING:
    from mediaserver.calls.leg import Leg

log = structlog.get_logger()
_NAMES = {Content.MAIN: "camera", Content.SLIDES: "screen"}  # a browser cannot read a=content, the track's id it can


@dataclass(frozen=True, slots=True)
class Wish:
    """One picture that goes between two parties. formats: in the words of who can send or take it, best first."""

    content: Content
    formats: tuple[VideoFormat, ...]
    direction: Direction  # as we see it on the leg that shall have it
    bandwidth_bps_max: int = 0  # what the other end takes; 0: it named no limit
    stream: str = ""  # a=msid, for a browser that tells several parties apart
    name: str = ""  # of the track within it; "": by what is shown


class Track:
    """One video section of a leg. theirs: the party's own picture; else we opened it to show somebody else's."""

    def __init__(self, leg: Leg, line: VideoLine, media: MediaTrack, content: Content, *, theirs: bool) -> None:
        self.leg = leg
        self.line = line
        self.media = media
        self.content = content
        self.theirs = theirs
        self.settings: TrackSettings | None = None  # in effect
        self.active = False  # pictures arrive
        self.layer: str | None = None  # the simulcast stream it shows; "": the source is one stream; None: none
        self.source: Track | None = None  # whose pictures it shows

    @property
    def sends(self) -> bool:
        """We may show it pictures."""
        return self.settings is not None and self.settings.direction.sends

    @property
    def receives(self) -> bool:
        return self.settings is not None and self.settings.direction.receives


class LegVideo:
    def __init__(
        self, leg: Leg, house: House, voice: Voice, negotiator: Callable[[], Negotiator | WebRtcNegotiator]
    ) -> None:
        self._leg = leg
        self._house = house
        self._voice = voice
        self._negotiator = negotiator
        self.tracks: list[Track] = []
        self._offered: dict[Content, Wish] = {}  # what its last offer had, whatever became of it
        self.decide: Callable[[], Awaitable[None]] | None = None  # before our answer: what it takes of the offer
        self.on_change: Callable[[], None] | None = None  # tracks came, went or changed

    # -- what the party has said

    @property
    def offered(self) -> list[VideoLine]:
        """The sections of the party's own that its description has switched on, camera first; at most two are used."""
        lines = [line for line in self._negotiator().video.lines if line.peer is not None and line.index >= 0]
        theirs = [line for line in lines if (track := self.track_of(line)) is None or track.theirs]
        return theirs[:2]

    def content_of(self, line: VideoLine) -> Content:
        """What it said or was; else a party's first section is its camera, and one beside a camera its screen."""
        track = self.track_of(line)
        if track is not None:
            return track.content
        if line.peer is not None and line.peer.content is not None:
            return line.peer.content
        others = [other for other in self.offered if other is not line and other.index < line.index]
        return Content.SLIDES if any(self.content_of(other) is Content.MAIN for other in others) else Content.MAIN

    def wishes(self) -> list[Wish]:
        """What this party offers another one: its pictures, by the formats it described, also those refused so far."""
        found = dict(self._offered)
        for line in self.offered:
            if line.peer is not None:
                content = self.content_of(line)
                formats = tuple(described.format for described in line.peer.formats)
                found[content] = Wish(content, formats, line.peer.direction, line.peer.bandwidth_bps_max)
        return list(found.values())

    def track_of(self, line: VideoLine) -> Track | None:
        return next((track for track in self.tracks if track.line is line), None)

    def find(self, content: Content) -> Track | None:
        """The agreed track of the party's own with this content."""
        found = (track for track in self.tracks if track.theirs and track.content is content)
        return next((track for track in found if track.line.settings is not None), None)

    def codec_of(self, content: Content) -> str | None:
        """Of pictures that flow in one direction at least."""
        track = self.find(content)
        settings = track.settings if track is not None else None
        if settings is None or settings.direction is Direction.INACTIVE:
            return None
        return settings.send[0].codec.value

    # -- what is wanted

    async def accept(self, line: VideoLine, wish: Wish) -> None:
        """The answer will take this section, if a format fits. Without a port or room for it, it is refused."""
        track = self.track_of(line)
        if track is None:
            media = await self._open()
            if media is None:
                line.wanted = None
                return
            track = self._keep(line, media, self.content_of(line), theirs=True)
        line.wanted = self._local(track.media, wish)

    async def add(self, wish: Wish, *, theirs: bool = True) -> Track | None:
        """A section for our next offer. None: no port or room."""
        media = await self._open()
        if media is None:
            return None
        line = self._negotiator().video.add(self._local(media, wish))
        return self._keep(line, media, wish.content, theirs=theirs)

    def change(self, track: Track, wish: Wish) -> bool:
        """What our next offer says of it. False: nothing else than before."""
        wanted = self._local(track.media, wish)
        changed = wanted != track.line.wanted
        track.line.wanted = wanted
        return changed

    @staticmethod
    def remove(track: Track) -> None:
        """By our next offer."""
        track.line.wanted = None

    async def settle(self, *, keep_ready: bool) -> None:
        """Has somebody decide about the offer; what nobody wants is refused. Raises NegotiationError.

        keep_ready: a browser could not open a refused section again (RFC 8829 §5.2.2), so it stays, without pictures,
        in a codec of the house.
        """
        self._offered.clear()
        if self.decide is not None:
            await self.decide()
        self._offered = {wish.content: wish for wish in self.wishes()}
        for line in self.offered:
            if line.wanted is None and keep_ready:
                formats = house_formats(self._house.settings.media.video_codecs)
                await self.accept(line, Wish(self.content_of(line), formats, Direction.INACTIVE))

    # -- effect

    async def apply(self, signalling_host: str = "") -> bool:
        """Puts what was agreed into effect and closes what is gone. False: nothing new. Raises MediaError.

        signalling_host: for tracks with ports of their own, see StreamSettings.
        """
        changed = False
        for track in list(self.tracks):
            settings = track.line.settings
            if settings is not None and signalling_host:
                settings = replace(settings, signalling_host=signalling_host)
            if settings is None:
                if track.line.index < 0 and track.line.wanted is None:
                    await self._close(track)
                    changed = True
            elif settings != track.settings:
                await self._plane().set_track(track.media.handle, settings)
                track.settings = settings
                changed = True
        if changed:
            self._tell_recorder()
        if changed and self.on_change is not None:
            self.on_change()
        return changed

    def _tell_recorder(self) -> None:
        """What the party shows: of each content one track, the first."""
        if self._house.recorder is None:
            return
        shown: dict[Content, PictureSource] = {}
        for track in self.tracks:
            if track.theirs and track.receives and track.settings is not None and track.content not in shown:
                formats = track.settings.receive
                shown[track.content] = PictureSource(track.media.handle, track.content, formats)
        self._house.recorder.pictures_changed(self._voice.handle, tuple(shown.values()))

    async def want_key_frames(self) -> None:
        """The party cannot show what we send before the next key frame."""
        for track in self.tracks:
            if track.source is not None:
                with contextlib.suppress(MediaError):
                    await self._plane().request_key_frame(track.source.media.handle)

    def forget(self) -> None:
        """The leg closes, and its tracks with it."""
        for track in self.tracks:
            self._let_go(track)
        if self.tracks:
            self.tracks.clear()
            self._tell_recorder()

    # -- inside

    def _plane(self) -> VideoPlane:
        if self._house.video is None:
            raise MediaError("the media plane has no video")
        return self._house.video

    async def _open(self) -> MediaTrack | None:
        if self._house.video is None:
            return None
        opened: list[MediaTrack] = []

        async def opening() -> None:
            own_ports = isinstance(self._negotiator(), Negotiator)
            opened.append(await self._plane().open_track(self._voice.handle, own_ports=own_ports))

        try:
            await finish(opening())
        except (NoPortFree, MediaError) as error:
            log.warning("video refused: the media plane has no room for it", error=str(error))
            return None
        return opened[0]

    def _keep(self, line: VideoLine, media: MediaTrack, content: Content, *, theirs: bool) -> Track:
        track = Track(self._leg, line, media, content, theirs=theirs)
        self.tracks.append(track)
        self._house.tracks[media.handle] = track
        return track

    def _local(self, media: MediaTrack, wish: Wish) -> LocalVideo:
        local = self._negotiator().local
        ports = (
            LocalMedia(local.host, media.rtp_port, media.rtcp_port) if local is not None and media.rtp_port else None
        )
        return LocalVideo(
            formats=wish.formats,
            ssrc=media.ssrc,
            rtx_ssrc=media.rtx_ssrc,
            direction=wish.direction,
            content=wish.content,
            ports=ports,
            stream=wish.stream,
            name=wish.name or _NAMES[wish.content],
            bandwidth_bps_max=wish.bandwidth_bps_max,
        )

    async def _close(self, track: Track) -> None:
        self.tracks.remove(track)
        self._let_go(track)
        with contextlib.suppress(MediaError):
            await self._plane().close_track(track.media.handle)

    def _let_go(self, track: Track) -> None:
        self._house.tracks.pop(track.media.handle, None)
        track.settings = track.source = None
        for other in self._house.tracks.values():
            if other.source is track:
                other.source = None
