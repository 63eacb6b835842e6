"""RTCP feedback packets for video and congestion control; see video_feedback.pyx."""

from typing import Any

def read_for_test(data: bytes) -> list[dict[str, Any]] | None:
    """What each feedback packet of a compound one says, or None when it is malformed."""

def write_for_test(what: str, sender: int, media: int, values: Any) -> bytes:
    """what: nack, pli, fir, remb, report or transport; values: numbers, a count, bps, a name, arrivals in us."""
