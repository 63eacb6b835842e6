"""What /metrics shows of recordings that fail and of the bucket: every reason from the start, at nought."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from mediaserver.api.metric_families import total, totals
from mediaserver.recording.cabinet import StorageStats

STORAGE_STATES = ("local", "uploading", "remote", "removing", "stays")
# Shown from the start: a series that begins with its first event has grown by nothing, and no rule on it fires.
RECORDING_FAILURES = (
    "cannot_create",
    "disk_error",
    "disk_full",
    "disk_low",
    "fsync_error",
    "missing_key",
    "read_only",
    "slow_disk",
    "write_error",
    "writer_behind",
)
STORAGE_ERRORS = ("unavailable", "refused", "missing", "wrong_bytes", "local")


def failures(counts: Mapping[str, int]) -> Metric:
    shown = {**dict.fromkeys(RECORDING_FAILURES, 0), **counts}
    return totals("recording_failures", "Recordings that failed.", "reason", shown)


def storage(stats: StorageStats, counts: Mapping[str, int]) -> Iterable[Metric]:
    lying = GaugeMetricFamily("recording_storage_recordings", "Recordings by where they lie.", labels=["storage"])
    for state in STORAGE_STATES:
        lying.add_metric([state], counts.get(state, 0))
    yield lying
    yield total("recording_storage_moved", "Recordings moved to the bucket.", stats.moved)
    parts = {"sent": stats.parts_sent, "found": stats.parts_found}
    yield totals("recording_storage_parts", "Parts sent, or found there whole after a failure.", "how", parts)
    yield total("recording_storage_sent_bytes", "Bytes sent to the bucket.", stats.bytes_sent)
    yield total("recording_storage_fetched_bytes", "Bytes fetched back.", stats.bytes_fetched)
    errors = {reason: stats.errors[reason] for reason in STORAGE_ERRORS}
    yield totals("recording_storage_errors", "Tries that failed; each is repeated.", "reason", errors)
