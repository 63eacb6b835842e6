"""Proof from files and the public key alone: whatever is changed, left out, put elsewhere or cut off is found."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mediaserver.recording import manifest, segment
from mediaserver.recording.keys import Signer, destroy_key
from mediaserver.recording.verify import Report, Verdict, verify, verify_directory
from tests.support.sealed import SIGNER, sign, write_sealed
from tests.support.synthetic_taps import T0_NS, WALL0, Talker, rtp, tone

Files = dict[str, bytes]
MUTATIONS = 10_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two parties, nine segments each, closed and signed."""
    packets = [(T0_NS + n * 20_000_000, rtp(n, n * 160, bytes([n]) * 20)) for n in range(8)]
    closed_ns = T0_NS + 1_000_000_000
    files = [write_sealed(tmp_path, packets, name, closed_ns=closed_ns, per_segment=2) for name in ("1", "2")]
    sign(tmp_path, *files)
    return tmp_path


def read(folder: Path) -> Files:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix != ".key"}


def check(files: Files) -> Report:
    text = files.get(manifest.NAME, b"")
    lines = [line + b"\n" for line in text.split(b"\n")[:-1]]
    journals: dict[str, Callable[[], BytesIO]] = {
        name: (lambda data=data: BytesIO(data)) for name, data in files.items() if name != manifest.NAME
    }
    return verify(lines, journals, SIGNER.public, trailing=len(text) - sum(map(len, lines)))


def pieces(data: bytes) -> list[bytes]:
    return [item.head + item.body for item in segment.scan(BytesIO(data)) if not isinstance(item, int)]


def test_a_recording_as_it_was_signed_is_proven_without_any_key(folder: Path) -> None:
    for path in folder.glob("*.key"):
        path.unlink()
    report = verify_directory(folder, SIGNER.public)
    assert (report.verdict, report.findings) == (Verdict.PROVEN, [])
    assert [text.split(":")[0] for text in report.facts] == [f"signed by {SIGNER.signer_id}", "1.journal", "2.journal"]


def mutate(draw: random.Random, files: Files) -> str:
    """One change of one file, of a kind an attacker or a disk makes. Returns what was done."""
    name = draw.choice(sorted(files))
    data = files[name]
    kind = draw.choice(("flip", "flip", "flip", "cut", "append", "drop", "swap", "repeat", "delete", "zero"))
    if kind in ("drop", "swap", "repeat") and name == manifest.NAME:
        kind = "flip"
    if kind == "flip":
        bit = draw.randrange(len(data) * 8)
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        files[name] = bytes(changed)
    elif kind == "cut":
        files[name] = data[: draw.randrange(len(data))]
    elif kind == "append":
        files[name] = data + draw.choice((b"\0", b"\n", data[-40:], draw.randbytes(5)))
    elif kind == "delete":
        del files[name]
    elif kind == "zero":
        at = draw.randrange(len(data) - 16)
        files[name] = data[:at] + bytes(16) + data[at + 16 :]
    else:
        parts = pieces(data)
        first, second = sorted(draw.sample(range(len(parts)), 2))
        if kind == "drop":
            del parts[first:second]
        elif kind == "swap":
            parts[first], parts[second] = parts[second], parts[first]
        else:
            parts.insert(second, parts[first])
        files[name] = b"".join(parts)
    return f"{kind} {name}"


def test_ten_thousand_mutations_are_all_found(folder: Path) -> None:
    genuine = read(folder)
    assert check(genuine).verdict is Verdict.PROVEN
    for seed in range(MUTATIONS):
        files = dict(genuine)
        done = mutate(random.Random(seed), files)
        if files == genuine:  # sixteen zeros over zeros
            continue
        report = check(files)
        assert report.verdict is not Verdict.PROVEN, (seed, done)
        assert report.findings, (seed, done)
        assert (report.verdict is Verdict.NOT_CLOSED) == (b"\n" not in files.get(manifest.NAME, b"")), (seed, done)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda p: [*p[:5], *p[7:]], "1.journal: segments 5 to 6 are missing before byte"),
        (lambda p: [*p[:5], *p[6:]], "1.journal: segment 5 is missing before byte"),
        (lambda p: [*p[:5], p[6], p[5], *p[7:]], "1.journal: segment 5 stands at byte"),
        (lambda p: [*p[:5], p[4], *p[5:]], "1.journal: segment 4 stands at byte"),
        (lambda p: p[:-2], "1.journal: the last 2 segments are missing"),
        (
            lambda p: [*p[:5], p[5][:-1] + bytes([p[5][-1] ^ 1]), *p[6:]],
            "1.journal: segment 5 was changed: segment 6 was written after",
        ),
        (lambda p: [*p[:-1], p[-1][:-1] + bytes([p[-1][-1] ^ 1])], "1.journal: segment 8, the last, was changed"),
        (lambda p: [*p[:5], b"\0" * 64, *p[6:]], "1.journal: 64 bytes at"),
    ],
)
def test_the_report_says_in_plain_words_what_happened_where(
    folder: Path, change: Callable[[list[bytes]], list[bytes]], words: str
) -> None:
    path = folder / "1.journal"
    path.write_bytes(b"".join(change(pieces(path.read_bytes()))))
    report = verify_directory(folder, SIGNER.public)
    assert report.verdict is Verdict.BROKEN
    assert any(words in text for text in report.findings)
    assert not any(text.startswith("2.journal") for text in report.findings)


