"""The journal file: every intact record is read, whatever stands around it."""

import random
import zlib
from io import BytesIO
from pathlib import Path

import pytest

from mediaserver.recording.journal import (
    FRAME,
    SYNC_BYTES,
    Kind,
    ReadStats,
    create,
    frame,
    note,
    read,
    summarize,
)
from mediaserver.recording.segment import Sealer
from tests.support.synthetic_taps import T0_NS, Talker, tone, write_journal


def bodies(data: bytes, stats: ReadStats | None = None) -> list[bytes]:
    return [record.body for record in read(BytesIO(data), stats)]


def test_a_record_is_laid_out_as_the_tap_lays_it_out() -> None:
    data = frame(1, 0x0102030405060708, b"abc", flags=1)
    assert data[:4] == b"RSTP"
    assert data[4:12] == bytes((28, 0, 3, 0, 1, 1, 0, 0))
    assert data[16:24] == bytes((8, 7, 6, 5, 4, 3, 2, 1))
    assert data[24:28] == bytes(4)
    assert int.from_bytes(data[12:16], "little") == zlib.crc32(data[:12] + bytes(4) + data[16:])
    assert len(data) == FRAME.size + 3


def test_records_come_back_in_order_whatever_their_size() -> None:
    draw = random.Random(1)
    written = [draw.randbytes(draw.choice((0, 1, 172, 1_500, 65_535))) for _ in range(200)]
    stats = ReadStats()
    assert bodies(b"".join(frame(1, n, body) for n, body in enumerate(written)), stats) == written
    assert (stats.records, stats.bytes_skipped) == (200, 0)


def test_a_file_cut_at_any_byte_gives_every_whole_record_before_the_cut() -> None:
    records = [frame(1, n, bytes([n]) * n) for n in range(12)]
    data = b"".join(records)
    ends = [sum(map(len, records[: n + 1])) for n in range(len(records))]
    for cut in range(len(data) + 1):
        assert len(bodies(data[:cut])) == sum(1 for end in ends if end <= cut)


def test_any_flipped_bit_costs_only_its_own_record() -> None:
    records = [frame(1, n, b"payload %d" % n) for n in range(5)]
    data = bytearray(b"".join(records))
    size = len(records[0])
    for bit in range(size * 2 * 8, size * 3 * 8):
        data[bit // 8] ^= 1 << (bit % 8)
        assert bodies(bytes(data)) == [b"payload 0", b"payload 1", b"payload 3", b"payload 4"]
        data[bit // 8] ^= 1 << (bit % 8)


def test_a_payload_that_looks_like_a_record_is_not_mistaken_for_one() -> None:
    inner = frame(1, 1, b"inner")
    assert bodies(frame(1, 1, inner) + frame(1, 2, b"next")) == [inner, b"next"]
    assert bodies(frame(1, 1, SYNC_BYTES * 50) + frame(1, 2, b"next"))[-1] == b"next"


def test_random_damage_never_raises_and_never_invents_a_record() -> None:
    draw = random.Random(99)
    genuine = [frame(1, n, draw.randbytes(draw.randrange(300))) for n in range(100)]
    allowed = {record[FRAME.size :] for record in genuine}
    for _ in range(150):
        data = bytearray(b"".join(genuine))
        for _ in range(draw.randrange(1, 8)):
            at, count = draw.randrange(len(data)), draw.randrange(1, 200)
            action = draw.randrange(3)
            if action == 0:
                del data[at : at + count]
            elif action == 1:
                data[at:at] = draw.randbytes(count)
            else:
                data[at : at + count] = draw.randbytes(len(data[at : at + count]))
        found = bodies(bytes(data))
        assert set(found) <= allowed
        assert len(found) >= 40


def test_notes_are_json_and_packets_are_not() -> None:
    (record,) = read(BytesIO(note(Kind.OPEN, 7, {"имя": "Ян"})))
    assert record.values == {"имя": "Ян"}
    (record,) = read(BytesIO(frame(1, 7, b"\x80\x00")))
    assert record.values == {}
    with pytest.raises(ValueError, match="at most 65535"):
        frame(1, 0, bytes(65_536))


def test_a_new_journal_is_private_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "1.journal"
    create(path, Sealer(bytes(32)), {}, {"call": "c1"}, 5)
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(FileExistsError):
        create(path, Sealer(bytes(32)), {}, {"call": "c2"}, 6)


def test_a_summary_tells_what_the_catalogue_needs(tmp_path: Path) -> None:
    packets = list(Talker(tone(440, 2)).packets())
    torn = write_journal(tmp_path / "1.journal", packets)
    with torn.open("ab") as file:
        file.write(frame(1, T0_NS, b"torn")[:-1])
    summary = summarize(torn)
    assert (summary.ended, summary.packets) == (False, 100)
    assert summary.last_ns - summary.first_ns == 1_980_000_000
    assert summary.read.good_until == torn.stat().st_size - 31
    whole = summarize(write_journal(tmp_path / "2.journal", packets, closed_ns=T0_NS + 2_000_000_000))
    assert (whole.ended, whole.last_ns - whole.first_ns) == (True, 2_000_000_000)


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.journal").write_bytes(b"#!/bin/sh\n" * 100)
    with pytest.raises(ValueError, match="not a journal"):
        summarize(tmp_path / "x.journal")
