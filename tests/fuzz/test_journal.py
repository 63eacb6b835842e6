# Invariant: whatever a journal holds, reading, recovering and rendering it end without an exception, invent no packet,
# and yield no more sound than the time between its windows.
"""Journals damaged in every way. Longer by hand: MEDIASERVER_FUZZ_ROUNDS=100000 pytest tests/fuzz/test_journal.py"""

import os
import random
from pathlib import Path

from mediaserver.recording import catalogue
from mediaserver.recording.journal import Kind, frame, note, read, summarize
from mediaserver.recording.recovery import recover
from mediaserver.recording.render import render
from tests.support.sealed import RING, SIGNER
from tests.support.synthetic_taps import CLOCKS, PAYLOAD_TYPES, T0_NS, WALL0, header, packet_record, rtp

ROUNDS = int(os.environ.get("MEDIASERVER_FUZZ_ROUNDS", "150"))
SPAN_NS = 2_000_000_000


def one_record(draw: random.Random) -> bytes:
    at = T0_NS + draw.randrange(SPAN_NS)
    choice = draw.randrange(10)
    if choice == 0:
        junk = draw.choice(
            ([], {}, {"codecs": 5}, {"codecs": {"0": {"name": None, "clock_hz": "x"}}}, {"packets": "many"})
        )
        return note(draw.choice((Kind.CODECS, Kind.LOST, Kind.OPEN, Kind.CLOSE)), at, junk)  # type: ignore[arg-type]
    if choice == 1:
        return frame(draw.randrange(256), at, draw.randbytes(draw.randrange(100)))
    name = draw.choice(list(PAYLOAD_TYPES))
    packet = bytearray(
        rtp(draw.randrange(200), draw.randrange(200) * CLOCKS[name] // 50, draw.randbytes(draw.randrange(170)),
            payload_type=PAYLOAD_TYPES[name], ssrc=draw.randrange(2))
    )  # fmt: skip
    for _ in range(draw.choice((0, 0, 1, 5))):
        packet[draw.randrange(len(packet))] = draw.randrange(256)
    return packet_record(at, bytes(packet))


def damaged(draw: random.Random, data: bytearray) -> bytes:
    for _ in range(draw.choice((0, 1, 3))):
        at = draw.randrange(len(data))
        action = draw.randrange(4)
        if action == 0:
            del data[at : at + draw.randrange(1, 300)]
        elif action == 1:
            data[at:at] = draw.randbytes(draw.randrange(1, 300))
        elif action == 2:
            data[at] ^= 1 << draw.randrange(8)
        else:
            del data[at:]
        if not data:
            break
    return bytes(data)


def test_no_journal_is_too_broken(tmp_path: Path) -> None:
    catalogue.prepare(tmp_path)
    for seed in range(ROUNDS):
        draw = random.Random(seed)
        genuine = [one_record(draw) for _ in range(draw.randrange(60))]
        name = f"r{seed}"
        directory = catalogue.begin(tmp_path, catalogue.relative_directory(name, WALL0), name)
        path = directory / "1.journal"
        path.write_bytes(damaged(draw, bytearray(header() + note(Kind.OPEN, T0_NS, {}) + b"".join(genuine))))
        bodies = {record[28:] for record in genuine}
        with path.open("rb") as file:
            assert {r.body for r in read(file) if r.kind == Kind.RTP} <= bodies, seed
        try:
            summary = summarize(path)
        except ValueError as error:
            assert "not a journal" in str(error), seed
            summary = None
        rows = recover(tmp_path, RING, SIGNER, WALL0)
        assert len(rows) == int(summary is not None and summary.first_ns > 0), seed
        try:
            result = render({path: None}, directory / "out.wav", "wav")
        except ValueError:
            continue  # no window was ever opened
        assert result.length_ms <= SPAN_NS // 1_000_000 + 40, seed
