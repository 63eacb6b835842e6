"""The table of call-progress tones."""

import pytest

from mediaserver.media.tones import COUNTRIES, KINDS, tone


def test_every_country_has_every_kind_and_all_are_playable() -> None:
    assert set(COUNTRIES) >= {"us", "gb", "de", "fr", "ru", "lv", "es", "it", "pl", "jp", "in"}
    for country in COUNTRIES:
        for kind in KINDS:
            made = tone(kind, country)
            assert 1 <= len(made.frequencies_hz) <= 4
            assert all(300 <= hz <= 1_100 for hz in made.frequencies_hz)
            assert len(made.cadence_ms) in (0, 2, 4, 6, 8)
            assert all(ms > 0 for ms in made.cadence_ms)
            assert -20 <= made.level_dbm0 <= -10


@pytest.mark.parametrize(
    ("kind", "country", "hz", "cadence_ms"),
    [
        ("ringback", "us", (440.0, 480.0), (2_000, 4_000)),
        ("ringback", "GB", (400.0, 450.0), (400, 200, 400, 2_000)),
        ("busy", "de", (425.0,), (480, 480)),
        ("ringback", "ru", (425.0,), (1_000, 4_000)),
        ("busy", "us", (480.0, 620.0), (500, 500)),
        ("dial", "fr", (440.0,), ()),
        ("ringback", "jp", (392.0, 408.0), (1_000, 2_000)),
    ],
)
def test_well_known_tones(kind: str, country: str, hz: tuple[float, ...], cadence_ms: tuple[int, ...]) -> None:
    made = tone(kind, country)
    assert (made.frequencies_hz, made.cadence_ms) == (hz, cadence_ms)


def test_only_the_beep_ends_by_itself() -> None:
    for country in COUNTRIES:
        assert {kind for kind in KINDS if tone(kind, country).repeats} == {"beep"}


def test_unknown_countries_and_kinds_are_told_what_there_is() -> None:
    with pytest.raises(ValueError, match="no tones of country 'xx'; there are us, gb"):
        tone("busy", "xx")
    with pytest.raises(ValueError, match="no tone 'moo'; there are ringback, busy"):
        tone("moo", "us")
