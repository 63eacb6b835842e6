"""One browser leg's way: ICE finds it, DTLS guards it, and what comes out is an address and two SRTP keys.

Drives `ice` and `dtls` with the loop's timer and the leg's socket (a callable). Owns which datagram is whose (RFC 7983)
and the rule that DTLS is spoken only with addresses that passed a check. Knows no SDP and no engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections import Counter
from collections.abc import Callable, Sequence

import structlog

from mediaserver.clock import Clock
from mediaserver.model import MediaAddress
from mediaserver.webrtc import stun
from mediaserver.webrtc.dtls import DtlsEndpoint, DtlsIdentity, DtlsState, Fingerprint, SrtpKeys
from mediaserver.webrtc.ice import IceAgent, IceCredentials
from mediaserver.webrtc.ice_full import FullIceAgent

log = structlog.get_logger()
_DTLS_FIRST, _DTLS_LAST, _STUN_LAST = 20, 63, 3  # first byte of a datagram, RFC 7983 §7
_DTLS_BYTE, _STUN_REQUEST = bytes([_DTLS_FIRST]), b"\0\1"


def make_credentials(random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> IceCredentials:
    """Random enough that nobody guesses them: 48 and 192 bits (RFC 8445 §5.3 wants 24 and 128)."""
    return IceCredentials(random_bytes(6).hex(), random_bytes(24).hex())


class WebRtcTransport:
    """send: one datagram by the leg's socket. on_change: `keys` or `address` changed, or it failed.

    admit, release: of `ice.IceAgent`, who may be answered. may_check: we check too, where it allows (a full agent).
    """

    def __init__(
        self,
        identity: DtlsIdentity,
        clock: Clock,
        send: Callable[[bytes, MediaAddress], object],
        on_change: Callable[[], None],
        *,
        admit: Callable[[MediaAddress], bool] = lambda address: True,
        release: Callable[[MediaAddress], None] = lambda address: None,
        may_check: Callable[[str, int], bool] | None = None,
    ) -> None:
        self.ice: IceAgent | FullIceAgent = (
            IceAgent(make_credentials(), admit, release)
            if may_check is None
            else FullIceAgent(make_credentials(), admit, release, may_check=may_check)
        )
        self.fingerprint = identity.fingerprint
        self.failure = ""
        self.dropped: Counter[str] = Counter()
        self.on_application: Callable[[bytes], None] | None = None  # takes what the peer sends inside DTLS (SCTP)
        self._identity = identity
        self._clock = clock
        self._send = send
        self._on_change = on_change
        self._dtls: DtlsEndpoint | None = None
        self._expected: Fingerprint | None = None
        self._told: tuple[SrtpKeys | None, MediaAddress | None, str] = (None, None, "")
        self._settled = asyncio.Event()  # ready, failed or closed
        self._heard = asyncio.Event()  # some STUN came
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def keys(self) -> SrtpKeys | None:
        """None until the handshake is done with the right peer."""
        return self._dtls.keys if self._dtls is not None else None

    @property
    def address(self) -> MediaAddress | None:
        """Where media goes and comes from; None: no nomination, or its consent has run out."""
        return self.ice.selected

    @property
    def is_client(self) -> bool:
        """We began the DTLS handshake."""
        return self._dtls is not None and self._dtls.client

    @property
    def is_ready(self) -> bool:
        return self.keys is not None and self.address is not None

    async def wait_ready(self) -> bool:
        """False: it failed or was closed; `failure` says why."""
        while not (self.is_ready or self.failure or self._closed):
            self._settled.clear()
            await self._settled.wait()
        return self.is_ready and not self._closed

    def describe(
        self,
        ufrag: str,
        password: str,
        fingerprints: Sequence[str],
        *,
        client: bool,
        candidates: Sequence[str] = (),
        lite: bool = False,
    ) -> None:
        """What the peer's description says. client: we begin the handshake. A repeated description changes nothing.

        candidates, lite: values of a=candidate, and whether it has a=ice-lite: of use to a full agent.
        """
        self.ice.remote = IceCredentials(ufrag, password)
        if lite and isinstance(self.ice, FullIceAgent):  # it only answers: somebody must nominate
            self.ice.controlling = True
        for candidate in candidates:
            self.ice.add_candidate(candidate)
        known = [fingerprint for text in fingerprints if (fingerprint := Fingerprint.parse(text)) is not None]
        if self._expected is None:
            if not known:
                self._fail("no a=fingerprint with a hash we trust (sha-256 or longer)")
                return
            self._expected = known[0]
        if self._dtls is None:
            self._dtls = DtlsEndpoint(self._identity, client=client)
        self._dtls.expect(self._expected)
        self._advance()

    def add_candidate(self, text: str) -> None:
        """One candidate of the peer's, as a=candidate has it."""
        if not self._closed:
            self.ice.add_candidate(text)
            self._advance()

    async def mapped(self, server: MediaAddress, within_s: float) -> MediaAddress | None:
        """How a STUN server sees our port; None: it did not answer in time, or we are lite and ask nobody."""
        if not isinstance(self.ice, FullIceAgent):
            return None
        self.ice.gather(server, self._clock.now_ns())
        self._advance()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.ice.gathering and not self._closed:
                    self._heard.clear()
                    await self._heard.wait()
        return self.ice.mapped

    def same_peer(self, fingerprints: Sequence[str]) -> bool:
        """Whether a later description still names the certificate we shook hands with; another one is refused."""
        return self._expected is None or self._expected in [Fingerprint.parse(text) for text in fingerprints]

    def takes(self, data: bytes, source: MediaAddress) -> bool:
        """Whether a datagram is for this one of several: by the name in a check, else by where it comes from."""
        if data[:2] != _STUN_REQUEST:
            return self.ice.knows(source) or (data[:1] < _DTLS_BYTE and self.ice.expects(data))
        message = stun.parse(data)
        return message is not None and (message.username or "").partition(":")[0] == self.ice.local.ufrag

    def receive(self, data: bytes, source: MediaAddress) -> None:
        """One datagram that is neither RTP nor RTCP. Never raises for what is in it."""
        if self._closed or not data:
            return
        now_ns = self._clock.now_ns()
        if data[0] <= _STUN_LAST:
            self.ice.receive(data, source, now_ns)
            self._heard.set()
        elif not _DTLS_FIRST <= data[0] <= _DTLS_LAST or not self.ice.knows(source):
            self.dropped["unproven source"] += 1
            return
        else:
            if self._dtls is None:  # who speaks first is the client, whatever his description will say
                self._dtls = DtlsEndpoint(self._identity, client=False)
            self._dtls.receive(data, now_ns)
            for inside in self._dtls.application():
                if self.on_application is not None:
                    self.on_application(inside)
        self._advance()

    def send_application(self, data: bytes) -> None:
        """One SCTP packet inside DTLS. Before the handshake is done it is lost, as on any bad network."""
        if self._dtls is not None and not self._closed and self._dtls.send_application(data):
            self._flush()

    def close(self) -> None:
        """Says good-bye to the peer. Idempotent."""
        if self._closed:
            return
        if self._dtls is not None:
            self._dtls.close()
            self._flush()
        self._closed = True
        self._settled.set()
        if self._timer is not None:
            self._timer.cancel()

    def retire(self) -> None:
        """Closed, and its addresses are given back: another transport of the same leg goes on."""
        self.close()
        self.ice.forget_all()

    # -- inside

    def _advance(self) -> None:
        now_ns = self._clock.now_ns()
        dtls = self._dtls
        if isinstance(self.ice, FullIceAgent):  # checks that are due at once
            self.ice.handle_timer(now_ns)
        if dtls is not None and dtls.client and dtls.state is DtlsState.NEW and self.ice.target is not None:
            dtls.start(now_ns)
        self._flush()
        if dtls is not None and dtls.state is DtlsState.FAILED and not self.failure:
            self._fail(dtls.failure)
        self._set_timer(now_ns)
        told = (self.keys, self.address, self.failure)
        if told != self._told:
            self._told = told
            if self.is_ready or self.failure:
                self._settled.set()
            self._on_change()

    def _flush(self) -> None:
        for data, to in self.ice.poll():
            self._send(data, to)
        target = self.ice.target
        for data in self._dtls.poll() if self._dtls is not None else ():
            if target is not None:
                self._send(data, target)

    def _fail(self, reason: str) -> None:
        self.failure = reason
        self._settled.set()
        log.warning("a browser's secure transport failed", reason=reason)

    def _set_timer(self, now_ns: int) -> None:
        deadlines = [self.ice.next_deadline(), self._dtls.next_deadline() if self._dtls is not None else None]
        due = min((deadline for deadline in deadlines if deadline is not None), default=None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if due is not None and not self._closed:
            self._timer = asyncio.get_running_loop().call_later(max(0, due - now_ns) / 1e9, self._due)

    def _due(self) -> None:
        self._timer = None
        now_ns = self._clock.now_ns()
        self.ice.handle_timer(now_ns)
        if self._dtls is not None:
            self._dtls.handle_timer(now_ns)
        self._advance()
