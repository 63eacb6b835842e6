"""What the demo's people say: spoken by espeak-ng where it is installed, else by the prompts that are shipped.

Owns a folder of WAV files, one for each voice and line, made once.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import shutil
from pathlib import Path

from mediaserver.errors import PromptError
from mediaserver.media.prompts import PromptLibrary, decode_audio

SPEAK_S_MAX = 30.0
# Prompts that could be said by a person, where there is no espeak-ng.
STAND_INS = ("welcome", "thank-you", "please-wait", "not-available", "message-intro", "goodbye")


class Speech:
    def __init__(self, folder: Path, prompts: PromptLibrary, command: str | None = None) -> None:
        """command: the synthesizer; None: espeak-ng if it is found, "" for none."""
        self.command = shutil.which("espeak-ng") or "" if command is None else command
        self._folder = folder
        self._prompts = prompts
        self._turn = itertools.count()

    async def line(self, voice: str, language: str, text: str) -> Path:
        """A file in which `voice` (of espeak-ng) says `text`. Raises PromptError."""
        if not self.command:
            return self._prompts.find(STAND_INS[next(self._turn) % len(STAND_INS)], language)
        name = hashlib.sha256(f"{voice}\n{text}".encode()).hexdigest()[:24]
        path = self._folder / f"{name}.wav"
        if not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            await self._speak(voice, text, path)
        return path

    async def seconds(self, prompt: str, language: str) -> float:
        """How long a shipped prompt plays. Raises PromptError."""
        rate_hz, samples = await asyncio.to_thread(decode_audio, self._prompts.find(prompt, language))
        return len(samples) / rate_hz

    async def _speak(self, voice: str, text: str, path: Path) -> None:
        partial = path.with_suffix(".partial")
        process = await asyncio.create_subprocess_exec(
            self.command,
            *("-v", voice, "-s", "165", "-w", str(partial), "--stdin"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(SPEAK_S_MAX):
                _, said = await process.communicate(text.encode())
        except TimeoutError:
            process.kill()
            await process.wait()
            raise PromptError(f"{self.command} did not finish a line in {SPEAK_S_MAX:g} s") from None
        if process.returncode or not partial.exists():
            raise PromptError(f"{self.command} -v {voice}: {said.decode(errors='replace').strip()[:200]}")
        partial.replace(path)
