"""One worker's post office on the control side; see mailbox.pyx. Worker (ext/control) adds the commands."""

from typing import Any

from mediaserver.ext.memnet import MemoryNetwork
from mediaserver.ext.net import UdpNetwork

class DetachedLeg:
    """A whole leg between two workers."""

    def use_socket(self, rtp_socket: int, shares_port: bool, second_socket: int) -> None:
        """The RTP socket it has from now on: a port's shared one, or one of its own."""

class DetachedConn:
    """A TCP connection that no worker has, with what was half read and half sent."""

    @property
    def frames_dropped(self) -> int:
        """Because the peer read too slowly."""

class Mailbox:
    def __init__(
        self,
        network: UdpNetwork | MemoryNetwork,
        *,
        legs_max: int,
        bridges_max: int,
        pool_size: int,
        queue_size: int,
        seed: int,
        wall_offset_ns: int,
        silence_ns: int,
        options: dict[str, int],
        bell: int = -1,
    ) -> None: ...
    def run(self) -> None:
        """The thread's whole life, without the GIL, until `stop`."""

    def stop(self) -> None: ...
    def step(self, now_ns: int) -> int:
        """Everything due at now_ns (virtual time); when to call again at the latest."""

    def drain(self) -> list[tuple[Any, ...]]:
        """("reply", id, status, result), ("digit", leg, digit, ms, source), ("source", leg, (host, port)),
        ("silence", leg, silent), ("play_ended", leg, play_id, completed, sent), ("tap_behind", tap),
        ("speaker", bridge, leg).
        """

    def leg_stats(self, handle: int) -> dict[str, Any]:
        """Fields of LegSnapshot by name; at most 100 ms old. Raises StaleHandle."""

    def counters(self) -> dict[str, int]:
        """Fields of Counters by name; at most 20 ms old while legs are open."""

    @property
    def unanswered(self) -> int: ...
    @property
    def gathering_ns(self) -> int:
        """How long what arrives is let gather before the next step; virtual time takes no notice of it."""
