"""Moving to the bucket: nothing here goes before what is there was read back, and whatever fails, the journals stay."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import pytest

from mediaserver.recording import keys, stored
from mediaserver.recording.shipping import pause_s
from mediaserver.recording.verify import Verdict, verify_directory
from tests.support import s3
from tests.support.kept import Kept
from tests.support.recorder_room import Room

DAY_S = 86_400


@pytest.fixture
async def kept(room: Room, moto_endpoint: str, bucket: str) -> Kept:
    kept = Kept(room, s3.blobs(moto_endpoint, bucket=bucket))
    await kept.record()
    return kept


@pytest.fixture
async def troubled(room: Room, faulty: s3.FaultyS3) -> Kept:
    kept = Kept(room, s3.blobs(faulty.endpoint, timeout_s=0.3))
    await kept.record()
    return kept


async def test_a_finished_recording_moves_and_only_its_proof_and_keys_stay_here(
    kept: Kept, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(stored, "BLOB_PART_BYTES", 4_096)
    before = kept.journals()
    assert await kept.shipper.round() > 0
    row = await kept.row()
    assert (row.storage, row.storage_problem) == ("remote", "")
    here = {path.name for path in kept.folder.iterdir()}
    assert here == {"1.key", "2.key", "manifest.jsonl", "stored.json"}
    objects = await kept.objects()
    assert "1.journal.0001" in objects
    assert not any(name.endswith(".key") for name in objects)
    joined = {name: b"".join(objects[key] for key in sorted(objects) if key.startswith(name)) for name in before}
    assert joined == before
    # Whoever has the bucket and the public key proves the recording without this server.
    for name, data in {**joined, "manifest.jsonl": objects["manifest.jsonl"]}.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "notice.wav").unlink()
    assert verify_directory(tmp_path, kept.room.recorder.signer.public).verdict is Verdict.PROVEN
    assert kept.stats.moved == 1
    assert kept.stats.parts_sent == sum(name[1:9] == ".journal" for name in objects)


async def test_what_has_just_ended_stays_at_hand_for_as_long_as_is_set(kept: Kept) -> None:
    moved = kept.id
    await kept.record(rest_s=59)
    await kept.shipper.round()
    assert (await kept.row()).storage == "local"
    assert await kept.objects() == {}
    assert [row.recording_id for row in await kept.room.store.list() if row.storage == "remote"] == [moved]


async def test_after_a_break_only_the_parts_that_are_not_there_whole_are_sent(
    troubled: Kept, faulty: s3.FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored, "BLOB_PART_BYTES", 4_096)
    before = troubled.journals()
    answer = faulty.answer

    def breaks_off(method: str, path: str, body: bytes) -> tuple[int, bytes]:
        if method == "PUT" and path.endswith("2.journal.0000"):
            faulty.fault = "503"
        return answer(method, path, body)

    monkeypatch.setattr(faulty, "answer", breaks_off)
    assert await troubled.shipper.round() == 1.0
    row = await troubled.row()
    assert row.storage == "uploading"
    assert "answers 503 SlowDown" in row.storage_problem
    assert troubled.journals() == before
    there = [path for path in faulty.objects if ".journal" in path]
    assert len(there) > 1
    # One of them rots meanwhile: it is sent again, the others are not.
    rotten = there[0]
    faulty.objects[rotten] = bytes(len(faulty.objects[rotten]))
    monkeypatch.setattr(faulty, "answer", answer)
    faulty.fault = ""
    faulty.asked.clear()
    await troubled.another_shipper().round()
    assert (await troubled.row()).storage == "remote"
    sent = [path for method, path in faulty.asked if method == "PUT"]
    assert rotten in sent
    assert set(there[1:]).isdisjoint(sent)
    assert troubled.stats.parts_found == len(there) - 1


async def test_a_process_that_dies_in_the_middle_leaves_nothing_in_the_bucket_but_parts_that_the_next_one_uses(
    kept: Kept, moto_endpoint: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts are objects of our own: there is no upload to resume whose id a restart must know, and none to abort."""

    class Killed(BaseException):
        """Nothing catches it: what a dead process does not do is not done."""

    monkeypatch.setattr(stored, "BLOB_PART_BYTES", 4_096)
    put, sent = kept.blobs.put, []

    async def dies(name: str, data: bytes) -> None:
        if name.endswith("2.journal.0001"):
            raise Killed
        await put(name, data)
        sent.append(name)

    monkeypatch.setattr(kept.blobs, "put", dies)
    with pytest.raises(Killed):
        await kept.shipper.round()
    before, parts_sent = kept.journals(), kept.stats.parts_sent
    assert len(before) == 2
    assert (await kept.row()).storage == "uploading"
    assert parts_sent > 1
    with urllib.request.urlopen(f"{moto_endpoint}/{bucket}?uploads", timeout=5) as answer:
        assert b"<Upload>" not in answer.read()
    monkeypatch.setattr(kept.blobs, "put", put)
    await kept.another_shipper().round()
    assert (await kept.row()).storage == "remote"
    assert kept.stats.parts_found == parts_sent
    named = {
        f"{file.name}.{number:04}" for file in stored.read(kept.folder).values() for number in range(len(file.parts))
    }
    assert {name.rsplit("/", 1)[1] for name in sent} <= named
    assert set(await kept.objects()) == {*named, "manifest.jsonl", "stored.json"}, "no orphan"


