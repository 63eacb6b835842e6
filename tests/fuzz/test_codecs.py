# Invariant: whatever bytes arrive as a payload, a codec answers with samples within the size it announced, or with an
# error; nothing is written outside the given room, and the codec goes on working afterwards.
"""Fuzz of all audio decoders and of the telephone-event receiver.

python -m tests.fuzz.test_codecs 600 1    runs ten minutes from seed 1
"""

import random
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest

from mediaserver.codecs.audio import Codec
from mediaserver.ext.dtmf import Detector
from mediaserver.ext.telephone_event import Receiver

CODECS: list[tuple[str, dict[str, int]]] = [
    ("PCMU", {}),
    ("PCMA", {}),
    ("G722", {}),
    ("L16", {"clock_hz": 16_000}),
    ("CN", {"rate_hz": 48_000}),
    *[("opus", {"rate_hz": rate_hz}) for rate_hz in (8_000, 12_000, 16_000, 24_000, 48_000)],
]


def payloads(chance: random.Random, real: list[bytes]) -> Iterator[bytes]:
    """Random bytes, and real payloads truncated, extended, flipped and joined."""
    while True:
        base = bytearray(chance.choice(real))
        match chance.randrange(6):
            case 0:
                base = bytearray(chance.randbytes(chance.choice((0, 1, 2, 3, 20, 160, 1_276, 1_500))))
            case 1:
                del base[chance.randrange(len(base) + 1) :]
            case 2:
                base += chance.randbytes(chance.randrange(200))
            case 3:
                for _ in range(chance.randrange(1, 8)):
                    base[chance.randrange(len(base))] ^= 1 << chance.randrange(8)
            case 4:
                base[0] = chance.randrange(256)  # Opus: another mode, bandwidth, count
            case _:
                base += chance.choice(real)
        yield bytes(base)


def check_one(codec: Codec, payload: bytes, chance: random.Random) -> None:
    try:
        announced = codec.samples(payload)
    except ValueError:
        announced = -1
    try:
        decoded = codec.decode(payload)
    except ValueError:
        decoded = None
    assert announced <= 48_000 * 120 // 1_000 or codec.name != "opus"
    if decoded is not None:
        assert len(decoded) <= announced
    size = codec.rate_hz // 400 * chance.randrange(1, 49)
    for made in (codec.decode_fec(payload, size), codec.conceal(size)):
        assert made is None or len(made) == size


def fuzz_codec(name: str, options: dict[str, int], seed: int, count: int) -> None:
    chance = random.Random(seed)
    sender = Codec(name, **options, fec=True, packet_loss_percent=20)
    codec = Codec(name, **options)
    t = np.arange(sender.rate_hz) / sender.rate_hz
    pcm = np.round(9_000 * np.sin(700 * t) * np.sin(20 * t)).astype(np.int16)
    size = sender.rate_hz // 50
    real = [sender.encode(pcm[at : at + size]) for at in range(0, len(pcm), size)]
    source = payloads(chance, real)
    for _ in range(count):
        check_one(codec, next(source), chance)
    assert codec.samples(real[0]) == (0 if name == "CN" else size)
    assert len(codec.decode(real[0])) == codec.samples(real[0])


def fuzz_events(seed: int, count: int) -> None:
    chance = random.Random(seed)
    receiver, timestamp = Receiver(), 0
    for _ in range(count):
        timestamp = chance.choice((timestamp, timestamp + 160, chance.getrandbits(32))) & 0xFFFFFFFF
        payload = bytes([chance.randrange(20)]) + chance.randbytes(chance.randrange(6))
        try:
            begun, ended, duration = receiver.step(payload, timestamp)
        except ValueError:
            assert len(payload) < 4
            continue
        assert begun in ("", *"0123456789*#ABCD")
        assert ended in ("", *"0123456789*#ABCD")
        assert 0 <= duration <= 0xFFFFFFFF


@pytest.mark.parametrize(("name", "options"), CODECS, ids=lambda value: str(value))
def test_a_decoder_survives_any_payload(name: str, options: dict[str, int]) -> None:
    fuzz_codec(name, options, seed=20, count=400)


def test_the_event_receiver_survives_any_payload() -> None:
    fuzz_events(seed=21, count=5_000)


def test_the_tone_detector_survives_any_samples() -> None:
    rng = np.random.default_rng(22)
    detector = Detector()
    for _ in range(500):
        pcm = rng.choice(np.array([-32768, -1, 0, 1, 32767], np.int16), int(rng.integers(0, 481)))
        assert detector.step(pcm) in ("", *"0123456789*#ABCD")


if __name__ == "__main__":
    stop, round_seed = time.monotonic() + float(sys.argv[1]), int(sys.argv[2])
    while time.monotonic() < stop:
        for each_name, each_options in CODECS:
            fuzz_codec(each_name, each_options, round_seed, 2_000)
        fuzz_events(round_seed, 50_000)
        round_seed += 1
    print(f"no violation up to seed {round_seed - 1}")
