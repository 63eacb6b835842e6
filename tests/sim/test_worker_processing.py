"""Voice processing in a worker: it makes a leg be decoded only where it is set, and others hear the result."""

import numpy as np
import pytest

from tests.sim.world import PCMA, World, sine

CONFIG = {
    "high_pass": 0,
    "noise_db": 0.0,
    "target_dbov": 0.0,
    "boost_max_db": 18.0,
    "cut_max_db": 20.0,
    "line_check": 0,
    "echo_cancel": 0,
}


def relayed(world: World, handle: int) -> bool:
    return bool(world.worker.leg_stats(handle)["relayed"])


def test_setting_it_ends_the_relay_of_that_speaker_alone_and_clearing_it_brings_it_back() -> None:
    world = World()
    anna, boris = world.phone(sound=sine(440, 8000)), world.phone(sound=sine(1000, 8000))
    world.bridge(anna, boris)
    world.run(500)
    assert relayed(world, anna.handle)
    assert relayed(world, boris.handle)
    world.do(world.worker.set_processing(anna.handle, CONFIG | {"high_pass": 1}))
    world.run(500)
    assert not relayed(world, anna.handle)
    assert relayed(world, boris.handle)
    world.do(world.worker.set_processing(anna.handle, None))
    world.run(500)
    assert relayed(world, anna.handle)


@pytest.mark.parametrize("why", ["processing", "mute", "gain"])
def test_while_one_is_decoded_the_other_is_relayed_and_not_doubled_by_silence(why: str) -> None:
    world = World()
    anna, boris = world.phone(sound=sine(440, 8000)), world.phone(sound=sine(1000, 8000))
    world.bridge(anna, boris)
    world.run(500)
    if why == "processing":
        world.do(world.worker.set_processing(anna.handle, CONFIG | {"high_pass": 1}))
    elif why == "mute":
        world.do(world.worker.set_mute(anna.handle, True))
    else:
        world.do(world.worker.set_gain(anna.handle, 2048))
    world.run(100)
    before = len(anna.heard)
    world.run(1000)
    assert len(anna.heard) - before == 50
    assert anna.level_db(1000) == pytest.approx(-12.2, abs=1.0)


@pytest.mark.parametrize(
    "step", [{"noise_db": 3.0}, {"target_dbov": -20.0}, {"high_pass": 1}], ids=lambda s: next(iter(s))
)
def test_a_step_that_begins_in_mid_call_leaves_no_hole_and_no_click(step: dict[str, float]) -> None:
    """The steps delay the voice: what they have not got yet is heard as it came, and fades."""
    world = World()
    anna, boris = world.phone(sound=sine(440, 8000)), world.phone(PCMA)
    world.bridge(anna, boris)
    world.run(1000)
    at = len(boris.heard) * 160
    world.do(world.worker.set_processing(anna.handle, CONFIG | step))
    world.run(300)
    pcm = boris.pcm()[at - 320 : at + 1600].astype(np.float64)
    power = (pcm.reshape(-1, 40) ** 2).mean(axis=1)  # blocks of 5 ms, two periods of the tone and more
    assert power.min() > np.median(power) / 4
    assert np.abs(np.diff(pcm, 2)).max() < 4 * np.median(np.abs(np.diff(pcm, 2)))


def test_others_hear_the_voice_without_its_hum() -> None:
    world = World()
    voice, hum = sine(600, 8000), sine(50, 8000)
    anna, boris = world.phone(sound=lambda at, n: voice(at, n) + hum(at, n)), world.phone()
    world.bridge(anna, boris)
    world.do(world.worker.set_processing(anna.handle, CONFIG | {"high_pass": 1}))
    world.run(2000)
    assert boris.level_db(600) == pytest.approx(-12.2, abs=1.0)
    assert boris.level_db(50) < -20


def test_a_leg_keeps_its_processing_when_it_changes_rooms_until_it_ends() -> None:
    world = World()
    anna, boris = world.phone(sound=sine(50, 8000)), world.phone()
    world.do(world.worker.set_processing(anna.handle, CONFIG | {"high_pass": 1}))
    world.do(world.worker.set_processing(anna.handle, CONFIG | {"high_pass": 1, "noise_db": 12.0}))
    bridge = world.bridge(anna, boris)
    world.run(300)
    world.do(world.worker.bridge_remove(bridge, anna.handle))
    world.do(world.worker.bridge_add(bridge, anna.handle))
    world.run(1000)
    assert boris.level_db(50) < -20
    world.do(world.worker.close_leg(anna.handle))
    said = len(boris.heard)
    world.run(200)
    assert len(boris.heard) == said


def test_a_checked_line_tells_its_hum_and_its_echo_and_changes_nothing() -> None:
    world = World()
    rng = np.random.default_rng(5)
    loudness = np.repeat(rng.choice([0, 500, 4_000, 9_000], 400), 800)  # of 100 ms each, as syllables
    babble = np.asarray(loudness * rng.normal(size=len(loudness)) / 3, np.int16)
    delay = 8_000 * 200 // 1_000
    hum = sine(50, 8000, 100)

    def echoing(at: int, n: int) -> np.ndarray:
        back = babble[max(0, at - delay) : max(0, at - delay + n)] // 10
        return np.pad(back, (n - len(back), 0)) + hum(at, n)

    anna, boris = world.phone(sound=echoing), world.phone(PCMA, sound=lambda at, n: babble[at : at + n])
    world.do(world.worker.set_processing(anna.handle, CONFIG | {"line_check": 1}))
    world.bridge(anna, boris)
    world.run(15_000)
    world.do(world.worker.publish(anna.handle))
    found = world.worker.leg_stats(anna.handle)
    assert found["hum_hz"] == 50
    assert found["hum_dbov"] == pytest.approx(-53.3, abs=2)
    assert found["echo_loss_db"] == pytest.approx(20, abs=3)
    # The far buffer and ours lie between what is sent and what comes back.
    assert found["echo_ms"] == pytest.approx(200, abs=60)
    assert world.worker.leg_stats(boris.handle)["echo_ms"] == 0


def test_what_comes_back_of_the_other_party_is_taken_out_and_its_relay_ends() -> None:
    world = World()
    rng = np.random.default_rng(6)
    loudness = np.repeat(rng.choice([0, 500, 4_000, 9_000], 150), 800)
    babble = np.asarray(loudness * rng.normal(size=len(loudness)) / 3, np.int16)
    delay = 8_000 * 200 // 1_000

    def echoing(at: int, n: int) -> np.ndarray:
        back = babble[max(0, at - delay) : max(0, at - delay + n)] // 4
        return np.pad(back, (n - len(back), 0))

    anna, boris = world.phone(sound=echoing), world.phone(sound=lambda at, n: babble[at : at + n])
    world.bridge(anna, boris)
    world.run(500)
    assert relayed(world, boris.handle)
    world.do(world.worker.set_processing(anna.handle, CONFIG | {"echo_cancel": 1}))
    world.run(9_500)
    assert not relayed(world, boris.handle)
    heard = boris.pcm().astype(float)
    early, late = heard[6_000:10_000], heard[-32_000:]
    assert 10 * np.log10(np.mean(early**2) / np.mean(late**2)) > 10
    world.do(world.worker.publish(anna.handle))
    assert world.worker.leg_stats(anna.handle)["echo_removed_db"] > 10
    world.do(world.worker.set_processing(anna.handle, None))
    world.run(500)
    assert relayed(world, boris.handle)
