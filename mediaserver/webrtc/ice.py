"""ICE on our side of one leg, lite: RFC 8445 §2.5, consent by RFC 7675, trickle-tolerant (RFC 8838). Sans-I/O.

Our address is reachable, so that the browser checks and nominates and we answer. Owns credentials, which remote
addresses have proven themselves and which one is nominated. Who does not know our password gets no answer at all,
not even an error: his address may be a victim's. Knows no DTLS and no sockets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from mediaserver.limits import ICE_CHECKS_REMEMBERED_MAX, ICE_CONSENT_NS, ICE_SOURCES_MAX
from mediaserver.model import MediaAddress
from mediaserver.webrtc import stun
from mediaserver.webrtc.stun import Attribute, Kind


@dataclass(frozen=True, slots=True)
class IceCredentials:
    """ufrag 4..256 and password 22..256 ice-chars, RFC 8839 §5.4."""

    ufrag: str
    password: str = field(repr=False)


class IceAgent:
    """Feed `receive`, send what `poll` gives, call `handle_timer` at `next_deadline`; then look at `selected`.

    A lite agent is controlled for good: a peer that believes to be controlled too is told 487 and takes the other
    role, whatever the tie-breakers say (RFC 8445 §6.1.1: with a full agent the lite one is never controlling).
    """

    def __init__(
        self,
        local: IceCredentials,
        admit: Callable[[MediaAddress], bool] = lambda address: True,
        release: Callable[[MediaAddress], None] = lambda address: None,
    ) -> None:
        """admit: asked once when an address proves itself; False (not allowed, or another leg's): it gets no answer.
        release: it is forgotten."""
        self._admit = admit
        self._release = release
        self.local = local
        self._former: IceCredentials | None = None  # until the peer nominates after a restart
        self.remote: IceCredentials | None = None  # None: its description has not come; its checks are answered
        self.selected: MediaAddress | None = None  # nominated by the peer, and consenting
        self.dropped: Counter[str] = Counter()  # by reason
        self._password = local.password.encode()
        self._proven: dict[MediaAddress, int] = {}  # address -> ns of its last check
        self._seen: dict[bytes, MediaAddress] = {}  # transaction ids of the last checks, oldest first
        self._outputs: list[tuple[bytes, MediaAddress]] = []

    def restart(self, local: IceCredentials) -> None:
        """New credentials of ours (RFC 8445 §9). What is selected stays until the peer nominates again.

        Checks with the former ones keep up the consent of addresses already proven, and nothing more.
        """
        self._former = self.local
        self.local = local
        self._password = local.password.encode()
        self.remote = None

    def knows(self, source: MediaAddress) -> bool:
        """Whether this address has passed a check and consents: DTLS and media are taken from such only."""
        return source in self._proven

    @property
    def target(self) -> MediaAddress | None:
        """Where to send: what is nominated, before that the address that proved itself last."""
        if self.selected is not None:
            return self.selected
        return max(self._proven, key=self._proven.__getitem__, default=None)

    def receive(self, data: bytes, source: MediaAddress, now_ns: int) -> None:
        """One STUN datagram. Never raises."""
        message = stun.parse(data)
        if message is None or message.method != stun.BINDING:
            self.dropped["malformed"] += 1
        elif message.kind is Kind.INDICATION:  # a keepalive (RFC 8445 §11); it proves nothing
            pass
        elif message.kind is not Kind.REQUEST:
            self.dropped["stray response"] += 1
        elif self._former is not None and message.has_fingerprint and self._is_former(message):
            self._keep_up(message, source, now_ns)
        elif not message.has_fingerprint or not self._username_fits(message.username):
            self.dropped["username"] += 1
        elif not message.integrity_holds(self._password):
            self.dropped["integrity"] += 1
        else:
            self._check(message, source, now_ns)

    def add_candidate(self, text: str) -> None:
        """One candidate of the peer's (RFC 8838). A lite agent needs none: it answers whoever checks."""

    def expects(self, data: bytes) -> bool:
        """Whether a STUN answer is to a check of ours: a lite agent makes none."""
        return False

    def forget_all(self) -> None:
        """Nobody is proven any more, and nobody is selected."""
        for address in list(self._proven):
            self._forget(address)

    def poll(self) -> list[tuple[bytes, MediaAddress]]:
        outputs, self._outputs = self._outputs, []
        return outputs

    def next_deadline(self) -> int | None:
        """When the first consent runs out."""
        return min(self._proven.values()) + ICE_CONSENT_NS if self._proven else None

    def handle_timer(self, now_ns: int) -> None:
        """Forgets who has not checked for 30 s: nothing may be sent there any more, RFC 7675 §5.1."""
        for address, checked_ns in list(self._proven.items()):
            if now_ns >= checked_ns + ICE_CONSENT_NS:
                self._forget(address)

    def _username_fits(self, username: str | None) -> bool:
        ours, colon, theirs = (username or "").partition(":")
        return ours == self.local.ufrag and bool(colon) and (self.remote is None or theirs == self.remote.ufrag)

    def _check(self, message: stun.StunMessage, source: MediaAddress, now_ns: int) -> None:
        """A request that knows our password."""
        fresh = source not in self._proven
        if fresh and not self._admit(source):
            self.dropped["address"] += 1
            return
        if not self._accepted(message, source):
            if fresh and not source.via:  # admitted for that answer only; a TCP connection stays
                self._release(source)
            return
        if fresh and len(self._proven) >= ICE_SOURCES_MAX:
            self._forget(min((a for a in self._proven if a != self.selected), key=self._proven.__getitem__))
        self._proven[source] = now_ns
        if Attribute.USE_CANDIDATE in message.attributes:
            self.selected = source
            self._former = None
        self._succeed(message, source, self._password)

    def _accepted(self, message: stun.StunMessage, source: MediaAddress) -> bool:
        """False: it was refused, or dropped as a repetition."""
        if unknown := message.unknown:
            listed = b"".join(kind.to_bytes(2, "big") for kind in unknown)
            self._refuse(message, source, 420, "Unknown Attribute", [(Attribute.UNKNOWN_ATTRIBUTES, listed)])
        elif Attribute.ICE_CONTROLLED in message.attributes:
            self.dropped["role conflict"] += 1
            self._refuse(message, source, 487, "Role Conflict", [])
        elif self._replayed(message.transaction_id, source):
            self.dropped["replayed"] += 1
        else:
            return True
        return False

    def _is_former(self, message: stun.StunMessage) -> bool:
        return self._former is not None and (message.username or "").partition(":")[0] == self._former.ufrag

    def _keep_up(self, message: stun.StunMessage, source: MediaAddress, now_ns: int) -> None:
        """A check with the credentials from before the restart."""
        password = self._former.password.encode() if self._former is not None else b""
        if not message.integrity_holds(password) or message.unknown or source not in self._proven:
            self.dropped["integrity"] += 1
        elif self._replayed(message.transaction_id, source):
            self.dropped["replayed"] += 1
        else:
            self._proven[source] = now_ns
            self._succeed(message, source, password)

    def _succeed(self, message: stun.StunMessage, source: MediaAddress, password: bytes) -> None:
        mapped = stun.xor_address(source.host, source.port, message.transaction_id)
        attributes = [(int(Attribute.XOR_MAPPED_ADDRESS), mapped)]
        self._outputs.append((stun.write(Kind.SUCCESS, message.transaction_id, attributes, password), source))

    def _replayed(self, transaction_id: bytes, source: MediaAddress) -> bool:
        """A check that another address has sent before: somebody overheard it and would have us send to him."""
        known = self._seen.setdefault(transaction_id, source)
        if len(self._seen) > ICE_CHECKS_REMEMBERED_MAX:
            del self._seen[next(iter(self._seen))]
        return known != source

    def _refuse(
        self,
        message: stun.StunMessage,
        source: MediaAddress,
        status: int,
        reason: str,
        attributes: list[tuple[int, bytes]],
    ) -> None:
        code = (int(Attribute.ERROR_CODE), stun.error_code(status, reason))
        answer = stun.write(Kind.ERROR, message.transaction_id, [code, *attributes], self._password)
        self._outputs.append((answer, source))

    def _forget(self, address: MediaAddress) -> None:
        del self._proven[address]
        if self.selected == address:
            self.selected = None
        self._release(address)
