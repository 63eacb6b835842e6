"""A render from the middle says there what the whole says, and the fast first pass finds what the slow one does."""

from __future__ import annotations

import dataclasses
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mediaserver.recording import keys, surveying
from mediaserver.recording.journal import Kind, note
from mediaserver.recording.surveying import Surveyed, survey_quickly, survey_together
from mediaserver.recording.timeline import Leg, survey
from mediaserver.recording.voices import Sound, Voices, mix
from tests.support.sealed import RING, begin_sealed, put, write_sealed
from tests.support.synthetic_taps import CODECS, T0_NS, Talker, packet_record, rtp, tone, write_journal

SECONDS = 24


def key_of(path: Path) -> bytes:
    values = keys.read_key(path)
    assert values is not None
    return RING.unwrap(values)


def facts(leg: Leg) -> dict[str, Any]:
    return {
        **dataclasses.asdict(dataclasses.replace(leg, codecs=None, read=None)),  # type: ignore[arg-type]
        "records": leg.read.records,
        "skipped": leg.read.bytes_skipped,
    }


def pcm(sound: Sound, voices: Voices, seconds: int) -> np.ndarray:
    return np.concatenate([mix(voices.read(sound.rate_hz), sound.channels) for _ in range(seconds)])


def recorded(folder: Path, codec: str, rate_hz: int = 8_000) -> Sound:
    """Two parties of different clocks, over a network that loses, delays and reorders."""
    draw = random.Random(7)
    found: list[Surveyed] = []
    for number, ppm in ((1, 180.0), (2, -120.0)):
        delays = [
            round(draw.expovariate(1 / 15e6)) + (400_000_000 if draw.random() < 0.02 else 0) for _ in range(2_000)
        ]
        lost = {index for index in range(2_000) if draw.random() < 0.05}
        talker = Talker(tone(300 * number, SECONDS, rate_hz), codec, rate_hz, ppm=ppm, ssrc=number,
                        delay_ns=delays.__getitem__, lost=lost.__contains__)  # fmt: skip
        packets = sorted(talker.packets())
        write_sealed(folder, packets, str(number), closed_ns=T0_NS + SECONDS * 1_000_000_000)
        path = folder / f"{number}.journal"
        found.append(survey_quickly(path, key_of(path)))
    return Sound(found)


@pytest.mark.parametrize("codec", ["PCMU", "PCMA"])
def test_g711_from_the_middle_is_the_whole_bit_for_bit(codec: str, tmp_path: Path) -> None:
    sound = recorded(tmp_path, codec)
    whole = pcm(sound, sound.voices(), SECONDS)
    for second in (1, 5, 11, 20):
        voices = sound.voices_from(second * sound.rate_hz + 123)
        assert voices.position == second * sound.rate_hz
        part = pcm(sound, voices, 3)
        assert np.array_equal(part, whole[second * sound.rate_hz : (second + 3) * sound.rate_hz])


@pytest.mark.parametrize(("codec", "apart_max"), [("G722", 1), ("opus", 4)])
def test_a_codec_with_memory_from_the_middle_is_the_whole_but_for_what_its_decoder_forgets(
    codec: str, apart_max: int, tmp_path: Path
) -> None:
    sound = recorded(tmp_path, codec, 16_000)
    whole = pcm(sound, sound.voices(), SECONDS).astype(int)
    for second in (5, 16):
        part = pcm(sound, sound.voices_from(second * sound.rate_hz), 4).astype(int)
        there = whole[second * sound.rate_hz : (second + 4) * sound.rate_hz]
        assert np.abs(part - there).max() <= apart_max, np.abs(part - there).max()


