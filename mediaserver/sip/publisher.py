"""Our own quality reports to a set collector: one PUBLISH each, RFC 6035 §3 and RFC 3903. Nothing is kept alive.

Owns the requests and how many may be under way. What a report says is the quality room's business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog

from mediaserver.limits import QUALITY_PUBLISHES_MAX
from mediaserver.sip.address import NameAddr
from mediaserver.sip.dialog import MAX_FORWARDS, flow_to
from mediaserver.sip.exchange import Exchange, Host
from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Headers, Request, Response
from mediaserver.sip.uri import parse_uri

_log = structlog.get_logger(__name__)
EVENT: Final = "vq-rtcpxr"
CONTENT_TYPE: Final = "application/vq-rtcpxr"


class QualityPublisher:
    """collector: a sip: or sips: URI. domain: whom the reports are from. Raises ParseError for a URI that is none."""

    def __init__(self, host: Host, collector: str, domain: str, entropy: Callable[[int], bytes]) -> None:
        self._host = host
        self._uri = parse_uri(collector).without_headers()
        self._hop = flow_to(self._uri)
        self._from = NameAddr(self._uri._replace(user=None, port=None, host=domain, params={}))
        self._entropy = entropy
        self._under_way = 0
        self.sent = 0
        self.refused = 0  # the collector said no, or nothing
        self.dropped = 0  # too many waited for its answer

    def publish(self, body: bytes) -> None:
        if self._under_way >= QUALITY_PUBLISHES_MAX:
            self.dropped += 1
            return
        self._under_way += 1
        call_id, tag = self._entropy(16).hex(), self._entropy(8).hex()
        Exchange(
            self._host,
            lambda: self._build(body, call_id, tag),
            self._flow,
            on_response=lambda response, flow: self._answered(response),
            on_failure=lambda status, reason: self._done(status),
        ).start()

    def _flow(self) -> Flow:
        return self._hop

    def _build(self, body: bytes, call_id: str, tag: str) -> Request:
        items = [
            ("Max-Forwards", MAX_FORWARDS),
            ("From", str(self._from.with_tag(tag))),
            ("To", str(NameAddr(self._uri.without_params()))),
            ("Call-ID", call_id),
            ("CSeq", "1 PUBLISH"),
            ("Event", EVENT),
            ("Content-Type", CONTENT_TYPE),
        ]
        return Request(headers=Headers(items), body=body, method="PUBLISH", uri=str(self._uri))

    def _answered(self, response: Response) -> None:
        if response.status >= 200:
            self._done(response.status)

    def _done(self, status: int) -> None:
        self._under_way -= 1
        if status < 300:
            self.sent += 1
            return
        self.refused += 1
        if self.refused in (1, 10, 100) or self.refused % 1_000 == 0:
            _log.warning("quality report refused", status=status, refused=self.refused)
