"""A playable file from journals: both passes, the mix to two channels, and the writers of WAV and Ogg Opus.

Runs in a process of its own (`export.py` starts it), in bounded memory whatever the length. Left is the first party,
right all others; a recording of one party is mono. WAV carries the UTC start in a `bext` chunk (EBU Tech 3285).
"""

from __future__ import annotations

import argparse
import json
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import av
import numpy as np
import numpy.typing as npt

from mediaserver.recording.depacketize import FILM_FORMS, PICTURES_ALONE
from mediaserver.recording.film_render import RenderedFilm, render_film
from mediaserver.recording.heard import HeardPlayer
from mediaserver.recording.lanes import LaneSink, PeakSink, Target
from mediaserver.recording.mixdown import LegPlayer
from mediaserver.recording.sealed import SealedSink as SealedPcm
from mediaserver.recording.sealed import SealedWriter
from mediaserver.recording.surveying import survey_quickly
from mediaserver.recording.timeline import Leg
from mediaserver.recording.voices import Sound, mix

# Of the encoder's time nearly all goes into choices that 8 kbit/s more make good: at complexity 0 and this rate PESQ of
# speech is 4.47 and 4.41 in G.711's band (wideband 3.94 and 3.77) in 34 kbit/s; at complexity 5 and 32,000 it is 4.42
# and 4.51 (3.74 and 3.68) in 35 kbit/s, for five times the work.
OPUS_BITRATE_BPS_PER_CHANNEL = 40_000
OPUS_COMPLEXITY = "0"
OPUS_CHANNELS_MAX = 2  # more would be surround sound, which players play otherwise
FORMS = ("wav", "opus", "lanes", "peaks", "sealed")
RIFF_BYTES_MAX = 0xFFFFFFFF  # what its header can say; players read on to the end


@dataclass(frozen=True, slots=True)
class Rendered:
    length_ms: int
    rate_hz: int
    channels: int
    packets: int
    packets_misplaced: int
    packets_undecodable: int
    bytes_skipped: int  # of the journals: torn or corrupted


class Sink(Protocol):
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def write_blocks(self, blocks: Sequence[npt.NDArray[np.float32]]) -> None:
        """float32[frames] of each party, int16 scale"""
        ...


def render(
    journals: Mapping[Path, bytes | None],
    output: Path,
    form: str,
    progress: Callable[[float], None] = lambda _share: None,
    *,
    channels: str = "two",
    prompts: Path | None = None,
    seal: bytes = b"",
    heard: bool = False,
) -> Rendered:
    """Writes `output`, a form of FORMS, from journals and their keys (None: of version 1).

    channels: "two" (the first party left, all others right), "each" (one per party), "one" (all together).
    prompts: folder of what the server played, by hash; it is heard on the channel of whoever heard it. None: left out.
    seal: the key to seal the file with; "sealed" needs one.
    heard: each party as the others heard it, through the jitter buffer; else as it was sent.
    Raises ValueError if nothing was captured, OSError or FFmpegError.
    """
    sound = Sound([survey_quickly(path, key) for path, key in journals.items()], prompts, channels)
    voices = sound.voices(HeardPlayer if heard else LegPlayer)
    legs, rate_hz, frames = sound.legs, sound.rate_hz, sound.frames
    with open_sink(form, output, rate_hz, sound.channels, frames, sound.told, sound.start_ns, seal) as sink:
        done = 0
        while done < frames:
            count = min(rate_hz, frames - done)
            sink.write_blocks(voices.read(count))
            done += count
            progress(done / frames)
    return Rendered(
        length_ms=round(frames * 1000 / rate_hz),
        rate_hz=rate_hz,
        channels=sound.channels,
        packets=sum(leg.packets for leg in legs),
        packets_misplaced=sum(player.packets_misplaced for player in voices.players),
        packets_undecodable=sum(player.packets_undecodable for player in voices.players),
        bytes_skipped=sum(leg.read.bytes_skipped for leg in legs),
    )


def _wall(leg: Leg, at_ns: int) -> float:
    clock = leg.header.get("clock", {})
    try:
        return float(clock["wall"]) + (at_ns - int(clock["monotonic_ns"])) / 1e9
    except (KeyError, TypeError, ValueError):
        return 0.0


def open_sink(
    form: str,
    output: Path,
    rate_hz: int,
    channels: int,
    frames: int,
    legs: Sequence[Leg],
    start_ns: int,
    seal: bytes = b"",
) -> Sink:
    """seal: the key, for "sealed" and for a sealed file of any form; without it the file is in the clear."""
    if form not in FORMS or (form == "opus" and channels > OPUS_CHANNELS_MAX):
        raise ValueError(f"a recording of {channels} channels is rendered to one of {', '.join(FORMS)} (opus: 1 or 2)")
    if form == "sealed":
        return SealedSink(output, rate_hz, channels, seal)
    wall = _wall(legs[0], start_ns)
    target: Target = SealedWriter(output, seal) if seal else output.open("wb")
    if form == "wav":
        return WavSink(target, rate_hz, channels, frames, wall)
    if form == "opus":
        return OpusSink(target, rate_hz, channels, wall)
    if form == "lanes":
        return LaneSink(target, legs, start_ns, rate_hz, wall)
    return PeakSink(target, len(legs), rate_hz)


