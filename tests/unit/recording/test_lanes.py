"""Lanes and peaks: what happened when, measured on calls whose truth is known; and prompts on their channel."""

from __future__ import annotations

import json
import struct
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mediaserver.recording import played
from mediaserver.recording.journal import Kind, note
from mediaserver.recording.keys import read_key
from mediaserver.recording.render import WavSink, render
from mediaserver.recording.segment import HEADER, scan
from tests.support.sealed import RING, write_sealed
from tests.support.synthetic_taps import T0_NS, Talker, header, packet_record, rtp, tone

SECOND = 1_000_000_000
EVIDENCE = {"evidence": {"evidence_id": "e1"}}


def window(open_s: float, close_s: float, reason: str = "ended") -> list[tuple[int, bytes]]:
    open_ns, close_ns = T0_NS + round(open_s * SECOND), T0_NS + round(close_s * SECOND)
    return [
        (open_ns, note(Kind.OPEN, open_ns, EVIDENCE)),
        (close_ns, note(Kind.CLOSE, close_ns, {"reason": reason})),
    ]


def talks(start_s: float, seconds: float, ssrc: int) -> list[tuple[int, bytes]]:
    talker = Talker(tone(500, seconds), start_ns=T0_NS + round(start_s * SECOND), ssrc=ssrc)
    return [(arrival, packet_record(arrival, packet)) for arrival, packet in talker.packets()]


def journal(path: Path, leg: str, *parts: list[tuple[int, bytes]]) -> Path:
    records = sorted((item for part in parts for item in part), key=lambda item: item[0])
    path.write_bytes(header(leg, role="caller" if leg == "1" else "callee") + b"".join(data for _, data in records))
    return path


@pytest.fixture
def call(tmp_path: Path) -> dict[Path, None]:
    """12 s: the first talks 0-4 and 8-9, the second 3-5 and 8-9; a pause 5.5-7; two keys; a hold."""
    keys = [
        (T0_NS + round(at * SECOND), packet_record(T0_NS + round(at * SECOND), rtp(n, 8_000 + part, b"\x05\x0a\x00\xa0",
                                                                                 payload_type=101, ssrc=9)))
        for part, at in enumerate((1.0, 2.0)) for n in range(3)
    ]  # fmt: skip
    hold = [
        (T0_NS + 10 * SECOND, note(Kind.EVENT, T0_NS + 10 * SECOND, {"held": True})),
        (T0_NS + 11 * SECOND, note(Kind.EVENT, T0_NS + 11 * SECOND, {"held": False})),
    ]
    windows = [*window(0, 5.5, "paused: card data"), *window(7, 12)]
    first = journal(tmp_path / "1.journal", "1", windows, talks(0, 4, 1), talks(8, 1, 2), keys, hold)
    second = journal(tmp_path / "2.journal", "2", windows, talks(3, 2, 3), talks(8, 1, 4))
    return {first: None, second: None}


def lanes_of(journals: dict[Path, None], tmp_path: Path) -> dict[str, Any]:
    render(journals, tmp_path / "lanes.json", "lanes")
    return dict(json.loads((tmp_path / "lanes.json").read_text()))


def test_silence_overtalk_pauses_keys_and_holds_are_where_they_were(call: dict[Path, None], tmp_path: Path) -> None:
    lanes = lanes_of(call, tmp_path)
    assert lanes["length"] == 12.0
    assert lanes["silence"] == [[5.0, 8.0], [9.0, 12.0]]
    assert lanes["overtalk"] == [[3.0, 4.0], [8.0, 9.0]]
    assert lanes["pauses"] == [{"from": 5.5, "to": 7.0, "reason": "paused: card data"}]
    first, second = lanes["parties"]
    assert (first["leg"], first["role"], second["leg"]) == ("1", "caller", "2")
    assert first["keys"] == [1.0, 2.0]
    assert first["held"] == [[10.0, 11.0]]
    assert (first["damaged"], lanes["transfers"]) == ([], [])
    assert [window["until"] for window in first["captured"]] == ["paused: card data", "ended"]
    assert first["captured"][0]["evidence"] == "e1"
    levels = first["level"]["dbov"]
    assert len(levels) == 120
    assert -17 <= levels[10] <= -14  # a sine of 8,000 of 32,768: -15.3 dBov
    assert levels[60] == -127


def test_peaks_hold_the_extremes_at_three_zooms(call: dict[Path, None], tmp_path: Path) -> None:
    render(call, tmp_path / "peaks", "peaks")
    data = (tmp_path / "peaks").read_bytes()
    assert data[:8] == b"MSPEAKS1"
    (zooms,) = struct.unpack_from("<I", data, 8)
    assert zooms == 3
    for index, (pixel, pixels) in enumerate(((160, 600), (1_600, 60), (16_000, 6))):
        found, offset, size = struct.unpack_from("<III", data, 12 + 12 * index)
        version, flags, rate, per_pixel, length, channels = struct.unpack_from("<iIiiIi", data, offset)
        assert (found, version, flags, rate, per_pixel, length, channels) == (pixel, 2, 1, 8_000, pixel, pixels, 2)
        points = np.frombuffer(data, np.int8, length * channels * 2, offset + 24).reshape(length, channels, 2)
        assert size == 24 + points.size
        loud = points[: round(4 * 8_000 / pixel), 0]
        assert np.all(np.abs(loud[:, 1] - 31) <= 1)
        assert np.all(np.abs(loud[:, 0] + 31) <= 1)


