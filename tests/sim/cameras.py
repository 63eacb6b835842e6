"""Cameras and screens around a media worker in virtual time, and an independent reader of what the screens are sent.

A camera makes VP8, H.264, VP9 or AV1 payloads whose body names them, so that a test can tell which packet of which
stream arrived. `Stream` is the judge of an outgoing stream: it knows RTP and VP8 from the RFCs only, nothing of ours.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from mediaserver.model import Direction
from mediaserver.model_video import ExtensionIds, Feedback, TrackSettings, VideoCodec, VideoFormat
from tests.sim.world import MS, Phone, World

EXTENSIONS = ExtensionIds(mid=1, rid=2, repaired_rid=3, abs_send_time=4, transport_cc=5, video_orientation=6)
FEEDBACK = Feedback(nack=True, pli=True, fir=True, reduced_size=True)
VP8 = VideoFormat(VideoCodec.VP8, 96, 97)
H264 = VideoFormat(VideoCodec.H264, 102, 103, {"packetization-mode": "1", "profile-level-id": "42e01f"})
TEMPORAL_PATTERN = (0, 2, 1, 2)  # VP8 temporal layers of successive frames, three layers


@dataclass
class VideoPacket:
    """One RTP packet with its extensions, as sent or as received."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes
    extensions: dict[int, bytes] = field(default_factory=dict)
    at_ns: int = 0
    padding: int = 0

    def encode(self) -> bytes:
        first = 0x80 | (0x10 if self.extensions else 0) | (0x20 if self.padding else 0)
        head = struct.pack(
            ">BBHII",
            first,
            self.payload_type | (0x80 if self.marker else 0),
            self.sequence & 0xFFFF,
            self.timestamp & 0xFFFFFFFF,
            self.ssrc,
        )
        block = b"".join(bytes([number << 4 | len(value) - 1]) + value for number, value in self.extensions.items())
        if block:
            block += bytes(-len(block) % 4)
            head += struct.pack(">HH", 0xBEDE, len(block) // 4) + block
        tail = bytes(self.padding - 1) + bytes([self.padding]) if self.padding else b""
        return head + self.payload + tail

    @classmethod
    def decode(cls, data: bytes, at_ns: int = 0) -> VideoPacket:
        first, second, sequence, timestamp, ssrc = struct.unpack(">BBHII", data[:12])
        at, extensions, end = 12, {}, len(data)
        assert first >> 6 == 2 and not first & 0x0F
        if first & 0x10:
            profile, words = struct.unpack(">HH", data[at : at + 4])
            block = data[at + 4 : at + 4 + 4 * words]
            extensions = read_elements(profile, block)
            at += 4 + 4 * words
        padding = data[-1] if first & 0x20 else 0
        end -= padding
        assert at <= end
        payload = data[at:end]
        return cls(second & 0x7F, second > 127, sequence, timestamp, ssrc, payload, extensions, at_ns, padding)


def read_elements(profile: int, block: bytes) -> dict[int, bytes]:
    out, at = {}, 0
    while at < len(block):
        if block[at] == 0:
            at += 1
            continue
        if profile == 0xBEDE:
            number, size, at = block[at] >> 4, (block[at] & 15) + 1, at + 1
        else:
            assert profile & 0xFFF0 == 0x1000
            number, size, at = block[at], block[at + 1], at + 2
        assert at + size <= len(block)
        out[number] = block[at : at + size]
        at += size
    return out


def vp8(key: bool, start: bool, picture: int, tl0: int, temporal: int, *, sync: bool = False) -> bytes:
    """Descriptor with a 15 bit picture id, TL0PICIDX and TID, and the first octet of the frame header."""
    head = bytes([0x80 | (0x10 if start else 0), 0xE0, 0x80 | picture >> 8 & 0x7F, picture & 0xFF, tl0 & 0xFF])
    return head + bytes([temporal << 6 | (0x20 if sync else 0)]) + (b"\x00" if key else b"\x01")


@dataclass
class Camera:
    """One simulcast stream of a sender; rid "" sends no RID."""

    world: VideoWorld
    phone: Phone
    ssrc: int
    mid: str = "1"
    rid: str = ""
    rtx_ssrc: int = 0
    bps: int = 1_000_000
    frames_per_s: int = 30
    temporal_layers: int = 1
    payload_type: int = 96
    rtx_payload_type: int = 97
    key_every: int = 0  # frames; 0: only when asked
    sequence: int = 30_000
    timestamp: int = 900_000
    picture: int = 100
    tl0: int = 50
    frame: int = 0
    want_key: bool = True
    lost: set[int] = field(default_factory=set)  # sequence numbers the network loses on the first way
    kept: dict[int, VideoPacket] = field(default_factory=dict)
    rtx_sequence: int = 7_000
    asked: int = 0  # key frames
    pictures: Callable[..., bytes] = vp8
    transport: Callable[[], int] | None = None  # next transport-wide sequence number

    def extensions(self, *, repaired: bool = False) -> dict[int, bytes]:
        out = {EXTENSIONS.mid: self.mid.encode()}
        if self.rid:
            out[EXTENSIONS.repaired_rid if repaired else EXTENSIONS.rid] = self.rid.encode()
        if self.transport is not None:
            out[EXTENSIONS.transport_cc] = struct.pack(">H", self.transport() & 0xFFFF)
        return out

    def shoot(self) -> None:
        """The next frame, in packets of at most 1,100 octets."""
        key = self.want_key or (self.key_every > 0 and self.frame % self.key_every == 0)
        temporal = 0 if key else TEMPORAL_PATTERN[self.frame % 4] if self.temporal_layers == 3 else 0
        if key:
            self.frame = 0
            self.want_key = False
        if temporal == 0:
            self.tl0 += 1
        size = self.bps // 8 // self.frames_per_s
        count = max(1, -(-size // 1_100))
        for i in range(count):
            head = self.pictures(key, i == 0, self.picture, self.tl0, temporal, sync=temporal > 0)
            name = struct.pack(">IHHB", self.ssrc, self.sequence & 0xFFFF, self.picture & 0x7FFF, temporal)
            payload = head + name + bytes(size // count)
            self.send(
                VideoPacket(self.payload_type, i == count - 1, self.sequence, self.timestamp, self.ssrc, payload, {})
            )
            self.sequence += 1
        self.picture += 1
        self.timestamp += 90_000 // self.frames_per_s
        self.frame += 1

    def send(self, packet: VideoPacket) -> None:
        packet.extensions = self.extensions()
        self.kept[packet.sequence & 0xFFFF] = packet
        if packet.sequence & 0xFFFF in self.lost:
            self.lost.discard(packet.sequence & 0xFFFF)
            return
        self.world.carry(self.phone, packet.encode())

    def resend(self, sequence: int) -> None:
        packet = self.kept[sequence]
        if not self.rtx_ssrc:
            self.world.carry(self.phone, packet.encode())
            return
        payload = struct.pack(">H", sequence) + packet.payload
        again = VideoPacket(
            self.rtx_payload_type,
            packet.marker,
            self.rtx_sequence,
            packet.timestamp,
            self.rtx_ssrc,
            payload,
            self.extensions(repaired=True),
        )
        self.rtx_sequence += 1
        self.world.carry(self.phone, again.encode())


@dataclass
class Part:
    """One packet of a compound RTCP packet."""

    kind: int
    count: int
    data: bytes
    at_ns: int

    @property
    def sender(self) -> int:
        return int.from_bytes(self.data[4:8], "big")

    @property
    def media(self) -> int:
        return int.from_bytes(self.data[8:12], "big")

    def nacked(self) -> list[int]:
        out = []
        for at in range(12, len(self.data), 4):
            first, mask = struct.unpack(">HH", self.data[at : at + 4])
            out += [first + bit & 0xFFFF for bit in range(17) if (mask << 1 | 1) >> bit & 1]
        return out


def parts(data: bytes, at_ns: int) -> list[Part]:
    out, at = [], 0
    while at < len(data):
        size = 4 * (struct.unpack(">H", data[at + 2 : at + 4])[0] + 1)
        assert data[at] >> 6 == 2 and at + size <= len(data)
        out.append(Part(data[at + 1], data[at] & 31, data[at : at + size], at_ns))
        at += size
    return out


@dataclass
class Stream:
    """What one screen received, judged as a browser would: RFC 3550 numbers, RFC 7741 picture ids."""

    packets: list[VideoPacket] = field(default_factory=list)

    def ordered(self) -> list[VideoPacket]:
        """By unwrapped sequence number, without repeats."""
        seen: dict[int, VideoPacket] = {}
        highest = None
        for packet in self.packets:
            number = packet.sequence
            if highest is not None:
                number = highest + ((packet.sequence - highest + 0x8000 & 0xFFFF) - 0x8000)
            highest = number if highest is None else max(highest, number)
            seen.setdefault(number, packet)
        return [seen[number] for number in sorted(seen)]

    def numbers_missing(self) -> int:
        ordered = self.ordered()
        if not ordered:
            return 0
        span = ordered[-1].sequence - ordered[0].sequence & 0xFFFF
        return span + 1 - len(ordered)

    def frames(self) -> list[list[VideoPacket]]:
        out: list[list[VideoPacket]] = []
        for packet in self.ordered():
            if not packet.payload:
                continue
            if out and out[-1][0].timestamp == packet.timestamp:
                out[-1].append(packet)
            else:
                out.append([packet])
        return out

    def origin(self, packet: VideoPacket) -> tuple[int, int, int, int]:
        """(ssrc, sequence, picture, temporal layer) of the camera's packet that this one carries."""
        out: tuple[int, int, int, int] = struct.unpack(">IHHB", packet.payload[7:16])
        return out

    def check_vp8(self, ssrc: int, *, whole: bool = True) -> None:
        """Raises AssertionError where the stream is not one that a decoder can go on with."""
        frames = self.frames()
        assert frames, "nothing came"
        assert {packet.ssrc for packet in self.packets} == {ssrc}
        if whole:
            assert self.numbers_missing() == 0
        before: list[VideoPacket] | None = None
        for frame in frames:
            head = frame[0].payload
            assert head[0] & 0x10, "a frame begins with its first packet"
            if whole:
                assert frame[-1].marker and not any(packet.marker for packet in frame[:-1])
            source = {self.origin(packet)[0] for packet in frame}
            assert len(source) == 1, "a frame is of one stream"
            key = head[6] & 1 == 0
            if before is None:
                assert key, "the first frame is a key frame"
            else:
                later = frame[0].timestamp - before[0].timestamp & 0xFFFFFFFF
                assert 0 < later < 900_000, "time goes on"
                step = picture_of(frame[0]) - picture_of(before[0]) & 0x7FFF
                assert step == 1 if whole else step < 0x4000, "picture ids go on by one"
                if source != {self.origin(before[0])[0]}:
                    assert key, "a change of stream is a key frame"
                base = head[4] - before[0].payload[4] & 0xFF
                assert base == (1 if head[5] >> 6 == 0 else 0) if whole else base < 128
            before = frame


def picture_of(packet: VideoPacket) -> int:
    return (packet.payload[2] & 0x7F) << 8 | packet.payload[3]


@dataclass
class Screen:
    """One sending track as its peer sees it."""

    world: VideoWorld
    phone: Phone
    track: int
    ssrc: int
    rtx_ssrc: int
    stream: Stream = field(default_factory=Stream)
    again: list[VideoPacket] = field(default_factory=list)

    def feedback(self, kind: int, form: int, body: bytes = b"") -> None:
        data = struct.pack(">BBHII", 0x80 | form, kind, 2 + len(body) // 4, 0x77, self.ssrc) + body
        self.world.carry(self.phone, data)

    def ask(self, *sequences: int) -> None:
        self.feedback(205, 1, b"".join(struct.pack(">HH", sequence & 0xFFFF, 0) for sequence in sequences))

    def ask_key_frame(self) -> None:
        self.feedback(206, 1)


class VideoWorld(World):
    """World, in which phones have tracks too."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.cameras: list[Camera] = []
        self.screens: list[Screen] = []
        self.control: dict[int, list[Part]] = {}  # by leg, what it was sent
        self.deaf = False  # cameras ignore feedback
        self._tracks = 0

    def track(self, phone: Phone, settings: TrackSettings) -> int:
        self._tracks += 1
        number = self._tracks
        self.do(
            self.worker.open_track(phone.handle, number, 0xC000 + number, 0xD000 + number, 100 * number, 9, 77 * number)
        )
        self.do(self.worker.set_track(phone.handle, number, settings))
        return number

    def camera(self, phone: Phone, track: int, **fields: Any) -> Camera:
        """A stream that the track receives."""
        camera = Camera(self, phone, 0x100000 + len(self.cameras), **fields)
        self.cameras.append(camera)
        return camera

    def screen(self, phone: Phone, **fields: Any) -> Screen:
        """A sending track."""
        track = self.track(phone, sending(**fields))
        screen = Screen(self, phone, track, 0xC000 + track, 0xD000 + track)
        self.screens.append(screen)
        return screen

    def connect(self, screen: Screen, phone: Phone, track: int) -> None:
        self.do(self.worker.connect_track(screen.phone.handle, screen.track, phone.handle, track))

    def carry(self, phone: Phone, datagram: bytes) -> None:
        """From a party to its leg; a test's network may lose or delay it here."""
        phone.send(datagram)

    def step(self) -> None:
        self.worker.step(self.now_ns)
        for socket, data, to, at_ns in self.network.sent():
            self.sent_to.add(to)
            for phone in self.phones:
                if to == (phone.address.host, phone.address.port) and socket == phone.socket:
                    self.deliver(phone, data, at_ns)
        for message in self.worker.drain():
            if message[0] == "reply":
                self.replies[message[1]] = message[2:]
            else:
                self.events.append(message)

    def deliver(self, phone: Phone, data: bytes, at_ns: int) -> None:
        """From a leg to its party; a test's network may lose or delay it here."""
        if 192 <= data[1] < 224:
            for part in parts(data, at_ns):
                self.control.setdefault(phone.handle, []).append(part)
                self.answer(phone, part)
            return
        packet = VideoPacket.decode(data, at_ns)
        for screen in self.screens:
            if screen.phone is phone and packet.ssrc == screen.ssrc:
                screen.stream.packets.append(packet)
            elif screen.phone is phone and packet.ssrc == screen.rtx_ssrc:
                screen.again.append(packet)

    def answer(self, phone: Phone, part: Part) -> None:
        if self.deaf:
            return
        for camera in self.cameras:
            if camera.phone is not phone or part.media not in (camera.ssrc, 0):
                continue
            if part.kind == 205 and part.count == 1:
                for sequence in part.nacked():
                    camera.resend(sequence)
            elif part.kind == 206 and part.count in (1, 4):
                if part.count == 4 and int.from_bytes(part.data[12:16], "big") != camera.ssrc:
                    continue
                camera.want_key = True
                camera.asked += 1

    def film(self, ms: int) -> None:
        """Cameras shoot, the worker steps: 1 ms at a time."""
        for _ in range(ms):
            elapsed_ms = (self.now_ns - 1_000_000_000) // MS
            for camera in self.cameras:
                period = 1000 / camera.frames_per_s
                if int(elapsed_ms / period) != int((elapsed_ms - 1) / period):
                    camera.shoot()
            self.step()
            self.now_ns += MS


def receiving(*, formats: tuple[VideoFormat, ...] = (VP8,), **fields: Any) -> TrackSettings:
    base = {"mid": "1", "send": formats, "receive": formats, "feedback": FEEDBACK, "extensions": EXTENSIONS}
    return TrackSettings(**{**base, "direction": Direction.RECVONLY, **fields})


def sending(*, formats: tuple[VideoFormat, ...] = (VP8,), **fields: Any) -> TrackSettings:
    base = {"mid": "v", "send": formats, "receive": formats, "feedback": FEEDBACK, "extensions": EXTENSIONS}
    return TrackSettings(**{**base, "direction": Direction.SENDONLY, **fields})
