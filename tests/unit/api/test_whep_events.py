"""What a WHEP viewer is told of its picture: server-sent events as an EventSource reads them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from mediaserver.api import whep_events
from mediaserver.api.tokens import Right
from mediaserver.calls.picture_choice import PictureShown
from tests.support.fake_browser import FakeBrowser
from tests.unit.api.ways_world import SDP, World

JSON = {"Content-Type": "application/json"}
EVERY = b'["active", "inactive", "layers", "viewercount"]'
SHOWN = PictureShown("v", "p1", ("q", "f"), "f", (("q", 100_000), ("f", 900_000)))


class Viewer:
    """One WHEP session and what it is shown."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.bearer = world.bearer(Right.SUBSCRIBE)
        self.shown: PictureShown | None = None

    async def begin(self) -> Viewer:
        status, headers, _ = await self.world.ask("POST", "/whep/700", FakeBrowser().offer(), **SDP, **self.bearer)
        assert status == 201
        self.location, self.links = headers["Location"], headers.getall("Link")
        self.session = self.world.room.sessions[-1]
        assert self.session.picture is not None
        self.session.picture.look = lambda: self.shown
        return self

    async def subscribe(self, events: bytes = EVERY, **headers: str) -> tuple[int, str]:
        answer = await self.world.ask("POST", f"{self.location}/sse", events, **{**JSON, **self.bearer, **headers})
        return answer[0], answer[1].get("Location", "")


@pytest.fixture
async def viewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Viewer]:
    monkeypatch.setattr(whep_events, "WHEP_EVENTS_LOOK_S", 0.005)
    world = World(tmp_path)
    async with TestClient(TestServer(world.app)) as client:
        world.client = client
        yield await Viewer(world).begin()


async def told(stream: ClientResponse) -> tuple[str, Any]:
    """The next event."""
    async with asyncio.timeout(5):
        block = await stream.content.readuntil(b"\n\n")
    name, data = block.decode().strip().split("\n")
    return name.removeprefix("event: "), json.loads(data.removeprefix("data: "))


async def test_a_viewer_is_told_when_a_picture_comes_and_which_layers_it_has(viewer: Viewer) -> None:
    rel = 'rel="urn:ietf:params:whep:ext:core:server-sent-events"; events="active,inactive,layers"'
    assert f"<{viewer.location}/sse>; {rel}" in viewer.links
    status, address = await viewer.subscribe()
    assert status == 201
    async with viewer.world.client.get(address) as stream:  # an EventSource sends no token
        assert (stream.status, stream.content_type) == (200, "text/event-stream")
        assert stream.headers["Access-Control-Allow-Origin"] == "*"
        assert await told(stream) == ("inactive", {})
        viewer.shown = SHOWN
        assert await told(stream) == ("active", {})
        name, data = await told(stream)
        assert name == "layers"
        assert (data["v"]["participant"], data["v"]["shown"], data["v"]["inactive"]) == ("p1", "f", [])
        assert [one["encodingId"] for one in data["v"]["layers"]] == ["q", "f"]
        assert data["v"]["active"][1] == {"id": "f", "simulcastIdx": 1, "bitrate": 900_000}
        viewer.shown = replace(SHOWN, rid="q", streams=(("q", 90_000),))  # its sender dropped one
        _, data = await told(stream)
        assert (data["v"]["shown"], data["v"]["inactive"]) == ("q", [{"id": "f", "simulcastIdx": 1}])
        viewer.shown = replace(viewer.shown, streams=(("q", 80_000),))  # a bitrate alone is no news
        viewer.shown = None
        assert await told(stream) == ("inactive", {})


async def test_only_what_was_asked_for_is_told(viewer: Viewer) -> None:
    _, address = await viewer.subscribe(b'["layers"]')
    viewer.shown = SHOWN
    async with viewer.world.client.get(address) as stream:
        assert (await told(stream))[0] == "layers"


async def test_the_stream_ends_with_its_session_and_by_a_later_one(viewer: Viewer) -> None:
    _, first = await viewer.subscribe()
    async with viewer.world.client.get(first) as stream:
        await told(stream)
        _, second = await viewer.subscribe()
        assert await stream.content.read() == b""
    async with viewer.world.client.get(first) as gone, viewer.world.client.get(second) as stream:
        assert (gone.status, stream.status) == (404, 200)
        await told(stream)
        viewer.session.hang_up()
        assert await stream.content.read() == b""
    async with viewer.world.client.get(second) as gone:
        assert gone.status == 404


async def test_a_silent_stream_says_that_it_lives(viewer: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whep_events, "WHEP_EVENTS_ALIVE_S", 0.01)
    _, address = await viewer.subscribe()
    async with viewer.world.client.get(address) as stream:
        await told(stream)
        assert await stream.content.readuntil(b"\n\n") == b":\n\n"


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"[1]", b"[", b'"layers"', b'["layers"]' + b" " * 2_000])
async def test_what_is_no_list_of_events_is_refused(viewer: Viewer, body: bytes) -> None:
    assert (await viewer.subscribe(body))[0] == 400


async def test_nobody_else_may_ask_for_a_viewers_events(viewer: Viewer) -> None:
    assert (await viewer.subscribe(**SDP))[0] == 415
    other = viewer.world.bearer(Right.SUBSCRIBE, user=None, number="700")
    assert (await viewer.subscribe(**other))[0] == 403
    assert (await viewer.world.ask("POST", f"{viewer.location}/sse", EVERY, **JSON))[0] == 401
    assert (await viewer.world.ask("GET", f"{viewer.location}/sse", **viewer.bearer))[0] == 405
    _, address = await viewer.subscribe()
    for wrong in (address[:-1], address.replace("/700/", "/701/"), f"{viewer.location}/sse/\u00e9"):
        assert (await viewer.world.ask("GET", wrong, **viewer.bearer))[0] == 404, wrong
