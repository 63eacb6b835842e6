"""Alerts begin once, end once, and judge nobody by a handful of calls."""

import dataclasses

from mediaserver.clock import VirtualClock
from mediaserver.quality.alerts import Alert, Alerts
from mediaserver.settings import AlertSettings
from mediaserver.store.quality import QualityRow
from tests.unit.api.fake_facade import score

SECOND = 1_000_000_000


class Desk:
    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.told: list[Alert] = []
        self.lag_s = 0.0
        self.alerts = Alerts(AlertSettings(), self.clock, self.told.append, lambda: self.lag_s)

    def scores(self, trunk: str, *values: float) -> None:
        for mos in values:
            self.alerts.score(row(trunk, mos))

    def after(self, seconds: float) -> list[tuple[str, bool]]:
        """(name, firing) of what is told when it is looked at after so long."""
        self.told.clear()
        self.clock.advance(round(seconds * SECOND))
        self.alerts.look()
        return [(alert.name, alert.firing) for alert in self.told]


def row(trunk: str, mos: float, **changes: object) -> QualityRow:
    return dataclasses.replace(score(mos), trunk=trunk, **changes)


def test_a_trunk_whose_worst_twentieth_is_bad_is_told_once_and_again_when_it_is_over() -> None:
    desk = Desk()
    desk.scores("carrier", *[4.2] * 36, *[3.0] * 4)
    assert desk.after(5) == [("trunk_mos_low", True)]
    assert desk.told[0].labels == {"trunk": "carrier", "dir": "received", "scale": "nb"}
    assert desk.told[0].value == 3.0
    assert desk.after(5) == []
    desk.scores("carrier", *[4.3] * 100)
    assert desk.after(5) == [("trunk_mos_low", False)]


def test_a_worst_twentieth_a_hair_below_the_threshold_is_below_it() -> None:
    desk = Desk()
    desk.scores("low", *[4.2] * 36, *[3.55] * 4)
    desk.scores("enough", *[4.2] * 36, *[3.6] * 4)
    assert desk.after(5) == [("trunk_mos_low", True)]
    assert (desk.told[0].labels["trunk"], desk.told[0].value) == ("low", 3.55)


def test_scales_and_directions_are_judged_each_for_itself_and_a_pages_own_figures_not_at_all() -> None:
    """Thirty bad narrowband intervals sent are a tenth of that line, and a hundredth of all that the trunk carries."""
    desk = Desk()
    for _ in range(900):
        desk.alerts.score(row("carrier", 4.4, scale="wb", direction="sent"))
        desk.alerts.score(row("carrier", 4.3))
        desk.alerts.score(row("carrier", 1.2, direction="client"))
    for mos in [4.2] * 270 + [2.5] * 30:
        desk.alerts.score(row("carrier", mos, direction="sent"))
    assert desk.after(5) == [("trunk_mos_low", True)]
    assert desk.told[0].labels == {"trunk": "carrier", "dir": "sent", "scale": "nb"}
    assert desk.after(305) == [("trunk_mos_low", False)]
    assert desk.alerts._windows == {}


def test_one_bad_interval_in_a_hundred_or_a_handful_of_bad_ones_is_no_alert() -> None:
    desk = Desk()
    desk.scores("carrier", *[4.2] * 99, 1.5)
    desk.scores("rare", *[1.5] * 5)
    assert desk.after(5) == []


def test_what_is_older_than_the_window_is_forgotten() -> None:
    desk = Desk()
    desk.scores("carrier", *[2.0] * 40)
    assert desk.after(5) == [("trunk_mos_low", True)]
    assert desk.after(290) == []
    assert desk.after(60) == [("trunk_mos_low", False)]


def test_phones_of_our_own_are_no_trunk() -> None:
    desk = Desk()
    desk.scores("", *[1.2] * 100)
    assert desk.after(5) == []


def test_one_way_calls_are_told_by_their_share() -> None:
    desk = Desk()
    for _ in range(300):
        desk.alerts.leg_ended("carrier", False)
    desk.alerts.leg_ended("carrier", True)
    assert desk.after(5) == []  # one in three hundred
    desk.alerts.leg_ended("carrier", True)
    desk.alerts.leg_ended("", True)
    assert sorted(desk.after(5)) == [("one_way_audio", True), ("one_way_audio", True)]


def test_a_recorder_that_falls_behind_is_told() -> None:
    desk = Desk()
    desk.lag_s = 2.5
    assert desk.after(5) == [("recording_lag", True)]
    assert "2.5 s" in desk.told[0].text
    desk.lag_s = 0.1
    assert desk.after(5) == [("recording_lag", False)]


def test_every_name_a_peer_could_make_up_is_bounded() -> None:
    desk = Desk()
    for number in range(1_000):
        desk.scores(f"trunk{number}", 1.0)
    assert len(desk.alerts._windows) == 256
