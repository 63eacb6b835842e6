"""Alerts as signed POSTs: a receiver can tell them from anybody else's, and a dead one costs nobody anything."""

import asyncio
import hashlib
import hmac
import json

from aiohttp import web
from aiohttp.test_utils import TestServer
from pydantic import SecretStr

from mediaserver.api.webhooks import Webhooks
from mediaserver.clock import VirtualClock
from mediaserver.limits import WEBHOOK_TRIES_MAX, WEBHOOKS_WAITING_MAX
from mediaserver.quality.alerts import Alert
from mediaserver.settings import AlertSettings

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
