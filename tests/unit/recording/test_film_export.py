"""Films of a catalogued recording: whose picture, which, with whose sound; by the worker, the facade and the keeper."""

from __future__ import annotations

import itertools
from pathlib import Path

import av
import pytest

from mediaserver.errors import StorageError
from mediaserver.model import Masked
from mediaserver.recording.export import Form, _pictures, export_recording, open_journals, pictures_of
from mediaserver.recording.keys import destroy_key
from mediaserver.store.recordings import RecordingRow
from tests.support.film import Photographer, seen, write_sealed_pictures
from tests.support.sealed import RING, write_sealed
from tests.support.synthetic_taps import T0_NS, WALL0, Talker, tone

ROW = RecordingRow("r1", "c1", "complete", "call", "2026/09/21/r1", Masked("1"), Masked("2"), round(WALL0 * 1000))
CLOSED = T0_NS + 1_000_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two parties who talk; the first has a camera and a screen, the second a camera that speaks H.264."""
    found = tmp_path / ROW.directory
    found.mkdir(parents=True)
    for name, pitch in (("1", 440), ("2", 880)):
        write_sealed(found, list(Talker(tone(pitch, 1)).packets()), name, closed_ns=CLOSED, per_segment=50)
    write_sealed_pictures(found, Photographer(owner=1, frames=12).packets(), "1", closed_ns=CLOSED)
    write_sealed_pictures(found, Photographer(owner=5, frames=8).packets(), "1", "screen", closed_ns=CLOSED)
    camera = Photographer(owner=2, frames=12, codec="H264")
    write_sealed_pictures(found, camera.packets(), "2", "camera", "H264", closed_ns=CLOSED)
    return found


async def film(root: Path, form: Form, leg: str | None = None, picture: str | None = None) -> list[object]:
    path = await export_recording(root, RING, ROW, form, root / f"film.{form}", only_leg=leg, picture=picture)
    assert path.stat().st_mode & 0o777 == 0o600
    return [shown for _, shown in seen(path)]


async def test_one_partys_camera_is_its_film(folder: Path, tmp_path: Path) -> None:
    assert await film(tmp_path, "webm", "1") == [(1, number) for number in range(12)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2026", "film.webm"]


async def test_of_a_party_the_camera_comes_first_and_a_screen_when_it_is_asked_for(
    folder: Path, tmp_path: Path
) -> None:
    def chosen(leg: str | None, picture: str | None) -> list[str]:
        return [path.stem for path in _pictures(tmp_path, RING, ROW, leg, picture)]

    assert pictures_of(tmp_path, ROW) == [("1", "camera"), ("1", "screen"), ("2", "camera")]
    assert (chosen("1", None), chosen("1", "screen")) == (["1-camera"], ["1-screen"])
    assert chosen(None, None) == ["1-camera", "1-screen", "2-camera"]
    assert chosen(None, "camera") == ["1-camera", "2-camera"]
    for nothing in (("2", "screen"), ("", None), ("1-camera", None)):
        with pytest.raises(LookupError):
            chosen(*nothing)


async def test_the_sound_of_one_partys_film_is_that_partys(folder: Path, tmp_path: Path) -> None:
    assert await film(tmp_path, "mp4", "2") == [(2, number) for number in range(12)]
    with av.open(str(tmp_path / "film.mp4")) as container:
        pcm = [sample for frame in container.decode(audio=0) for sample in frame.to_ndarray()[0]]
    crossings = sum(before < 0 <= after for before, after in itertools.pairwise(pcm[12_000:36_000]))
    assert crossings == pytest.approx(440, abs=10)  # half a second of 880 Hz


async def test_without_a_party_everything_stands_side_by_side(folder: Path, tmp_path: Path) -> None:
    await film(tmp_path, "webm")
    with av.open(str(tmp_path / "film.webm")) as container:
        assert container.streams.video[0].width == 1_280
        assert float(container.duration) / 1e6 == pytest.approx(1.0, abs=0.1)


async def test_what_is_not_there_or_does_not_fit_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="h264 pictures do not go into webm: ask for mp4"):
        await film(tmp_path, "webm", "2")
    destroy_key(folder / "1-camera.journal")
    destroy_key(folder / "1-screen.journal")
    assert pictures_of(tmp_path, ROW) == [("2", "camera")]
    with pytest.raises(LookupError, match="has no picture of party 1"):
        await film(tmp_path, "webm", "1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2026"]


def test_the_sound_is_read_as_if_there_were_no_pictures(folder: Path, tmp_path: Path) -> None:
    assert [path.name for path in open_journals(tmp_path, RING, ROW)] == ["1.journal", "2.journal"]
