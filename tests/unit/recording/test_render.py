"""Rendering: what was said comes out, when it was said, whatever clocks and networks did."""

import random
import struct
import sys
import wave
from io import StringIO
from pathlib import Path

import av
import numpy as np
import pytest

from mediaserver.codecs.audio import Codec
from mediaserver.recording.journal import Kind, note
from mediaserver.recording.render import main, render
from tests.support.synthetic_taps import (
    CLOCKS,
    PAYLOAD_TYPES,
    T0_NS,
    Talker,
    click_times,
    clicks,
    header,
    packet_record,
    rtp,
    tone,
    write_journal,
)


def read_wav(path: Path) -> tuple[int, np.ndarray]:
    with wave.open(str(path)) as file:
        rate, channels = file.getframerate(), file.getnchannels()
        return rate, np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").reshape(-1, channels)


def rendered(tmp_path: Path, *journals: Path) -> tuple[int, np.ndarray]:
    output = tmp_path / "out.wav"
    render(dict.fromkeys(journals), output, "wav")
    return read_wav(output)


def level_db(pcm: np.ndarray, reference: np.ndarray) -> float:
    error = pcm.astype(float) - reference.astype(float)
    return float(10 * np.log10(np.mean(reference.astype(float) ** 2) / max(1e-9, np.mean(error**2))))


def test_a_clean_g711_leg_comes_out_bit_for_bit(tmp_path: Path) -> None:
    speech = tone(440, 3)
    talker = Talker(speech, "PCMU")
    journal = write_journal(tmp_path / "1.journal", list(talker.packets()), closed_ns=T0_NS + 3_000_000_000)
    rate, pcm = rendered(tmp_path, journal)
    codec = Codec("PCMU")
    expected = codec.decode(codec.encode(speech))
    assert (rate, pcm.shape[1]) == (8_000, 1)
    assert np.array_equal(pcm[:, 0], expected)


