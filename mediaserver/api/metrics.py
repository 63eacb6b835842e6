"""What Prometheus sees: quality histograms fed as scores are made, and the server's counters as they stand when asked.

Owns names, labels, buckets and help texts; `docs/metrics.md` explains them. No label is ever a call, a number, an
address or anything else a peer can choose: every label value comes from a fixed set. Rendering runs outside the event
loop; what the loop gives is a finished `ServerCounters`.
"""

from __future__ import annotations

import dataclasses
from collections import Counter as TallyCounter
from collections.abc import Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from mediaserver import __version__
from mediaserver.api.facade import ServerCounters
from mediaserver.api.metric_families import gauge, lengths, total, totals
from mediaserver.api.recording_metrics import failures, storage
from mediaserver.limits import METRICS_LEGS_MAX, METRICS_TRUNKS_MAX
from mediaserver.model import Cause, CodecName, EngineStats, LegStats
from mediaserver.sip.counters import SipCounters
from mediaserver.store.quality import QualityRow

# MOS: G.107 Annex B's classes of user satisfaction, and 4.34/4.4/4.5 where PCMU, G.722 and Opus have their ceilings.
MOS_BUCKETS = (1.5, 2, 2.5, 2.6, 3.1, 3.6, 3.8, 4.0, 4.03, 4.2, 4.34, 4.4, 4.5)
RATIO_BUCKETS = (0, 0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5)
JITTER_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5)
DELAY_BUCKETS = (0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 1.0)
TRUNK_MOS_BUCKETS = (2.5, 3.1, 3.6, 4.0, 4.3)
COST_BUCKETS = (1, 3, 6, 10, 20, 40)
CAUSES = ("codec", "loss", "burst", "late", "delay", "clipping", "dead_air")
BURST_BUCKETS = (1, 2, 3, 5, 8, 13, 21, 50)
MOS_BAD = 3.6  # below it "many users dissatisfied" (G.107 Annex B)

DIRECTIONS = ("received", "sent")
disable_created_metrics()  # type: ignore[no-untyped-call]  # one series per series, for a time nobody asks for

# What a voice can be scored in; comfort noise, digits and redundancy never are a leg's codec.
CODECS_SCORED = (CodecName.PCMU, CodecName.PCMA, CodecName.G722, CodecName.OPUS, CodecName.L16)
CODEC_LABELS = {name.value.lower(): name.value for name in CODECS_SCORED}

# Field of EngineStats: metric name, help, kind.
ENGINE_METRICS = {
    "legs": ("mediaserver_legs", "Legs open now.", "gauge"),
    "bridges": ("mediaserver_bridges", "Bridges (two or more legs that hear each other) open now.", "gauge"),
    "taps": ("mediaserver_taps", "Consented copies of legs open now.", "gauge"),
    "packets_received": ("mediaserver_media_packets_received_total", "RTP and RTCP packets received.", "counter"),
    "packets_sent": ("mediaserver_media_packets_sent_total", "RTP and RTCP packets sent.", "counter"),
    "packets_unroutable": (
        "mediaserver_media_packets_unroutable_total",
        "Packets on a leg's socket that were not RTP or RTCP, or came before the leg was set up.",
        "counter",
    ),
    "packets_stranger": (
        "mediaserver_media_packets_stranger_total",
        "Packets from a source that is not the leg's pinned one: counted, change nothing.",
        "counter",
    ),
    "packets_bad": ("mediaserver_media_packets_bad_total", "Packets that no stream could use.", "counter"),
    "packets_auth_failed": (
        "mediaserver_media_packets_auth_failed_total",
        "SRTP packets that were forged, damaged or replayed.",
        "counter",
    ),
    "packets_overflow": (
        "mediaserver_media_packets_overflow_total",
        "Packets for which a jitter buffer or the pool had no room.",
        "counter",
    ),
    "rtcp_received": ("mediaserver_media_rtcp_received_total", "RTCP packets received.", "counter"),
    "rtcp_sent": ("mediaserver_media_rtcp_sent_total", "RTCP packets sent.", "counter"),
    "send_errors": ("mediaserver_media_send_errors_total", "Packets the kernel did not take.", "counter"),
    "pool_free": ("mediaserver_media_pool_free_packets", "Packet slots free now.", "gauge"),
    "pool_size": ("mediaserver_media_pool_size_packets", "Packet slots there are.", "gauge"),
    "ticks": ("mediaserver_media_ticks_total", "20 ms ticks run.", "counter"),
    "ticks_late": ("mediaserver_media_ticks_late_total", "Ticks that began more than 5 ms late.", "counter"),
    "tick_lateness_ns_max": (
        "mediaserver_media_tick_lateness_max_seconds",
        "Greatest lateness of a tick since the start.",
        "gauge",
    ),
    "commands": ("mediaserver_media_commands_total", "Commands the media workers have carried out.", "counter"),
    "events_dropped": ("mediaserver_media_events_dropped_total", "Media events lost to a full queue.", "counter"),
    "circles_refused": (
        "mediaserver_media_circles_refused_total",
        "Descriptions that named a port of ours for our media: none is sent there.",
        "counter",
    ),
    "cpu_ns": ("mediaserver_media_cpu_seconds_total", "CPU time of the media workers.", "counter"),
}
ENGINE_NOT_SHOWN = {"at_ns"}

