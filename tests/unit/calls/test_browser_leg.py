"""A browser's leg in a call: media only after ICE and DTLS, with their keys, to the address that was nominated."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiortc.rtcdatachannel import RTCDataChannel, RTCDataChannelParameters

from mediaserver.limits import WEBRTC_READY_S_MAX
from mediaserver.model import Cause, CodecName, Direction, LegDatagram, LegFacts, MediaAddress
from mediaserver.sdp.parse import parse
from mediaserver.sip.session import Answered, Progress, Reoffer
from mediaserver.webrtc import stun
from mediaserver.webrtc.dtls import DtlsIdentity, DtlsState
from mediaserver.webrtc.sctp import DataChannel, DataChannels
from mediaserver.webrtc.stun import Attribute, Kind
from tests.support.fake_browser import FakeBrowser
from tests.support.fake_sessions import FakeSession
from tests.unit.calls.stage import Stage


class Line:
    """Carries a browser's datagrams to and from the call room."""

    def __init__(self, stage: Stage, browser: FakeBrowser, index: int = 0) -> None:
        self.stage, self.browser, self.leg = stage, browser, stage.leg(index)

    async def send(self, data: bytes, source: MediaAddress | None = None) -> None:
        self.stage.engine.on_event(LegDatagram(self.leg.handle, source or self.browser.address, data))
        await self.carry()

    async def carry(self) -> None:
        while self.leg.datagrams:
            data, _ = self.leg.datagrams.pop(0)
            for reply in self.browser.receive(data):
                self.stage.engine.on_event(LegDatagram(self.leg.handle, self.browser.address, reply))
        await self.stage.settle()


def accepted(session: FakeSession) -> bytes:
    return next(what[1] for what in session.did if what[0] == "accept")


def fingerprint_of(sdp: bytes) -> str | None:
    return parse(sdp).media[0].first("fingerprint")


@pytest.fixture
def browser() -> FakeBrowser:
    return FakeBrowser()


async def call_in(stage: Stage, browser: FakeBrowser, number: str = "600") -> tuple[FakeSession, Line]:
    session = await stage.call(number, offer=browser.offer())
    browser.take(accepted(session))
    return session, Line(stage, browser)


async def test_nothing_is_set_or_played_before_the_handshake_is_done(stage: Stage, browser: FakeBrowser) -> None:
    _, line = await call_in(stage, browser)
    await stage.wait(1.0)
    assert line.leg.streams == []
    assert line.leg.heard == []
    await line.send(browser.check())
    (stream,) = line.leg.streams
    assert stream.audio.name is CodecName.OPUS
    assert stream.remote == browser.address
    assert stream.remote_proven
    assert stream.rtcp_mux
    assert stream.send_key == browser.dtls.keys.receive
    assert stream.receive_key == browser.dtls.keys.send
    assert line.leg.heard


async def test_a_wrong_fingerprint_means_no_media_and_the_end_of_the_call(stage: Stage, browser: FakeBrowser) -> None:
    browser.fingerprint = str(DtlsIdentity().fingerprint)
    session, line = await call_in(stage, browser)
    await line.send(browser.check())
    assert line.leg.streams == []
    assert session.names()[-1] == "hang_up"
    assert stage.observer.ended[-1].cause is Cause.NO_MEDIA


async def test_a_browser_that_never_comes_is_hung_up(stage: Stage, browser: FakeBrowser) -> None:
    session, line = await call_in(stage, browser)
    await stage.wait(WEBRTC_READY_S_MAX - 0.1)
    assert not session.over
    await stage.wait(0.2)
    assert session.over
    assert line.leg.streams == []


async def test_the_caller_may_hang_up_while_the_way_is_looked_for(stage: Stage, browser: FakeBrowser) -> None:
    session, _ = await call_in(stage, browser)
    await stage.hang_up(session)
    assert stage.observer.ended[-1].cause is Cause.REMOTE_HANGUP


