import socket

from mediaserver.ext.tap import TapRing

class TapForward:
    """A tap whose packets go on to another recorder as they came, within the window of permission.

    `shut` belongs to the event loop's thread, `step` to one other.
    """

    sent: int
    refused: int  # by the socket
    outside: int  # arrived outside the window

    def __init__(self, ring: TapRing, socket: socket.socket, from_ns: int) -> None:
        """socket: connected, UDP."""

    def shut(self, until_ns: int) -> None:
        """Nothing that arrives from then on is sent. The first time given stays."""

    def step(self) -> int:
        """Sends what waits, without the GIL. Returns packets sent."""
