"""WHIP and WHEP as a client sees them; the call room is a script. RFC 9725 and draft-ietf-wish-whep."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer

from mediaserver.api import whip_session
from mediaserver.api.tokens import Right
from mediaserver.calls.picture_choice import Named
from mediaserver.sip.session_events import Ended, InfoReceived, Reoffer
from tests.support.fake_browser import FakeBrowser
from tests.unit.api.ways_world import ANSWER, FRAGMENT, SDP, World


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    async with TestClient(TestServer(made.app)) as client:
        made.client = client
        yield made


def plain_rtp(direction: str) -> bytes:
    """Without keys and ICE, media would go to whoever the offer names."""
    head = b"v=0\r\no=- 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\n"
    return head + f"m=audio 4000 RTP/AVP 0\r\na={direction}\r\n".encode()


async def test_a_broadcaster_is_one_leg_that_only_speaks(world: World) -> None:
    status, headers, body = await world.ask(
        "POST", "/whip/700", FakeBrowser().offer(), **SDP, **world.bearer(Right.PUBLISH)
    )
    assert (status, body, headers["Content-Type"]) == (201, ANSWER, "application/sdp")
    assert headers["ETag"].startswith('"')
    assert headers.getall("Link") == [
        '<turn:a.example>; rel="ice-server"; username="until:ann"; credential="hmac="; credential-type="password"',
        '<turns:a.example>; rel="ice-server"; username="until:ann"; credential="hmac="; credential-type="password"',
        '<stun:b.example>; rel="ice-server"',
    ]
    (session,) = world.room.sessions
    assert (session.called_user, session.identity, session.rights) == ("700", "ann", {"publish"})
    assert b"a=sendonly\r\n" in (session.remote_sdp or b"")
    assert b"a=sendrecv" not in (session.remote_sdp or b"")
    assert session.one_way
    assert not session.takes_offers
    assert world.ways.whip.active == {"whip": 1}


async def test_a_listener_is_one_leg_that_only_listens(world: World) -> None:
    status, headers, _ = await world.ask(
        "POST", "/whep/700", FakeBrowser().offer(), **SDP, **world.bearer(Right.SUBSCRIBE)
    )
    assert status == 201
    assert headers["Location"].startswith("/whep/700/")
    assert b"a=recvonly\r\n" in (world.room.sessions[0].remote_sdp or b"")


async def test_a_viewer_says_what_it_wants_to_see_at_first_and_later(world: World) -> None:
    offer = FakeBrowser().offer()
    bearer = world.bearer(Right.SUBSCRIBE)
    status, headers, _ = await world.ask("POST", "/whep/700?participant=name:Studio&layer=q", offer, **SDP, **bearer)
    assert status == 201
    picture = world.room.sessions[0].picture
    assert picture is not None
    assert (picture.participant, picture.layer) == ("name:Studio", "q")
    address = headers["Location"] + "/layer"
    assert f'<{address}>; rel="urn:ietf:params:whep:ext:core:layer"' in headers.getall("Link")
    changes: list[str] = []
    picture.on_change = lambda: changes.append(picture.layer)
    json = {"Content-Type": "application/json", **bearer}
    for body, answer in (
        (b'{"mediaId": "1", "encodingId": "f"}', 204),
        (b'{"encodingId": "f"}', 204),  # nothing new
        (b'{"encodingId": null, "participant": "Hall"}', 204),
        (b'{"encodingId": 7}', 400),
        (b'{"encodingId": false}', 400),
        (b'{"participant": 0}', 400),
        (b'{"participant": "' + b"x" * 200 + b'"}', 400),
        (b'{"other": "q"}', 400),
        (b'["q"]', 400),
        (b"[" * 1_000, 400),
        (b"{", 400),
        (b'{"encodingId": "f"}' + b" " * 2_000, 400),
    ):
        assert (await world.ask("POST", address, body, **json))[0] == answer, body
    assert (changes, picture.participant, picture.layer) == (["f", ""], "Hall", "")
    assert (await world.ask("POST", address, b"{}", **SDP, **bearer))[0] == 415
    assert (await world.ask("GET", address, b"", **bearer))[0] == 405
    other = world.bearer(Right.SUBSCRIBE, user=None, number="700")
    assert (await world.ask("POST", address, b'{"encodingId": "q"}', **{**json, **other}))[0] == 403
    assert picture.layer == ""
    elsewhere = address.replace("/700/", "/701/")
    for method, path in (("POST", elsewhere), ("PATCH", elsewhere[:-6]), ("DELETE", elsewhere[:-6])):
        assert (await world.ask(method, path, b'{"encodingId": "q"}', **json))[0] == 404, path
    assert picture.layer == ""


async def test_whom_a_viewer_names_must_be_one(world: World) -> None:
    """Names are chosen freely: one that two are shown by means neither."""
    offer, bearer = FakeBrowser().offer(), world.bearer(Right.SUBSCRIBE)
    status, _, body = await world.ask("POST", "/whep/700?participant=name:Twice", offer, **SDP, **bearer)
    assert (status, world.room.sessions) == (409, []), body
    status, headers, _ = await world.ask("POST", "/whep/700?participant=not-yet-there", offer, **SDP, **bearer)
    assert status == 201
    picture = world.room.sessions[0].picture
    assert picture is not None
    picture.who_is = lambda word: world.room.who_is("700", word)
    json = {"Content-Type": "application/json", **bearer}
    for word, answer in (("name:Twice", 409), ("Studio", 404), ("name:Studio", 204), ("name:Studio", 204)):
        body = f'{{"participant": "{word}"}}'.encode()
        assert (await world.ask("POST", headers["Location"] + "/layer", body, **json))[0] == answer, word
    assert picture.participant == "name:Studio"
    picture.who_is = lambda word: Named.NOBODY  # it has left: the layer may still be chosen
    assert (await world.ask("POST", headers["Location"] + "/layer", b'{"encodingId": "q"}', **json))[0] == 204


async def test_what_a_viewer_wants_to_see_is_bounded(world: World) -> None:
    bearer = world.bearer(Right.SUBSCRIBE)
    status, _, _ = await world.ask("POST", f"/whep/700?layer={'x' * 200}", FakeBrowser().offer(), **SDP, **bearer)
    assert (status, world.room.sessions) == (400, [])


@pytest.mark.parametrize(
    ("path", "rights", "number"),
    [
        ("/whip/700", [Right.SUBSCRIBE], None),
        ("/whep/700", [Right.PUBLISH], None),
        ("/whip/700", [Right.PUBLISH], "701"),
        ("/whep/700", [Right.MODERATE, Right.RECORD], None),
    ],
)
async def test_a_token_without_the_right_or_for_another_room_is_403(
    world: World, path: str, rights: list[Right], number: str | None
) -> None:
    status, headers, body = await world.ask(
        "POST", path, FakeBrowser().offer(), **SDP, **world.bearer(*rights, number=number)
    )
    assert status == 403
    assert b"token" in body
    assert "insufficient_scope" in headers["WWW-Authenticate"]
    assert world.room.sessions == []
    assert sum(world.tokens.refused.values()) == 1


@pytest.mark.parametrize("sent", [{}, {"Authorization": "Bearer forged"}, {"Authorization": "Basic YTpi"}])
async def test_without_a_token_of_ours_there_is_401_and_a_challenge(world: World, sent: dict[str, str]) -> None:
    status, headers, _ = await world.ask("POST", "/whip/700", FakeBrowser().offer(), **SDP, **sent)
    assert status == 401
    assert headers["WWW-Authenticate"].startswith("Bearer ")
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert world.room.sessions == []


@pytest.mark.parametrize(
    ("path", "offer", "content_type", "status"),
    [
        ("/whip/700", FakeBrowser().offer(), "text/plain", 415),
        ("/whip/700", b"rubbish", "application/sdp", 400),
        ("/whip/700", b"", "application/sdp", 422),
        ("/whip/700", FakeBrowser().offer(direction="recvonly"), "application/sdp", 422),
        ("/whep/700", FakeBrowser().offer(direction="sendonly"), "application/sdp", 422),
        ("/whep/700", FakeBrowser().offer(direction="inactive"), "application/sdp", 422),
        ("/whip/700", FakeBrowser().offer() + b"m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n", "application/sdp", 422),
        ("/whip/700", plain_rtp("sendonly"), "application/sdp", 422),
        ("/whep/700", plain_rtp("recvonly"), "application/sdp", 422),
        ("/whip/" + "7" * 129, FakeBrowser().offer(), "application/sdp", 404),
        ("/whip/700", b"v=0\r\n" * 20_000, "application/sdp", 413),
    ],
)
async def test_an_offer_that_cannot_be_is_refused_before_the_call_room(
    world: World, path: str, offer: bytes, content_type: str, status: int
) -> None:
    got, headers, _ = await world.ask("POST", path, offer, Content_Type=content_type, **world.bearer())
    assert got == status
    assert (headers.get("Accept-Post") == "application/sdp") == (status == 415)
    assert world.room.sessions == []


@pytest.mark.parametrize(
    ("sip", "http"), [(404, 404), (403, 403), (480, 409), (486, 409), (488, 422), (503, 503), (500, 502)]
)
async def test_why_a_call_was_not_taken_is_told_in_http(world: World, sip: int, http: int) -> None:
    world.room.does = lambda session: session.reject(sip)
    status, headers, _ = await world.ask("POST", "/whip/700", FakeBrowser().offer(), **SDP, **world.bearer())
    assert status == http
    assert ("Retry-After" in headers) == (http in (409, 503))
    assert world.ways.whip.active == {}


async def test_a_broadcast_of_which_a_part_was_refused_is_none(world: World) -> None:
    world.room.does = lambda session: session.accept(ANSWER + b"m=video 0 UDP/TLS/RTP/SAVPF 96\r\n")
    status, _, _ = await world.ask("POST", "/whip/700", FakeBrowser().offer(), **SDP, **world.bearer())
    assert status == 422
    assert world.room.heard(Ended)


async def test_delete_ends_the_leg_whatever_tag_it_names(world: World) -> None:
    location, _ = await world.publish()
    status, _, _ = await world.ask("DELETE", location, If_Match='"another"', **world.bearer())
    assert status == 200
    assert world.room.heard(Ended) == [Ended(False, "DELETE")]
    assert (await world.ask("DELETE", location, **world.bearer()))[0] == 404


async def test_a_session_is_its_holders_and_of_its_way(world: World) -> None:
    location, _ = await world.publish()
    guest = world.bearer(user=None, number="700")
    assert (await world.ask("DELETE", location, **guest))[0] == 403
    assert (await world.ask("DELETE", location.replace("whip", "whep"), **world.bearer()))[0] == 404
    assert (await world.ask("DELETE", location))[0] == 401
    assert world.room.heard(Ended) == []


async def test_a_call_that_ends_otherwise_takes_its_address_with_it(world: World) -> None:
    location, _ = await world.publish()
    world.room.sessions[0].hang_up()
    assert (await world.ask("PATCH", location, b"a=end-of-candidates", **FRAGMENT, **world.bearer()))[0] == 404


TRICKLED = b"a=ice-ufrag:brow\r\na=ice-pwd:browserPassword22Characters\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n"
CANDIDATE = b"a=candidate:1 1 udp 2122260223 192.0.2.1 61764 typ host\r\n"


async def test_trickled_candidates_reach_the_leg(world: World) -> None:
    location, tag = await world.publish()
    status, headers, body = await world.ask(
        "PATCH", location, TRICKLED + CANDIDATE, If_Match=tag, **FRAGMENT, **world.bearer()
    )
    assert (status, body) == (204, b"")
    assert "ETag" not in headers
    (info,) = world.room.heard(InfoReceived)
    assert (info.content_type, info.body) == ("application/trickle-ice-sdpfrag", TRICKLED + CANDIDATE)


@pytest.mark.parametrize(
    ("body", "tag", "content_type", "status"),
    [
        (TRICKLED, None, FRAGMENT["Content-Type"], 428),
        (TRICKLED, '"another"', FRAGMENT["Content-Type"], 412),
        (TRICKLED, "W/{tag}", FRAGMENT["Content-Type"], 412),
        (TRICKLED, "{tag}", "application/sdp", 415),
        (b"rubbish", "{tag}", FRAGMENT["Content-Type"], 400),
        (b"", "{tag}", FRAGMENT["Content-Type"], 400),
        (b"a=ice-ufrag:anew\r\na=ice-pwd:another22CharactersPassword\r\n", "{tag}", FRAGMENT["Content-Type"], 400),
        (b"a=ice-ufrag:anew\r\n", "*", FRAGMENT["Content-Type"], 400),
        (b"a=ice-ufrag:an\r\na=ice-pwd:short\r\n", "*", FRAGMENT["Content-Type"], 400),
    ],
)
async def test_a_patch_that_does_not_fit_changes_nothing(
    world: World, body: bytes, tag: str | None, content_type: str, status: int
) -> None:
    location, now = await world.publish()
    more = {} if tag is None else {"If_Match": tag.format(tag=now)}
    got, _, _ = await world.ask("PATCH", location, body, Content_Type=content_type, **more, **world.bearer())
    assert got == status
    assert world.room.heard(InfoReceived) + world.room.heard(Reoffer) == []


RESTART = b"a=ice-ufrag:anew1\r\na=ice-pwd:another22CharactersPassword\r\n"


async def test_an_ice_restart_is_a_new_ice_session_with_a_new_tag(world: World) -> None:
    location, old = await world.publish()
    status, headers, body = await world.ask("PATCH", location, RESTART, If_Match="*", **FRAGMENT, **world.bearer())
    assert (status, headers["Content-Type"]) == (200, FRAGMENT["Content-Type"])
    assert headers["ETag"] != old
    for line in (b"a=ice-lite", b"a=ice-ufrag:anew", b"a=candidate:1 1 udp", b"a=end-of-candidates"):
        assert line in body
    (offer,) = world.room.heard(Reoffer)
    assert b"a=ice-ufrag:anew1\r\na=ice-pwd:another22CharactersPassword\r\n" in offer.sdp
    assert b"a=sendonly" in offer.sdp
    for tag, expected in ((old, 412), (headers["ETag"], 204)):
        trickled = TRICKLED.replace(b"brow\r", b"anew1\r").replace(
            b"browserPassword22Characters", b"another22CharactersPassword"
        )
        got, _, _ = await world.ask("PATCH", location, trickled, If_Match=tag, **FRAGMENT, **world.bearer())
        assert got == expected


async def test_an_ice_restart_that_is_refused_leaves_the_session_as_it_was(world: World) -> None:
    location, tag = await world.publish()
    world.room.on_reoffer = lambda session: session.reject_reoffer(488)
    assert (await world.ask("PATCH", location, RESTART, If_Match="*", **FRAGMENT, **world.bearer()))[0] == 422
    assert (await world.ask("PATCH", location, TRICKLED, If_Match=tag, **FRAGMENT, **world.bearer()))[0] == 204


@pytest.mark.parametrize("path", ["/whip/700", "/whep/700", "/whip/700/x", "/whep/700/x"])
async def test_there_is_nothing_to_get_and_getting_it_succeeds(world: World, path: str) -> None:
    for method in ("GET", "HEAD"):
        assert (await world.ask(method, path))[::2] == (204, b"")


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_the_endpoint_takes_post_only(world: World, method: str) -> None:
    status, headers, _ = await world.ask(method, "/whip/700")
    assert (status, headers["Allow"]) == (405, "OPTIONS, POST")


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_session_takes_patch_and_delete_only(world: World, method: str) -> None:
    status, headers, _ = await world.ask(method, "/whep/700/x")
    assert (status, headers["Allow"]) == (405, "OPTIONS, PATCH, DELETE")


async def test_a_page_of_another_origin_may_ask_first(world: World) -> None:
    status, headers, _ = await world.ask("OPTIONS", "/whip/700", Origin="https://studio.example")
    assert (status, headers["Accept-Post"], headers["Access-Control-Allow-Origin"]) == (200, "application/sdp", "*")
    assert "Authorization" in headers["Access-Control-Allow-Headers"]
    assert {"Location", "ETag", "Link"} <= set(headers["Access-Control-Expose-Headers"].split(", "))


@pytest.mark.parametrize("cancels", [False, True])  # ours does not cancel the handler of a lost connection
async def test_a_client_that_goes_while_a_telephone_rings_ends_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cancels: bool
) -> None:
    monkeypatch.setattr(whip_session, "WHIP_GONE_LOOK_S", 0.01 if not cancels else 60.0)
    world, rung = World(tmp_path), asyncio.Event()
    world.room.does = lambda _session: rung.set()
    runner = web.AppRunner(world.app, handler_cancellation=cancels)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as client, asyncio.timeout(5):
        body, headers = FakeBrowser().offer(), {**SDP, **world.bearer()}
        asked = asyncio.create_task(client.post("/whip/700", data=body, headers=headers).__aenter__())
        await rung.wait()
        assert world.ways.whip.active == {"whip": 1}
        asked.cancel()
        while world.ways.whip.active:
            await asyncio.sleep(0.01)
    await runner.cleanup()
    assert world.room.heard(Ended) == [Ended(False, "client gone")]


async def test_a_client_that_waits_for_a_ringing_telephone_gets_it_when_answered(world: World) -> None:
    world.room.does = lambda session: session.ring()
    asked = asyncio.create_task(
        world.ask("POST", "/whip/bob", FakeBrowser().offer(), **SDP, **world.bearer(Right.PUBLISH))
    )
    while not world.room.sessions:
        await asyncio.sleep(0)
    world.room.sessions[0].accept(ANSWER)
    assert (await asked)[0] == 201
