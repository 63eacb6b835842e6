"""A second WebRTC stack: aiortc, full ICE, calls and is called by the engine's leg and hears itself."""

from __future__ import annotations

import asyncio
import fractions
from dataclasses import replace

import aiortc
import av
import numpy as np
import pytest
from aiortc import RTCPeerConnection, RTCSessionDescription

from mediaserver.clock import SystemClock
from mediaserver.media.engine import MediaEngine, MediaLeg
from mediaserver.model import LegDatagram, MediaEvent
from mediaserver.sdp.negotiate import LocalMedia, MediaPolicy
from mediaserver.sdp.webrtc import LocalTransport, WebRtcNegotiator
from mediaserver.settings import MediaSettings
from mediaserver.webrtc.dtls import DtlsIdentity
from mediaserver.webrtc.transport import WebRtcTransport
from tests.support.lanes import SECOND_SERVER_RTP
from tests.support.listen import tone_levels_db

RATE, TONE_HZ = 48_000, 440.0


class Tone(aiortc.MediaStreamTrack):
    """A tone that keeps the clock: a frame is due 20 ms after the last one was due, however long encoding takes."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self.at = 0
        self.began_s: float | None = None

    async def recv(self) -> av.AudioFrame:
        now_s = asyncio.get_running_loop().time()
        if self.began_s is None:
            self.began_s = now_s
        await asyncio.sleep(self.began_s + self.at / RATE - now_s)
        samples = 8_000 * np.sin(2 * np.pi * TONE_HZ * (self.at + np.arange(960)) / RATE)
        frame = av.AudioFrame.from_ndarray(samples.astype(np.int16)[None, :], "s16", "mono")
        frame.pts, frame.sample_rate, frame.time_base = self.at, RATE, fractions.Fraction(1, RATE)
        self.at += 960
        return frame


class Ear:
    """Keeps what a peer connection hears."""

    def __init__(self, peer: RTCPeerConnection) -> None:
        self.heard: list[np.ndarray] = []
        self.tasks: list[asyncio.Task[None]] = []
        peer.on("track", lambda track: self.tasks.append(asyncio.ensure_future(self._listen(track))))

    async def _listen(self, track: aiortc.MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except aiortc.MediaStreamError:
                return
            self.heard.append(frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0])


class ServerLeg:
    """An engine's leg with its transport and its description, as the call room joins them."""

    def __init__(self) -> None:
        settings = MediaSettings(port_range=f"{SECOND_SERVER_RTP}-{SECOND_SERVER_RTP + 19}", realtime=False)
        self.engine = MediaEngine(settings, SystemClock(), self._on_event)
        self.identity = DtlsIdentity()
        self.negotiator = WebRtcNegotiator(MediaPolicy(("opus",)), session_id=1, cname="server")
        self.leg: MediaLeg | None = None
        self.transport: WebRtcTransport | None = None

    def _on_event(self, event: MediaEvent) -> None:
        if isinstance(event, LegDatagram) and self.transport is not None:
            self.transport.receive(event.data, event.source)

    async def open(self) -> None:
        await self.engine.start()
        leg = self.leg = await self.engine.open_leg("127.0.0.1", datagrams=True)
        self.transport = WebRtcTransport(
            self.identity, SystemClock(), lambda data, to: self.engine.send_datagram(leg.handle, data, to), lambda: None
        )
        local = self.transport.ice.local
        self.negotiator.local = LocalMedia("127.0.0.1", leg.rtp_port, leg.rtcp_port)
        self.negotiator.transport = LocalTransport(local.ufrag, local.password, str(self.identity.fingerprint))

    async def echo(self) -> None:
        """Once the way is found, the leg hears itself."""
        peer, stream = self.negotiator.peer, self.negotiator.stream
        assert peer is not None
        assert stream is not None
        assert self.transport is not None
        assert self.leg is not None
        self.transport.describe(peer.ufrag, peer.password, peer.fingerprints, client=peer.setup == "passive")
        async with asyncio.timeout(15):
            assert await self.transport.wait_ready(), self.transport.failure
        keys = self.transport.keys
        assert keys is not None
        await self.engine.set_stream(
            self.leg.handle,
            replace(
                stream,
                remote=self.transport.address,
                remote_proven=True,
                send_key=keys.send,
                receive_key=keys.receive,
            ),
        )
        bridge = await self.engine.create_bridge()
        await self.engine.bridge_add(bridge, self.leg.handle)
        await self.engine.set_hears(bridge, self.leg.handle, self.leg.handle, True)

    async def close(self) -> None:
        if self.transport is not None:
            self.transport.close()
        await self.engine.stop()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("who_offers", ["aiortc", "server"])
async def test_aiortc_hears_its_own_tone(who_offers: str) -> None:
    server, peer = ServerLeg(), RTCPeerConnection()
    ear = Ear(peer)
    try:
        await server.open()
        peer.addTrack(Tone())
        if who_offers == "aiortc":
            await peer.setLocalDescription(await peer.createOffer())
            server.negotiator.read_offer(peer.localDescription.sdp.encode())
            answer = server.negotiator.write_answer().decode()
            await peer.setRemoteDescription(RTCSessionDescription(answer, "answer"))
        else:
            offer = server.negotiator.write_offer().decode()
            await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            await peer.setLocalDescription(await peer.createAnswer())
            server.negotiator.read_answer(peer.localDescription.sdp.encode())
        await server.echo()
        await asyncio.sleep(4)
        heard = np.concatenate(ear.heard[-100:]).astype(np.float64) / 32_768
        assert tone_levels_db(heard, RATE, (TONE_HZ,))[TONE_HZ] > -20
    finally:
        await peer.close()
        await server.close()
        for task in ear.tasks:
            task.cancel()
        await asyncio.gather(*ear.tasks, return_exceptions=True)
