"""The door before SIP over TLS: so many connections of one source, and in all, may be shaking hands at a time.

A connection that has not finished its handshake is known to nobody behind, yet holds a descriptor. Owns accepting and
the counts until the handshake is over or given up; what a connection may do then is `transport`'s.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import Counter
from collections.abc import Callable

from mediaserver.limits import SIP_CONNECT_MS_MAX, SIP_HANDSHAKES_MAX, SIP_HANDSHAKES_PER_SOURCE_MAX
from mediaserver.sip.counters import SipCounters

_BACKLOG = 512
_TIRED_S = 0.1  # before accepting again when the process has no descriptor left


class TlsDoor:
    """One listening socket, which it owns. connection: makes the protocol of an accepted connection."""

    def __init__(
        self,
        listener: socket.socket,
        tls: ssl.SSLContext,
        connection: Callable[[], asyncio.Protocol],
        counters: SipCounters,
    ) -> None:
        self._listener, self._tls, self._connection, self._counters = listener, tls, connection, counters
        self._greeting: Counter[str] = Counter()  # handshakes under way, by source
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        self._listener.listen(_BACKLOG)
        self._spawn(self._accept())

    async def close(self) -> None:
        """Ends listening and every handshake under way. Idempotent."""
        tasks, self._tasks = list(self._tasks), set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._listener.close()

    def _spawn(self, work: object) -> None:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(work)  # type: ignore[arg-type]
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(self._listener)
            except OSError:  # no descriptor left; or it was gone before we looked
                self._counters.send_errors["accept"] += 1
                await asyncio.sleep(_TIRED_S)
                continue
            source = str(address[0])
            full = self._greeting.total() >= SIP_HANDSHAKES_MAX
            if full or self._greeting[source] >= SIP_HANDSHAKES_PER_SOURCE_MAX:
                connection.close()
                self._counters.connections_refused += 1
                continue
            self._greeting[source] += 1
            self._spawn(self._greet(connection, source))

    async def _greet(self, connection: socket.socket, source: str) -> None:
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                self._connection, connection, ssl=self._tls, ssl_handshake_timeout=SIP_CONNECT_MS_MAX / 1000
            )
        except (OSError, ssl.SSLError, TimeoutError):  # no TLS, or none in time
            self._counters.handshakes_failed += 1
            with contextlib.suppress(OSError):
                connection.close()
        except BaseException:
            connection.close()
            raise
        finally:
            self._greeting[source] -= 1
            if not self._greeting[source]:
                del self._greeting[source]
