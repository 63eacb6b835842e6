"""Several pictures in one: each in its field, when it was there to be seen, and everybody's sound beside."""

from pathlib import Path

import av
import numpy as np
import pytest

from mediaserver.recording import film_grid
from mediaserver.recording.film_grid import places
from mediaserver.recording.film_render import render_film
from tests.support.film import Photographer, write_pictures
from tests.support.numbered import read
from tests.support.synthetic_taps import T0_NS, Talker, tone, write_journal

MS = 1_000_000
SECOND = 1_000 * MS
GRID_WIDTH, GRID_HEIGHT = 480, 270  # drawn and read faster than what people see
Seen = list[tuple[int, list[tuple[int, int] | None]]]


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film_grid, "GRID_WIDTH", GRID_WIDTH)
    monkeypatch.setattr(film_grid, "GRID_HEIGHT", GRID_HEIGHT)


def fields(path: Path, count: int) -> Seen:
    """(ms, what each field shows) of every picture of a film; a field's picture is 4:3 in its middle."""
    out: Seen = []
    with av.open(str(path)) as film:
        for image in film.decode(film.streams.video[0]):
            pixels = image.to_ndarray(format="rgb24")
            shown = []
            for left, top, width, height in places(count):
                high = min(height, width * 3 // 4)
                wide = high * 4 // 3
                x, y = left + (width - wide) // 2, top + (height - high) // 2
                shown.append(read(pixels[y : y + high, x : x + wide]))
            out.append((round(1000 * image.time), shown))
    return out


def changes(seen: Seen, field: int) -> list[tuple[int, tuple[int, int] | None]]:
    """When that field showed something new, and what."""
    out: list[tuple[int, tuple[int, int] | None]] = []
    for at_ms, shown in seen:
        if not out or out[-1][1] != shown[field]:
            out.append((at_ms, shown[field]))
    return out


def test_two_cameras_stand_side_by_side_each_picture_at_its_time(tmp_path: Path) -> None:
    first = Photographer(owner=1, frames=30)
    second = Photographer(owner=2, frames=20, start_ns=T0_NS + 1_000 * MS, ssrc=2)
    closed = T0_NS + 3 * SECOND
    films = {
        write_pictures(tmp_path / "1-camera.journal", first.packets(), closed_ns=closed): None,
        write_pictures(tmp_path / "2-camera.journal", second.packets(), closed_ns=closed): None,
    }
    talk = [Talker(tone(500, 3.0), ssrc=ssrc) for ssrc in (1, 2)]
    sound = {
        write_journal(tmp_path / f"{n}.journal", list(talker.packets()), leg=str(n), closed_ns=closed): None
        for n, talker in enumerate(talk, 1)
    }
    told = render_film(sound, films, tmp_path / "film.webm", "webm")
    seen = fields(tmp_path / "film.webm", 2)
    left, right = changes(seen, 0), changes(seen, 1)
    assert [picture for _, picture in left] == [(1, number) for number in range(30)]
    assert [picture for _, picture in right] == [None, *((2, number) for number in range(20))]
    for at_ms, picture in left:
        assert picture is not None
        assert at_ms == pytest.approx(picture[1] * 1000 / 15, abs=70)  # a frame of the grid
    assert right[1][0] == pytest.approx(1_000, abs=70)
    assert (told.frames, told.frames_dropped, told.length_ms) == (50, 0, 3_000)
    with av.open(str(tmp_path / "film.webm")) as film:
        assert (film.streams.video[0].width, film.streams.video[0].height) == (GRID_WIDTH, GRID_HEIGHT)
        pcm = np.concatenate([frame.to_ndarray()[0] for frame in film.decode(audio=0)])
    assert len(pcm) == pytest.approx(3 * 48_000, abs=2_000)
    assert np.abs(pcm).max() > 0.2


def test_who_is_not_captured_any_more_is_not_shown_any_more(tmp_path: Path) -> None:
    """The pause of a capture is a black field, not the last picture of before."""
    first = Photographer(owner=1, frames=45)
    second = Photographer(owner=2, frames=15, ssrc=2)
    films = {
        write_pictures(tmp_path / "1-camera.journal", first.packets(), closed_ns=T0_NS + 3 * SECOND): None,
        write_pictures(tmp_path / "2-camera.journal", second.packets(), closed_ns=T0_NS + 1_200 * MS): None,
    }
    render_film({}, films, tmp_path / "film.webm", "webm")
    right = changes(fields(tmp_path / "film.webm", 2), 1)
    assert right[-2][1] == (2, 14)
    assert right[-1][1] is None
    assert right[-1][0] == pytest.approx(1_200, abs=70)


def test_fields_are_equal_and_on_the_canvas() -> None:
    for count in range(1, 17):
        found = places(count)
        assert len(set(found)) == count
        assert len({(width, height) for _, _, width, height in found}) == 1
        for left, top, width, height in found:
            assert not (left | top | width | height) & 1
            assert left + width <= GRID_WIDTH
            assert top + height <= GRID_HEIGHT
