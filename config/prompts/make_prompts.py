#!/usr/bin/env python3
"""Makes the prompt files shipped in this directory. They are committed, so nobody needs this to run the server.

    python config/prompts/make_prompts.py            all of them
    python config/prompts/make_prompts.py goodbye    only these, in both languages

Needs espeak-ng (English), festival with festvox-ru (Russian) and the project's Python environment. To use recordings of
your own, put files of the same names into <directory>/<language>/ and set media.prompts_dir; see README.md here.
"""

from __future__ import annotations

import io
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import soxr

HERE = Path(__file__).resolve().parent
RATE_HZ = 16_000
SPEECH_RMS_DBFS = -23.0  # of the parts where somebody speaks: the level telephone speech is usually at
PEAK_MAX_DBFS = -1.5  # leaves the codec room below -1
SILENCE_BELOW_PEAK_DB = 35.0
LEAD_MS, TAIL_MS = 150, 250
BITRATE_BPS = 28_000

Samples = npt.NDArray[np.float64]

TEXTS: dict[str, tuple[str, str]] = {
    "welcome": (
        "Welcome. This call is answered by a real time media server. Dial six hundred to hear your own voice, "
        "six hundred and two to leave a message and listen to it, or seven hundred to join a conference.",
        "Здравствуйте! На ваш звонок отвечает медиасервер реального времени. Наберите шестьсот, чтобы услышать "
        "свой голос, шестьсот два, чтобы оставить сообщение и прослушать его, или семьсот, чтобы войти в конференцию.",
    ),
    "echo-intro": (
        "After this announcement you will hear yourself. Please say something.",
        "После этого объявления вы услышите самого себя. Скажите что-нибудь.",
    ),
    "recording-notice": (
        "This call is recorded. If you do not agree, please hang up now.",
        "Этот разговор записывается. Если вы не согласны, пожалуйста, положите трубку.",
    ),
    "recording-notice-supervised": (
        "This call is recorded, and others may listen to it. If you do not agree, please hang up now.",
        "Этот разговор записывается, и его могут слушать другие. Если вы не согласны, пожалуйста, положите трубку.",
    ),
    "press-1-for-training": (
        "This call is recorded. If it may also be used for training, please press one.",
        "Этот разговор записывается. Если его можно использовать и для обучения, нажмите единицу.",
    ),
    "press-1-to-agree": (
        "This call is to be recorded. To agree, please press one.",
        "Разговор будет записан. Если вы согласны, нажмите единицу.",
    ),
    "message-intro": (
        "Please leave your message after the tone. When you have finished, press the hash key.",
        "Оставьте, пожалуйста, сообщение после сигнала. Закончив, нажмите решётку.",
    ),
    "message-playback": ("Here is your message.", "Вот ваше сообщение."),
    "message-empty": ("No message was recorded.", "Сообщение не записано."),
    "message-deleted": ("Your message has been deleted.", "Ваше сообщение удалено."),
    "conference-join": ("You are joining the conference.", "Вы входите в конференцию."),
    "conference-alone": (
        "You are the first in this conference. Please wait for the others to join.",
        "Вы первый участник конференции. Подождите, пожалуйста, остальных.",
    ),
    "not-available": (
        "The person you are calling is not available at the moment. Please try again later.",
        "Абонент, которому вы звоните, сейчас не может ответить. Пожалуйста, перезвоните позже.",
    ),
    "no-route": (
        "The number you have dialled is not in service. Please check the number and try again.",
        "Набранный номер не обслуживается. Проверьте номер и попробуйте ещё раз.",
    ),
    "technical-error": (
        "Your call cannot be completed because of a technical problem. Please try again later.",
        "Звонок не может быть завершён из-за технической неполадки. Пожалуйста, попробуйте позже.",
    ),
    "please-wait": ("Please hold the line.", "Пожалуйста, оставайтесь на линии."),
    "invalid-choice": (
        "That is not one of the choices. Please try again.",
        "Такого варианта нет. Пожалуйста, попробуйте ещё раз.",
    ),
    "thank-you": ("Thank you.", "Спасибо."),
    "goodbye": ("Thank you for calling. Goodbye.", "Спасибо за звонок. До свидания."),
}


def speak_english(text: str) -> tuple[int, Samples]:
    return read(io.BytesIO(run("espeak-ng", "-v", "en-us", "-s", "150", "-g", "2", "--stdout", text)))


