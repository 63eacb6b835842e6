"""Opus through libopus: every rate, FEC, concealment, DTX, stereo payloads; FFmpeg writes what our encoder cannot."""

from fractions import Fraction

import av
import numpy as np
import numpy.typing as npt
import pytest

from mediaserver.codecs.audio import Codec

RATES_HZ = [8_000, 12_000, 16_000, 24_000, 48_000]


def voice(rate_hz: int, seconds: float = 2.0) -> npt.NDArray[np.int16]:
    """A buzzing vowel with a syllable rate: enough like speech for Opus' speech mode."""
    t = np.arange(int(rate_hz * seconds)) / rate_hz
    pitch = 2 * np.pi * np.cumsum(120 + 15 * np.sin(2 * np.pi * 2.5 * t)) / rate_hz
    buzz = sum(np.sin(k * pitch) / k for k in range(1, 24))
    noise = np.random.default_rng(5).normal(0, 0.02, len(t))
    syllables = 0.15 + 0.85 * np.abs(np.sin(2 * np.pi * 2 * t))
    return np.round(9_000 * (buzz + noise) * syllables / 2).clip(-32768, 32767).astype(np.int16)


def frames(pcm: npt.NDArray[np.int16], size: int) -> list[npt.NDArray[np.int16]]:
    return [pcm[at : at + size] for at in range(0, len(pcm) - size + 1, size)]


def similarity(a: npt.NDArray[np.int16], b: npt.NDArray[np.int16], delay_max: int) -> float:
    """Best correlation over all delays up to delay_max."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    n = len(x) - delay_max
    return max(float(np.corrcoef(x[:n], y[d : d + n])[0, 1]) for d in range(0, delay_max, max(1, delay_max // 200)))


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_voice_survives_at_every_rate(rate_hz: int) -> None:
    codec = Codec("opus", rate_hz=rate_hz)
    pcm = voice(rate_hz)
    payloads = [codec.encode(frame) for frame in frames(pcm, rate_hz // 50)]
    decoded, counts = codec.decode_batch(payloads)
    assert set(counts) == {rate_hz // 50}
    assert codec.clock_hz == 48_000
    assert similarity(pcm, decoded, rate_hz // 50) > 0.7  # libopus' speech mode turns phases below 100 Hz


@pytest.mark.parametrize("frame_ms", [2.5, 5, 10, 20, 40, 60])
def test_every_frame_length_of_rfc_7587_is_encoded_and_counted(frame_ms: float) -> None:
    codec = Codec("opus", rate_hz=16_000)
    size = int(16 * frame_ms)
    payload = codec.encode(voice(16_000)[:size])
    assert codec.samples(payload) == size
    assert len(codec.decode(payload)) == size


@pytest.mark.parametrize("frame_ms", [15, 30, 50])
def test_a_frame_length_opus_does_not_have_is_refused(frame_ms: int) -> None:
    with pytest.raises(ValueError, match="no frame of"):
        Codec("opus", rate_hz=16_000).encode(np.zeros(16 * frame_ms, np.int16))


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_a_lost_frame_comes_back_from_the_next_ones_fec(rate_hz: int) -> None:
    pcm, size = voice(rate_hz), rate_hz // 50
    sender = Codec("opus", rate_hz=rate_hz, fec=True, packet_loss_percent=20)
    payloads = [sender.encode(frame) for frame in frames(pcm, size)]
    whole, fec, concealing = (Codec("opus", rate_hz=rate_hz) for _ in range(3))
    truth = [whole.decode(payload) for payload in payloads]
    errors_fec, errors_concealed = [], []
    for index, payload in enumerate(payloads):
        lost = index % 7 == 5 and index + 1 < len(payloads)
        if not lost:
            fec.decode(payload)
            concealing.decode(payload)
            continue
        recovered = fec.decode_fec(payloads[index + 1], size)
        guessed = concealing.conceal(size)
        assert guessed is not None
        if recovered is not None:
            wanted = truth[index].astype(np.float64)
            errors_fec.append(((recovered - wanted) ** 2).sum())
            errors_concealed.append(((guessed - wanted) ** 2).sum())
    assert len(errors_fec) >= 5
    assert sum(errors_fec) < sum(errors_concealed) / 2


def test_without_fec_nothing_pretends_to_be_recovered() -> None:
    codec = Codec("opus", rate_hz=16_000)
    payloads = [codec.encode(frame) for frame in frames(voice(16_000), 320)]
    assert all(codec.decode_fec(payload, 320) is None for payload in payloads)


def test_fec_can_be_asked_for_while_running() -> None:
    codec = Codec("opus", rate_hz=16_000, fec=True)
    pcm = frames(voice(16_000, 4.0), 320)
    before = [codec.encode(frame) for frame in pcm[:100]]
    codec.set_loss(20)
    after = [codec.encode(frame) for frame in pcm[100:]]
    assert not any(codec.decode_fec(payload, 320) is not None for payload in before)
    assert sum(codec.decode_fec(payload, 320) is not None for payload in after) > 50


def test_dtx_sends_nothing_in_silence_but_now_and_then() -> None:
    codec = Codec("opus", rate_hz=16_000, dtx=True)
    silence = np.zeros(320, np.int16)
    sizes = [len(codec.encode(silence)) for _ in range(100)]
    assert sum(size == 0 for size in sizes) > 75
    assert any(sizes[20:])  # the refresh every 400 ms


def test_concealment_needs_whole_steps_of_2_5_ms() -> None:
    codec = Codec("opus", rate_hz=16_000)
    codec.decode(codec.encode(voice(16_000)[:320]))
    assert codec.conceal(333) is None
    concealed = codec.conceal(320)
    assert concealed is not None
    assert len(concealed) == 320


def stereo_packets() -> list[bytes]:
    """Left: 440 Hz; right: 1000 Hz; written by FFmpeg's libopus at 48 kHz."""
    context = av.CodecContext.create("libopus", "w")
    context.sample_rate, context.layout, context.format = 48_000, "stereo", "s16"
    context.bit_rate, context.time_base = 128_000, Fraction(1, 48_000)
    context.options = {"frame_duration": "20"}
    t = np.arange(960 * 30) / 48_000
    pcm = np.stack([8_000 * np.sin(2 * np.pi * 440 * t), 8_000 * np.sin(2 * np.pi * 1_000 * t)], axis=1).astype(
        np.int16
    )
    packets = []
    for at in range(0, len(pcm), 960):
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(pcm[at : at + 960]).reshape(1, -1), "s16", "stereo")
        frame.sample_rate, frame.pts = 48_000, at
        packets += [bytes(packet) for packet in context.encode(frame)]
    return packets


