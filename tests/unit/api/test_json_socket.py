"""The JSON WebSocket as a page uses it, and as one that means harm does."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientWebSocketResponse, WSMsgType, WSServerHandshakeError
from aiohttp.test_utils import TestClient, TestServer

from mediaserver.api import json_socket
from mediaserver.api.socket_messages import BadMessage, read_message
from mediaserver.api.tokens import Right
from mediaserver.calls.web_session import WebSession
from mediaserver.limits import PAGE_MESSAGES_BURST_MAX, WEBSOCKET_MESSAGE_BYTES_MAX
from mediaserver.sip.auth import make_credentials
from mediaserver.sip.session_events import Answered, Ended, InfoReceived, Progress, ReferReceived, Reoffer
from tests.support.fake_browser import FakeBrowser
from tests.unit.api.test_people import STREAM, leg, room
from tests.unit.api.ways_world import ANSWER, NEW_ANSWER, World

OFFER = FakeBrowser().offer().decode()


class Page:
    """One page: `say` and read what comes, in order."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket
        self.heard: list[dict[str, Any]] = []

    async def hear(self, *kinds: str) -> dict[str, Any]:
        """The next message of one of these types; all that came before it are kept in `heard`."""
        async with asyncio.timeout(5):
            while True:
                message = await self.socket.receive()
                assert message.type is WSMsgType.TEXT, message
                self.heard.append(json.loads(message.data))
                if self.heard[-1]["type"] in kinds:
                    return self.heard[-1]

    async def say(self, kind: str, **fields: Any) -> dict[str, Any]:
        await self.socket.send_json({"type": kind, "id": 7, **fields})
        answer = await self.hear("ok", "error", "token")
        assert answer["id"] == 7
        return answer

    async def closed(self) -> int | None:
        async with asyncio.timeout(5):
            while (await self.socket.receive()).type is WSMsgType.TEXT:
                pass
        return self.socket.close_code


class Pages:
    def __init__(self, world: World) -> None:
        self.world = world

    async def open(self, **headers: str) -> Page:
        return Page(await self.world.client.ws_connect("/ws/v1", headers=headers))

    async def sign_in(self, *rights: Right, user: str | None = "ann", number: str | None = None) -> Page:
        page = await self.open()
        token = self.world.bearer(*rights, user=user, number=number)["Authorization"].removeprefix("Bearer ")
        await page.socket.send_json({"type": "hello", "token": token})
        await page.hear("welcome")
        return page

    async def in_call(self, *rights: Right) -> tuple[Page, WebSession]:
        page = await self.sign_in(*rights)
        assert (await page.say("call", to="600", sdp=OFFER))["call"] == "c1"
        await asyncio.sleep(0)
        return page, self.world.room.sessions[-1]


@pytest.fixture
async def pages(tmp_path: Path) -> AsyncIterator[Pages]:
    world = World(tmp_path)
    async with TestClient(TestServer(world.app)) as client:
        world.client = client
        yield Pages(world)
    assert len(world.ways.pages) == 0


async def test_a_page_signs_in_and_learns_who_it_is(pages: Pages) -> None:
    page = await pages.sign_in(Right.PUBLISH)
    welcome = page.heard[0]
    assert (welcome["user"], welcome["rights"], welcome["number"]) == ("ann", ["publish"], None)
    assert welcome["ice_servers"][0]["urls"] == ["turn:a.example", "turns:a.example"]
    assert len(pages.world.ways.pages) == 1
    await page.socket.close()


@pytest.mark.parametrize(
    "first", ['{"type":"hello","token":"forged"}', '{"type":"register"}', "no JSON", '{"type":"hello"}', "[" * 5_000]
)
async def test_who_does_not_bring_a_token_first_is_shown_out(pages: Pages, first: str) -> None:
    page = await pages.open()
    await page.socket.send_str(first)
    assert (await page.hear("error"))["code"] == "unauthorized"
    assert await page.closed() == json_socket.NOT_SIGNED_IN


async def test_who_says_nothing_is_shown_out(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_socket, "PAGE_HELLO_S_MAX", 0.01)
    page = await pages.open()
    assert (await page.hear("error"))["message"] == "no hello came"
    assert await page.closed() == json_socket.NOT_SIGNED_IN


