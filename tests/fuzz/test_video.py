"""Video's parsers under rubbish. Invariant: a defined answer within the packet's bounds, never an exception or a crash.

`MEDIASERVER_FUZZ_ROUNDS=1000000 pytest tests/fuzz/test_video.py` for longer.
"""

import os
import random

from mediaserver.ext import video_extensions, video_feedback, video_payload

ROUNDS = int(os.environ.get("MEDIASERVER_FUZZ_ROUNDS", "4000"))
NUMBERS = {name: i + 1 for i, name in enumerate(("mid", "rid", "repaired_rid", "abs_send_time", "transport_cc"))}
SEEDS = (
    bytes([0x90, 0xE0, 0x91, 0x23, 0x45, 0x60, 0x00, 1, 2]),
    bytes([0xAA, 0x81, 0x02, 0x10, 0x07, 0x18, 2, 128, 1, 224, 1, 0x04, 1, 0]),
    b"\x78\x00\x02\x67\x42\x00\x01\x68",
    b"\x28\x02\x0a\x0b\x32\x01",
)


def mutated(chance: random.Random, seed: bytes) -> bytes:
    data = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        what = chance.randrange(4)
        if what == 0 and data:
            data[chance.randrange(len(data))] = chance.randrange(256)
        elif what == 1 and data:
            del data[chance.randrange(len(data)) :]
        elif what == 2:
            data += chance.randbytes(chance.randint(1, 20))
        elif data:
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def test_payload_descriptors() -> None:
    chance = random.Random(1)
    for _ in range(ROUNDS):
        payload = mutated(chance, chance.choice(SEEDS))
        for codec in (1, 2, 3, 4, 9):
            got = video_payload.parse_for_test(codec, payload)
            if got is not None:
                assert max(got["picture_at"], got["tl0_at"]) < len(payload)
                assert len(video_payload.patch_for_test(codec, payload, 1, 2)) == len(payload)


def test_header_extensions() -> None:
    chance = random.Random(2)
    seed = bytes([0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0xBE, 0xDE, 0, 2]) + b"\x11v0\x00\x51\x12\x34\x00"
    for _ in range(ROUNDS):
        data = mutated(chance, seed)
        got = video_extensions.parse_for_test(data, NUMBERS)
        if got is not None:
            for name in ("mid", "rid", "repaired_rid", "descriptor"):
                assert got[f"{name}_at"] + got[f"{name}_size"] <= len(data)


def test_feedback() -> None:
    chance = random.Random(3)
    seeds = [
        video_feedback.write_for_test("transport", 1, 2, (7, [64_000, None, 64_250, 70_000] * 10)),
        video_feedback.write_for_test("nack", 1, 2, [1, 2, 9, 40]),
        video_feedback.write_for_test("remb", 1, 2, 1_000_000),
        video_feedback.write_for_test("fir", 1, 2, 3),
    ]
    for _ in range(ROUNDS):
        data = mutated(chance, chance.choice(seeds) + chance.choice(seeds))
        found = video_feedback.read_for_test(data)
        assert found is None or len(found) <= len(data) // 4
