"""Missing packets of a received stream; see video_nack.pyx."""

class NackListForTest:
    def add(self, first: int, last: int, now_ns: int) -> int: ...
    def remove(self, sequence: int) -> bool: ...
    def due(self, now_ns: int, round_trip_ns: int) -> tuple[list[int], int]:
        """(sequence numbers to ask for, how many were given up)."""