async def test_a_page_of_another_origin_gets_no_socket(pages: Pages) -> None:
    with pytest.raises(WSServerHandshakeError) as refused:
        await pages.open(Origin="https://evil.example")
    assert refused.value.status == 403


async def test_a_page_calls_is_answered_and_hangs_up(pages: Pages) -> None:
    page, session = await pages.in_call()
    assert (await page.hear("answered"))["sdp"] == ANSWER.decode()
    assert (session.called_user, session.identity, session.one_way) == ("600", "ann", False)
    assert (await page.say("hang_up", call="c1"))["type"] == "ok"
    assert page.heard[-2] == {"type": "ended", "call": "c1", "status": 0, "reason": ""}
    assert (await page.say("hang_up", call="c1"))["code"] == "not_found"


async def test_hanging_up_while_an_offer_of_ours_is_open_ends_the_call(pages: Pages) -> None:
    page, session = await pages.in_call()
    session.reinvite(b"ours")
    await page.hear("offer")
    assert (await page.say("hang_up", call="c1"))["type"] == "ok"
    assert session.ended
    assert isinstance(pages.world.room.events[-1], Ended)


async def test_ringing_and_why_nobody_came_are_told(pages: Pages) -> None:
    pages.world.room.does = lambda session: (session.ring(), session.reject(486, "Busy Here"))
    page, _ = await pages.in_call()
    await page.hear("ended")
    assert [message["type"] for message in page.heard] == ["welcome", "ok", "ringing", "ended"]
    assert page.heard[3] == {"type": "ended", "call": "c1", "status": 486, "reason": "Busy Here"}


async def test_offers_keys_candidates_and_transfer_reach_the_leg(pages: Pages) -> None:
    page, session = await pages.in_call()
    await page.say("offer", call="c1", sdp=OFFER)
    assert (await page.hear("answer"))["sdp"] == NEW_ANSWER.decode()
    session.reinvite(b"ours")
    assert (await page.hear("offer"))["sdp"] == "ours"
    glare = await page.say("offer", call="c1", sdp=OFFER)
    assert (glare["code"], glare["message"][:4]) == ("conflict", "491:")
    assert (await page.say("answer", call="c1", sdp=OFFER))["type"] == "ok"
    assert (await page.say("answer", call="c1", sdp=OFFER))["code"] == "conflict"
    await page.say("dtmf", call="c1", digits="1#")
    await page.say("candidate", call="c1", mid="0", candidate="candidate:1 1 udp 1 192.0.2.1 5 typ host")
    await page.say("candidate", call="c1")
    await page.say("transfer", call="c1", to="601")
    bodies = [event.body for event in pages.world.room.heard(InfoReceived)]
    assert [body[:9] for body in bodies[:2]] == [b"Signal=1\r", b"Signal=#\r"]
    assert bodies[2] == b"m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\n"
    assert bodies[3] == b"a=end-of-candidates\r\n"
    assert pages.world.room.heard(ReferReceived)[0].refer_to == "sip:601@mediaserver"


@pytest.mark.parametrize(
    ("rights", "direction"), [([Right.SUBSCRIBE], b"a=recvonly"), ([Right.PUBLISH], b"a=sendonly")]
)
async def test_an_offer_is_as_open_as_the_token(pages: Pages, rights: list[Right], direction: bytes) -> None:
    page, session = await pages.in_call(*rights)
    assert direction in (session.remote_sdp or b"")
    assert session.one_way
    await page.say("offer", call="c1", sdp=OFFER)
    assert direction in pages.world.room.heard(Reoffer)[0].sdp


async def test_a_registered_page_is_rung_answers_or_declines(pages: Pages) -> None:
    page = await pages.sign_in()
    rung = pages.world.ways.pages
    assert rung.targets("ann") == []
    assert (await page.say("register"))["type"] == "ok"
    (target,) = rung.targets("ann")
    assert rung.targets("bob") == []
    for message, told in (({"type": "answer", "sdp": "theirs"}, Answered), ({"type": "reject"}, Ended)):
        session = rung.invite(target, sdp=b"ours", caller_user="bob", caller_name="Bob", called_user="ann")
        events: list[Any] = []
        session.on_event = events.append
        incoming = await page.hear("incoming")
        assert (incoming["from"], incoming["name"], incoming["sdp"]) == ("bob", "Bob", "ours")
        await page.say(message.pop("type"), call=incoming["call"], **message)
        assert [type(event) for event in (events[0], events[-1])] == [Progress, told]
        session.hang_up()
    await page.say("unregister")
    assert rung.targets("ann") == []


