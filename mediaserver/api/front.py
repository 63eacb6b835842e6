"""The door before HTTPS: takes connections, so many of one source and in all, and gives each ten seconds to say hello.

A connection that says nothing costs a descriptor, and without descriptors there is no call: whoever opens thousands is
refused before TLS begins. Owns the listening sockets and the counts; what is spoken behind it is the runner's.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import ssl
from collections import Counter
from collections.abc import Callable

import structlog

from mediaserver.limits import HTTP_CONNECTIONS_MAX, HTTP_DESCRIPTORS_SHARE, HTTP_HELLO_S_MAX

log = structlog.get_logger()
_BACKLOG = 256
_SWEEP_S = 1.0
_COMPLAIN_S = 60.0  # between two lines that say the same
_TIRED_S = 0.1  # before accepting again when the process has no descriptor left


def connections_max() -> int:
    """In all: a share of the descriptors that this process may have."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min(HTTP_CONNECTIONS_MAX, int(soft * HTTP_DESCRIPTORS_SHARE))


class Front:
    """`open` listens; `close` ends the listening, not what was accepted."""

    def __init__(
        self, protocol: Callable[[], asyncio.Protocol], tls: ssl.SSLContext, *, most: int | None = None
    ) -> None:
        """most: connections in all; one source gets half of them."""
        self._protocol, self._tls = protocol, tls
        self._most = most if most is not None else connections_max()
        self.refused = 0
        self._open: dict[asyncio.BaseTransport, str] = {}
        self._of: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sockets: list[socket.socket] = []
        self._complained = -_COMPLAIN_S

    async def open(self, host: str, port: int) -> int:
        """The port. `::` means IPv4 too, on a socket of its own, as for SIP. Raises OSError."""
        loop = asyncio.get_running_loop()
        try:
            for family, kind, protocol, _, address in await loop.getaddrinfo(
                None if host in ("", "::") else host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            ):
                self._listen(family, kind, protocol, address)
        except BaseException:
            await self.close()
            raise
        for listener in self._sockets:
            self._spawn(self._accept(listener))
        self._spawn(self._sweep())
        return int(self._sockets[0].getsockname()[1])

    def _listen(self, family: int, kind: int, protocol: int, address: tuple[object, ...]) -> None:
        listener = socket.socket(family, kind, protocol)
        self._sockets.append(listener)
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)

    async def close(self) -> None:
        """Idempotent."""
        tasks, self._tasks = list(self._tasks), set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for listener in self._sockets:
            listener.close()
        self._sockets.clear()

    def _spawn(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(listener)
            except OSError as error:  # no descriptor left; or it was gone before we looked
                self._complain("https cannot accept", error=error.strerror or str(error))
                await asyncio.sleep(_TIRED_S)
                continue
            source = str(address[0])
            if len(self._open) >= self._most or self._of[source] >= self._most // 2:
                connection.close()
                self.refused += 1
                self._complain("https connections refused", source=source, refused=self.refused, most=self._most)
                continue
            self._of[source] += 1
            self._spawn(self._greet(connection, source))

    async def _greet(self, connection: socket.socket, source: str) -> None:
        loop = asyncio.get_running_loop()
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            transport, _ = await loop.connect_accepted_socket(
                self._protocol, connection, ssl=self._tls, ssl_handshake_timeout=HTTP_HELLO_S_MAX
            )
        except (OSError, ssl.SSLError, TimeoutError):  # no TLS, or none in time: nobody's loss
            self._gone(source)
            with contextlib.suppress(OSError):
                connection.close()
        except BaseException:
            self._gone(source)
            connection.close()
            raise
        else:
            self._open[transport] = source

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_S)
            for transport in [one for one in self._open if one.is_closing()]:
                self._gone(self._open.pop(transport))

    def _gone(self, source: str) -> None:
        self._of[source] -= 1
        if self._of[source] <= 0:
            del self._of[source]

    def _complain(self, event: str, **facts: object) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._complained >= _COMPLAIN_S:
            self._complained = now
            log.warning(event, **facts)
