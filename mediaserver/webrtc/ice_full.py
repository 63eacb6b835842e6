"""A full ICE agent of one leg, RFC 8445: it checks, answers checks, takes either role, nominates, keeps consent (RFC
7675) and asks a STUN server how the world sees it. Same face as `ice.IceAgent`. Sans-I/O.

All our candidates share one base, the leg's port, so that a pair is a remote address. Owns the check list, its timers
and the roles. Candidates of the peer's may come at any time (RFC 8838). Knows no DTLS and no sockets; sends first
packets only where `may_check` allows.
"""

from __future__ import annotations

import enum
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from mediaserver.limits import ICE_CHECKS_REMEMBERED_MAX, ICE_CONSENT_NS, ICE_SOURCES_MAX
from mediaserver.model import MediaAddress
from mediaserver.webrtc import stun
from mediaserver.webrtc.candidates import Candidate, priority_of
from mediaserver.webrtc.ice import IceCredentials
from mediaserver.webrtc.stun import Attribute, Kind

_MS = 1_000_000
_PACE_NS = 20 * _MS  # between two checks, §14.2 asks for at least 5 ms
_RETRY_NS = tuple(ms * _MS for ms in (250, 250, 500, 500, 1_000, 1_000, 2_000))  # after each request of one check
_CONSENT_EVERY_NS = 4_000 * _MS  # RFC 7675 §5.1: 5 s less up to a fifth; one moment for all legs would be a burst
_SETTLE_NS = 200 * _MS  # the controlling side waits so long for a better pair than the first that works
_LOCAL_PRIORITY = priority_of("host")


class State(enum.Enum):
    WAITING = "waiting"
    IN_PROGRESS = "in progress"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(slots=True)
class Pair:
    remote: MediaAddress
    priority: int
    state: State = State.WAITING
    transaction: bytes = b""
    attempts: int = 0
    due_ns: int = 0  # next request of this check, or the end of it
    nominating: bool = False  # the request carries USE-CANDIDATE
    nominated: bool = False  # by the peer, before our own check was done


