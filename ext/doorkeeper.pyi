"""The commands for shared ports and TCP connections of one worker; see doorkeeper.pyx."""

from mediaserver.ext.mailbox import DetachedConn, Mailbox

class Doorkeeper(Mailbox):
    """Every command method returns the command's id, those that open something also its handle.

    Raises QueueFull, StaleHandle, and ValueError for an address that is no literal.
    """

    def open_port(self, socket: int, seed: int) -> tuple[int, int]:
        """The socket stays the caller's to close, after the reply to close_port. seed: random, 64 bits."""

    def close_port(self, port: int) -> int: ...
    def bind(self, port: int, host: str, udp_port: int, leg: int) -> int:
        """What comes from this address is the leg's from now on; leg 0: nobody's. STATUS_FULL: too many are bound."""

    def open_conn(self, socket: int, host: str, tcp_port: int) -> tuple[int, int, int]:
        """(command id, handle, the number that addresses carry as `via`). The socket stays the caller's to close."""

    def bind_conn(self, conn: int, leg: int) -> int: ...
    def send_conn(self, conn: int, data: bytes) -> int:
        """One frame, at most 1500 bytes. STATUS_FULL: the peer reads too slowly, it is dropped."""

    def close_conn(self, conn: int) -> int:
        """The reply's result is a DetachedConn, for another worker's adopt_conn or to be let go."""

    def adopt_conn(self, detached: DetachedConn) -> tuple[int, int, int]:
        """As open_conn: (command id, handle, via)."""
