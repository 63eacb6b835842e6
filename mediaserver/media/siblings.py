"""Sockets of a shared port for one browser whose leg lives on another worker than the port's: each is connected, so
that the kernel itself brings them what comes from one address of the browser, and nothing else.

Two, because a browser that changes its candidate pair speaks from the new one before it nominates it (RFC 8445 §12.2):
the first hears the address it is sent to, the second the other that passed a check last.
"""

from __future__ import annotations

import contextlib
import socket

from mediaserver.errors import NoPortFree
from mediaserver.limits import WEBRTC_SOCKET_BYTES
from mediaserver.media.ports import udp_socket
from mediaserver.model import MediaAddress

_DISCARD_PORT = 9  # RFC 863: nobody speaks from there


class Siblings:
    """Raises NoPortFree."""

    def __init__(self, udp: socket.socket, host: str, port: int) -> None:
        """udp: the port's own socket."""
        self._nobody = MediaAddress(host, _DISCARD_PORT)
        self._sent_to: MediaAddress | None = None
        self._other: MediaAddress | None = None
        self.first = _another(udp, host, port)
        self._connect(self.first, None)
        try:
            self.second = _another(udp, host, port)
        except BaseException:
            self.first.close()
            raise
        self._connect(self.second, None)

    def aim(self, remote: MediaAddress) -> None:
        """The browser is sent to there now; where it was before it may still speak for a moment."""
        if remote.via or remote == self._sent_to:
            return
        former, self._sent_to = self._sent_to, remote
        self._connect(self.first, remote)
        if self._other is None or self._other == remote:
            self._other = former
            self._connect(self.second, former)

    def expect(self, address: MediaAddress) -> None:
        """It passed a check."""
        if not address.via and address != self._sent_to:
            self._other = address
            self._connect(self.second, address)

    def forget(self, address: MediaAddress) -> None:
        """It does not consent any more."""
        if address == self._other:
            self._other = None
            self._connect(self.second, None)

    def close(self) -> None:
        self.first.close()
        self.second.close()

    def _connect(self, sibling: socket.socket, to: MediaAddress | None) -> None:
        """None: until it has an address it must hear nobody; the other browsers' are not its."""
        to = to or self._nobody
        with contextlib.suppress(OSError):
            sibling.connect((to.host, to.port))


def _another(udp: socket.socket, host: str, port: int) -> socket.socket:
    """A further socket of the port. The port's own allows sharing for this moment only: no other program may join. The
    siblings go on allowing it, or the next leg that moves could have none."""
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        return udp_socket(host, port, WEBRTC_SOCKET_BYTES, shared=True)
    except OSError as error:
        raise NoPortFree(f"no further socket for port {port}: {error.strerror}") from error
    finally:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