@pytest.mark.parametrize(
    ("codec", "rate_hz", "floor_db"),
    [("PCMA", 8_000, 30), ("G722", 16_000, 25), ("L16", 16_000, 60), ("opus", 16_000, 10)],
)
def test_every_codec_is_decoded_at_its_width(codec: str, rate_hz: int, floor_db: float, tmp_path: Path) -> None:
    speech = tone(700, 2, rate_hz)
    talker = Talker(speech, codec, rate_hz)
    journal = write_journal(tmp_path / "1.journal", list(talker.packets()), closed_ns=T0_NS + 2_000_000_000)
    rate, pcm = rendered(tmp_path, journal)
    assert rate == (8_000 if rate_hz == 8_000 else 16_000)
    assert len(pcm) == 2 * rate
    middle = slice(rate // 2, rate + rate // 2)
    # Codecs delay by some samples: the best of the first 10 ms counts.
    assert max(level_db(np.roll(pcm[:, 0], -lag)[middle], speech[middle]) for lag in range(rate // 100)) > floor_db


def test_a_narrowband_party_beside_a_wideband_one_is_resampled_in_step(tmp_path: Path) -> None:
    at = [0.5, 1.0, 1.5]
    narrow = Talker(clicks(at, 2), "PCMU")
    wide = Talker(clicks(at, 2, 16_000), "L16", 16_000, ssrc=2)
    left = write_journal(tmp_path / "1.journal", list(narrow.packets()), closed_ns=T0_NS + 2_000_000_000)
    right = write_journal(tmp_path / "2.journal", list(wide.packets()), leg="2", closed_ns=T0_NS + 2_000_000_000)
    rate, pcm = rendered(tmp_path, left, right)
    assert (rate, pcm.shape) == (16_000, (32_000, 2))
    assert np.allclose(click_times(pcm[:, 0], rate), at, atol=0.0005)
    assert np.allclose(click_times(pcm[:, 1], rate), at, atol=0.0005)


def test_fifteen_percent_loss_on_one_side_keeps_length_and_step(tmp_path: Path) -> None:
    draw = random.Random(15)
    at = [float(second) for second in range(1, 60, 2)]
    dropped = {index for index in range(3_000) if draw.random() < 0.15}
    clean = Talker(clicks(at, 60), "PCMU")
    lossy = Talker(clicks(at, 60), "PCMU", ssrc=2, lost=dropped.__contains__)
    left = write_journal(tmp_path / "1.journal", list(clean.packets()), closed_ns=T0_NS + 60_000_000_000)
    right = write_journal(tmp_path / "2.journal", list(lossy.packets()), leg="2", closed_ns=T0_NS + 60_000_000_000)
    rate, pcm = rendered(tmp_path, left, right)
    assert abs(len(pcm) - 60 * rate) <= 0.020 * rate
    heard = click_times(pcm[:, 1], rate)
    assert 20 <= len(heard) < len(at)  # lost clicks are gaps, not shifts
    assert all(min(abs(time - true) for true in at) < 0.0005 for time in heard)


def test_legs_with_drifting_clocks_and_jitter_stay_in_step(tmp_path: Path) -> None:
    draw = random.Random(200)
    seconds = 120
    at = [1.0 + 2 * n for n in range(seconds // 2 - 1)]

    def talker(ppm: float, ssrc: int, offset_ns: int) -> Talker:
        # The click happens at a server time; by the talker's own clock that is a little earlier or later.
        own = [second * (1 + ppm * 1e-6) for second in at]
        return Talker(clicks(own, seconds, 16_000), "L16", 16_000, ppm=ppm, ssrc=ssrc,
                      delay_ns=lambda _: round(abs(draw.gauss(0, 10e6))))  # fmt: skip

    left = write_journal(tmp_path / "1.journal", list(talker(+200, 1, 0).packets()))
    right = write_journal(tmp_path / "2.journal", list(talker(-200, 2, 0).packets()), leg="2")
    rate, pcm = rendered(tmp_path, left, right)
    first, second = click_times(pcm[:, 0], rate), click_times(pcm[:, 1], rate)
    assert len(first) == len(second) == len(at)
    assert max(abs(a - b) for a, b in zip(first, second, strict=True)) <= 0.005
    assert max(abs(a - b) for a, b in zip(first, at, strict=True)) <= 0.005


def test_drift_correction_does_not_roughen_the_sound(tmp_path: Path) -> None:
    speech = tone(1_000, 30, 16_000)
    talker = Talker(speech, "L16", 16_000, ppm=150)
    rate, pcm = rendered(tmp_path, write_journal(tmp_path / "1.journal", list(talker.packets())))
    piece = pcm[20 * rate : 24 * rate, 0].astype(float)
    spectrum = np.abs(np.fft.rfft(piece * np.hanning(len(piece)))) ** 2
    peak = int(spectrum.argmax())
    tonal = spectrum[peak - 40 : peak + 40].sum()  # ±10 Hz: 500 ppm of 1 kHz is 0.5 Hz
    assert 10 * np.log10(tonal / (spectrum.sum() - tonal)) > 60


def test_late_packets_go_to_their_true_place(tmp_path: Path) -> None:
    speech = tone(300, 4)
    plain = Talker(speech, "PCMU")
    shuffled = Talker(speech, "PCMU", delay_ns=lambda index: 700_000_000 if index % 10 == 5 else 0)
    close = T0_NS + 4_000_000_000
    (tmp_path / "a").mkdir()
    _, expected = rendered(
        tmp_path, write_journal(tmp_path / "a" / "1.journal", list(plain.packets()), closed_ns=close)
    )
    inside = [(arrival, packet) for arrival, packet in shuffled.packets() if arrival < close]
    _, pcm = rendered(tmp_path, write_journal(tmp_path / "1.journal", inside, closed_ns=close))
    assert np.array_equal(pcm[: 3 * 8_000], expected[: 3 * 8_000])


def test_first_packets_that_overtook_each_other_keep_their_places(tmp_path: Path) -> None:
    speech = tone(300, 2)
    packets = list(Talker(speech, "PCMU").packets())
    close = T0_NS + 2_000_000_000
    (tmp_path / "a").mkdir()
    _, expected = rendered(tmp_path, write_journal(tmp_path / "a" / "1.journal", packets, closed_ns=close))
    swapped = [(T0_NS + 45_000_000, packets[0][1]), *packets[1:]]
    _, pcm = rendered(tmp_path, write_journal(tmp_path / "1.journal", swapped, closed_ns=close))
    assert np.array_equal(pcm, expected)


def test_packets_that_come_twice_are_heard_once(tmp_path: Path) -> None:
    packets = list(Talker(tone(300, 2), "PCMU").packets())
    close = T0_NS + 2_000_000_000
    (tmp_path / "a").mkdir()
    _, expected = rendered(tmp_path, write_journal(tmp_path / "a" / "1.journal", packets, closed_ns=close))
    twice = packets + [(a + 30_000_000, p) for a, p in packets if a + 30_000_000 < close]
    _, pcm = rendered(tmp_path, write_journal(tmp_path / "1.journal", twice, closed_ns=close))
    assert np.array_equal(pcm, expected)


def test_a_new_ssrc_is_anchored_anew(tmp_path: Path) -> None:
    first = Talker(clicks([0.5], 1), "PCMU", ssrc=1)
    second = Talker(clicks([0.5], 1), "PCMU", ssrc=2, start_ns=T0_NS + 3_000_000_000, timestamp=77, sequence=9)
    packets = [*first.packets(), *second.packets()]
    rate, pcm = rendered(tmp_path, write_journal(tmp_path / "1.journal", packets, closed_ns=T0_NS + 4_000_000_000))
    assert np.allclose(click_times(pcm[:, 0], rate), [0.5, 3.5], atol=0.0005)


@pytest.mark.parametrize("jump_s", [-100.0, -0.4, 0.4, 3_600.0], ids=lambda s: f"{s:+} s")
def test_a_timestamp_jump_in_mid_stream_is_anchored_anew(jump_s: float, tmp_path: Path) -> None:
    """A sender that stops its clock in a hold, or restarts it: arrival times decide."""
    first = list(Talker(clicks([1.0], 4), "PCMU", timestamp=900_000_000).packets())
    second = Talker(
        clicks([3.0], 6), "PCMU", start_ns=T0_NS + 4_000_000_000, sequence=65_500 + 200,
        timestamp=900_000_000 + 32_000 + round(jump_s * 8_000),
    )  # fmt: skip
    journal = write_journal(tmp_path / "1.journal", first + list(second.packets()), closed_ns=T0_NS + 10_000_000_000)
    rate, pcm = rendered(tmp_path, journal)
    assert len(pcm) == 10 * rate
    assert np.allclose(click_times(pcm[:, 0], rate), [1.0, 7.0], atol=0.001)


def test_restarted_sequence_numbers_do_not_silence_the_party(tmp_path: Path) -> None:
    first = Talker(clicks([0.5], 2), "PCMU", sequence=40_000, timestamp=5_000)
    second = Talker(clicks([1.0], 3), "PCMU", sequence=10, timestamp=21_000, start_ns=T0_NS + 2_000_000_000)
    packets = [*first.packets(), *second.packets()]
    rate, pcm = rendered(tmp_path, write_journal(tmp_path / "1.journal", packets, closed_ns=T0_NS + 5_000_000_000))
    assert np.allclose(click_times(pcm[:, 0], rate), [0.5, 3.0], atol=0.001)


def test_a_network_spike_is_not_taken_for_a_restart(tmp_path: Path) -> None:
    """600 ms late, catching up within a second: the sound stays where it was spoken."""

    def spike(index: int) -> int:
        return max(0, 600_000_000 - (index - 200) * 20_000_000) if 200 <= index < 230 else 0

    talker = Talker(clicks([1.0, 4.1, 6.0], 8), "PCMU", delay_ns=spike)
    journal = write_journal(tmp_path / "1.journal", list(talker.packets()), closed_ns=T0_NS + 8_000_000_000)
    rate, pcm = rendered(tmp_path, journal)
    assert np.allclose(click_times(pcm[:, 0], rate), [1.0, 4.1, 6.0], atol=0.0005)


def test_the_codec_may_change_in_mid_call(tmp_path: Path) -> None:
    first = list(Talker(clicks([0.5], 2), "PCMU").packets())
    second = Talker(clicks([1.0], 2, 16_000), "G722", 16_000, start_ns=T0_NS + 2_000_000_000,
                    sequence=65_600, timestamp=0xFFFFF000 + 16_000)  # fmt: skip
    journal = write_journal(tmp_path / "1.journal", first + list(second.packets()), closed_ns=T0_NS + 4_000_000_000)
    rate, pcm = rendered(tmp_path, journal)
    assert rate == 16_000
    assert np.allclose(click_times(pcm[:, 0], rate), [0.5, 3.0], atol=0.002)


def test_a_payload_type_that_changes_its_meaning_is_followed(tmp_path: Path) -> None:
    speech = tone(440, 1)
    codec = Codec("PCMA")
    alaw = codec.encode(speech)
    path = tmp_path / "1.journal"
    parts = [
        header(codecs={"99": {"name": "PCMU", "clock_hz": 8_000}}),
        note(Kind.OPEN, T0_NS, {}),
        note(Kind.CODECS, T0_NS, {"codecs": {"99": {"name": "PCMA", "clock_hz": 8_000}}}),
    ]
    for n in range(50):
        packet = rtp(n, n * 160, alaw[n * 160 : (n + 1) * 160], payload_type=99)
        parts.append(packet_record(T0_NS + n * 20_000_000, packet))
    path.write_bytes(b"".join(parts))
    _, pcm = rendered(tmp_path, path)
    assert np.array_equal(pcm[:, 0], codec.decode(alaw))


def test_digits_and_comfort_noise_are_not_played_as_audio(tmp_path: Path) -> None:
    packets = [(T0_NS + n * 20_000_000, rtp(n, n * 160, b"\x01\x8a\x03\x20", payload_type=101)) for n in range(50)]
    packets += [(T0_NS + 2_000_000_000, rtp(60, 16_000, b"\xff" * 160))]
    _, pcm = rendered(tmp_path, write_journal(tmp_path / "1.journal", packets, closed_ns=T0_NS + 3_000_000_000))
    assert len(pcm) == 3 * 8_000
    assert not pcm.any()


def test_a_leg_that_never_sent_is_silence_of_the_same_length(tmp_path: Path) -> None:
    talker = Talker(tone(440, 2), "PCMU")
    left = write_journal(tmp_path / "1.journal", list(talker.packets()), closed_ns=T0_NS + 2_000_000_000)
    right = write_journal(tmp_path / "2.journal", [], leg="2", closed_ns=T0_NS + 2_000_000_000)
    _, pcm = rendered(tmp_path, left, right)
    assert pcm.shape == (16_000, 2)
    assert not pcm[:, 1].any()


def test_gaps_between_windows_stay_gaps(tmp_path: Path) -> None:
    """Capture was suspended for two seconds while a party joined."""
    talker = Talker(clicks([0.5, 3.5], 4), "PCMU")
    packets = [(a, p) for a, p in talker.packets() if not T0_NS + 1_000_000_000 <= a < T0_NS + 3_000_000_000]
    rate, pcm = rendered(tmp_path, write_journal(tmp_path / "1.journal", packets, closed_ns=T0_NS + 4_000_000_000))
    assert len(pcm) == 4 * rate
    assert np.allclose(click_times(pcm[:, 0], rate), [0.5, 3.5], atol=0.0005)


def test_three_parties_share_two_channels(tmp_path: Path) -> None:
    close = T0_NS + 1_000_000_000
    paths = [
        write_journal(tmp_path / f"{n}.journal", list(Talker(clicks([n / 4], 1), "PCMU", ssrc=n).packets()),
                      leg=str(n), closed_ns=close)
        for n in (1, 2, 3)
    ]  # fmt: skip
    rate, pcm = rendered(tmp_path, *paths)
    assert np.allclose(click_times(pcm[:, 0], rate), [0.25], atol=0.0005)
    assert np.allclose(click_times(pcm[:, 1], rate), [0.5, 0.75], atol=0.0005)


def test_the_wav_carries_its_utc_start(tmp_path: Path) -> None:
    talker = Talker(tone(440, 1), "PCMU")
    output = tmp_path / "out.wav"
    render({write_journal(tmp_path / "1.journal", list(talker.packets())): None}, output, "wav")
    data = output.read_bytes()
    at = data.index(b"bext") + 8
    assert data[at + 320 : at + 338] == b"2026-09-2114:13:20"  # 1,790,000,000 s
    assert struct.unpack_from("<Q", data, at + 338)[0] == (14 * 3600 + 13 * 60 + 20) * 8_000
    assert struct.unpack_from("<I", data, 4)[0] == len(data) - 8


@pytest.mark.parametrize("codec", ["PCMU", "opus"])
def test_ogg_opus_has_the_same_length_and_sound(codec: str, tmp_path: Path) -> None:
    rate_hz = 8_000 if codec == "PCMU" else 16_000
    at = [0.5, 1.0, 2.5]
    talker = Talker(clicks(at, 3, rate_hz), codec, rate_hz)
    close = T0_NS + 3_000_000_000
    left = write_journal(tmp_path / "1.journal", list(talker.packets()), closed_ns=close)
    right = write_journal(tmp_path / "2.journal", [], leg="2", closed_ns=close)
    output = tmp_path / "out.opus"
    render({left: None, right: None}, output, "opus")
    with av.open(str(output)) as container:
        assert container.streams.audio[0].codec_context.name in ("opus", "libopus")
        frames = [frame.to_ndarray() for frame in container.decode(audio=0)]
    pcm = np.concatenate([f if f.shape[0] == 2 else f.reshape(-1, 2).T for f in frames], axis=1)[0]
    if pcm.dtype != np.int16:
        pcm = (pcm * 32_767).astype(np.int16)
    assert abs(len(pcm) / 48_000 - 3.0) <= 0.020
    assert np.allclose(click_times(pcm, 48_000), at, atol=0.010)


def test_damage_costs_only_itself(tmp_path: Path) -> None:
    path = write_journal(tmp_path / "1.journal", list(Talker(clicks([0.5, 2.5], 3), "PCMU").packets()),
                         closed_ns=T0_NS + 3_000_000_000)  # fmt: skip
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 300] = bytes(300)
    path.write_bytes(data)
    output = tmp_path / "out.wav"
    result = render({path: None}, output, "wav")
    rate, pcm = read_wav(output)
    assert 300 <= result.bytes_skipped < 1_000
    assert 150 - 4 <= result.packets < 150
    assert len(pcm) == 3 * rate
    assert np.allclose(click_times(pcm[:, 0], rate), [0.5, 2.5], atol=0.0005)


def test_nothing_captured_is_said_and_no_file_is_claimed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "1.journal"
    path.write_bytes(header())
    monkeypatch.setattr(sys, "stdin", StringIO("[null]"))
    assert main(["--form", "wav", "--output", str(tmp_path / "o.wav"), str(path)]) == 1
    assert "nothing was captured" in capsys.readouterr().err
    assert main(["--form", "wav", "--output", str(tmp_path / "o.wav"), str(tmp_path / "missing")]) == 1


def test_any_peer_input_in_a_journal_renders_without_an_exception(tmp_path: Path) -> None:
    """Random RTP headers and payloads of every codec: rendered, counted, never an exception, never too long."""
    draw = random.Random(4711)
    names = list(PAYLOAD_TYPES)
    for round_number in range(30):
        records = []
        for n in range(draw.randrange(1, 80)):
            name = draw.choice(names)
            packet = bytearray(rtp(n, n * CLOCKS[name] // 50, draw.randbytes(draw.randrange(0, 200)),
                                   payload_type=PAYLOAD_TYPES[name], ssrc=draw.randrange(3)))  # fmt: skip
            for _ in range(draw.randrange(0, 4)):
                packet[draw.randrange(len(packet))] = draw.randrange(256)
            records.append((T0_NS + n * 20_000_000, bytes(packet)[: draw.randrange(1, len(packet) + 1)]))
        path = write_journal(tmp_path / f"{round_number}.journal", records)
        result = render({path: None}, tmp_path / "out.wav", "wav")
        assert result.length_ms <= 5_000
