# Invariant: whatever arrives, in whatever order and with whatever contents, every pull is filled and says what it is,
# no packet leaves the pool for good, and every packet that was queued is played, dropped as too much, or still waiting.
"""Random packets, pulls and codec changes on one playout. By hand: python -m tests.fuzz.test_playout_fuzz 5000"""

import random
import sys

import numpy as np
import pytest

from mediaserver.ext.playout_harness import PlayoutHarness

CODECS = [(0, "PCMU", 0), (8, "PCMA", 0), (9, "G722", 8000), (111, "opus", 48000), (13, "CN", 8000), (96, "L16", 16000)]
KINDS = {"silence", "voice", "concealed", "comfort"}
PUTS = {"queued", "late", "duplicate", "bad"}


def some_sequence(rng: random.Random, present: int) -> int:
    step = rng.choice([1, 1, 1, 1, 1, 1, 1, 1, 2, 3, 0, -1, -2, 7, rng.randint(-40, 40), rng.randint(-200, 200)])
    return rng.randrange(2**16) if rng.random() < 0.003 else (present + step) % 2**16


def some_payload(rng: random.Random, payload_type: int) -> bytes:
    size = rng.choice([160, 160, 160, 80, 240, 320, 480, 1, 2, 0, rng.randrange(1400)])
    if payload_type == 13:
        size = rng.randrange(0, 14)
    if payload_type == 111:
        size = rng.randrange(0, 200)
    return rng.randbytes(size)


def run(seed: int, steps: int = 400) -> None:
    rng = random.Random(seed)
    capacity = rng.choice([16, 64, 512])
    h = PlayoutHarness(
        min_delay_ms=rng.choice([0, 20, 100]),
        max_delay_ms=rng.choice([40, 500, 2000]),
        rate_hz=rng.choice([8000, 16000, 48000]),
        capacity=capacity,
    )
    rate = rng.choice([8000, 16000, 48000])
    h.set_rate(rate)
    for payload_type, name, clock in CODECS:
        assert h.set_codec(payload_type, name, clock_hz=clock)
    now, sequence, timestamp, payload_type = rng.randrange(10**12), rng.randrange(2**16), rng.randrange(2**32), 0
    puts = dict.fromkeys(PUTS, 0)
    for _ in range(steps):
        for _ in range(rng.choice([0, 1, 1, 1, 1, 1, 2, 2, 5, 40 if rng.random() < 0.05 else 1])):
            sequence = some_sequence(rng, sequence)
            timestamp = timestamp + rng.choice([160, 160, 160, 160, 0, -160, 960, 80, rng.randint(-(10**6), 10**6)])
            if rng.random() < 0.01:
                timestamp = rng.randrange(2**32)
            if rng.random() < 0.05:
                payload_type = rng.choice([0, 0, 0, 8, 9, 111, 13, 96, 97, 127])
            result = h.put(sequence, timestamp, some_payload(rng, payload_type), payload_type, False, now)
            if result == "pool":
                break
            puts[result] += 1
            if rng.random() < 0.02:
                h.note((sequence + 1) % 2**16, now)
        event = rng.random()
        if event < 0.004:
            h.restart()
            assert h.free_count == capacity
        elif event < 0.008:
            rate = rng.choice([8000, 16000, 48000])
            h.set_rate(rate)
        elif event < 0.01:
            h.clear_codecs()
            for number, name, clock in CODECS[: rng.randrange(7)]:
                h.set_codec(number, name, clock_hz=clock)
        samples = rate // 100 * rng.choice([1, 2, 2, 2, 2, 3, 6])
        pcm, kind = h.pull(now, samples)
        assert kind in KINDS
        assert len(pcm) == samples
        assert not np.all(pcm == -12345), "not filled"
        now += rng.choice([samples * 10**9 // rate] * 9 + [rng.randrange(10**9)])
    stats = h.stats
    assert stats["packets_queued"] == puts["queued"]
    assert stats["packets_late"] == puts["late"]
    assert stats["packets_duplicate"] == puts["duplicate"]
    assert stats["loss_events"] <= stats["loss_event_packets"]
    assert stats["packets_lost"] <= stats["loss_event_packets"]
    waiting = capacity - h.free_count
    assert stats["packets_played"] + stats["packets_overflow"] + waiting == stats["packets_queued"]
    h.close()
    assert h.free_count == capacity, "a packet was not given back"


@pytest.mark.parametrize("seed", range(120))
def test_any_packets_any_order_any_contents(seed: int) -> None:
    run(seed)


if __name__ == "__main__":
    for number in range(int(sys.argv[1])):
        run(number, 1000)
