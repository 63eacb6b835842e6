"""What protects the way to a party against loss, as its operator is told: in-band FEC and redundant audio (RFC 2198).

The engine decides (ext/fec, ext/red) and counts; here a change between two looks at its counters becomes an event.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mediaserver.model import LegStats

FEC, RED = "fec", "red"
Told = tuple[str, float, dict[str, Any]]  # kind, value, detail of a store.QualityEvent


def changes(before: LegStats, after: LegStats) -> Iterator[Told]:
    """`fec`: 1 on, 0 off; `red`: how many earlier payloads each packet repeats. What went on and off in between is told
    by `switches`, which counts since the leg opened."""
    detail = {"loss": round(max(0.0, after.remote_loss_fraction), 4)}
    if after.fec_on != before.fec_on:
        yield FEC, float(after.fec_on), {**detail, "reason": after.fec_reason, "switches": after.fec_switches}
    if after.red_levels != before.red_levels:
        yield RED, float(after.red_levels), {**detail, "switches": after.red_switches}
