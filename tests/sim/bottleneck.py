"""A narrow way between a leg and a browser: a queue in front of a rate, seeded loss, and a browser's feedback.

The receiver's half of transport-wide congestion control, written from the draft: it tells the arrival of every numbered
packet each 50 ms, by run-length and two-bit chunks of its own.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field

from tests.sim.cameras import EXTENSIONS, VideoPacket, VideoWorld
from tests.sim.world import MS, Phone


@dataclass
class Link:
    """rate_bps with a queue of queue_ms before packets are dropped; loss: share lost on top."""

    rate_bps: int
    queue_ms: int = 300
    loss: float = 0.0
    delay_ms: int = 20
    free_ns: int = 0  # when the last packet taken will have left
    late_ns: list[tuple[int, int]] = field(default_factory=list)  # (arrival, waited) of packets of sound

    def arrival_ns(self, size: int, at_ns: int, chance: random.Random) -> int | None:
        """When a packet sent at at_ns arrives; None: dropped."""
        start = max(self.free_ns, at_ns)
        if start - at_ns > self.queue_ms * MS or chance.random() < self.loss:
            return None
        self.free_ns = start + size * 8 * 1_000_000_000 // self.rate_bps
        return self.free_ns + self.delay_ms * MS


class NarrowWorld(VideoWorld):
    """VideoWorld in which one party is behind a Link."""

    def __init__(self, link: Link, **options: int) -> None:
        super().__init__(**options)
        self.link = link
        self.behind: Phone | None = None
        self.chance = random.Random(1)
        self.under_way: list[tuple[int, bytes]] = []
        self.arrived: dict[int, int] = {}  # transport-wide number, unwrapped -> ns
        self.highest = -1
        self.told = -1
        self.told_ns = 0
        self.feedback_number = 0
        self.sound_waited_ms: list[tuple[int, float]] = []

    def deliver(self, phone: Phone, data: bytes, at_ns: int) -> None:
        if phone is not self.behind:
            super().deliver(phone, data, at_ns)
            return
        arrival = self.link.arrival_ns(len(data) + 28, at_ns, self.chance)
        if arrival is not None:
            self.under_way.append((arrival, data))
            if data[1] & 0x7F == 0:
                waited = (arrival - at_ns) / MS - self.link.delay_ms
                self.sound_waited_ms.append((at_ns, waited))

    def step(self) -> None:
        super().step()
        while self.under_way and self.under_way[0][0] <= self.now_ns:
            arrival, data = self.under_way.pop(0)
            assert self.behind is not None
            self.note(data, arrival)
            super().deliver(self.behind, data, arrival)
        if self.now_ns - self.told_ns >= 50 * MS:
            self.told_ns = self.now_ns
            self.tell()

    def note(self, data: bytes, arrival_ns: int) -> None:
        if 192 <= data[1] < 224:
            return
        value = VideoPacket.decode(data).extensions.get(EXTENSIONS.transport_cc)
        if value is None:
            return
        number = int.from_bytes(value, "big")
        if self.highest >= 0:
            number = self.highest + ((number - self.highest + 0x8000 & 0xFFFF) - 0x8000)
        self.highest = max(self.highest, number)
        if self.told < 0:
            self.told = number - 1
        self.arrived[number] = arrival_ns

    def tell(self) -> None:
        """Draft §3.1: base, count, reference time, chunks, deltas."""
        if self.highest <= self.told or self.behind is None:
            return
        base, count = self.told + 1, min(self.highest - self.told, 300)
        times = [self.arrived.get(base + i) for i in range(count)]
        came = [at for at in times if at is not None]
        self.told = base + count - 1
        if not came:
            return
        reference = came[0] // (64 * MS)
        last = reference * 256
        symbols, deltas = [], b""
        for at in times:
            if at is None:
                symbols.append(0)
                continue
            quarter = at // 250_000
            step, last = quarter - last, quarter
            symbols.append(1 if 0 <= step < 256 else 2)
            deltas += bytes([step]) if 0 <= step < 256 else struct.pack(">h", max(-32768, min(step, 32767)))
        chunks = b""
        while symbols:
            run = next((i for i, symbol in enumerate(symbols) if symbol != symbols[0]), len(symbols))
            if run >= 7:
                chunks += struct.pack(">H", symbols[0] << 13 | run)
                symbols = symbols[run:]
            else:
                seven, symbols = symbols[:7], symbols[7:]
                seven += [0] * (7 - len(seven))
                chunks += struct.pack(">H", 0xC000 | sum(symbol << 12 - 2 * i for i, symbol in enumerate(seven)))
        body = struct.pack(">HH", base & 0xFFFF, count)
        body += struct.pack(">I", (reference & 0xFFFFFF) << 8 | self.feedback_number & 0xFF) + chunks + deltas
        body += bytes(-len(body) % 4)
        self.feedback_number += 1
        data = struct.pack(">BBHII", 0x8F, 205, 2 + len(body) // 4, 0x77, 0x1) + body
        self.carry(self.behind, data)