def test_a_journal_of_another_recording_and_a_forged_manifest_are_found(folder: Path, tmp_path_factory: Path) -> None:
    other = folder / "other"
    other.mkdir()
    sign(other, write_sealed(other, [], "1", closed_ns=T0_NS + 1))
    (other / "2.journal").write_bytes((folder / "2.journal").read_bytes())
    report = verify_directory(other, SIGNER.public)
    assert report.findings == ["2.journal: does not belong to this recording: the manifest does not know it"]
    forger = Signer(Ed25519PrivateKey.from_private_bytes(bytes([7]) * 32))
    assert "not by this public key" in verify_directory(folder, forger.public).findings[0]


def test_a_recording_without_a_manifest_is_not_called_broken(folder: Path) -> None:
    (folder / manifest.NAME).unlink()
    report = verify_directory(folder, SIGNER.public)
    assert (report.verdict, report.findings[0][:20]) == (Verdict.NOT_CLOSED, "there is no manifest")


def test_an_erased_channel_stays_in_the_chain_and_the_rest_stays_proven(folder: Path) -> None:
    assert destroy_key(folder / "2.journal")
    assert not destroy_key(folder / "2.journal")
    body = manifest.tombstone_body("r1", "2.journal", "k", "erasure asked for", "admin", WALL0)
    manifest.append(folder, body, SIGNER)
    report = verify_directory(folder, SIGNER.public)
    assert report.verdict is Verdict.PROVEN
    assert report.facts[-1] == "2.journal: was made unreadable on purpose (erasure asked for), by admin"
    lines = manifest.read_lines(folder / manifest.NAME)
    (folder / manifest.NAME).write_bytes(lines[1])
    assert verify_directory(folder, SIGNER.public).verdict is Verdict.BROKEN


def test_a_torn_line_of_the_manifest_gives_way_to_the_next(folder: Path) -> None:
    path = folder / manifest.NAME
    path.write_bytes(path.read_bytes() + b'{"body":"half')
    assert verify_directory(folder, SIGNER.public).verdict is Verdict.BROKEN
    manifest.append(folder, manifest.tombstone_body("r1", "1.journal", "k", "why", "who", WALL0), SIGNER)
    assert verify_directory(folder, SIGNER.public).verdict is Verdict.PROVEN


def test_the_script_outside_the_package_says_how_it_is_called() -> None:
    script = Path(__file__).parents[3] / "docs" / "verify_recording.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "usage: verify_recording.py FOLDER PUBLIC_KEY_PEM\n"


def test_a_script_outside_the_package_agrees(folder: Path) -> None:
    """docs/verify_recording.py, short enough to be read by whoever is to believe it, shares no line with us."""
    script = Path(__file__).parents[3] / "docs" / "verify_recording.py"
    assert len(script.read_text().splitlines()) <= 68
    assert "mediaserver" not in "".join(line for line in script.read_text().splitlines() if "import" in line)
    public = folder / "public.pem"
    public.write_bytes(SIGNER.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    def run() -> tuple[int, str]:
        done = subprocess.run([sys.executable, script, folder, public], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    assert run() == (0, "proven: 2 journals are as they were signed\n")
    genuine = read(folder)
    for seed in (1, 3, 5, 7, 11):
        files = dict(genuine)
        files.pop("public.pem")
        mutate(random.Random(seed), files)
        for name in genuine:
            if name != "public.pem":
                (folder / name).unlink(missing_ok=True)
        for name, data in files.items():
            (folder / name).write_bytes(data)
        code, text = run()
        assert code == 1, seed
        assert "NOT as it was signed" in text, seed
        assert check(files).verdict is not Verdict.PROVEN


def test_a_changed_segment_costs_its_own_packets_only(tmp_path: Path) -> None:
    from tests.support.sealed import read_sealed

    packets = list(Talker(tone(440, 1)).packets())
    write_sealed(tmp_path, packets, closed_ns=T0_NS + 1_000_000_000)
    path = tmp_path / "1.journal"
    whole = [r.body for r in read_sealed(path) if r.kind == 1]
    parts = pieces(path.read_bytes())
    for index in (3, 7):
        damaged = list(parts)
        damaged[index] = damaged[index][:100] + bytes([damaged[index][100] ^ 1]) + damaged[index][101:]
        path.write_bytes(b"".join(damaged))
        left = [r.body for r in read_sealed(path) if r.kind == 1]
        assert left == whole[: (index - 3) * 5] + whole[(index - 2) * 5 :]
