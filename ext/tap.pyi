"""Tap rings; the record layout is in tap.pxd."""

class TapRing:
    """One tap's ring. `drain` belongs to one reading thread; the rest to the event loop's."""

    def __init__(self, handle: int, video: bool = False) -> None:
        """256 KiB; of video 1 MiB. Raises MemoryError."""

    def drain(self, into: bytearray | memoryview) -> int:
        """Moves whole records into a writable buffer, without the GIL; bytes written, 0 when empty."""

    def take_loss(self) -> int:
        """Records lost so far; the next loss is told anew."""

    @property
    def handle(self) -> int: ...