# Field of SipCounters: help, label name ("" when the field is one number).
SIP_METRICS = {
    "requests_in": ("Requests received.", "method"),
    "requests_out": ("Requests sent, without retransmissions.", "method"),
    "responses_in": ("Responses received.", "class"),
    "responses_out": ("Responses sent, without retransmissions.", "class"),
    "parse_errors": ("Messages that could not be understood.", "reason"),
    "rejected": ("Requests that the stack answered itself.", "status"),
    "dropped": ("Messages answered by nothing.", "reason"),
    "retransmissions_absorbed": ("Repeated messages that went no further.", ""),
    "retransmissions_sent": ("Messages sent again because no answer came.", ""),
    "timeouts": ("Transactions that ran out of time.", "timer"),
    "transport_errors": ("Sends that failed and connections lost under a waiting transaction.", ""),
    "floods": ("New requests over a source's rate: answered 503, then not at all.", ""),
    "transactions_refused": ("New requests over the bound of transactions.", ""),
    "datagrams_in": ("UDP datagrams received.", ""),
    "datagrams_out": ("UDP datagrams sent.", ""),
    "connections_in": ("TCP and TLS connections accepted.", ""),
    "connections_out": ("TCP and TLS connections opened.", ""),
    "connections_closed": ("TCP and TLS connections closed.", "reason"),
    "connections_refused": ("Connections over the bound of connections.", ""),
    "handshakes_failed": ("TLS connections that never shook hands.", ""),
    "keepalives": ("Keepalives received.", ""),
    "send_errors": ("Messages that could not be sent.", "reason"),
}


