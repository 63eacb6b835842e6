"""What we heard of each leg, told to a set collector as phones tell it: one RFC 6035 session report when a leg ends.

An observer of calls, after the monitor: both directions of a leg have been scored when it is told that the leg closed.
LocalMetrics is what we heard of the party, RemoteMetrics what its reports say of us.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from mediaserver.limits import METRICS_LEGS_MAX
from mediaserver.model import CallFacts, LegFacts, LegStats, Masked, MediaAddress, StreamSettings
from mediaserver.quality.vq_report import Metrics, VqReport, write_vq_report
from mediaserver.store.quality import QualityRow

R_MAX = 120.0  # what RFC 6035 leaves room for; wideband's scale ends at 129
LOCAL_GROUP = "mediaserver"
NOWHERE = "anonymous.invalid"  # RFC 3323 §4.1.1.3
SIDES = {"received": "local", "sent": "remote"}


class OwnReports:
    """send: takes a body on its way."""

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._rows: dict[tuple[str, str], dict[str, QualityRow]] = {}

    def score(self, row: QualityRow, stats: LegStats | None) -> None:
        if not row.whole_call or row.direction not in SIDES:
            return
        self._rows.setdefault((row.call_id, row.leg_id), {})[SIDES[row.direction]] = row
        if len(self._rows) > METRICS_LEGS_MAX:  # legs whose end was lost: the oldest goes
            del self._rows[next(iter(self._rows))]

    # -- the call room's observer

    def call_started(self, call: CallFacts) -> None:
        pass

    def leg_opened(self, call_id: str, leg: LegFacts, stream: StreamSettings) -> None:
        pass

    def leg_changed(self, call_id: str, leg: LegFacts, stream: StreamSettings) -> None:
        pass

    def leg_closed(self, call_id: str, leg: LegFacts, stats: LegStats | None) -> None:
        rows = self._rows.pop((call_id, leg.leg_id), None)
        if rows and leg.sip_call_id:
            self._send(write_vq_report(report_of(leg, rows, stats)))

    def call_ended(self, call: CallFacts) -> None:
        pass


def report_of(leg: LegFacts, rows: dict[str, QualityRow], stats: LegStats | None) -> VqReport:
    any_row = next(iter(rows.values()))
    local_id = Masked(f"<sip:{_bracketed(leg.local.host) if leg.local is not None else NOWHERE}>")
    remote_id = Masked(f"<sip:{leg.number!s}>" if leg.number else f"<sip:{NOWHERE}>")
    return VqReport(
        kind="session",
        call_id=leg.sip_call_id,
        local_id=local_id,
        remote_id=remote_id,
        orig_id=remote_id if leg.role == "caller" else local_id,
        local_addr=_address(leg.local, stats.sent_ssrc if stats is not None else 0),
        remote_addr=_address(leg.source or leg.remote, stats.received_ssrc if stats is not None else 0),
        local_group=LOCAL_GROUP,
        remote_group=any_row.trunk or "users",
        started=_rfc3339(any_row.start_ms),
        stopped=_rfc3339(any_row.start_ms + any_row.length_ms),
        local=metrics_of(rows.get("local")),
        remote=metrics_of(rows.get("remote")),
    )


def _address(address: MediaAddress | None, ssrc: int) -> str:
    host, port = (address.host, address.port) if address is not None else ("0.0.0.0", 0)  # noqa: S104  # not known
    return f"IP={host} PORT={port} SSRC=0x{ssrc:08x}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def metrics_of(row: QualityRow | None) -> Metrics | None:
    """Loss and discard in percent of what was expected; RFC 6035 has no scale for a MOS: the algorithm tells it."""
    if row is None:
        return None
    return Metrics(
        codec=row.codec,
        loss_percent=100 * max(0.0, row.loss - row.late),
        discard_percent=100 * row.late,
        round_trip_ms=row.rtt_ms,
        jitter_ms=row.jitter_ms,
        r_conversational=min(R_MAX, max(0.0, row.r)),
        mos_listening=row.mos_listening if row.mos_listening >= 1 else None,
        mos_conversational=row.mos,
        algorithm=row.model.replace(" ", "-"),
    )


def _rfc3339(wall_ms: int) -> str:
    return datetime.fromtimestamp(wall_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
