"""An erasure holds whatever happens in its middle, and covers the spool; what was signed is not touched again."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mediaserver.errors import StorageError
from mediaserver.model import Masked, NoticeKind
from mediaserver.model_consent import Answer, ConsentRules
from mediaserver.recording import catalogue, erasing, keeping, keys, manifest, spool, spool_file
from mediaserver.recording.keys import KeyRing, Signer, key_path, load_ring
from mediaserver.recording.recovery import merged, recover
from mediaserver.recording.verify import Verdict, verify_directory
from mediaserver.settings import RecordingSettings
from mediaserver.store.recordings import RecordingRow
from tests.support.recorder_room import Room, recorded
from tests.support.sealed import RING, SIGNER, sign, write_sealed
from tests.support.synthetic_taps import T0_NS, WALL0, Talker, tone

PACKETS = list(Talker(tone(440, 0.2)).packets())


class Crashed(Exception):
    """The server is no more."""


def next_start(room: Room, tmp_path: Path) -> tuple[Path, list[RecordingRow]]:
    """Recovery of what lies on the disk now, in a copy: nobody writes that. The recording's folder there."""
    root = tmp_path / "after"
    shutil.copytree(room.recorder.root, root)
    ring = load_ring(RecordingSettings(), tmp_path)
    rows = recover(root, ring, room.recorder.signer, room.clock.wall())
    (folder,) = root.glob("[0-9]*/[0-9]*/[0-9]*/*")
    return folder, rows


@pytest.mark.parametrize("moment", ["before the key goes", "after the key has gone", "before the tombstone"])
async def test_a_withdrawal_holds_though_the_server_is_killed_in_its_middle(
    moment: str, room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = room.leg(1), room.leg(2)
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL, ConsentRules("eu", withdrawal="retroactive"))
    for leg in (a, b):
        await recording.leg_joined(leg)
    for leg in (a, b):
        await recording.notice_finished(room.notice(leg))
    room.talk(a, b, packets=10)
    destroy = keys.destroy_key

    def killed(journal: Path) -> bool:
        if moment != "before the key goes":
            destroy(journal)
        raise Crashed

    with monkeypatch.context() as patch:
        if moment != "before the tombstone":
            patch.setattr(keys, "destroy_key", killed)
            with pytest.raises(Crashed):
                await recording.answer(a.handle, Answer.WITHDRAWN, "dtmf", {"key": "*9"})
        else:
            await recording.answer(a.handle, Answer.WITHDRAWN, "dtmf", {"key": "*9"})
    folder, rows = next_start(room, tmp_path)
    assert not key_path(folder / "1.journal").exists()
    assert key_path(folder / "2.journal").exists()
    assert [row.state for row in rows] == ["recovered"]
    (tomb,) = manifest.tombstones(folder).values()
    assert (tomb["journal"], tomb["reason"], tomb["actor"]) == ("1.journal", "withdrawn", "dtmf")
    report = verify_directory(folder, room.recorder.signer.public)
    assert report.verdict is Verdict.PROVEN, report.findings
    assert list(folder.glob(f"*{erasing.SUFFIX}")) == []
    await recording.end()


async def test_a_withdrawal_that_came_to_its_end_leaves_no_mark(room: Room) -> None:
    a = room.leg(1)
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL, ConsentRules("eu", withdrawal="retroactive"))
    await recording.leg_joined(a)
    await recording.notice_finished(room.notice(a))
    room.talk(a, packets=3)
    await recording.answer(a.handle, Answer.WITHDRAWN, "web", {})
    (path,) = room.journals()
    assert erasing.begun(path) == ("withdrawn", "web")
    await recording.end()
    assert erasing.begun(path) is None


async def test_a_crash_after_everybody_withdrew_leaves_a_row_that_says_so(room: Room, tmp_path: Path) -> None:
    a = room.leg(1)
    rules = ConsentRules("eu", withdrawal="retroactive", retention_days=9, purpose="quality")
    recording = await room.recorder.begin(room.call(), NoticeKind.CALL, rules)
    await recording.leg_joined(a)
    await recording.notice_finished(room.notice(a))
    room.talk(a, packets=3)
    await recording.answer(a.handle, Answer.WITHDRAWN, "web", {})
    await room.spool.flush()
    _, (found,) = next_start(room, tmp_path)
    before = await room.store.get(recording.recording_id)
    assert before is not None
    assert before.state == "capturing"
    row = merged(before, found)
    assert row is not None
    assert (row.state, row.policy, row.purpose, row.delete_after_ms) == (
        "erased",
        "eu",
        "quality",
        before.delete_after_ms,
    )
    assert merged(None, found) is None
    await recording.end()
    await room.spool.flush()
    ended = await room.store.get(recording.recording_id)
    assert ended is not None
    assert ended.state == "erased"


def test_what_a_crash_left_keeps_what_only_the_server_knew(room: Room) -> None:
    before = RecordingRow("r", "c", "capturing", "call", "d", Masked("1"), Masked("2"), 5, policy="eu", route="sales",
                          purposes="contract", listeners="admin", delete_after_ms=9, legal_hold="court")  # fmt: skip
    found = RecordingRow("r", "c", "recovered", "call", "d", Masked("1"), Masked("2"), 6, 77, 71, 1_000, 2, 3)
    row = merged(before, found)
    assert row == replace(before, state="recovered", ended_ms=77, length_ms=71, bytes=1_000, legs=2, packets_lost=3)
    assert merged(None, found) == found


