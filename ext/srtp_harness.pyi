"""SRTP sessions for tests and benchmarks."""

class SessionForTest:
    """One direction of one key. suite: index of the profile in model.SrtpProfile. Raises ValueError for a wrong key."""

    def __init__(self, suite: int, key_and_salt: bytes, outbound: bool) -> None: ...
    def step(self, data: bytes, control: bool) -> tuple[int, bytes]:
        """Protects (outbound) or unprotects one packet: (verdict, result). 0 done, 1 failed, 2 replayed, 3 refused."""

def stretch(suite: int, key_and_salt: bytes, payload_bytes: int, count: int) -> tuple[float, float]:
    """ns per packet to protect and to unprotect `count` packets lying in memory one behind the other."""
