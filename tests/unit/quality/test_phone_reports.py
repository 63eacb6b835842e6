"""Phones' own reports: kept with the leg they are about, from nobody but the party itself."""

import dataclasses

from mediaserver.clock import VirtualClock
from mediaserver.limits import PHONE_REPORT_LEGS_MAX, PHONE_REPORTS_PER_LEG_MAX
from mediaserver.quality.phone_reports import PhoneReports
from mediaserver.store.quality import QualityEvent
from tests.unit.quality.test_monitor import STREAM, leg
from tests.unit.quality.test_vq_report import SESSION

FACTS = dataclasses.replace(leg(), identity="ann", sip_call_id="1890463548@pbx.example")


class Desk:
    def __init__(self) -> None:
        self.kept: list[QualityEvent] = []
        self.reports = PhoneReports(VirtualClock(), lambda event: self.kept.append(event) is None)
        self.reports.leg_opened("c1", FACTS, STREAM)


def test_a_report_that_comes_after_the_end_is_kept_with_its_leg() -> None:
    desk = Desk()
    desk.reports.leg_closed("c1", FACTS, None)
    assert desk.reports.take("ann", SESSION)
    (event,) = desk.kept
    assert (event.call_id, event.leg_id, event.kind, event.value) == ("c1", "1", "report", 4.1)
    assert event.detail["kind"] == "session"
    assert event.detail["local"]["discard_percent"] == 2.5
    assert "ann@pbx" not in repr(event.detail)


def test_no_loss_is_a_measurement_too() -> None:
    desk = Desk()
    assert desk.reports.take("ann", SESSION.replace(b"NLR=5.0 JDR=2.5", b"NLR=0.0 JDR=0"))
    local = desk.kept[0].detail["local"]
    assert (local["loss_percent"], local["discard_percent"]) == (0, 0)
    assert "gap_loss_percent" in local
    assert "echo_loss_db" not in local


def test_nobody_reports_on_somebody_elses_call() -> None:
    desk = Desk()
    assert desk.reports.take("bob", SESSION)
    assert desk.reports.take("ann", SESSION.replace(b"1890463548", b"77"))
    assert (desk.kept, desk.reports.unmatched) == ([], 2)


def test_rubbish_is_said_to_be_unreadable() -> None:
    desk = Desk()
    assert not desk.reports.take("ann", b"\x00\x01")
    assert desk.reports.unreadable == 1


def test_ended_legs_are_remembered_up_to_a_bound() -> None:
    desk = Desk()
    for number in range(PHONE_REPORT_LEGS_MAX):
        desk.reports.leg_opened("c", dataclasses.replace(FACTS, sip_call_id=str(number)), STREAM)
    assert desk.reports.take("ann", SESSION)
    assert desk.kept == []


def test_one_leg_fills_no_database() -> None:
    desk = Desk()
    for _ in range(PHONE_REPORTS_PER_LEG_MAX + 5):
        assert desk.reports.take("ann", SESSION)
    assert (len(desk.kept), desk.reports.too_many) == (PHONE_REPORTS_PER_LEG_MAX, 5)
    desk.reports.leg_opened("c2", FACTS, STREAM)
    assert desk.reports.take("ann", SESSION)
    assert len(desk.kept) == PHONE_REPORTS_PER_LEG_MAX + 1
