"""Our registration with a trunk, RFC 3261 §10.2: kept up before it lapses, retried with patience, ended politely."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final

import structlog

from mediaserver.errors import ParseError
from mediaserver.sip.address import NameAddr
from mediaserver.sip.auth_client import DigestClient
from mediaserver.sip.dialog import MAX_FORWARDS, flow_to
from mediaserver.sip.exchange import Exchange, Host
from mediaserver.sip.flow import Flow
from mediaserver.sip.message import Headers, Request, Response, parse_delta_seconds
from mediaserver.sip.timers import Timer
from mediaserver.sip.trunks import Trunk
from mediaserver.sip.uri import Uri, escape_user

_log = structlog.get_logger(__name__)
_NS: Final = 1_000_000_000
_EXPIRES_S: Final = 3_600
_RETRY_FIRST_S: Final = 5
_RETRY_MAX_S: Final = 300  # a trunk that is down for a night is found again within five minutes
_EARLY_FRACTION: Final = 0.8  # of the time granted: room for two failed tries before it lapses


class TrunkRegistration:
    """registered: the trunk's last word, and not lapsed since."""

    def __init__(self, host: Host, trunk: Trunk, entropy: Callable[[int], bytes]) -> None:
        assert trunk.credentials is not None  # `Trunks` refuses such settings
        self.registered = False
        self.trunk = trunk
        self._host = host
        self._entropy = entropy
        self._user = escape_user(trunk.credentials.username)
        self._address = NameAddr(Uri("sip", self._user, trunk.uri.host))
        self._registrar = str(Uri("sip", None, trunk.uri.host, trunk.uri.port, trunk.uri.params))
        self._call_id = entropy(16).hex()
        self._digest = DigestClient(trunk.credentials, entropy=entropy)
        self._cseq = 0
        self._expires_s = _EXPIRES_S
        self._failures = 0
        self._stopped = True
        self._timer: Timer | None = None
        self._lapse: Timer | None = None

    def start(self) -> None:
        if self._stopped:
            self._stopped = False
            self._send(self._expires_s)

    def stop(self) -> None:
        """Unregister; one try, nobody waits for it."""
        if self._stopped:
            return
        self._stopped = True
        self._cancel_timers()
        if self.registered:
            self.registered = False
            self._send(0)

    def _send(self, expires_s: int) -> None:
        Exchange(
            self._host,
            lambda: self._build(expires_s),
            self._hop,
            on_response=lambda response, flow: self._on_response(response, expires_s),
            on_failure=lambda status, reason: self._failed(status),
            digest=self._digest,
        ).start()

    def _hop(self) -> Flow:
        return flow_to(self.trunk.uri)

    def _contact(self) -> str:
        return self._host.contact(self._hop(), self._user)

    def _build(self, expires_s: int) -> Request:
        self._cseq += 1
        items = [
            ("Max-Forwards", MAX_FORWARDS),
            ("From", str(self._address.with_tag(self._entropy(8).hex()))),
            ("To", str(self._address)),
            ("Call-ID", self._call_id),
            ("CSeq", f"{self._cseq} REGISTER"),
            ("Contact", f"{self._contact()};expires={expires_s}"),
            ("Expires", str(expires_s)),
        ]
        return Request(headers=Headers(items), method="REGISTER", uri=self._registrar)

    def _on_response(self, response: Response, asked_s: int) -> None:
        if response.status < 200 or self._stopped:
            return
        if response.status == 423:
            try:
                least_s = parse_delta_seconds(response.headers.get("Min-Expires") or "")
            except ParseError:
                least_s = 0
            if asked_s < least_s <= 86_400:
                self._expires_s = least_s
                self._send(least_s)
                return
        if response.status >= 300:
            self._failed(response.status)
            return
        granted_s = self._granted(response, asked_s)
        if not self.registered:
            _log.info("registered with trunk", trunk=self.trunk.name, expires_s=granted_s)
        self.registered = True
        self._failures = 0
        self._cancel_timers()
        now = self._host.now_ns()
        self._timer = self._host.timers.at(now + int(granted_s * _EARLY_FRACTION * _NS), self._again)
        self._lapse = self._host.timers.at(now + granted_s * _NS, self._lapsed)

    def _granted(self, response: Response, asked_s: int) -> int:
        """Seconds of our contact among those the trunk lists; at least 10, or we would register without pause."""
        ours = self._contact().strip("<>")
        texts = [response.headers.get("Expires") or ""]
        with contextlib.suppress(ParseError):  # a list that cannot be read says nothing about us
            texts += [c.param("expires") or "" for c in response.contacts if str(c.uri) == ours]
        for text in reversed(texts):
            try:
                return max(10, min(parse_delta_seconds(text), 86_400))
            except ParseError:
                continue
        return asked_s

    def _failed(self, status: int) -> None:
        if self._stopped:
            return
        self._failures += 1
        wait_s = min(_RETRY_MAX_S, _RETRY_FIRST_S << min(self._failures - 1, 10))
        wait_ns = int(wait_s * _NS * self._host.rng.uniform(0.8, 1.0))  # many servers, one trunk: not all at once
        _log.warning("trunk registration failed", trunk=self.trunk.name, status=status, retry_s=wait_ns // _NS)
        self._digest.forget()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._host.timers.at(self._host.now_ns() + wait_ns, self._again)

    def _again(self) -> None:
        self._send(self._expires_s)

    def _lapsed(self) -> None:
        self.registered = False

    def _cancel_timers(self) -> None:
        for timer in (self._timer, self._lapse):
            if timer is not None:
                timer.cancel()
