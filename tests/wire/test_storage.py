"""A server with a bucket and a webhook, as its user runs it: a recording moves, is heard, is removed, and told so."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from aiohttp.test_utils import TestServer

from mediaserver.clock import VirtualClock
from mediaserver.recording.export import export_recording
from mediaserver.store.database import open_database
from mediaserver.store.spool import Spool
from tests.support import s3
from tests.support.lanes import SECOND_SERVER_PORT, SECOND_SERVER_RTP
from tests.support.recorder_room import Room, recorded
from tests.support.server import ADMIN_PASSWORD, Server

SECRET = "a secret of the webhook"


class Receiver:
    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    async def handle(self, request: web.Request) -> web.Response:
        body, stamp = await request.read(), request.headers["X-Mediaserver-Timestamp"]
        made = hmac.new(SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
        if request.headers["X-Mediaserver-Signature"] == f"v1={made}":
            self.events.append(json.loads(body))
        return web.Response(status=204)


async def record(data_dir: Path) -> tuple[str, Path, bytes]:
    """A recording an hour old, made without a call, and what it sounds like."""
    data_dir.mkdir(parents=True)
    database = await open_database("", data_dir)
    spool = Spool(database, batch_delay_s=0, backoff_s=0)
    await spool.start()
    room = Room(data_dir, database, spool, VirtualClock(wall=time.time() - 3_600), min_free_mb=0)
    await room.recorder.start()
    recording_id, folder = await recorded(room)
    row = await room.store.get(recording_id)
    assert row is not None
    wav = await export_recording(
        room.recorder.root, await room.recorder.keys(), row, "wav", data_dir.parent / "local.wav"
    )
    await room.recorder.stop()
    await spool.stop()
    await database.close()
    return recording_id, folder, wav.read_bytes()


async def until(holds: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(60):
            while not holds():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"a minute passed without: {what}") from None


async def test_a_recording_moves_to_the_bucket_is_heard_from_there_and_is_removed(tmp_path: Path) -> None:
    recording_id, folder, sound = await record(tmp_path / "server" / "data")
    receiver = Receiver()
    hooks = web.Application()
    hooks.router.add_post("/hook", receiver.handle)
    with ExitStack() as stack:
        endpoint = stack.enter_context(s3.moto())
        await asyncio.to_thread(s3.make_bucket, endpoint, "recordings")
        blobs = s3.blobs(endpoint)
        async with TestServer(hooks) as told:
            server = Server(
                tmp_path / "server",
                SECOND_SERVER_PORT,
                rtp_ports=f"{SECOND_SERVER_RTP}-{SECOND_SERVER_RTP + 49}",
                max_calls=5,
                extra=f'[recording]\nmin_free_mb = 0\n[s3]\nbucket = "recordings"\nprefix = "a"\nmove_after_s = 0\n'
                f'endpoint = "{endpoint}"\naccess_key_id = "key"\nsecret_access_key = "{s3.SECRET}"\n'
                f'[events]\nwebhook_url = "{told.make_url("/hook")}"\nwebhook_secret = "{SECRET}"\n',
            )
            await server.start()
            try:
                await until(lambda: not list(folder.glob("*.journal")), "the journals left the disk")
                names = await blobs.names(str(folder.relative_to(tmp_path / "server/data/recordings")))
                assert {name.rsplit("/", 1)[1] for name in names} == {
                    "1.journal.0000",
                    "2.journal.0000",
                    "manifest.jsonl",
                    "stored.json",
                }
                assert await listen(server, recording_id) == sound
                assert {path.suffix for path in (tmp_path / "server/data/exports").iterdir()} == {".sealed"}
                code, _, err = await server.cli(
                    "recordings", "remove", recording_id, "--reason", "test", "--by", "anna"
                )
                assert code == 0, err
                await until(lambda: bool(receiver.events), "the removal was told")
                assert [(one["event"], one["recording"], one["by"], one["reason"]) for one in receiver.events] == [
                    ("recording.removed", recording_id, "anna", "test")
                ]
                async with asyncio.timeout(60):
                    while len(names) > 1:
                        names = await blobs.names(str(folder.relative_to(tmp_path / "server/data/recordings")))
                        await asyncio.sleep(0.1)
                assert names[0].endswith("manifest.jsonl")
                assert s3.SECRET not in server.log()
            finally:
                await server.stop(timeout_s=20)


async def listen(server: Server, recording_id: str) -> bytes:
    url = f"https://127.0.0.1:{server.base_port + 2}/api/v1/recordings/{recording_id}/audio.wav"
    headers = {"Authorization": "Basic " + base64.b64encode(f"admin:{ADMIN_PASSWORD}".encode()).decode()}
    connector = aiohttp.TCPConnector(ssl=False)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as http, http.get(url) as answer:
        assert answer.status == 200, await answer.text()
        return await answer.read()
