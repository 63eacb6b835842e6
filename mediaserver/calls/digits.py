"""DTMF as the call room sees it: SIP INFO bodies, and one digit per press whatever ways it came by.

Detection in media belongs to the media plane. Follows RFC 4733 for the digits and the two INFO bodies in use,
application/dtmf-relay and application/dtmf.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field

from mediaserver.model import DtmfSource

DIGITS = "0123456789*#ABCD"
_SAME_PRESS_NS = 1_000_000_000  # a phone sends INFO at the start or end of a press, RFC 4733 packets during it
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


@dataclass(slots=True)
class _Press:
    digit: str = field(repr=False)
    at_ns: int
    sources: set[DtmfSource]


class OnePress:
    """Merges the ways a press arrives. The same digit by another way within a second is the same press, once per way.

    Two presses sent by two ways each are two: every way counts against its own former press first.
    """

    def __init__(self) -> None:
        self._recent: deque[_Press] = deque(maxlen=16)

    def is_new(self, digit: str, source: DtmfSource, now_ns: int) -> bool:
        for press in self._recent:
            if press.digit == digit and source not in press.sources and now_ns - press.at_ns <= _SAME_PRESS_NS:
                press.sources.add(source)
                return False
        self._recent.append(_Press(digit, now_ns, {source}))
        return True
