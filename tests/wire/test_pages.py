"""Our pages' JSON WebSocket on the wire: two pages call each other, hear each other and write to each other."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import numpy as np
import pytest
import pytest_asyncio
from aiortc import RTCPeerConnection, RTCSessionDescription

from tests.support.listen import tone_levels_db
from tests.support.server import Server
from tests.wire.conftest import USERS
from tests.wire.test_aiortc import RATE, TONE_HZ, Ear, Tone

SECTIONS = {"webrtc": 'turn_urls = ["turn:turn.example:3478"]\nturn_secret = "shared with coturn"'}
pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class Page:
    """A page's script in Python: its socket, and aiortc instead of the browser's RTCPeerConnection."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self.http, self.url = http, url
        self.peer = RTCPeerConnection()
        self.peer.addTrack(Tone())
        self.ear = Ear(self.peer)
        self.heard: list[dict[str, Any]] = []
        self.numbers = itertools.count(1)
        self.socket: aiohttp.ClientWebSocketResponse

    async def sign_in(self, user: str) -> None:
        body = {"user": user, "password": USERS[user]}
        async with self.http.post(
            f"{self.url}/api/v1/session", json=body, headers={"X-Requested-With": "page"}
        ) as answer:
            said = await answer.json()
        (turn,) = said["ice_servers"]
        assert turn["urls"] == ["turn:turn.example:3478"]
        assert turn["username"].endswith(f":{user}")
        assert turn["credential"]
        self.socket = await self.http.ws_connect(self.url.replace("https", "wss") + said["socket"])
        await self.socket.send_json({"type": "hello", "token": said["token"]})
        await self.hear("welcome")

    async def hear(self, kind: str, timeout_s: float = 10.0) -> dict[str, Any]:
        """The next message of this type that was not asked for before."""
        async with asyncio.timeout(timeout_s):
            while True:
                for message in self.heard:
                    assert message["type"] != "error", message
                    if message["type"] == kind:
                        self.heard.remove(message)
                        return message
                self.heard.append(await self.socket.receive_json())

    async def say(self, kind: str, **fields: Any) -> dict[str, Any]:
        number = next(self.numbers)
        await self.socket.send_json({"type": kind, "id": number, **fields})
        answer = await self.hear("ok")
        assert answer["id"] == number
        return answer

    async def call(self, to: str) -> str:
        await self.peer.setLocalDescription(await self.peer.createOffer())
        made = await self.say("call", to=to, sdp=self.peer.localDescription.sdp)
        answered = await self.hear("answered", 20.0)
        await self.peer.setRemoteDescription(RTCSessionDescription(answered["sdp"], "answer"))
        return str(made["call"])

    async def take(self, incoming: dict[str, Any]) -> None:
        await self.peer.setRemoteDescription(RTCSessionDescription(incoming["sdp"], "offer"))
        await self.peer.setLocalDescription(await self.peer.createAnswer())
        await self.say("answer", call=incoming["call"], sdp=self.peer.localDescription.sdp)

    def level(self) -> float:
        heard = np.concatenate(self.ear.heard[-50:]).astype(np.float64) / 32_768
        return tone_levels_db(heard, RATE, (TONE_HZ,))[TONE_HZ]

    async def close(self) -> None:
        await self.peer.close()
        for task in self.ear.tasks:
            task.cancel()
        await asyncio.gather(*self.ear.tasks, return_exceptions=True)


@pytest_asyncio.fixture(loop_scope="module")
async def pages(server: Server) -> AsyncIterator[Any]:
    made: list[Page] = []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=False)) as http:

        async def make(user: str) -> Page:
            made.append(Page(http, f"https://{server.host}:{server.base_port + 2}"))
            await made[-1].sign_in(user)
            return made[-1]

        yield make
        for page in made:
            await page.close()


async def test_two_pages_talk_write_and_are_told_how_it_sounds(server: Server, pages: Any) -> None:
    ann, bob = await pages("ann"), await pages("bob")
    await bob.say("register")
    calling = asyncio.create_task(ann.call("bob"))
    incoming = await bob.hear("incoming")
    assert (incoming["from"], incoming["name"]) == ("ann", "ann")
    await bob.take(incoming)
    call = await calling
    # Both pages are played by this one process, beside two other tests: one interval without its stutter is enough.
    told: list[dict[str, Any]] = []
    while not told or (told[-1]["mos_received"] <= 4.0 and len(told) < 4):
        told.append(await ann.hear("quality", 15.0))
    assert told[-1]["mos_received"] > 4.0, told
    assert told[-1]["warning"] is None, told
    await ann.say("chat", call=call, text="Hello, Bob")
    said = await bob.hear("chat")
    assert (said["from"], said["text"], said["call"]) == ("ann", "Hello, Bob", incoming["call"])
    assert (await ann.hear("chat"))["call"] == call
    assert min(ann.level(), bob.level()) > -20
    (running,) = await server.calls()
    assert {leg["srtp"] is not None for leg in running["legs"]} == {True}
    await ann.say("hang_up", call=call)
    assert (await bob.hear("ended"))["status"] == 0
