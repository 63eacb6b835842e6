class LevelsForTest:
    """One leg's state, packet by packet. vad: the V bit was agreed on."""

    def __init__(self, vad: bool = True) -> None: ...
    def read(self, number: int, data: bytes) -> int | None:
        """V bit and level of one RTP packet; None: it does not say, or is no RTP."""

    def write(self, number: int, data: bytes, level: int, capacity: int = 1500) -> bytes:
        """The packet with its level, 0..127; b"" where there is no room."""

    @property
    def malformed(self) -> int: ...