@pytest.mark.parametrize("rate_hz", [8_000, 48_000])
def test_a_stereo_payload_is_folded_to_mono(rate_hz: int) -> None:
    codec = Codec("opus", rate_hz=rate_hz)
    decoded = codec.decode_batch(stereo_packets())[0].astype(np.float64)[rate_hz // 5 :]
    spectrum = np.abs(np.fft.rfft(decoded * np.hanning(len(decoded)))) / len(decoded) * 4
    hz = np.fft.rfftfreq(len(decoded), 1 / rate_hz)
    for tone in (440, 1_000):
        assert spectrum[np.abs(hz - tone) < 10].max() == pytest.approx(4_000, rel=0.1)


def test_settings_that_opus_does_not_have_are_refused() -> None:
    for options in ({"rate_hz": 44_100}, {"complexity": 11}, {"packet_loss_percent": 101}):
        with pytest.raises(ValueError, match="cannot be opened"):
            Codec("opus", **options)


@pytest.mark.parametrize("rate_hz", RATES_HZ)
def test_the_payload_for_silence_is_silent_whatever_came_before_and_speech_comes_back_whole(rate_hz: int) -> None:
    """The encoder rests meanwhile and begins anew, as the decoder does when SILK comes back (RFC 6716 4.5.2)."""
    size = rate_hz // 50
    spoken, nothing = frames(voice(rate_hz, 1.0), size), np.zeros(size, np.int16)

    def through(rests: bool) -> npt.NDArray[np.float64]:
        sender, receiver = Codec("opus", rate_hz=rate_hz, fec=True), Codec("opus", rate_hz=rate_hz)
        silence = sender.silence(size)
        assert silence is not None
        payloads = [sender.encode(frame) for frame in [*spoken, *[nothing] * 5]]
        payloads += [silence if rests else sender.encode(nothing) for _ in range(20)]
        if rests:
            sender.restart()
        payloads += [sender.encode(frame) for frame in spoken]
        return receiver.decode_batch(payloads)[0].astype(np.float64)

    resting, encoding = through(rests=True), through(rests=False)
    assert not resting[56 * size : 75 * size].any()
    again = slice(75 * size, 85 * size)
    assert np.sum(resting[again] ** 2) == pytest.approx(np.sum(encoding[again] ** 2), rel=0.25)
    steps = np.abs(np.diff(resting[74 * size : 77 * size]))
    assert steps.max() < 1.5 * np.abs(np.diff(encoding[75 * size : 85 * size])).max()


@pytest.mark.parametrize(("name", "samples"), [("opus", 480), ("opus", 1920), ("PCMU", 160), ("G722", 320)])
def test_there_is_a_payload_for_silence_only_where_it_saves_an_encode(name: str, samples: int) -> None:
    assert Codec(name).silence(samples) is None


def band_of(payload: bytes) -> str:
    """RFC 6716, table 2."""
    number = payload[0] >> 3
    return ("narrow", "medium", "wide")[number // 4] if number < 12 else "over wide"


@pytest.mark.parametrize(("made_at_hz", "band"), [(8_000, "narrow"), (16_000, "wide"), (48_000, "over wide")])
def test_the_encoder_keeps_to_the_band_of_what_it_is_given(made_at_hz: int, band: str) -> None:
    codec = Codec("opus", bitrate_bps=32_000)
    codec.set_band(made_at_hz)
    payloads = [codec.encode(frame) for frame in frames(voice(48_000), 960)]
    assert {band_of(payload) for payload in payloads} == {band}


def test_a_band_that_widens_with_a_restart_is_wide_at_once() -> None:
    codec = Codec("opus", bitrate_bps=32_000)
    pcm = frames(voice(48_000, 4.0), 960)
    codec.set_band(8_000)
    narrow = [codec.encode(frame) for frame in pcm[:50]]
    codec.restart()
    codec.set_band(48_000)
    wide = [codec.encode(frame) for frame in pcm[50:100]]
    assert {band_of(payload) for payload in narrow} == {"narrow"}
    assert {band_of(payload) for payload in wide} == {"over wide"}
