"""The way to a leg that is a browser: joins what its SDP says with ICE and DTLS, and both with the media plane's leg.

Owns when a negotiated stream may flow: with keys from a handshake with the right certificate, to the address that ICE
nominated, never before and never without. A browser that has lost its network may come by another transport, with a
certificate of its own (RFC 8842 §3.1): the former one carries what flows until the new one stands. Decides nothing of
the call.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from mediaserver.calls.voice import Voice
from mediaserver.clock import Clock
from mediaserver.errors import NegotiationError, ParseError
from mediaserver.limits import ICE_GATHER_S_MAX, WEBRTC_READY_S_MAX
from mediaserver.media.engine import MediaLeg
from mediaserver.model import MediaAddress, StreamSettings
from mediaserver.sdp.webrtc import LocalTransport, PeerTransport, WebRtcNegotiator
from mediaserver.settings import WebrtcSettings
from mediaserver.webrtc.candidates import Candidate, host_candidates, priority_of
from mediaserver.webrtc.dtls import DtlsIdentity
from mediaserver.webrtc.networks import PeerNetworks
from mediaserver.webrtc.sctp import DataChannels, OnChannel
from mediaserver.webrtc.transport import WebRtcTransport, make_credentials
from mediaserver.webrtc.trickle import CONTENT_TYPE as TRICKLE
from mediaserver.webrtc.trickle import parse_fragment

__all__ = ["TRICKLE", "BrowserPath", "PathChanged"]

log = structlog.get_logger()
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
        settings: WebrtcSettings | None = None,
    ) -> None:
        """on_channel: takes data channels the peer opens; None: nobody does. dropped: counts what they break.
        settings: None: those of a fresh installation."""
        self._settings = settings or WebrtcSettings()
        self._negotiator = negotiator
        self._voice = voice
        self._networks = PeerNetworks(self._settings.peer_networks)
        self._base = ""  # our own address
        self._full = self._settings.ice == "full"
        self._make: Callable[[], WebRtcTransport] = lambda: WebRtcTransport(
            identity,
            clock,
            voice.send_datagram,
            on_change,
            admit=self._admit,
            release=voice.unbind,
            may_check=self._may_check if self._full else None,
        )
        self._transport = self._make()
        self._next: WebRtcTransport | None = None  # takes its place once it stands
        self._described: PeerTransport | None = None
        self._on_channel = on_channel
        self._dropped = dropped
        self._channels: DataChannels | None = None
        self._early: deque[bytes] = deque(maxlen=_EARLY_PACKETS_MAX)
        if on_channel is not None:
            self._transport.on_application = self._take_data
        self._candidates: tuple[str, ...] = ()
        self._announce(self._transport)

    @property
    def failure(self) -> str:
        return self._transport.failure

    async def opened(self, media: MediaLeg, our_host: str) -> None:
        """The leg's media is there: now our description can say where, and by what name the leg is asked for.

        A full agent asks the STUN server first, half a second at the most.
        """
        self._base = media.host
        hosts = list(dict.fromkeys([*self._settings.external_addresses, our_host]))
        candidates = host_candidates(hosts, media.rtp_port, media.tcp_port)
        mapped = await self._mapped()
        if mapped is not None and mapped.host not in hosts:
            priority = priority_of("srflx")
            candidates.append(Candidate(mapped.host, mapped.port, "srflx", priority, str(len(candidates) + 1)))
        self._candidates = tuple(map(str, candidates))
        self._announce(self._transport)

    async def _mapped(self) -> MediaAddress | None:
        host, _, port = self._settings.stun_server.rpartition(":")
        if not self._full or not host or not port.isdecimal():
            return None
        family = socket.AF_INET6 if ":" in self._base else socket.AF_INET
        try:
            async with asyncio.timeout(ICE_GATHER_S_MAX):
                found = await asyncio.get_running_loop().getaddrinfo(host.strip("[]"), int(port), family=family)
                return await self._transport.mapped(MediaAddress(*found[0][4][:2]), ICE_GATHER_S_MAX)
        except (OSError, TimeoutError) as error:
            log.warning("webrtc.stun_server did not answer", server=self._settings.stun_server, reason=str(error))
            return None

    def trickle(self, body: bytes) -> None:
        """More candidates of the peer's, RFC 8838 and 8840. What is malformed is dropped, and what is of another
        generation than its description."""
        try:
            fragment = parse_fragment(body)
        except ParseError as error:
            log.info("a trickle fragment was dropped", reason=str(error))
            return
        peer = self._negotiator.peer
        if fragment.ufrag and peer is not None and fragment.ufrag != peer.ufrag:
            return
        for candidate in fragment.candidates:
            (self._next or self._transport).add_candidate(candidate)

    def receive(self, data: bytes, source: MediaAddress) -> None:
        if self._next is not None and self._next.takes(data, source):
            self._next.receive(data, source)
        else:
            self._transport.receive(data, source)

    def secured(self) -> StreamSettings | None:
        """The negotiated stream with its keys and the proven address; None before the first handshake is done.

        Without an address (consent ran out) nothing is sent. Raises NegotiationError when the peer's answer now names
        another certificate than the one we shook hands with.
        """
        self._take_description()
        self._take_next()
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

        With another certificate they ask for a transport beside ours (RFC 8842 §3.1). Raises NegotiationError for
        another certificate with the old credentials, or before ours stands: the call goes on as it was.
        """
        peer, described = self._negotiator.peer, self._described
        if peer is None or described is None:
            return
        if self._transport.same_peer(peer.fingerprints):
            if self._next is not None:  # the browser goes on by the former one
                self._drop_next()
                self._announce(self._transport)
            self._restart(self._transport, peer)
        elif self._next is not None and self._next.same_peer(peer.fingerprints):
            self._restart(self._next, peer)
        elif peer.ufrag == described.ufrag or self._transport.keys is None:
            self._negotiator.peer = described
            raise NegotiationError("another certificate needs new ICE credentials, and a call that stands")
        else:
            self._drop_next()
            self._next = self._make()
            self._announce(self._next)

    def _restart(self, transport: WebRtcTransport, peer: PeerTransport) -> None:
        remote = transport.ice.remote
        if remote is None or remote.ufrag != peer.ufrag:
            transport.ice.restart(make_credentials())
            self._announce(transport)

    def close(self) -> None:
        if self._channels is not None:
            self._channels.close()
        self._drop_next()
        self._transport.close()

    def _take_next(self) -> None:
        """The transport that the browser has come back by stands: what came by the former one is over."""
        if self._next is None or not self._next.is_ready:
            return
        former, self._transport, self._next = self._transport, self._next, None
        former.retire()
        if self._transport.address is not None:  # had the former one it too, it has just been given back
            self._voice.bind(self._transport.address)
        log.info("a browser came back by another way")
        if self._channels is not None:  # an association ends with its DTLS (RFC 8831 §6.2)
            self._channels.close()
            self._channels = None
        if self._on_channel is not None:
            self._transport.on_application = self._take_data

    def _drop_next(self) -> None:
        if self._next is not None:
            self._next.retire()
            self._next = None

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
        transport = self._next or self._transport
        if not transport.same_peer(peer.fingerprints):
            raise NegotiationError("an answer cannot change the certificate of a call")
        self._described = peer
        transport.describe(
            peer.ufrag,
            peer.password,
            peer.fingerprints,
            client=peer.setup == "passive",
            candidates=peer.candidates,
            lite=peer.lite,
        )

    def _announce(self, transport: WebRtcTransport) -> None:
        local = transport.ice.local
        self._voice.name(local.ufrag)
        self._negotiator.transport = LocalTransport(
            local.ufrag, local.password, str(transport.fingerprint), self._candidates, lite=not self._full
        )

    def _may_check(self, host: str, port: int) -> bool:
        return self._networks.allows_check(host, port, self._base)

    def _admit(self, address: MediaAddress) -> bool:
        """Whether media may go to an address that has just passed a check."""
        return self._networks.allows(address.host, address.port) and self._voice.bind(address)
