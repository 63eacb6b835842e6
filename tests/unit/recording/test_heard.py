"""What the others heard: lost packets concealed, late ones lost, delay told, and the same every time."""

from pathlib import Path

import numpy as np

from mediaserver.model import Masked
from mediaserver.recording.export import export_recording
from mediaserver.recording.heard import HeardPlayer
from mediaserver.recording.mixdown import LegPlayer
from mediaserver.recording.render import render
from mediaserver.recording.timeline import CodecMaps, survey
from mediaserver.store.recordings import RecordingRow
from tests.support.sealed import RING
from tests.support.synthetic_taps import PCM, T0_NS, WALL0, Talker, click_times, clicks, tone, write_journal

SECONDS = 6
RATE_HZ = 8_000


def journal(folder: Path, talker: Talker) -> Path:
    return write_journal(folder / "1.journal", list(talker.packets()), closed_ns=T0_NS + SECONDS * 1_000_000_000)


def both(path: Path) -> tuple[PCM, PCM, HeardPlayer]:
    leg = survey(path)
    sent = LegPlayer(leg, T0_NS, RATE_HZ).read(SECONDS * RATE_HZ)
    player = HeardPlayer(leg, T0_NS, RATE_HZ)
    parts = [player.read(count) for count in (RATE_HZ, 100, 3 * RATE_HZ - 100, 2 * RATE_HZ)]
    return np.asarray(sent, np.int16), np.asarray(np.concatenate(parts), np.int16), player


def power(pcm: PCM, from_s: float, to_s: float) -> float:
    return float(np.mean(np.square(pcm[round(from_s * RATE_HZ) : round(to_s * RATE_HZ)].astype(float))))


def test_what_arrives_in_time_is_heard_whole_and_a_little_later(tmp_path: Path) -> None:
    at = [1.0, 2.0, 3.5, 5.0]
    sent, heard, player = both(journal(tmp_path, Talker(clicks(at, SECONDS))))
    assert np.allclose(click_times(sent, RATE_HZ), at, atol=0.0005)
    late = np.array(click_times(heard, RATE_HZ)) - np.array(at)
    assert len(late) == len(at)
    assert np.all((late > 0) & (late < 0.2))
    assert (player.packets_misplaced, player.packets_undecodable) == (0, 0)


def test_a_lost_packet_is_silence_as_sent_and_concealed_as_heard(tmp_path: Path) -> None:
    lost = Talker(tone(300, SECONDS), lost=lambda index: index == 150)
    sent, heard, _ = both(journal(tmp_path, lost))
    whole = power(sent, 1, 2)
    assert power(sent, 3.002, 3.018) == 0
    quietest = min(power(heard, at / 100, at / 100 + 0.01) for at in range(280, 330))
    assert quietest > whole / 4


def test_a_packet_that_comes_after_its_moment_is_heard_by_nobody(tmp_path: Path) -> None:
    """As sent it takes its true place; the party at the other end never heard it."""
    at = [1.0, 3.0, 5.0]
    stuck = Talker(clicks(at, SECONDS), delay_ns=lambda index: 900_000_000 if index == 150 else 0)
    sent, heard, player = both(journal(tmp_path, stuck))
    assert np.allclose(click_times(sent, RATE_HZ), at, atol=0.0005)
    assert len(click_times(heard, RATE_HZ)) == 2
    assert player.packets_misplaced == 1


def test_a_render_as_heard_is_as_long_as_one_as_sent_and_the_same_again(tmp_path: Path) -> None:
    path = journal(tmp_path, Talker(tone(440, SECONDS), "G722", 16_000, lost=lambda index: index % 20 == 7))
    made = {}
    for name, heard in (("sent", False), ("heard", True), ("again", True)):
        made[name] = render({path: None}, tmp_path / f"{name}.wav", "wav", heard=heard)
    files = {name: (tmp_path / f"{name}.wav").read_bytes() for name in made}
    assert made["sent"].length_ms == made["heard"].length_ms
    assert len(files["sent"]) == len(files["heard"])
    assert files["sent"] != files["heard"] == files["again"]


def test_a_codec_nobody_knows_is_silence_and_counted(tmp_path: Path) -> None:
    path = journal(tmp_path, Talker(tone(440, SECONDS)))
    leg = survey(path)
    leg.codecs = CodecMaps()
    leg.codecs.add(0, {"0": {"name": "EVS", "clock_hz": 16_000}})
    player = HeardPlayer(leg, T0_NS, RATE_HZ)
    assert not player.read(SECONDS * RATE_HZ).any()
    assert player.packets_undecodable == SECONDS * 50


async def test_an_export_may_be_as_heard(tmp_path: Path) -> None:
    row = RecordingRow("r1", "c1", "complete", "call", "2026/09/21/r1", Masked("1"), Masked("2"), round(WALL0 * 1000))
    folder = tmp_path / row.directory
    folder.mkdir(parents=True)
    path = journal(folder, Talker(tone(300, SECONDS), lost=lambda index: index == 150))
    exported = await export_recording(tmp_path, RING, row, "wav", tmp_path / "heard.wav", heard=True)
    render({path: None}, tmp_path / "same.wav", "wav", heard=True)
    assert exported.read_bytes() == (tmp_path / "same.wav").read_bytes()
