"""Stand-ins for the engine, prompts and observers, for tests of the call room.

`FakeEngine` has the signatures of the real one and holds the caller to its contract: a closed handle is stale, one
bridge per leg, a play ends with exactly one PlayFinished.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from mediaserver.calls.room_facts import RoomFacts
from mediaserver.clock import Clock
from mediaserver.errors import ConsentError, NoPortFree, PromptError, StaleHandle
from mediaserver.media.engine import MediaLeg, Tone
from mediaserver.media.ports import SocketPair
from mediaserver.model import (
    BridgeHandle,
    CallFacts,
    CodecName,
    ConsentToken,
    DtmfDigit,
    DtmfSource,
    LegFacts,
    LegHandle,
    LegStats,
    MediaAddress,
    PlayFinished,
    PlayId,
    PromptHandle,
    StreamSettings,
    TapHandle,
)
from mediaserver.model_delivery import PacketRange
from mediaserver.model_news import LegNews
from mediaserver.model_video import MediaTrack, TrackHandle, TrackSettings
from mediaserver.model_voice import VoiceProcessing

LONG_S = 1e9


class LoopClock:
    """A clock that is the event loop's: virtual where the loop is."""

    def now_ns(self) -> int:
        return int(asyncio.get_running_loop().time() * 1e9) + 1

    def wall(self) -> float:
        return 1_790_000_000.0 + asyncio.get_running_loop().time()


def leg_stats(leg: LegHandle, **changes: Any) -> LegStats:
    values: dict[str, Any] = {f.name: 0 for f in fields(LegStats)}
    values |= {"leg": leg, "level_dbov": -20.0, "remote_loss_fraction": -1.0, "relayed": False}
    values |= {"codec": CodecName.PCMU, "source": None, "remote_xr": None, "remote_concealment": None}
    return LegStats(**(values | changes))


@dataclass
class FakeLeg:
    handle: LegHandle
    host: str
    port: int
    calls: tuple[str, ...] = ()
    streams: list[StreamSettings] = field(default_factory=list)
    playing: PlayId | None = None
    sequence: int = 0  # of the next packet; a playing takes a hundred
    heard: list[str] = field(default_factory=list)  # names of what was started, in order
    silence: bool = False  # is sent, because nothing plays
    dtmf: list[str] = field(default_factory=list)
    bridge: BridgeHandle | None = None
    muted: bool = False
    processing: VoiceProcessing = field(default_factory=VoiceProcessing)
    timer: asyncio.TimerHandle | None = None
    datagrams: list[tuple[bytes, MediaAddress]] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    spirals: bool = False
    addresses: set[MediaAddress] = field(default_factory=set)


@dataclass
class FakeTrack:
    media: MediaTrack
    settings: list[TrackSettings] = field(default_factory=list)
    source: TrackHandle | None = None
    key_frames: int = 0  # asked of its sender
    limits: dict[str, Any] = field(default_factory=dict)
    streams: tuple[tuple[str, int], ...] = ()  # as TrackStats has it: sent to it now


