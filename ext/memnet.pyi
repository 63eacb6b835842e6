"""A network in memory, so that a worker runs in virtual time from a script."""

class MemoryNetwork:
    """Sockets are any numbers 0..65535. deliver() puts datagrams before the worker; sent() takes what it has sent."""

    def __init__(self) -> None: ...
    def deliver(self, socket: int, data: bytes, host: str, port: int, at_ns: int) -> None:
        """Raises ValueError for an address that is not a literal."""

    def sent(self) -> list[tuple[int, bytes, tuple[str, int], int]]:
        """(socket, datagram, destination, virtual time) in order of sending, since the last call."""

    def take_bytes(self, count: int) -> None:
        """TCP connections take so many bytes more, then none; -1: all."""

    def refuse_sends(self, count: int) -> None: ...
    @property
    def waiting(self) -> int: ...
    @property
    def watched(self) -> int: ...
