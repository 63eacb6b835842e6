"""Reading what lies in the bucket: fetched once, checked part by part, kept within a bound."""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

import pytest

from mediaserver.errors import StorageError
from mediaserver.recording import stored
from mediaserver.recording.cabinet import Cabinet, exclusive
from mediaserver.recording.export import export_recording
from mediaserver.recording.keeping import collect_subject
from tests.support import s3
from tests.support.kept import Kept
from tests.support.recorder_room import Room


@pytest.fixture
async def moved(room: Room, faulty: s3.FaultyS3, monkeypatch: pytest.MonkeyPatch) -> Kept:
    """A recording that lies in the bucket, in parts of 4 KiB."""
    monkeypatch.setattr(stored, "BLOB_PART_BYTES", 4_096)
    kept = Kept(room, s3.blobs(faulty.endpoint, timeout_s=0.3))
    await kept.record()
    await kept.shipper.round()
    assert kept.journals() == {}
    faulty.asked.clear()
    return kept


async def test_a_render_of_what_lies_in_the_bucket_is_the_same_to_the_byte(
    room: Room, moto_endpoint: str, bucket: str, tmp_path: Path
) -> None:
    kept = Kept(room, s3.blobs(moto_endpoint, bucket=bucket))
    await kept.record()
    ring = await room.recorder.keys()
    root, row = room.recorder.root, await kept.row()
    here = await export_recording(root, ring, row, "wav", tmp_path / "here.wav", cabinet=kept.cabinet)
    await kept.shipper.round()
    assert kept.journals() == {}
    with pytest.raises(LookupError, match="no journals"):
        await export_recording(root, ring, row, "wav", tmp_path / "x.wav")
    back = await export_recording(root, ring, row, "wav", tmp_path / "back.wav", cabinet=kept.cabinet)
    assert back.read_bytes() == here.read_bytes()
    assert len(here.read_bytes()) > 10_000


async def test_a_person_gets_its_channel_also_from_the_bucket(moved: Kept, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    keeper, output = moved.room.recorder.keeper(), tmp_path / "subject.zip"
    assert await collect_subject(keeper, "+37120000002", output, tmp_path / "work", moved.cabinet) == 1
    assert [path.name for path in (tmp_path / "work").iterdir()] == [f"{moved.id}-2.ogg"]


async def test_it_is_fetched_once_however_many_ask(moved: Kept, faulty: s3.FaultyS3) -> None:
    async def reads() -> dict[str, bytes]:
        async with moved.cabinet.held(moved.directory):
            return moved.journals()

    first, second = await asyncio.gather(reads(), reads())
    assert first == second == await reads()
    assert sorted(first) == ["1.journal", "2.journal"]
    assert len(faulty.asked) == sum(len(file.parts) for file in stored.read(moved.folder).values())
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in moved.folder.iterdir())
    assert moved.stats.bytes_fetched == sum(map(len, first.values()))


async def test_what_was_changed_in_the_bucket_is_told_and_never_read(moved: Kept, faulty: s3.FaultyS3) -> None:
    (name,) = (path for path in faulty.objects if path.endswith("2.journal.0001"))
    good = faulty.objects[name]
    faulty.objects[name] = good[:100] + bytes([good[100] ^ 0x10]) + good[101:]
    with pytest.raises(StorageError, match=r"2\.journal\.0001 in the bucket is not what was brought there"):
        async with moved.cabinet.held(moved.directory):
            pytest.fail("it was given to a reader")
    assert "2.journal" not in moved.journals()
    assert [path.name for path in moved.folder.glob("*.part")] == []
    assert moved.stats.errors == {"wrong_bytes": 1}
    faulty.objects[name] = good
    async with moved.cabinet.held(moved.directory):
        assert len(moved.journals()) == 2


@pytest.mark.parametrize(
    ("fault", "words"), [("403", "answers 403"), ("503", "answers 503"), ("silent", "does not answer")]
)
async def test_a_bucket_that_does_not_give_it_is_named(
    moved: Kept, faulty: s3.FaultyS3, fault: str, words: str
) -> None:
    faulty.fault = fault
    with pytest.raises(StorageError, match=words) as told:
        async with moved.cabinet.held(moved.directory):
            pytest.fail("there is nothing to read")
    assert s3.SECRET not in str(told.value)
    faulty.fault = ""
    async with moved.cabinet.held(moved.directory):
        assert len(moved.journals()) == 2