async def test_a_nomination_of_another_address_moves_the_media(stage: Stage, browser: FakeBrowser) -> None:
    _, line = await call_in(stage, browser)
    await line.send(browser.check())
    elsewhere = MediaAddress("198.51.100.4", 1_234)
    await line.send(browser.check(), elsewhere)
    assert [stream.remote for stream in line.leg.streams] == [browser.address, elsewhere]
    assert line.leg.streams[0].send_key == line.leg.streams[1].send_key


async def test_consent_that_runs_out_stops_what_we_send(stage: Stage, browser: FakeBrowser) -> None:
    _, line = await call_in(stage, browser, "700")
    await line.send(browser.check())
    await stage.wait(30.1)
    assert [stream.remote for stream in line.leg.streams] == [browser.address, None]
    await line.send(browser.check())
    assert line.leg.streams[-1].remote == browser.address


async def test_hold_by_a_browser_keeps_keys_and_way(stage: Stage, browser: FakeBrowser) -> None:
    session, line = await call_in(stage, browser)
    await line.send(browser.check())
    session.tell(Reoffer(browser.offer(direction="sendonly")))
    await stage.settle()
    first, held = line.leg.streams
    assert held.direction is Direction.RECVONLY
    assert (held.send_key, held.remote) == (first.send_key, first.remote)


async def test_an_ice_restart_gets_new_credentials_of_ours_and_keeps_the_keys(
    stage: Stage, browser: FakeBrowser
) -> None:
    session, line = await call_in(stage, browser)
    await line.send(browser.check())
    keys = line.leg.streams[-1].send_key
    before = browser._peer
    browser.ufrag, browser.address = "anew", MediaAddress("198.51.100.4", 1_234)
    session.tell(Reoffer(browser.offer()))
    await stage.settle()
    browser.take(session.did[-1][1])
    assert browser._peer != before
    await line.send(browser.check())
    assert line.leg.streams[-1].remote == browser.address
    assert line.leg.streams[-1].send_key == keys


async def test_another_certificate_with_the_old_credentials_is_refused_and_the_call_goes_on(
    stage: Stage, browser: FakeBrowser
) -> None:
    session, line = await call_in(stage, browser)
    await line.send(browser.check())
    browser.fingerprint = str(DtlsIdentity().fingerprint)
    session.tell(Reoffer(browser.offer()))
    await stage.settle()
    assert session.did[-1] == ("reject_reoffer", 488)
    assert len(line.leg.streams) == 1
    assert not session.over


ELSEWHERE = MediaAddress("198.51.100.4", 1_234)


def other_transport(ufrag: str = "newb") -> FakeBrowser:
    """The same browser with another transport, as a page makes it when its network is gone."""
    return FakeBrowser(address=ELSEWHERE, identity=DtlsIdentity(), ufrag=ufrag)


async def come_back(stage: Stage, session: FakeSession, line: Line, browser: FakeBrowser) -> Line:
    """Its offer in the same call, answered."""
    session.tell(Reoffer(browser.offer()))
    await stage.settle()
    what, sdp = session.did[-1]
    assert what == "answer_reoffer"
    browser.take(sdp)
    return Line(stage, browser)


async def test_a_browser_comes_back_by_another_transport_and_only_its_own_keys_count(
    stage: Stage, browser: FakeBrowser
) -> None:
    session, line = await call_in(stage, browser)
    await line.send(browser.check())
    first = line.leg.streams[-1]
    new = other_transport()
    line = await come_back(stage, session, line, new)
    assert line.leg.streams[-1].send_key == first.send_key  # until the new one stands
    await line.send(new.check())
    stream = line.leg.streams[-1]
    assert (stream.remote, stream.send_key, stream.receive_key) == (
        ELSEWHERE,
        new.dtls.keys.receive,
        new.dtls.keys.send,
    )
    assert stream.send_key != first.send_key
    assert line.leg.addresses == {ELSEWHERE}
    assert not session.over


