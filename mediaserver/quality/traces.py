"""OpenTelemetry traces: one per call, with its ringing, its talk and each leg as spans. Alone imports opentelemetry.

An observer of calls that collects what it is told and hands the finished trace to the exporter (OTLP over HTTP, a
thread of its own) when the call has ended. A collector that is slow or away costs dropped traces, never a call.
No number, name or address of a party leaves by this way: the call's id joins a trace to the log and to the catalogue.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from mediaserver import __version__
from mediaserver.errors import ConfigError
from mediaserver.limits import TRACE_EVENTS_PER_LEG_MAX, TRACE_SPANS_WAITING_MAX
from mediaserver.model import CallFacts, Cause, LegFacts, LegStats, StreamSettings
from mediaserver.settings import TraceSettings
from mediaserver.store.quality import QualityRow

if TYPE_CHECKING:
    from opentelemetry.context import Context

log = structlog.get_logger(__name__)

Value = str | int | float | bool
EXPORT_TIMEOUT_S = 5.0
_FAILED = {Cause.PROGRAM_ERROR, Cause.NO_MEDIA, Cause.TRANSPORT}


@dataclass(slots=True)
class _Seen:
    """What a running call has told so far."""

    changes: dict[str, list[tuple[int, dict[str, Value]]]] = field(default_factory=lambda: defaultdict(list))
    stats: dict[str, LegStats] = field(default_factory=dict)
    scores: dict[str, dict[str, Value]] = field(default_factory=lambda: defaultdict(dict))


class Traces:
    """`start` connects nothing yet; `stop` waits a few seconds for what was not sent."""

    def __init__(self, settings: TraceSettings, wall: Callable[[], float]) -> None:
        """wall: seconds since 1970. Raises ConfigError when the packages are not installed."""
        try:
            from opentelemetry import trace
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
        except ModuleNotFoundError as error:
            raise ConfigError(
                "traces.endpoint needs OpenTelemetry's Python packages: pip install 'mediaserver[otel]'"
            ) from error
        self._trace = trace
        self._wall = wall
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(settings.sample_share)),
            resource=Resource.create({"service.name": settings.service_name, "service.version": __version__}),
        )
        headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
        self._provider.add_span_processor(
            BatchSpanProcessor(
                OTLPSpanExporter(settings.endpoint, headers=headers, timeout=EXPORT_TIMEOUT_S),
                max_queue_size=TRACE_SPANS_WAITING_MAX,
            )
        )
        self._tracer = self._provider.get_tracer("mediaserver.calls", __version__)
        self._running: dict[str, _Seen] = {}

    async def start(self) -> None:
        log.info("traces are exported")

    async def stop(self) -> None:
        await asyncio.to_thread(self._provider.shutdown)

    # -- what calls tell (CallObserver)

    def call_started(self, call: CallFacts) -> None:
        self._running[call.call_id] = _Seen()

    def leg_opened(self, call_id: str, leg: LegFacts, stream: StreamSettings) -> None:
        self._changed(call_id, leg, "media")

    def leg_changed(self, call_id: str, leg: LegFacts, stream: StreamSettings) -> None:
        self._changed(call_id, leg, "media changed")

    def _changed(self, call_id: str, leg: LegFacts, name: str) -> None:
        seen = self._running.get(call_id)
        if seen is None or len(seen.changes[leg.leg_id]) >= TRACE_EVENTS_PER_LEG_MAX:
            return
        told: dict[str, Value | None] = {
            "event": name,
            "state": leg.state,
            "codec": leg.codec,
            "security": leg.security,
        }
        seen.changes[leg.leg_id].append((_ns(self._wall()), _known(told)))

    def leg_closed(self, call_id: str, leg: LegFacts, stats: LegStats | None) -> None:
        seen = self._running.get(call_id)
        if seen is not None and stats is not None:
            seen.stats[leg.leg_id] = stats

    def score(self, row: QualityRow) -> None:
        """A whole call's score of one leg and direction; scores of intervals are for the monitor's own pages."""
        seen = self._running.get(row.call_id)
        if seen is not None and row.whole_call:
            told: dict[str, Value | None] = {
                "mos": row.mos,
                "mos_worst": row.mos_worst,
                "scale": row.scale,
                "cause": row.cause or None,
            }
            seen.scores[row.leg_id].update({f"quality.{row.direction}.{k}": v for k, v in _known(told).items()})

    def call_ended(self, call: CallFacts) -> None:
        seen = self._running.pop(call.call_id, None)
        if seen is None:
            return
        began, ended = _ns(call.started_wall), _ns(call.ended_wall or call.started_wall)
        root = self._tracer.start_span("call", start_time=began, attributes=_call_attributes(call))
        inside = self._trace.set_span_in_context(root)
        answered = _ns(call.answered_wall) if call.answered_wall is not None else None
        self._span("ring", inside, began, answered or ended)
        if answered is not None:
            self._span("talk", inside, answered, ended)
        for leg in call.legs:
            self._leg(leg, seen, inside, ended)
        if call.cause in _FAILED:
            root.set_status(self._trace.StatusCode.ERROR, str(call.cause))
        root.end(ended)

    # -- spans

    def _leg(self, leg: LegFacts, seen: _Seen, inside: Context, call_ended: int) -> None:
        began = _ns(leg.opened_wall)
        ended = _ns(leg.ended_wall) if leg.ended_wall is not None else call_ended
        span = self._tracer.start_span(
            f"leg {leg.role}",
            context=inside,
            start_time=began,
            attributes={**_leg_attributes(leg), **_counted(seen.stats.get(leg.leg_id)), **seen.scores[leg.leg_id]},
        )
        for at, told in seen.changes[leg.leg_id]:
            span.add_event(str(told.pop("event")), told, timestamp=at)
        span.end(max(began, ended))

    def _span(self, name: str, inside: Context, began: int, ended: int) -> None:
        self._tracer.start_span(name, context=inside, start_time=began).end(max(began, ended))


def _call_attributes(call: CallFacts) -> dict[str, Value]:
    return _known(
        {
            "call.id": call.call_id,
            "call.route": call.route,
            "call.program": call.program,
            "call.trunk": trunk_of(call.identity),
            "call.cause": str(call.cause) if call.cause is not None else None,
            "call.ended_by": call.ended_by,
            "call.recording_id": call.recording_id,
            "sip.status": call.sip_status,
        }
    )


def _leg_attributes(leg: LegFacts) -> dict[str, Value]:
    return _known(
        {
            "leg.id": leg.leg_id,
            "leg.codec": leg.codec,
            "leg.video": leg.video,
            "leg.srtp": leg.security,
            "leg.cause": str(leg.cause) if leg.cause is not None else None,
            "sip.call_id": leg.sip_call_id or None,
            "sip.status": leg.sip_status,
        }
    )


def _counted(stats: LegStats | None) -> dict[str, Value]:
    if stats is None:
        return {}
    return {
        "rtp.received": stats.packets_received,
        "rtp.sent": stats.packets_sent,
        "rtp.lost": stats.packets_lost,
        "rtp.late": stats.packets_late,
        "rtp.jitter_ms": stats.jitter_ns / 1e6,
    }


def trunk_of(identity: str | None) -> str | None:
    """A trunk's name is the operator's own; a user's is a person's, and stays here."""
    return identity.removeprefix("trunk:") if identity is not None and identity.startswith("trunk:") else None


def _known(told: Mapping[str, Value | None]) -> dict[str, Value]:
    return {name: value for name, value in told.items() if value is not None}


def _ns(wall_s: float) -> int:
    return int(wall_s * 1e9)