async def test_a_page_that_is_gone_takes_its_calls_with_it_and_rings_no_more(pages: Pages) -> None:
    page, _ = await pages.in_call()
    await page.say("register")
    (target,) = pages.world.ways.pages.targets("ann")
    await page.socket.close()
    while len(pages.world.ways.pages):
        await asyncio.sleep(0)
    session = pages.world.ways.pages.invite(target, sdp=b"", caller_user="", caller_name="", called_user="ann")
    events: list[Any] = []
    session.on_event = events.append
    await asyncio.sleep(0)
    assert isinstance(events[-1], Ended)
    assert pages.world.room.heard(Ended)


async def test_a_guest_reaches_his_room_and_nothing_else(pages: Pages) -> None:
    page = await pages.sign_in(user=None, number="700")
    assert (await page.say("call", to="600", sdp=OFFER))["code"] == "forbidden"
    assert (await page.say("register"))["code"] == "forbidden"
    assert (await page.say("call", to="700", sdp=OFFER))["call"] == "c1"
    assert (await page.say("transfer", call="c1", to="700"))["code"] == "forbidden"
    assert pages.world.room.sessions[0].identity is None
    assert pages.world.tokens.refused["number"] == 1


async def test_a_moderator_directs_the_room_his_token_opens(pages: Pages) -> None:
    control = {"action": "mute", "participant": "call-1-2"}
    moderator = await pages.sign_in(Right.MODERATE, user=None, number="700")
    assert (await moderator.say("room_control", room="701", **control))["code"] == "forbidden"
    assert (await moderator.say("room_control", room="700", **control))["type"] == "ok"
    assert (await moderator.say("room_control", room="700", action="lock"))["type"] == "ok"
    everywhere = await pages.sign_in(Right.MODERATE)
    assert (await everywhere.say("room_control", room="702", **control))["code"] == "not_found"
    assert pages.world.room.did[:2] == [("700", "mute", ("call-1", "2"), None), ("700", "lock", None, None)]


async def test_without_that_right_the_rooms_own_rules_decide_for_who_is_in_it(pages: Pages) -> None:
    page = await pages.sign_in(Right.PUBLISH)
    assert (await page.say("room_control", room="700", action="kick", participant="k-1"))["code"] == "forbidden"
    assert pages.world.room.did == []
    pages.world.people.leg_opened("k", leg("ann", sip="of a telephone"), STREAM)
    pages.world.people.room_changed(room(("k", "1"), ("other", "1")))
    assert (await page.say("room_control", room="700", action="mute", participant="k-1"))["type"] == "ok"
    assert (await page.say("room_control", room="700", action="kick", participant="other-1"))["code"] == "forbidden"
    assert pages.world.room.did[0] == ("700", "mute", ("k", "1"), ("k", "1"))


async def test_chat_consent_and_measurements_are_about_a_leg_of_ones_own(pages: Pages) -> None:
    page, session = await pages.in_call()
    asked: list[tuple[str, str, bool]] = []

    async def consent(call_id: str, leg_id: str, agree: bool, purposes: Sequence[str]) -> str:
        asked.append((call_id, leg_id, agree))
        if not agree:
            raise LookupError(call_id)
        return "granted"

    assert (await page.say("chat", call="c1", text="hello"))["code"] == "not_found"
    pages.world.people.leg_opened("k", leg("ann", sip=session.call_id), STREAM)
    assert (await page.say("chat", call="c1", text="hello"))["type"] == "ok"
    assert page.heard[-2]["text"] == "hello"
    assert (await page.say("consent", agree=True))["code"] == "not_found"
    page_with = await pages.sign_in()
    pages.world.ways.pages.consent = consent
    other = await pages.sign_in()
    assert (await other.say("consent", sip_call_id=session.call_id, agree=True))["state"] == "granted"
    assert (await other.say("consent", agree=False))["code"] == "not_found"
    assert asked == [("k", "1", True), ("k", "1", False)]
    report = {"rtt_ms": 31.5, "loss_received": 0.02, "candidate": "relay", "userAgent": "left out"}
    assert (await page_with.say("stats", sip_call_id=session.call_id, report=report))["type"] == "ok"
    kept = pages.world.people.client_stats("k", "1")
    assert kept is not None
    assert (kept.rtt_ms, kept.loss_received, kept.candidate) == (31.5, 0.02, "relay")


