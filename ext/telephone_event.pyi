class Receiver:
    """RFC 4733 receiver of one stream."""

    def step(self, payload: bytes | memoryview, timestamp: int) -> tuple[str, str, int]:
        """(digit of a press that begins, digit of one that ends, its duration in RTP clock units).

        '' where nothing begins or ends. Raises ValueError for a payload shorter than 4 bytes.
        """

    def close(self) -> tuple[str, int]:
        """Ends a press whose packets have stopped: (digit or '', duration)."""

def event_packets(
    digit: str, timestamp: int, duration: int, elapsed: int, volume: int = 10
) -> list[tuple[bytes, int, bool]]:
    """All packets of one press as RFC 4733 sends them: (payload, RTP timestamp, marker). Units: RTP clock."""
