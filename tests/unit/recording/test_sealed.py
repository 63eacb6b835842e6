"""Audio that is kept sealed: any range of it is what the whole WAV has there, and nothing of it lies in the clear."""

from __future__ import annotations

import io
import random
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from mediaserver.errors import StorageError
from mediaserver.recording.render import render
from mediaserver.recording.sealed import CHUNK_BYTES, SealedAudio, SealedFile, SealedShelf, SealedSink, SealedWriter
from tests.support.sealed import sealed_file
from tests.support.synthetic_taps import T0_NS, Talker, tone, write_journal

KEY = bytes(range(32))


def sealed(path: Path, frames: int, rate_hz: int = 8_000) -> tuple[SealedAudio, np.ndarray]:
    pcm = np.random.default_rng(1).integers(-30_000, 30_000, (frames, 2), dtype=np.int16)
    with SealedSink(path, rate_hz, 2, KEY) as sink:
        for block in np.array_split(pcm, 7):
            sink.write_pcm(block)
    return SealedAudio.open(path, KEY), pcm


@pytest.mark.parametrize("frames", [0, 1, CHUNK_BYTES // 4, CHUNK_BYTES // 4 * 3 + 5])
def test_a_window_is_a_wav_file_of_just_that_range(tmp_path: Path, frames: int) -> None:
    audio, pcm = sealed(tmp_path / "a", frames)
    for window, wanted in (
        (audio.window(), pcm),
        (audio.window(1_000, 3_000), pcm[8_000:24_000]),
        (audio.window(10**9), pcm[:0]),
    ):
        data = b"".join(window.read(0, window.size))
        assert len(data) == window.size
        with wave.open(io.BytesIO(data)) as file:
            assert (file.getframerate(), file.getnchannels()) == (8_000, 2)
            assert file.readframes(file.getnframes()) == wanted.tobytes()


def test_every_byte_range_is_that_of_the_whole(tmp_path: Path) -> None:
    audio, _ = sealed(tmp_path / "a", 50_000)
    draw = random.Random(3)
    for window in (audio.window(), audio.window(700, 5_100)):
        whole = b"".join(window.read(0, window.size))
        edges = [0, 1, 43, 44, 45, CHUNK_BYTES + 43, CHUNK_BYTES + 44, window.size - 1, window.size]
        edges += [draw.randrange(window.size) for _ in range(40)]
        for start in edges:
            end = draw.randint(start, window.size)
            assert b"".join(window.read(start, end)) == whole[start:end]


def test_seconds_of_a_range_are_those_of_the_recording(tmp_path: Path) -> None:
    audio, _ = sealed(tmp_path / "a", 80_000)
    window = audio.window(2_000, 9_000)
    assert window.seconds(0, window.size) == (2.0, 9.0)
    assert window.seconds(44 + 32_000, 44 + 64_000) == (3.0, 4.0)


def test_a_changed_byte_a_swapped_chunk_or_another_key_gives_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a"
    audio, _ = sealed(path, CHUNK_BYTES - 1)  # four chunks
    data = path.read_bytes()
    with pytest.raises(StorageError, match="changed"):
        SealedAudio.open(path, bytes(32))
    stride = CHUNK_BYTES + 16
    swapped = data[:32] + data[32 + stride : 32 + 2 * stride] + data[32 : 32 + stride] + data[32 + 2 * stride :]
    for wrong in (data[:1_000] + bytes([data[1_000] ^ 1]) + data[1_001:], swapped, data[:-1]):
        path.write_bytes(wrong)
        with pytest.raises(StorageError, match="changed"):
            b"".join(audio.window().read(0, audio.window().size))


def test_a_render_is_the_same_sealed_and_in_the_clear_and_the_disk_holds_none_of_it(tmp_path: Path) -> None:
    left = write_journal(
        tmp_path / "1.journal", list(Talker(tone(440, 3), "PCMU").packets()), closed_ns=T0_NS + 3_000_000_000
    )
    right = write_journal(
        tmp_path / "2.journal", list(Talker(tone(800, 3), "PCMU", ssrc=2).packets()), closed_ns=T0_NS + 3_000_000_000
    )
    render(dict.fromkeys((left, right)), tmp_path / "a.wav", "wav")
    render(dict.fromkeys((left, right)), tmp_path / "a.sealed", "sealed", seal=KEY)
    with wave.open(str(tmp_path / "a.wav")) as file:
        pcm = file.readframes(file.getnframes())
    window = SealedAudio.open(tmp_path / "a.sealed", KEY).window()
    assert b"".join(window.read(44, window.size)) == pcm
    assert pcm[20_000:20_032] not in (tmp_path / "a.sealed").read_bytes()


@pytest.mark.parametrize("form", ["wav", "lanes", "peaks", "opus"])
def test_a_file_of_any_form_is_sealed_as_it_would_be_in_the_clear(form: str, tmp_path: Path) -> None:
    talk = list(Talker(tone(440, 3), "PCMU").packets())
    journals = {write_journal(tmp_path / "1.journal", talk, closed_ns=T0_NS + 3_000_000_000): None}
    render(journals, tmp_path / "clear", form)
    render(journals, tmp_path / "a.sealed", form, seal=KEY)
    clear, file = (tmp_path / "clear").read_bytes(), SealedFile.open(tmp_path / "a.sealed", KEY)
    whole = file.whole()
    assert len(whole) == file.size
    if form == "opus":  # its container draws a number for each stream
        clear, whole = (_decoded(io.BytesIO(data)) for data in (clear, whole))
        assert len(whole) > 2.9 * 48_000 * 2
    assert whole == clear
    disk = (tmp_path / "a.sealed").read_bytes()
    assert not any(mark in disk for mark in (b"RIFF", b"OggS", b"MSPEAKS1", b'{"version"'))


def _decoded(file: io.BytesIO) -> bytes:
    with av.open(file) as container:
        return b"".join(frame.to_ndarray().tobytes() for frame in container.decode(audio=0))


def test_every_range_of_a_sealed_file_is_that_of_the_whole(tmp_path: Path) -> None:
    data = random.Random(5).randbytes(CHUNK_BYTES * 2 + 77)
    file = sealed_file(tmp_path / "x.peaks.sealed", data)
    assert (file.size, file.name) == (len(data), "x.peaks")
    for start, end in ((0, 0), (0, 1), (CHUNK_BYTES - 1, CHUNK_BYTES + 1), (len(data) - 1, len(data)), (5, len(data))):
        assert b"".join(file.read(start, end)) == data[start:end]
    with pytest.raises(StorageError, match="no file"):
        sealed(tmp_path / "pcm", 100)
        SealedFile.open(tmp_path / "pcm", KEY)


def test_what_broke_off_while_it_was_sealed_does_not_open(tmp_path: Path) -> None:
    writer = SealedWriter(tmp_path / "a", KEY)
    writer.write(bytes(3 * CHUNK_BYTES))
    writer.abandon()
    with pytest.raises(StorageError, match="changed"):
        SealedFile.open(tmp_path / "a", KEY)


def test_keys_of_files_that_are_gone_do_not_pile_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mediaserver.recording.sealed.SHELF_LOOKED_THROUGH_AT", 4)
    shelf = SealedShelf(tmp_path)
    for number in range(100):
        sealed_file(shelf.path(f"r{number}.wav"), b"x")
        shelf.keep(f"r{number}.wav", bytes(32))
        if number:
            shelf.path(f"r{number - 1}.wav").unlink()
    assert len(shelf._keys) <= 4
    last = shelf.find_file("r99.wav")
    assert last is not None
    assert last.whole() == b"x"


def test_a_shelf_knows_only_what_this_process_sealed(tmp_path: Path) -> None:
    shelf = SealedShelf(tmp_path)
    sealed(shelf.path("r1"), 100)
    assert shelf.find("r1") is None
    shelf.keep("r1", KEY)
    found = shelf.find("r1")
    assert found is not None
    assert found.length_ms == 12
    shelf.path("r1").unlink()
    assert shelf.find("r1") is None
    sealed(shelf.path("r2"), 100)
    (tmp_path / "r3.wav").touch()  # of a version that sealed nothing
    shelf.sweep()
    assert not list(tmp_path.iterdir())