async def test_a_user_directs_the_recording_of_his_own_call_and_needs_the_right_to(pages: Pages) -> None:
    page, session = await pages.in_call()
    pages.world.people.leg_opened("k", leg("ann", sip=session.call_id), STREAM)
    pages.world.people.leg_opened("other", leg("bob", sip="of bob"), STREAM)
    assert (await page.say("record", action="start", sip_call_id=session.call_id))["type"] == "ok"
    assert (await page.say("record", action="stop", call="c1"))["code"] == "conflict"
    assert pages.world.room.did == [("k", "1", "start"), ("k", "1", "stop")]
    assert (await page.say("record", action="pause", sip_call_id="of bob"))["code"] == "not_found"
    bare = await pages.sign_in(Right.PUBLISH, Right.SUBSCRIBE)
    assert (await bare.say("record", action="pause", sip_call_id=session.call_id))["code"] == "forbidden"
    assert len(pages.world.room.did) == 2


async def test_a_token_is_renewed_or_the_page_signed_out(pages: Pages) -> None:
    page = await pages.sign_in()
    pages.world.clock.at += 3_500
    renewed = await page.say("renew")
    assert renewed["expires"] == pages.world.clock.at + 3_600
    assert pages.world.tokens.verify(renewed["token"]).user == "ann"
    late = await pages.open()
    token, _ = pages.world.tokens.issue(user="ann", number=None, rights=[Right.SUBSCRIBE], lifetime_s=60)
    pages.world.clock.at += 59.99
    await late.socket.send_json({"type": "hello", "token": token})
    assert await late.closed() == json_socket.NOT_SIGNED_IN
    assert pages.world.ways.pages.ended["token expired"] == 1


@pytest.mark.parametrize("change", ["removed", "another password"])
async def test_a_user_who_is_removed_or_has_another_password_says_nothing_more(pages: Pages, change: str) -> None:
    page, session = await pages.in_call()
    if change == "removed":
        del pages.world.users.known["ann"]
    else:
        pages.world.users.known["ann"] = make_credentials("ann", "mediaserver", "another")
    await page.socket.send_json({"type": "call", "to": "600", "sdp": OFFER})
    assert await page.closed() == json_socket.NOT_SIGNED_IN
    async with asyncio.timeout(5):
        while not session.ended:
            await asyncio.sleep(0)
    assert len(pages.world.room.sessions) == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "1",
        '{"type":"everything"}',
        '{"type":"call","to":"600"}',
        '{"type":"call","to":"6 00","sdp":"v=0"}',
        '{"type":"call","to":"","sdp":"v=0"}',
        '{"type":"dtmf","call":"c1","digits":"x"}',
        '{"type":"dtmf","call":"c1","digits":"' + "1" * 33 + '"}',
        '{"type":"candidate","call":"c1","candidate":"a\\r\\na=x"}',
        '{"type":"chat","text":""}',
        '{"type":"chat","call":"a","sip_call_id":"b","text":"hi"}',
        '{"type":"consent","agree":"maybe"}',
        '{"type":"record","action":"erase"}',
        '{"type":"room_control","room":"700","action":"explode","participant":"1"}',
        '{"type":"stats","report":{"loss_received":2}}',
        '{"type":"stats","report":{"rtt_ms":"NaN"}}',
        '{"type":"stats","report":{"rtt_ms":1e999}}',
        '{"type":"renew","id":{"deep":1}}',
        '{"type":"renew","more":1}',
        '{"type":"hello","token":"planted-secret","more":1}',
        "\ud800",
        "[" * 100_000,
    ],
)
def test_what_does_not_fit_the_schema_is_refused_in_words_without_repeating_it(text: str) -> None:
    with pytest.raises(BadMessage) as refused:
        read_message(text)
    assert str(refused.value)
    assert "planted-secret" not in str(refused.value)


