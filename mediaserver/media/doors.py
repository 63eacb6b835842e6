"""The one port that all browsers share: UDP and TCP, on each local address they reach us by, one number per worker.

Owns the shared sockets, the TCP connections, and whose an address or a name (ICE ufrag) is. Who is unknown may send
STUN only, and only the ufrag in it leads to a leg; whether that leg believes it, ICE says. An address that passed a
leg's check is bound to it and to no other until it is given back. Knows no keys and no SDP.

A leg stays reachable by the worker whose port it was given. When it moves to another worker, further sockets of the
same port, connected to the browser's addresses, go with it: the kernel then sorts its datagrams out by itself.
"""

from __future__ import annotations

import asyncio
import errno
import secrets
import socket
import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from mediaserver.errors import MediaError, QueueFull, StaleHandle
from mediaserver.ext.mailbox import DetachedConn
from mediaserver.limits import (
    ICE_TCP_CONNECTIONS_MAX,
    ICE_TCP_CONNECTIONS_PER_HOST_MAX,
    ICE_TCP_PROVE_S_MAX,
    ICE_TRANSACTIONS_MAX,
    ICE_UFRAG_BYTES_MAX,
    WEBRTC_SOCKET_BYTES,
)
from mediaserver.media.link import WorkerLink
from mediaserver.media.ports import TAKEN, udp_socket
from mediaserver.media.siblings import Siblings
from mediaserver.model import LegHandle, MediaAddress

log = structlog.get_logger(__name__)

_STUN_HEADER_BYTES, _STUN_USERNAME = 20, 0x0006
_STUN_REQUEST, _STUN_ANSWER = b"\0\1", b"\1"  # first bytes of a Binding request; of its success and error responses
_ACCEPTS_PER_TURN = 16  # the loop has others to serve
_AGAIN_S = 0.1
_EXHAUSTED = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))


@dataclass(slots=True)
class Door:
    """The shared sockets of one worker on one local address."""

    link: WorkerLink
    host: str
    port: int
    udp: socket.socket
    tcp: socket.socket | None = None
    native: int = 0  # the worker's handle


@dataclass(slots=True)
class Connection:
    """One TCP connection of a browser, or of somebody who has yet to prove that he is one."""

    link: WorkerLink
    address: MediaAddress  # `via` is our number for it, which it keeps when it moves to another worker
    socket: socket.socket
    native: int = 0
    native_via: int = 0
    leg: LegHandle | None = None
    deadline: asyncio.TimerHandle | None = None
    moving: bool = False


@dataclass(slots=True)
class Place:
    """What a leg has of the shared port."""

    door: Door
    names: set[str] = field(default_factory=set)
    addresses: set[MediaAddress] = field(default_factory=set)
    siblings: Siblings | None = None  # while it lives on another worker than its door's