class Metrics:
    """The histograms live here; everything else is read from ServerCounters at each scrape."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._mos = self._histogram(
            "media_mos",
            "MOS by the E-model (ITU-T G.107), per interval and per call.",
            MOS_BUCKETS,
            ("scale", "basis", "codec", "dir", "window"),
        )
        self._bad = self._histogram(
            "media_interval_bad_ratio", "Share of a call's intervals below MOS 3.6.", RATIO_BUCKETS, ("dir",)
        )
        for direction in DIRECTIONS:
            self._bad.labels(direction)
        streams = ("codec", "dir")
        self._loss = self._histogram("media_rtp_loss_ratio", "Packets that never arrived.", RATIO_BUCKETS, streams)
        self._late = self._histogram(
            "media_rtp_late_discard_ratio", "Packets that came too late to be played.", RATIO_BUCKETS, streams
        )
        self._concealed = self._histogram(
            "media_concealed_ratio", "Audio that had to be made up.", RATIO_BUCKETS, streams
        )
        self._jitter = self._histogram(
            "media_jitter_seconds", "Interarrival jitter (RFC 3550 A.8).", JITTER_BUCKETS, streams
        )
        self._buffer_delay = self._histogram(
            "media_jitter_buffer_delay_seconds", "Delay of the jitter buffer.", DELAY_BUCKETS, ()
        )
        self._buffer_target = self._histogram(
            "media_jitter_buffer_target_seconds", "Delay the jitter buffer aims at.", DELAY_BUCKETS, ()
        )
        self._round_trip = self._histogram("media_rtt_seconds", "Round trip by RTCP.", DELAY_BUCKETS, ())
        self._mouth_to_ear = self._histogram(
            "media_mouth_to_ear_estimate_seconds", "One-way delay the score was made with.", DELAY_BUCKETS, ("dir",)
        )
        self._burst = self._histogram(
            "media_burst_length_packets", "Mean length of a call's loss bursts.", BURST_BUCKETS, ()
        )
        self._missing = self._counter(
            "mos_input_missing", "Scores made without one of their inputs: how honest the MOS is.", ("input",)
        )
        self._one_way = self._counter(
            "media_one_way_audio", "Ended legs that were sent at least 5 s of audio and never sent any.", ()
        )
        self._trunk_mos = self._histogram(
            "media_trunk_mos",
            "MOS per interval of legs to and from a trunk.",
            TRUNK_MOS_BUCKETS,
            ("trunk", "scale", "dir"),
        )
        self._costs = self._histogram(
            "media_cost_points", "Points of R that a cause took from an interval.", COST_BUCKETS, ("cause",)
        )
        self._dropouts = self._counter("media_dropouts", "Intervals with a hole of 200 ms or more.", ())
        self._clipping = self._counter("media_clipping", "Intervals in which a voice was clipped.", ())
        self._silence = self._counter("media_silence_seconds", "Dead air: a sender stopped that may not.", ())
        self._trunks: set[str] = set()
        self._intervals: dict[tuple[str, str, str], tuple[int, int]] = {}  # of running calls: all, bad

    def _histogram(self, name: str, text: str, buckets: Iterable[float], labels: Iterable[str]) -> Histogram:
        return Histogram(name, text, labels, buckets=tuple(buckets), registry=self._registry)

    def _counter(self, name: str, text: str, labels: Iterable[str]) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def observe_quality(self, row: QualityRow, stats: LegStats | None = None) -> None:
        """One score as it is stored. stats: of the leg at that moment, None when the engine no longer knew it."""
        codec, direction = codec_label(row.codec), row.direction
        if direction not in DIRECTIONS:  # what a page measured itself is kept, not counted twice
            return
        window = "call" if row.whole_call else "interval"
        self._mos.labels(row.scale, row.basis, codec, direction, window).observe(row.mos, _exemplar(row))
        for name in filter(None, row.missing.split(",")):
            self._missing.labels(name.strip()).inc()
        leg = (row.call_id, row.leg_id, direction)
        if row.whole_call:
            self._observe_end(leg, stats)
            return
        scored, bad = self._intervals.get(leg, (0, 0))
        self._intervals[leg] = (scored + 1, bad + (row.mos < MOS_BAD))
        if len(self._intervals) > METRICS_LEGS_MAX:  # legs whose last row was lost: the oldest goes
            del self._intervals[next(iter(self._intervals))]
        self._observe_causes(row)
        self._loss.labels(codec, direction).observe(max(0.0, row.loss - row.late), _exemplar(row))  # row.loss has both
        self._late.labels(codec, direction).observe(row.late)
        self._concealed.labels(codec, direction).observe(row.concealed)
        self._jitter.labels(codec, direction).observe(row.jitter_ms / 1e3)
        self._mouth_to_ear.labels(direction).observe(row.delay_ms / 1e3)
        if row.rtt_ms is not None:
            self._round_trip.observe(row.rtt_ms / 1e3)
        if stats is not None and direction == "received":
            self._buffer_delay.observe(stats.buffer_delay_ns / 1e9)
            self._buffer_target.observe(stats.buffer_target_ns / 1e9)

    def _observe_causes(self, row: QualityRow) -> None:
        if row.trunk:
            trunk = self._trunk_label(row.trunk)
            self._trunk_mos.labels(trunk, row.scale, row.direction).observe(row.mos, _exemplar(row))
        for cause in CAUSES:
            self._costs.labels(cause).observe(getattr(row, f"cost_{cause}"))
        if row.dropout_ms:
            self._dropouts.inc(exemplar=_exemplar(row))
        if row.cost_clipping:
            self._clipping.inc()
        if row.cost_dead_air:
            left = row.r + row.cost_dead_air  # the points of which dead air took its share
            self._silence.inc(row.length_ms / 1e3 * min(1.0, row.cost_dead_air / max(1.0, left)))

    def _trunk_label(self, trunk: str) -> str:
        if trunk not in self._trunks and len(self._trunks) < METRICS_TRUNKS_MAX:
            self._trunks.add(trunk)
        return trunk if trunk in self._trunks else "other"

    def _observe_end(self, leg: tuple[str, str, str], stats: LegStats | None) -> None:
        scored, bad = self._intervals.pop(leg, (0, 0))
        if scored:
            self._bad.labels(leg[2]).observe(bad / scored)
        if stats is None or leg[2] != "received":
            return
        if stats.loss_events:
            self._burst.observe(stats.loss_event_packets / stats.loss_events)

    def leg_ended(self, one_way: bool) -> None:
        """one_way: it was sent audio and never sent any, so that it has no score of what was received."""
        if one_way:
            self._one_way.inc()

    def render(self, counters: ServerCounters) -> bytes:
        """The exposition text (version 1.0.0). Takes milliseconds: call it outside the event loop."""
        return generate_latest(_Scrape(self._registry, counters))

    def render_openmetrics(self, counters: ServerCounters) -> bytes:
        """The same as OpenMetrics, with exemplars: a call's id beside the buckets it fell into."""
        text: bytes = generate_openmetrics(_Scrape(self._registry, counters))  # type: ignore[no-untyped-call]
        return text


