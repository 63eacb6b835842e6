"""Our SRTP and libsrtp2 take each other's packets, and refuse the same ones."""

import random
import struct
from collections.abc import Iterator

import pytest

from mediaserver.ext.srtp_harness import SessionForTest
from mediaserver.model import SRTP_KEY_SALT_BYTES, SrtpProfile
from tests.support.libsrtp import LibSrtp

PROFILES = list(SrtpProfile)


def packets(rng: random.Random, count: int) -> Iterator[bytes]:
    """RTP of three sources with CSRCs and extensions, sequence numbers near their wrap."""
    sequences = {rng.randrange(1 << 32): rng.randrange(0xFF00, 0x10000) for _ in range(3)}
    for _ in range(count):
        ssrc = rng.choice(list(sequences))
        sequence = sequences[ssrc]
        sequences[ssrc] += 1
        csrcs, extended = rng.randrange(3), rng.random() < 0.5
        header = struct.pack(
            ">BBHII", 0x80 | extended << 4 | csrcs, 96, sequence & 0xFFFF, rng.randrange(1 << 32), ssrc
        )
        header += rng.randbytes(4 * csrcs)
        if extended:
            header += struct.pack(">HH", 0xBEDE, 2) + rng.randbytes(8)
        yield header + rng.randbytes(rng.randrange(0, 1_200))


@pytest.mark.parametrize("profile", PROFILES)
def test_each_takes_what_the_other_protects(profile: SrtpProfile) -> None:
    rng, suite = random.Random(profile.value), PROFILES.index(profile)
    key = rng.randbytes(sum(SRTP_KEY_SALT_BYTES[profile]))
    ours, theirs = (
        (SessionForTest(suite, key, True), SessionForTest(suite, key, False)),
        (
            LibSrtp(suite, key, True),
            LibSrtp(suite, key, False),
        ),
    )
    for packet in packets(rng, 600):
        sealed = ours[0].step(packet, False)
        assert sealed == theirs[0].step(packet, False)
        if rng.random() < 0.9:  # the others are lost
            assert ours[1].step(sealed[1], False) == theirs[1].step(sealed[1], False) == (0, packet)
    for _ in range(50):
        report = struct.pack(">BBHI", 0x80, 201, 1, rng.randrange(3)) + rng.randbytes(4 * rng.randrange(20))
        sealed = ours[0].step(report, True)
        assert sealed == theirs[0].step(report, True)
        assert ours[1].step(sealed[1], True) == theirs[1].step(sealed[1], True) == (0, report)
    for session in theirs:
        session.close()


@pytest.mark.parametrize("profile", PROFILES)
def test_both_refuse_the_same_replayed_late_and_forged_packets(profile: SrtpProfile) -> None:
    rng, suite = random.Random(profile.value + "x"), PROFILES.index(profile)
    key = rng.randbytes(sum(SRTP_KEY_SALT_BYTES[profile]))
    sender, ours, theirs = (
        SessionForTest(suite, key, True),
        SessionForTest(suite, key, False),
        LibSrtp(suite, key, False),
    )
    sealed = []
    for sequence in range(0xF000, 0x10800):
        header = struct.pack(">BBHII", 0x80, 0, sequence & 0xFFFF, 160 * sequence & 0xFFFFFFFF, 7)
        sealed.append(sender.step(header + bytes(40), False)[1])
    taken = 0
    for base in range(1_200, 5_200):
        at = base + rng.choice([0, 0, 0, 1, 5, 60, 700, -1, -5, -700, -1_022, -1_023, -1_024, -1_025])
        packet = bytearray(sealed[at])
        if rng.random() < 0.1:
            packet[rng.randrange(12, len(packet))] ^= 1 << rng.randrange(8)
        verdict, plain = ours.step(bytes(packet), False)
        status, expected = theirs.step(bytes(packet), False)
        assert (verdict == 0) == (status == 0), (at, verdict, status)
        if status == 0:
            taken += 1
            assert plain == expected
    assert 1_000 < taken < 3_900
    theirs.close()