async def test_a_part_that_vanished_from_the_bucket_is_named(moved: Kept, faulty: s3.FaultyS3) -> None:
    del faulty.objects[next(path for path in faulty.objects if path.endswith("1.journal.0000"))]
    with pytest.raises(StorageError, match=r"1\.journal\.0000 is not in the bucket any more"):
        async with moved.cabinet.held(moved.directory):
            pytest.fail("there is nothing to read")


async def test_without_a_bucket_in_the_settings_it_says_where_the_recording_lies(moved: Kept) -> None:
    with pytest.raises(StorageError, match=r"lies in a bucket, and s3\.bucket is not set"):
        async with Cabinet(moved.room.recorder.root, None, 0, 0).held(moved.directory):
            pytest.fail("there is nothing to read")


async def test_what_was_read_longest_ago_goes_when_the_bound_is_reached(moved: Kept, faulty: s3.FaultyS3) -> None:
    folders, directories = [moved.folder], [moved.directory]
    for _ in range(2):
        await moved.record()
        await moved.shipper.round()
        folders.append(moved.folder)
        directories.append(moved.directory)
    size = sum(file.bytes for file in stored.read(moved.folder).values())
    cabinet = Cabinet(moved.room.recorder.root, moved.blobs, size * 5 // 2, 0, moved.stats)

    def here() -> list[bool]:
        return [bool(list(folder.glob("*.journal"))) for folder in folders]

    for directory in directories[:2]:
        async with cabinet.held(directory):
            pass
    old = cabinet_mark(moved, folders[0]).stat().st_mtime - 100
    for age, folder in enumerate(folders[:2]):
        os.utime(cabinet_mark(moved, folder), (old + age, old + age))
    async with cabinet.held(directories[0]):  # the older one is read again: now it is the newer
        pass
    async with cabinet.held(directories[2]):
        pass
    assert here() == [True, False, True]
    os.utime(cabinet_mark(moved, folders[0]), (old, old))
    async with cabinet.held(directories[0]), cabinet.held(directories[1]):  # what is being read does not go
        assert here()[:2] == [True, True]
    assert moved.stats.evicted == 2


def cabinet_mark(moved: Kept, folder: Path) -> Path:
    return moved.room.recorder.root / "cached" / folder.name


async def test_who_is_cancelled_while_he_waits_leaves_no_lock_behind(moved: Kept) -> None:
    async def reads() -> None:
        async with moved.cabinet.held(moved.directory):
            pytest.fail("it was locked")

    with exclusive(moved.folder):
        reader = asyncio.create_task(reads())
        await asyncio.sleep(0)
        assert not reader.done()
        reader.cancel()
        await asyncio.wait({reader})
    with exclusive(moved.folder):
        pass


async def test_a_folder_that_stays_locked_is_told_after_a_bounded_time(
    moved: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mediaserver.recording.cabinet.LOCK_S_MAX", 0.04)
    with exclusive(moved.folder), pytest.raises(StorageError, match="has been locked for"):
        async with moved.cabinet.held(moved.directory):
            pytest.fail("it was locked")


async def test_a_disk_that_recordings_need_is_not_filled_from_the_bucket(moved: Kept) -> None:
    free = shutil.disk_usage(moved.folder).free
    cabinet = Cabinet(moved.room.recorder.root, moved.blobs, 1 << 30, free + (1 << 30))
    with pytest.raises(StorageError, match="too few to fetch"):
        async with cabinet.held(moved.directory):
            pytest.fail("it was fetched")
    assert moved.journals() == {}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b'{"format":"mediaserver-stored","version":1,"files":[{"name":"../../x.journal","bytes":1,"parts":[]}]}',
        b'{"format":"mediaserver-stored","version":1,"files":[{"name":"manifest.jsonl","bytes":1,"parts":[]}]}',
    ],
)
def test_a_stored_file_that_makes_no_sense_is_refused(tmp_path: Path, text: bytes) -> None:
    (tmp_path / stored.NAME).write_bytes(text)
    with pytest.raises(StorageError, match=r"stored\.json"):
        stored.read(tmp_path)
