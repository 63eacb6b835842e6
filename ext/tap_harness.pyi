"""Tap rings filled without a network, for tests and benchmarks."""

from mediaserver.ext.tap import TapRing

def put(ring: TapRing, arrival_ns: int, packet: bytes, flags: int = 1) -> bool:
    """One packet into a ring, from the one thread that writes it. False: no room. Raises ValueError for its size."""

class Feeder:
    """Writes `packet`, with counted sequence numbers, into each of `rings` every 20 ms while `run` runs."""

    packets: int
    refused: int  # no room in the ring
    writing_ns: int  # wall time of all passes over the rings

    def __init__(self, rings: list[TapRing], packet: bytes) -> None: ...
    def run(self) -> None:
        """Until `stop`; for a thread of its own."""

    def stop(self) -> None: ...
