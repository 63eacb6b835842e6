"""Readers of reports and of redundant audio, fed with mutated and random input from a seed.

By hand and longer: python -m tests.fuzz.test_reports SEED COUNT
"""

from __future__ import annotations

import dataclasses
import math
import random
import struct
import sys
import time

from mediaserver.errors import ParseError
from mediaserver.ext.concealment import sums_for_test
from mediaserver.ext.red import RedForTest
from mediaserver.ext.red import parse_for_test as parse_red
from mediaserver.ext.xr import read_for_test as read_xr
from mediaserver.quality.capture import without_secrets
from mediaserver.quality.vq_report import FIELDS, Metrics, VqReport, read_vq_report, write_vq_report
from tests.fuzz.test_media import mutated
from tests.support.hep_decoder import decode

# Invariants:
# - a quality report (RFC 6035) of any bytes is a VqReport whose every number is finite and in its range, or ParseError;
#   what was read can be written and is read again as the same; it never takes long;
# - extended reports (RFC 3611) of any bytes give fields that fit what their blocks can say;
# - what the far end made up (RFC 7294) never adds up to more than a day and the time that has passed, twice;
# - the blocks of a redundant payload (RFC 2198) lie inside it, its wrapper's output can be taken apart again;
# - what leaves for the capture server is as long as what came, and holds no secret that was planted in it;
# - half a HEP packet is refused in words.

SEED, COUNT = 20_261_128, 4_000
OURS = 0x11223344
RANGES = {name: (low, high) for words in FIELDS.values() for name, low, high in words.values()}
WORDS = (
    "VQSessionReport: CallTerm", "VQIntervalReport", "VQAlertReport: Type=NLR Severity=Critical Dir=local",
    "CallID: 12@host", "CallID:", "LocalID: <sip:a@b>", "LocalMetrics:", "RemoteMetrics:",
    "Timestamps:START=2026-01-01T00:00:00Z STOP=x", "SessionDesc:PT=0 PD=PCMU SR=8000", "PacketLoss:NLR=5.0 JDR=2.0",
    "BurstGapLoss:BLD=0 BD=0 GLD=2.0 GD=500 GMIN=16", "Delay:RTD=200 ESD=140 IAJ=2", "QualityEst:MOSLQ=4.2 MOSCQ=3.9",
    "PacketLoss:NLR=1e999 JDR=-5", "Delay:RTD=nan IAJ=inf", "QualityEst:MOSLQ=0x10 RCQ=\u0663", " folded", "=" * 300,
    "A" * 4_000, "\x00", "a=b=c=d", 'X:y="', ":",
)  # fmt: skip


def report_body(rng: random.Random) -> bytes:
    lines = [rng.choice(WORDS[:3])] + [rng.choice(WORDS) for _ in range(rng.randrange(14))]
    body = rng.choice(("\r\n", "\n", "\r")).join(lines).encode()
    return mutated(rng, body) if rng.random() < 0.5 else body


def check_metrics(metrics: Metrics | None) -> None:
    for name, (low, high) in RANGES.items():
        value = getattr(metrics, name, None)
        assert value is None or (math.isfinite(value) and low <= value <= high), name


def check_report(body: bytes) -> None:
    began = time.perf_counter()
    try:
        report = read_vq_report(body)
    except ParseError as error:
        assert str(error)
        return
    assert time.perf_counter() - began < 1, "it looks at each word once"
    check_metrics(report.local)
    check_metrics(report.remote)
    again = read_vq_report(write_vq_report(report))
    assert (again.kind, again.call_id.strip()) == (report.kind, report.call_id.strip())
    for side in ("local", "remote"):
        check_metrics(getattr(again, side))


