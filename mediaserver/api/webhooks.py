"""Alerts, and what happens to recordings, as HTTP POSTs: signed, retried, bounded.

Body: JSON. Headers: `X-Mediaserver-Timestamp` (seconds) and `X-Mediaserver-Signature: v1=HEX`, the HMAC-SHA256 of
"TIMESTAMP.BODY" under the secret of the settings: a receiver refuses what is unsigned or older than five minutes. `id`
is the same in every repetition. Answers 2xx are final; anything else, and silence, is tried again with growing pauses.
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
from mediaserver.limits import EVENTS_WAITING_MAX, WEBHOOK_TRIES_MAX, WEBHOOKS_WAITING_MAX
from mediaserver.quality.alerts import Alert
from mediaserver.recording.announce import RecordingEvent
from mediaserver.settings import AlertSettings, EventSettings

log = structlog.get_logger(__name__)

TIMEOUT_S = 10.0
PAUSE_S = 1.0  # before the second try; doubles
PAUSE_S_MAX = 60.0
EVENTS_FAREWELL_S = 2.0  # a server that stops ends its recordings, and that is news


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


class Sender:
    """Bodies to one address, in order; without an address nothing is kept or sent."""

    def __init__(
        self,
        url: str,
        secret: str,
        clock: Clock,
        *,
        waiting_max: int,
        pause_s: float = PAUSE_S,
        deadline_s: float | None = None,
        farewell_s: float = 0.0,
    ) -> None:
        """deadline_s: after it a body is not worth sending any more; None: WEBHOOK_TRIES_MAX tries instead.

        farewell_s: stopping waits so long for what is still to be sent.
        """
        self.url = url
        self._secret = secret
        self._clock = clock
        self._waiting_max = waiting_max
        self._pause_s = pause_s
        self._deadline_s = deadline_s
        self._farewell_s = farewell_s
        self._idle = asyncio.Event()
        self._idle.set()
        self._queue: deque[tuple[float, bytes]] = deque()  # when it happened, wall
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.stats = WebhookStats()

    def post(self, body: bytes, at: float) -> None:
        """at: wall seconds when it happened."""
        if not self.url:
            return
        if len(self._queue) >= self._waiting_max:
            self._queue.popleft()  # the newest state of things is worth most
            self.stats.dropped += 1
        self._queue.append((at, body))
        self._idle.clear()
        self._wake.set()

    async def start(self) -> None:
        if self.url:
            self._task = asyncio.create_task(self._run(), name="webhooks")

    async def stop(self) -> None:
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._farewell_s):
                    await self._idle.wait()
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    async def _run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                while not self._queue:
                    self._idle.set()
                    self._wake.clear()
                    await self._wake.wait()
                at, body = self._queue.popleft()
                if await self._deliver(session, at, body):
                    self.stats.delivered += 1
                else:
                    self.stats.dropped += 1

    async def _deliver(self, session: aiohttp.ClientSession, at: float, body: bytes) -> bool:
        pause_s, tries = self._pause_s, 0
        while not self._too_late(at, tries):
            if tries:
                self.stats.retried += 1
            if await self._post(session, body):
                return True
            tries += 1
            if not self._too_late(at, tries):
                await asyncio.sleep(pause_s)
                pause_s = min(PAUSE_S_MAX, 2 * pause_s)
        log.error("webhook.given_up", tries=tries)
        return False

    def _too_late(self, at: float, tries: int) -> bool:
        if self._deadline_s is None:
            return tries >= WEBHOOK_TRIES_MAX
        return self._clock.wall() > at + self._deadline_s

    async def _post(self, session: aiohttp.ClientSession, body: bytes) -> bool:
        timestamp = int(self._clock.wall())
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"mediaserver/{__version__}",
            "X-Mediaserver-Timestamp": str(timestamp),
            "X-Mediaserver-Signature": sign(self._secret, timestamp, body),
        }
        try:
            async with session.post(self.url, data=body, headers=headers, allow_redirects=False) as answer:
                if 200 <= answer.status < 300:
                    return True
                log.warning("webhook.refused", status=answer.status)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            log.warning("webhook.failed", error=type(error).__name__)
        return False


class Webhooks(Sender):
    """Alerts, to `alerts.webhook_url`."""

    def __init__(self, settings: AlertSettings, clock: Clock, pause_s: float = PAUSE_S) -> None:
        secret = settings.webhook_secret.get_secret_value()
        super().__init__(settings.webhook_url, secret, clock, waiting_max=WEBHOOKS_WAITING_MAX, pause_s=pause_s)

    def tell(self, alert: Alert) -> None:
        self.post(alert_json(alert, secrets.token_hex(8)), self._clock.wall())


class EventHooks(Sender):
    """What happens to recordings, to `events.webhook_url`, until `events.deadline_s` after it happened."""

    def __init__(self, settings: EventSettings, clock: Clock, pause_s: float = PAUSE_S) -> None:
        self._wanted = frozenset(settings.send)
        super().__init__(
            settings.webhook_url,
            settings.webhook_secret.get_secret_value(),
            clock,
            waiting_max=EVENTS_WAITING_MAX,
            pause_s=pause_s,
            deadline_s=settings.deadline_s,
            farewell_s=EVENTS_FAREWELL_S,
        )

    def tell(self, event: RecordingEvent) -> None:
        if event.name in self._wanted:
            self.post(event_json(event, secrets.token_hex(8)), event.at)


def event_json(event: RecordingEvent, number: str) -> bytes:
    body = {
        "id": number,
        "event": event.name,
        "at": round(event.at, 3),
        "recording": event.recording_id,
        "call": event.call_id,
        **event.facts,
    }
    return json.dumps(body, separators=(",", ":")).encode()