class FakeEngine:
    """The asyncio face of the media plane without media: prompts last `prompt_s`, tones their cadence."""

    def __init__(self, clock: Clock, *, ports: int = 1_000, prompt_s: float = 2.0) -> None:
        self.on_event: Callable[[Any], None] = lambda _event: None
        self.legs: dict[LegHandle, FakeLeg] = {}
        self.bridges: dict[BridgeHandle, set[LegHandle]] = {}
        self.hears: dict[tuple[BridgeHandle, LegHandle, LegHandle], bool] = {}
        self.closed: list[FakeLeg] = []
        self.pairs: list[SocketPair] = []
        self.tracks: dict[TrackHandle, FakeTrack] = {}
        self.tracks_max = 1_000
        self.levels: dict[LegHandle, float] = {}
        self.rtcp: dict[LegHandle, int] = {}
        self.strangers: dict[LegHandle, int] = {}
        self.loss_per_play = 0
        self.reports = False  # their far ends report by RTCP
        self.prompt_s: dict[str, float] = {}
        self._default_s = prompt_s
        self._clock = clock
        self._ports = ports
        self._next = 0
        self._prompts: dict[PromptHandle, str] = {}
        self._presses: deque[tuple[LegHandle, str, int, set[DtmfSource]]] = deque(maxlen=16)

    def _number(self) -> int:
        self._next += 1
        return self._next

    def _leg(self, leg: LegHandle) -> FakeLeg:
        if leg not in self.legs:
            raise StaleHandle(f"leg {leg} is closed")
        return self.legs[leg]

    def open_pair(self, host: str) -> SocketPair:
        """Real sockets, on ports that the kernel chooses."""
        pair = SocketPair(*(socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)), 0)
        pair.rtp.bind((host, 0))
        pair = SocketPair(pair.rtp, pair.rtcp, pair.rtp.getsockname()[1])
        self.pairs.append(pair)
        return pair

    def release_pair(self, pair: SocketPair) -> None:
        self.pairs.remove(pair)
        pair.close()

    async def open_leg(
        self,
        host: str,
        *,
        call_id: str = "",
        near: LegHandle | None = None,
        datagrams: bool = False,
        spirals: bool = False,
    ) -> MediaLeg:
        await asyncio.sleep(0)
        if len(self.legs) >= self._ports:
            raise NoPortFree("media.port_range is used up")
        handle = LegHandle(self._number())
        port = 31_000 + 2 * (handle % 400)
        self.legs[handle] = FakeLeg(handle, host, port, (call_id,), spirals=spirals)
        return MediaLeg(handle, host, port, port + 1)

    def send_datagram(self, leg: LegHandle, data: bytes, to: MediaAddress) -> bool:
        self._leg(leg).datagrams.append((data, to))
        return True

    def part_of(self, leg: LegHandle, *call_ids: str) -> None:
        if leg in self.legs:
            self.legs[leg].calls = call_ids

    def name_leg(self, leg: LegHandle, ufrag: str) -> None:
        self._leg(leg).names.append(ufrag)

    def bind_address(self, leg: LegHandle, address: MediaAddress) -> bool:
        self._leg(leg).addresses.add(address)
        return True

    def unbind_address(self, leg: LegHandle, address: MediaAddress) -> None:
        self._leg(leg).addresses.discard(address)

    async def set_stream(self, leg: LegHandle, stream: StreamSettings) -> None:
        await asyncio.sleep(0)
        self._leg(leg).streams.append(stream)

    async def close_leg(self, leg: LegHandle) -> LegStats:
        await asyncio.sleep(0)
        fake = self._leg(leg)
        self._stop(fake)
        if fake.bridge is not None:
            self.bridges[fake.bridge].discard(leg)
        del self.legs[leg]
        for handle in [handle for handle, track in self.tracks.items() if track.media.leg == leg]:
            self._drop(handle)
        self.closed.append(fake)
        return leg_stats(leg)

    # -- video

    def _track(self, track: TrackHandle) -> FakeTrack:
        if track not in self.tracks:
            raise StaleHandle(f"track {track} is closed")
        return self.tracks[track]

    def _drop(self, track: TrackHandle) -> None:
        del self.tracks[track]
        for other in self.tracks.values():
            if other.source == track:
                other.source = None

    async def open_track(self, leg: LegHandle, *, own_ports: bool = False) -> MediaTrack:
        await asyncio.sleep(0)
        fake = self._leg(leg)
        if len(self.tracks) >= self.tracks_max:
            raise NoPortFree("media.port_range is used up")
        number = self._number()
        handle = TrackHandle(number)
        port = 32_000 + 2 * (number % 400)
        ports = {"host": fake.host, "rtp_port": port, "rtcp_port": port + 1} if own_ports else {}
        media = MediaTrack(handle, leg, 10_000 + number, 20_000 + number, **ports)
        self.tracks[handle] = FakeTrack(media)
        return media

    async def set_track(self, track: TrackHandle, settings: TrackSettings) -> None:
        await asyncio.sleep(0)
        fake = self._track(track)
        assert self._leg(fake.media.leg).streams, "the leg's stream comes first: it has the keys"
        fake.settings.append(settings)

    async def close_track(self, track: TrackHandle) -> None:
        await asyncio.sleep(0)
        self._track(track)
        self._drop(track)

    async def connect_track(self, sink: TrackHandle, source: TrackHandle | None) -> None:
        await asyncio.sleep(0)
        if source is not None:
            self._track(source).key_frames += 1
        self._track(sink).source = source

    async def set_track_limits(
        self, sink: TrackHandle, *, priority: int, max_bps: int = 0, rid: str | None = None, paused: bool = False
    ) -> None:
        self._track(sink).limits = {"priority": priority, "max_bps": max_bps, "rid": rid, "paused": paused}

    async def request_key_frame(self, track: TrackHandle) -> None:
        self._track(track).key_frames += 1

    def track_stats(self, track: TrackHandle) -> FakeTrack:
        return self._track(track)

    async def create_bridge(self) -> BridgeHandle:
        handle = BridgeHandle(self._number())
        self.bridges[handle] = set()
        return handle

    async def destroy_bridge(self, bridge: BridgeHandle) -> None:
        if bridge not in self.bridges:
            raise StaleHandle("bridge is closed")
        for leg in self.bridges.pop(bridge):
            self.legs[leg].bridge = None

    async def bridge_add(self, bridge: BridgeHandle, leg: LegHandle, *, hears_itself: bool = False) -> None:
        await asyncio.sleep(0)
        fake = self._leg(leg)
        assert fake.bridge is None, "one bridge per leg"
        if bridge not in self.bridges:
            raise StaleHandle("bridge is closed")
        fake.bridge = bridge
        self.bridges[bridge].add(leg)
        if hears_itself:
            self.hears[bridge, leg, leg] = True

    async def bridge_remove(self, bridge: BridgeHandle, leg: LegHandle) -> None:
        await asyncio.sleep(0)
        fake = self._leg(leg)
        if bridge not in self.bridges:
            raise StaleHandle("bridge is closed")
        fake.bridge = None
        self.bridges[bridge].discard(leg)

    async def set_hears(self, bridge: BridgeHandle, listener: LegHandle, speaker: LegHandle, hears: bool) -> None:
        self.hears[bridge, listener, speaker] = hears

    async def set_processing(self, leg: LegHandle, processing: VoiceProcessing) -> None:
        self._leg(leg).processing = processing

    async def set_mute(self, leg: LegHandle, muted: bool) -> None:
        self._leg(leg).muted = muted

    async def load_prompt(self, path: Path) -> PromptHandle:
        await asyncio.sleep(0)
        if path.stem == "broken":
            raise PromptError(f"{path} is not audio")
        for handle, name in self._prompts.items():
            if name == str(path):
                return handle
        handle = PromptHandle(self._number())
        self._prompts[handle] = str(path)
        return handle

    async def load_samples(self, rate_hz: int, samples: bytes) -> PromptHandle:
        await asyncio.sleep(0)
        handle = PromptHandle(self._number())
        self._prompts[handle] = samples.decode()
        return handle

    async def play(
        self, leg: LegHandle, prompt: PromptHandle, *, loop: bool = False, gain_db: float = 0.0, start_ms: int = 0
    ) -> PlayId:
        await asyncio.sleep(0)
        name = self._prompts[prompt]
        seconds = LONG_S if loop else self.prompt_s.get(Path(name).stem, self._default_s)
        return self._start(self._leg(leg), name, seconds)

    async def play_tone(self, leg: LegHandle, tone: Tone) -> PlayId:
        await asyncio.sleep(0)
        seconds = LONG_S if tone.repeats == 0 else tone.repeats * sum(tone.cadence_ms) / 1000
        if tone.level_dbm0 < -100:  # packets go out; nothing is heard, so nothing plays
            self._leg(leg).silence = True
            return PlayId(self._number())
        return self._start(self._leg(leg), f"tone {tone.frequencies_hz}", seconds)

    def _start(self, fake: FakeLeg, name: str, seconds: float) -> PlayId:
        self._stop(fake)
        play_id = fake.playing = PlayId(self._number())
        fake.heard.append(name)
        if seconds < LONG_S:
            fake.timer = asyncio.get_running_loop().call_later(seconds, self._finish, fake, True)
        return play_id

    def _stop(self, fake: FakeLeg) -> None:
        if fake.timer is not None:
            fake.timer.cancel()
        fake.silence = False
        self._finish(fake, False)

    def _finish(self, fake: FakeLeg, completed: bool) -> None:
        play_id, fake.playing, fake.timer = fake.playing, None, None
        if play_id is not None:
            first, fake.sequence = fake.sequence, fake.sequence + 100
            sent = PacketRange(fake.handle & 0xFFFFFFFF, first, fake.sequence - 1, 100)
            event = PlayFinished(fake.handle, play_id, completed, sent)
            asyncio.get_running_loop().call_soon(self.on_event, event)

    async def stop_play(self, leg: LegHandle) -> None:
        await asyncio.sleep(0)
        self._stop(self._leg(leg))

    async def send_dtmf(self, leg: LegHandle, digits: str, *, duration_ms: int = 100, gap_ms: int = 70) -> None:
        await asyncio.sleep(0)
        self._leg(leg).dtmf.append(digits)

    async def report_digit(self, leg: LegHandle, digit: str) -> None:
        """As the real merger: the same digit by another way within a second is the same press."""
        await asyncio.sleep(0)
        self._leg(leg)
        self.press(leg, digit, DtmfSource.SIP_INFO)

    def press(self, leg: LegHandle, digit: str, source: DtmfSource) -> None:
        now_ns = self._clock.now_ns()
        for other in self._presses:
            if (other[0], other[1]) == (leg, digit) and source not in other[3] and now_ns - other[2] < 10**9:
                other[3].add(source)
                return
        self._presses.append((leg, digit, now_ns, {source}))
        asyncio.get_running_loop().call_soon(self.on_event, DtmfDigit(leg, digit, 0, source))

    async def open_tap(self, leg: LegHandle, token: ConsentToken) -> TapHandle:
        raise ConsentError("the call room never opens a tap itself")

    def leg_stats(self, leg: LegHandle) -> LegStats:
        fake = self._leg(leg)
        values: dict[str, Any] = {"level_dbov": self.levels.get(leg, -20.0), "rtcp_received": self.rtcp.get(leg, 0)}
        values["packets_stranger"] = self.strangers.get(leg, 0)
        if self.loss_per_play or self.reports:  # packets of a hundred, of which RTCP says so many were lost
            played = fake.sequence // 100
            values |= {"remote_packets_lost": self.loss_per_play * played, "remote_highest": fake.sequence - 1}
            values |= {"remote_reports": played, "remote_reporter": 7, "sent_sequence": fake.sequence}
        return leg_stats(fake.handle, **values)