async def test_rubbish_is_answered_and_the_page_stays(pages: Pages) -> None:
    page = await pages.sign_in()
    await page.socket.send_str("rubbish")
    assert (await page.hear("error"))["code"] == "bad_request"
    assert (await page.say("hello", token="again"))["code"] == "bad_request"
    assert (await page.say("register"))["type"] == "ok"


async def test_who_sends_too_fast_or_too_much_is_cut_off(pages: Pages) -> None:
    fast = await pages.sign_in()
    with contextlib.suppress(ConnectionError):
        for _ in range(10 * PAGE_MESSAGES_BURST_MAX):  # what a slow machine's clock gives back meanwhile is far less
            await fast.socket.send_str("{}")
    assert await fast.closed() == json_socket.TOO_FAST
    large = await pages.sign_in()
    await large.socket.send_str("x" * (WEBSOCKET_MESSAGE_BYTES_MAX + 1))
    assert await large.closed() == 1009


async def test_who_does_not_read_is_cut_off(pages: Pages) -> None:
    await pages.sign_in()
    ((person, _),) = pages.world.ways.pages._open.values()
    for _ in range(40):  # more than the bound and what the kernel takes, before the writer's turn comes
        person.tell({"type": "filler", "text": "x" * 60_000})
    assert pages.world.ways.pages.ended["slow reader"] > 0
    async with asyncio.timeout(5):
        while len(pages.world.ways.pages):
            await asyncio.sleep(0.01)


async def test_a_token_for_one_room_says_and_hears_nothing_elsewhere(pages: Pages) -> None:
    bound, free = await pages.sign_in(number="700"), await pages.sign_in()
    pages.world.people.leg_opened("k", leg("ann", sip="of a telephone"), STREAM)
    pages.world.people.room_changed(room(("k", "1"), ("other", "1")))
    assert (await free.hear("room"))["room"]
    assert (await bound.say("chat", text="hello"))["code"] == "not_found"
    assert (await bound.say("consent", agree=True, sip_call_id="of a telephone"))["code"] == "not_found"
    assert (await free.say("chat", text="hello"))["type"] == "ok"
    assert [message["type"] for message in bound.heard] == ["welcome", "error", "error"]


async def test_one_user_has_not_all_the_connections(pages: Pages, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_socket, "PAGE_SOCKETS_PER_USER_MAX", 1)
    first = await pages.sign_in()
    second = await pages.open()
    token = pages.world.bearer(Right.PUBLISH, user="ann")["Authorization"].removeprefix("Bearer ")
    await second.socket.send_json({"type": "hello", "token": token})
    assert await second.closed() == json_socket.TOO_MANY
    await pages.sign_in(user=None, number="700")
    await first.socket.close()
    while "ann" in pages.world.ways.pages._of_user:
        await asyncio.sleep(0.001)
    await pages.sign_in()


async def test_who_has_not_signed_in_yet_counts_among_the_connections(
    pages: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_socket, "PAGE_SOCKETS_MAX", 1)
    await pages.open()
    with pytest.raises(WSServerHandshakeError) as refused:
        await pages.open()
    assert refused.value.status == 503


@pytest.mark.parametrize("limit", ["PAGE_GREETINGS_PER_SOURCE_MAX", "PAGE_SOCKETS_PER_SOURCE_MAX"])
async def test_one_source_has_only_so_many_connections_that_have_not_signed_in(
    pages: Pages, monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    monkeypatch.setattr(json_socket, limit, 2)
    sockets = pages.world.ways.pages
    silent = [await pages.open(), await pages.open()]
    with pytest.raises(WSServerHandshakeError) as refused:
        await pages.open()
    assert refused.value.status == 503
    assert sockets.ended["too many of one source"] == 1
    for page in silent:
        await page.socket.close()
    while sockets._of_source:
        await asyncio.sleep(0.001)
    await pages.sign_in()
    assert not sockets._greeting
    assert sockets._of_source.total() == 1, "who has signed in is one of those of his address"