class FullIceAgent:
    """Feed `receive`, send what `poll` gives, call `handle_timer` at `next_deadline`; then look at `selected`."""

    def __init__(
        self,
        local: IceCredentials,
        admit: Callable[[MediaAddress], bool] = lambda address: True,
        release: Callable[[MediaAddress], None] = lambda address: None,
        *,
        may_check: Callable[[str, int], bool] = lambda host, port: True,
        controlling: bool = False,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        """admit, release: as of `ice.IceAgent`. may_check: whether an address that only an SDP names gets a packet."""
        self.local = local
        self.controlling = controlling
        self.selected: MediaAddress | None = None
        self.mapped: MediaAddress | None = None  # how the STUN server saw us
        self.dropped: Counter[str] = Counter()
        self._admit, self._release, self._may_check = admit, release, may_check
        self._random = random_bytes
        self._tie_breaker = random_bytes(8)
        self._remote: IceCredentials | None = None
        self._pairs: dict[MediaAddress, Pair] = {}
        self._proven: dict[MediaAddress, int] = {}  # who knows our password, or answered with his: ns of the last time
        self._seen: dict[bytes, MediaAddress] = {}  # transaction ids of the peer's last checks, oldest first
        self._consent_ns = 0  # next check of the selected pair
        self._first_valid_ns = 0
        self._next_check_ns = 0
        self._gathering: tuple[bytes, MediaAddress, int, int] | None = None  # transaction, server, attempts, due
        self._outputs: list[tuple[bytes, MediaAddress]] = []

    # -- the face

    @property
    def remote(self) -> IceCredentials | None:
        return self._remote

    @remote.setter
    def remote(self, remote: IceCredentials) -> None:
        """The peer's description has come: checks may begin. Others than before: it restarts (§9)."""
        if self._remote is not None and remote != self._remote:
            for pair in self._pairs.values():
                pair.state, pair.attempts, pair.nominated, pair.nominating = State.WAITING, 0, False, False
            self._first_valid_ns = 0
        self._remote = remote

    def restart(self, local: IceCredentials) -> None:
        """New credentials of ours. What is selected stays until another pair is nominated."""
        self.local = local

    def knows(self, source: MediaAddress) -> bool:
        return source in self._proven

    @property
    def target(self) -> MediaAddress | None:
        """Where to send: what is selected, before that what answered us or proved itself last."""
        return self.selected or max(self._proven, key=self._proven.__getitem__, default=None)

    def add_candidate(self, text: str) -> None:
        """One candidate of the peer's, as a=candidate has it. Names (mDNS), TCP and forbidden networks are counted."""
        candidate = Candidate.parse(text)
        if candidate is None:
            self.dropped["candidate of no use"] += 1
        elif not self._may_check(candidate.host, candidate.port):
            self.dropped["candidate in a forbidden network"] += 1
        else:
            self._pair(MediaAddress(candidate.host, candidate.port), candidate.priority)

    def gather(self, server: MediaAddress, now_ns: int) -> None:
        """Asks a STUN server for `mapped`."""
        self._gathering = (self._random(12), server, 0, now_ns)
        self.handle_timer(now_ns)

    @property
    def gathering(self) -> bool:
        return self._gathering is not None

    def expects(self, data: bytes) -> bool:
        """Whether a STUN answer is to a check of ours."""
        return any(pair.transaction == data[8:20] for pair in self._pairs.values())

    def forget_all(self) -> None:
        """Nobody is proven any more, and nobody is selected."""
        self._expire(max(self._proven.values(), default=0) + ICE_CONSENT_NS)

    def poll(self) -> list[tuple[bytes, MediaAddress]]:
        outputs, self._outputs = self._outputs, []
        return outputs

    def receive(self, data: bytes, source: MediaAddress, now_ns: int) -> None:
        """One STUN datagram. Never raises."""
        message = stun.parse(data)
        if message is None or message.method != stun.BINDING:
            self.dropped["malformed"] += 1
        elif message.kind is Kind.REQUEST:
            self._request(message, source, now_ns)
        elif message.kind is not Kind.INDICATION:
            self._response(message, source, now_ns)

    def next_deadline(self) -> int | None:
        due = [pair.due_ns for pair in self._pairs.values() if pair.state is State.IN_PROGRESS]
        if self._remote is not None and any(pair.state is State.WAITING for pair in self._pairs.values()):
            due.append(self._next_check_ns)
        if self.selected is not None:
            due.append(self._consent_ns)
        elif self._may_nominate():
            due.append(self._first_valid_ns + _SETTLE_NS)
        if self._proven:
            due.append(min(self._proven.values()) + ICE_CONSENT_NS)
        if self._gathering is not None:
            due.append(self._gathering[3])
        return min(due, default=None)

    def handle_timer(self, now_ns: int) -> None:
        self._expire(now_ns)
        self._gather_on(now_ns)
        for pair in self._pairs.values():
            if pair.state is State.IN_PROGRESS and now_ns >= pair.due_ns:
                self._send_check(pair, now_ns)
        if self._remote is not None and now_ns >= self._next_check_ns:
            waiting = [pair for pair in self._pairs.values() if pair.state is State.WAITING]
            if waiting:
                self._start(max(waiting, key=lambda pair: pair.priority), now_ns)
                self._next_check_ns = now_ns + _PACE_NS
        if self.selected is not None and now_ns >= self._consent_ns:
            self._consent_ns = now_ns + _CONSENT_EVERY_NS + self._random(1)[0] * 4 * _MS
            self._start(self._pairs[self.selected], now_ns)
        if self._may_nominate():
            self._nominate(now_ns)

    # -- checks of ours

    def _pair(self, address: MediaAddress, remote_priority: int) -> Pair | None:
        pair = self._pairs.get(address)
        if pair is None:
            if len(self._pairs) >= ICE_SOURCES_MAX:
                failed = (p for p in self._pairs.values() if p.state is State.FAILED and p.remote != self.selected)
                spare = next(failed, None)
                if spare is None:
                    self.dropped["too many pairs"] += 1
                    return None
                del self._pairs[spare.remote]
            low, high = sorted((_LOCAL_PRIORITY, remote_priority))
            ours_leads = (remote_priority < _LOCAL_PRIORITY) == self.controlling
            pair = self._pairs[address] = Pair(address, (low << 32) + 2 * high + ours_leads)  # §6.1.2.3
        return pair

    def _start(self, pair: Pair, now_ns: int) -> None:
        pair.state, pair.attempts, pair.transaction = State.IN_PROGRESS, 0, self._random(12)
        self._send_check(pair, now_ns)

    def _send_check(self, pair: Pair, now_ns: int) -> None:
        """The next request of a check, or its end."""
        if self._remote is None:
            return
        if pair.attempts >= len(_RETRY_NS):
            # On the selected one consent decides, not a single check.
            pair.state = State.SUCCEEDED if pair.remote == self.selected else State.FAILED
            pair.nominating = False
            return
        role = Attribute.ICE_CONTROLLING if self.controlling else Attribute.ICE_CONTROLLED
        attributes = [
            (int(Attribute.USERNAME), f"{self._remote.ufrag}:{self.local.ufrag}".encode()),
            (int(role), self._tie_breaker),
            (int(Attribute.PRIORITY), priority_of("prflx").to_bytes(4, "big")),
        ]
        if pair.nominating:
            attributes.append((int(Attribute.USE_CANDIDATE), b""))
        data = stun.write(Kind.REQUEST, pair.transaction, attributes, self._remote.password.encode())
        self._outputs.append((data, pair.remote))
        pair.due_ns = now_ns + _RETRY_NS[pair.attempts]
        pair.attempts += 1

    def _response(self, message: stun.StunMessage, source: MediaAddress, now_ns: int) -> None:
        if self._gathering is not None and message.transaction_id == self._gathering[0]:
            self._gathered(message, source)
            return
        pair = next((p for p in self._pairs.values() if p.transaction == message.transaction_id), None)
        if pair is None or pair.state is not State.IN_PROGRESS or self._remote is None:
            self.dropped["stray response"] += 1
        elif not message.integrity_holds(self._remote.password.encode()):
            self.dropped["integrity"] += 1
        elif source != pair.remote:  # §7.2.5.2.1: answers come from where the check went
            pair.state, pair.nominating = State.FAILED, False
        elif message.kind is Kind.ERROR:
            self._refused(message, pair, now_ns)
        else:
            self._succeeded(pair, now_ns)

    def _refused(self, message: stun.StunMessage, pair: Pair, now_ns: int) -> None:
        code = message.attributes.get(Attribute.ERROR_CODE, b"")
        if len(code) >= 4 and code[2] * 100 + code[3] == 487:  # §7.2.5.1: the other one keeps the role
            self.controlling = not self.controlling
            pair.nominating = False
            self._start(pair, now_ns)
        else:
            pair.state, pair.nominating = State.FAILED, False

    def _succeeded(self, pair: Pair, now_ns: int) -> None:
        if pair.remote not in self._proven and not self._admit(pair.remote):
            self.dropped["address"] += 1
            pair.state, pair.nominating = State.FAILED, False
            return
        pair.state = State.SUCCEEDED
        self._prove(pair.remote, now_ns)
        self._first_valid_ns = self._first_valid_ns or now_ns
        if pair.nominating or pair.nominated:
            pair.nominating = pair.nominated = False
            self._select(pair, now_ns)

    def _prove(self, address: MediaAddress, now_ns: int) -> None:
        """Of too many, the one that was silent longest goes: who knows the password may send from anywhere."""
        if address not in self._proven and len(self._proven) >= ICE_SOURCES_MAX:
            silent = min((a for a in self._proven if a != self.selected), key=self._proven.__getitem__)
            del self._proven[silent]
            self._pairs.pop(silent, None)
            self._release(silent)
        self._proven[address] = now_ns

    def _may_nominate(self) -> bool:
        """The controlling side, with a pair that works and no nomination under way."""
        if not self.controlling or self.selected is not None or any(pair.nominating for pair in self._pairs.values()):
            return False
        return any(pair.state is State.SUCCEEDED for pair in self._pairs.values())

    def _nominate(self, now_ns: int) -> None:
        """The best pair that works, once the others had their time."""
        valid = [pair for pair in self._pairs.values() if pair.state is State.SUCCEEDED]
        open_still = any(pair.state in (State.WAITING, State.IN_PROGRESS) for pair in self._pairs.values())
        if open_still and now_ns < self._first_valid_ns + _SETTLE_NS:
            return
        best = max(valid, key=lambda pair: pair.priority)
        best.nominating = True
        self._start(best, now_ns)

    def _select(self, pair: Pair, now_ns: int) -> None:
        self.selected = pair.remote
        self._consent_ns = now_ns + _CONSENT_EVERY_NS

    # -- checks of the peer's

    def _request(self, message: stun.StunMessage, source: MediaAddress, now_ns: int) -> None:
        ours, colon, theirs = (message.username or "").partition(":")
        if ours != self.local.ufrag or not colon or (self._remote is not None and theirs != self._remote.ufrag):
            self.dropped["username"] += 1
        elif not message.has_fingerprint or not message.integrity_holds(self.local.password.encode()):
            self.dropped["integrity"] += 1
        elif source not in self._proven and not self._admit(source):
            self.dropped["address"] += 1
        elif unknown := message.unknown:
            listed = b"".join(kind.to_bytes(2, "big") for kind in unknown)
            self._refuse(message, source, 420, [(int(Attribute.UNKNOWN_ATTRIBUTES), listed)])
        elif self._roles_clash(message):
            self._refuse(message, source, 487, [])
        elif self._replayed(message.transaction_id, source):
            self.dropped["replayed"] += 1
            if source not in self._proven and not source.via:
                self._release(source)
        else:
            self._checked(message, source, now_ns)

    def _replayed(self, transaction_id: bytes, source: MediaAddress) -> bool:
        """See `ice.IceAgent`: of use to who overheard it where no check of ours would tell, by TCP."""
        known = self._seen.setdefault(transaction_id, source)
        if len(self._seen) > ICE_CHECKS_REMEMBERED_MAX:
            del self._seen[next(iter(self._seen))]
        return known != source

    def _roles_clash(self, message: stun.StunMessage) -> bool:
        """§7.3.1.1: the greater tie-breaker controls. True: the peer must give way; else we did, or nobody had to."""
        own = Attribute.ICE_CONTROLLING if self.controlling else Attribute.ICE_CONTROLLED
        theirs = message.attributes.get(own)
        if theirs is None:
            return False
        greater = self._tie_breaker >= theirs
        if greater == self.controlling:
            return True
        self.controlling = not self.controlling
        return False

    def _checked(self, message: stun.StunMessage, source: MediaAddress, now_ns: int) -> None:
        self._prove(source, now_ns)
        mapped = stun.xor_address(source.host, source.port, message.transaction_id)
        answer = [(int(Attribute.XOR_MAPPED_ADDRESS), mapped)]
        self._outputs.append(
            (stun.write(Kind.SUCCESS, message.transaction_id, answer, self.local.password.encode()), source)
        )
        if source.via:  # a TCP connection that the peer made; its check is as good as ours (RFC 6544 §7)
            pair = self._pair(source, priority_of("prflx"))
            if pair is not None and Attribute.USE_CANDIDATE in message.attributes:
                pair.state = State.SUCCEEDED
                self._select(pair, now_ns)
            return
        priority = int.from_bytes(message.attributes.get(Attribute.PRIORITY, b"")[:4], "big")
        pair = self._pair(source, priority)
        if pair is None:
            return
        wants = Attribute.USE_CANDIDATE in message.attributes and not self.controlling
        if pair.state is State.SUCCEEDED:
            if wants:
                self._select(pair, now_ns)
            return
        pair.nominated = pair.nominated or wants
        if self._remote is not None and pair.state is not State.IN_PROGRESS:  # the triggered check, §7.3.1.4
            self._start(pair, now_ns)

    def _refuse(
        self, message: stun.StunMessage, source: MediaAddress, status: int, more: list[tuple[int, bytes]]
    ) -> None:
        reasons = {420: "Unknown Attribute", 487: "Role Conflict"}
        code = (int(Attribute.ERROR_CODE), stun.error_code(status, reasons[status]))
        password = self.local.password.encode()
        self._outputs.append((stun.write(Kind.ERROR, message.transaction_id, [code, *more], password), source))
        if source not in self._proven and not source.via:  # admitted for this answer only; a connection stays
            self._release(source)

    # -- time

    def _expire(self, now_ns: int) -> None:
        for address, seen_ns in list(self._proven.items()):
            if now_ns >= seen_ns + ICE_CONSENT_NS:
                del self._proven[address]
                self._pairs.pop(address, None)
                if self.selected == address:
                    self.selected = None
                self._release(address)

    def _gather_on(self, now_ns: int) -> None:
        if self._gathering is None or now_ns < self._gathering[3]:
            return
        transaction, server, attempts, _ = self._gathering
        if attempts >= len(_RETRY_NS):
            self._gathering = None
            return
        self._outputs.append((stun.write(Kind.REQUEST, transaction, []), server))
        self._gathering = (transaction, server, attempts + 1, now_ns + _RETRY_NS[attempts])

    def _gathered(self, message: stun.StunMessage, source: MediaAddress) -> None:
        if self._gathering is None or source != self._gathering[1]:
            self.dropped["stray response"] += 1
            return
        self._gathering = None
        value = message.attributes.get(Attribute.XOR_MAPPED_ADDRESS)
        found = stun.read_xor_address(value, message.transaction_id) if value is not None else None
        self.mapped = MediaAddress(*found) if found is not None else None