class FakePrompts:
    def find(self, name: str, language: str) -> Path:
        if name == "missing":
            raise PromptError(f"no prompt {name}")
        return Path(f"/prompts/{language}/{name}.wav")


class FakeReader:
    """What people of calls were told, in order."""

    def __init__(self) -> None:
        self.news: list[tuple[str, str, LegNews]] = []  # call, leg, news
        self.rooms: list[RoomFacts] = []

    def leg_news(self, call_id: str, leg: LegFacts, news: LegNews) -> None:
        self.news.append((call_id, leg.leg_id, news))

    def room_changed(self, room: RoomFacts) -> None:
        self.rooms.append(room)


class FakeObserver:
    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.ended: list[CallFacts] = []
        self.open_legs: dict[LegHandle, LegFacts] = {}

    def call_started(self, call: CallFacts) -> None:
        self.events.append(("call_started", call))

    def leg_opened(self, call_id: str, leg: LegFacts, stream: StreamSettings) -> None:
        assert leg.handle not in self.open_legs
        self.open_legs[leg.handle] = leg
        self.events.append(("leg_opened", leg))

    def leg_changed(self, call_id: str, leg: LegFacts, stream: StreamSettings) -> None:
        assert leg.handle in self.open_legs
        self.events.append(("leg_changed", leg))

    def leg_closed(self, call_id: str, leg: LegFacts, stats: LegStats | None) -> None:
        del self.open_legs[leg.handle]
        self.events.append(("leg_closed", leg))

    def call_ended(self, call: CallFacts) -> None:
        self.events.append(("call_ended", call))
        self.ended.append(call)
