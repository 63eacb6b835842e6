"""Exports: a finished file or a reason, never half a file."""

import dataclasses
from pathlib import Path
from typing import Literal

import av
import pytest

from mediaserver.errors import StorageError
from mediaserver.model import Masked
from mediaserver.recording import catalogue
from mediaserver.recording.export import export_recording
from mediaserver.recording.keys import destroy_key
from mediaserver.store.recordings import RecordingRow
from tests.support.sealed import RING, write_sealed
from tests.support.synthetic_taps import T0_NS, WALL0, Talker, header, tone, write_journal

ROW = RecordingRow("r1", "c1", "complete", "call", "2026/09/21/r1", Masked("1"), Masked("2"), round(WALL0 * 1000))


def recorded(root: Path) -> Path:
    directory = root / ROW.directory
    directory.mkdir(parents=True)
    write_journal(directory / "1.journal", list(Talker(tone(440, 1)).packets()), closed_ns=T0_NS + 1_000_000_000)
    return directory


async def test_an_export_appears_whole_with_its_progress(tmp_path: Path) -> None:
    recorded(tmp_path)
    seen: list[int] = []
    path = await export_recording(tmp_path, RING, ROW, "opus", tmp_path / "call.opus", seen.append)
    with av.open(str(path)) as container:
        assert float(container.duration) / 1e6 == pytest.approx(1.0, abs=0.02)
        assert container.metadata.get("DATE", "").startswith("2026-09-21T14:13:20") or any(
            value.startswith("2026-09-21T14:13:20") for value in container.streams[0].metadata.values()
        )
    assert seen[-1] == 100
    assert sorted(p.name for p in tmp_path.iterdir()) == ["2026", "call.opus"]


@pytest.mark.parametrize("form", ["wav", "opus"])
async def test_an_export_is_readable_by_its_owner_only(form: Literal["wav", "opus"], tmp_path: Path) -> None:
    recorded(tmp_path)
    (tmp_path / "call.part").touch(mode=0o644)  # left by an export that was killed
    path = await export_recording(tmp_path, RING, ROW, form, tmp_path / "call")
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_mark_of_an_unfinished_recording_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    catalogue.prepare(tmp_path)
    catalogue.begin(tmp_path, ROW.directory, "r1")
    assert (tmp_path / "open" / "r1").stat().st_mode & 0o777 == 0o600
    assert list(catalogue.unfinished(tmp_path)) == [("r1", ROW.directory)]


async def test_journals_that_are_gone_are_a_lookup_error(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="no journals under"):
        await export_recording(tmp_path, RING, ROW, "wav", tmp_path / "call.wav")


async def test_a_directory_outside_is_never_read(tmp_path: Path) -> None:
    recorded(tmp_path)
    for outside in ("../../etc", "/etc", ""):
        with pytest.raises(StorageError, match="not inside"):
            await export_recording(
                tmp_path / "x", RING, dataclasses.replace(ROW, directory=outside), "wav", tmp_path / "o.wav"
            )


async def test_what_the_worker_says_is_passed_on_and_nothing_is_left_behind(tmp_path: Path) -> None:
    directory = recorded(tmp_path)
    with pytest.raises(StorageError, match=r"cannot write .*No such file"):
        await export_recording(tmp_path, RING, ROW, "wav", tmp_path / "missing" / "call.wav")
    (directory / "1.journal").write_bytes(header())
    with pytest.raises(StorageError, match=r"rendering failed.*nothing was captured"):
        await export_recording(tmp_path, RING, ROW, "wav", tmp_path / "call.wav")
    assert not list(tmp_path.glob("*.wav*"))


@pytest.mark.parametrize("leg_id", ["../../etc/passwd", "a/b", "", "\0", "x" * 65, "c1-1"])
def test_a_leg_id_is_never_a_path(leg_id: str, tmp_path: Path) -> None:
    assert catalogue.journal_name(tmp_path, leg_id, 3) == "leg3.journal"


def test_two_legs_of_one_number_get_two_journals(tmp_path: Path) -> None:
    assert catalogue.journal_name(tmp_path, "1", 0) == "1.journal"
    (tmp_path / "1.journal").touch()
    assert catalogue.journal_name(tmp_path, "1", 1) == "leg1.journal"


def test_recording_ids_sort_by_time() -> None:
    early, late = catalogue.new_recording_id(WALL0), catalogue.new_recording_id(WALL0 + 1)
    assert early < late
    assert len(early) == 24


async def test_what_is_erased_while_it_waits_to_be_rendered_does_not_come_back(tmp_path: Path) -> None:
    directory = tmp_path / ROW.directory
    directory.mkdir(parents=True)
    write_sealed(directory, list(Talker(tone(440, 1)).packets()), closed_ns=T0_NS + 1_000_000_000)

    def erased(_percent: int) -> None:
        destroy_key(directory / "1.journal")

    with pytest.raises(LookupError, match="destroyed while"):
        await export_recording(tmp_path, RING, ROW, "wav", tmp_path / "call.wav", erased)
    assert not list(tmp_path.glob("*.wav*"))
