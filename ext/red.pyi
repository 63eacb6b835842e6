def parse_for_test(payload: bytes) -> list[tuple[int, int, bytes]] | None:
    """(payload type, timestamp offset, payload) of each block, the primary last; None: malformed."""

class RedForTest:
    """One leg's state, step by step. payload_type -1: it takes no RED."""

    def __init__(self, payload_type: int, audio_type: int) -> None: ...
    def first(self, sequence: int, timestamp: int = 0) -> bool:
        """This sequence number has come; False: it was here before, or is too old to tell."""

    def back(self, carrier: int, timestamp: int, offset: int, counted: int) -> int:
        """How many packets before its carrier the one was sent that a block repeats; 0: it is not missing."""

    def report(self, fraction: int, now_ns: int) -> int:
        """A receiver report, in 1/256. Returns the number of payloads repeated from now on."""

    def wrap(self, packet: bytes, capacity: int = 1500) -> bytes | None:
        """packet: 12 bytes of header and a payload, sent in this order. None: to be sent as it is."""
