"""All parties of a recording together, block by block, from its beginning or from the middle.

Owns the time line's length, its rate, which journals are one party, and the mix to channels. The blocks are whole
seconds, counted from the beginning: who begins in the middle reads the same ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mediaserver.limits import RECORDING_SECONDS_MAX
from mediaserver.recording.heard import HeardPlayer
from mediaserver.recording.mixdown import LegPlayer, is_wideband
from mediaserver.recording.one_party import as_one, parties, together
from mediaserver.recording.played import PromptTrack
from mediaserver.recording.surveying import Place, Surveyed
from mediaserver.recording.timeline import Leg
from mediaserver.recording.warp import Samples

LAST_PACKET_NS = 20_000_000
# What a decoder, a resampler and the order of late packets have to forget: Opus's slowest state is over in a second.
WARM_UP_S = 3
PLACE_BEFORE_NS = 1_000_000_000  # packets do not arrive before they were spoken, but for what a clock is corrected by
PCM = npt.NDArray[np.int16]
Player = LegPlayer | HeardPlayer


class Sound:
    """What is known of a recording's sound before any of it is decoded."""

    def __init__(self, surveyed: Sequence[Surveyed], prompts: Path | None = None, channels: str = "two") -> None:
        """prompts, channels: as `render.render`. Raises ValueError if nothing was captured."""
        self._surveyed = [one for one in surveyed if one.leg.opened_ns]
        self.legs = [one.leg for one in self._surveyed]
        if not self.legs:
            raise ValueError("nothing was captured: no journal holds an opened window")
        self.rate_hz = 16_000 if any(is_wideband(piece) for leg in self.legs for piece in leg.pieces) else 8_000
        self.start_ns = min(leg.opened_ns for leg in self.legs)
        self.frames = _length(self.legs, self.start_ns, self.rate_hz)
        self._groups = parties(self.legs)
        self.told = [as_one(group) for group in self._groups]
        self.channels = {"one": 1, "two": min(2, len(self.told)), "each": len(self.told)}[channels]
        self._prompts = prompts

    def voices(self, player_of: Callable[..., Player] = LegPlayer) -> Voices:
        players = [[player_of(leg, self.start_ns, self.rate_hz) for leg in group] for group in self._groups]
        return Voices(players, self._tracks())

    def voices_from(self, frame: int) -> Voices:
        """Reads from the whole second in which `frame` lies. What is decoded before that is heard by nobody."""
        second = frame // self.rate_hz
        warm = max(0, second - WARM_UP_S)
        players = [[self._player(leg, warm) for leg in group] for group in self._groups]
        voices = Voices(players, self._tracks(), warm * self.rate_hz)
        for _ in range(second - warm):
            voices.read(self.rate_hz)
        return voices

    def _player(self, leg: Leg, second: int) -> LegPlayer:
        wanted_ns = self.start_ns + second * 1_000_000_000 - PLACE_BEFORE_NS
        place = _place(next(one.places for one in self._surveyed if one.leg is leg), wanted_ns)
        begin = second * self.rate_hz
        if place is None:
            return LegPlayer(leg, self.start_ns, self.rate_hz, begin)
        return LegPlayer(leg, self.start_ns, self.rate_hz, begin, place.offset, place.sources)

    def _tracks(self) -> list[PromptTrack]:
        if self._prompts is None:
            return []
        return [PromptTrack(leg, self._prompts, self.start_ns, self.rate_hz) for leg in self.told]


class Voices:
    def __init__(self, players: Sequence[Sequence[Player]], tracks: Sequence[PromptTrack], position: int = 0) -> None:
        self._own = players
        self._tracks = tracks
        self.position = position  # the next frame

    @property
    def players(self) -> list[Player]:
        return [player for own in self._own for player in own]

    def read(self, count: int) -> list[Samples]:
        """The next float32[count] of each party, int16 scale."""
        blocks = [together([player.read(count) for player in own]) for own in self._own]
        for track, block in zip(self._tracks, blocks, strict=False):
            track.add_to(block, self.position)
        self.position += count
        return blocks


def _place(places: Sequence[Place], wanted_ns: int) -> Place | None:
    """The last one behind which nothing of the wanted moment and after has come yet."""
    found = None
    for place in places:
        if place.arrival_ns > wanted_ns:
            break
        found = place
    return found


def _length(legs: Sequence[Leg], start_ns: int, rate_hz: int) -> int:
    """Frames from the first opened window to the last closed one: gaps and silence count, that is what happened.

    The last packet keeps its 20 ms: it arrived inside the window, even if that closed (or a crash came) before its end.
    """
    end_ns = max(max(leg.closed_ns, leg.spoken_until_ns() + LAST_PACKET_NS) for leg in legs)
    frames = round((end_ns - start_ns) * rate_hz / 1e9)
    return max(1, min(frames, RECORDING_SECONDS_MAX * rate_hz))


def mix(blocks: Sequence[Samples], channels: int) -> PCM:
    if channels == 1:
        mixed = np.sum(np.stack(blocks, axis=1), axis=1, dtype=np.float32, keepdims=True)
    elif channels == len(blocks):
        mixed = np.stack(blocks, axis=1)
    else:
        mixed = np.stack((blocks[0], np.sum(blocks[1:], axis=0, dtype=np.float32)), axis=1)
    return np.clip(np.rint(mixed), -32_768, 32_767).astype(np.int16)
