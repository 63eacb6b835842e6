"""A playout with its own packet pool, for tests, simulations and benchmarks in virtual time. Not used by the server."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

class PlayoutHarness:
    """One playout (see playout.pxd for the contract) and a pool of `capacity` packets; all times are virtual, in ns."""

    def __init__(
        self, *, min_delay_ms: int = 20, max_delay_ms: int = 500, rate_hz: int = 8000, capacity: int = 512
    ) -> None: ...
    def close(self) -> None:
        """Frees the playout; the pool stays, so that `free_count` can be looked at. Nothing else may follow."""

    def set_codec(self, payload_type: int, name: str, *, rate_hz: int = 0, clock_hz: int = 0) -> bool:
        """name: as in `codecs.audio.CODEC_IDS`. False: refused."""

    def clear_codecs(self) -> None: ...
    def set_rate(self, rate_hz: int) -> None: ...
    def restart(self) -> None: ...
    def put(
        self,
        sequence: int,
        timestamp: int,
        payload: bytes,
        payload_type: int = 0,
        marker: bool = False,
        arrival_ns: int = 0,
    ) -> str:
        """One of queued, late, duplicate, overflow, bad; pool: no free packet. Both counters are taken modulo."""

    def pull(self, now_ns: int, samples: int) -> tuple[NDArray[np.int16], str]:
        """int16[samples] and one of silence, voice, concealed, comfort."""

    def note(self, sequence: int, arrival_ns: int) -> None: ...
    def observe(self, sequence: int, timestamp: int, clock_hz: int, arrival_ns: int) -> None: ...
    def observe_many(
        self,
        sequences: NDArray[np.uint16],
        timestamps: NDArray[np.uint32],
        clock_hz: int,
        arrivals_ns: NDArray[np.int64],
    ) -> None: ...
    def run(
        self,
        payloads: Sequence[bytes],
        sequences: NDArray[np.uint16],
        timestamps: NDArray[np.uint32],
        payload_type: int,
        arrivals_ns: NDArray[np.int64],
        first_pull_ns: int,
        frame_samples: int,
        frames: int,
    ) -> NDArray[np.int16]:
        """Everything in one native loop: packets (sorted by arrival) are put before the pull they arrived for."""

    @property
    def free_count(self) -> int: ...
    @property
    def line_bytes(self) -> int:
        """What the line of samples takes at present."""

    @property
    def stats(self) -> dict[str, int]:
        """PlayoutStats by field name."""
