"""Tap rings filled without a network, for tests and benchmarks."""

from mediaserver.ext.tap import TapRing

def put(ring: TapRing, arrival_ns: int, packet: bytes, flags: int = 1) -> bool:
    """One packet into a ring, from the one thread that writes it. False: no room. Raises ValueError for its size."""

class Feeder:
    """Writes `packet`, with counted sequence numbers, into each ring every 20 ms while `run` runs."""

    packets: int
    refused: int  # no room in the ring
    writing_ns: int  # wall time of all passes over the rings

    def __init__(self, room: int, packet: bytes) -> None:
        """room: rings it can take. Raises ValueError for the packet's size."""

    def add(self, ring: TapRing) -> None:
        """Fed from now on, until the end. Raises ValueError when there is no room."""

    def run(self) -> None:
        """Until `stop`; for a thread of its own."""

    def stop(self) -> None: ...
