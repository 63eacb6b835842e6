"""A film from journals: what one party showed, as it was encoded, or several pictures in one, and the sound in step.

Owns the order of both on one time line, which begins where the first of them was captured. Runs in the render worker's
process (`render.py`), in bounded memory whatever the length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mediaserver.limits import RECORDING_SECONDS_MAX
from mediaserver.recording.depacketize import CONTAINERS, PICTURES_ALONE, Picture
from mediaserver.recording.film import Film, shots, survey_film
from mediaserver.recording.film_file import FilmFile, Scratch
from mediaserver.recording.film_grid import GRID_CODEC, composed
from mediaserver.recording.mixdown import LegPlayer, is_wideband
from mediaserver.recording.played import PromptTrack
from mediaserver.recording.timeline import Leg, survey
from mediaserver.recording.warp import Samples

Journals = Mapping[Path, bytes | None]


@dataclass(frozen=True, slots=True)
class RenderedFilm:
    length_ms: int
    frames: int
    frames_dropped: int  # they lacked a packet, or what they refer to did
    packets_lost: int
    bytes_skipped: int  # of the journals: torn or corrupted


class Sound:
    """What the parties said, from start_ns on, in blocks."""

    def __init__(self, legs: Sequence[Leg], prompts: Path | None, start_ns: int) -> None:
        self.rate_hz = 16_000 if any(is_wideband(piece) for leg in legs for piece in leg.pieces) else 8_000
        self._players = [LegPlayer(leg, start_ns, self.rate_hz) for leg in legs]
        self._played = [PromptTrack(leg, prompts, start_ns, self.rate_hz) for leg in legs] if prompts else []
        self._done = 0

    def read(self, samples: int) -> list[Samples]:
        blocks = [player.read(samples) for player in self._players]
        for track, block in zip(self._played, blocks, strict=False):
            track.add_to(block, self._done)
        self._done += samples
        return blocks or [np.zeros(samples, dtype=np.float32)]


def render_film(
    sound: Journals,
    pictures: Journals,
    output: Path,
    form: str,
    progress: Callable[[float], None] = lambda _share: None,
    *,
    prompts: Path | None = None,
    seal: bytes = b"",
) -> RenderedFilm:
    """Writes `output`, a form of FILM_FORMS or PICTURES_ALONE, from journals of pictures and of sound and their keys.

    PICTURES_ALONE lies on the time line that `render` gives the sound of the same journals, to be shown beside it.
    One picture is not encoded again; several are put side by side. prompts, seal: as `render` has them.
    Raises ValueError if there is no whole picture or it does not go into this form, OSError or FFmpegError.
    """
    legs = [leg for leg in (survey(path, key) for path, key in sound.items()) if leg.opened_ns]
    films = [film for film in (survey_film(path, key) for path, key in pictures.items()) if film.opened_ns]
    films = [film for film in films if film.streams]
    if not films:
        raise ValueError("nothing to be seen: no picture was captured")
    silent = form == PICTURES_ALONE
    start_ns = min([leg.opened_ns for leg in legs] + [film.opened_ns for film in films if not (silent and legs)])
    end_ns = max([*(film.closed_ns for film in films), *(max(leg.closed_ns, leg.spoken_until_ns()) for leg in legs)])
    end_ns = min(end_ns, start_ns + RECORDING_SECONDS_MAX * 1_000_000_000)
    target: Any = Scratch(output.with_name(output.name + ".scratch")) if seal else str(output)
    if len(films) == 1:
        codec, taken = _of_one(films[0])
    else:
        codec, taken = GRID_CODEC, composed(films, start_ns, end_ns)
    if silent:
        form = next((name for name, codecs in CONTAINERS.items() if codec in codecs), "webm")
    wall = wall_of(films[0].notes, start_ns)
    sound_track = None if silent else Sound(legs, prompts, start_ns)
    _write(codec, taken, sound_track, target, form, start_ns, end_ns, wall, progress)
    if seal:
        target.seal(output, seal)
    return RenderedFilm(
        length_ms=round((end_ns - start_ns) / 1e6),
        frames=sum(film.stats.frames for film in films),
        frames_dropped=sum(film.stats.frames_dropped for film in films),
        packets_lost=sum(film.stats.packets_lost for film in films),
        bytes_skipped=sum(leg.read.bytes_skipped for leg in (*legs, *(film.notes for film in films))),
    )


def _write(
    codec: str,
    taken: Iterator[tuple[int, Picture]],
    sound: Sound | None,
    target: Any,
    form: str,
    start_ns: int,
    end_ns: int,
    wall: float,
    progress: Callable[[float], None],
) -> None:
    following = next(taken, None)
    if following is None:
        raise ValueError("nothing to be seen: no whole key frame was captured")
    file = FilmFile(target, form, following[1], codec, 0 if sound is None else sound.rate_hz, wall)
    rate_hz = 1_000 if sound is None else sound.rate_hz
    total, done = max(1, round((end_ns - start_ns) * rate_hz / 1e9)), 0
    while done < total:
        count = min(rate_hz, total - done)
        done += count
        until_ns = start_ns + done * 1_000_000_000 // rate_hz
        if sound is not None:
            file.sound(sound.read(count))
        while following is not None and (following[0] < until_ns or done == total):
            file.picture(max(0, round((following[0] - start_ns) / 1e6)), following[1])
            following = next(taken, None)
        progress(done / total)
    file.close()


def _of_one(film: Film) -> tuple[str, Iterator[tuple[int, Picture]]]:
    """Its codec and frames. A container has one codec a track: what comes in another is left out, and counted."""
    taken = shots(film)
    first = next(taken, None)
    if first is None:
        return "", iter(())

    def same() -> Iterator[tuple[int, Picture]]:
        yield first.at_ns, first.picture
        for shot in taken:
            if shot.codec == first.codec:
                yield shot.at_ns, shot.picture
            else:
                film.stats.frames -= 1
                film.stats.frames_dropped += 1

    return first.codec, same()


def wall_of(notes: Leg, at_ns: int) -> float:
    clock = notes.header.get("clock", {})
    try:
        return float(clock["wall"]) + (at_ns - int(clock["monotonic_ns"])) / 1e9
    except (KeyError, TypeError, ValueError):
        return 0.0
