"""Speech to call with: synthesized once per machine by espeak-ng, at every rate a phone's file source needs."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from tests.support.listen import write_wav

SENTENCES = {
    "ann": (
        "en-us+f3",
        "The birch canoe slid on the smooth planks. Glue the sheet to the dark blue background. "
        "Rice is often served in round bowls.",
    ),
    "bob": (
        "en-gb",
        "It is easy to tell the depth of a well. These days a chicken leg is a rare dish. "
        "The juice of lemons makes fine punch.",
    ),
    "vera": ("ru", "Четвёртый день шёл сильный дождь. Мы сидели дома, пили чай и ждали гостей из города."),
}
CACHE = Path(tempfile.gettempdir()) / "mediaserver-test-speech"


def speech(speaker: str, rate_hz: int, *, lead_s: float = 0.5, tail_s: float = 0.0) -> Path:
    """About eight seconds of `speaker` after `lead_s` of silence, 16 bit mono; half a second and `tail_s` behind it."""
    voice, text = SENTENCES[speaker]
    key = hashlib.sha256(f"{voice}{text}".encode()).hexdigest()[:12]
    path = CACHE / f"{speaker}-{key}-{rate_hz}-{lead_s:g}-{tail_s:g}.wav"
    if not path.exists():
        CACHE.mkdir(exist_ok=True)
        source = CACHE / f"{speaker}-{key}.wav"
        if not source.exists():
            subprocess.run(["espeak-ng", "-v", voice, "-s", "155", "-w", source, text], check=True)
        partial = path.with_suffix(".partial.wav")
        subprocess.run(
            [
                "sox",
                source,
                "-r",
                str(rate_hz),
                "-c",
                "1",
                "-b",
                "16",
                partial,
                "norm",
                "-6",
                "pad",
                str(lead_s),
                str(0.5 + tail_s),
            ],
            check=True,
        )
        partial.rename(path)
    return path


def tone(path: Path, frequency_hz: float, seconds: float, rate_hz: int, level_db: float = -12.0) -> Path:
    time = np.arange(int(seconds * rate_hz)) / rate_hz
    samples: npt.NDArray[np.int16] = (32767 * 10 ** (level_db / 20) * np.sin(2 * np.pi * frequency_hz * time)).astype(
        np.int16
    )
    write_wav(path, rate_hz, samples)
    return path
