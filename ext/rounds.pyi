"""The recording writer's round; see rounds.pyx."""

from mediaserver.ext.sink import LegSink

class Rounds:
    """Every open journal of a process. All but `wake` and the figures belong to the writer's thread."""

    packets: int  # taken from rings and kept
    lag_ns: int  # age of the oldest packet when it was written: of the last round, and the worst ever
    lag_ns_max: int
    spool_failure: int  # errno; the spool is given up then until `use_spool`
    spool_bytes: int

    def __init__(self, turns: int = 1, video_ns_max: int = ...) -> None:
        """turns: rounds in a circle. video_ns_max: how much of a round pictures may take before they wait."""

    def add(self, sink: LegSink) -> None: ...
    def remove(self, sink: LegSink) -> None: ...
    def use_spool(self, descriptor: int, key: bytes, at: int = 0, number: int = 0) -> None:
        """Batches go there from now on, from this offset and number up. -1 and b"": nowhere.

        Then each round seals every leg. Raises ValueError.
        """

    def round(self, now_ns: int) -> int:
        """One round at this time. How many journals have failed so far; the spool's failure is `spool_failure`."""

    def seal(self, now_ns: int) -> None:
        """What waits in any journal's buffer goes to its file now."""

    def run(self, flush_ns: int, until_ns: int) -> int:
        """Rounds every flush_ns until woken, until the time, the end of a circle, or a new failure. Journals failed.

        Without a journal it sleeps: who attaches one wakes it.
        """

    def take_circle(self) -> bool:
        """Whether a circle has ended, in which every journal was sealed, since this was last asked: once for each."""

    def wake(self) -> None:
        """Ends `run`, or the next one. Any thread."""

    @property
    def journals(self) -> int: ...
    @property
    def bytes_written(self) -> int:
        """To journals that are open now, since they were made."""

    @property
    def packets_outside(self) -> int: ...
    @property
    def busy_since_ns(self) -> int:
        """When the present round of `run` began; 0: at rest."""

    def lag_histogram(self) -> list[int]:
        """Legs' rounds by lag, a millisecond each; the last bucket takes all that is later."""
