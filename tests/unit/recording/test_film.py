"""Films: every whole picture comes out, when it was taken, beside the sound; what lacked a packet is not shown."""

from pathlib import Path

import av
import numpy as np
import pytest

from mediaserver.recording.film_render import RenderedFilm, render_film
from tests.support.film import Photographer, seen, write_pictures
from tests.support.synthetic_taps import T0_NS, Talker, clicks, write_journal

MS = 1_000_000
SECOND = 1_000 * MS


def film(tmp_path: Path, packets: list[tuple[int, bytes]], codec: str = "VP8", **options: object) -> RenderedFilm:
    """Rendered to tmp_path / film, of four seconds."""
    journal = write_pictures(tmp_path / "1-camera.journal", packets, codec, closed_ns=T0_NS + 4 * SECOND)
    form = "mp4" if codec == "H264" else "webm"
    return render_film({}, {journal: None}, tmp_path / "film", form, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("codec", ["VP8", "VP9", "H264"])
def test_every_picture_comes_out_once_when_it_was_taken_and_is_not_encoded_again(codec: str, tmp_path: Path) -> None:
    camera = Photographer(codec=codec, keys=frozenset({0, 30}))
    told = film(tmp_path, camera.packets(), codec)
    pictures = seen(tmp_path / "film")
    assert [picture for _, picture in pictures] == [(3, number) for number in range(45)]
    for at_ms, (number, taken_ns) in zip((at for at, _ in pictures), camera.taken_ns.items(), strict=True):
        assert abs(at_ms - (taken_ns - T0_NS) / MS) <= 1, number
    assert (told.frames, told.frames_dropped, told.packets_lost, told.length_ms) == (45, 0, 0, 4_000)
    with av.open(str(tmp_path / "film")) as opened:
        assert opened.streams.video[0].codec_context.name == {"VP8": "vp8", "VP9": "vp9", "H264": "h264"}[codec]
        assert opened.streams.audio[0].codec_context.name == "opus"
        keys = [index for index, p in enumerate(p for p in opened.demux(video=0) if p.size) if p.is_keyframe]
    assert keys == [0, 30]


@pytest.mark.parametrize("codec", ["VP8", "VP9", "H264"])
def test_after_a_lost_packet_nothing_is_shown_before_the_next_key_frame(codec: str, tmp_path: Path) -> None:
    camera = Photographer(codec=codec, keys=frozenset({0, 30}))
    packets = camera.packets()
    lost = next(index for index, (at_ns, _) in enumerate(packets) if at_ns >= camera.taken_ns[20])
    told = film(tmp_path, packets[:lost] + packets[lost + 1 :], codec)
    numbers = [picture[1] for _, picture in seen(tmp_path / "film") if picture is not None]
    assert numbers == [*range(20), *range(30, 45)]
    assert told.packets_lost == 1
    assert told.frames == 35
    times = [at_ms for at_ms, _ in seen(tmp_path / "film")]
    assert times[20] - times[19] == pytest.approx(11_000 / 15, abs=2)  # the gap stays a gap


def test_what_came_late_or_twice_stands_in_its_place(tmp_path: Path) -> None:
    camera = Photographer()
    packets = camera.packets()
    late = [index for index in range(len(packets)) if index % 7 == 3]
    for index in late:
        packets[index] = (packets[index][0] + 400 * MS, packets[index][1])  # asked for again
    packets += [(arrival + 5 * MS, packet) for arrival, packet in packets[::5]]
    told = film(tmp_path, packets)
    assert [picture for _, picture in seen(tmp_path / "film")] == [(3, number) for number in range(45)]
    assert (told.frames_dropped, told.packets_lost) == (0, 0)


def test_capture_that_begins_in_mid_film_begins_with_a_key_frame(tmp_path: Path) -> None:
    camera = Photographer(keys=frozenset({0, 12}))
    packets = camera.packets()
    film(tmp_path, packets[3:])  # in the middle of the first key frame
    pictures = seen(tmp_path / "film")
    assert [picture for _, picture in pictures] == [(3, number) for number in range(12, 45)]
    assert pictures[0][0] == 800


def test_sound_and_pictures_of_one_moment_stand_at_one_moment(tmp_path: Path) -> None:
    """Whoever claps is seen clapping: both clocks are the server's, whatever the sender's numbers begin with."""
    camera = Photographer(start_ns=T0_NS + 300 * MS)
    journal = write_pictures(tmp_path / "1-camera.journal", camera.packets(), opened_ns=T0_NS + 100 * MS,
                             closed_ns=T0_NS + 4 * SECOND)  # fmt: skip
    claps = [0.5, 1.25, 2.0, 3.5]
    talker = Talker(clicks(claps, 4.0), "PCMU")
    sound = write_journal(tmp_path / "1.journal", list(talker.packets()), closed_ns=T0_NS + 4 * SECOND)
    told = render_film({sound: None}, {journal: None}, tmp_path / "film.webm", "webm")
    assert told.length_ms == 4_000
    times = {picture[1]: at_ms for at_ms, picture in seen(tmp_path / "film.webm") if picture is not None}
    assert set(times) == set(range(45))
    for number, at_ms in times.items():
        assert at_ms == pytest.approx(300 + number * 1000 / 15, abs=2)
    with av.open(str(tmp_path / "film.webm")) as opened:
        pcm = np.concatenate([frame.to_ndarray()[0] for frame in opened.decode(audio=0)]).astype(float)
        rate = opened.streams.audio[0].rate
    loud = np.flatnonzero(np.abs(pcm) > 0.3 * np.abs(pcm).max())
    heard = loud[np.concatenate(([True], np.diff(loud) > rate // 10))] / rate
    assert heard == pytest.approx(claps, abs=0.02)
    assert len(pcm) / rate == pytest.approx(4.0, abs=0.05)


def test_of_a_simulcast_the_best_stream_is_shown_while_there_is_one(tmp_path: Path) -> None:
    best = Photographer(owner=1, frames=30, keys=frozenset({0}), ssrc=1)
    small = Photographer(owner=2, frames=60, keys=frozenset({0, 50}), ssrc=2, scale=2)
    again = Photographer(owner=1, frames=7, first=53, ssrc=1, start_ns=T0_NS + 53 * SECOND // 15 + 10 * MS,
                         timestamp=(0xFFFFF000 + 53 * 6_000) & 0xFFFFFFFF)  # fmt: skip
    packets = best.packets()
    again.sequence = best.sequence
    film(tmp_path, packets + small.packets() + again.packets())
    shown = [picture for _, picture in seen(tmp_path / "film")]
    assert shown == [*((1, number) for number in range(30)), (2, 50), (2, 51), (2, 52), (2, 53),
                     *((1, number) for number in range(53, 60))]  # fmt: skip


def test_a_sender_that_begins_anew_goes_on_in_the_same_film(tmp_path: Path) -> None:
    before = Photographer(frames=20)
    after = Photographer(frames=20, first=20, ssrc=0xBEEF, timestamp=77, sequence=9, start_ns=T0_NS + 1_400 * MS)
    film(tmp_path, before.packets() + after.packets())
    pictures = seen(tmp_path / "film")
    assert [picture for _, picture in pictures] == [(3, number) for number in range(40)]
    assert pictures[20][0] == pytest.approx(1_400, abs=2)


def test_pictures_that_do_not_go_into_a_container_are_refused_in_words(tmp_path: Path) -> None:
    camera = Photographer(codec="H264", frames=3)
    journal = write_pictures(tmp_path / "1-camera.journal", camera.packets(), "H264", closed_ns=T0_NS + SECOND)
    with pytest.raises(ValueError, match="h264 pictures do not go into webm: ask for mp4"):
        render_film({}, {journal: None}, tmp_path / "film", "webm")


def test_no_whole_picture_makes_no_film(tmp_path: Path) -> None:
    packets = Photographer().packets()[1:]
    with pytest.raises(ValueError, match="no whole key frame"):
        film(tmp_path, packets)


def test_a_sealed_film_is_the_film_and_stands_nowhere_in_the_clear(tmp_path: Path) -> None:
    from mediaserver.recording.sealed import SealedFile

    camera = Photographer(frames=20)
    key = bytes(range(32))
    film(tmp_path, camera.packets(), seal=key)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1-camera.journal", "film"]
    assert b"webm" not in (tmp_path / "film").read_bytes()
    (tmp_path / "open").write_bytes(SealedFile.open(tmp_path / "film", key).whole())
    assert [picture for _, picture in seen(tmp_path / "open")] == [(3, number) for number in range(20)]
    with av.open(str(tmp_path / "open")) as opened:
        assert opened.duration == pytest.approx(4_000_000, abs=100_000)  # it was written back and forth
