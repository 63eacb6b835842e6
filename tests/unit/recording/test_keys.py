"""Keys: where they come from, what they open, and what is left when they are gone."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from pydantic import SecretStr

from mediaserver.errors import StorageError
from mediaserver.recording import keys
from mediaserver.recording.keys import KeyRing, MasterKey, load_ring, load_signer, parse_keys
from mediaserver.settings import RecordingSettings
from tests.support.sealed import read_sealed, write_sealed
from tests.support.synthetic_taps import T0_NS, rtp

OLD, NEW = MasterKey(bytes([1]) * 32), MasterKey(bytes([2]) * 32)
TEXT = base64.b64encode(OLD.key).decode()
MARK = b"a secret nobody may read" * 4


def test_the_first_start_makes_private_keys_and_the_next_finds_them(tmp_path: Path) -> None:
    ring, signer = load_ring(RecordingSettings(), tmp_path), load_signer(tmp_path)
    for name in (keys.MASTER_NAME, keys.SIGNING_NAME):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
    again = load_ring(RecordingSettings(), tmp_path)
    assert again.current == ring.current
    assert load_signer(tmp_path).signer_id == signer.signer_id
    assert keys.signer_id(keys.load_public(tmp_path / keys.PUBLIC_NAME)) == signer.signer_id


def test_the_command_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_text(base64.b64encode(bytes([3]) * 32).decode() + "\n")
    given = RecordingSettings(key_file=file)
    assert load_ring(given, tmp_path).current.key == bytes([3]) * 32
    given = given.model_copy(update={"key": SecretStr(TEXT)})
    assert load_ring(given, tmp_path).current == OLD
    given = given.model_copy(update={"key_command": f"echo {base64.b64encode(NEW.key).decode()}"})
    assert load_ring(given, tmp_path).current == NEW
    assert not (tmp_path / keys.MASTER_NAME).exists()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"key_file": Path("/nowhere/key")}, r"recording.key_file /nowhere/key: cannot be read"),
        ({"key_command": "false"}, r"recording.key_command ended with 1"),
        ({"key_command": "/no/such/thing"}, r"recording.key_command failed: FileNotFoundError"),
        ({"key": SecretStr("c2hvcnQ=")}, r"key 1 is not 32 bytes in base64; make one: openssl rand -base64 32"),
        ({"key": SecretStr(f"{TEXT},***")}, r"key 2 is not 32 bytes"),
    ],
)
def test_a_key_that_cannot_be_had_is_said_with_its_setting_and_without_its_value(
    settings: dict[str, object], words: str, tmp_path: Path
) -> None:
    with pytest.raises(StorageError, match=words) as caught:
        load_ring(RecordingSettings.model_validate(settings), tmp_path)
    assert TEXT not in str(caught.value)


def test_a_master_key_never_shows_in_a_representation() -> None:
    assert "\\x01" not in repr(OLD) + repr(parse_keys(TEXT, "x"))


def test_what_was_said_is_not_in_the_file_and_opens_with_the_key_alone(tmp_path: Path) -> None:
    ring = KeyRing([OLD])
    write_sealed(tmp_path, [(T0_NS, rtp(1, 160, MARK))], closed_ns=T0_NS + 1, ring=ring)
    path = tmp_path / "1.journal"
    assert MARK not in path.read_bytes()
    segment = path.read_bytes().split(b"MSEG", 2)[1]
    clear = json.loads(segment[segment.index(b"{") :])
    assert "100" not in str({**clear, "key": "drawn by chance"})  # nor a number in what stands in the clear
    assert MARK in b"".join(record.body for record in read_sealed(path, ring))
    values = keys.read_key(path) or {}
    for wrong in ({**values, "wrapped": values["wrapped"][:-8] + "AAAAAAA="}, {**values, "recording": "r2"}, {}):
        with pytest.raises(StorageError):
            ring.unwrap(wrong)
    with pytest.raises(StorageError, match=f"wrapped by master key {OLD.master_id}; given: {NEW.master_id}"):
        KeyRing([NEW]).unwrap(values)


def test_rotation_wraps_anew_and_touches_no_journal(tmp_path: Path) -> None:
    folder = tmp_path / "2026" / "09" / "21" / "r1"
    folder.mkdir(parents=True)
    write_sealed(folder, [(T0_NS, rtp(1, 160, MARK))], closed_ns=T0_NS + 1, ring=KeyRing([OLD]))
    before = (folder / "1.journal").read_bytes()
    assert keys.rewrap(tmp_path, KeyRing([NEW, OLD])) == (1, 0)
    assert keys.rewrap(tmp_path, KeyRing([NEW])) == (0, 1)
    assert (folder / "1.journal").read_bytes() == before
    assert MARK in b"".join(record.body for record in read_sealed(folder / "1.journal", KeyRing([NEW])))
    with pytest.raises(StorageError, match=r"1\.key: .*wrapped by master key"):
        keys.rewrap(tmp_path, KeyRing([OLD]))


def test_a_destroyed_key_leaves_nothing_to_open(tmp_path: Path) -> None:
    write_sealed(tmp_path, [(T0_NS, rtp(1, 160, MARK))], closed_ns=T0_NS + 1)
    assert keys.destroy_key(tmp_path / "1.journal")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.journal"]
    assert read_sealed(tmp_path / "1.journal") == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", json.dumps({"format": "x"}).encode()])
def test_a_damaged_key_file_is_named(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "1.key").write_bytes(content)
    with pytest.raises(StorageError, match=r"1\.key"):
        keys.read_key(tmp_path / "1.journal")
