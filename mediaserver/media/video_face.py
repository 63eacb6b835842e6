"""What callers see of video in the media engine: one method per command, each answered by the worker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediaserver.model import LegHandle
from mediaserver.model_video import LegBandwidth, MediaTrack, TrackHandle, TrackSettings, TrackStats

if TYPE_CHECKING:
    from mediaserver.media.video import VideoEngine


class VideoFace:
    """Every method raises StaleHandle for a leg or track that is closed, QueueFull when too much waits already."""

    _video: VideoEngine

    async def open_track(self, leg: LegHandle, *, own_ports: bool = False) -> MediaTrack:
        """A video m-section of the leg. It receives and sends nothing before `set_track`.

        own_ports: a pair of ports of its own on the leg's address, for a peer without BUNDLE. Raises NoPortFree.
        """
        return await self._video.open_track(leg, own_ports=own_ports)

    async def set_track(self, track: TrackHandle, settings: TrackSettings) -> None:
        """Applies a negotiated offer/answer; may be called again. Raises MediaError for what is impossible."""
        await self._video.set_track(track, settings)

    async def close_track(self, track: TrackHandle) -> TrackStats:
        """RTCP BYE, last statistics. Closing its leg closes a track too."""
        return await self._video.close_track(track)

    async def connect_track(self, sink: TrackHandle, source: TrackHandle | None) -> None:
        """From now on `sink` sends what `source` receives, from the next key frame on (it is asked for); None: nothing.

        Both come to one media worker, as legs of a bridge do. Raises MediaError when both legs are held where they are.
        """
        await self._video.connect_track(sink, source)

    async def set_track_limits(
        self, sink: TrackHandle, *, priority: int, max_bps: int = 0, rid: str | None = None, paused: bool = False
    ) -> None:
        """How the sink shares its leg's bandwidth: a higher priority gets better layers first. rid: this layer only.

        max_bps: 0 means no limit. paused: nothing is sent; it goes on with a key frame. Raises MediaError for a RID
        the source does not have.
        """
        await self._video.set_track_limits(sink, priority=priority, max_bps=max_bps, rid=rid, paused=paused)

    async def request_key_frame(self, track: TrackHandle) -> None:
        """Asks the sender of this track's pictures, by PLI or FIR or as KeyFrameWanted; requests soon after each other
        become one."""
        await self._video.request_key_frame(track)

    def track_stats(self, track: TrackHandle) -> TrackStats:
        """A consistent snapshot, at most 100 ms old."""
        return self._video.track_stats(track)

    def leg_bandwidth(self, leg: LegHandle) -> LegBandwidth:
        """At most 100 ms old; all zero for a leg without tracks."""
        return self._video.leg_bandwidth(leg)
