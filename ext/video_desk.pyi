"""The track commands of one media worker; see video_desk.pyx. Used from the event loop's thread only."""

from typing import Any

from mediaserver.ext.doorkeeper import Doorkeeper
from mediaserver.ext.tap import TapRing
from mediaserver.model_video import TrackSettings

class TrackDesk(Doorkeeper):
    """Every command method returns the command's id. Raises StaleHandle, QueueFull."""

    def open_track(
        self, leg: int, track: int, ssrc: int, rtx_ssrc: int, sequence: int, rtx_sequence: int, timestamp: int
    ) -> int:
        """track: a number this leg has not had yet, 1 or more."""

    def set_track(self, leg: int, track: int, settings: TrackSettings) -> int: ...
    def close_track(self, leg: int, track: int) -> int:
        """The reply's result is the track's last statistics."""

    def connect_track(self, leg: int, track: int, source_leg: int, source_track: int) -> int:
        """What (leg, track) sends is what (source_leg, source_track) receives; source_leg 0: nothing."""

    def set_track_limits(
        self, leg: int, track: int, *, priority: int, max_bps: int, layer: int | None, paused: bool
    ) -> int:
        """layer: a number to pin it, None for free choice."""

    def open_track_tap(self, leg: int, track: int, ring: TapRing) -> int:
        """A copy of what the track receives goes there; its sender is asked for a key frame."""

    def close_track_tap(self, leg: int, track: int, ring: TapRing) -> int: ...
    def request_key_frame(self, leg: int, track: int) -> int: ...
    def track_entry(self, leg: int, track: int) -> tuple[int, TrackSettings | None]: ...
    def track_stats(self, leg: int, track: int) -> dict[str, Any]:
        """Fields of TrackSnapshot by name; at most 100 ms old. Raises StaleHandle."""

    def leg_bandwidth(self, leg: int) -> dict[str, Any]:
        """Fields of BandwidthSnapshot by name; at most 100 ms old, zeros without video. Raises StaleHandle."""
