"""What the tests and benchmarks put into a ring is what a worker puts there: the journal's own frame."""

import threading
from io import BytesIO

import pytest

from mediaserver.ext.tap import TapRing
from mediaserver.ext.tap_harness import Feeder, put
from mediaserver.recording.journal import FRAME, Flag, Kind, frame, read
from tests.support.synthetic_taps import rtp

PACKET = rtp(7, 160, b"\x55" * 160)


def test_a_packet_put_into_a_ring_comes_out_in_the_journals_frame() -> None:
    ring, room = TapRing(1), bytearray(1_000)
    assert put(ring, 5_000, PACKET)
    size = ring.drain(room)
    assert bytes(room[:size]) == frame(Kind.RTP, 5_000, PACKET, flags=Flag.AUDIO)
    assert ring.drain(room) == 0


def test_a_full_ring_refuses_and_the_next_record_says_so() -> None:
    ring, room = TapRing(1), bytearray(1 << 20)
    fit = (1 << 18) // (FRAME.size + len(PACKET))
    assert [put(ring, n, PACKET) for n in range(fit + 2)] == [True] * fit + [False] * 2
    ring.drain(room)
    assert put(ring, 9, PACKET)
    (record,) = read(BytesIO(room[: ring.drain(room)]))
    assert record.flags == Flag.AUDIO | Flag.AFTER_GAP
    assert ring.take_loss() == 2


@pytest.mark.parametrize("size", [11, 1_601])
def test_what_is_no_packet_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"not {size}"):
        put(TapRing(1), 0, bytes(size))


def test_a_feeder_gives_each_ring_its_packets_in_order() -> None:
    rings = [TapRing(number) for number in range(3)]
    feeder = Feeder(3, PACKET)
    for ring in rings:
        feeder.add(ring)
    with pytest.raises(ValueError, match="room for 3"):
        feeder.add(TapRing(9))
    running = threading.Thread(target=feeder.run)
    running.start()
    room, got = bytearray(1 << 18), [b""] * 3
    while min(len(data) for data in got) < 3 * (FRAME.size + len(PACKET)):
        for number, ring in enumerate(rings):
            got[number] += bytes(room[: ring.drain(room)])
    feeder.stop()
    running.join()
    for data in got:
        records = list(read(BytesIO(data)))
        numbers = [int.from_bytes(record.body[2:4]) for record in records]
        assert [(number - numbers[0]) & 0xFFFF for number in numbers] == list(range(len(numbers)))
        assert [r.arrival_ns for r in records] == sorted(r.arrival_ns for r in records)