def test_a_mark_that_a_crash_tore_is_one(tmp_path: Path) -> None:
    path = tmp_path / "1.journal"
    assert erasing.begun(path) is None
    erasing.begin(path, "withdrawn", "sip")
    mark = tmp_path / f"1.journal{erasing.SUFFIX}"
    os.truncate(mark, 5)
    assert erasing.begun(path) == ("withdrawn", "unknown")
    erasing.done(path)
    erasing.done(path)
    assert erasing.begun(path) is None


async def test_erasing_what_ended_a_moment_ago_destroys_the_spools_that_hold_it(room: Room) -> None:
    running = await room.recorder.begin(room.call(), NoticeKind.CALL, ConsentRules("p"))
    other = room.leg(3)
    await running.leg_joined(other)
    await running.notice_finished(room.notice(other))
    recording_id, folder = await recorded(room)
    room.talk(other, packets=3)
    held = spool.holding(room.recorder.root)
    keys_held = [path.read_bytes()[: spool_file.HEAD_BYTES].partition(b'"key"')[2].strip() for path, _ in held]
    descriptors = [os.open(path, os.O_RDONLY) for path, _ in held]
    await room.recorder.keeper().erase(recording_id, "1", "asked for it", "anna", room.clock.wall())
    assert not key_path(folder / "1.journal").exists()
    assert held & spool.holding(room.recorder.root) == set()
    for descriptor, key in zip(descriptors, keys_held, strict=True):
        assert key not in os.read(descriptor, 4_096)  # whatever has become of the file: its key is gone
        os.close(descriptor)
    await running.end()


async def test_a_command_beside_the_server_waits_until_no_spool_holds_the_words(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id, folder = await recorded(room)
    monkeypatch.setattr(keeping, "SPOOL_WAIT_S_MAX", 0.02)
    monkeypatch.setattr(keeping, "SPOOL_LOOK_S", 0.01)
    keeper = replace(room.recorder.keeper(), forget=None)
    row = await room.store.get(recording_id)
    assert row is not None
    wall = (row.ended_ms or 0) / 1000
    stays = room.recorder.root / spool_file.FOLDER / f"0{spool_file.SUFFIX}"
    stays.write_bytes(bytes(spool_file.HEAD_BYTES + 1))
    with pytest.raises(StorageError, match="may hold its last words"):
        await keeper.erase(recording_id, "1", "asked for it", "anna", wall)
    assert key_path(folder / "1.journal").exists()
    stays.write_bytes(bytes(spool_file.HEAD_BYTES))
    monkeypatch.setattr(keeping, "SPOOL_WAIT_S_MAX", 30.0)  # the server's own goes when its writer gets to it
    assert await keeper.erase(recording_id, "1", "asked for it", "anna", wall) == ["1.journal"]
    stays.write_bytes(bytes(spool_file.HEAD_BYTES + 1))  # somebody else's: these words left it long ago
    assert await keeper.erase(recording_id, "2", "asked for it", "anna", wall + 60) == ["2.journal"]
    stays.unlink()


# -- recovery that is interrupted, or comes after the end


def begin(root: Path) -> Path:
    catalogue.prepare(root)
    return catalogue.begin(root, catalogue.relative_directory("r1", WALL0), "r1")


def states(root: Path, ring: KeyRing | None = RING, signer: Signer | None = SIGNER) -> list[str]:
    return [row.state for row in recover(root, ring, signer, WALL0)]


def test_a_recovery_that_was_interrupted_is_none_the_less_one(tmp_path: Path) -> None:
    """Its journals have their ends already, and it still must not be signed as complete."""
    directory = begin(tmp_path)
    write_sealed(directory, PACKETS)
    assert states(tmp_path, signer=None) == []
    assert states(tmp_path) == ["recovered"]
    report = verify_directory(directory, SIGNER.public)
    assert (report.verdict, report.body["state"]) == (Verdict.PROVEN, "recovered")


def test_a_failed_recording_that_was_signed_is_not_touched_by_the_next_start(tmp_path: Path) -> None:
    """Its journal has no end: nothing could be written any more. The crash came before its mark was gone."""
    directory = begin(tmp_path)
    sign(directory, write_sealed(directory, PACKETS), state="failed")
    before = {path: path.read_bytes() for path in directory.iterdir()}
    assert states(tmp_path) == ["failed"]
    assert {path: path.read_bytes() for path in directory.iterdir()} == before
    assert verify_directory(directory, SIGNER.public).verdict is Verdict.PROVEN
    assert list(catalogue.unfinished(tmp_path)) == []


def test_a_journal_whose_key_is_lost_is_proven_by_its_chain(tmp_path: Path) -> None:
    directory = begin(tmp_path)
    write_sealed(directory, PACKETS, "1")
    write_sealed(directory, PACKETS, "2", closed_ns=T0_NS)
    key_path(directory / "2.journal").unlink()
    assert states(tmp_path) == ["recovered"]
    assert verify_directory(directory, SIGNER.public).verdict is Verdict.PROVEN
    assert manifest.tombstones(directory) == {}
