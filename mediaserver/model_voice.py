"""What is done to a party's voice before others hear it: the values that settings, calls and the engine share."""

from __future__ import annotations

from dataclasses import dataclass

NOISE_DB_MAX = 25.0  # deeper sounds like a line that is cut between words
LOUDNESS_DBOV = (-40.0, -10.0)
BOOST_DB_MAX = 30.0
CUT_DB_MAX = 20.0


@dataclass(frozen=True, slots=True)
class VoiceProcessing:
    """Each step is off by default: it makes a leg be decoded that may have been relayed, and changes what was said.

    noise_db: how far steady noise is turned down at the most, 0..25; 0: not at all. loudness_dbov: active speech level
    (ITU-T P.56) that the voice is brought to, -40..-10 dBov; 0: left as it is. boost_max_db: 0..30, how much a soft
    voice gets at the most. Raises ValueError outside those ranges.
    """

    high_pass: bool = False  # 90 Hz: mains, wind, handling
    noise_db: float = 0.0
    loudness_dbov: float = 0.0
    boost_max_db: float = 18.0
    line_check: bool = False  # hum and echo are looked for; what was said is not changed
    echo_cancel: bool = False  # what it is sent is taken out where it comes back; 10 ms delay

    def __post_init__(self) -> None:
        low, high = LOUDNESS_DBOV
        if not 0 <= self.noise_db <= NOISE_DB_MAX:
            raise ValueError(f"noise suppression of {self.noise_db} dB; 0 (off) to {NOISE_DB_MAX:g} are possible")
        if self.loudness_dbov != 0 and not low <= self.loudness_dbov <= high:
            raise ValueError(f"a loudness of {self.loudness_dbov} dBov; {low:g} to {high:g}, or 0 (off), are possible")
        if not 0 <= self.boost_max_db <= BOOST_DB_MAX:
            raise ValueError(f"a boost of {self.boost_max_db} dB; 0 to {BOOST_DB_MAX:g} are possible")

    @property
    def does_something(self) -> bool:
        return self.high_pass or self.noise_db > 0 or self.loudness_dbov != 0 or self.line_check or self.echo_cancel
