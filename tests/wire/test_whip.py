"""WHIP and WHEP on the wire: a broadcaster and a listener meet in a room, by stacks that are not ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
import pytest_asyncio
from aiortc import RTCPeerConnection, RTCSessionDescription

from mediaserver.bootstrap import machine_addresses
from tests.support.listen import tone_levels_db
from tests.support.server import Server
from tests.wire.test_aiortc import RATE, TONE_HZ, Ear

HOST = machine_addresses()[0]  # GStreamer's ICE library looks for no way to a loopback address
GSTREAMER = Path(__file__).parents[1] / "support" / "gst_whip.py"
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


async def token(server: Server, *words: str) -> str:
    code, out, err = await server.cli("tokens", "create", *words)
    assert code == 0, err
    return out.strip()


class Client:
    """aiortc behind the two requests of WHIP or WHEP."""

    def __init__(self, server: Server, http: aiohttp.ClientSession) -> None:
        self.url = f"https://{server.host}:{server.base_port + 2}"
        self.http = http
        self.peer = RTCPeerConnection()
        self.ear = Ear(self.peer)
        self.location = ""
        self.headers: dict[str, str] = {}

    async def open(self, path: str, bearer: str) -> None:
        await self.peer.setLocalDescription(await self.peer.createOffer())
        self.headers = {"Authorization": f"Bearer {bearer}"}
        offer = self.peer.localDescription.sdp
        async with self.http.post(
            self.url + path, data=offer.encode(), headers={**self.headers, "Content-Type": "application/sdp"}
        ) as answer:
            text = await answer.text()
            assert answer.status == 201, text
            self.location, self.etag = answer.headers["Location"], answer.headers["ETag"]
        await self.peer.setRemoteDescription(RTCSessionDescription(text, "answer"))

    async def end(self) -> int:
        async with self.http.delete(self.url + self.location, headers=self.headers) as answer:
            return answer.status

    async def close(self) -> None:
        await self.peer.close()
        for task in self.ear.tasks:
            task.cancel()
        await asyncio.gather(*self.ear.tasks, return_exceptions=True)


@pytest_asyncio.fixture(loop_scope="module")
async def clients(server: Server) -> AsyncIterator[Any]:
    made: list[Client] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as http:

        def make() -> Client:
            made.append(Client(server, http))
            return made[-1]

        yield make
        for client in made:
            await client.close()


async def test_gstreamer_speaks_into_a_room_and_a_listener_by_whep_hears_it(server: Server, clients: Any) -> None:
    listener = clients()
    listener.peer.addTransceiver("audio", direction="recvonly")
    speaks = await token(server, "--number", "701", "--right", "publish", "--name", "Studio")
    pipe = asyncio.subprocess.PIPE
    gstreamer = await asyncio.create_subprocess_exec(
        "/usr/bin/python3", str(GSTREAMER), f"{listener.url}/whip/701", speaks, str(TONE_HZ), stdin=pipe, stdout=pipe
    )
    assert gstreamer.stdin is not None
    assert gstreamer.stdout is not None
    try:
        async with asyncio.timeout(20):
            assert await gstreamer.stdout.readline() == b"published 201\n"
            assert await gstreamer.stdout.readline() == b"connected\n"
        await listener.open("/whep/701", await token(server, "--number", "701", "--right", "subscribe"))
        await asyncio.sleep(5)
        heard = np.concatenate(listener.ear.heard[-50:]).astype(np.float64) / 32_768
        calls = await server.calls()
        assert tone_levels_db(heard, RATE, (TONE_HZ,))[TONE_HZ] > -20
        assert {call["caller"] for call in calls} == {"Studio", "guest"}
        assert {leg["state"] for call in calls for leg in call["legs"]} == {"talking"}
        gstreamer.stdin.close()
        async with asyncio.timeout(10):
            assert await gstreamer.stdout.readline() == b"deleted 200\n"
    finally:
        if gstreamer.returncode is None:
            gstreamer.kill()
        await gstreamer.wait()
    assert await listener.end() == 200
    for _ in range(50):
        if await server.metric("mediaserver_web_sessions") == 0:
            break
        await asyncio.sleep(0.1)
    assert await server.metric("mediaserver_web_sessions") == 0
    assert speaks not in server.log()


async def test_a_token_for_listening_does_not_let_anybody_speak(server: Server, clients: Any) -> None:
    client = clients()
    client.peer.addTransceiver("audio", direction="sendonly")
    bearer = await token(server, "--number", "700", "--right", "subscribe")
    with pytest.raises(AssertionError, match="lacks the right"):
        await client.open("/whip/700", bearer)
    with pytest.raises(AssertionError, match="another room"):
        await client.open("/whep/701", bearer)
    assert bearer not in server.log()
