"""Sound is heard while it is rendered, from wherever it is asked for, and what was rendered outlives the server."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mediaserver.errors import StorageError
from mediaserver.model import Masked
from mediaserver.recording import growing
from mediaserver.recording.cabinet import Cabinet
from mediaserver.recording.export import open_journals
from mediaserver.recording.growing import GrowingSound
from mediaserver.recording.keys import destroy_key
from mediaserver.recording.listening import Listening, stretch_of
from mediaserver.recording.render import render
from mediaserver.recording.sealed import CHUNK_BYTES
from mediaserver.store.recordings import RecordingRow
from tests.support.sealed import RING, write_sealed
from tests.support.synthetic_taps import T0_NS, Talker, tone

SECONDS = 48
ROW = RecordingRow("r1", "c1", "complete", "call", "2026/09/21/r1", Masked("1"), Masked("2"), 1)


class House:
    """The folders of a server, and its listening, which can end and begin again."""

    def __init__(self, root: Path) -> None:
        self.root, self.exports, self.folder = root, root / "exports", root / ROW.directory
        self.folder.mkdir(parents=True)
        for number in (1, 2):
            packets = list(Talker(tone(300 * number, SECONDS), "PCMU", ppm=60, ssrc=number).packets())
            write_sealed(self.folder, packets, str(number), closed_ns=T0_NS + SECONDS * 1_000_000_000, per_segment=50)
        self.listening = self.begin()

    def begin(self) -> Listening:
        async def ring() -> Any:
            return RING

        self.listening = Listening(self.root, self.exports, Cabinet(self.root, None, 0, 0), ring)
        return self.listening

    @property
    def path(self) -> Path:
        return growing.sound_path(self.exports, "r1")

    def whole(self) -> bytes:
        render(open_journals(self.root, RING, ROW), self.root / "whole.wav", "wav")
        with wave.open(str(self.root / "whole.wav")) as file:
            return file.readframes(file.getnframes())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return House(tmp_path_factory.mktemp("made")).whole()


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    yield house
    await house.listening.stop()


@pytest.fixture
def only_what_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two chunks at a time, and nothing of the rest while nobody waits: what is done is known then."""

    def waited_for(self: Listening) -> Any:
        return next((job for job in self._jobs.values() if job.sound.waiting and not job.sound.failed), None)

    monkeypatch.setattr(Listening, "_next", waited_for)
    monkeypatch.setattr("mediaserver.recording.listening.LISTEN_STRETCH_CHUNKS", 2)


async def read(sound: GrowingSound, start: int, end: int) -> bytes:
    parts, window = [], sound.window()
    while start < end:
        await window.ready(start)
        parts.append(await asyncio.to_thread(next, window.read(start, end)))
        start += len(parts[-1])
    return b"".join(parts)


async def completed(sound: GrowingSound) -> None:
    for number in range(len(sound.done)):
        await sound.ready(number * CHUNK_BYTES)


@pytest.mark.usefixtures("only_what_is_waited_for")
async def test_what_is_heard_while_it_is_rendered_is_the_whole_render_and_the_end_may_come_first(
    house: House, made: bytes
) -> None:
    sound = await house.listening.sound(ROW)
    size = sound.window().size
    assert size == 44 + len(made)
    last = await read(sound, size - 16_000, size)
    assert not sound.complete
    assert house.listening.percent("r1") == sound.percent < 100
    assert last == made[-16_000:]
    wav = await read(sound, 0, size)
    with wave.open(io.BytesIO(wav)) as file:
        assert file.readframes(file.getnframes()) == made
    on_disk = house.path.read_bytes()
    assert house.path.stat().st_mode & 0o777 == 0o600
    assert made[20_000:20_032] not in on_disk


