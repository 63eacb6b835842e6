"""What parties showed, for the review page: who may see it, by ranges, and what the access log says of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from mediaserver.recording.sealed import SealedFile, SealedWriter
from tests.unit.api.review_world import CALL, PEOPLE, Browser, World, open_world

FILM = b"\x1a\x45\xdf\xa3" + bytes(range(256)) * 300


@pytest_asyncio.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as made:
        made.facade.there.add("r002")
        made.facade.audio = sealed(tmp_path / "film", FILM)
        yield made


def sealed(path: Path, clear: bytes) -> SealedFile:
    writer = SealedWriter(path, bytes(32))
    writer.write(clear)
    writer.close()
    return SealedFile.open(path, bytes(32))


async def test_pictures_come_by_ranges_and_the_log_has_who_saw_them(world: World) -> None:
    kate = await world.person("kate")
    listed = await kate.ask("GET", f"{CALL}/pictures")
    assert listed["pictures"] == [{"party": "1", "picture": "camera"}, {"party": "1", "picture": "screen"}]
    assert await kate.ask("GET", f"{CALL}/pictures/1/screen") == FILM
    assert world.facade.filmed == [("pictures", "1", "screen")]
    part = await kate.ask("GET", f"{CALL}/pictures/1/camera", 206, headers={"Range": "bytes=70000-70009"})
    assert part == FILM[70_000:70_010]
    await kate.ask("GET", f"{CALL}/pictures/1/camera", 416, headers={"Range": f"bytes={len(FILM)}-"})
    await kate.ask("GET", f"{CALL}/pictures/1/desk", 404)
    await kate.ask("GET", f"{CALL}/pictures/9/camera", 404)
    camera, screen = ({"party": "1", "picture": name} for name in ("camera", "screen"))
    assert [detail for _, _, detail in await world.logged("watches", 3)] == [camera, camera, screen]
    part_sent, all_sent = [detail for _, _, detail in await world.logged("sent", 2)]
    assert all_sent == screen | {"bytes": [0, len(FILM)], "of": len(FILM)}
    assert part_sent == camera | {"bytes": [70_000, 70_010], "of": len(FILM)}


async def test_a_film_says_its_own_container(world: World, tmp_path: Path) -> None:
    kate = await world.person("kate")
    address = f"/api/v1/review/{CALL}/pictures/1/camera"
    async with world.client.get(address, headers=kate.headers) as answer:
        assert (answer.content_type, answer.headers["Cache-Control"]) == ("video/webm", "no-store, private")
    world.facade.audio = sealed(tmp_path / "mp4", b"\0\0\0\x1cftypisom")
    async with world.client.get(address, headers=kate.headers) as answer:
        assert answer.content_type == "video/mp4"


async def test_who_may_listen_may_see_and_nobody_else(world: World) -> None:
    for path in ("pictures", "pictures/1/camera", "preparing"):
        await Browser(world.client).ask("GET", f"{CALL}/{path}", 401)
        for name in PEOPLE:
            browser = await world.person(name)
            await browser.ask("GET", f"{CALL}/{path}", 200 if name in ("quin", "kate", "root") else 403)
        await (await world.person("quin")).ask("GET", f"calls/r001/{path}", 404)
    kate = await world.person("kate")
    share = await kate.ask("POST", f"{CALL}/shares", 201, json={"hours": 1})
    guest = Browser(world.client)
    await guest.follow(share["path"].partition("=")[2])
    assert (await guest.ask("GET", f"{CALL}/pictures"))["pictures"] == []
    await guest.ask("GET", f"{CALL}/pictures/1/camera", 404)


async def test_what_was_seen_beside_the_sound_is_in_the_log_and_how_far_a_render_is_can_be_asked(world: World) -> None:
    kate = await world.person("kate")
    await kate.ask("POST", f"{CALL}/played", 204, json={"seconds": [[1, 2]], "pictures": ["1-screen", "1-camera"]})
    seen = {"seconds": [[1.0, 2.0]], "pictures": ["1-camera", "1-screen"]}
    assert await world.logged("played") == [("kate", "r002", seen)]
    for wrong in ("1-camera", [1], ["x" * 65], ["\n"], ["a"] * 33):
        await kate.ask("POST", f"{CALL}/played", 400, json={"seconds": [[1, 2]], "pictures": wrong})
    assert (await kate.ask("GET", f"{CALL}/preparing"))["preparing"] == {"sound": 40}
