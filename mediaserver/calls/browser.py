"""The way to a leg that is a browser: joins what its SDP says with ICE and DTLS, and both with the media plane's leg.

Owns when a negotiated stream may flow: with keys from a handshake with the right certificate, to the address that ICE
nominated, never before and never without. Decides nothing of the call.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace

from mediaserver.calls.voice import Voice
from mediaserver.clock import Clock
from mediaserver.errors import NegotiationError
from mediaserver.limits import WEBRTC_READY_S_MAX
from mediaserver.model import MediaAddress, StreamSettings
from mediaserver.sdp.webrtc import LocalTransport, PeerTransport, WebRtcNegotiator
from mediaserver.webrtc.dtls import DtlsIdentity
from mediaserver.webrtc.sctp import DataChannels, OnChannel
from mediaserver.webrtc.transport import WebRtcTransport, make_credentials

_EARLY_PACKETS_MAX = 8  # SCTP's INIT and what follows it are few


@dataclass(frozen=True, slots=True)
class PathChanged:
    """Keys or the nominated address changed, or the way failed; waits its turn among the session's events."""


class BrowserPath:
    """One per browser leg. on_change: called when `secured` may say something else."""

    def __init__(
        self,
        identity: DtlsIdentity,
        clock: Clock,
        negotiator: WebRtcNegotiator,
        voice: Voice,
        on_change: Callable[[], None],
        on_channel: OnChannel | None = None,
        dropped: Counter[str] | None = None,
    ) -> None:
        """on_channel: takes data channels the peer opens; None: nobody does. dropped: counts what they break."""
        self._negotiator = negotiator
        self._transport = WebRtcTransport(identity, clock, voice.send_datagram, on_change)
        self._described: PeerTransport | None = None
        self._on_channel = on_channel
        self._dropped = dropped
        self._channels: DataChannels | None = None
        self._early: deque[bytes] = deque(maxlen=_EARLY_PACKETS_MAX)
        if on_channel is not None:
            self._transport.on_application = self._take_data
        self._announce()

    @property
    def failure(self) -> str:
        return self._transport.failure

    def receive(self, data: bytes, source: MediaAddress) -> None:
        self._transport.receive(data, source)

    def secured(self) -> StreamSettings | None:
        """The negotiated stream with its keys and the proven address; None before the first handshake is done.

        Without an address (consent ran out) nothing is sent. Raises NegotiationError when the peer's description now
        names another certificate than the one we shook hands with.
        """
        self._take_description()
        stream, keys = self._negotiator.stream, self._transport.keys
        if stream is None or keys is None:
            return None
        self._begin_data()
        return replace(
            stream,
            remote=self._transport.address,
            remote_proven=True,
            send_key=keys.send,
            receive_key=keys.receive,
        )

    async def wait_ready(self) -> bool:
        """Whether media can flow now; False when the way failed, was closed, or took longer than anybody waits."""
        try:
            async with asyncio.timeout(WEBRTC_READY_S_MAX):
                return await self._transport.wait_ready()
        except TimeoutError:
            return False

    def renew(self) -> None:
        """A new offer was read: new credentials of the peer ask for new ones of ours (ICE restart, RFC 8839 §4.4.1).

        Raises NegotiationError for another certificate: the call goes on as it was.
        """
        peer, described = self._negotiator.peer, self._described
        if peer is None or described is None:
            return
        if not self._transport.same_peer(peer.fingerprints):
            self._negotiator.peer = described
            raise NegotiationError("a browser cannot change its certificate within a call")
        if peer.ufrag != described.ufrag:
            self._transport.ice.restart(make_credentials())
            self._announce()

    def close(self) -> None:
        if self._channels is not None:
            self._channels.close()
        self._transport.close()

    def _take_data(self, packet: bytes) -> None:
        """The peer may begin as soon as its handshake is done, before our call has taken notice of ours."""
        if self._channels is not None:
            self._channels.receive(packet)
        else:
            self._early.append(packet)

    def _begin_data(self) -> None:
        data = self._negotiator.data
        if data is None or self._on_channel is None or self._channels is not None:
            return
        self._channels = DataChannels(
            self._transport.send_application,
            self._on_channel,
            client=self._transport.is_client,
            remote_port=data.sctp_port,
            message_bytes_max=data.max_message_size,
            dropped=self._dropped,
        )
        self._channels.start()
        while self._early:
            self._channels.receive(self._early.popleft())

    def _take_description(self) -> None:
        peer = self._negotiator.peer
        if peer is None or peer == self._described:
            return
        if not self._transport.same_peer(peer.fingerprints):
            raise NegotiationError("a browser cannot change its certificate within a call")
        self._described = peer
        self._transport.describe(peer.ufrag, peer.password, peer.fingerprints, client=peer.setup == "passive")

    def _announce(self) -> None:
        local = self._transport.ice.local
        self._negotiator.transport = LocalTransport(local.ufrag, local.password, str(self._transport.fingerprint))