class Doors:
    """first_port: of worker 0; worker n has first_port + n. Used from the event loop only."""

    def __init__(self, first_port: int, native_of: Callable[[LegHandle], tuple[WorkerLink, int] | None]) -> None:
        """native_of: where a leg lives now; None: it is closed, or on its way between two workers."""
        self.dropped: Counter[str] = Counter()
        self._first_port = first_port
        self._native_of = native_of
        self._doors: dict[tuple[int, str], Door] = {}
        self._names: dict[str, LegHandle] = {}
        self._owners: dict[tuple[int, MediaAddress], LegHandle] = {}
        self._connections: dict[int, Connection] = {}
        self._asked: dict[bytes, LegHandle] = {}  # transaction ids of our own STUN requests, oldest first
        self._by_host: Counter[str] = Counter()  # connections that have proven nothing yet
        self._next_via = 0
        self._closing: set[socket.socket] = set()  # until the worker has let go of them

    # --- doors

    def open(self, link: WorkerLink, host: str) -> Door:
        """The door of this worker on this address, made when it is first needed. Raises MediaError, QueueFull."""
        door = self._doors.get((link.index, host))
        if door is None:
            door = self._make(link, host)
            self._doors[link.index, host] = door
        return door

    def _make(self, link: WorkerLink, host: str) -> Door:
        port = self._first_port + link.index
        try:
            door = Door(link, host, port, udp_socket(host, port, WEBRTC_SOCKET_BYTES))
        except OSError as error:
            raise MediaError(_complaint("udp", host, port, error)) from error
        try:
            door.tcp = _listener(host, port)
            command_id, door.native = link.worker.open_port(door.udp.fileno(), secrets.randbits(64))
        except BaseException as error:
            door.udp.close()
            if door.tcp is not None:
                door.tcp.close()
            if isinstance(error, OSError):
                raise MediaError(_complaint("tcp", host, port, error)) from error
            raise
        link.answer_later(command_id, lambda status, result: None)
        link.keep_apart(door.native, door)
        asyncio.get_running_loop().add_reader(door.tcp, self._accept, door)
        return door

    def close(self) -> None:
        """After the workers have stopped."""
        for connection in self._connections.values():
            if connection.deadline is not None:
                connection.deadline.cancel()
            connection.socket.close()
        for closing in self._closing:
            closing.close()
        for door in self._doors.values():
            door.udp.close()
            if door.tcp is not None:
                asyncio.get_running_loop().remove_reader(door.tcp)
                door.tcp.close()
        self._doors.clear()
        self._connections.clear()
        self._names.clear()
        self._owners.clear()

    # --- names and addresses of a leg

    def name(self, leg: LegHandle, place: Place, ufrag: str) -> None:
        """STUN that asks for this ufrag is this leg's from now on; earlier names stay too (ICE restart)."""
        self._names[ufrag] = leg
        place.names.add(ufrag)

    def bind(self, leg: LegHandle, place: Place, address: MediaAddress) -> bool:
        """The address passed a check of this leg. False: another leg has it, or no more can be bound."""
        key = (place.door.link.index if not address.via else -1, address)
        owner = self._owners.get(key)
        if owner is not None:
            return owner == leg
        if address.via:
            connection = self._connections.get(address.via)
            if connection is None:
                return False
            self._prove(connection, leg)
        self._owners[key] = leg
        place.addresses.add(address)
        if place.siblings is not None:
            place.siblings.expect(address)
        self._tell(leg, place, address, bound=True)
        return True

    def unbind(self, leg: LegHandle, place: Place, address: MediaAddress) -> None:
        """It does not consent any more, or the leg is gone."""
        if address not in place.addresses:
            return
        place.addresses.discard(address)
        if place.siblings is not None:
            place.siblings.forget(address)
        self._owners.pop((place.door.link.index if not address.via else -1, address), None)
        if address.via:
            self._end(address.via)
        else:
            self._tell(leg, place, address, bound=False)

    def forget(self, leg: LegHandle, place: Place) -> None:
        """The leg is closed."""
        for address in list(place.addresses):
            self.unbind(leg, place, address)
        for name in place.names:
            if self._names.get(name) == leg:
                del self._names[name]
        _close_siblings(place)

    def _tell(self, leg: LegHandle, place: Place, address: MediaAddress, *, bound: bool) -> None:
        """The worker's table, or the connection, learns whose the address is."""
        lives = self._native_of(leg)
        if address.via:
            connection = self._connections.get(address.via)
            if connection is not None and not connection.moving and lives is not None and lives[0] is connection.link:
                _order(connection.link, lambda: connection.link.worker.bind_conn(connection.native, lives[1]))
            return
        door = place.door
        native = lives[1] if bound and lives is not None and lives[0] is door.link else 0
        _order(door.link, lambda: door.link.worker.bind(door.native, address.host, address.port, native))

    # --- what comes in

    def leg_of(self, kept: Door | Connection, data: bytes) -> LegHandle | None:
        """Whose a datagram is that the worker could not place."""
        if isinstance(kept, Connection) and kept.leg is not None:
            return kept.leg
        if data[:1] == _STUN_ANSWER:  # to a check of ours, from an address that has proven nothing yet
            return self._asked.pop(data[8:_STUN_HEADER_BYTES], None)
        leg = self._names.get(stun_ufrag(data))
        if leg is None:
            self.dropped["unknown ufrag"] += 1
        return leg

    def address(self, link: WorkerLink, raw: tuple[str, int] | tuple[str, int, int]) -> MediaAddress | None:
        """A worker's address as one of ours; None: of a connection that is gone."""
        if len(raw) == 2:
            return MediaAddress(*raw)
        for connection in self._connections.values():
            if connection.link is link and connection.native_via == raw[2]:
                return connection.address
        return None

    def native_address(self, address: MediaAddress) -> MediaAddress | None:
        """The other way round; None: the connection is gone."""
        if not address.via:
            return address
        connection = self._connections.get(address.via)
        return MediaAddress(address.host, address.port, connection.native_via) if connection is not None else None

    # --- what goes out

    def send(self, leg: LegHandle, place: Place, data: bytes, to: MediaAddress) -> bool:
        """By the leg's port, or framed by the connection. False: not taken, as if lost on the way."""
        if data[:2] == _STUN_REQUEST:
            self._asked[data[8:_STUN_HEADER_BYTES]] = leg
            if len(self._asked) > ICE_TRANSACTIONS_MAX:
                del self._asked[next(iter(self._asked))]
        if not to.via:
            try:
                place.door.udp.sendto(data, (to.host, to.port))
            except OSError:
                return False
            return True
        connection = self._connections.get(to.via)
        if connection is None or connection.moving:
            return False
        return _order(connection.link, lambda: connection.link.worker.send_conn(connection.native, data))

    # --- moving between workers

    def move_out(self, leg: LegHandle, place: Place) -> None:
        """Before the leg leaves its worker: the port's table lets go of it."""
        for address in place.addresses:
            if not address.via:
                self._tell(leg, place, address, bound=False)

    async def move_in(self, leg: LegHandle, place: Place, link: WorkerLink) -> None:
        """After it has come to another worker: its connections follow, and the table learns when it is home again."""
        for address in list(place.addresses):
            if not address.via:
                self._tell(leg, place, address, bound=True)
            elif (connection := self._connections.get(address.via)) is not None and connection.link is not link:
                await self._carry(connection, link)
                self._tell(leg, place, address, bound=True)

    async def _carry(self, connection: Connection, link: WorkerLink) -> None:
        connection.moving = True
        try:
            detached = await connection.link.reply(connection.link.worker.close_conn(connection.native))
            connection.link.drop_apart(connection.native)
            command_id, connection.native, connection.native_via = link.worker.adopt_conn(detached)
            connection.link = link
            link.keep_apart(connection.native, connection)
            await link.reply(command_id)
        finally:
            connection.moving = False

    def socket_for(self, place: Place, link: WorkerLink, remote: MediaAddress | None) -> tuple[int, bool, int]:
        """(descriptor, whether it is the shared one, a second descriptor or -1) for a leg that no worker has now and
        that is about to live on this one."""
        if link is place.door.link:
            _close_siblings(place)  # else they would hear its browser, and nobody them
            return place.door.udp.fileno(), True, -1
        if place.siblings is None:
            place.siblings = Siblings(place.door.udp, place.door.host, place.door.port)
        self.aim(place, remote)
        for address in place.addresses:
            place.siblings.expect(address)
        return place.siblings.first.fileno(), False, place.siblings.second.fileno()

    def aim(self, place: Place, remote: MediaAddress | None) -> None:
        """The leg's browser is now there: its own socket, if it has one, hears that address only."""
        if place.siblings is not None and remote is not None:
            place.siblings.aim(remote)

    # --- TCP

    def _accept(self, door: Door) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            if door.tcp is None:
                return
            try:
                accepted, peer = door.tcp.accept()
            except OSError as error:
                if error.errno in _EXHAUSTED:  # who waits still waits: the loop would come here all the time
                    loop = asyncio.get_running_loop()
                    loop.remove_reader(door.tcp)
                    loop.call_later(_AGAIN_S, self._accept_again, door)
                return
            if not self._admit(door, accepted, MediaAddress(peer[0], peer[1])):
                self.dropped["too many connections"] += 1
                accepted.close()

    def _accept_again(self, door: Door) -> None:
        if door.tcp is not None and door.tcp.fileno() >= 0:  # not closed meanwhile
            asyncio.get_running_loop().add_reader(door.tcp, self._accept, door)

    def _admit(self, door: Door, accepted: socket.socket, peer: MediaAddress) -> bool:
        if len(self._connections) >= ICE_TCP_CONNECTIONS_MAX:
            return False
        if self._by_host[peer.host] >= ICE_TCP_CONNECTIONS_PER_HOST_MAX:
            return False
        accepted.setblocking(False)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._next_via += 1
        connection = Connection(door.link, MediaAddress(peer.host, peer.port, self._next_via), accepted)
        worker = door.link.worker
        try:
            command_id, connection.native, connection.native_via = worker.open_conn(
                accepted.fileno(), peer.host, peer.port
            )
        except (QueueFull, MemoryError):
            return False
        door.link.answer_later(command_id, lambda status, result: None)
        door.link.keep_apart(connection.native, connection)
        self._connections[connection.address.via] = connection
        self._by_host[peer.host] += 1
        connection.deadline = asyncio.get_running_loop().call_later(
            ICE_TCP_PROVE_S_MAX, self._end, connection.address.via
        )
        return True

    def _prove(self, connection: Connection, leg: LegHandle) -> None:
        connection.leg = leg
        if connection.deadline is not None:
            connection.deadline.cancel()
            connection.deadline = None
            self._less(connection)

    def _less(self, connection: Connection) -> None:
        self._by_host[connection.address.host] -= 1
        if self._by_host[connection.address.host] <= 0:
            del self._by_host[connection.address.host]

    def closed(self, connection: Connection) -> None:
        """The peer has closed it, or sent what is no frame."""
        self._end(connection.address.via)

    def _end(self, via: int) -> None:
        connection = self._connections.get(via)
        if connection is None or connection.moving:
            return
        del self._connections[via]
        if connection.deadline is not None:
            connection.deadline.cancel()
            self._less(connection)
        if connection.leg is not None:
            self._owners.pop((-1, connection.address), None)
        connection.link.drop_apart(connection.native)
        self._closing.add(connection.socket)
        self._let_go(connection)

    def _let_go(self, connection: Connection) -> None:
        """The descriptor may be closed only when the worker writes to it no more."""

        def done(status: int, result: DetachedConn | None) -> None:
            connection.socket.close()
            self._closing.discard(connection.socket)
            self.dropped["frames for a slow reader"] += result.frames_dropped if result is not None else 0

        try:
            connection.link.answer_later(connection.link.worker.close_conn(connection.native), done)
        except QueueFull:
            asyncio.get_running_loop().call_later(_AGAIN_S, self._let_go, connection)


