"""A bad network in user space, the same from the same seed: loss in bursts, delay, jitter, reorder, duplicates, rate.

As a UDP proxy for tests, and by hand, where the kernel has no netem:

    python -m tests.support.impair --listen 127.0.0.2:8444 --to 127.0.0.1:8444 --loss 5 --burst 3 --delay 40 --jitter 15
    python -m tests.support.impair --listen 127.0.0.2:5004 --to 127.0.0.1:5004 --rate 300 --queue 200 --seed 7

A browser is led through it by `webrtc.external_addresses` (the address of --listen, the same port). `Line` is the
network in one direction without sockets or clock: give it a packet and the time, it says when copies of it arrive.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import time
from collections import Counter
from dataclasses import dataclass, field, replace

FLOWS_MAX = 64  # clients of one proxy
MS = 1_000_000


@dataclass(frozen=True)
class Impairment:
    """Of one direction. Fractions are 0..1."""

    loss: float = 0.0  # share of packets lost
    burst: float = 1.0  # mean length of a run of losses, in packets; 1: as independent as the share allows
    delay_ms: float = 0.0
    jitter_ms: float = 0.0  # standard deviation on top of the delay; never early, and in order
    reorder: float = 0.0  # share of packets held back by reorder_ms, which others overtake
    reorder_ms: float = 25.0
    duplicate: float = 0.0  # share of packets that arrive twice
    rate_kbps: float = 0.0  # of the narrowest link; 0: no limit
    queue_ms: float = 200.0  # what waits before it; the rest is lost

    def __post_init__(self) -> None:
        for name in ("loss", "reorder", "duplicate"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; a share is 0..1")
        if self.burst < 1.0 or min(self.delay_ms, self.jitter_ms, self.rate_kbps, self.queue_ms) < 0:
            raise ValueError("burst is at least 1; times and rates are not negative")


@dataclass
class Line:
    """One direction. counts: lost, queue, late, duplicate, passed."""

    impairment: Impairment
    rng: random.Random
    counts: Counter[str] = field(default_factory=Counter)
    _bad: bool = False  # the state of Gilbert's model: every packet is lost in it, none outside
    _busy_until_ns: int = 0
    _last_ns: int = 0

    def put(self, size: int, now_ns: int) -> list[int]:
        """When copies of a packet of so many bytes arrive; none: it is lost."""
        if self._lost():
            self.counts["lost"] += 1
            return []
        left_ns = self._through_the_narrow(size, now_ns)
        if left_ns is None:
            self.counts["queue"] += 1
            return []
        self.counts["passed"] += 1
        arrivals = [self._arrival(left_ns)]
        if self.rng.random() < self.impairment.duplicate:
            self.counts["duplicate"] += 1
            arrivals.append(self._arrival(left_ns))
        return arrivals

    def _lost(self) -> bool:
        """Gilbert: from good to bad with p, back with r, so that 1/r is the mean burst and p/(p+r) the share."""
        loss, back = self.impairment.loss, 1.0 / self.impairment.burst
        if loss >= 1.0:
            return True
        if loss <= 0.0:
            return False
        into = min(1.0, back * loss / (1.0 - loss))
        if self.impairment.burst <= 1.0:  # independent: state has no memory
            self._bad = self.rng.random() < loss
        elif self._bad:
            self._bad = self.rng.random() >= back
        else:
            self._bad = self.rng.random() < into
        return self._bad

    def _through_the_narrow(self, size: int, now_ns: int) -> int | None:
        if not self.impairment.rate_kbps:
            return now_ns
        start_ns = max(now_ns, self._busy_until_ns)
        if start_ns - now_ns > self.impairment.queue_ms * MS:
            return None
        self._busy_until_ns = start_ns + int(size * 8 / self.impairment.rate_kbps * MS)
        return self._busy_until_ns

    def _arrival(self, left_ns: int) -> int:
        wanted = self.impairment
        arrival_ns = left_ns + int(wanted.delay_ms * MS)
        if wanted.jitter_ms:
            arrival_ns += int(abs(self.rng.gauss(0.0, wanted.jitter_ms)) * MS)
        if self.rng.random() < wanted.reorder:
            self.counts["late"] += 1
            return arrival_ns + int(wanted.reorder_ms * MS)
        self._last_ns = max(self._last_ns, arrival_ns)
        return self._last_ns


Address = tuple[str, int]


class _End(asyncio.DatagramProtocol):
    def __init__(self, proxy: Proxy, flow: _Flow | None) -> None:
        self.proxy, self.flow = proxy, flow

    def datagram_received(self, data: bytes, source: Address) -> None:
        if self.flow is None:
            self.proxy.from_client(data, source[:2])
        else:
            self.proxy.from_server(self.flow, data)


@dataclass
class _Flow:
    client: Address
    up: Line
    down: Line
    outside: asyncio.DatagramTransport | None = None
    early: list[bytes] = field(default_factory=list)  # while its socket is being made


class Proxy:
    """Between clients who send to `listen` and the server at `to`; each client has a socket of its own behind it.

    impair() changes the network while it runs. Use as an async context manager.
    """

    def __init__(
        self, listen: Address, to: Address, up: Impairment, down: Impairment | None = None, seed: int = 1
    ) -> None:
        """up: towards the server; down: back, the same if None."""
        self.listen, self.to = listen, to
        self.streams: Counter[tuple[str, str, int]] = Counter()  # RTP: ("up" or "down", "lost" or "passed", SSRC)
        self.flows: dict[Address, _Flow] = {}
        self._up, self._down = up, down or up
        self._rng = random.Random(seed)
        self._inside: asyncio.DatagramTransport | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Proxy:
        loop = asyncio.get_running_loop()
        self._inside, _ = await loop.create_datagram_endpoint(lambda: _End(self, None), local_addr=self.listen)
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        for transport in (self._inside, *(flow.outside for flow in self.flows.values())):
            if transport is not None:
                transport.abort()

    def impair(self, up: Impairment, down: Impairment | None = None) -> None:
        self._up, self._down = up, down or up
        for flow in self.flows.values():
            flow.up.impairment, flow.down.impairment = self._up, self._down

    def counts(self) -> Counter[str]:
        """Of all flows: up_lost, down_passed, …"""
        total: Counter[str] = Counter()
        for flow in self.flows.values():
            for name, line in (("up", flow.up), ("down", flow.down)):
                total.update({f"{name}_{what}": number for what, number in line.counts.items()})
        return total

    def from_client(self, data: bytes, source: Address) -> None:
        flow = self.flows.get(source)
        if flow is None:
            if len(self.flows) >= FLOWS_MAX:
                return
            flow = self.flows[source] = _Flow(source, self._line(self._up), self._line(self._down))
            task = asyncio.ensure_future(self._open(flow))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._later(flow, flow.up, data, up=True)

    def from_server(self, flow: _Flow, data: bytes) -> None:
        self._later(flow, flow.down, data, up=False)

    def _line(self, impairment: Impairment) -> Line:
        return Line(impairment, random.Random(self._rng.getrandbits(64)))

    async def _open(self, flow: _Flow) -> None:
        loop = asyncio.get_running_loop()
        flow.outside, _ = await loop.create_datagram_endpoint(lambda: _End(self, flow), remote_addr=self.to)
        for data in flow.early:
            flow.outside.sendto(data)
        flow.early.clear()

    def _later(self, flow: _Flow, line: Line, data: bytes, *, up: bool) -> None:
        loop, now_ns = asyncio.get_running_loop(), time.monotonic_ns()
        arrivals = line.put(len(data) + 28, now_ns)  # with IPv4 and UDP headers, as a link counts
        if len(data) >= 12 and 128 <= data[0] < 192 and not 192 <= data[1] < 224:  # RFC 7983, RFC 5761
            what = "passed" if arrivals else "lost"
            self.streams["up" if up else "down", what, int.from_bytes(data[8:12], "big")] += 1
        for at_ns in arrivals:
            if at_ns <= now_ns:
                self._send(flow, data, up)
            else:
                loop.call_at(loop.time() + (at_ns - now_ns) / 1e9, self._send, flow, data, up)

    def _send(self, flow: _Flow, data: bytes, up: bool) -> None:
        if up and flow.outside is None:
            flow.early.append(data)
        elif up and flow.outside is not None:
            flow.outside.sendto(data)
        elif self._inside is not None and not self._inside.is_closing():
            self._inside.sendto(data, flow.client)


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


async def _by_hand(options: argparse.Namespace) -> None:
    base = Impairment(
        loss=options.loss / 100,
        burst=options.burst,
        delay_ms=options.delay,
        jitter_ms=options.jitter,
        reorder=options.reorder / 100,
        duplicate=options.duplicate / 100,
        rate_kbps=options.rate,
        queue_ms=options.queue,
    )
    down = replace(base, loss=options.down_loss / 100) if options.down_loss is not None else base
    async with Proxy(options.listen, options.to, base, down, options.seed) as proxy:
        while True:
            await asyncio.sleep(5)
            print(f"{len(proxy.flows)} clients", dict(sorted(proxy.counts().items())), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.impair",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--listen", type=_address, required=True, metavar="HOST:PORT", help="where clients send to")
    parser.add_argument("--to", type=_address, required=True, metavar="HOST:PORT", help="the server")
    parser.add_argument("--loss", type=float, default=0.0, metavar="PERCENT")
    parser.add_argument("--down-loss", type=float, metavar="PERCENT", help="towards the client; default: as --loss")
    parser.add_argument("--burst", type=float, default=1.0, metavar="PACKETS", help="mean length of a run of losses")
    parser.add_argument("--delay", type=float, default=0.0, metavar="MS")
    parser.add_argument("--jitter", type=float, default=0.0, metavar="MS")
    parser.add_argument("--reorder", type=float, default=0.0, metavar="PERCENT")
    parser.add_argument("--duplicate", type=float, default=0.0, metavar="PERCENT")
    parser.add_argument("--rate", type=float, default=0.0, metavar="KBIT/S", help="0: no limit")
    parser.add_argument("--queue", type=float, default=200.0, metavar="MS", help="what waits before a narrow link")
    parser.add_argument("--seed", type=int, default=1)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_by_hand(parser.parse_args()))


if __name__ == "__main__":
    main()
