"""What the server renders for the API stands on its disk only sealed, and is rendered once."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import pytest

from mediaserver.api.facade import NotFound
from mediaserver.app_facade import ServerFacade
from mediaserver.model import Masked
from mediaserver.recording.cabinet import Cabinet
from mediaserver.recording.keys import destroy_key
from mediaserver.recording.listening import Listening
from mediaserver.recording.sealed import SealedShelf
from mediaserver.store.recordings import RecordingRow
from tests.support.film import Photographer, seen, write_sealed_pictures
from tests.support.sealed import RING, write_sealed
from tests.support.synthetic_taps import T0_NS, Talker, tone

ROW = RecordingRow("r1", "c1", "complete", "call", "2026/09/21/r1", Masked("1"), Masked("2"), 1)


class Catalogue:
    async def get(self, recording_id: str) -> RecordingRow | None:
        return ROW if recording_id == "r1" else None


@pytest.fixture
async def facade(tmp_path: Path) -> AsyncIterator[ServerFacade]:
    folder = tmp_path / ROW.directory
    folder.mkdir(parents=True)
    write_sealed(folder, list(Talker(tone(440, 1)).packets()), closed_ns=T0_NS + 1_000_000_000)

    async def keys() -> Any:
        return RING

    cabinet = Cabinet(tmp_path, None, 0, 0)
    server: Any = SimpleNamespace(
        listening=Listening(tmp_path, tmp_path / "exports", cabinet, keys),
        shelf=SealedShelf(tmp_path / "exports"),
        recordings=Catalogue(),
        recorder=SimpleNamespace(root=tmp_path, keys=keys),
        cabinet=cabinet,
    )
    yield ServerFacade(server)
    await server.listening.stop()


async def test_an_export_is_rendered_once_and_nothing_of_it_is_in_the_clear(
    facade: ServerFacade, tmp_path: Path
) -> None:
    wav = await facade.export_recording("r1", "wav")
    clear = wav.whole()
    assert clear[:4] == b"RIFF"
    assert json.loads(await facade.lanes("r1"))["length"] == 1.0
    disk = {path.name: path for path in (tmp_path / "exports").iterdir()}
    assert sorted(disk) == ["r1.lanes.json.sealed", "r1.wav.sealed"]
    for path in disk.values():
        data = path.read_bytes()
        assert path.stat().st_mode & 0o777 == 0o600
        assert not any(mark in data for mark in (b"RIFF", b"WAVE", b'"version"', clear[2_000:2_032]))
    made = disk["r1.wav.sealed"].stat().st_mtime_ns
    assert (await facade.export_recording("r1", "wav")).whole() == clear
    assert disk["r1.wav.sealed"].stat().st_mtime_ns == made
    disk["r1.wav.sealed"].unlink()  # nobody had asked for it for an hour
    assert (await facade.export_recording("r1", "wav")).whole() == clear


async def test_what_was_erased_is_not_found(facade: ServerFacade, tmp_path: Path) -> None:
    destroy_key(tmp_path / ROW.directory / "1.journal")
    with pytest.raises(NotFound, match="keys were destroyed"):
        await facade.export_recording("r1", "peaks")
    assert list((tmp_path / "exports").iterdir()) == []


async def test_a_film_is_rendered_once_sealed_and_only_of_pictures_there_are(
    facade: ServerFacade, tmp_path: Path
) -> None:
    with pytest.raises(NotFound, match="no such picture"):
        await facade.film("r1", "webm")
    packets = Photographer(frames=10).packets()
    write_sealed_pictures(tmp_path / ROW.directory, packets, closed_ns=T0_NS + 1_000_000_000)
    assert list(await facade.pictures("r1")) == [("1", "camera")]
    clear = (await facade.film("r1", "webm", "1")).whole()
    [sealed] = list((tmp_path / "exports").iterdir())
    made = sealed.stat().st_mtime_ns
    assert b"webm" in clear
    assert b"webm" not in sealed.read_bytes()
    (tmp_path / "clear").write_bytes(clear)
    assert [picture for _, picture in seen(tmp_path / "clear")] == [(3, number) for number in range(10)]
    assert (await facade.film("r1", "webm", "1")).whole() == clear
    assert sealed.stat().st_mtime_ns == made
    for party, picture in (("../1", None), ("2", None), ("1", "screen"), (None, "../x")):
        with pytest.raises(NotFound):
            await facade.film("r1", "webm", party, picture)


async def test_pictures_alone_lie_on_the_time_line_of_the_sound(facade: ServerFacade, tmp_path: Path) -> None:
    late = Photographer(frames=10, start_ns=T0_NS + 300_000_000)
    write_sealed_pictures(tmp_path / ROW.directory, late.packets(), closed_ns=T0_NS + 1_000_000_000)
    clear = (await facade.film("r1", "pictures", "1", "camera")).whole()
    (tmp_path / "clear").write_bytes(clear)
    shown = seen(tmp_path / "clear")
    assert [picture for _, picture in shown] == [(3, number) for number in range(10)]
    assert abs(shown[0][0] - 300) <= 5
    with av.open(str(tmp_path / "clear")) as film:
        assert [stream.type for stream in film.streams] == ["video"]


async def test_how_far_a_render_has_come_can_be_asked_while_it_runs(facade: ServerFacade) -> None:
    assert facade.preparing("r1") == {}
    sound = await facade.sealed_audio("r1")
    assert facade.preparing("r1") == {"sound": 0}
    await sound.ready(0)
    assert sound.length_ms == 1_000
    rendering = asyncio.create_task(facade.export_recording("r1", "peaks"))
    seen_percent = set()
    while not rendering.done():
        seen_percent.add(facade.preparing("r1").get("peaks"))
        await asyncio.sleep(0)
    await rendering
    assert 0 in seen_percent
    assert facade.preparing("r1") == {}
