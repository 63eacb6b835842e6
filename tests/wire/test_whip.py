"""WHIP and WHEP on the wire: a broadcaster and a listener meet in a room, by stacks that are not ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import numpy as np
import pytest
import pytest_asyncio
from aiortc import RTCPeerConnection, RTCSessionDescription

from tests.support.listen import tone_levels_db
from tests.support.server import Server
from tests.wire.test_aiortc import RATE, TONE_HZ, Ear, Tone

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


async def test_what_a_broadcaster_says_into_a_room_a_listener_hears(server: Server, clients: Any) -> None:
    speaker, listener = clients(), clients()
    speaker.peer.addTransceiver(Tone(), direction="sendonly")
    listener.peer.addTransceiver("audio", direction="recvonly")
    await speaker.open("/whip/700", await token(server, "--number", "700", "--right", "publish", "--name", "Studio"))
    await listener.open("/whep/700", await token(server, "--number", "700", "--right", "subscribe"))
    await asyncio.sleep(5)
    heard = np.concatenate(listener.ear.heard[-50:]).astype(np.float64) / 32_768
    calls = await server.calls()
    assert tone_levels_db(heard, RATE, (TONE_HZ,))[TONE_HZ] > -20
    assert {call["caller"] for call in calls} == {"Studio", "guest"}
    assert {leg["state"] for call in calls for leg in call["legs"]} == {"talking"}
    assert await speaker.end() == 200
    assert await listener.end() == 200
    for _ in range(50):
        if not await server.calls():
            break
        await asyncio.sleep(0.1)
    assert await server.calls() == []
    assert await server.metric("mediaserver_web_sessions") == 0


async def test_a_token_for_listening_does_not_let_anybody_speak(server: Server, clients: Any) -> None:
    client = clients()
    client.peer.addTransceiver(Tone(), direction="sendonly")
    bearer = await token(server, "--number", "700", "--right", "subscribe")
    with pytest.raises(AssertionError, match="lacks the right"):
        await client.open("/whip/700", bearer)
    with pytest.raises(AssertionError, match="another room"):
        await client.open("/whep/701", bearer)
    assert bearer not in server.log()
