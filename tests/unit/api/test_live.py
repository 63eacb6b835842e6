"""Live listening over the API: who may, what is logged before anything is heard, and how it ends."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mediaserver.store.reviewers import Reviewer
from tests.support.fake_browser import FakeBrowser
from tests.unit.api.review_world import HASH, Browser, World, open_world

LISTEN = "live/c1/listen"  # the call that the facade has, of queue echo


def offer(direction: str = "recvonly") -> dict[str, str]:
    return {"sdp": FakeBrowser().offer(direction=direction).decode()}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as made:
        yield made


async def test_one_click_opens_a_leg_that_only_hears_and_the_log_has_begin_and_end(world: World) -> None:
    kate = await world.person("kate")
    (call,) = (await kate.ask("GET", "live"))["calls"]
    assert (call["id"], call["deaf"]) == ("c1", "")
    made = await kate.ask("POST", LISTEN, 201, json=offer())
    assert made["sdp"] == "v=0 the answer"
    ((call_id, session),) = world.live.sessions
    assert (call_id, session.caller_user, session.one_way, session.takes_offers) == ("c1", "kate", True, False)
    assert session.remote_sdp is not None
    assert b"a=recvonly" in session.remote_sdp
    assert (await kate.ask("GET", "live"))["listening"] == {made["id"]: "c1"}
    assert await world.logged("listens live") == [("kate", "r1", {"call": "c1", "queue": "echo"})]
    root = await world.person("root")
    assert (await root.ask("GET", "live"))["listening"] == {}
    await root.ask("DELETE", f"live/listening/{made['id']}", 404)
    world.clock.advance(12_500_000_000)
    await kate.ask("DELETE", f"live/listening/{made['id']}", 204)
    assert await world.logged("listened live") == [("kate", "r1", {"call": "c1", "for": 12.5})]
    assert (await kate.ask("GET", "live"))["listening"] == {}
    await kate.ask("DELETE", f"live/listening/{made['id']}", 404)


async def test_what_the_policy_does_not_allow_is_told_and_nobody_hears(world: World) -> None:
    kate = await world.person("kate")
    world.live.deaf = "policy"
    assert [call["deaf"] for call in (await kate.ask("GET", "live"))["calls"]] == ["policy"]
    said = await kate.ask("POST", LISTEN, 403, json=offer())
    assert said["error"]["code"] == "deaf_policy"
    assert world.live.sessions == []
    assert await world.logged("listens live", 0) == []


async def test_a_call_leaves_by_an_encrypted_leg_only(world: World) -> None:
    kate = await world.person("kate")
    lines = (
        "v=0",
        "o=- 1 1 IN IP4 192.0.2.9",
        "s=-",
        "c=IN IP4 192.0.2.9",
        "t=0 0",
        "m=audio 4000 RTP/AVP 0",
        "a=recvonly",
    )
    plain = "\r\n".join(lines) + "\r\n"
    await kate.ask("POST", LISTEN, 400, json={"sdp": plain})
    assert world.live.sessions == []


async def test_only_supervisors_of_the_queue_with_the_token_may_listen(world: World) -> None:
    for name in ("quin", "aud"):
        await (await world.person(name)).ask("POST", LISTEN, 403, json=offer())
    await Browser(world.client).ask("POST", LISTEN, 401, json=offer())
    kate = await world.person("kate")
    await kate.ask("POST", "live/none/listen", 404, json=offer())
    for wrong in ({"sdp": "rubbish"}, {"sdp": 1}, {}, offer("sendrecv"), offer("sendonly")):
        await kate.ask("POST", LISTEN, 400, json=wrong)
    kate.headers["X-CSRF-Token"] = ""
    await kate.ask("POST", LISTEN, 403, json=offer())
    await world.people.change(Reviewer("kate", HASH, "supervisor", ("sales",), 1))
    await (await world.person("kate")).ask("POST", LISTEN, 404, json=offer())
    assert world.live.sessions == []


async def test_who_is_removed_or_has_signed_out_listens_no_longer(world: World) -> None:
    kate, root = await world.person("kate"), await world.person("root")
    await kate.ask("POST", LISTEN, 201, json=offer())
    await root.ask("POST", LISTEN, 201, json=offer())
    await world.api.live.look()
    assert len((await kate.ask("GET", "live"))["listening"]) == 1
    await world.people.change(Reviewer("kate", HASH, "qa", None, 1))
    await root.ask("POST", "sign-out", 204)
    await world.api.live.look()
    assert {who for who, _, _ in await world.logged("listened live", 2)} == {"kate", "root"}
