"""Journals being written; see sink.pxd."""

from mediaserver.ext.tap import TapRing

class LegSink:
    """One journal's file, key and chain. The writer's thread calls everything but `close_window`."""

    def __init__(
        self,
        descriptor: int,
        key: bytes,
        number: int,
        previous: bytes,
        file_bytes: int,
        spool_id: int = 0,
        video: bool = False,
    ) -> None:
        """video: each round drains it after all sound. number, previous, file_bytes: what the file holds.

        Raises ValueError for a key not of 32 bytes.
        """

    def open(self, ring: TapRing, from_ns: int) -> None:
        """From now on rounds drain this ring; what arrived before from_ns is not written."""

    def open_window(self, from_ns: int) -> None: ...
    def close_window(self, until_ns: int) -> None:
        """Nothing that arrives from then on is written. At once, from any thread."""

    def close(self, now_ns: int) -> None:
        """Takes what the ring still holds, then forgets it. Without the GIL."""

    def put(self, records: bytes, now_ns: int) -> None:
        """Whole records, after what waits, sealed and in the file on return. Raises ValueError for too many."""

    def take_dirty(self) -> bool:
        """Whether anything was written since this was last asked. Any thread."""

    @property
    def window_until_ns(self) -> int:
        """A time that never comes while the window is open."""

    @property
    def window_closed(self) -> bool: ...
    @property
    def number(self) -> int: ...
    @property
    def head(self) -> bytes: ...
    @property
    def file_bytes(self) -> int: ...
    @property
    def failure(self) -> int:
        """errno of the write that failed; 0: none. Nothing is written after it, the ring is still emptied."""

    def fail(self, code: int) -> None:
        """From now on nothing is written, for a reason of somebody else's. Any thread."""

    @property
    def outside(self) -> int:
        """Packets thrown away because they did not arrive in the window."""

    @property
    def video(self) -> bool: ...
    @property
    def waiting(self) -> int:
        """Bytes of records that are not in the file yet."""
