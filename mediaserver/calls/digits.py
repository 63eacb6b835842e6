"""Digits in SIP INFO: the two bodies in use, application/dtmf-relay and application/dtmf.

Knows no leg. That a press which came by several ways counts once is the media plane's business.
"""

from __future__ import annotations

import re

DIGITS = "0123456789*#ABCD"
_SIGNAL = re.compile(r"^\s*signal\s*=\s*([0-9A-D*#]|1[0-5])\s*$", re.IGNORECASE | re.MULTILINE)
_DURATION = re.compile(r"^\s*duration\s*=\s*(\d{1,5})\s*$", re.IGNORECASE | re.MULTILINE)


def digit_of_info(content_type: str, body: bytes) -> tuple[str, int] | None:
    """(digit, duration in ms) of a SIP INFO; None if it carries none we know. Never raises."""
    kind = content_type.partition(";")[0].strip().lower()
    text = body[:256].decode("ascii", "replace")
    if kind == "application/dtmf":
        signal = text.strip().upper()
        duration_ms = 0
    elif kind == "application/dtmf-relay":
        found = _SIGNAL.search(text)
        length = _DURATION.search(text)
        signal = found[1].upper() if found else ""
        duration_ms = int(length[1]) if length else 0
    else:
        return None
    if signal in ("10", "11", "12", "13", "14", "15"):  # some devices write the RFC 4733 event number
        signal = DIGITS[int(signal)]
    return (signal, duration_ms) if len(signal) == 1 and signal in DIGITS else None