@pytest.mark.parametrize(
    ("fault", "reason", "words"),
    [
        ("503", "unavailable", "answers 503"),
        ("silent", "unavailable", "does not answer"),
        ("403", "refused", "answers 403"),
        ("damages", "wrong_bytes", "reads back otherwise"),
        ("forgets", "wrong_bytes", "reads back otherwise"),
    ],
)
async def test_whatever_the_bucket_does_the_journals_stay_and_the_catalogue_says_why(
    troubled: Kept, faulty: s3.FaultyS3, fault: str, reason: str, words: str
) -> None:
    before = troubled.journals()
    faulty.fault = fault
    await troubled.shipper.round()
    row = await troubled.row()
    assert row.storage == "uploading"
    assert words in row.storage_problem
    assert s3.SECRET not in row.storage_problem
    assert troubled.journals() == before
    assert troubled.stats.errors == {reason: 1}
    assert verify_directory(troubled.folder, troubled.room.recorder.signer.public).verdict is Verdict.PROVEN
    # When it is well again the recording moves by itself.
    faulty.fault = ""
    troubled.room.clock.advance(2_000_000_000)
    await troubled.shipper.round()
    row = await troubled.row()
    assert (row.storage, row.storage_problem) == ("remote", "")


async def test_pauses_grow_while_the_bucket_fails_and_never_without_bound(troubled: Kept, faulty: s3.FaultyS3) -> None:
    faulty.fault = "403"
    assert [await troubled.shipper.round() for _ in range(4)] == [1.0, 2.0, 4.0, 8.0]
    assert pause_s(1_000_000) == 300.0
    faulty.fault = ""
    assert await troubled.shipper.round() == 5.0
    assert (await troubled.row()).storage == "remote"


async def test_one_recording_with_trouble_of_its_own_holds_up_no_other(
    troubled: Kept, faulty: s3.FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, before = troubled.id, troubled.journals()
    answer = faulty.answer

    def loses(method: str, path: str, body: bytes) -> tuple[int, bytes]:
        return (200, b"") if method == "PUT" and first in path else answer(method, path, body)

    monkeypatch.setattr(faulty, "answer", loses)
    folder = troubled.folder
    await troubled.record()
    await troubled.shipper.round()
    assert (await troubled.row()).storage == "remote"
    assert {path.name: path.read_bytes() for path in folder.glob("*.journal")} == before
    faulty.asked.clear()
    await troubled.shipper.round()
    assert faulty.asked == []  # it rests


async def test_several_go_at_a_time_and_none_begins_after_the_bucket_has_failed(
    troubled: Kept, faulty: s3.FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        await troubled.record()
    monkeypatch.setattr("mediaserver.recording.shipping.SHIP_PARALLEL_MAX", 2)
    faulty.fault = "403"
    await troubled.shipper.round()
    rows = await troubled.room.store.list()
    assert sum(bool(row.storage_problem) for row in rows) == 2
    assert [row.storage for row in rows].count("uploading") == 2
    assert len(list(troubled.room.recorder.root.rglob("*.journal"))) == 8
    faulty.fault = ""
    troubled.room.clock.advance(2_000_000_000)
    await troubled.shipper.round()
    assert {row.storage for row in await troubled.room.store.list()} == {"remote"}


async def test_while_somebody_reads_the_journals_they_stay(kept: Kept) -> None:
    async with kept.cabinet.held(kept.directory):
        await kept.shipper.round()
        assert len(kept.journals()) == 2
        assert (await kept.row()).storage == "uploading"
    kept.room.clock.advance(2_000_000_000)
    await kept.shipper.round()
    assert kept.journals() == {}
    assert (await kept.row()).storage == "remote"


async def test_a_party_is_erased_while_its_journal_is_in_the_bucket(kept: Kept) -> None:
    await kept.shipper.round()
    gone = await kept.room.recorder.keeper().erase(kept.id, "2", "asked for it", "anna", kept.room.clock.wall())
    assert gone == ["2.journal"]
    assert keys.read_key(kept.folder / "2.journal") is None
    assert (await kept.row()).storage == "uploading"
    await kept.shipper.round()
    assert (await kept.row()).storage == "remote"
    objects = await kept.objects()
    assert objects["manifest.jsonl"] == (kept.folder / "manifest.jsonl").read_bytes()
    assert len(objects["manifest.jsonl"].splitlines()) == 2
    async with kept.cabinet.held(kept.directory):
        report = verify_directory(kept.folder, kept.room.recorder.signer.public)
    assert report.verdict is Verdict.PROVEN
    assert "2.journal: was made unreadable on purpose (asked for it), by anna" in report.facts


async def test_when_its_time_is_over_it_goes_from_the_bucket_too_and_its_manifest_says_why(kept: Kept) -> None:
    await kept.shipper.round()
    assert await kept.room.recorder.keeper().sweep(kept.room.clock.wall() + 31 * DAY_S) == [kept.id]
    assert [path.name for path in kept.folder.glob("*.key")] == []
    row = await kept.row()
    assert (row.state, row.storage) == ("expired", "removing")
    await kept.shipper.round()
    assert (await kept.row()).storage == "none"
    objects = await kept.objects()
    assert set(objects) == {"manifest.jsonl"}
    assert json.loads(json.loads(objects["manifest.jsonl"].splitlines()[-1])["body"])["reason"] == "retention"
    assert [path.name for path in kept.folder.iterdir()] == ["manifest.jsonl"]
    assert kept.stats.removed == 1


async def test_what_has_no_signed_manifest_stays_here(kept: Kept) -> None:
    (kept.folder / "manifest.jsonl").unlink()
    await kept.shipper.round()
    row = await kept.row()
    assert row.storage == "stays"
    assert "no signed manifest" in row.storage_problem
    assert len(kept.journals()) == 2
    assert await kept.objects() == {}


async def test_recordings_are_counted_by_where_they_lie(kept: Kept) -> None:
    await kept.shipper.round()
    assert kept.shipper.counts == {"local": 1}
    kept.room.clock.advance(61_000_000_000)
    await kept.shipper.round()
    assert kept.shipper.counts == {"remote": 1}
