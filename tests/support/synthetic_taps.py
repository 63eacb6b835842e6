"""Journals of calls that never happened: exact speech, exact clocks, exact faults."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mediaserver.codecs.audio import Codec
from mediaserver.recording.journal import Flag, Kind, frame, note

T0_NS = 5_000_000_000_000  # of the server's monotonic clock
WALL0 = 1_790_000_000.0
PAYLOAD_TYPES = {"PCMU": 0, "PCMA": 8, "G722": 9, "opus": 96, "L16": 97, "telephone-event": 101, "CN": 13}
CLOCKS = {
    "PCMU": 8_000,
    "PCMA": 8_000,
    "G722": 8_000,
    "opus": 48_000,
    "L16": 16_000,
    "telephone-event": 8_000,
    "CN": 8_000,
}
CODECS = {
    str(pt): {"name": name, "clock_hz": CLOCKS[name], "channels": 1} for name, pt in PAYLOAD_TYPES.items()
}  # fmt: skip

PCM = npt.NDArray[np.int16]


def rtp(sequence: int, timestamp: int, payload: bytes, *, payload_type: int = 0, ssrc: int = 0xABCD) -> bytes:
    return struct.pack(">BBHII", 0x80, payload_type, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc) + payload


def packet_record(arrival_ns: int, packet: bytes) -> bytes:
    return frame(Kind.RTP, arrival_ns, packet, flags=Flag.AUDIO)


@dataclass
class Talker:
    """One party's sender: PCM in, tap records out.

    ppm: how much faster its clock runs than the server's. lost, delay_ns: by packet index. start_ns: when it starts.
    """

    pcm: PCM
    codec: str = "PCMU"
    rate_hz: int = 8_000
    ptime_ms: int = 20
    ppm: float = 0.0
    start_ns: int = T0_NS
    sequence: int = 65_500  # wraps soon
    timestamp: int = 0xFFFFF000
    ssrc: int = 0xABCD
    lost: Callable[[int], bool] = field(default=lambda _index: False)
    delay_ns: Callable[[int], int] = field(default=lambda _index: 0)

    def packets(self) -> Iterator[tuple[int, bytes]]:
        """(arrival, RTP packet) in sending order."""
        encoder = Codec(
            self.codec,
            rate_hz=self.rate_hz if self.codec in ("opus", "L16") else 0,
            clock_hz=self.rate_hz if self.codec == "L16" else 0,
        )
        samples = self.rate_hz * self.ptime_ms // 1000
        ticks = CLOCKS[self.codec] * self.ptime_ms // 1000
        step_ns = self.ptime_ms * 1e6 / (1 + self.ppm * 1e-6)
        for index in range(len(self.pcm) // samples):
            payload = encoder.encode(self.pcm[index * samples : (index + 1) * samples])
            if self.lost(index):
                continue
            packet = rtp(
                self.sequence + index, self.timestamp + index * ticks, payload,
                payload_type=PAYLOAD_TYPES[self.codec], ssrc=self.ssrc,
            )  # fmt: skip
            yield self.start_ns + round(index * step_ns) + self.delay_ns(index), packet


def header(leg: str = "1", **changes: object) -> bytes:
    values = {
        "format": "mediaserver-journal", "version": 1, "recording": "r1", "call": "c1", "kind": "call", "caller": "100",
        "called": "200", "leg": leg, "clock": {"monotonic_ns": T0_NS, "wall": WALL0}, "codecs": CODECS, **changes,
    }  # fmt: skip
    return note(Kind.HEADER, T0_NS, values)


def write_journal(
    path: Path,
    records: list[tuple[int, bytes]],
    *,
    leg: str = "1",
    opened_ns: int = T0_NS,
    closed_ns: int | None = None,
) -> Path:
    """records: (arrival, RTP packet); written in order of arrival. closed_ns None: as a crash leaves it."""
    parts = [header(leg), note(Kind.OPEN, opened_ns, {"evidence": {"evidence_id": "e1"}})]
    parts += [packet_record(arrival, packet) for arrival, packet in sorted(records, key=lambda item: item[0])]
    if closed_ns is not None:
        parts += [note(Kind.CLOSE, closed_ns, {"reason": "ended"}), note(Kind.END, closed_ns, {"reason": "ended"})]
    path.write_bytes(b"".join(parts))
    return path


def tone(frequency_hz: float, seconds: float, rate_hz: int = 8_000, level: float = 8_000.0) -> PCM:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return np.asarray(level * np.sin(2 * np.pi * frequency_hz * t), dtype=np.int16)


def clicks(at_s: list[float], seconds: float, rate_hz: int = 8_000) -> PCM:
    """Short bursts of 1 kHz, each starting at a known time."""
    pcm = np.zeros(round(seconds * rate_hz), dtype=np.int16)
    burst = tone(1_000, 0.005, rate_hz, 20_000)
    for at in at_s:
        start = round(at * rate_hz)
        pcm[start : start + len(burst)] = burst
    return pcm


def click_times(pcm: PCM, rate_hz: int) -> list[float]:
    """When each burst starts, to the sample."""
    loud = np.flatnonzero(np.abs(pcm.astype(np.int32)) > 5_000)
    if not len(loud):
        return []
    starts = loud[np.concatenate(([True], np.diff(loud) > rate_hz // 10))]
    return [float(start) / rate_hz for start in starts]
