"""How many new requests one source may start: a leaky bucket per address, and one for the refusals it gets.

Judges rates only; what a refusal looks like is `stack`'s. Memory is bounded: the source unseen longest is forgotten.
"""

from __future__ import annotations

import enum

from mediaserver.limits import SIP_REJECTIONS_PER_SOURCE_PER_S, SIP_SOURCES_MAX

_SECOND_NS = 1_000_000_000


class Verdict(enum.Enum):
    ADMIT = "admit"
    REFUSE = "refuse"  # over the rate: say so
    IGNORE = "ignore"  # over the rate of refusals too: say nothing


class SourceRates:
    """Virtual scheduling (ITU-T I.371): per source the time its bucket will be empty. Bursts of one second pass."""

    __slots__ = ("_empty_at", "_refusal_ns", "_request_ns")

    def __init__(self, requests_per_s: int) -> None:
        self._request_ns = _SECOND_NS // requests_per_s
        self._refusal_ns = _SECOND_NS // SIP_REJECTIONS_PER_SOURCE_PER_S
        self._empty_at: dict[str, list[int]] = {}  # host -> [of new requests, of those in dialogs, of refusals]

    def request(self, host: str, now_ns: int, in_dialog: bool = False) -> Verdict:
        """A new request came from `host`. Requests in dialogs do not compete with those that start one."""
        times = self._times(host, now_ns)
        if self._take(times, 1 if in_dialog else 0, self._request_ns, now_ns):
            return Verdict.ADMIT
        return Verdict.REFUSE if self._take(times, 2, self._refusal_ns, now_ns) else Verdict.IGNORE

    def may_refuse(self, host: str, now_ns: int) -> bool:
        """Whether one more answer to rubbish from `host` is allowed."""
        return self._take(self._times(host, now_ns), 2, self._refusal_ns, now_ns)

    def _times(self, host: str, now_ns: int) -> list[int]:
        times = self._empty_at.get(host)
        if times is None:
            if len(self._empty_at) >= SIP_SOURCES_MAX:
                del self._empty_at[next(iter(self._empty_at))]
            times = self._empty_at[host] = [now_ns, now_ns, now_ns]
        return times

    @staticmethod
    def _take(times: list[int], which: int, interval_ns: int, now_ns: int) -> bool:
        empty_at = max(times[which], now_ns)
        if empty_at + interval_ns - now_ns > _SECOND_NS:
            return False
        times[which] = empty_at + interval_ns
        return True