async def test_the_former_transport_carries_the_call_until_the_other_one_stands(
    stage: Stage, browser: FakeBrowser
) -> None:
    session, former = await call_in(stage, browser)
    await former.send(browser.check())
    await come_back(stage, session, former, other_transport())  # and is never heard of again
    moved = MediaAddress("192.0.2.9", 4_000)
    await former.send(browser.check(), moved)
    assert former.leg.streams[-1].remote == moved
    assert former.leg.streams[-1].receive_key == browser.dtls.keys.send


async def test_a_transport_with_another_certificate_than_its_offer_named_never_takes_the_call(
    stage: Stage, browser: FakeBrowser
) -> None:
    session, line = await call_in(stage, browser)
    await line.send(browser.check())
    thief = other_transport()
    thief.fingerprint = str(DtlsIdentity().fingerprint)
    line = await come_back(stage, session, line, thief)
    await line.send(thief.check())
    assert len({stream.receive_key for stream in line.leg.streams}) == 1
    assert not session.over


async def test_a_browser_that_takes_its_change_back_goes_on_by_the_former_transport(
    stage: Stage, browser: FakeBrowser
) -> None:
    session, line = await call_in(stage, browser)
    await line.send(browser.check())
    await come_back(stage, session, line, new := other_transport())
    await come_back(stage, session, line, browser)  # a hold, say, from the peer connection that was there first
    before = len(line.leg.streams)
    await Line(stage, new).send(new.check())
    assert len(line.leg.streams) == before
    await line.send(browser.check(), ELSEWHERE)
    assert line.leg.streams[-1].receive_key == browser.dtls.keys.send


async def test_a_second_change_replaces_the_first_that_never_stood(stage: Stage, browser: FakeBrowser) -> None:
    session, line = await call_in(stage, browser)
    await line.send(browser.check())
    await come_back(stage, session, line, other_transport())
    line = await come_back(stage, session, line, last := other_transport("last"))
    await line.send(last.check())
    assert line.leg.streams[-1].receive_key == last.dtls.keys.send


