"""Families of one counter, one gauge, counters by one label and counted lengths, as a scrape makes them on the spot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isinf

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric


def gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)


def total(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=value)


def totals(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family


def lengths(name: str, text: str, counts: Iterable[tuple[float, int]], seconds: float) -> Metric:
    """counts: upper bound and how many of each class, the last one infinite."""
    total, buckets = 0, []
    for bound, count in counts:
        total += count
        buckets.append(("+Inf" if isinf(bound) else str(bound), total))
    return HistogramMetricFamily(name, text, buckets=buckets or [("+Inf", 0)], sum_value=seconds)
