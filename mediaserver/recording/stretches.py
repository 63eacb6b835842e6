"""The worker that renders what somebody waits for: a process that is there before it is asked, and takes orders.

Owns the surveys of the recordings it has open and the place up to which each was decoded. It is told paths and keys by
its standard input, one JSON object a line, and answers there: it sees no database and takes no port. Who kills it costs
the server one order.

    {"do": "open", "id", "journals": [[path, key or null], …], "prompts": path}   → {"rate_hz", "channels", "frames"}
    {"do": "render", "id", "output", "key", "first", "end"}                       → {"chunk"} for each, then {"done"}
    {"do": "close", "id"}                                                         → {"done"}

Whatever goes wrong with an order is answered {"error"}.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mediaserver.recording.growing import chunk_bytes, put_chunk
from mediaserver.recording.sealed import CHUNK_BYTES
from mediaserver.recording.surveying import survey_together
from mediaserver.recording.voices import PCM, Sound, Voices, mix


class OpenSound:
    """One recording: goes on where it was, or begins anew with a warm-up somewhere else."""

    def __init__(self, sound: Sound) -> None:
        self.sound = sound
        self._voices: Voices | None = None
        self._held: PCM = np.zeros((0, sound.channels), dtype=np.int16)  # frames before the voices' position

    def pcm(self, first: int, end: int) -> bytes:
        """Frames [first, end), little-endian."""
        rate_hz, frames = self.sound.rate_hz, self.sound.frames
        voices = self._voices
        if voices is None or not voices.position - len(self._held) <= first <= voices.position:
            voices = self._voices = self.sound.voices_from(first)
            self._held = self._held[:0]
        parts = [self._held[first - (voices.position - len(self._held)) :]] if first < voices.position else []
        while voices.position < end:
            begins = voices.position
            block = mix(voices.read(min(rate_hz, frames - begins)), self.sound.channels)
            parts.append(block[max(0, first - begins) :])
        self._held = np.concatenate(parts)
        return self._held[: end - first].astype("<i2").tobytes()


class Worker:
    def __init__(self) -> None:
        self._open: dict[str, OpenSound] = {}

    def obey(self, order: dict[str, Any]) -> dict[str, Any]:
        if order["do"] == "open":
            journals = {Path(path): bytes.fromhex(key) if key else None for path, key in order["journals"]}
            sound = Sound(survey_together(journals), Path(order["prompts"]))
            self._open[order["id"]] = OpenSound(sound)
            return {"rate_hz": sound.rate_hz, "channels": sound.channels, "frames": sound.frames}
        if order["do"] == "close":
            self._open.pop(order["id"], None)
        else:
            self._render(self._open[order["id"]], order)
        return {"done": True}

    def _render(self, opened: OpenSound, order: dict[str, Any]) -> None:
        frame_bytes = 2 * opened.sound.channels
        total = opened.sound.frames * frame_bytes
        cipher = AESGCM(bytes.fromhex(order["key"]))
        descriptor = os.open(order["output"], os.O_WRONLY | os.O_CLOEXEC)  # not made here: it may have been erased
        try:
            for number in range(order["first"], order["end"]):
                first = number * CHUNK_BYTES // frame_bytes
                pcm = opened.pcm(first, first + chunk_bytes(number, total) // frame_bytes)
                put_chunk(descriptor, cipher, number, pcm)
                say({"chunk": number})
        finally:
            os.close(descriptor)


def say(values: dict[str, Any]) -> None:
    print(json.dumps(values), flush=True)


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server, which closes our input when it ends
    worker = Worker()
    say({"done": True})  # ready
    for line in sys.stdin:
        try:
            say(worker.obey(json.loads(line)))
        except (OSError, ValueError, KeyError, IndexError) as error:
            say({"error": f"{type(error).__name__}: {error}"})
    return 0


if __name__ == "__main__":
    sys.exit(main())
