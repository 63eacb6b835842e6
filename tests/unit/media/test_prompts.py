"""Prompt files: decoding what PyAV reads, refusing what is not audio, finding by name and language, the shipped set."""

import wave
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt
import pytest

from mediaserver.errors import PromptError
from mediaserver.media.prompts import PromptLibrary, decode_audio

SHIPPED = Path(__file__).resolve().parents[3] / "config" / "prompts"
NEEDED = {
    "welcome", "echo-intro", "recording-notice", "press-1-to-agree", "message-intro", "message-playback",
    "message-empty", "message-deleted", "conference-join", "conference-alone", "not-available", "no-route",
    "technical-error", "please-wait", "invalid-choice", "thank-you", "goodbye", "recording-notice-supervised",
    "press-1-for-training",
}  # fmt: skip


def write_wave(path: Path, pcm: npt.NDArray[np.int16], rate_hz: int, channels: int = 1) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(pcm.tobytes())
    return path


def sine(rate_hz: int, seconds: float = 0.5, hz: float = 440.0) -> npt.NDArray[np.int16]:
    return np.round(9_000 * np.sin(2 * np.pi * hz * np.arange(int(rate_hz * seconds)) / rate_hz)).astype(np.int16)


@pytest.mark.parametrize(
    ("file_hz", "kept_hz"),
    [(8_000, 8_000), (11_025, 16_000), (16_000, 16_000), (22_050, 48_000), (44_100, 48_000), (48_000, 48_000)],
)
def test_a_wave_file_of_any_rate_keeps_its_length_and_pitch(tmp_path: Path, file_hz: int, kept_hz: int) -> None:
    rate_hz, pcm = decode_audio(write_wave(tmp_path / "a.wav", sine(file_hz), file_hz))
    assert rate_hz == kept_hz
    assert pcm.dtype == np.int16
    assert len(pcm) == pytest.approx(kept_hz / 2, abs=2)
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    assert np.fft.rfftfreq(len(pcm), 1 / rate_hz)[spectrum.argmax()] == pytest.approx(440, abs=2)
    assert np.abs(pcm).max() == pytest.approx(9_000, rel=0.02)


def test_at_a_rate_that_is_kept_not_one_sample_changes(tmp_path: Path) -> None:
    original = np.random.default_rng(1).integers(-32768, 32768, 8_000).astype(np.int16)
    assert np.array_equal(decode_audio(write_wave(tmp_path / "a.wav", original, 16_000))[1], original)


def test_stereo_is_folded(tmp_path: Path) -> None:
    left = sine(16_000)
    both = np.stack([left, left], axis=1)
    _, pcm = decode_audio(write_wave(tmp_path / "a.wav", both, 16_000, channels=2))
    assert np.abs(pcm.astype(int) - left).max() <= 1


@pytest.mark.parametrize(
    ("codec", "suffix"), [("flac", "flac"), ("libmp3lame", "mp3"), ("aac", "m4a"), ("libopus", "ogg")]
)
def test_compressed_files_are_read(tmp_path: Path, codec: str, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=48_000, layout="mono")
        pcm = sine(48_000)
        form = stream.codec_context.format.name
        resampler = av.AudioResampler(
            format=form, layout="mono", rate=48_000, frame_size=stream.codec_context.frame_size or 960
        )
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), "s16", "mono")
        frame.sample_rate = 48_000
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    rate_hz, decoded = decode_audio(path)
    assert len(decoded) / rate_hz == pytest.approx(0.5, abs=0.06)
    assert np.abs(decoded).max() == pytest.approx(9_000, rel=0.15)


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"gone\.wav: cannot be read as audio \(No such file"):
        decode_audio(tmp_path / "gone.wav")


def test_a_directory_is_no_prompt(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="cannot be read as audio"):
        decode_audio(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"#EXTM3U\nhttp://127.0.0.1:9/x.wav\n", b"This is a letter, not a sound.\n" * 50, bytes(5_000)]
)
def test_what_is_not_audio_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "letter.wav"
    path.write_bytes(content)
    with pytest.raises(PromptError, match=r"letter\.wav: "):
        decode_audio(path)


