"""The one shape of all codecs: rates, clocks, refusals, batches."""

import numpy as np
import pytest

from mediaserver.codecs.audio import CODEC_IDS, Codec


@pytest.mark.parametrize(
    ("name", "rate_hz", "clock_hz"),
    [
        ("PCMU", 8_000, 8_000),
        ("pcma", 8_000, 8_000),
        ("G722", 16_000, 8_000),
        ("opus", 48_000, 48_000),
        ("OPUS", 48_000, 48_000),
    ],
)
def test_each_codec_has_its_usual_rate_and_clock(name: str, rate_hz: int, clock_hz: int) -> None:
    codec = Codec(name)
    assert (codec.rate_hz, codec.clock_hz) == (rate_hz, clock_hz)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("telephone-event", {}),
        ("G729", {}),
        ("", {}),
        ("PCMU", {"rate_hz": 16_000}),
        ("G722", {"rate_hz": 8_000}),
        ("L16", {"clock_hz": 96_000}),
        ("CN", {"rate_hz": 4_000}),
    ],
)
def test_what_is_not_possible_is_refused_with_what_was_asked(name: str, options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="cannot be opened"):
        Codec(name, **options)


@pytest.mark.parametrize("name", ["PCMU", "PCMA", "G722", "L16"])
def test_codecs_without_concealment_of_their_own_say_so(name: str) -> None:
    codec = Codec(name)
    assert codec.conceal(160) is None
    assert codec.decode_fec(bytes(160), 160) is None
    codec.set_loss(10)  # means nothing to them


def test_a_batch_equals_its_packets_one_by_one_and_marks_what_is_broken() -> None:
    rng = np.random.default_rng(3)
    payloads = [rng.integers(0, 256, int(rng.integers(1, 300)), np.uint8).tobytes() for _ in range(50)]
    payloads[7] = b""
    for name in ("PCMU", "G722", "L16", "opus"):
        one, many = Codec(name), Codec(name)
        expected, counts = [], []
        for payload in payloads:
            try:
                expected.append(one.decode(payload))
                counts.append(len(expected[-1]))
            except ValueError:
                counts.append(0)
        decoded, found = many.decode_batch([memoryview(payload) for payload in payloads])
        assert list(found) == counts
        assert counts[7] == 0
        assert np.array_equal(decoded, np.concatenate([*expected, np.empty(0, np.int16)]))


def test_an_empty_batch_is_empty() -> None:
    decoded, counts = Codec("PCMU").decode_batch([])
    assert len(decoded) == 0
    assert len(counts) == 0


def test_numbers_of_codecs_are_those_of_the_contract() -> None:
    assert CODEC_IDS == {"PCMU": 1, "PCMA": 2, "G722": 3, "opus": 4, "L16": 5, "CN": 6, "telephone-event": 7}


@pytest.mark.parametrize(("name", "size"), [("PCMU", 160), ("G722", 320), ("opus", 960), ("L16", 160)])
def test_an_encoder_taken_over_goes_on_with_the_very_same_bytes(name: str, size: int) -> None:
    rng = np.random.default_rng(6)
    shared, leaving = Codec(name), Codec(name, decoder=False)
    frames = [np.round(rng.normal(0, 5_000, size)).astype(np.int16) for _ in range(20)]
    for frame in frames[:10]:
        shared.encode(frame)
    leaving.take_encoder(shared)
    assert [leaving.encode(frame) for frame in frames[10:]] == [shared.encode(frame) for frame in frames[10:]]


def test_an_encoder_of_another_kind_is_not_taken_over() -> None:
    with pytest.raises(ValueError, match="is not opus at 16000 Hz"):
        Codec("opus", rate_hz=16_000).take_encoder(Codec("opus", rate_hz=8_000))
    with pytest.raises(ValueError, match="is not G722"):
        Codec("G722").take_encoder(Codec("PCMU"))
    with pytest.raises(ValueError, match="is not G722"):
        Codec("G722").take_encoder(Codec("G722", encoder=False))


@pytest.mark.parametrize("name", ["PCMU", "G722", "opus", "L16", "CN"])
def test_a_codec_of_one_side_refuses_the_other(name: str) -> None:
    both = Codec(name)
    pcm = np.zeros(both.rate_hz // 50, np.int16)
    receiving, sending = Codec(name, encoder=False), Codec(name, decoder=False)
    payload = sending.encode(pcm)
    assert len(receiving.decode(payload)) == len(both.decode(payload))
    with pytest.raises(ValueError, match="has no frame"):
        receiving.encode(pcm)
    with pytest.raises(ValueError, match="undecodable"):
        sending.decode(payload)
    assert sending.conceal(160) is None
    receiving.set_loss(10)
