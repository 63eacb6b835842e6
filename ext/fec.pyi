FEC_PERCENT: int  # the loss an encoder is told of while FEC is on

class FecForTest:
    """One leg's state, report by report."""

    def report(
        self,
        fraction: int,
        now_ns: int,
        *,
        burst_density: int = 0,
        bitrate_bps: int = 24_000,
        repeated: bool = False,
    ) -> bool:
        """A receiver report, in 1/256. Returns whether FEC is on from now on."""

    @property
    def reason(self) -> int:
        """Of model.FEC_REASONS."""

    @property
    def switches(self) -> int: ...
    @staticmethod
    def even(burst_density: int, bitrate_bps: int) -> float:
        """The loss at which FEC costs what it gives, 0..1."""
