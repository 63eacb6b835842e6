"""The ledger: what was closed is here or was removed by somebody who signed; whatever else happens to it is found."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mediaserver.recording import ledger, manifest
from tests.support.recorder_room import Room, recorded
from tests.support.sealed import SIGNER

SEPTEMBER = datetime(2026, 9, 30, 23, 59, tzinfo=UTC).timestamp()
PUBLIC = SIGNER.public


def closed(root: Path, recording_id: str, wall: float = SEPTEMBER) -> Path:
    folder = root / "2026/09/30" / recording_id
    folder.mkdir(parents=True, exist_ok=True)
    manifest.append(folder, manifest.manifest_body(recording_id, "c1", "complete", wall, []), SIGNER)
    ledger.closed(root, f"2026/09/30/{recording_id}", recording_id, SIGNER, wall)
    return folder


def removed(root: Path, recording_id: str, wall: float = SEPTEMBER) -> None:
    ledger.removed(root, f"2026/09/30/{recording_id}", recording_id, "wrong number", "anna", SIGNER, wall)


async def test_every_recording_that_is_closed_stands_in_the_ledger(room: Room) -> None:
    first, folder = await recorded(room)
    second, _ = await recorded(room)
    public = room.recorder.signer.public
    report = ledger.verify(room.recorder.root, public)
    assert (report.findings, report.closed, report.lines) == ([], 2, 2)
    await room.recorder.keeper().remove(second, "wrong number", "anna", room.clock.wall())
    report = ledger.verify(room.recorder.root, public)
    assert (report.findings, report.closed) == ([], 2)
    assert [(one["recording"], one["actor"], one["reason"]) for one in report.removals] == [
        (second, "anna", "wrong number")
    ]
    shutil.rmtree(folder)  # somebody does it with his own hands
    (finding,) = ledger.verify(room.recorder.root, public).findings
    assert finding.startswith(f"{first}: was closed at ")
    assert finding.endswith("and is not here; nobody signed for its removal")


def test_the_chain_runs_on_into_the_next_month_and_a_clock_set_back_does_not_break_it(tmp_path: Path) -> None:
    closed(tmp_path, "r1")
    closed(tmp_path, "r2", SEPTEMBER + 120)
    closed(tmp_path, "r3")
    names = {path.name: len(path.read_bytes().splitlines()) for path in (tmp_path / "ledger").glob("2*")}
    assert names == {"2026-09.jsonl": 1, "2026-10.jsonl": 2}
    report = ledger.verify(tmp_path, PUBLIC)
    assert (report.findings, report.closed) == ([], 3)
    (tmp_path / "ledger" / "2026-09.jsonl").unlink()
    assert "is not genuine: it does not follow the line before it" in ledger.verify(tmp_path, PUBLIC).findings[0]


def test_any_change_to_the_chain_is_found(tmp_path: Path) -> None:
    for number in range(6):
        closed(tmp_path, f"r{number}")
    removed(tmp_path, "r2")
    path = tmp_path / "ledger" / "2026-09.jsonl"
    good = path.read_bytes()
    lines = good.splitlines(keepends=True)
    draw = random.Random(7)
    wrong = [b"".join(lines[1:]), b"".join(lines[:2] + lines[3:]), b"".join(lines[:1] + lines[2:3] + lines[1:2])]
    for _ in range(100):
        at = draw.randrange(len(good))
        wrong.append(good[:at] + bytes([good[at] ^ 1 << draw.randrange(8)]) + good[at + 1 :])
    for data in wrong:
        path.write_bytes(data)
        assert ledger.verify(tmp_path, PUBLIC).findings, data
    path.write_bytes(good)
    assert ledger.verify(tmp_path, PUBLIC).findings == []


def test_a_cut_tail_is_seen_by_who_noted_the_head(tmp_path: Path) -> None:
    closed(tmp_path, "r1")
    early = ledger.verify(tmp_path, PUBLIC).head
    closed(tmp_path, "r2")
    late = ledger.verify(tmp_path, PUBLIC).head
    assert ledger.verify(tmp_path, PUBLIC, early).findings == []
    path = tmp_path / "ledger" / "2026-09.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    assert ledger.verify(tmp_path, PUBLIC, early).findings == []
    assert "its end was cut off" in ledger.verify(tmp_path, PUBLIC, late).findings[0]


def test_half_a_line_that_a_crash_left_is_cut_and_the_chain_goes_on(tmp_path: Path) -> None:
    closed(tmp_path, "r1")
    path = tmp_path / "ledger" / "2026-09.jsonl"
    with path.open("ab") as file:
        file.write(b'{"body":"{')
    closed(tmp_path, "r2")
    ledger.closed(tmp_path, "2026/09/30/r2", "r2", SIGNER, SEPTEMBER)  # a crash came before its mark was gone
    report = ledger.verify(tmp_path, PUBLIC)
    assert (report.findings, report.closed, report.lines) == ([], 2, 3)


def test_another_manifest_in_its_place_is_found_and_a_later_tombstone_is_none(tmp_path: Path) -> None:
    folder = closed(tmp_path, "r1")
    manifest.append(folder, manifest.tombstone_body("r1", "1.journal", "k", "asked", "anna", SEPTEMBER), SIGNER)
    assert ledger.verify(tmp_path, PUBLIC).findings == []
    (folder / manifest.NAME).unlink()
    manifest.append(folder, manifest.manifest_body("r1", "c9", "complete", SEPTEMBER, []), SIGNER)
    assert ledger.verify(tmp_path, PUBLIC).findings == ["r1: has another manifest than the one it was closed with"]


async def test_many_who_write_at_once_make_one_chain(tmp_path: Path) -> None:
    await asyncio.gather(*(asyncio.to_thread(closed, tmp_path, f"r{number}") for number in range(20)))
    report = ledger.verify(tmp_path, PUBLIC)
    assert (report.findings, report.closed) == ([], 20)


def test_the_longest_reason_fits_a_line(tmp_path: Path) -> None:
    from mediaserver.limits import LEDGER_LINE_BYTES_MAX, REMOVAL_REASON_CHARACTERS_MAX

    closed(tmp_path, "r1")
    reason = "ы" * REMOVAL_REASON_CHARACTERS_MAX
    ledger.removed(tmp_path, "2026/09/30/r1", "r1", reason, "я" * 64, SIGNER, SEPTEMBER)
    closed(tmp_path, "r2")
    assert max(map(len, (tmp_path / "ledger" / "2026-09.jsonl").read_bytes().splitlines())) < LEDGER_LINE_BYTES_MAX
    assert ledger.verify(tmp_path, PUBLIC).removals[0]["reason"] == reason


async def test_the_script_for_those_who_do_not_trust_us_reads_a_removal(room: Room, tmp_path: Path) -> None:
    recording_id, folder = await recorded(room)
    await room.recorder.keeper().remove(recording_id, "wrong number", "anna", room.clock.wall())
    public = tmp_path / "public.pem"
    pem = room.recorder.signer.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    public.write_bytes(pem)
    script = Path(__file__).resolve().parents[3] / "docs" / "verify_recording.py"

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, str(script), str(folder), str(public)], capture_output=True, text=True)

    done = await asyncio.to_thread(run)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("removed by anna at ")
    assert "wrong number" in done.stdout


@pytest.mark.parametrize("directory", ["../../../etc", "/etc"])
def test_a_directory_outside_is_never_looked_into(tmp_path: Path, directory: str) -> None:
    root = tmp_path / "recordings"
    root.mkdir()
    ledger.closed(root, "2026/09/30/r1", "r1", SIGNER, SEPTEMBER)
    body = {"event": "closed", "at": 1.0, "directory": directory, "manifest": "x"}
    report = ledger.LedgerReport()
    ledger._look(root, "r9", body, report)
    assert report.findings == [
        "r9: was closed at 1970-01-01T00:00:01+00:00 and is not here; nobody signed for its removal"
    ]
