"""Call-progress tones by country: ringback, busy, congestion, dial, waiting, and the beep before a recording.

Owns the table, after ITU-T E.180 Supplement 2 (various tones used in national networks); plays nothing. The beep is
ours, and so are the levels, the same for every country: a listener likes an even one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, get_args

from mediaserver.media.engine import Tone

ToneKind = Literal["ringback", "busy", "congestion", "dial", "waiting", "beep"]
KINDS: Final[tuple[ToneKind, ...]] = get_args(ToneKind)

_LEVEL_DBM0: Final = -13.0  # of the whole tone; two sines share it
_BEEP: Final = Tone((1_000.0,), (400, 100), _LEVEL_DBM0, repeats=1)


def _tone(frequencies_hz: tuple[float, ...], *cadence_ms: int) -> Tone:
    level = {1: _LEVEL_DBM0, 2: _LEVEL_DBM0 - 3.0, 3: _LEVEL_DBM0 - 4.8, 4: _LEVEL_DBM0 - 6.0}[len(frequencies_hz)]
    return Tone(frequencies_hz, cadence_ms, level)


def _interrupted(carrier_hz: float, by_hz: float) -> tuple[float, float]:
    """`f1 x f2` of the supplement, a carrier swelling f2 times a second, as the two sines that beat so."""
    return carrier_hz - by_hz / 2, carrier_hz + by_hz / 2


_F425: Final = (425.0,)
_F440: Final = (440.0,)
_F400: Final = (400.0,)
_UK_DIAL: Final = (350.0, 440.0)
_UK_RING: Final = (400.0, 450.0)
_US_BUSY: Final = (480.0, 620.0)

_TABLE: Final[Mapping[str, Mapping[ToneKind, Tone]]] = {
    "us": {
        "dial": _tone((350.0, 440.0)),
        "ringback": _tone((440.0, 480.0), 2_000, 4_000),
        "busy": _tone(_US_BUSY, 500, 500),
        "congestion": _tone(_US_BUSY, 250, 250),
        "waiting": _tone(_F440, 300, 9_700),
    },
    "gb": {
        "dial": _tone(_UK_DIAL),
        "ringback": _tone(_UK_RING, 400, 200, 400, 2_000),
        "busy": _tone(_F400, 375, 375),
        "congestion": _tone(_F400, 400, 350, 225, 525),
        "waiting": _tone(_F400, 100, 3_900),
    },
    "de": {
        "dial": _tone(_F425),
        "ringback": _tone(_F425, 1_000, 4_000),
        "busy": _tone(_F425, 480, 480),
        "congestion": _tone(_F425, 240, 240),
        "waiting": _tone(_F425, 200, 200, 200, 5_000),
    },
    "fr": {
        "dial": _tone(_F440),
        "ringback": _tone(_F440, 1_500, 3_500),
        "busy": _tone(_F440, 500, 500),
        "congestion": _tone(_F440, 250, 250),
        "waiting": _tone(_F440, 300, 10_000),
    },
    "ru": {
        "dial": _tone(_F425),
        "ringback": _tone(_F425, 1_000, 4_000),
        "busy": _tone(_F425, 350, 350),
        "congestion": _tone(_F425, 175, 175),
        "waiting": _tone(_F425, 200, 5_000),
    },
    "lv": {  # the values E.180 recommends to all; its national entry was not at hand
        "dial": _tone(_F425),
        "ringback": _tone(_F425, 1_000, 4_000),
        "busy": _tone(_F425, 500, 500),
        "congestion": _tone(_F425, 250, 250),
        "waiting": _tone(_F425, 200, 200, 200, 5_000),
    },
    "es": {
        "dial": _tone(_F425),
        "ringback": _tone(_F425, 1_500, 3_000),
        "busy": _tone(_F425, 200, 200),
        "congestion": _tone(_F425, 200, 200, 200, 200, 200, 600),
        "waiting": _tone(_F425, 175, 175, 175, 3_500),
    },
    "it": {
        "dial": _tone(_F425, 200, 200, 600, 1_000),
        "ringback": _tone(_F425, 1_000, 4_000),
        "busy": _tone(_F425, 500, 500),
        "congestion": _tone(_F425, 200, 200),
        "waiting": _tone(_F425, 400, 100, 250, 100, 150, 14_000),
    },
    "pl": {
        "dial": _tone(_F425),
        "ringback": _tone(_F425, 1_000, 4_000),
        "busy": _tone(_F425, 500, 500),
        "congestion": _tone(_F425, 500, 500),
        "waiting": _tone(_F425, 150, 150, 150, 4_000),
    },
    "jp": {
        "dial": _tone(_F400),
        "ringback": _tone(_interrupted(400.0, 16.0), 1_000, 2_000),
        "busy": _tone(_F400, 500, 500),
        "congestion": _tone(_F400, 500, 500),
        "waiting": _tone(_interrupted(400.0, 16.0), 500, 8_000),
    },
    "in": {
        "dial": _tone(_interrupted(400.0, 25.0)),
        "ringback": _tone(_interrupted(400.0, 25.0), 400, 200, 400, 2_000),
        "busy": _tone(_F400, 750, 750),
        "congestion": _tone(_F400, 250, 250),
        "waiting": _tone(_F400, 200, 100, 200, 7_500),
    },
}

COUNTRIES: Final[tuple[str, ...]] = tuple(_TABLE)


def tone(kind: str, country: str) -> Tone:
    """The tone of a country (ISO 3166 code, any case). Raises ValueError naming what is possible."""
    by_kind = _TABLE.get(country.lower())
    if by_kind is None:
        raise ValueError(f"no tones of country {country!r}; there are {', '.join(COUNTRIES)}")
    if kind == "beep":
        return _BEEP
    for known, found in by_kind.items():
        if known == kind:
            return found
    raise ValueError(f"no tone {kind!r}; there are {', '.join(KINDS)}")
