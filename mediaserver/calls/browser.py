"""The way to a leg that is a browser: joins what its SDP says with ICE and DTLS, and both with the media plane's leg.

Owns when a negotiated stream may flow: with keys from a handshake with the right certificate, to the address that ICE
nominated, never before and never without. Decides nothing of the call.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace

from mediaserver.calls.voice import Voice
from mediaserver.clock import Clock
from mediaserver.errors import NegotiationError
from mediaserver.limits import WEBRTC_READY_S_MAX
from mediaserver.model import MediaAddress, StreamSettings
from mediaserver.sdp.webrtc import LocalTransport, PeerTransport, WebRtcNegotiator
from mediaserver.webrtc.dtls import DtlsIdentity
from mediaserver.webrtc.transport import WebRtcTransport, make_credentials


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
    ) -> None:
        self._negotiator = negotiator
        self._transport = WebRtcTransport(identity, clock, voice.send_datagram, on_change)
        self._described: PeerTransport | None = None
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
        self._transport.close()

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