def test_each_party_can_have_a_channel_of_its_own_or_all_share_one(call: dict[Path, None], tmp_path: Path) -> None:
    assert render(call, tmp_path / "a.wav", "wav", channels="each").channels == 2
    assert render(call, tmp_path / "b.wav", "wav", channels="one").channels == 1
    with pytest.raises(ValueError, match="opus: 1 or 2"):
        three = {**call, journal(tmp_path / "3.journal", "3", window(0, 1), talks(0, 1, 7)): None}
        render(three, tmp_path / "c.ogg", "opus", channels="each")
    assert render(three, tmp_path / "c.wav", "wav", channels="each").channels == 3


def test_a_prompt_is_heard_on_the_channel_of_whoever_heard_it(tmp_path: Path) -> None:
    """The journal says which file, from when to when; the sound comes from the copy that was kept by its hash."""
    source = tmp_path / "welcome.wav"
    with WavSink(source.open("wb"), 8_000, 1, 8_000, 0.0) as sink:
        sink.write_blocks([tone(1_000, 1.0).astype(np.float32)])
    digest = sha256(source.read_bytes()).hexdigest()
    played.keep(tmp_path / "prompts", source, digest)
    played.keep(tmp_path / "prompts", tmp_path / "gone", digest)  # known already: not read again
    heard = {"name": "welcome", "sha256": digest, "started_ns": T0_NS + 2 * SECOND, "loop": True, "offset_ms": 0}
    told = [(T0_NS + 4 * SECOND, note(Kind.PROMPT, T0_NS, {**heard, "ended_ns": T0_NS + round(3.5 * SECOND)}))]
    wrong = [(T0_NS + 4 * SECOND, note(Kind.PROMPT, T0_NS, {"name": "x", "sha256": "../../etc/passwd"}))]
    first = journal(tmp_path / "1.journal", "1", window(0, 5), told, wrong)
    second = journal(tmp_path / "2.journal", "2", window(0, 5))
    journals = {first: None, second: None}
    render(journals, tmp_path / "out.wav", "wav", prompts=tmp_path / "prompts")
    samples = np.frombuffer((tmp_path / "out.wav").read_bytes()[-5 * 8_000 * 4 :], "<i2").reshape(-1, 2)
    loud = np.flatnonzero(np.abs(samples[:, 0]) > 4_000)
    assert loud[0] / 8_000 == pytest.approx(2.0, abs=0.001)
    assert loud[-1] / 8_000 == pytest.approx(3.5, abs=0.001)
    assert not np.any(samples[:, 1])
    assert lanes_of(journals, tmp_path)["parties"][0]["prompts"] == [
        {"from": 2.0, "to": 3.5, "name": "welcome", "sha256": digest}
    ]


def test_who_came_in_place_of_a_party_that_left_is_a_transfer(tmp_path: Path) -> None:
    def lanes(*others: tuple[str, float, float, str]) -> Any:
        journals: dict[Path, None] = {journal(tmp_path / "1.journal", "1", window(0, 12)): None}
        for leg, open_s, close_s, reason in others:
            journals[journal(tmp_path / f"{leg}.journal", leg, window(open_s, close_s, reason))] = None
        return lanes_of(journals, tmp_path)["transfers"]

    blind = lanes(("2", 0, 4, "left"), ("3", 6, 12, "ended"))
    assert blind == [{"from": 4.0, "to": 6.0, "left": "2", "came": "3"}]
    attended = lanes(("2", 0, 4, "left"), ("3", 3.5, 12, "ended"))
    assert attended == [{"from": 4.0, "to": 4.0, "left": "2", "came": "3"}]
    twice = lanes(("2", 0, 3, "left"), ("3", 5, 7, "left"), ("4", 9, 12, "ended"))
    assert [(one["left"], one["came"]) for one in twice] == [("2", "3"), ("3", "4")]
    assert lanes(("2", 0, 12, "left")) == []  # who hangs up at the end is no transfer
    assert lanes(("2", 0, 5, "paused"), ("3", 6, 12, "ended")) == []


def test_one_flipped_byte_costs_its_segment_leaves_a_marked_gap_and_the_rest_plays(tmp_path: Path) -> None:
    write_sealed(tmp_path, list(Talker(tone(500, 3)).packets()), closed_ns=T0_NS + 3 * SECOND, per_segment=10)
    path = tmp_path / "1.journal"
    with path.open("rb") as file:
        segments = [item for item in scan(file) if not isinstance(item, int)]
    victim = segments[len(segments) // 2]
    data = bytearray(path.read_bytes())
    data[victim.offset + HEADER.size + 100] ^= 1
    path.write_bytes(data)
    render({path: RING.unwrap(read_key(path) or {})}, tmp_path / "lanes.json", "lanes")
    lanes = json.loads((tmp_path / "lanes.json").read_text())
    [[from_s, to_s]] = lanes["parties"][0]["damaged"]
    assert to_s - from_s == pytest.approx(0.22, abs=0.001)  # ten packets, from the last before to the first after
    assert lanes["length"] == 3.0
    levels = np.array(lanes["parties"][0]["level"]["dbov"])
    silent = {index for index in range(30) if levels[index] < -60}
    assert silent <= {index for index in range(30) if from_s - 0.1 < index / 10 < to_s}
    assert 1 <= len(silent) <= 2
