"""A media worker with phones around it, all in virtual time: what tests of bridges, prompts and digits stand on.

Phones speak RTP by hand every packet time and keep what they are sent. Nothing sleeps; a seed and a script give the
same packets every time.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mediaserver.codecs.audio import Codec
from mediaserver.ext.control import Worker
from mediaserver.ext.memnet import MemoryNetwork
from mediaserver.model import CodecName, CodecParams, MediaAddress, StreamSettings

MS = 1_000_000
TICK_NS = 20 * MS
OPTIONS = {
    "jitter_min_ms": 20,
    "jitter_max_ms": 500,
    "opus_bitrate_bps": 32_000,
    "opus_complexity": 0,
    "inband_dtmf": 0,
}
PCMU = CodecParams(CodecName.PCMU, 0, 8_000)
PCMA = CodecParams(CodecName.PCMA, 8, 8_000)
G722 = CodecParams(CodecName.G722, 9, 8_000)
OPUS = CodecParams(CodecName.OPUS, 111, 48_000)
EVENT = CodecParams(CodecName.TELEPHONE_EVENT, 101, 8_000)
Pcm = npt.NDArray[np.int16]


@dataclass
class Rtp:
    """One datagram a phone was sent."""

    at_ns: int
    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    extension: bytes = b""  # with its header of four bytes

    @classmethod
    def parse(cls, data: bytes, at_ns: int) -> Rtp:
        first, second, sequence, timestamp, ssrc = struct.unpack(">BBHII", data[:12])
        assert first in (0x80, 0x90), "we send no padding and no CSRCs"
        begins = 16 + 4 * int.from_bytes(data[14:16], "big") if first == 0x90 else 12
        return cls(at_ns, second & 0x7F, second > 127, sequence, timestamp, ssrc, data[begins:], data[12:begins])


def sine(frequency_hz: float, rate_hz: int, amplitude: float = 8_000.0) -> Callable[[int, int], Pcm]:
    """Samples [start, start + count) of a sine at rate_hz."""

    def samples(start: int, count: int) -> Pcm:
        n = np.arange(start, start + count)
        return np.asarray(np.rint(amplitude * np.sin(2 * np.pi * frequency_hz * n / rate_hz)), np.int16)

    return samples


@dataclass
class Phone:
    """A party at `address` talking to the leg `handle`."""

    world: World
    handle: int
    socket: int
    address: MediaAddress
    codec: CodecParams
    coder: Codec
    sound: Callable[[int, int], Pcm] | None = None
    ptime_ms: int = 20
    ssrc: int = 0
    sequence: int = 0
    position: int = 0  # samples said
    timestamp: int = 0
    heard: list[Rtp] = field(default_factory=list)
    rtcp: list[bytes] = field(default_factory=list)
    extended: bool = False  # header extensions were agreed on

    @property
    def rate_hz(self) -> int:
        return self.coder.rate_hz

    def packet(self, payload: bytes, *, payload_type: int | None = None, marker: bool = False) -> bytes:
        kind = self.codec.payload_type if payload_type is None else payload_type
        second = kind | (0x80 if marker else 0)
        return (
            struct.pack(">BBHII", 0x80, second, self.sequence & 0xFFFF, self.timestamp & 0xFFFFFFFF, self.ssrc)
            + payload
        )

    def send(self, datagram: bytes, source: MediaAddress | None = None) -> None:
        source = source or self.address
        self.world.network.deliver(self.socket, datagram, source.host, source.port, self.world.now_ns)

    def say(self, payload: bytes) -> None:
        self.send(self.packet(payload))
        self.sequence += 1
        self.timestamp += self.codec.clock_hz * self.ptime_ms // 1000

    def speak(self) -> None:
        """The next packet of its sound."""
        if self.sound is None:
            return
        count = self.rate_hz * self.ptime_ms // 1000
        self.say(self.coder.encode(self.sound(self.position, count)))
        self.position += count

    def pcm(self, codec: CodecParams | None = None) -> Pcm:
        """All audio heard, decoded in order of arrival."""
        codec = codec or self.codec
        decoder = Codec(codec.name, clock_hz=codec.clock_hz)
        return decoder.decode_batch([p.payload for p in self.heard if p.payload_type == codec.payload_type])[0]

    def level_db(self, frequency_hz: float, last_s: float = 0.5) -> float:
        """Amplitude of one frequency in the last part heard, in dB of full scale."""
        pcm = self.pcm()[-int(self.rate_hz * last_s) :].astype(np.float64)
        window = np.hanning(len(pcm))
        turn = np.exp(-2j * np.pi * frequency_hz * np.arange(len(pcm)) / self.rate_hz)
        amplitude = 2 * abs(np.sum(pcm * window * turn)) / np.sum(window)
        return float(20 * np.log10(max(amplitude, 1e-3) / 32768))


class World:
    def __init__(self, *, seed: int = 1, queue_size: int = 256, legs_max: int = 512, **options: int) -> None:
        self.network = MemoryNetwork()
        self.worker = Worker(
            self.network,
            legs_max=legs_max,
            bridges_max=64,
            pool_size=2048,
            queue_size=queue_size,
            seed=seed,
            wall_offset_ns=1_700_000_000_000_000_000,
            silence_ns=5_000 * MS,
            options={**OPTIONS, **options},
        )
        self.now_ns = 1_000_000_000
        self.phones: list[Phone] = []
        self.events: list[tuple[Any, ...]] = []
        self.replies: dict[int, tuple[int, Any]] = {}
        self.sent_to: set[tuple[str, int]] = set()  # every address anything was ever sent to
        self._next_socket = 10

    def phone(
        self,
        codec: CodecParams = PCMU,
        *,
        sound: Callable[[int, int], Pcm] | None = None,
        events: bool = False,
        ptime_ms: int = 20,
        first_sequence: int | None = None,
        **settings: Any,
    ) -> Phone:
        """An opened leg with its stream set, and the phone that talks to it."""
        socket = self._next_socket
        self._next_socket += 2
        number = len(self.phones) + 1
        begins = 1000 * number & 0x7FFF if first_sequence is None else first_sequence
        _, handle = self.worker.open_leg(socket, socket + 1, 0xA000 + number, begins, 5000 * number)
        coder = Codec(codec.name, clock_hz=codec.clock_hz, complexity=0)
        address = MediaAddress("10.0.0.9", 4000 + 2 * number)
        phone = Phone(self, handle, socket, address, codec, coder, sound, ptime_ms, ssrc=0x5000 + number)
        phone.extended = settings.get("level") is not None
        self.phones.append(phone)
        self.set_stream(phone, events=events, ptime_ms=ptime_ms, **settings)
        return phone

    def set_stream(
        self, phone: Phone, *, codecs: tuple[CodecParams, ...] = (), events: bool = False, **settings: Any
    ) -> None:
        both = (codecs or (phone.codec,)) + ((EVENT,) if events else ())
        fields = {"send": both, "receive": both, "remote": phone.address, "cname": "a@b", **settings}
        self.do(self.worker.set_stream(phone.handle, StreamSettings(**fields)))

    def bridge(self, *phones: Phone) -> int:
        _, bridge = self.worker.open_bridge()
        for phone in phones:
            self.do(self.worker.bridge_add(bridge, phone.handle))
        return bridge

    def do(self, command_id: int, status: int = 0) -> Any:
        """Runs the worker until the command is answered, as it must be: with `status`. Its result."""
        self.step()
        got, result = self.replies.pop(command_id)
        assert got == status
        return result

    def step(self) -> None:
        self.worker.step(self.now_ns)
        for socket, data, to, at_ns in self.network.sent():
            self.sent_to.add(to)
            for phone in self.phones:
                if to == (phone.address.host, phone.address.port) and socket == phone.socket:
                    if 192 <= data[1] < 224:
                        phone.rtcp.append(data)
                    else:
                        phone.heard.append(Rtp.parse(data, at_ns))
                        assert phone.extended or not phone.heard[-1].extension
                elif to == (phone.address.host, phone.address.port + 1) and socket == phone.socket + 1:
                    phone.rtcp.append(data)
        for message in self.worker.drain():
            if message[0] == "reply":
                self.replies[message[1]] = message[2:]
            else:
                self.events.append(message)

    def run(self, ms: int) -> None:
        """Phones speak, the worker steps: 1 ms at a time."""
        for _ in range(ms):
            elapsed_ms = (self.now_ns - 1_000_000_000) // MS
            for number, phone in enumerate(self.phones):
                if (elapsed_ms + 3 * number) % phone.ptime_ms == 7:
                    phone.speak()
            self.step()
            self.now_ns += MS

    def ended(self) -> list[tuple[Any, ...]]:
        """Leg, play, completed of what played; what was sent of it stands in `of("play_ended")`."""
        return [event[:3] for event in self.of("play_ended")]

    def of(self, kind: str) -> list[tuple[Any, ...]]:
        return [event[1:] for event in self.events if event[0] == kind]