def stun_ufrag(data: bytes) -> str:
    """The part of USERNAME that names the leg, RFC 8445 §7.2.2; "" when there is none. Reads, and believes nothing."""
    at = _STUN_HEADER_BYTES
    while at + 4 <= len(data):
        kind, size = struct.unpack_from("!HH", data, at)
        if kind == _STUN_USERNAME:
            name = data[at + 4 : at + 4 + min(size, ICE_UFRAG_BYTES_MAX)]
            return name.partition(b":")[0].decode("ascii", "replace")
        at += 4 + size + -size % 4
    return ""


def _order(link: WorkerLink, give: Callable[[], int]) -> bool:
    """A command nobody waits for. False: the queue is full, or the thing is gone."""
    try:
        link.answer_later(give(), lambda status, result: None)
    except (QueueFull, StaleHandle, ValueError):
        return False
    return True


def _complaint(protocol: str, host: str, port: int, error: OSError) -> str:
    if error.errno in TAKEN:
        return f"webrtc.port {port}/{protocol} on {host} is taken by another program or not allowed; set webrtc.port"
    return f"cannot open {port}/{protocol} for browsers on {host}: {error.strerror}"


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # TCP: over connections of a former run
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((host, port))
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener


def _close_siblings(place: Place) -> None:
    if place.siblings is not None:
        place.siblings.close()
        place.siblings = None
