"""What legs are played, and digits: prompts loaded, plays and tones started and stopped, DTMF sent and reported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mediaserver.errors import MediaError
from mediaserver.media.legs import LegPlane, q12
from mediaserver.media.shelf import PromptShelf
from mediaserver.model import LegHandle, PlayId, PromptHandle

DTMF_DIGITS = frozenset("0123456789*#ABCD")


@dataclass(frozen=True, slots=True)
class Tone:
    """A call-progress tone: up to four sine frequencies with a cadence (ITU-T E.180 supplement).

    cadence_ms: on, off, on, off …; () means continuous. repeats: 0 means until stopped.
    """

    frequencies_hz: tuple[float, ...]
    cadence_ms: tuple[int, ...] = ()
    level_dbm0: float = -13.0
    repeats: int = 0


class SoundFace(LegPlane):
    _prompts: PromptShelf

    async def load_prompt(self, path: Path) -> PromptHandle:
        """Decodes any audio file PyAV reads, off the loop; the same path and mtime is loaded once and shared.

        Raises PromptError.
        """
        return await self._prompts.load_file(path)

    async def load_samples(self, rate_hz: int, samples: bytes) -> PromptHandle:
        """int16 little-endian mono samples at 8, 16 or 48 kHz. Raises PromptError."""
        return self._prompts.load_samples(rate_hz, samples)

    async def play(
        self, leg: LegHandle, prompt: PromptHandle, *, loop: bool = False, gain_db: float = 0.0, start_ms: int = 0
    ) -> PlayId:
        """The leg hears the prompt instead of its bridge until it ends or is stopped; then PlayFinished."""
        sound = self._prompts.get(prompt)
        found = await self._settled(leg)
        play_id = PlayId(next(self._numbers))
        await found.link.reply(
            found.link.worker.play(
                found.native,
                sound.samples,
                sound.rate_hz,
                play_id=play_id,
                loop=loop,
                gain_q12=q12(max(-60.0, min(gain_db, 20.0))),
                start=start_ms * sound.rate_hz // 1000,
            )
        )
        return play_id

    async def play_tone(self, leg: LegHandle, tone: Tone) -> PlayId:
        """As play, for a tone; with repeats 0 it lasts until stopped."""
        if not 1 <= len(tone.frequencies_hz) <= 4 or len(tone.cadence_ms) > 8:
            raise MediaError("a tone has one to four frequencies and at most eight cadence times")
        found = await self._settled(leg)
        play_id = PlayId(next(self._numbers))
        await found.link.reply(
            found.link.worker.play_tone(
                found.native, tone.frequencies_hz, tone.cadence_ms, tone.level_dbm0, tone.repeats, play_id=play_id
            )
        )
        return play_id

    async def stop_play(self, leg: LegHandle) -> None:
        """Ends what plays, if anything does: PlayFinished with completed=False."""
        found = await self._settled(leg)
        await found.link.reply(found.link.worker.stop_play(found.native))

    async def send_dtmf(self, leg: LegHandle, digits: str, *, duration_ms: int = 100, gap_ms: int = 70) -> None:
        """By RFC 4733 if negotiated, else as tones in the audio. Returns when queued; digits never overlap.

        Raises MediaError for what is no digit, QueueFull when too many wait already.
        """
        if not digits or any(digit not in DTMF_DIGITS for digit in digits.upper()):
            raise MediaError("DTMF digits are 0-9, *, # and A-D")
        if not 40 <= duration_ms <= 5_000 or not 0 <= gap_ms <= 5_000:
            raise MediaError(f"a digit of {duration_ms} ms with {gap_ms} ms gap; 40..5000 and 0..5000 ms are possible")
        found = await self._settled(leg)
        await found.link.reply(found.link.worker.send_dtmf(found.native, digits.upper().encode(), duration_ms, gap_ms))

    async def report_digit(self, leg: LegHandle, digit: str) -> None:
        """A digit of this leg came by SIP INFO: DtmfDigit follows, unless the media brought the same press before."""
        if len(digit) != 1 or digit.upper() not in DTMF_DIGITS:
            raise MediaError("a DTMF digit is one of 0-9, *, # and A-D")
        found = await self._settled(leg)
        await found.link.reply(found.link.worker.report_digit(found.native, ord(digit.upper())))