def test_a_play_list_opens_no_other_file(tmp_path: Path) -> None:
    write_wave(tmp_path / "secret.wav", sine(8_000), 8_000)
    for name, text in (
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nsecret.wav\n#EXT-X-ENDLIST\n"),
        ("list.txt", "ffconcat version 1.0\nfile secret.wav\n"),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(PromptError):
            decode_audio(tmp_path / name)


def test_a_wave_file_without_a_sample_holds_no_audio(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"holds no audio|not audio|cannot be read"):
        decode_audio(write_wave(tmp_path / "a.wav", np.empty(0, np.int16), 8_000))


def test_too_long_a_prompt_is_refused_with_the_limit(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match=r"longer than 0\.3 s"):
        decode_audio(write_wave(tmp_path / "a.wav", sine(8_000), 8_000), seconds_max=0.3)


def test_a_file_cut_short_plays_as_far_as_it_goes(tmp_path: Path) -> None:
    path = write_wave(tmp_path / "a.wav", sine(16_000), 16_000)
    path.write_bytes(path.read_bytes()[:9_000])
    assert len(decode_audio(path)[1]) == pytest.approx(4_478, abs=64)


@pytest.fixture
def two_directories(tmp_path: Path) -> tuple[Path, Path]:
    own, shipped = tmp_path / "own", tmp_path / "shipped"
    for path in (own / "ru/welcome.wav", shipped / "ru/welcome.ogg", shipped / "en/welcome.ogg", shipped / "en/bye.ogg",
                 shipped / "common/music.flac", shipped / "lv/sveiki.ogg"):  # fmt: skip
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    return own, shipped


def test_the_search_is_own_before_shipped_and_language_before_fallback(two_directories: tuple[Path, Path]) -> None:
    own, shipped = two_directories
    library = PromptLibrary([own, shipped])
    assert library.find("welcome", "ru") == own / "ru/welcome.wav"
    assert library.find("welcome", "en") == shipped / "en/welcome.ogg"
    assert library.find("welcome", "de") == shipped / "en/welcome.ogg"
    assert library.find("welcome", "ru-RU") == own / "ru/welcome.wav"
    assert library.find("bye", "ru") == shipped / "en/bye.ogg"
    assert library.find("music", "ru") == shipped / "common/music.flac"
    assert library.find("sveiki", "ru") == shipped / "lv/sveiki.ogg"
    assert library.languages == ("en", "lv", "ru")
    assert library.names("en") == {"welcome", "bye"}


def test_an_unknown_prompt_names_where_it_was_looked_for(two_directories: tuple[Path, Path]) -> None:
    with pytest.raises(PromptError, match=r"no prompt 'nothing' in 'ru' or any other language under .*own, .*shipped"):
        PromptLibrary(two_directories).find("nothing", "ru")


@pytest.mark.parametrize(
    "name", ["../secret", "/etc/passwd", "a/b", "a.b", "", "A", "a--b", "-a", "a" * 65, "a\nb", "a\n", "ё"]
)
def test_a_name_that_is_not_one_is_refused_before_any_file_is_touched(
    two_directories: tuple[Path, Path], name: str
) -> None:
    with pytest.raises(PromptError, match="is not a prompt name"):
        PromptLibrary(two_directories).find(name, "en")


@pytest.mark.parametrize("language", ["..", "en/..", "", "e", "en_US", "common/..", "en\n"])
def test_a_language_that_is_not_one_is_refused(two_directories: tuple[Path, Path], language: str) -> None:
    with pytest.raises(PromptError, match="is not a language"):
        PromptLibrary(two_directories).find("welcome", language)


def test_a_link_out_of_the_directory_is_not_followed(two_directories: tuple[Path, Path], tmp_path: Path) -> None:
    secret = tmp_path / "secret.wav"
    secret.write_bytes(b"")
    (two_directories[1] / "en/leak.wav").symlink_to(secret)
    with pytest.raises(PromptError, match="no prompt 'leak'"):
        PromptLibrary(two_directories).find("leak", "en")


def test_both_shipped_languages_hold_the_same_prompts_and_all_that_are_needed() -> None:
    library = PromptLibrary([SHIPPED])
    assert library.languages == ("en", "ru")
    assert library.names("en") == library.names("ru") >= NEEDED
    assert library.find("hold-music", "ru") == library.find("hold-music", "en")


@pytest.mark.parametrize(
    "path", sorted([*SHIPPED.glob("*/*.ogg"), *SHIPPED.glob("*/*.flac")]), ids=lambda p: f"{p.parent.name}-{p.stem}"
)
def test_a_shipped_prompt_is_level_unclipped_and_starts_soon(path: Path) -> None:
    rate_hz, pcm = decode_audio(path)
    samples = pcm.astype(np.float64) / 32768
    assert 0.8 < len(pcm) / rate_hz < 30
    assert 20 * np.log10(np.abs(samples).max()) < -1
    block = rate_hz // 100
    power = (samples[: len(samples) // block * block].reshape(-1, block) ** 2).mean(axis=1)
    active = power > power.max() * 10**-3.5
    assert active.argmax() * 10 <= 300  # ms of leading silence
    assert -27 < 10 * np.log10(power[active].mean()) < -21


def test_the_hold_music_loops_without_a_seam() -> None:
    _, pcm = decode_audio(PromptLibrary([SHIPPED]).find("hold-music", "en"))
    twice = np.concatenate([pcm, pcm]).astype(np.float64)
    bend = np.abs(np.diff(twice, 2))
    seam = bend[len(pcm) - 4 : len(pcm) + 4].max()
    assert seam <= np.percentile(bend, 99.5)


def test_all_shipped_files_together_stay_under_2_mb() -> None:
    assert sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file()) < 2_000_000
