"""What phones report of their own calls by SIP (RFC 6035): matched to the leg, kept as an event beside our scores.

A report usually comes after the BYE, so legs that ended are remembered for a while. Only the party whose leg it is may
report on it: whoever signs in as somebody else reports into nothing.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import asdict

import structlog

from mediaserver.clock import Clock
from mediaserver.errors import ParseError
from mediaserver.limits import PHONE_REPORT_LEGS_MAX, PHONE_REPORTS_PER_LEG_MAX
from mediaserver.model import CallFacts, LegFacts, LegStats, StreamSettings
from mediaserver.quality.vq_report import Metrics, VqReport, read_vq_report
from mediaserver.store.quality import QualityEvent

log = structlog.get_logger(__name__)


class PhoneReports:
    """An observer of calls. keep: takes the event to the store."""

    def __init__(self, clock: Clock, keep: Callable[[QualityEvent], bool]) -> None:
        self._clock = clock
        self._keep = keep
        self._legs: OrderedDict[str, tuple[str, LegFacts]] = OrderedDict()  # by SIP Call-ID
        self._taken: Counter[str] = Counter()  # reports, by the same
        self.accepted = 0
        self.unreadable = 0
        self.unmatched = 0  # of no call we know, or of somebody else's
        self.too_many = 0

    def take(self, identity: str, body: bytes) -> bool:
        """A report from an authenticated party; False: it cannot be read. One of no known call is taken and dropped."""
        try:
            report = read_vq_report(body)
        except ParseError:
            self.unreadable += 1
            return False
        call_id, leg = self._legs.get(report.call_id, ("", None))
        if leg is None or leg.identity != identity:
            self.unmatched += 1
            return True
        if self._taken[report.call_id] >= PHONE_REPORTS_PER_LEG_MAX:
            self.too_many += 1
            return True
        self._taken[report.call_id] += 1
        self.accepted += 1
        now_ms = round(self._clock.wall() * 1000)
        self._keep(QualityEvent(call_id, leg.leg_id, now_ms, "report", _mos(report), _detail(report)))
        return True

    # -- the call room's observer

    def call_started(self, call: CallFacts) -> None:
        pass

    def leg_opened(self, call_id: str, leg: LegFacts, stream: StreamSettings) -> None:
        self._legs[leg.sip_call_id] = call_id, leg
        del self._taken[leg.sip_call_id]
        if len(self._legs) > PHONE_REPORT_LEGS_MAX:
            forgotten, _ = self._legs.popitem(last=False)
            del self._taken[forgotten]

    def leg_changed(self, call_id: str, leg: LegFacts, stream: StreamSettings) -> None:
        pass

    def leg_closed(self, call_id: str, leg: LegFacts, stats: LegStats | None) -> None:
        pass

    def call_ended(self, call: CallFacts) -> None:
        pass


def _mos(report: VqReport) -> float:
    """The phone's own conversational MOS, else its listening MOS; 0: it gave none."""
    local = report.local
    if local is None:
        return 0.0
    return local.mos_conversational or local.mos_listening or 0.0


def _detail(report: VqReport) -> dict[str, object]:
    def known(metrics: Metrics | None) -> dict[str, object] | None:
        if metrics is None:
            return None
        return {name: value for name, value in asdict(metrics).items() if value is not None and value != ""}

    detail = {"kind": report.kind, "alert": report.alert, "local": known(report.local), "remote": known(report.remote)}
    return {name: value for name, value in detail.items() if value}
