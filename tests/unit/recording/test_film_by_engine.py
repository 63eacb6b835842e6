"""From a camera on a socket to a film: engine, tap, journal and reader together, each picture counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mediaserver.clock import SystemClock
from mediaserver.media.engine import MediaEngine
from mediaserver.model import CallFacts, Direction, LegFacts, LegHandle, Masked, Notice, NoticeKind
from mediaserver.model_consent import ConsentRules
from mediaserver.model_video import Content, Feedback, PictureSource, TrackSettings, VideoCodec, VideoFormat
from mediaserver.recording.consent import ConsentAuthority
from mediaserver.recording.film_render import render_film
from mediaserver.recording.keys import read_key
from mediaserver.recording.recorder import JournalRecorder
from mediaserver.settings import MediaSettings, RecordingSettings
from mediaserver.store.database import Database
from mediaserver.store.recordings import RecordingStore
from mediaserver.store.spool import Spool
from tests.support.film import Photographer, seen
from tests.unit.media.conftest import Phone
from tests.unit.media.test_engine_video import stream, until

VP8 = (VideoFormat(VideoCodec.VP8, 96),)
CAMERA = TrackSettings("1", Direction.RECVONLY, VP8, VP8, feedback=Feedback(pli=True))


async def test_every_picture_that_came_is_in_the_film(tmp_path: Path, database: Database) -> None:
    clock, authority, spool = SystemClock(), ConsentAuthority(), Spool(database, batch_delay_s=0, backoff_s=0)
    await spool.start()
    engine = MediaEngine(
        MediaSettings(port_range="30590-30599", realtime=False), clock, lambda event: None,
        verify_token=authority.verify,
    )  # fmt: skip
    await engine.start()
    recorder = JournalRecorder(RecordingSettings(), tmp_path, engine, RecordingStore(database, spool), clock, authority)
    await recorder.start()
    party = Phone(1)
    opened = await engine.open_leg("127.0.0.1", call_id="c1")
    await engine.set_stream(opened.handle, stream(party.address))
    track = await engine.open_track(opened.handle)
    await engine.set_track(track.handle, CAMERA)
    recorder.pictures_changed(opened.handle, (PictureSource(track.handle, Content.MAIN, VP8),))
    recording = await record(recorder, tmp_path, opened.handle)

    camera = Photographer(frames=30, rate_hz=250)
    packets = [packet for _, packet in camera.packets()]
    for sent, packet in enumerate(packets):
        party.socket.sendto(packet, ("127.0.0.1", opened.rtp_port))
        if sent % 10 == 9:  # no more than a socket's buffer surely takes
            await until(lambda sent=sent: engine.track_stats(track.handle).packets_received == sent + 1)
    await until(lambda: engine.track_stats(track.handle).packets_received == len(packets))
    await recording.end()
    ring = await recorder.keys()
    [path] = recorder.root.rglob("1-camera.journal")
    values = read_key(path)
    assert values is not None
    told = render_film({}, {path: ring.unwrap(values)}, tmp_path / "film.webm", "webm")
    await recorder.stop()
    await engine.stop()
    await spool.stop(1.0)
    party.socket.close()
    assert (told.frames, told.frames_dropped, told.packets_lost) == (30, 0, 0)
    assert [picture for _, picture in seen(tmp_path / "film.webm")] == [(3, number) for number in range(30)]


async def record(recorder: JournalRecorder, folder: Path, handle: LegHandle) -> Any:
    """A recording of one party who has heard the notice."""
    clock = recorder.clock
    facts = LegFacts("1", handle, "caller", Masked("100"), None, "sip", clock.now_ns(), clock.wall())
    call = CallFacts("c1", Masked("100"), Masked("600"), Masked("A"), "a", "r", "p", clock.now_ns(), clock.wall())
    recording = await recorder.begin(call, NoticeKind.CALL, ConsentRules("p"))
    await recording.leg_joined(facts)
    (folder / "notice.wav").write_bytes(b"This call is recorded.")
    now_ns = clock.now_ns()
    await recording.notice_finished(Notice(handle, "n", "en", str(folder / "notice.wav"), now_ns, now_ns, clock.wall()))
    return recording