def test_the_fast_survey_finds_what_the_slow_one_does_whatever_a_sender_does(tmp_path: Path) -> None:
    draw = random.Random(11)
    for round_number in range(12):
        folder = tmp_path / str(round_number)
        folder.mkdir()
        file = begin_sealed(folder)
        put(file, note(Kind.OPEN, T0_NS, {"evidence": {"evidence_id": "e"}}))
        now, sequence, timestamp, ssrc, payload_type = T0_NS, draw.randrange(65_536), draw.randrange(1 << 32), 1, 0
        batch = b""
        for index in range(1_200):
            event = draw.random()
            if event < 0.004:
                now += draw.choice((150_000_000, 900_000_000, 3_000_000_000))  # held, or a spike
            elif event < 0.008:
                timestamp += draw.choice((80_000, -9_000, 1 << 31))
            elif event < 0.011:
                ssrc = draw.randrange(1, 4)
            elif event < 0.014:
                payload_type = draw.choice((0, 8, 9, 96, 101, 13, 55))
            elif event < 0.017:
                sequence = draw.randrange(65_536)
            elif event < 0.02:
                codecs = dict(CODECS) if draw.random() < 0.5 else {**CODECS, "0": CODECS["8"]}
                batch += note(Kind.CODECS, now - draw.choice((0, 40_000_000)), {"codecs": codecs})
            elif event < 0.05:
                sequence += draw.choice((-3, 1, 2, 40))
            elif event < 0.06:
                batch += note(Kind.EVENT, now, {"held": True})
            packet = rtp(sequence, timestamp, b"x" * 20, payload_type=payload_type, ssrc=ssrc)
            if draw.random() < 0.02:
                packet = bytes([draw.choice((0x80, 0x81, 0x90, 0xA0, 0x40))]) + packet[1:-1] + b"\x03"
            batch += packet_record(now + draw.randrange(8_000_000), packet)
            sequence, timestamp, now = sequence + 1, timestamp + 160, now + 20_000_000
            if index % 7 == 0:
                put(file, batch, now)
                batch = b""
        path = folder / "1.journal"
        data = bytearray(path.read_bytes())
        for _ in range(draw.choice((0, 0, 3))):
            data[draw.randrange(2_000, len(data))] ^= 1
        path.write_bytes(data)
        assert facts(survey_quickly(path, key_of(path)).leg) == facts(survey(path, key_of(path)))


def known(one: Surveyed) -> list[tuple[Any, ...]]:
    return [
        (place.offset, place.arrival_ns, {ssrc: (u.sequence, u.timestamp) for ssrc, u in place.sources.items()})
        for place in one.places
    ]


def killed(*_: object) -> None:
    os._exit(9)


@pytest.mark.parametrize("helper", [surveying._survey_share, killed], ids=["helped", "a helper that dies"])
def test_large_journals_are_surveyed_side_by_side_and_found_the_same(
    helper: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(tmp_path, "PCMU")
    write_sealed(tmp_path, sorted(Talker(tone(500, 4), ssrc=3).packets()), "3", closed_ns=T0_NS + 4_000_000_000)
    journals: dict[Path, bytes | None] = {path: key_of(path) for path in sorted(tmp_path.glob("*.journal"))}
    monkeypatch.setattr(surveying, "ALONE_BYTES_MAX", 0)
    monkeypatch.setattr(surveying, "_survey_share", helper)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    found = survey_together(journals)
    alone = [survey_quickly(path, key) for path, key in journals.items()]
    assert [facts(one.leg) for one in found] == [facts(one.leg) for one in alone]
    assert [known(one) for one in found] == [known(one) for one in alone]
    assert mix(Sound(found).voices_from(8 * 8_000).read(8_000), 2).tobytes() == (
        mix(Sound(alone).voices_from(8 * 8_000).read(8_000), 2).tobytes()
    )


def test_a_journal_that_is_gone_is_told_by_a_helper_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded(tmp_path, "PCMU")
    journals: dict[Path, bytes | None] = {path: key_of(path) for path in sorted(tmp_path.glob("*.journal"))}
    monkeypatch.setattr(surveying, "ALONE_BYTES_MAX", 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    real = surveying._survey_share

    def erased(*args: Any) -> None:
        (tmp_path / "2.journal").unlink()
        real(*args)

    monkeypatch.setattr(surveying, "_survey_share", erased)
    with pytest.raises(FileNotFoundError):
        survey_together(journals)


def test_a_journal_that_is_not_sealed_is_read_from_its_beginning(tmp_path: Path) -> None:
    packets = list(Talker(tone(440, 9), "PCMU").packets())
    path = write_journal(tmp_path / "1.journal", packets, closed_ns=T0_NS + 9_000_000_000)
    surveyed = survey_quickly(path, None)
    assert surveyed.places == []
    sound = Sound([surveyed])
    whole = pcm(sound, sound.voices(), 9)
    assert np.array_equal(pcm(sound, sound.voices_from(6 * 8_000), 2), whole[6 * 8_000 : 8 * 8_000])


def test_a_later_reader_begins_near_its_moment_not_at_the_files_beginning(tmp_path: Path) -> None:
    packets = list(Talker(tone(440, 60), "PCMU").packets())
    write_sealed(tmp_path, packets, closed_ns=T0_NS + 60_000_000_000)
    path = tmp_path / "1.journal"
    places = survey_quickly(path, key_of(path)).places
    assert 11 <= len(places) <= 13
    assert all(one.arrival_ns - T0_NS <= 5_100_000_000 * index for index, one in enumerate(places))
    assert places[-1].offset > path.stat().st_size * 0.85
