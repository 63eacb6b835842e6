"""How recordings end: a party erased, a time that is over, a hold that keeps them, and what a person may see."""

from __future__ import annotations

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mediaserver.errors import StorageError
from mediaserver.recording import keys, ledger, manifest
from mediaserver.recording.journal import summarize
from mediaserver.recording.keeping import collect_subject, drop_old
from mediaserver.recording.verify import Verdict, verify_directory
from tests.support.film import Photographer, seen, write_sealed_pictures
from tests.support.recorder_room import Room, recorded, records

DAY_S = 86_400.0


async def test_one_party_is_erased_the_other_stays_and_the_chain_tells(room: Room) -> None:
    recording_id, folder = await recorded(room)
    exports = folder.parents[4] / "exports"
    exports.mkdir()
    (exports / f"{recording_id}.wav").touch()
    gone = await room.recorder.keeper().erase(recording_id, "2", "asked for it", "anna", room.clock.wall())
    assert gone == ["2.journal"]
    assert records(folder / "2.journal") == []
    assert len(records(folder / "1.journal")) > 50
    assert not (exports / f"{recording_id}.wav").exists()
    report = verify_directory(folder, room.recorder.signer.public)
    assert report.verdict is Verdict.PROVEN
    assert "2.journal: was made unreadable on purpose (asked for it), by anna" in report.facts
    row = await room.store.get(recording_id)
    assert row is not None
    assert row.state == "complete"
    await room.recorder.keeper().erase(recording_id, None, "the rest, too", "anna", room.clock.wall())
    row = await room.store.get(recording_id)
    assert row is not None
    assert row.state == "erased"
    with pytest.raises(LookupError, match="has no party 7"):
        await room.recorder.keeper().erase(recording_id, "7", "x", "y", room.clock.wall())
    with pytest.raises(LookupError, match="there is no recording zz"):
        await room.recorder.keeper().erase("zz", None, "x", "y", room.clock.wall())


async def test_what_is_on_legal_hold_is_neither_erased_nor_expired(room: Room) -> None:
    recording_id, folder = await recorded(room)
    keeper = room.recorder.keeper()
    later = room.clock.wall() + 31 * DAY_S
    await keeper.hold(recording_id, "case 42")
    with pytest.raises(StorageError, match="on legal hold: case 42"):
        await keeper.erase(recording_id, None, "x", "y", later)
    assert await keeper.sweep(later) == []
    assert keys.read_key(folder / "1.journal") is not None
    await keeper.hold(recording_id, "")
    assert await keeper.sweep(room.clock.wall() + 29 * DAY_S) == []
    assert await keeper.sweep(later) == [recording_id]
    assert await keeper.sweep(later) == []


async def test_after_its_time_the_sound_is_gone_and_the_manifest_says_why(room: Room) -> None:
    recording_id, folder = await recorded(room)
    await room.recorder.keeper().sweep(room.clock.wall() + 31 * DAY_S)
    assert [path.name for path in folder.iterdir()] == ["manifest.jsonl"]
    report = verify_directory(folder, room.recorder.signer.public)
    assert report.verdict is Verdict.PROVEN
    when = datetime.fromtimestamp(room.clock.wall() + 31 * DAY_S, UTC).isoformat(timespec="seconds")
    assert report.facts[1:] == [f"all of it was removed on purpose (retention), by server, at {when}"]
    row = await room.store.get(recording_id)
    assert row is not None
    assert (row.state, row.policy) == ("expired", "p")
    assert (row.removed_by, row.removed_why) == ("server", "retention")


