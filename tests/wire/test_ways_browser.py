"""Chromium by the ways in beside SIP: WHIP and WHEP with a tone for a voice, chat by data channel in a room."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.page import Browser, Page
from tests.support.server import Server
from tests.support.speech import tone
from tests.wire.test_whip import token

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.alone]

TONE_HZ = 700.0
SCRIPT = """
window.way = {
  messages: [],
  video: false,
  encodings: undefined,
  altered: (sdp) => sdp,
  async publish(endpoint, token) {
    const peer = this.peer = new RTCPeerConnection();
    const audio = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
    const stream = await navigator.mediaDevices.getUserMedia({ audio, video: this.video });
    for (const track of stream.getTracks()) {
      const sendEncodings = track.kind === "video" ? this.encodings : undefined;
      peer.addTransceiver(track, { direction: "sendonly", streams: [stream], sendEncodings });
    }
    await this.post(endpoint, token);
  },
  async view(endpoint, token) {
    const peer = this.peer = new RTCPeerConnection();
    peer.addTransceiver("audio", { direction: "recvonly" });
    if (this.video) peer.addTransceiver("video", { direction: "recvonly" });
    peer.ontrack = ({ track }) => {
      if (track.kind === "video") {
        this.screen = document.createElement("video");
        this.screen.muted = true;
        this.screen.srcObject = new MediaStream([track]);
        this.screen.play();
        return;
      }
      this.element = new Audio();
      this.element.srcObject = this.stream = new MediaStream([track]);
      this.element.play();
    };
    await this.post(endpoint, token);
  },
  open(label) {
    this.channel = this.peer.createDataChannel(label);
    this.channel.onmessage = ({ data }) => this.messages.push(JSON.parse(data));
  },
  async post(endpoint, token) {
    const peer = this.peer;
    if (this.withChannel) this.open("mediaserver");
    await peer.setLocalDescription();
    const trickled = [];
    peer.onicecandidate = ({ candidate }) => trickled.push(candidate?.candidate ?? "");
    const headers = { Authorization: `Bearer ${token}` };
    const answer = await fetch(endpoint, {
      method: "POST",
      body: this.altered(peer.localDescription.sdp),
      headers: { ...headers, "Content-Type": "application/sdp" },
    });
    this.status = answer.status;
    const text = await answer.text();
    if (answer.status !== 201) throw new Error(text);
    this.location = answer.headers.get("Location");
    this.headers = headers;
    await peer.setRemoteDescription({ type: "answer", sdp: text });
    await new Promise((done) => setTimeout(done, 200));
    const lines = trickled.filter(Boolean).map((line) => `a=${line}\\r\\n`).join("");
    const body = `m=audio 9 RTP/AVP 0\\r\\na=mid:0\\r\\n${lines}a=end-of-candidates\\r\\n`;
    this.patched = (await this.patch(answer.headers.get("ETag"), body)).status;
  },
  patch(tag, body) {
    const headers = { ...this.headers, "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": tag };
    return fetch(this.location, { method: "PATCH", body, headers });
  },
  async restart() {
    const peer = this.peer;
    peer.restartIce();
    const offer = await peer.createOffer();
    const line = (sdp, name) => sdp.match(new RegExp(`^a=${name}:.*$`, "m"))[0].trim();
    await peer.setLocalDescription(offer);
    const body = `${line(offer.sdp, "ice-ufrag")}\\r\\n${line(offer.sdp, "ice-pwd")}\\r\\n`;
    const answer = await this.patch("*", body);
    const text = await answer.text();
    let { sdp } = peer.currentRemoteDescription;
    sdp = sdp.replace(/^a=ice-ufrag:.*$/gm, line(text, "ice-ufrag"));
    sdp = sdp.replace(/^a=ice-pwd:.*$/gm, line(text, "ice-pwd"));
    await peer.setRemoteDescription({ type: "answer", sdp });
    return answer.status;
  },
  async loudest() {
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    analyser.fftSize = 8192;
    context.createMediaStreamSource(this.stream).connect(analyser);
    await new Promise((done) => setTimeout(done, 600));
    const spectrum = new Float32Array(analyser.frequencyBinCount);
    analyser.getFloatFrequencyData(spectrum);
    const top = Math.max(...spectrum);
    await context.close();
    return { hz: spectrum.indexOf(top) * context.sampleRate / analyser.fftSize, db: top };
  },
  async frames() {
    for (const entry of (await this.peer.getStats()).values()) {
      if (entry.type === "inbound-rtp" && entry.kind === "video") return entry.framesDecoded;
    }
    return 0;
  },
  async width() {
    for (const entry of (await this.peer.getStats()).values()) {
      if (entry.type === "inbound-rtp" && entry.kind === "video") return entry.frameWidth ?? 0;
    }
    return 0;
  },
  async want(what) {
    const headers = { ...this.headers, "Content-Type": "application/json" };
    return (await fetch(`${this.location}/layer`, { method: "POST", headers, body: JSON.stringify(what) })).status;
  },
  async end() {
    return (await fetch(this.location, { method: "DELETE", headers: this.headers })).status;
  },
};
"""


def _web(server: Server) -> str:
    return f"https://{server.host}:{server.base_port + 2}"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    folder = tmp_path_factory.mktemp("browser")
    made = Browser(folder / "chromium", tone(folder / "tone.wav", TONE_HZ, 5, 48_000))
    await made.start()
    yield made
    await made.stop()


async def _tab(browser: Browser, server: Server) -> Page:
    page = await browser.open(f"{_web(server)}/phone")
    await page.evaluate(SCRIPT)
    return page


async def _join(page: Page, way: str, bearer: str, query: str = "") -> None:
    what = "publish" if way == "whip" else "view"
    await page.evaluate(f"way.withChannel = true; way.{what}('/{way}/700{query}', {json.dumps(bearer)})")
    await page.until("way.peer.connectionState === 'connected'")
    assert await page.evaluate("way.patched") == 204


async def test_chromium_publishes_by_whip_and_another_tab_hears_it_by_whep_and_they_chat(
    server: Server, browser: Browser
) -> None:
    studio, viewer = await _tab(browser, server), await _tab(browser, server)
    speaks = await token(server, "--number", "700", "--right", "publish", "--name", "Studio")
    hears = await token(server, "--number", "700", "--right", "subscribe")
    await _join(studio, "whip", speaks)
    await _join(viewer, "whep", hears)

    async def heard() -> dict[str, Any]:
        return dict(await viewer.evaluate("way.loudest()"))

    await _until_tone(heard)
    assert await studio.evaluate("way.restart()") == 200
    await studio.until("way.peer.iceConnectionState === 'connected' || way.peer.iceConnectionState === 'completed'")
    await _until_tone(heard)
    for page in (studio, viewer):
        await page.until("way.channel.readyState === 'open'")
    await studio.evaluate("way.channel.send(JSON.stringify({ type: 'chat', id: 1, text: 'On air' }))")
    said = await viewer.until("way.messages.find(({ type }) => type === 'chat')")
    assert (said["from"], said["text"], said["room"]) == ("Studio", "On air", "700")
    await studio.until("way.messages.some(({ type, id }) => type === 'ok' && id === 1)")
    members = await viewer.until("way.messages.findLast(({ type, count }) => type === 'room' && count === 2)")
    assert [one["number"] for one in members["participants"]] == ["Studio", "guest"]
    assert await studio.evaluate("way.end()") == 200
    await viewer.until("way.messages.findLast(({ type }) => type === 'room').count === 1")


async def test_the_picture_of_a_broadcaster_is_seen_by_whep(server: Server, browser: Browser) -> None:
    studio, viewer = await _tab(browser, server), await _tab(browser, server)
    for page in (studio, viewer):
        await page.evaluate("way.video = true")
    await _join(studio, "whip", await token(server, "--number", "700", "--right", "publish", "--name", "Studio"))
    await _join(viewer, "whep", await token(server, "--number", "700", "--right", "subscribe"))
    await viewer.until("way.screen?.videoWidth > 0", timeout_s=20)
    before = await viewer.evaluate("way.frames()")
    await viewer.evaluate("new Promise((done) => setTimeout(done, 2000))")
    assert await viewer.evaluate("way.frames()") - before > 20
    for page in (studio, viewer):
        assert await page.evaluate("way.end()") == 200


async def test_each_viewer_of_a_simulcast_picture_gets_the_size_it_has_room_for_or_chose(
    server: Server, browser: Browser
) -> None:
    """RFC 8853: the pictures are told apart by the size that Chromium decodes. One stream is twice as wide as the
    other; on a machine that is short of time Chromium makes both smaller."""
    studio, large, small = [await _tab(browser, server) for _ in range(3)]
    for page in (studio, large, small):
        await page.evaluate("way.video = true")
    await studio.evaluate("way.encodings = [{ rid: 'q', scaleResolutionDownBy: 2, maxBitrate: 1e5 }, { rid: 'f' }]")
    await small.evaluate("way.altered = (sdp) => sdp.replace(/(m=video[^]*?c=.*\\r\\n)/, '$1b=AS:60\\r\\n')")
    await _join(studio, "whip", await token(server, "--number", "700", "--right", "publish", "--name", "Studio"))
    viewer = await token(server, "--number", "700", "--right", "subscribe")
    await _join(small, "whep", viewer)
    await _join(large, "whep", viewer, "?participant=name:Studio&layer=f")
    await _until_widths(large, small, 2)
    assert await large.evaluate("way.want({ encodingId: 'q' })") == 204
    await _until_widths(large, small, 1)
    assert await large.evaluate("way.want({ encodingId: null })") == 204
    await _until_widths(large, small, 2)
    for page in (studio, large, small):
        assert await page.evaluate("way.end()") == 200


async def _until_widths(large: Page, small: Page, ratio: int) -> None:
    widths = [0, 0]
    for _ in range(200):
        widths = [await page.evaluate("way.width()") for page in (large, small)]
        if widths[1] and widths[0] == ratio * widths[1]:
            return
        await asyncio.sleep(0.1)
    raise AssertionError(f"the pictures never were 1:{ratio} wide: {widths}")


async def _until_tone(heard: Any) -> None:
    """The room's greetings and music come first."""
    loudest: dict[str, Any] = {}
    for _ in range(20):
        loudest = await heard()
        if abs(loudest["hz"] - TONE_HZ) < 15 and loudest["db"] > -40:
            return
    raise AssertionError(f"the tone never came: {loudest}")
