"""Tap rings; the record layout is in tap.pxd."""

class TapPool:
    """Rings in a file on a tmpfs, mapped whole: a slot each. The event loop's thread, all of it."""

    def __init__(self, descriptor: int, sound: int, video: int) -> None:
        """How many slots. The descriptor is the pool's from now on. Raises OSError, and it is the caller's still."""

    @property
    def free(self) -> int: ...

class TapRing:
    """One tap's ring. `drain` belongs to one reading thread; the rest to the event loop's."""

    def __init__(self, handle: int, video: bool = False, pool: TapPool | None = None) -> None:
        """256 KiB; of video 1 MiB. Without room in the pool its memory is the process's. Raises MemoryError."""

    @property
    def outlives(self) -> bool:
        """Whether its memory outlives this process."""

    @property
    def waiting(self) -> int:
        """Bytes that are kept nowhere else yet."""

    def drain(self, into: bytearray | memoryview) -> int:
        """Moves whole records into a writable buffer, without the GIL; bytes written, 0 when empty."""

    def take_loss(self) -> int:
        """Records lost so far; the next loss is told anew."""

    @property
    def handle(self) -> int: ...