async def test_an_erasure_whose_word_a_crash_swallowed_is_told_by_the_next_try(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id, folder = await recorded(room)
    keeper, wall = room.recorder.keeper(), room.clock.wall()

    def dies(*_: object) -> None:
        raise OSError(5, "killed")

    with monkeypatch.context() as patch:
        patch.setattr(manifest, "append", dies)
        with pytest.raises(OSError, match="killed"):
            await keeper.erase(recording_id, "2", "asked for it", "anna", wall)
    assert keys.read_key(folder / "2.journal") is None
    for _ in range(2):
        await keeper.erase(recording_id, "2", "asked for it", "anna", wall)
    assert list(manifest.tombstones(folder)) == ["2.journal"]
    assert len((folder / "manifest.jsonl").read_bytes().splitlines()) == 2
    assert verify_directory(folder, room.recorder.signer.public).verdict is Verdict.PROVEN


async def test_a_removed_recording_tells_by_whom_when_and_why_in_catalogue_and_manifest(room: Room) -> None:
    recording_id, folder = await recorded(room)
    keeper, wall = room.recorder.keeper(), room.clock.wall()
    await keeper.hold(recording_id, "case 42")
    with pytest.raises(StorageError, match="on legal hold"):
        await keeper.remove(recording_id, "wrong number", "anna", wall)
    await keeper.hold(recording_id, "")
    await keeper.remove(recording_id, "wrong number", "anna", wall)
    assert [path.name for path in folder.iterdir()] == ["manifest.jsonl"]
    row = await room.store.get(recording_id)
    assert row is not None
    assert (row.state, row.storage) == ("removed", "none")
    assert (row.removed_ms, row.removed_by, row.removed_why) == (round(wall * 1000), "anna", "wrong number")
    report = verify_directory(folder, room.recorder.signer.public)
    assert report.verdict is Verdict.PROVEN
    when = datetime.fromtimestamp(wall, UTC).isoformat(timespec="seconds")
    assert report.facts[1:] == [f"all of it was removed on purpose (wrong number), by anna, at {when}"]
    with pytest.raises(LookupError, match="gone already"):
        await keeper.remove(recording_id, "again", "eve", wall)
    # Nobody puts other words into the last line, and nobody takes it away and the chain stays silent.
    lines = (folder / "manifest.jsonl").read_bytes().splitlines(keepends=True)
    for forged in (lines[:1], [*lines[:1], *(line.replace(b"anna", b"anne") for line in lines[1:])]):
        (folder / "manifest.jsonl").write_bytes(b"".join(forged))
        assert verify_directory(folder, room.recorder.signer.public).verdict is Verdict.BROKEN


async def test_a_removal_that_a_crash_broke_off_is_finished_and_said_once(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id, folder = await recorded(room)
    keeper, wall = room.recorder.keeper(), room.clock.wall()

    def dies(path: Path) -> bool:
        raise OSError(5, "killed")

    with monkeypatch.context() as patch:
        patch.setattr(keys, "destroy_key", dies)
        with pytest.raises(OSError, match="killed"):
            await keeper.remove(recording_id, "wrong number", "anna", wall)
    await keeper.remove(recording_id, "wrong number", "anna", wall + 60)
    assert [path.name for path in folder.iterdir()] == ["manifest.jsonl"]
    told = [json.loads(json.loads(line)["body"]) for line in (folder / "manifest.jsonl").read_bytes().splitlines()]
    assert [body["format"] for body in told].count(manifest.REMOVAL) == 1
    report = ledger.verify(room.recorder.root, room.recorder.signer.public)
    assert (report.findings, len(report.removals)) == ([], 1)


async def test_a_person_gets_its_own_channel_and_nobody_elses_number(room: Room, tmp_path: Path) -> None:
    recording_id, folder = await recorded(room)
    for leg, codec in (("1", "VP8"), ("2", "H264")):
        ring, sound = room.recorder.keeper().ring, folder / f"{leg}.journal"
        assert ring is not None
        start_ns = summarize(sound, ring.unwrap(keys.read_key(sound) or {})).first_ns
        packets = Photographer(owner=int(leg), frames=8, codec=codec, start_ns=start_ns).packets()
        write_sealed_pictures(
            folder, packets, leg, "camera", codec, opened_ns=start_ns, closed_ns=packets[-1][0], ring=ring
        )
    output = tmp_path / "subject.zip"
    (tmp_path / "work").mkdir()
    assert await collect_subject(room.recorder.keeper(), "+37120000002", output, tmp_path / "work") == 1
    assert output.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(output) as archive:
        assert sorted(archive.namelist()) == [f"{recording_id}-2-camera.mp4", f"{recording_id}-2.ogg", "about.json"]
        archive.extract(f"{recording_id}-2-camera.mp4", tmp_path)
        text = archive.read("about.json").decode()
        assert archive.read(f"{recording_id}-2.ogg")[:4] == b"OggS"
    (entry,) = json.loads(text)["recordings"]
    assert [row["leg_id"] for row in entry["evidence"]] == ["2"]
    assert entry["pictures"] == [f"{recording_id}-2-camera.mp4"]
    assert [shown for _, shown in seen(tmp_path / entry["pictures"][0])] == [(2, number) for number in range(8)]
    assert "+37120000001" not in text
    with pytest.raises(LookupError, match="nothing is kept"):
        await collect_subject(room.recorder.keeper(), "+1", output, tmp_path / "work")


def test_rendered_files_that_nobody_reads_any_more_go(tmp_path: Path) -> None:
    import os

    for name, age_s in (("old.wav", 7_200), ("new.wav", 60)):
        (tmp_path / name).touch()
        then = (tmp_path / name).stat().st_mtime - age_s
        os.utime(tmp_path / name, (then, then))
    drop_old(tmp_path, 3_600)
    assert [path.name for path in tmp_path.iterdir()] == ["new.wav"]
    drop_old(tmp_path / "missing", 3_600)
