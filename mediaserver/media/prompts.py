"""Prompts: audio files decoded into samples, and found by name and language.

Owns reading any file PyAV understands and the search order of prompt directories. Plays nothing: the engine loads what
is found here. Prompts lie in `<directory>/<language>/<name>.<extension>`; music and what has no words in
`<directory>/common/`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import av
import av.audio.resampler
import av.error
import numpy as np
import numpy.typing as npt
import soxr

from mediaserver.errors import PromptError
from mediaserver.limits import PROMPT_SECONDS_MAX

COMMON = "common"
EXTENSIONS = (".ogg", ".opus", ".wav", ".flac", ".mp3", ".m4a")
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")  # no dots and no slashes: a name never leaves its directory
_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[a-z0-9]{2,8})*")
_NAME_CHARACTERS_MAX = 64
_RATES_HZ = (8_000, 16_000, 48_000)  # what the engine stores: the smallest that loses nothing a leg could carry


def decode_audio(path: Path, seconds_max: float = PROMPT_SECONDS_MAX) -> tuple[int, npt.NDArray[np.int16]]:
    """Decodes an audio file to (rate_hz, mono samples); rate_hz is 8000, 16000 or 48000. Blocks: call it off the loop.

    Raises PromptError when the file is missing, unreadable, not audio, silent by having no samples, or too long.
    """
    try:
        with path.open("rb") as file:
            rate_hz, samples = _decode(path, file, seconds_max)
    except OSError as error:  # PyAV's errors are OSErrors too where FFmpeg reports an errno
        raise PromptError(
            f"{path}: cannot be read as audio ({error.strerror or error}); any file PyAV reads will do"
        ) from error
    except (ValueError, ArithmeticError, av.error.FFmpegError) as error:
        raise PromptError(f"{path}: is not audio that can be decoded ({error}); any file PyAV reads will do") from error
    if not len(samples):
        raise PromptError(f"{path}: holds no audio")
    target_hz = next((rate for rate in _RATES_HZ if rate >= rate_hz), _RATES_HZ[-1])
    if target_hz != rate_hz:
        samples = soxr.resample(samples, rate_hz, target_hz, quality="HQ")
    return target_hz, np.ascontiguousarray(samples, np.int16)


def _decode(path: Path, file: object, seconds_max: float) -> tuple[int, npt.NDArray[np.int16]]:
    # An open file, not a name: a name could be read as a URL. The empty whitelist keeps play lists from opening others.
    with av.open(file, mode="r", metadata_errors="ignore", options={"protocol_whitelist": ""}) as container:
        if not container.streams.audio:
            raise PromptError(f"{path}: has no audio stream")
        stream = container.streams.audio[0]
        rate_hz = stream.codec_context.sample_rate
        resampler = av.audio.resampler.AudioResampler(format="s16", layout="mono", rate=rate_hz)
        pieces: list[npt.NDArray[np.int16]] = []
        count = 0
        for frame in container.decode(stream):
            frame.pts = None  # gaps and jumps in a file's clock are not played
            for piece in resampler.resample(frame):
                pieces.append(_samples(piece))
                count += len(pieces[-1])
            if count > seconds_max * rate_hz:
                raise PromptError(f"{path}: is longer than {seconds_max:g} s, the limit for one prompt")
        pieces.extend(_samples(piece) for piece in resampler.resample(None))
    return rate_hz, np.concatenate(pieces) if pieces else np.empty(0, np.int16)


def _samples(frame: av.AudioFrame) -> npt.NDArray[np.int16]:
    return frame.to_ndarray().reshape(-1).astype(np.int16, copy=False)


class PromptLibrary:
    """Finds prompt files by name and language.

    directories: searched in this order for each language, an operator's own before the shipped one.
    fallback_language: tried when the wanted language lacks the prompt; then any language that has it.
    """

    def __init__(self, directories: Iterable[Path], fallback_language: str = "en") -> None:
        self._directories = tuple(directories)
        self._fallback = _checked(_LANGUAGE, fallback_language.lower(), "language")

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages that have a directory, sorted."""
        return tuple(
            sorted(
                {
                    entry.name
                    for directory in self._directories
                    if directory.is_dir()
                    for entry in directory.iterdir()
                    if entry.is_dir() and entry.name != COMMON and _LANGUAGE.fullmatch(entry.name)
                }
            )
        )

    def names(self, language: str) -> frozenset[str]:
        """Names of the prompts that this very language has."""
        language = _checked(_LANGUAGE, language.lower(), "language")
        return frozenset(
            file.stem
            for directory in self._directories
            if (directory / language).is_dir()
            for file in (directory / language).iterdir()
            if file.suffix in EXTENSIONS and _NAME.fullmatch(file.stem)
        )

    def find(self, name: str, language: str) -> Path:
        """The file of a prompt: in `language` ("de-at" also looks in "de"), else in the fallback language, else in any.

        Raises PromptError when there is none or the name is not one (lower-case words joined by hyphens).
        """
        _checked(_NAME, name, "prompt name")
        wanted = _checked(_LANGUAGE, language.lower(), "language")
        order = [wanted, wanted.partition("-")[0], COMMON, self._fallback, *self.languages]
        for candidate in dict.fromkeys(order):
            for directory in self._directories:
                for extension in EXTENSIONS:
                    path = directory / candidate / (name + extension)
                    if path.is_file() and _inside(path, directory):
                        return path
        places = ", ".join(str(directory) for directory in self._directories)
        raise PromptError(f"no prompt '{name}' in '{wanted}' or any other language under {places}")


def _checked(pattern: re.Pattern[str], text: str, what: str) -> str:
    if len(text) > _NAME_CHARACTERS_MAX or not pattern.fullmatch(text):
        raise PromptError(
            f"{text[:_NAME_CHARACTERS_MAX]!r} is not a {what}: lower-case letters, digits and hyphens only"
        )
    return text


def _inside(path: Path, directory: Path) -> bool:
    """A link that leads out of the directory is not followed."""
    return path.resolve().is_relative_to(directory.resolve())
