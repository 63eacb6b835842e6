"""vCons: what the drafts ask for, the very audio, and evidence that says how the notice arrived."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from hashlib import sha512
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mediaserver.model import Masked
from mediaserver.recording import manifest
from mediaserver.recording.vcon import make_vcon
from mediaserver.store.recordings import EvidenceRow, RecordingRow
from tests.support.sealed import SIGNER
from tests.support.synthetic_taps import WALL0

SCHEMA = json.loads((Path(__file__).parents[2] / "vectors" / "vcon" / "vcon.schema.json").read_text())
START_MS = round(WALL0 * 1000)
ROW = RecordingRow("r1", "c1", "complete", "call", "2026/09/21/r1", Masked("+37120000001"), Masked("bob"), START_MS,
                   START_MS + 9_000, 9_000, delete_after_ms=START_MS + 86_400_000)  # fmt: skip
NOTICE = EvidenceRow("e1", "c1", "r1", "1", Masked("+37120000001"), "recording", "implied", "announce-and-stay",
                     "recording-notice", "ab" * 32, "en", START_MS - 4_000, START_MS - 1_000, 1, 2, "notice",
                     150, 3)  # fmt: skip


BASES = {
    ("us-all-party", "recording"): "consent",
    ("announce-and-stay", "recording"): "legitimate_interests",
    ("announce-and-stay", "training"): "consent",
}


def made(tmp_path: Path, evidence: list[EvidenceRow], **changes: Any) -> dict[str, Any]:
    audio = tmp_path / "audio.ogg.part"
    audio.write_bytes(b"OggS" + bytes(range(256)))
    vcon = make_vcon(replace(ROW, **changes), evidence, audio, "audio/ogg", bases=BASES, created_wall=WALL0 + 60)
    jsonschema.Draft202012Validator(SCHEMA).validate(vcon)
    for attachment in vcon["attachments"]:
        if attachment["purpose"] == "lawful_basis":
            basis = {**SCHEMA["$defs"]["lawful_basis"], "$defs": SCHEMA["$defs"]}
            jsonschema.Draft202012Validator(basis).validate(attachment["body"])
    return vcon


def test_the_audio_inside_is_the_audio_and_its_hash_says_so(tmp_path: Path) -> None:
    vcon = made(tmp_path, [NOTICE])
    (dialog,) = vcon["dialog"]
    data = base64.urlsafe_b64decode(dialog["body"] + "=" * (-len(dialog["body"]) % 4))
    assert data == (tmp_path / "audio.ogg.part").read_bytes()
    assert dialog["filename"] == "r1.ogg"
    digest = base64.urlsafe_b64encode(sha512(data).digest()).decode().rstrip("=")
    assert dialog["content_hash"] == f"sha512-{digest}"
    assert (dialog["start"], dialog["duration"]) == ("2026-09-21T14:13:20.000+00:00", 9.0)
    assert made(tmp_path, [NOTICE])["uuid"] == vcon["uuid"]  # the same recording is the same vCon
    assert made(tmp_path, [NOTICE], recording_id="r2")["uuid"] != vcon["uuid"]


def test_each_party_has_its_own_basis_with_the_delivery_of_its_notice(tmp_path: Path) -> None:
    answer = replace(NOTICE, evidence_id="e2", leg_id="2", party=Masked("bob"), state="granted", how="dtmf",
                     packets_lost=-1, detail='{"key": "1"}')  # fmt: skip
    later = replace(answer, evidence_id="e3", state="withdrawn", how="web", detail="{}")
    vcon = made(tmp_path, [NOTICE, answer, later])
    assert vcon["parties"] == [{"tel": "+37120000001", "role": "caller"}, {"name": "bob", "role": "callee"}]
    first, second = [a["body"] for a in vcon["attachments"]]
    assert [a["party"] for a in vcon["attachments"]] == [0, 1]
    assert first["lawful_basis"] == "legitimate_interests"
    notice = first["proof_mechanisms"][0]["proof_data"]["notice"]
    assert (notice["sha256"], notice["rtp_packets_sent"], notice["delivered"]) == ("ab" * 32, 150, 0.98)
    assert (notice["rtp"], notice["rtcp"]) == (None, None)  # of a recording made before they were kept
    assert first["expiration"] == "2026-09-22T14:13:20.000+00:00"
    assert [p["proof_data"]["collectionMethod"] for p in second["proof_mechanisms"]] == ["dtmf", "web"]
    assert second["purpose_grants"][0]["granted"] is False  # the last word counts


def test_the_packets_of_a_notice_and_the_report_that_covers_them_are_named(tmp_path: Path) -> None:
    known = replace(NOTICE, rtp_ssrc=9, rtp_first=65_530, rtp_last=65_679, rtcp_highest=65_690, rtcp_reporter=7)
    vcon = made(tmp_path, [known, replace(known, leg_id="2", rtcp_highest=-1, packets_lost=-1, rtcp_before=4)])
    told = [a["body"]["proof_mechanisms"][0]["proof_data"]["notice"] for a in vcon["attachments"]]
    assert told[0]["rtp"] == {"ssrc": 9, "first_sequence": 65_530, "last_sequence": 65_679}
    assert told[0]["rtcp"] == {"reporter": 7, "highest_sequence": 65_690, "counted_from": None}
    assert (told[1]["rtcp"], told[1]["delivered"]) == (None, None)


def test_each_purpose_has_a_basis_of_its_own_and_each_channel_its_parties(tmp_path: Path) -> None:
    training = replace(NOTICE, evidence_id="e2", purpose="training", state="granted", how="dtmf")
    others = [replace(NOTICE, evidence_id=f"e{n}", leg_id=str(n), party=Masked(f"10{n}")) for n in (2, 3)]
    denied = replace(NOTICE, evidence_id="e9", leg_id="4", party=Masked("104"), state="denied", how="dtmf")
    audio = tmp_path / "a.ogg"
    audio.write_bytes(b"x")
    evidence = [NOTICE, training, *others, denied]
    vcon = make_vcon(ROW, evidence, audio, "audio/ogg", bases=BASES, heard={"1", "2", "3"}, created_wall=WALL0)
    jsonschema.Draft202012Validator(SCHEMA).validate(vcon)
    assert vcon["dialog"][0]["parties"] == [0, [1, 2]]  # the first is on the left; who refused is on neither side
    assert len(vcon["parties"]) == 4
    told = [(a["party"], a["body"]["purpose_grants"][0]["purpose"], a["body"]["lawful_basis"])
            for a in vcon["attachments"]]  # fmt: skip
    assert told == [
        (0, "recording", "legitimate_interests"),
        (0, "training", "consent"),
        (1, "recording", "legitimate_interests"),
        (2, "recording", "legitimate_interests"),
        (3, "recording", "legitimate_interests"),
    ]
    assert vcon["attachments"][4]["body"]["purpose_grants"][0]["granted"] is False


@pytest.mark.parametrize(
    ("policy", "how", "basis"),
    [
        ("us-all-party", "notice", "consent"),  # what the policy says, though nobody pressed a key
        ("announce-and-stay", "prior", "legitimate_interests"),
        ("removed since", "notice", "legitimate_interests"),
        ("removed since", "prior", "contract"),
    ],
)
def test_the_lawful_basis_is_the_policys(policy: str, how: str, basis: str, tmp_path: Path) -> None:
    vcon = made(tmp_path, [replace(NOTICE, policy=policy, how=how)])
    assert vcon["attachments"][0]["body"]["lawful_basis"] == basis


def test_the_signed_manifest_travels_with_it_and_a_recording_without_evidence_is_still_one(tmp_path: Path) -> None:
    line = manifest.line({"format": manifest.FORMAT, "files": []}, b"", SIGNER)
    audio = tmp_path / "a.ogg"
    audio.write_bytes(b"x")
    vcon = make_vcon(ROW, [], audio, "audio/ogg", manifest=[line], created_wall=WALL0)
    jsonschema.Draft202012Validator(SCHEMA).validate(vcon)
    (attachment,) = vcon["attachments"]
    assert vcon["parties"][attachment["party"]] == {"name": "mediaserver", "role": "recorder"}  # who adds it
    (signed,) = attachment["body"]
    assert manifest.check_line(line, b"", SIGNER.public)["format"] == manifest.FORMAT
    assert signed["body"] in line.decode().replace('\\"', '"') or json.loads(line) == signed
