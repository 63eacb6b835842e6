"""The commands of one media worker; see control.pyx. Used from the event loop's thread only."""

from collections.abc import Mapping, Sequence

from mediaserver.ext.mailbox import DetachedLeg
from mediaserver.ext.tap import TapRing
from mediaserver.ext.video_desk import TrackDesk
from mediaserver.model import StreamSettings

class Worker(TrackDesk):
    """Every command method returns the command's id; its reply comes out of `drain` exactly once.

    Raises QueueFull when `queue_size` commands are unanswered, StaleHandle for a handle that is known to be closed.
    """

    def open_leg(
        self,
        rtp_socket: int,
        rtcp_socket: int,
        ssrc: int,
        sequence: int,
        timestamp: int,
        datagrams: bool = False,
        shares_port: bool = False,
    ) -> tuple[int, int]:
        """(command id, leg handle). The sockets stay the caller's to close, after the reply to close_leg.

        datagrams: STUN and DTLS of the RTP socket come out of `drain`. shares_port: the RTP socket is an open port's.
        """

    def set_stream(self, leg: int, settings: StreamSettings) -> int: ...
    def close_leg(self, leg: int) -> int:
        """The reply's result is the leg's last statistics."""

    def set_gain(self, leg: int, gain_q12: int) -> int: ...
    def set_mute(self, leg: int, muted: bool) -> int: ...
    def set_processing(self, leg: int, config: Mapping[str, float] | None) -> int:
        """What is done to what this leg says: the fields of ext/processing ProcessingConfig; None: nothing."""

    def publish(self, leg: int) -> int:
        """Brings the leg's statistics up to this moment."""

    def play(
        self, leg: int, samples: bytes, rate_hz: int, *, play_id: int, loop: bool, gain_q12: int, start: int
    ) -> int:
        """samples: int16 native order at 8, 16 or 48 kHz. Ends with ("play_ended", leg, play_id, completed, sent):
        sent is (SSRC, first, last extended sequence number, packets) of what carried it, or None."""

    def play_tone(
        self,
        leg: int,
        frequencies_hz: Sequence[float],
        cadence_ms: Sequence[int],
        level_dbm0: float,
        repeats: int,
        *,
        play_id: int,
    ) -> int:
        """Up to four sines, up to eight times on and off; repeats 0: until stopped."""

    def stop_play(self, leg: int) -> int: ...
    def send_dtmf(self, leg: int, digits: bytes, duration_ms: int, gap_ms: int) -> int:
        """All of the digits or, with STATUS_FULL, none."""

    def report_digit(self, leg: int, digit: int) -> int:
        """A digit of this leg came by signalling: told as ("digit", …) unless the media brought the same press."""

    def open_tap(self, leg: int, ring: TapRing) -> int: ...
    def close_tap(self, leg: int, ring: TapRing) -> int: ...
    def detach_leg(self, leg: int) -> int:
        """The reply's result is a DetachedLeg for another worker's adopt_leg."""

    def adopt_leg(self, detached: DetachedLeg) -> tuple[int, int]:
        """(command id, the leg's handle in this worker)."""

    def open_bridge(self) -> tuple[int, int]: ...
    def close_bridge(self, bridge: int) -> int: ...
    def bridge_add(self, bridge: int, leg: int) -> int: ...
    def bridge_remove(self, bridge: int, leg: int) -> int: ...
    def set_hears(self, bridge: int, listener: int, speaker: int, hears: bool) -> int: ...
