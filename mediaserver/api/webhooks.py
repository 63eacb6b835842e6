"""Alerts as HTTP POSTs: signed, retried, bounded.

Body: JSON. Headers: `X-Mediaserver-Timestamp` (seconds) and `X-Mediaserver-Signature: v1=HEX`, the HMAC-SHA256 of
"TIMESTAMP.BODY" under `alerts.webhook_secret`: a receiver refuses what is unsigned or older than five minutes. `id` is
the same in every repetition. Answers 2xx are final; anything else, and silence, is tried again with growing pauses.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import secrets
from collections import deque
from dataclasses import dataclass

import aiohttp
import structlog

from mediaserver import __version__
from mediaserver.clock import Clock
from mediaserver.limits import WEBHOOK_TRIES_MAX, WEBHOOKS_WAITING_MAX
from mediaserver.quality.alerts import Alert
from mediaserver.settings import AlertSettings

log = structlog.get_logger(__name__)

TIMEOUT_S = 10.0
PAUSE_S = 1.0  # before the second try; doubles
PAUSE_S_MAX = 60.0


@dataclass(slots=True)
class WebhookStats:
    delivered: int = 0
    retried: int = 0
    dropped: int = 0  # the queue was full, or every try failed


def sign(secret: str, timestamp: int, body: bytes) -> str:
    made = hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1={made.hexdigest()}"


def alert_json(alert: Alert, number: str) -> bytes:
    return json.dumps(
        {
            "id": number,
            "alert": alert.name,
            "state": "firing" if alert.firing else "resolved",
            "labels": dict(alert.labels),
            "value": alert.value,
            "threshold": alert.threshold,
            "since": alert.since,
            "text": alert.text,
        },
        separators=(",", ":"),
    ).encode()


class Webhooks:
    """To `alerts.webhook_url`; without one nothing is kept or sent."""

    def __init__(self, settings: AlertSettings, clock: Clock, pause_s: float = PAUSE_S) -> None:
        self._url = settings.webhook_url
        self._secret = settings.webhook_secret.get_secret_value()
        self._clock = clock
        self._pause_s = pause_s
        self._queue: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.stats = WebhookStats()

    def tell(self, alert: Alert) -> None:
        if not self._url:
            return
        if len(self._queue) >= WEBHOOKS_WAITING_MAX:
            self._queue.popleft()  # the newest state of things is worth most
            self.stats.dropped += 1
        self._queue.append(alert_json(alert, secrets.token_hex(8)))
        self._wake.set()

    async def start(self) -> None:
        if self._url:
            self._task = asyncio.create_task(self._run(), name="webhooks")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                while not self._queue:
                    self._wake.clear()
                    await self._wake.wait()
                await self._deliver(session, self._queue.popleft())

    async def _deliver(self, session: aiohttp.ClientSession, body: bytes) -> None:
        pause_s = self._pause_s
        for attempt in range(WEBHOOK_TRIES_MAX):
            if attempt:
                self.stats.retried += 1
                await asyncio.sleep(pause_s)
                pause_s = min(PAUSE_S_MAX, 2 * pause_s)
            if await self._post(session, body):
                self.stats.delivered += 1
                return
        self.stats.dropped += 1
        log.error("webhook.given_up", tries=WEBHOOK_TRIES_MAX)

    async def _post(self, session: aiohttp.ClientSession, body: bytes) -> bool:
        timestamp = int(self._clock.wall())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"mediaserver/{__version__}",
            "X-Mediaserver-Timestamp": str(timestamp),
            "X-Mediaserver-Signature": sign(self._secret, timestamp, body),
        }
        try:
            async with session.post(self._url, data=body, headers=headers, allow_redirects=False) as answer:
                if 200 <= answer.status < 300:
                    return True
                log.warning("webhook.refused", status=answer.status)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            log.warning("webhook.failed", error=type(error).__name__)
        return False