async def test_what_a_stun_server_sees_of_us_stands_in_the_answer(
    tmp_path: Path, browser: FakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def looked_up(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", (host, port))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", looked_up)
    stage = Stage(tmp_path, webrtc={"ice": "full", "stun_server": "198.51.100.1:3478"})
    session = await stage.call("600", offer=browser.offer())
    request, to = stage.leg(0).datagrams.pop(0)
    assert to == MediaAddress("198.51.100.1", 3_478)
    asked = stun.parse(request)
    assert asked is not None
    seen = (Attribute.XOR_MAPPED_ADDRESS, stun.xor_address("203.0.113.9", 8_444, asked.transaction_id))
    told = stun.write(Kind.SUCCESS, asked.transaction_id, [seen])
    stage.engine.on_event(LegDatagram(stage.leg(0).handle, to, told))
    await stage.settle()
    candidates = parse(accepted(session)).media[0].all("candidate")
    assert [line.split()[4:8] for line in candidates if "srflx" in line] == [["203.0.113.9", "8444", "typ", "srflx"]]


async def test_a_renewed_certificate_is_for_later_calls_and_a_running_one_keeps_its_own(
    stage: Stage, browser: FakeBrowser, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, line = await call_in(stage, browser)
    await line.send(browser.check())
    keys = line.leg.streams[-1].send_key
    then = stage.clock.wall() + 400 * 86_400
    monkeypatch.setattr(stage.clock, "wall", lambda: then)
    another = FakeBrowser()
    later = await stage.call("600", offer=another.offer())
    assert fingerprint_of(accepted(later)) != fingerprint_of(accepted(session))
    session.tell(Reoffer(browser.offer(direction="sendonly")))
    await stage.settle()
    assert fingerprint_of(session.did[-1][1]) == fingerprint_of(accepted(session))
    assert line.leg.streams[-1].send_key == keys


async def test_the_end_of_the_call_is_told_by_dtls_too(stage: Stage, browser: FakeBrowser) -> None:
    session, line = await call_in(stage, browser)
    await line.send(browser.check())
    await stage.hang_up(session)
    await line.carry()
    assert browser.dtls.state is DtlsState.CLOSED


async def test_a_called_browser_is_offered_webrtc_and_the_caller_connected_when_media_can_flow(stage: Stage) -> None:
    stage.register("bob", "browser bob", does="script")
    caller = await stage.call("bob")
    (rung,) = stage.gateway.sessions
    assert rung.offer is not None
    assert b"UDP/TLS/RTP/SAVPF" in rung.offer
    assert b"a=setup:actpass" in rung.offer
    browser = FakeBrowser()
    browser.take(rung.offer)
    line = Line(stage, browser, 1)
    rung.tell(Progress(180, "Ringing"))
    await stage.settle()
    rung.tell(Answered(browser.answer()))
    await stage.settle()
    assert "accept" not in caller.names()
    await line.send(browser.check())
    assert "accept" in caller.names()
    assert line.leg.streams[0].send_key == browser.dtls.keys.receive


class CalledWithData:
    """Bob's browser is called; what it opens and writes inside its DTLS reaches the call room."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.taken: list[tuple[str, str]] = []
        self.heard: list[str | bytes] = []
        stage.data_channels = self._take

    def _take(self, _call_id: str, leg: LegFacts, channel: DataChannel) -> bool:
        self.taken.append((leg.number, channel.label))
        channel.on_message = self.heard.append
        return True

    async def call(self) -> tuple[FakeSession, FakeSession]:
        self.stage.register("bob", "browser bob", does="script")
        caller = await self.stage.call("bob")
        (rung,) = self.stage.gateway.sessions
        return caller, rung


async def test_a_called_browser_can_open_a_data_channel(stage: Stage) -> None:
    called = CalledWithData(stage)
    _, rung = await called.call()
    offer = parse(rung.offer or b"")
    assert [(media.kind, media.protocol, media.formats) for media in offer.media[1:]] == [
        ("application", "UDP/DTLS/SCTP", ["webrtc-datachannel"])
    ]
    mid = offer.media[1].first("mid") or ""
    assert offer.first("group") == f"BUNDLE 0 {mid}"
    browser = FakeBrowser()
    browser.take(rung.offer or b"")
    line = Line(stage, browser, 1)
    rung.tell(Answered(browser.answer(data_mid=mid)))
    await stage.settle()
    await line.send(browser.check())

    def send(packet: bytes) -> None:
        browser.dtls.send_application(packet)
        for datagram in browser.dtls.poll():
            stage.engine.on_event(LegDatagram(line.leg.handle, browser.address, datagram))

    channels = DataChannels(send, lambda _channel: False, client=browser.client)
    channels.start()
    channel = RTCDataChannel(channels._sctp, RTCDataChannelParameters(label="mediaserver"))
    channel.on("open", lambda: channel.send("hello"))
    async with asyncio.timeout(10):
        while not called.heard:
            await asyncio.sleep(0.01)
            await line.carry()
            for packet in browser.dtls.application():
                channels.receive(packet)
    assert called.taken == [("bob", "mediaserver")]
    assert called.heard == ["hello"]
    channels.close()
    await asyncio.sleep(0.01)


async def test_a_called_browser_that_takes_no_data_is_connected_all_the_same(stage: Stage) -> None:
    caller, rung = await CalledWithData(stage).call()
    browser = FakeBrowser()
    browser.take(rung.offer or b"")
    line = Line(stage, browser, 1)
    rung.tell(Answered(browser.answer()))
    await stage.settle()
    await line.send(browser.check())
    assert "accept" in caller.names()