async def test_two_who_listen_share_one_render_and_one_who_leaves_ends_nothing(house: House, made: bytes) -> None:
    first, second = await asyncio.gather(house.listening.sound(ROW), house.listening.sound(ROW))
    assert first is second
    leaving = asyncio.create_task(read(first, len(made) // 2, len(made)))
    await asyncio.sleep(0)
    leaving.cancel()
    assert await read(second, 44, 44 + 100_000) == made[:100_000]
    while not second.complete:  # though nobody waits
        await second._news.wait()
    assert second.waiting == {}
    assert house.listening.percent("r1") is None


@pytest.mark.usefixtures("only_what_is_waited_for")
async def test_after_a_restart_what_was_sealed_is_heard_without_being_rendered_again(house: House, made: bytes) -> None:
    sound = await house.listening.sound(ROW)
    await read(sound, len(made) // 2, len(made) // 2 + 1_000)
    await house.listening.stop()
    done = [number for number, one in enumerate(sound.done) if one]
    assert 1 <= len(done) <= 2
    again = await house.begin().sound(ROW)
    assert again is not sound
    kept = [number for number, one in enumerate(again.done) if one]
    assert set(done) <= set(kept)  # the worker may have sealed one more before it was told to stop
    assert len(kept) <= 2
    at = done[0] * CHUNK_BYTES
    assert b"".join(again.read(at, at + 1_000)) == made[at : at + 1_000]
    assert await read(again, 44, 44 + len(made)) == made
    await house.listening.stop()
    assert (await house.begin().sound(ROW)).complete
    assert house.listening._jobs["r1"].journals == {}


@pytest.mark.usefixtures("only_what_is_waited_for")
async def test_a_killed_worker_costs_its_order_which_is_given_again(house: House, made: bytes) -> None:
    sound = await house.listening.sound(ROW)
    await read(sound, 44, 1_000)
    pid = house.listening.worker.pid
    assert pid is not None
    os.kill(pid, signal.SIGINT)  # of a terminal: the server drains, and its listeners hear on
    await read(sound, len(made) // 2, len(made) // 2 + 1_000)
    assert house.listening.worker.pid == pid
    os.kill(int(Path(f"/proc/{pid}/task/{pid}/children").read_text() or pid), signal.SIGKILL)
    assert await read(sound, 44, 44 + len(made)) == made
    assert house.listening.worker.pid != pid


@pytest.mark.parametrize("journal", ["1.journal", "2.journal"])
async def test_with_one_partys_key_destroyed_the_sound_opens_no_more_and_the_others_is_another(
    journal: str, house: House, made: bytes
) -> None:
    sound = await house.listening.sound(ROW)
    await completed(sound)
    data = house.path.read_bytes()
    destroy_key(house.folder / journal)
    alone = await house.listening.sound(ROW)
    assert (sound.channels, alone.channels) == (2, 1)
    left = np.frombuffer(made, "<i2").reshape(-1, 2)[:, 0 if journal == "2.journal" else 1]
    assert await read(alone, 44, 44 + 2 * len(left)) == left.tobytes()
    house.path.write_bytes(data)  # a copy that somebody kept: the keys that are left do not open it
    sources = growing.sources_of("r1", open_journals(house.root, RING, ROW), b"")
    assert growing.find(house.path, sources) is None


@pytest.mark.usefixtures("only_what_is_waited_for")
async def test_what_is_erased_while_it_is_heard_ends_and_is_not_made_again(house: House) -> None:
    sound = await house.listening.sound(ROW)
    await read(sound, 0, 1_000)
    for number in (1, 2):
        destroy_key(house.folder / f"{number}.journal")
    house.path.unlink()
    with pytest.raises(StorageError, match=r"erased|No such file"):
        await read(sound, 0, sound.window().size)
    with pytest.raises(LookupError, match="destroyed"):
        await house.listening.sound(ROW)
    assert not house.path.exists()


async def test_what_was_made_of_a_journal_that_has_changed_is_made_anew(house: House) -> None:
    sound = await house.listening.sound(ROW)
    await completed(sound)
    await house.listening.stop()
    journal = house.folder / "1.journal"
    journal.write_bytes(journal.read_bytes()[:-40])  # its last segment is torn
    again = await house.begin().sound(ROW)
    assert again.key != sound.key
    await read(again, 44, 1_000)


async def test_a_chunk_that_was_changed_is_not_played_and_is_rendered_for_the_next(house: House, made: bytes) -> None:
    sound = await house.listening.sound(ROW)
    await completed(sound)
    data = bytearray(house.path.read_bytes())
    data[growing.place_of(1) + 500] ^= 1
    house.path.write_bytes(data)
    with pytest.raises(StorageError, match="changed"):
        await read(sound, 0, sound.window().size)
    assert await read(await house.listening.sound(ROW), 44, 44 + len(made)) == made


@pytest.mark.usefixtures("only_what_is_waited_for")
async def test_a_full_disk_is_told_to_who_waits_and_what_was_done_stays(house: House, made: bytes) -> None:
    sound = await house.listening.sound(ROW)
    await read(sound, 44, 1_000)
    data = house.path.read_bytes()
    house.path.unlink()
    house.path.symlink_to("/dev/full")
    with pytest.raises(StorageError, match="No space left"):
        await read(sound, len(made) - 100, len(made))
    house.path.unlink()
    house.path.write_bytes(data)
    again = await house.listening.sound(ROW)
    assert again.done[0]
    assert await read(again, 44, 44 + len(made)) == made


def test_what_is_waited_for_is_rendered_first_then_what_follows_then_the_rest(tmp_path: Path) -> None:
    sound = GrowingSound(tmp_path, b"", 8_000, 2, 40 * CHUNK_BYTES // 4, bytearray(40))
    assert stretch_of(sound) == (0, 8)
    sound.done[25] = 1
    sound.waiting[1], sound.waiting[2] = 20, 3
    assert stretch_of(sound) == (20, 25)
    sound.waiting.clear()
    sound.asked = 24
    assert stretch_of(sound) == (24, 25)
    sound.done[24:] = b"\1" * 16
    assert stretch_of(sound) == (0, 8)
    sound.done[:18] = b"\1" * 18
    assert stretch_of(sound) == (18, 24)
