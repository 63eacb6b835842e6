"""Values of the server as the JSON of the API. Owns the names in that JSON, which programs rely on; see docs/api.md.

Times are seconds since 1970 UTC, durations seconds unless the name says otherwise. Whoever passed the gate sees
numbers in the clear here; logs never do.
"""

from __future__ import annotations

from typing import Any

from mediaserver.api.facade import CallView, LegQuality, Readiness, UserView
from mediaserver.model import LegFacts
from mediaserver.store.quality import QualityEvent, QualityHour, QualityRow
from mediaserver.store.recordings import RecordingRow


def call_json(call: CallView) -> dict[str, Any]:
    facts = call.facts
    return {
        "id": facts.call_id,
        "state": facts.state,
        "caller": str(facts.caller),
        "caller_name": str(facts.caller_name),
        "called": str(facts.called),
        "identity": facts.identity,
        "route": facts.route,
        "program": facts.program,
        "started": facts.started_wall,
        "answered": facts.answered_wall,
        "recording": facts.recording_id is not None,
        "recording_id": facts.recording_id,
        "legs": [
            leg_json(leg, call.quality.get(leg.leg_id, LegQuality()))
            | ({"playout": dict(call.playout[leg.leg_id])} if leg.leg_id in call.playout else {})
            for leg in facts.legs
        ],
    }


def leg_json(leg: LegFacts, quality: LegQuality) -> dict[str, Any]:
    return {
        "id": leg.leg_id,
        "role": leg.role,
        "party": str(leg.number),
        "state": _leg_state(leg),
        "codec": leg.codec,
        "srtp": leg.security,
        "mos_received": quality.mos_received,
        "mos_sent": quality.mos_sent,
        "mos_scale": quality.scale,
        "mos_worst": quality.mos_worst,
        "loss_fraction": quality.loss_fraction,
        "jitter_ms": quality.jitter_ms,
        "round_trip_ms": quality.round_trip_ms,
        "cause": quality.cause,
    }


def _leg_state(leg: LegFacts) -> str:
    if leg.ended_wall is not None:
        return "ended"
    return "ringing" if leg.answered_wall is None else "talking"


def user_json(user: UserView) -> dict[str, Any]:
    return {
        "name": user.name,
        "display_name": user.display_name,
        "contacts": user.contacts,
        "created": user.created_wall,
    }


def recording_json(row: RecordingRow) -> dict[str, Any]:
    return {
        "id": row.recording_id,
        "call_id": row.call_id,
        "state": row.state,
        "kind": row.kind,
        "caller": str(row.caller),
        "called": str(row.called),
        "started": row.started_ms / 1000,
        "length": row.length_ms / 1000,
        "packets_lost": row.packets_lost,
        "failure": row.failure,
        "storage": row.storage,
        "storage_problem": row.storage_problem,
        "removed": None if row.removed_ms is None else removed_json(row),
    }


def removed_json(row: RecordingRow) -> dict[str, Any]:
    """Who made it unreadable as a whole."""
    assert row.removed_ms is not None
    return {"at": row.removed_ms / 1000, "by": row.removed_by, "why": row.removed_why}


def quality_json(row: QualityRow) -> dict[str, Any]:
    return {
        "leg": row.leg_id,
        "direction": row.direction,
        "start": row.start_ms / 1000,
        "length": row.length_ms / 1000,
        "whole_call": bool(row.whole_call),
        "mos": row.mos,
        "mos_worst": row.mos_worst,
        "r": row.r,
        "scale": row.scale,
        "model": row.model,
        "codec": row.codec,
        "basis": row.basis,
        "missing": [name.strip() for name in row.missing.split(",") if name.strip()],
        "loss": row.loss,
        "late": row.late,
        "concealed": row.concealed,
        "concealed_seconds": row.concealed_s,
        "severe_seconds": row.severe_s,
        "burst_ratio": row.burst_ratio,
        "delay_ms": row.delay_ms,
        "jitter_ms": row.jitter_ms,
        "round_trip_ms": row.rtt_ms,
        "codec_row": row.codec_row,
        "mos_listening": row.mos_listening,
        "trunk": row.trunk or None,
        "cause": row.cause or None,
        "costs": {
            "codec": row.cost_codec,
            "loss": row.cost_loss,
            "burst": row.cost_burst,
            "late": row.cost_late,
            "delay": row.cost_delay,
            "clipping": row.cost_clipping,
            "dead_air": row.cost_dead_air,
        },
        "dropout_ms": row.dropout_ms,
    }


def event_json(event: QualityEvent) -> dict[str, Any]:
    return {
        "leg": event.leg_id,
        "start": event.start_ms / 1000,
        "kind": event.kind,
        "value": event.value,
        "detail": dict(event.detail),
    }


def hour_json(hour: QualityHour) -> dict[str, Any]:
    return {
        "start": hour.hour_ms / 1000,
        "trunk": hour.trunk or None,
        "direction": hour.direction,
        "codec": hour.codec,
        "scale": hour.scale,
        "intervals": hour.intervals,
        "bad": hour.bad,
        "mos_mean": round(hour.mos_sum / hour.intervals, 3),
        "mos_p5": hour.percentile(0.05),
        "mos_p50": hour.percentile(0.5),
        "mos_min": hour.mos_min,
        "loss_mean": hour.loss_sum / hour.intervals,
        "delay_mean_ms": hour.delay_sum_ms / hour.intervals,
        "dropout_ms": hour.dropout_ms,
    }


def readiness_json(readiness: Readiness) -> dict[str, Any]:
    return {
        "status": "ready" if readiness.ready else "not ready",
        "parts": {name: reason or "ok" for name, reason in readiness.parts.items()},
    }


def error_json(status: int, code: str, message: str) -> dict[str, Any]:
    return {"error": {"status": status, "code": code, "message": message}}
