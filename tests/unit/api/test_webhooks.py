"""Alerts as signed POSTs: a receiver can tell them from anybody else's, and a dead one costs nobody anything."""

import asyncio
import hashlib
import hmac
import json
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from mediaserver.api.webhooks import EventHooks, Webhooks
from mediaserver.clock import VirtualClock
from mediaserver.limits import WEBHOOK_TRIES_MAX, WEBHOOKS_WAITING_MAX
from mediaserver.quality.alerts import Alert
from mediaserver.recording.announce import RecordingEvent
from mediaserver.settings import AlertSettings, EventSettings

ALERT = Alert("trunk_mos_low", True, {"trunk": "carrier"}, 2.9, 3.6, 1_790_000_000.0, "one in twenty …")


class Receiver:
    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.got: list[tuple[bytes, dict[str, str]]] = []

    async def handle(self, request: web.Request) -> web.Response:
        self.got.append((await request.read(), dict(request.headers)))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 204)


async def sending(receiver: Receiver, count: int) -> Webhooks:
    app = web.Application()
    app.router.add_post("/hook", receiver.handle)
    async with TestServer(app) as server:
        settings = AlertSettings(webhook_url=str(server.make_url("/hook")), webhook_secret=SecretStr("s3cret"))
        hooks = Webhooks(settings, VirtualClock(), pause_s=0.0)
        await hooks.start()
        hooks.tell(ALERT)
        async with asyncio.timeout(10):
            while hooks.stats.delivered + hooks.stats.dropped < count:
                await asyncio.sleep(0)
        await hooks.stop()
    return hooks


async def test_an_alert_is_posted_with_a_signature_over_time_and_body() -> None:
    receiver = Receiver()
    await sending(receiver, 1)
    body, headers = receiver.got[0]
    told = json.loads(body)
    assert (told["alert"], told["state"], told["labels"]) == ("trunk_mos_low", "firing", {"trunk": "carrier"})
    stamp = headers["X-Mediaserver-Timestamp"]
    expected = hmac.new(b"s3cret", stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert headers["X-Mediaserver-Signature"] == f"v1={expected}"


async def test_a_receiver_that_fails_is_tried_again_with_the_same_id() -> None:
    receiver = Receiver(500, 302, 200)
    hooks = await sending(receiver, 1)
    assert (hooks.stats.delivered, hooks.stats.retried) == (1, 2)
    assert len({json.loads(body)["id"] for body, _ in receiver.got}) == 1


async def test_one_that_never_takes_it_is_given_up() -> None:
    receiver = Receiver(*[503] * WEBHOOK_TRIES_MAX)
    hooks = await sending(receiver, 1)
    assert (hooks.stats.delivered, hooks.stats.dropped) == (0, 1)


def test_the_queue_is_bounded_and_nothing_is_kept_without_an_address() -> None:
    hooks = Webhooks(AlertSettings(webhook_url="http://127.0.0.1:9/"), VirtualClock())
    for _ in range(WEBHOOKS_WAITING_MAX + 7):
        hooks.tell(ALERT)
    assert hooks.stats.dropped == 7
    silent = Webhooks(AlertSettings(), VirtualClock())
    silent.tell(ALERT)
    assert len(silent._queue) == 0


def event(name: str, at: float) -> RecordingEvent:
    return RecordingEvent(name, at, "r1", "c1", {"reason": "wrong number", "by": "anna"})


async def telling(receiver: Receiver, clock: VirtualClock, *events: RecordingEvent, **settings: Any) -> EventHooks:
    """Starts, tells and stops at once: what there is to tell is told before."""
    app = web.Application()
    app.router.add_post("/hook", receiver.handle)
    async with TestServer(app) as server:
        url = str(server.make_url("/hook"))
        hooks = EventHooks(EventSettings(webhook_url=url, webhook_secret=SecretStr("s3cret"), **settings), clock, 0.0)
        hooks._farewell_s = 60.0  # what is judged is what was told, not how fast a busy machine tells it
        await hooks.start()
        for one in events:
            hooks.tell(one)
        await hooks.stop()
    return hooks


async def test_events_come_signed_in_order_and_before_the_server_is_gone() -> None:
    receiver, clock = Receiver(), VirtualClock()
    now = clock.wall()
    names = ["recording.started", "recording.sealed", "recording.removed"]
    hooks = await telling(receiver, clock, *(event(name, now) for name in names))
    bodies = [json.loads(body) for body, _ in receiver.got]
    assert [body["event"] for body in bodies] == names
    assert len({body["id"] for body in bodies}) == 3
    assert {key: bodies[2][key] for key in ("at", "recording", "call", "reason", "by")} == {
        "at": round(now, 3),
        "recording": "r1",
        "call": "c1",
        "reason": "wrong number",
        "by": "anna",
    }
    body, headers = receiver.got[0]
    expected = hmac.new(b"s3cret", headers["X-Mediaserver-Timestamp"].encode() + b"." + body, hashlib.sha256)
    assert headers["X-Mediaserver-Signature"] == f"v1={expected.hexdigest()}"
    assert (hooks.stats.delivered, hooks.stats.dropped) == (3, 0)


async def test_an_event_is_tried_until_its_deadline_and_then_dropped() -> None:
    clock = VirtualClock()
    receiver = Receiver(*[503] * 100)
    answers = 0

    async def handle(request: web.Request) -> web.Response:
        nonlocal answers
        answers += 1
        clock.advance(1_000_000_000)
        return await Receiver.handle(receiver, request)

    receiver.handle = handle  # type: ignore[method-assign]
    late = event("recording.sealed", clock.wall() - 100)
    hooks = await telling(receiver, clock, late, event("recording.removed", clock.wall()), deadline_s=20)
    told = [json.loads(body)["event"] for body, _ in receiver.got]
    assert set(told) == {"recording.removed"}, "what was too late before was not sent at all"
    assert 20 <= len(told) <= 21
    assert (hooks.stats.delivered, hooks.stats.dropped, hooks.stats.retried) == (0, 2, len(told) - 1)


async def test_only_events_that_are_wanted_are_sent() -> None:
    receiver, clock = Receiver(), VirtualClock()
    events = [event(name, clock.wall()) for name in ("recording.started", "consent.denied")]
    await telling(receiver, clock, *events, send=["consent.denied"])
    assert [json.loads(body)["event"] for body, _ in receiver.got] == ["consent.denied"]
