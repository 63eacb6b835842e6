"""A bad network between one phone of the demo and the server: packets lost in bursts, and late by turns.

Owns a UDP port that stands in the phone's session description. The phone sends there as well, so both see one address.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Impairment:
    """Of both directions. loss: share of packets lost, 0..1. burst: mean length of a run of losses, >= 1.

    jitter_ms: standard deviation of the delay; it may put packets out of order.
    """

    loss: float = 0.0
    burst: float = 1.0
    jitter_ms: float = 0.0


class Line:
    """One direction: Gilbert's two states, every packet lost in the bad one. The same from the same seed."""

    def __init__(self, impairment: Impairment, rng: random.Random) -> None:
        self._rng = rng
        self._jitter_s = impairment.jitter_ms / 1000
        self._leave = 1.0 / max(1.0, impairment.burst)
        self._enter = min(1.0, self._leave * impairment.loss / max(1e-9, 1.0 - impairment.loss))
        self._bad = False

    def delay_s(self) -> float | None:
        """Of the next packet; None: it is lost."""
        self._bad = self._rng.random() >= self._leave if self._bad else self._rng.random() < self._enter
        return None if self._bad else abs(self._rng.gauss(0.0, self._jitter_s))


class BadNetwork(asyncio.DatagramProtocol):
    """`phone` and `server` are told once they are known; what comes from elsewhere or before is dropped."""

    def __init__(self, impairment: Impairment, seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311  (a network's mood, no secret)
        self.phone: Address | None = None
        self.server: Address | None = None
        self._up, self._down = Line(impairment, rng), Line(impairment, rng)
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self, host: str) -> int:
        """Returns its port. Raises OSError."""
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: self, local_addr=(host, 0))
        self._transport = transport
        port: int = transport.get_extra_info("sockname")[1]
        return port

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def datagram_received(self, data: bytes, source: Address) -> None:
        if source[:2] == self.phone:
            self._pass(self._up, data, self.server)
        elif source[:2] == self.server:
            self._pass(self._down, data, self.phone)

    def _pass(self, line: Line, data: bytes, to: Address | None) -> None:
        delay_s = line.delay_s()
        if delay_s is not None and to is not None:
            asyncio.get_running_loop().call_later(delay_s, self._send, data, to)

    def _send(self, data: bytes, to: Address) -> None:
        if self._transport is not None:
            self._transport.sendto(data, to)
