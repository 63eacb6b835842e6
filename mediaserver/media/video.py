"""The engine's face for video: tracks opened, set, connected, limited and watched.

Owns which track is where. A track is one more thing on its leg's worker; one with ports of its own lives on a leg that
nobody else sees, which moves and ends with the leg it belongs to. Knows nothing of calls or SDP.
"""

from __future__ import annotations

import itertools
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mediaserver.errors import MediaError, StaleHandle
from mediaserver.media.records import Leg
from mediaserver.model import Direction, LegHandle, StreamSettings
from mediaserver.model_video import (
    KeyFrameWanted,
    LayerChanged,
    LegBandwidth,
    MediaTrack,
    TrackActive,
    TrackHandle,
    TrackSettings,
    TrackStats,
    VideoEvent,
)

if TYPE_CHECKING:
    from mediaserver.media.engine import MediaEngine


@dataclass(slots=True)
class Track:
    """What the engine keeps of a track. home: the leg whose worker it is on, the owner's or one of its own."""

    handle: TrackHandle
    owner: LegHandle
    home: Leg
    number: int  # in its home
    ssrc: int
    rtx_ssrc: int
    settings: TrackSettings | None = None
    source: Track | None = None
    viewers: set[TrackHandle] = field(default_factory=set)

    @property
    def own_ports(self) -> bool:
        return self.home.handle != self.owner


class VideoEngine:
    """The part of MediaEngine that knows tracks; made by it, with its legs and workers."""

    def __init__(self, engine: MediaEngine) -> None:
        self._engine = engine
        self._tracks: dict[TrackHandle, Track] = {}
        self._numbers = itertools.count(1)

    # --- life of a track

    async def open_track(self, leg: LegHandle, *, own_ports: bool) -> MediaTrack:
        owner = await self._engine.settled(leg)
        home = owner
        host, rtp_port, rtcp_port = "", 0, 0
        if own_ports:
            host = owner.host
            opened = await self._engine.open_leg(host, call_id=owner.call_id, near=leg, spirals=owner.spirals)
            home = self._engine.leg_record(opened.handle)
            owner.followers.append(opened.handle)
            rtp_port, rtcp_port = opened.rtp_port, opened.rtcp_port
        number = next(self._numbers)
        track = Track(
            TrackHandle(number),
            leg,
            home,
            number,
            secrets.randbits(32) or 1,
            secrets.randbits(32) or 1,
        )
        command_id = home.link.worker.open_track(
            home.native,
            number,
            track.ssrc,
            track.rtx_ssrc,
            secrets.randbits(15),  # below 2^15, as a leg's: far from SRTP's first wrap
            secrets.randbits(15),
            secrets.randbits(32),
        )
        self._tracks[track.handle] = track
        await home.link.reply(command_id, lambda status, result: self._drop(track) if status else None)
        return MediaTrack(track.handle, leg, track.ssrc, track.rtx_ssrc, host, rtp_port, rtcp_port)

    async def set_track(self, handle: TrackHandle, settings: TrackSettings) -> None:
        track, home = await self._settled(handle)
        if track.own_ports:
            await self._engine.set_stream(home.handle, _transport_of(settings))
        await home.link.reply(home.link.worker.set_track(home.native, track.number, settings))
        track.settings = settings

    async def close_track(self, handle: TrackHandle) -> TrackStats:
        track, home = await self._settled(handle)
        command_id = home.link.worker.close_track(home.native, track.number)
        self._drop(track)
        last = await home.link.reply(command_id)
        if track.own_ports:
            await self._engine.close_leg(home.handle)
        return _stats(track, last)

    async def connect_track(self, sink: TrackHandle, source: TrackHandle | None) -> None:
        track, home = await self._settled(sink)
        if source is None:
            self._note(track, None)
            await home.link.reply(home.link.worker.connect_track(home.native, track.number, 0, 0))
            return
        other, from_ = await self._settled(source)
        if from_.link is not home.link:
            await self._bring_together(track, other)
            track, home = await self._settled(sink)
            other, from_ = await self._settled(source)
        self._note(track, other)
        await home.link.reply(
            home.link.worker.connect_track(home.native, track.number, from_.native, other.number),
        )

    async def set_track_limits(
        self, handle: TrackHandle, *, priority: int, max_bps: int, rid: str | None, paused: bool
    ) -> None:
        track, home = await self._settled(handle)
        command_id = home.link.worker.set_track_limits(
            home.native, track.number, priority=priority, max_bps=max_bps, layer=_layer_of(track, rid), paused=paused
        )
        await home.link.reply(command_id)

    async def request_key_frame(self, handle: TrackHandle) -> None:
        track, home = await self._settled(handle)
        await home.link.reply(home.link.worker.request_key_frame(home.native, track.number))

    def owner_of(self, handle: TrackHandle) -> LegHandle:
        """The leg whose pictures they are."""
        return self._track(handle).owner

    async def placed(self, handle: TrackHandle) -> tuple[int, Leg]:
        """Its number in the leg whose worker it is on."""
        track, home = await self._settled(handle)
        return track.number, home

    # --- watched

    def track_stats(self, handle: TrackHandle) -> TrackStats:
        track = self._track(handle)
        return _stats(track, track.home.link.worker.track_stats(track.home.native, track.number))

    def leg_bandwidth(self, leg: LegHandle) -> LegBandwidth:
        found = self._engine.leg_record(leg)
        return LegBandwidth(leg=leg, **found.link.worker.leg_bandwidth(found.native))

    def event_of(self, message: tuple[Any, ...]) -> VideoEvent | None:
        """A worker's word about a track; None: it is gone."""
        track = self._tracks.get(TrackHandle(message[2]))
        if track is None:
            return None
        if message[0] == "track_active":
            return TrackActive(track.handle, message[3])
        if message[0] == "key_frame":
            return KeyFrameWanted(track.handle)
        return LayerChanged(track.handle, _rid_of(track, message[3]))

    async def moved(self, leg: LegHandle) -> None:
        """The leg is on another worker: what it was connected to there is connected again, the rest is not."""
        for track in [track for track in self._tracks.values() if track.home.handle == leg]:
            for sink in [track, *(self._tracks[viewer] for viewer in list(track.viewers))]:
                source = sink.source
                if source is None:
                    continue
                if source.home.link is not sink.home.link:
                    self._note(sink, None)
                    continue
                worker = sink.home.link.worker
                command_id = worker.connect_track(sink.home.native, sink.number, source.home.native, source.number)
                await sink.home.link.reply(command_id)

    def forget_leg(self, leg: LegHandle) -> None:
        """The leg is closed, and its tracks with it."""
        for track in [track for track in self._tracks.values() if leg in (track.owner, track.home.handle)]:
            self._drop(track)

    # --- inside

    def _track(self, handle: TrackHandle) -> Track:
        found = self._tracks.get(handle)
        if found is None:
            raise StaleHandle(f"track {handle} is closed")
        return found

    async def _settled(self, handle: TrackHandle) -> tuple[Track, Leg]:
        track = self._track(handle)
        return track, await self._engine.settled(track.home.handle)

    def _note(self, sink: Track, source: Track | None) -> None:
        if sink.source is not None:
            sink.source.viewers.discard(sink.handle)
        sink.source = source
        if source is not None:
            source.viewers.add(sink.handle)

    def _drop(self, track: Track) -> None:
        self._note(track, None)
        for viewer in list(track.viewers):
            self._tracks[viewer].source = None
        track.viewers.clear()
        self._tracks.pop(track.handle, None)

    async def _bring_together(self, sink: Track, source: Track) -> None:
        """One of the two legs moves to the other's worker: the one that nothing holds where it is."""
        for moving, to in ((sink, source), (source, sink)):
            if not self._held(moving):
                await self._engine.move(moving.owner, self._engine.leg_record(to.owner).link)
                return
        raise MediaError(
            f"tracks {sink.handle} and {source.handle} are on two media workers, each with others it is connected to: "
            "bring their legs into one bridge first"
        )

    def _held(self, track: Track) -> bool:
        if self._engine.is_bridged(track.owner):
            return True
        mates = [other for other in self._tracks.values() if other.owner == track.owner]
        return any(other.source is not None or other.viewers for other in mates)


