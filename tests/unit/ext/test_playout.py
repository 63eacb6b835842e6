"""One party's playout in virtual time: what goes in as packets comes out as sound on a fixed grid."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mediaserver.codecs.audio import Codec
from mediaserver.ext.playout_harness import PlayoutHarness
from tests.sim.playing import PHASE_NS, frames, play
from tests.sim.traces import (
    MS,
    SECOND,
    Trace,
    duplicate,
    lose,
    new_source,
    normal_jitter,
    pauses,
    reorder,
    spikes,
    steady,
    step_delay,
)

FRAME_NS = 20 * MS


def tone(seconds: float, rate_hz: int = 8000, pitch_hz: float = 200.0) -> NDArray[np.int16]:
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    return (8000 * np.sin(2 * np.pi * pitch_hz * t) * (0.8 + 0.2 * np.sin(2 * np.pi * 3 * t))).astype(np.int16)


@pytest.fixture(scope="module")
def payloads() -> list[bytes]:
    return frames(Codec("PCMU"), tone(40.0))


def decoded(payloads: list[bytes], codec: str = "PCMU") -> NDArray[np.int16]:
    c = Codec(codec)
    return np.concatenate([c.decode(p) for p in payloads])


@pytest.mark.parametrize("codec", ["PCMU", "PCMA", "G722"])
def test_without_loss_and_jitter_the_decoded_samples_come_out_unchanged(codec: str) -> None:
    c = Codec(codec)
    sent = frames(c, tone(4.0, c.rate_hz))
    heard = play(steady(len(sent)), sent, codec=codec, rate_hz=c.rate_hz)
    frame = c.rate_hz // 50
    truth = decoded(sent, codec)
    assert np.array_equal(heard.pcm[frame : len(truth)], truth[:-frame])
    assert heard.stats["packets_lost"] == heard.stats["frames_concealed"] == 0
    assert set(heard.delay_ms[1:]) == {27.0}


def test_l16_at_any_clock_comes_out_unchanged() -> None:
    c = Codec("L16", clock_hz=16000)
    sent = frames(c, tone(1.0, 16000))
    h = PlayoutHarness(rate_hz=16000)
    assert h.set_codec(96, "L16", clock_hz=16000)
    out = []
    for n, payload in enumerate(sent):
        h.put(n, 320 * n, payload, 96, arrival_ns=n * FRAME_NS)
        out.append(h.pull(n * FRAME_NS + PHASE_NS, 320)[0])
    assert np.array_equal(np.concatenate(out)[320:], tone(1.0, 16000)[:-320])


def test_nothing_is_heard_before_the_first_packet_and_it_is_silence() -> None:
    h = PlayoutHarness()
    h.set_codec(0, "PCMU")
    for n in range(5):
        pcm, kind = h.pull(n * FRAME_NS, 160)
        assert kind == "silence"
        assert not pcm.any()


def test_playing_starts_when_the_first_packet_has_waited_for_the_minimum(payloads: list[bytes]) -> None:
    h = PlayoutHarness(min_delay_ms=60)
    h.set_codec(0, "PCMU")
    h.put(1, 160, payloads[0], arrival_ns=0)
    assert h.pull(60 * MS - 1, 160)[1] == "silence"
    assert h.pull(60 * MS, 160)[1] == "voice"


def test_the_same_input_gives_the_same_bytes(payloads: list[bytes]) -> None:
    trace = lose(normal_jitter(steady(600), 20, seed=1), 0.08, seed=2)
    first, second = play(trace, payloads), play(trace, payloads)
    assert first.pcm.tobytes() == second.pcm.tobytes()
    assert first.stats == second.stats


def test_reordered_packets_are_heard_in_order(payloads: list[bytes]) -> None:
    """From the second second on: what overtakes among the first few packets makes the delay jump, which is heard."""
    sent = steady(500)
    heard = play(sent[:50] + reorder(sent[50:], 0.1, by_ms=25, seed=3), payloads, min_delay_ms=60)
    assert heard.stats["packets_reordered"] > 20
    assert heard.stats["packets_late"] == heard.stats["frames_concealed"] == 0
    assert heard.stats["stretched_ns"] == heard.stats["compressed_ns"] == 0
    start = next(n for n, kind in enumerate(heard.kinds) if kind == "voice") * 160
    assert np.array_equal(heard.pcm[start : 160 * 490], decoded(payloads)[: 160 * 490 - start])


def test_everything_twice_is_heard_once(payloads: list[bytes]) -> None:
    heard = play(duplicate(steady(500), 1.0, seed=1), payloads)
    assert heard.puts == {"queued": 500, "duplicate": 500}
    assert np.array_equal(heard.pcm[160 : 160 * 500], decoded(payloads)[: 160 * 499])


def test_a_lost_packet_is_concealed_counted_and_costs_no_delay(payloads: list[bytes]) -> None:
    heard = play([p for p in steady(300) if p.index != 150], payloads)
    assert heard.stats["packets_lost"] == heard.stats["loss_events"] == heard.stats["loss_event_packets"] == 1
    assert heard.stats["frames_concealed"] == 1
    assert heard.kinds[151] == "concealed"
    truth = decoded(payloads)
    assert np.array_equal(heard.pcm[160 * 152 : 160 * 299], truth[160 * 151 : 160 * 298])
    hidden = truth[160 * 150 : 160 * 151].astype(int)
    error = heard.pcm[160 * 151 : 160 * 152] - hidden
    assert np.sqrt(np.mean(error**2.0)) < 0.05 * np.sqrt(np.mean(hidden**2.0))  # a tone: one can guess it


@pytest.mark.parametrize("lost", [1, 2], ids=["one", "two"])
def test_after_lost_g722_packets_its_decoder_is_nearer_to_the_coder_than_one_left_alone(lost: int) -> None:
    """A voice that goes on: what comes after the hole is nearer to what was sent, whatever fills the hole."""
    t = np.arange(16_000 * 4) / 16_000
    said = 3000 * sum(np.sin(2 * np.pi * 131 * k * t) / k for k in range(1, 20)) * (1 + 0.3 * np.sin(9 * t)) / 2
    payloads = frames(Codec("G722"), said.astype(np.int16))
    whole = Codec("G722").decode(b"".join(payloads)).astype(int)
    errors = {"ours": 0.0, "left alone": 0.0}
    for hole in range(30, 150, 17):
        trace = [p for p in steady(len(payloads), clock_hz=8000) if not hole <= p.index < hole + lost]
        heard = play(trace, payloads, codec="G722", rate_hz=16_000)
        alone = Codec("G722").decode(b"".join(payloads[:hole] + payloads[hole + lost :])).astype(int)
        at = (hole + lost) * 320 + 160  # what is blended at the hole's edge is left out
        truth = whole[at : at + 160]
        errors["ours"] += float(np.sum((heard.pcm[at + 320 : at + 480] - truth) ** 2.0))  # a packet of delay
        errors["left alone"] += float(np.sum((alone[at - lost * 320 :][:160] - truth) ** 2.0))
    assert errors["ours"] < 0.75 * errors["left alone"]


@pytest.mark.parametrize("codec", ["PCMU", "G722", "opus"])
def test_a_hole_in_a_pause_is_cut_short_and_one_in_speech_is_filled_whole(codec: str) -> None:
    c = Codec(codec, rate_hz=16000 if codec == "opus" else 0)
    said = tone(12.0, c.rate_hz)
    holes = {index for index in range(20, 580) if index % 10 == 5}
    trace = [p for p in steady(600, clock_hz=48000 if codec == "opus" else 8000) if p.index not in holes]
    concealed = {}
    for what, sound in (("speech", said), ("pause", said // 1000)):
        heard = play(trace, frames(c, sound), codec=codec, rate_hz=c.rate_hz)
        assert heard.stats["packets_lost"] == len(holes)
        assert heard.stats["packets_late"] == 0  # what was cut came back
        assert max(heard.delay_ms[1:]) < 60.0
        concealed[what] = heard.stats["frames_concealed"]
        cut_ms = heard.stats["compressed_ns"] / MS
        assert cut_ms == 0 if what == "speech" else cut_ms > 7 * len(holes)
    assert concealed["speech"] == len(holes)
    assert concealed["pause"] < 0.65 * len(holes)


@pytest.mark.parametrize("codec", ["PCMU", "opus"])
def test_a_packet_that_comes_after_its_hole_was_filled_delays_nothing_that_follows(codec: str) -> None:
    c = Codec(codec, rate_hz=16000 if codec == "opus" else 0)
    trace = steady(400, clock_hz=48000 if codec == "opus" else 8000)
    trace = [replace(p, arrival_ns=p.arrival_ns + 30 * MS) if p.index == 200 else p for p in trace]
    heard = play(trace, frames(c, tone(8.0, c.rate_hz)), codec=codec, rate_hz=c.rate_hz)
    assert heard.stats["packets_late"] == heard.stats["frames_concealed"] == 1
    assert max(heard.delay_ms[200:204]) < 30  # later it may be stretched: the network is slower than was known


def test_a_packet_after_its_time_is_late_and_no_longer_lost(payloads: list[bytes]) -> None:
    trace = [replace(p, arrival_ns=p.arrival_ns + 200 * MS) if p.index == 150 else p for p in steady(300)]
    heard = play(trace, payloads)
    assert heard.puts["late"] == heard.stats["packets_late"] == 1
    assert heard.stats["packets_lost"] == 0
    assert heard.stats["loss_event_packets"] == 1


@pytest.mark.parametrize("frame_ms", [10, 20, 30, 40, 60])
@pytest.mark.parametrize("pull_ms", [10, 20, 60])
def test_every_packet_time_plays_at_every_pull(frame_ms: int, pull_ms: int) -> None:
    sent = frames(Codec("PCMU"), tone(6.0), frame_ms)
    heard = play(steady(len(sent), frame_ms=frame_ms), sent, pull_ms=pull_ms)
    settled = heard.kinds_between(1.0, 5.8)
    assert set(settled) == {"voice"}
    truth = decoded(sent)
    part = heard.pcm[8000 * 3 : 8000 * 4]
    delays = [d for d in range(0, 1600) if np.array_equal(part, truth[24000 - d : 32000 - d])]
    assert delays  # time is not stretched any more: the very samples


def test_the_packet_time_may_change_in_mid_stream() -> None:
    sound = tone(3.0)
    codec = Codec("PCMU")
    h = PlayoutHarness()
    h.set_codec(0, "PCMU")
    at, now, kinds = 0, 0, []
    sizes = [20] * 30 + [60] * 10 + [10] * 60 + [30] * 20
    due: list[tuple[int, int, int, bytes]] = []
    for sequence, size in enumerate(sizes):
        at += size * 8
        due.append((at * 125_000, sequence, at - size * 8, codec.encode(sound[at - size * 8 : at])))
    while now < due[-1][0]:
        while due and due[0][0] <= now:
            arrival, number, timestamp, payload = due.pop(0)
            assert h.put(number, timestamp, payload, arrival_ns=arrival) == "queued"
        kinds.append(h.pull(now, 160)[1])
        now += FRAME_NS
    assert h.stats["packets_lost"] == h.stats["packets_late"] == 0
    assert kinds.count("concealed") + kinds.count("comfort") <= 4  # 60 ms packets come 40 ms later than 20 ms ones


@pytest.mark.parametrize("drift_ppm", [-200.0, 200.0])
def test_clock_drift_is_taken_up_by_stretching_without_a_gap_or_click(drift_ppm: float) -> None:
    sent = frames(Codec("PCMU"), np.tile(tone(5.0), 48))
    heard = play(steady(len(sent), drift_ppm=drift_ppm), sent)  # 4 minutes: 48 ms
    assert set(heard.kinds[2:-3]) == {"voice"}
    assert heard.stats["packets_lost"] == heard.stats["packets_late"] == heard.stats["frames_concealed"] == 0
    assert max(heard.delay_ms) < 60
    assert min(heard.delay_ms) >= 10
    assert np.max(np.abs(np.diff(heard.pcm[400:-800].astype(int)))) < 1800  # steepest slope of the tone: 1257


def test_a_little_jitter_needs_little_more_than_the_least_delay(payloads: list[bytes]) -> None:
    heard = play(normal_jitter(steady(1500), 1.0, seed=1), payloads)
    assert heard.delay_ms[-1] < 45
    assert heard.stats["frames_concealed"] == 0


def test_with_jitter_of_20_ms_three_in_a_hundred_come_too_late_at_most(payloads: list[bytes]) -> None:
    heard = play(normal_jitter(steady(2000), 20.0, seed=5), payloads)
    assert heard.stats["packets_late"] <= 0.03 * 2000
    assert heard.stats["frames_concealed"] <= 0.03 * 2000
    assert heard.delay_ms[-1] < 130


def test_delay_taken_on_in_a_bad_time_is_given_back(payloads: list[bytes]) -> None:
    trace = [
        replace(p, arrival_ns=p.arrival_ns - 80 * MS) if p.index >= 500 else p for p in steady(1000, start_ns=SECOND)
    ]
    heard = play(trace, payloads)
    assert max(heard.delay_ms) > 60
    assert heard.delay_ms[700] < 45
    assert heard.stats["compressed_ns"] > 50 * MS
    assert heard.stats["frames_concealed"] == 0


RECOVERY = {
    "all late by a second": lambda t: step_delay(t, 1000, from_index=300),
    "all late by three seconds": lambda t: step_delay(t, 3000, from_index=300),
    "a freeze of half a second": lambda t: spikes(t, 500, every_s=6.6),  # the next one is after what is looked at
    "nothing for five seconds": lambda t: [p for p in t if not 300 <= p.index < 550],
    "another sequence": lambda t: [
        replace(p, sequence=(p.sequence + 30_000) % 2**16) if p.index >= 300 else p for p in t
    ],
    "another time base": lambda t: [
        replace(p, timestamp=(p.timestamp + 2**31 + 77) % 2**32) if p.index >= 300 else p for p in t
    ],
    "absurd time stamps": lambda t: [
        replace(p, timestamp=p.index * 1_234_567_891 % 2**32) if p.index % 40 == 7 else p for p in t
    ],
    "a time stamp that stands still": lambda t: [replace(p, timestamp=5) if p.index < 300 else p for p in t],
    "another source": lambda t: new_source(t, from_index=300),
    "pauses": lambda t: pauses(t, talk=50, pause=30),
}


@pytest.mark.parametrize("name", RECOVERY)
def test_the_sound_recovers_within_two_seconds(name: str, payloads: list[bytes]) -> None:
    trace: Trace = RECOVERY[name](steady(900))
    heard = play(trace, payloads)
    resumed = next(p.arrival_ns for p in trace if p.index >= 300) / SECOND
    kinds = heard.kinds_between(resumed + 2.0, resumed + 6.0)
    assert kinds.count("voice") > (0.6 if name == "pauses" else 0.97) * len(kinds)
    assert heard.level(resumed + 2.0, resumed + 6.0) > 3000
    assert heard.leaked == 0
    queued = heard.puts["queued"]
    assert queued == heard.stats["packets_queued"]


def test_a_pause_of_the_sender_is_no_loss_and_the_talk_comes_back_whole(payloads: list[bytes]) -> None:
    heard = play(pauses(steady(900), talk=50, pause=40), payloads)
    assert heard.stats["packets_lost"] == heard.stats["packets_late"] == heard.stats["loss_events"] == 0
    assert heard.stats["packets_overflow"] == 0
    assert heard.kinds.count("voice") >= 499
    assert heard.kinds.count("concealed") <= 10 * 6  # until it is clear that nothing comes
    assert heard.kinds.count("comfort") >= 10 * 30


def test_comfort_noise_is_played_from_its_description_until_speech_returns(payloads: list[bytes]) -> None:
    h = PlayoutHarness()
    h.set_codec(0, "PCMU")
    h.set_codec(13, "CN", clock_hz=8000)
    kinds, sound = [], []
    sequence = 0
    for n in range(200):
        if n < 50 or n >= 150:
            h.put(sequence, 160 * n, payloads[n], 0, arrival_ns=n * FRAME_NS)
            sequence += 1
        elif n in (50, 90, 130):
            h.put(sequence, 160 * n, b"\x28", 13, arrival_ns=n * FRAME_NS)  # -40 dBov
            sequence += 1
        pcm, kind = h.pull(n * FRAME_NS + PHASE_NS, 160)
        kinds.append(kind)
        sound.append(pcm)
    assert kinds[1:51] == ["voice"] * 50
    assert kinds[51:151] == ["comfort"] * 100
    assert kinds[151:] == ["voice"] * 49
    assert h.stats["packets_lost"] == h.stats["frames_concealed"] == 0
    assert h.stats["frames_comfort"] == 100
    noise = np.concatenate(sound[100:140]).astype(float)
    assert 20 * np.log10(np.sqrt(np.mean(noise**2)) / 32768) == pytest.approx(-40, abs=3)


def test_dtmf_events_in_between_are_not_lost_packets(payloads: list[bytes]) -> None:
    h = PlayoutHarness()
    h.set_codec(0, "PCMU")
    for n in range(200):
        if 80 <= n < 90:
            h.note(n, n * FRAME_NS)
        else:
            assert h.put(n, 160 * n, payloads[n], arrival_ns=n * FRAME_NS) == "queued"
        h.pull(n * FRAME_NS + PHASE_NS, 160)
    assert h.stats["packets_lost"] == h.stats["loss_events"] == 0
    assert h.stats["packets_queued"] == 190


@pytest.mark.parametrize("rate_hz", [8000, 16000, 48000])
@pytest.mark.parametrize("codec", ["PCMU", "G722", "opus"])
def test_every_codec_is_heard_at_every_rate(codec: str, rate_hz: int) -> None:
    c = Codec(codec, rate_hz=16000 if codec == "opus" else 0)
    sent = frames(c, tone(2.0, c.rate_hz, 440.0))
    heard = play(steady(len(sent), clock_hz=c.clock_hz), sent, codec=codec, rate_hz=rate_hz)
    assert set(heard.kinds_between(0.1, 1.9)) == {"voice"}
    part = heard.pcm[rate_hz // 2 : rate_hz * 3 // 2].astype(float)
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part))))
    assert np.argmax(spectrum) == pytest.approx(440, abs=1)
    assert heard.level(0.5, 1.5) == pytest.approx(8000 * 0.81 / np.sqrt(2), rel=0.15)


def test_the_codec_may_change_in_mid_stream_without_a_click() -> None:
    narrow, wide = Codec("PCMU"), Codec("G722")
    first, second = frames(narrow, tone(1.0)), frames(wide, tone(2.0, 16000))
    h = PlayoutHarness(rate_hz=16000)
    h.set_codec(0, "PCMU")
    h.set_codec(9, "G722", clock_hz=8000)
    out = []
    for n in range(100):
        payload, kind = (first[n], 0) if n < 50 else (second[n], 9)
        assert h.put(n, 160 * n, payload, kind, arrival_ns=n * FRAME_NS) == "queued"
        out.append(h.pull(n * FRAME_NS + PHASE_NS, 320)[0])
    assert h.stats["packets_lost"] == 0
    pcm = np.concatenate(out)[800:]
    assert np.max(np.abs(np.diff(pcm.astype(int)))) < 2000
    assert np.sqrt(np.mean(pcm[8000:24000].astype(float) ** 2)) > 4000


def test_the_pulled_rate_may_change_while_playing(payloads: list[bytes]) -> None:
    h = PlayoutHarness(rate_hz=8000)
    h.set_codec(0, "PCMU")
    for n in range(150):
        h.put(n, 160 * n, payloads[n], arrival_ns=n * FRAME_NS)
        rate_hz = (8000, 48000, 16000)[n // 50]
        h.set_rate(rate_hz)
        pcm, kind = h.pull(n * FRAME_NS + PHASE_NS, rate_hz // 50)
        assert kind == "voice" or n == 0
        assert n % 50 < 2 or np.sqrt(np.mean(pcm.astype(float) ** 2)) > 2500


def test_a_new_source_is_heard_at_once_and_nothing_of_the_old_is_held(payloads: list[bytes]) -> None:
    h = PlayoutHarness()
    h.set_codec(0, "PCMU")
    for n in range(100):
        h.put(n, 160 * n, payloads[n], arrival_ns=n * FRAME_NS)
        h.pull(n * FRAME_NS + PHASE_NS, 160)
    h.put(100, 16000, payloads[100], arrival_ns=100 * FRAME_NS)
    h.restart()
    assert h.free_count == 512
    kinds = []
    for n in range(101, 130):
        h.put(40_000 + n, 77 + 160 * n, payloads[n], arrival_ns=n * FRAME_NS)
        kinds.append(h.pull(n * FRAME_NS + PHASE_NS, 160)[1])
    assert kinds[2:] == ["voice"] * 27
    assert h.stats["packets_lost"] == 0


def test_a_stream_nobody_pulls_keeps_the_newest_and_counts_the_rest(payloads: list[bytes]) -> None:
    h = PlayoutHarness()
    h.set_codec(0, "PCMU")
    for n in range(1000):
        assert h.put(n, 160 * n, payloads[n], arrival_ns=n * FRAME_NS) == "queued"
    assert h.stats["packets_overflow"] == 1000 - 128
    assert h.free_count == 512 - 128
    kinds = []
    for n in range(1000, 1100):
        h.put(n, 160 * n, payloads[n], arrival_ns=n * FRAME_NS)
        kinds.append(h.pull(n * FRAME_NS + PHASE_NS, 160)[1])
    assert kinds[1:] == ["voice"] * 99
    assert h.stats["buffer_delay_ns"] < 200 * MS


def test_payload_types_without_codec_and_impossible_sizes_are_refused() -> None:
    h = PlayoutHarness()
    h.set_codec(0, "PCMU")
    h.set_codec(9, "G722")
    h.set_codec(111, "opus")
    assert h.put(1, 0, b"\xff" * 160, 8) == "bad"
    assert h.put(1, 0, b"", 0) == "bad"
    assert h.put(1, 0, b"\xff" * 481, 0) == "bad"  # more than 60 ms
    assert h.put(1, 0, b"\xff" * 481, 9) == "bad"
    assert h.put(1, 0, b"\xff\xff", 111) == "bad"
    assert h.stats["packets_queued"] == 0
    assert h.free_count == 512


def test_a_codec_taken_away_while_its_packets_wait_is_silence_not_a_crash(payloads: list[bytes]) -> None:
    h = PlayoutHarness()
    h.set_codec(0, "PCMU")
    for n in range(60):
        h.put(n, 160 * n, payloads[n], arrival_ns=n * FRAME_NS)
        h.pull(n * FRAME_NS + PHASE_NS, 160)
    h.put(60, 160 * 60, payloads[60], arrival_ns=60 * FRAME_NS)
    h.clear_codecs()
    for n in range(60, 90):
        h.pull(n * FRAME_NS + PHASE_NS, 160)
    assert h.free_count == 512


def test_nine_payload_types_are_too_many() -> None:
    h = PlayoutHarness()
    assert all(h.set_codec(96 + n, "PCMU") for n in range(8))
    assert not h.set_codec(104, "PCMU")
    assert h.set_codec(103, "PCMA")
    assert h.set_codec(101, "telephone-event")


def test_opus_rebuilds_a_lost_frame_from_the_next_packet() -> None:
    sound = tone(3.0, 16000, 150.0)
    t = np.arange(len(sound)) / 16000
    sound = (sound * (0.5 + 0.5 * np.sin(2 * np.pi * 2 * t))).astype(np.int16)  # what comes cannot be guessed
    errors = {}
    for fec in (False, True):
        c = Codec("opus", rate_hz=16000, fec=fec, packet_loss_percent=20, bitrate_bps=24000)
        sent = frames(c, sound)
        whole = play(steady(len(sent), clock_hz=48000), sent, codec="opus", rate_hz=16000)
        gone = [p for p in steady(len(sent), clock_hz=48000) if p.index % 10 != 5]
        heard = play(gone, sent, codec="opus", rate_hz=16000)
        assert heard.stats["frames_concealed"] == heard.stats["packets_lost"] == 15
        size = min(len(whole.pcm), len(heard.pcm))
        errors[fec] = float(np.sqrt(np.mean((whole.pcm[:size].astype(float) - heard.pcm[:size]) ** 2)))
    assert errors[True] < 0.7 * errors[False]


def test_the_line_of_an_opus_playout_is_small_until_long_packets_come() -> None:
    h = PlayoutHarness(rate_hz=48000)
    h.set_codec(111, "opus")
    assert h.line_bytes == 0
    c = Codec("opus", rate_hz=48000)
    now, timestamp = 0, 0
    for n in range(100):
        h.put(n, timestamp, c.encode(np.zeros(960, np.int16)), 111, arrival_ns=now)
        h.pull(now + PHASE_NS, 960)
        now, timestamp = now + FRAME_NS, timestamp + 960
    assert 0 < h.line_bytes <= 13_500
    long = c.encode(np.zeros(2880, np.int16))
    for n in range(100, 150):
        assert h.put(n, timestamp, long, 111, arrival_ns=now) == "queued"
        for _ in range(3):
            h.pull(now + PHASE_NS, 960)
            now += FRAME_NS
        timestamp += 2880
    assert 13_500 < h.line_bytes <= 25_000
    assert h.stats["packets_lost"] == 0