def _exemplar(row: QualityRow) -> dict[str, str]:
    return {"call_id": row.call_id[:64], "leg": row.leg_id[:16]}


def codec_label(name: str) -> str:
    """The codec's name of our own list, without clock rate; "other": it is not in it, "none": it is not known."""
    return CODEC_LABELS.get(name.split("/")[0].lower(), "other" if name else "none")


class _Scrape:
    """One scrape: the histograms and, made on the spot, a family for each counter."""

    def __init__(self, registry: CollectorRegistry, counters: ServerCounters) -> None:
        self._registry = registry
        self._counters = counters

    def collect(self) -> Iterable[Metric]:
        yield from self._registry.collect()
        yield from _server(self._counters)
        if self._counters.engine is not None:
            yield from _engine(self._counters.engine)
        if self._counters.sip is not None:
            yield from _sip(self._counters.sip)


def _server(counters: ServerCounters) -> Iterable[Metric]:
    info = GaugeMetricFamily("mediaserver_build_info", "Version that runs; always 1.", labels=["version"])
    info.add_metric([__version__], 1)
    yield info
    yield gauge("mediaserver_calls_active", "Calls up now.", counters.calls_active)
    ended = {**dict.fromkeys(map(str, Cause), 0), **counters.calls_ended}
    yield totals("mediaserver_calls_ended", "Calls ended, by cause.", "cause", ended)
    yield totals("mediaserver_calls_refused", "Calls not taken, by reason.", "reason", counters.calls_refused)
    yield total("mediaserver_call_programs_failed", "Call programs that raised.", counters.programs_failed)
    yield gauge("mediaserver_registrations", "Contacts registered now.", counters.registrations)
    yield totals("mediaserver_sip_authentications", "Digest answers.", "result", counters.sip_authentications)
    yield gauge("recording_active", "Recordings being captured now.", counters.recordings_active)
    yield gauge("recording_lag_seconds", "Audio captured and not yet on disk.", counters.recording_lag_s)
    yield total("recording_lost_audio_seconds", "Audio that never got to disk: must be 0.", counters.recording_lost_s)
    yield total(
        "recording_lost_picture_packets",
        "Packets of cameras and screens that never got to disk, which loses them first.",
        counters.recording_lost_pictures,
    )
    yield failures(counters.recording_failures)
    yield lengths("recording_fsync_seconds", "Syncs to disk.", counters.recording_fsyncs, counters.recording_fsync_s)
    yield total("recording_recovered", "Recordings finished after a crash.", counters.recordings_recovered)
    held = counters.recording_spool_bytes
    yield gauge("recording_spool_bytes", "Captured bytes that only the spool has.", held)
    yield gauge(
        "recording_spool_capacity_bytes",
        "What the spool holds and what its disk has free above recording.min_free_mb.",
        held + counters.recording_spool_room_bytes,
    )
    yield gauge("recording_disk_free_bytes", "Free where recordings lie.", counters.recording_disk_free_bytes)
    yield gauge("recording_disk_size_bytes", "Free and used there.", counters.recording_disk_size_bytes)
    yield totals("recording_gap_seconds", "Parties not captured, by reason.", "reason", counters.recording_gaps_s)
    if counters.events is not None:
        results = {"delivered": counters.events.delivered, "dropped": counters.events.dropped}
        yield totals("mediaserver_events", "Events of recordings for the webhook.", "result", results)
    if counters.storage is not None:
        yield from storage(counters.storage, counters.storage_counts)
    transitions = CounterMetricFamily(
        "consent_state_transitions", "Steps of consent, per party and purpose.", labels=["from", "to"]
    )
    for (before, after), count in counters.consent_transitions.items():
        transitions.add_metric([before, after], count)
    yield transitions
    yield total(
        "consent_announcement_failed", "Notices a party did not hear to the end.", counters.consent_announcements_failed
    )
    yield total(
        "consent_blocked_audio_seconds", "Parties not captured for want of consent.", counters.consent_blocked_s
    )
    yield total("mediaserver_tokens_issued", "Bearer tokens given out.", counters.tokens_issued)
    yield totals("mediaserver_tokens_refused", "Bearer tokens not taken.", "reason", counters.tokens_refused)
    open_now = GaugeMetricFamily("mediaserver_web_sessions", "WHIP, WHEP and pages open now.", labels=["way"])
    for way, count in counters.web_sessions.items():
        open_now.add_metric([way], count)
    yield open_now
    dropped = counters.data_channels_dropped
    yield totals("mediaserver_data_channels_dropped", "What peers broke of data channels.", "reason", dropped)
    yield totals("mediaserver_pages_ended", "JSON WebSockets we cut off.", "reason", counters.pages_ended)
    yield totals("mediaserver_web_sessions_opened", "WHIP and WHEP sessions.", "way", counters.web_sessions_opened)
    yield total("mediaserver_database_rows_dropped", "Rows given up on.", counters.database_rows_dropped)
    yield gauge("mediaserver_database_rows_waiting", "Rows not yet written.", counters.database_rows_waiting)


def _engine(stats: EngineStats) -> Iterable[Metric]:
    for field in dataclasses.fields(stats):
        if field.name not in ENGINE_METRICS:
            continue
        name, text, kind = ENGINE_METRICS[field.name]
        value = getattr(stats, field.name)
        value = value / 1e9 if "_ns" in field.name else value
        yield gauge(name, text, value) if kind == "gauge" else total(name.removesuffix("_total"), text, value)


def _sip(counters: SipCounters) -> Iterable[Metric]:
    for field in dataclasses.fields(counters):
        text, label = SIP_METRICS.get(field.name, ("", ""))
        if not text:
            continue
        value = getattr(counters, field.name)
        name = f"mediaserver_sip_{field.name}"
        if isinstance(value, TallyCounter):
            yield totals(name, text, label, dict(value))
        else:
            yield total(name, text, value)
