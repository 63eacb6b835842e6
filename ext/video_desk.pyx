"""Commands about tracks as Python gives them: each allocates what its command carries.

A track is named by its leg's handle and a number that its leg never uses twice. Used from the event loop's thread only.
"""

from libc.stdint cimport uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from mediaserver.ext.channel cimport (
    OP_ASK_KEY_FRAME,
    OP_CLOSE_TRACK,
    OP_CLOSE_TRACK_TAP,
    OP_CONNECT_TRACK,
    OP_LIMIT_TRACK,
    OP_OPEN_TRACK,
    OP_OPEN_TRACK_TAP,
    OP_SET_TRACK,
    Command,
)
from mediaserver.ext.leg cimport Leg
from mediaserver.ext.tap cimport TapRing
from mediaserver.ext.video_commands cimport TrackLimits, TrackOpening
from mediaserver.ext.video_leg cimport TRACKS_PER_LEG_MAX, VideoLeg, video_leg_free, video_leg_new
from mediaserver.ext.video_setup cimport bandwidth_to_python, track_change_new, track_snapshot_to_python
from mediaserver.ext.video_track cimport NO_LAYER, Track, TrackChange, track_change_free, track_free, track_new

from mediaserver.errors import QueueFull, StaleHandle


cdef class TrackDesk(Doorkeeper):
    """Raises StaleHandle for a leg or track that is known to be closed, QueueFull as every command."""

    def open_track(self, uint64_t leg, int track, uint32_t ssrc, uint32_t rtx_ssrc, uint16_t sequence,
                   uint16_t rtx_sequence, uint32_t timestamp) -> int:
        """track: a number this leg has not had yet, 1 or more."""
        cdef Command c = self.command(OP_OPEN_TRACK, leg)
        cdef TrackOpening* opening
        cdef Track* new
        self.legs.get(leg)
        known = self.tracks.setdefault(leg, {})
        if len(known) == TRACKS_PER_LEG_MAX:
            raise QueueFull(f"a leg has at most {TRACKS_PER_LEG_MAX} tracks")
        opening = <TrackOpening*>calloc(1, sizeof(TrackOpening))
        new = track_new(track, ssrc, rtx_ssrc, sequence, rtx_sequence, timestamp)
        try:
            if opening is NULL or new is NULL:
                raise MemoryError
            opening.track = new
            if leg not in self.with_video:
                opening.video = video_leg_new()
                if opening.video is NULL:
                    raise MemoryError
            c.data = opening
            c.value = track
            self.submit(&c)
        except BaseException:
            if opening is not NULL:
                video_leg_free(opening.video)
                free(opening)
            track_free(new)
            raise
        self.with_video.add(leg)
        known[track] = (<size_t>new, None)
        return c.id

    def set_track(self, uint64_t leg, int track, settings) -> int:
        cdef Command c = self.command(OP_SET_TRACK, leg)
        cdef TrackChange* change
        pointer, former = self.track_entry(leg, track)
        change = track_change_new(settings, former)
        c.data = change
        c.value = track
        try:
            self.submit(&c)
        except BaseException:
            track_change_free(change)
            raise
        self.tracks[leg][track] = (pointer, settings)
        return c.id

    def close_track(self, uint64_t leg, int track) -> int:
        """The reply's result is the track's last statistics."""
        return self.track_command(OP_CLOSE_TRACK, leg, track)

    def connect_track(self, uint64_t leg, int track, uint64_t source_leg, int source_track) -> int:
        """What (leg, track) sends is what (source_leg, source_track) receives; source_leg 0: nothing."""
        cdef Command c = self.command(OP_CONNECT_TRACK, leg)
        self.track_entry(leg, track)
        if source_leg:
            self.track_entry(source_leg, source_track)
        c.value = track
        c.other = source_leg
        c.flag = source_track
        return self.submit(&c)

    def set_track_limits(self, uint64_t leg, int track, *, int priority, int64_t max_bps, layer, bint paused) -> int:
        """layer: a number to pin it, None for free choice."""
        cdef Command c = self.command(OP_LIMIT_TRACK, leg)
        cdef TrackLimits* limits
        self.track_entry(leg, track)
        limits = <TrackLimits*>calloc(1, sizeof(TrackLimits))
        if limits is NULL:
            raise MemoryError
        limits.priority = priority
        limits.bps_max = max_bps
        limits.pinned = NO_LAYER if layer is None else layer
        limits.paused = paused
        c.value = track
        c.data = limits
        try:
            return self.submit(&c)
        except BaseException:
            free(limits)
            raise

    def request_key_frame(self, uint64_t leg, int track) -> int:
        return self.track_command(OP_ASK_KEY_FRAME, leg, track)

    def open_track_tap(self, uint64_t leg, int track, TapRing ring not None) -> int:
        """A copy of what the track receives goes there; its sender is asked for a key frame."""
        command_id = self.track_tap_command(OP_OPEN_TRACK_TAP, leg, track, ring)
        self.taps.setdefault(leg, []).append(ring)
        return command_id

    def close_track_tap(self, uint64_t leg, int track, TapRing ring not None) -> int:
        return self.track_tap_command(OP_CLOSE_TRACK_TAP, leg, track, ring)

    cdef uint64_t track_tap_command(self, int operation, uint64_t leg, int track, TapRing ring) except 0:
        cdef Command c = self.command(operation, leg)
        self.track_entry(leg, track)
        c.value = track
        c.data = ring.tap
        return self.submit(&c)

    cdef uint64_t track_command(self, int operation, uint64_t leg, int track) except 0:
        cdef Command c = self.command(operation, leg)
        self.track_entry(leg, track)
        c.value = track
        return self.submit(&c)

    def track_entry(self, uint64_t leg, int track) -> tuple:
        """(address, settings) of an open track."""
        self.legs.get(leg)
        entry = self.tracks.get(leg, {}).get(track)
        if entry is None:
            raise StaleHandle(f"track {track} of leg {leg:#x} is closed")
        return entry

    def track_stats(self, uint64_t leg, int track) -> dict:
        """Fields of TrackSnapshot by name; at most 100 ms old. Raises StaleHandle."""
        return track_snapshot_to_python(<Track*><size_t>self.track_entry(leg, track)[0])

    def leg_bandwidth(self, uint64_t leg) -> dict:
        """Fields of BandwidthSnapshot by name; at most 100 ms old, zeros without video. Raises StaleHandle."""
        cdef Leg* found = <Leg*>self.legs.get(leg)
        return bandwidth_to_python(<VideoLeg*>found.video)
