"""The time line: an hour of drifting clocks, and what the first pass makes of odd senders."""

import random
from io import BytesIO

import numpy as np
import pytest

from mediaserver.recording.journal import Kind, Record, note, read
from mediaserver.recording.timeline import CodecMaps, Leg, parse_rtp, survey_records
from tests.support.synthetic_taps import CODECS, T0_NS, rtp

HOUR_S = 3_600
FIRST_TIMESTAMP = 1_000_000
PTIME_MS = 60  # fewer packets, same clocks


def hour(ppm: float, seed: int, loss: float = 0.0) -> Leg:
    """An hour of PCMU whose sender's clock is `ppm` fast, through a jittery network."""
    draw = random.Random(seed)
    header = next(read(BytesIO(note(Kind.HEADER, T0_NS, {"codecs": CODECS}))))
    records = []
    ticks = 8 * PTIME_MS
    for n in range(HOUR_S * 1000 // PTIME_MS):
        if draw.random() < loss:
            continue
        spoken_ns = n * PTIME_MS * 1e6 / (1 + ppm * 1e-6)
        arrival_ns = T0_NS + round(spoken_ns + abs(draw.gauss(0, 15e6)))
        records.append(Record(Kind.RTP, 1, arrival_ns, rtp(n, FIRST_TIMESTAMP + n * ticks, b"\xff")))
    records.sort(key=lambda record: record.arrival_ns)
    return survey_records([header, *records])


@pytest.mark.parametrize(("ppm", "loss"), [(200.0, 0.0), (-200.0, 0.15)])
def test_an_hour_of_drift_is_followed_within_two_milliseconds(ppm: float, loss: float) -> None:
    """Each leg within 2.5 ms of the server's clock: two legs within 5 ms of each other, all the time."""
    leg = hour(ppm, 1, loss)
    (piece,) = leg.pieces
    rtp_ns, server_ns = piece.curve(8_000)
    media = np.linspace(0, (HOUR_S - 1) * 1e9, 20_000)
    placed = np.interp(media, rtp_ns, server_ns)
    for outside, edge in ((media < rtp_ns[0], 0), (media > rtp_ns[-1], -1)):
        placed[outside] = server_ns[edge] + media[outside] - rtp_ns[edge]
    first_ns = ((piece.first_timestamp & 0xFFFFFFFF) - FIRST_TIMESTAMP) / 8_000 * 1e9
    truth = T0_NS + (media + first_ns) / (1 + ppm * 1e-6)
    assert np.abs(placed - truth).max() <= 2.5e6
    assert len(piece.knots) <= HOUR_S / 5 + 1


def test_codec_maps_are_read_by_time_and_survive_nonsense() -> None:
    maps = CodecMaps()
    maps.add(0, {"0": {"name": "PCMU", "clock_hz": 8000}, "x": {}, "9": None, "5": {"name": "a", "clock_hz": 0}})
    maps.add(100, {"8": {"name": "PCMA", "clock_hz": 8000}})
    maps.add(50, "nonsense")
    assert maps.find(5, 0) is None
    first = maps.find(0, 10)
    assert first is not None
    assert first.name == "pcmu"
    early = maps.find(8, 10)  # the peer was faster than our note of it
    assert early is not None
    assert early.name == "pcma"
    still = maps.find(0, 200)  # and slower
    assert still is not None
    assert still.name == "pcmu"
    assert CodecMaps().find(0, 0) is None


def test_rtp_headers_with_all_their_options_are_taken_off() -> None:
    packet = bytes.fromhex("b2e50001000000020000000311111111222222220000000199999999") + b"data" + b"\0\0\3"
    parsed = parse_rtp(Record(Kind.RTP, 0, 5, packet))
    assert parsed is not None
    assert (parsed.payload_type, parsed.sequence, parsed.timestamp, parsed.ssrc) == (0x65, 1, 2, 3)
    assert parsed.payload == b"data"


@pytest.mark.parametrize("packet", [b"", b"\x80" * 11, b"\x00" * 12, b"\x8f" + b"\0" * 11, b"\x90" + b"\0" * 13,
                                    b"\xa0" + b"\0" * 11 + b"\xff"])  # fmt: skip
def test_what_is_no_rtp_packet_is_passed_over(packet: bytes) -> None:
    assert parse_rtp(Record(Kind.RTP, 0, 5, packet)) is None