class WavSink:
    """RIFF/WAVE, 16-bit PCM of `frames` frames: sizes are known before, so that nothing is written twice."""

    def __init__(self, target: Target, rate_hz: int, channels: int, frames: int, wall: float) -> None:
        self._target, self._channels = target, channels
        frame_bytes = 2 * channels
        size = frames * frame_bytes
        bext = _bext(rate_hz, wall)
        form = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * frame_bytes, frame_bytes, 16)
        head = b"bext" + struct.pack("<I", len(bext)) + bext + b"fmt " + struct.pack("<I", len(form)) + form
        head = b"WAVE" + head + b"data" + struct.pack("<I", min(size, RIFF_BYTES_MAX))
        target.write(b"RIFF" + struct.pack("<I", min(len(head) + size, RIFF_BYTES_MAX)) + head)

    def __enter__(self) -> Self:
        return self

    def write_blocks(self, blocks: Sequence[npt.NDArray[np.float32]]) -> None:
        self._target.write(mix(blocks, self._channels).tobytes())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._target.close()


def _bext(rate_hz: int, wall: float) -> bytes:
    """Broadcast extension chunk, version 1: UTC date and time of the first sample, and samples since midnight."""
    start = datetime.fromtimestamp(wall, UTC)
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    since_midnight = round((start - midnight).total_seconds() * rate_hz)
    chunk = struct.pack(
        "<256s32s32s10s8sQH64s190s",
        b"call recording; time is UTC",
        b"mediaserver",
        b"",
        f"{start:%Y-%m-%d}".encode(),
        f"{start:%H:%M:%S}".encode(),
        since_midnight,
        1,
        b"",
        b"",
    )
    history = f"A=PCM,F={rate_hz},W=16\r\n".encode()
    return chunk + history + b"\0" * (len(history) % 2)


class SealedSink(SealedPcm):
    def __init__(self, output: Path, rate_hz: int, channels: int, key: bytes) -> None:
        super().__init__(output, rate_hz, channels, key)
        self._mixed = channels

    def write_blocks(self, blocks: Sequence[npt.NDArray[np.float32]]) -> None:
        self.write_pcm(mix(blocks, self._mixed))


class OpusSink:
    """Ogg Opus by FFmpeg's libopus, start time in the metadata."""

    def __init__(self, target: Target, rate_hz: int, channels: int, wall: float) -> None:
        self._target = target
        self._container: Any = av.open(_OnlyWrites(target), "w", format="ogg")
        self._container.metadata["DATE"] = datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds")
        layout = "mono" if channels == 1 else "stereo"
        self._stream: Any = self._container.add_stream(
            "libopus",
            rate=rate_hz,
            layout=layout,
            options={"application": "audio", "compression_level": OPUS_COMPLEXITY},
        )
        self._stream.bit_rate = OPUS_BITRATE_BPS_PER_CHANNEL * channels
        self._layout = layout
        self._channels = channels
        self._rate_hz = rate_hz
        self._frames = 0

    def __enter__(self) -> Self:
        return self

    def write_blocks(self, blocks: Sequence[npt.NDArray[np.float32]]) -> None:
        pcm = mix(blocks, self._channels)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(pcm.reshape(1, -1)), format="s16", layout=self._layout)
        frame.sample_rate = self._rate_hz
        frame.pts = self._frames
        self._frames += len(pcm)
        self._container.mux(self._stream.encode(frame))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._container.mux(self._stream.encode(None))
        self._container.close()
        self._target.close()


class _OnlyWrites:
    """All that a muxer of Ogg needs; it is not tempted to go back then."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def write(self, data: bytes) -> int:
        return self._target.write(data)


def _render(
    options: argparse.Namespace,
    journals: Mapping[Path, bytes | None],
    progress: Callable[[float], None],
    seal: bytes,
) -> Rendered | RenderedFilm:
    if options.form not in (*FILM_FORMS, PICTURES_ALONE):
        return render(
            journals,
            options.output,
            options.form,
            progress,
            channels=options.channels,
            prompts=options.prompts,
            seal=seal,
            heard=options.heard,
        )
    paths = list(journals)
    sound = {path: journals[path] for path in paths[: len(paths) - options.pictures]}
    pictures = {path: journals[path] for path in paths[len(paths) - options.pictures :]}
    return render_film(sound, pictures, options.output, options.form, progress, prompts=options.prompts, seal=seal)


def main(arguments: Sequence[str] | None = None) -> int:
    """The worker process: one JSON line per percent and one for the result; errors go to stderr, exit code 1.

    On stdin it takes a JSON list: each journal's key in hexadecimal, or null; then the key to seal with, if any.
    """
    parser = argparse.ArgumentParser(prog="mediaserver.recording.render")
    parser.add_argument("--form", choices=(*FORMS, *FILM_FORMS, PICTURES_ALONE), required=True)
    parser.add_argument("--channels", choices=("one", "two", "each"), default="two")
    parser.add_argument("--prompts", type=Path)
    parser.add_argument("--heard", action="store_true")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=0, help="so many of the journals, the last, are of pictures")
    parser.add_argument("journals", type=Path, nargs="+")
    options = parser.parse_args(arguments)
    percent = -1

    def progress(share: float) -> None:
        nonlocal percent
        if int(share * 100) > percent:
            percent = int(share * 100)
            print(json.dumps({"percent": percent}), flush=True)

    try:
        given = [bytes.fromhex(key) if key else None for key in json.load(sys.stdin)]
        seal = (given.pop() or b"") if len(given) > len(options.journals) else b""
        rendered = _render(options, dict(zip(options.journals, given, strict=True)), progress, seal)
    except (OSError, ValueError, av.error.FFmpegError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(rendered)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