def run(*command: str) -> bytes:
    try:
        done = subprocess.run(command, check=True, capture_output=True)  # noqa: S603  (our own words, no shell)
    except FileNotFoundError as error:
        raise SystemExit(f"{command[0]} is not installed; apt-get install espeak-ng festival festvox-ru") from error
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"{' '.join(command)} failed: {error.stderr.decode(errors='replace').strip()}") from error
    if b"no rule matches" in done.stderr:  # festival says so and goes on, with the word missing
        raise SystemExit(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout


def speak_russian(text: str) -> tuple[int, Samples]:
    with tempfile.TemporaryDirectory() as folder:
        source, wave = Path(folder, "text"), Path(folder, "speech.wav")
        source.write_text(text + "\n", encoding="utf-8")
        run("text2wave", "-eval", "(voice_msu_ru_nsh_clunits)", str(source), "-o", str(wave))
        return read(io.BytesIO(wave.read_bytes()))


def read(file: io.BytesIO) -> tuple[int, Samples]:
    with av.open(file, mode="r") as container:
        stream = container.streams.audio[0]
        pieces = [frame.to_ndarray().reshape(-1) for frame in container.decode(stream)]
        return stream.codec_context.sample_rate, np.concatenate(pieces).astype(np.float64) / 32768.0


def shaped(rate_hz: int, speech: Samples) -> Samples:
    """Resampled, silence trimmed, levelled; loud peaks rounded off rather than clipped."""
    speech = soxr.resample(speech - speech.mean(), rate_hz, RATE_HZ, quality="VHQ")
    frame = RATE_HZ // 100
    power = (speech[: len(speech) // frame * frame].reshape(-1, frame) ** 2).mean(axis=1)
    active = np.flatnonzero(power > power.max() * 10 ** (-SILENCE_BELOW_PEAK_DB / 10))
    lead, tail = RATE_HZ * LEAD_MS // 1000, RATE_HZ * TAIL_MS // 1000
    padded = np.concatenate([np.zeros(lead), speech, np.zeros(tail)])
    speech = padded[active[0] * frame : (active[-1] + 1) * frame + lead + tail]
    speech = speech * 10 ** (SPEECH_RMS_DBFS / 20) / np.sqrt(power[active].mean())
    limit = 10 ** (PEAK_MAX_DBFS / 20)
    knee = limit * 0.7
    over = np.abs(speech) > knee
    speech[over] = np.sign(speech[over]) * (
        knee + (limit - knee) * np.tanh((np.abs(speech[over]) - knee) / (limit - knee))
    )
    fade = RATE_HZ // 100
    speech[:fade] *= np.linspace(0, 1, fade)
    speech[-fade:] *= np.linspace(1, 0, fade)
    return speech


def hold_music() -> Samples:
    """24 s of soft chords that begin where they end: every note's tail wraps round to the start."""
    seconds, bar_s = 24, 3.0
    chords = [  # F, Dm, Bb, C, F, Am, Bb, C as frequencies' semitones above A2
        (8, 20, 24, 27),
        (5, 17, 20, 24),
        (1, 13, 17, 20),
        (3, 15, 19, 22),
        (8, 20, 24, 27),
        (0, 12, 15, 19),
        (1, 13, 17, 20),
        (3, 15, 19, 22),
    ]
    total = np.zeros(seconds * RATE_HZ)

    def add(start_s: float, semitones: float, attack_s: float, decay_s: float, level: float) -> None:
        t = np.arange(int(min(decay_s * 5, seconds) * RATE_HZ)) / RATE_HZ
        hz = 110.0 * 2 ** (semitones / 12)
        envelope = np.minimum(1, t / attack_s) * np.exp(-t / decay_s) * np.minimum(1, (t[-1] - t) / 0.05)
        tone = sum(
            amplitude * np.sin(2 * np.pi * hz * (k + 1) * t) for k, amplitude in enumerate((1, 0.35, 0.15, 0.06))
        )
        at = (int(start_s * RATE_HZ) + np.arange(len(t))) % len(total)
        np.add.at(total, at, level * envelope * tone)

    for bar, chord in enumerate(chords):
        for note in chord:
            add(bar * bar_s, note, 0.5, 1.6, 0.16)  # a pad
        for beat, step in enumerate((1, 2, 3, 2, 1, 3)):
            add(bar * bar_s + beat * bar_s / 6, chord[step] + 12, 0.008, 0.55, 0.13)  # plucked on top
    spectrum = np.fft.rfft(total)  # a circular filter keeps the loop seamless: what a telephone carries, gently rounded
    hz = np.fft.rfftfreq(len(total), 1 / RATE_HZ)
    spectrum *= 1 / (1 + (hz / 3_200.0) ** 4) * (hz**2 / (hz**2 + 120.0**2))
    total = np.fft.irfft(spectrum, len(total))
    music: Samples = total * 10 ** ((SPEECH_RMS_DBFS - 3) / 20) / np.sqrt((total**2).mean())
    return music


def write(path: Path, samples: Samples, codec: str, container_format: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pcm = np.round(samples * 32767).astype(np.int16)
    with av.open(str(path), mode="w", format=container_format) as container:
        stream = container.add_stream(codec, rate=RATE_HZ, layout="mono")
        assert isinstance(stream, av.AudioStream)
        if codec == "libopus":
            stream.bit_rate = BITRATE_BPS
            stream.options = {"application": "voip", "vbr": "on", "compression_level": "10"}
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE_HZ, 0, Fraction(1, RATE_HZ)
        fifo = av.AudioFifo()
        fifo.write(frame)
        size = stream.codec_context.frame_size or 4_096
        while (piece := fifo.read(size, partial=True)) is not None:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    print(f"{path.relative_to(HERE)}: {len(pcm) / RATE_HZ:.1f} s, {path.stat().st_size} bytes")


def main(wanted: list[str]) -> None:
    unknown = sorted(set(wanted) - set(TEXTS) - {"hold-music"})
    if unknown:
        raise SystemExit(f"no such prompt: {', '.join(unknown)}; there are {', '.join(TEXTS)}, hold-music")
    for name, (english, russian) in TEXTS.items():
        if not wanted or name in wanted:
            write(HERE / "en" / f"{name}.ogg", shaped(*speak_english(english)), "libopus", "ogg")
            write(HERE / "ru" / f"{name}.ogg", shaped(*speak_russian(russian)), "libopus", "ogg")
    if not wanted or "hold-music" in wanted:
        write(HERE / "common" / "hold-music.flac", hold_music(), "flac", "flac")


if __name__ == "__main__":
    main(sys.argv[1:])