def _transport_of(settings: TrackSettings) -> StreamSettings:
    """A track's own ports as a stream without any sound."""
    return StreamSettings(
        send=(),
        receive=(),
        remote=settings.remote,
        remote_rtcp=settings.remote_rtcp,
        rtcp_mux=settings.rtcp_mux,
        direction=Direction.INACTIVE,  # of sound: nobody is missed when it is silent
        send_key=settings.send_key,
        receive_key=settings.receive_key,
        remote_proven=settings.remote_proven,
        signalling_host=settings.signalling_host,
        cname=settings.cname,
    )


def _layer_of(sink: Track, rid: str | None) -> int | None:
    if rid is None:
        return None
    source = sink.source
    rids = source.settings.rids if source is not None and source.settings is not None else ()
    if rid not in rids:
        raise MediaError(f"track {sink.handle} gets no stream {rid!r}; its source sends {', '.join(rids) or 'one'}")
    return rids.index(rid)


def _rid_of(sink: Track, layer: int | None) -> str | None:
    if layer is None:
        return None
    source = sink.source
    rids = source.settings.rids if source is not None and source.settings is not None else ()
    return rids[layer] if layer < len(rids) else ""


def _rids(source: Track) -> tuple[str, ...]:
    """Of what it receives; one stream has none."""
    return (source.settings.rids if source.settings is not None else ()) or ("",)


def _stats(track: Track, raw: dict[str, Any]) -> TrackStats:
    """raw: a worker's snapshot by field name (ext/video_track.pxd TrackSnapshot)."""
    fields = {name: raw[name] for name in TrackStats.__slots__ if name in raw}
    fraction = raw["remote_fraction"]
    fields.update(
        track=track.handle,
        rid=_rid_of(track, raw["layer"]),
        streams=tuple((rid, bps) for rid, bps in zip(_rids(track), raw["layer_bps"], strict=False) if bps >= 0),
        remote_loss_fraction=fraction / 256 if fraction >= 0 else -1.0,
    )
    return TrackStats(**fields)