def check_extended(rng: random.Random) -> None:
    block = struct.pack(
        ">BBHI", rng.choice((*range(9), 14, 30, 31)), rng.getrandbits(8), rng.choice((0, 1, 3, 4, 6, 8, 9, 500)), OURS
    )
    body = block + rng.randbytes(rng.randrange(60))
    head = struct.pack(">BBHI", 0x80, 207, rng.choice(((len(body) + 4) // 4, rng.getrandbits(16))), 9)
    found = read_xr(mutated(rng, head + body), OURS)
    made_up = found.pop("made_up")
    assert all(-(2**31) <= value < 2**63 for value in found.values())
    assert all(0 <= value < 2**32 for value in made_up["value"])
    check_made_up(rng)


def check_made_up(rng: random.Random) -> None:
    blocks, now_ns = [], 0
    for _ in range(rng.randrange(1, 6)):
        now_ns += rng.randrange(1, 20_000_000_000)
        kind, words = rng.choice(((30, 6), (31, 4), (31, 6)))
        values = b"".join(
            struct.pack(">I", rng.choice((0, 1, rng.randrange(20_000), 0xFFFFFFFD, 0xFFFFFFFE, 0xFFFFFFFF)))
            for _ in range(words - 1)
        )
        block = struct.pack(">BBHI", kind, rng.choice((0x80, 0xC0, 0x40)), words, OURS) + values
        blocks.append((now_ns, rng.choice((1, 1, 2)), block))
    total = sums_for_test(blocks, OURS)["total"]
    day_ms, passed_ms = 86_400_000, now_ns // 1_000_000
    allowed_ms = day_ms + 2 * passed_ms + 10_000 * len(blocks)
    assert sum(total[:3]) <= allowed_ms
    assert 1_000 * max(total[4] + total[5], total[6]) <= allowed_ms


def check_redundant(rng: random.Random) -> None:
    blocks = b"".join(
        struct.pack(">I", 1 << 31 | rng.randrange(128) << 24 | rng.randrange(1 << 14) << 10 | rng.randrange(1 << 10))
        for _ in range(rng.randrange(4))
    )
    payload = mutated(rng, blocks + bytes([rng.randrange(128)]) + rng.randbytes(rng.randrange(300)))
    found = parse_red(payload)
    if found is not None:
        assert sum(len(data) for _, _, data in found) <= len(payload)
        assert all(0 <= payload_type < 128 for payload_type, _, _ in found)
    state = RedForTest(63, 111)
    state.report(rng.randrange(256), 0)
    for sequence in range(4):
        packet = struct.pack(">BBHII", 0x80, 111, sequence, 960 * sequence, 1) + rng.randbytes(rng.randrange(1_200))
        wrapped = state.wrap(packet)
        if wrapped is not None:
            inner = parse_red(wrapped[12:])
            assert inner is not None
            assert inner[-1][2] == packet[12:]


def check_secrets(rng: random.Random) -> None:
    secret = "".join(rng.choice("abcdefghijkABCDEFGHIJK0123456789") for _ in range(24)).encode()
    line = rng.choice((b"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:%s", b"a=ice-pwd:%s", b"k=clear:%s",
                       b'Authorization: Digest username="x", response="%s"', b"Authorization: Basic %s"))  # fmt: skip
    around = [rng.randbytes(rng.randrange(30)).replace(b"\r", b"").replace(b"\n", b"") for _ in range(4)]
    message = b"\r\n".join([b"INVITE sip:a SIP/2.0", *around[:2], line % secret, *around[2:], b""])
    told = without_secrets(message)
    assert len(told) == len(message)
    assert secret not in told


def check_capture(rng: random.Random) -> None:
    try:
        got = decode(mutated(rng, b"HEP3" + rng.randbytes(rng.randrange(80))))
    except ValueError as error:
        assert str(error)
    else:
        assert got.payload is not None


def run(seed: int, count: int) -> None:
    rng = random.Random(seed)
    for _ in range(count):
        check_report(report_body(rng))
        check_extended(rng)
        check_redundant(rng)
        check_secrets(rng)
        check_capture(rng)


def test_no_report_and_no_redundant_payload_is_too_broken() -> None:
    run(SEED, COUNT)


def test_what_we_write_is_no_rubbish_itself() -> None:
    made = VqReport("session", "a@b", local=Metrics(codec="PCMU", clock_hz=8_000, loss_percent=1.5, mos_listening=4.1))
    check_report(write_vq_report(made))
    assert dataclasses.replace(read_vq_report(write_vq_report(made)).local or Metrics(), codec="PCMU") == made.local


if __name__ == "__main__":
    run(int(sys.argv[1]), int(sys.argv[2]))
