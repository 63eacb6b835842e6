"""A run of a journal's RTP records whose RTP time goes on as it did."""

class Run:
    ssrc: int
    payload_type: int
    clock_hz: int
    first_timestamp: int
    codec_from_ns: int
    ahead_ns: int
    lag_ns: int
    knot_from_ns: int
    knot_until_ns: int
    least_before_ns: int
    sequence: int
    timestamp: int
    knot_rtp_ns: int
    knot_offset_ns: int
    last_arrival_ns: int
    packets: int
    def follow(self, data: bytes, position: int) -> int:
        """Takes whole, intact records from `position` on, as long as each is what was to be expected.

        Returns the position of the first that is not (or of the end): that one has to be looked at.
        """
