"""Congestion control in virtual time: a browser behind a narrow way, by ladders of rate and loss."""

import pytest

from mediaserver.model_video import Feedback
from tests.sim.bottleneck import Link, NarrowWorld
from tests.sim.cameras import Screen, receiving
from tests.sim.world import sine

RIDS = ("q", "h", "f")
CAREFUL = Feedback(nack=True, pli=True, transport_cc=True, reduced_size=True)


def watch(link: Link) -> tuple[NarrowWorld, Screen]:
    """Anna sends three layers and sound; Boris sees and hears her behind the link."""
    world = NarrowWorld(link)
    anna, boris = world.phone(rtcp_mux=True, sound=sine(440, 8000)), world.phone(rtcp_mux=True)
    world.behind = boris
    world.bridge(anna, boris)
    track = world.track(anna, receiving(rids=RIDS))
    for i, bps in enumerate((150_000, 500_000, 1_500_000)):
        world.camera(anna, track, rid=RIDS[i], bps=bps, sequence=1_000 * i)
    screen = world.screen(boris, feedback=CAREFUL)
    world.connect(screen, anna, track)
    return world, screen


def run(world: NarrowWorld, ms: int) -> None:
    """film, with sound every 20 ms."""
    for _ in range(ms // 20):
        world.phones[0].speak()
        world.film(20)


def estimate(world: NarrowWorld) -> int:
    assert world.behind is not None
    return int(world.worker.leg_bandwidth(world.behind.handle)["estimate_bps"])


def layer(world: NarrowWorld, screen: Screen) -> int | None:
    found: int | None = world.worker.track_stats(screen.phone.handle, screen.track)["layer"]
    return found


def test_a_wide_way_is_found_within_two_seconds_and_gets_the_best_layer() -> None:
    world, screen = watch(Link(10_000_000))
    run(world, 3_000)
    assert estimate(world) > 1_600_000
    run(world, 2_000)
    assert layer(world, screen) == 2
    screen.stream.check_vp8(screen.ssrc)


def test_when_the_rate_drops_the_estimate_follows_in_two_seconds_and_sound_does_not_wait_long() -> None:
    link = Link(4_000_000)
    world, screen = watch(link)
    run(world, 5_000)
    assert layer(world, screen) == 2
    dropped_ns = world.now_ns
    link.rate_bps = 600_000
    run(world, 2_000)
    assert estimate(world) < 750_000
    run(world, 4_000)
    late = [waited for at_ns, waited in world.sound_waited_ms if at_ns > dropped_ns + 2_000_000_000]
    assert sorted(late)[len(late) * 95 // 100] < 100
    assert layer(world, screen) in (0, 1)
    sent = world.worker.leg_bandwidth(world.phones[1].handle)
    assert sent["video_bps"] + sent["audio_bps"] < 650_000
    screen.stream.check_vp8(screen.ssrc, whole=False)


def test_when_the_rate_comes_back_the_best_layer_does_within_seconds() -> None:
    link = Link(600_000)
    world, screen = watch(link)
    run(world, 5_000)
    assert layer(world, screen) in (0, 1)
    link.rate_bps = 4_000_000
    run(world, 8_000)
    assert layer(world, screen) == 2
    assert estimate(world) > 1_600_000


@pytest.mark.parametrize("loss", [0.02, 0.05])
def test_random_loss_below_a_tenth_does_not_starve_the_picture(loss: float) -> None:
    world, screen = watch(Link(6_000_000, loss=loss))
    run(world, 8_000)
    assert estimate(world) > 1_000_000
    bandwidth = world.worker.leg_bandwidth(world.phones[1].handle)
    assert bandwidth["loss_fraction"] == pytest.approx(loss, abs=0.05)
    assert layer(world, screen) in (1, 2)


def test_at_100_kbit_the_picture_goes_and_the_sound_stays() -> None:
    world, screen = watch(Link(110_000))
    run(world, 8_000)
    heard = [waited for at_ns, waited in world.sound_waited_ms if at_ns > world.now_ns - 2_000_000_000]
    assert len(heard) >= 95
    assert sorted(heard)[len(heard) * 9 // 10] < 100
    assert layer(world, screen) is None
    assert (screen.phone.handle, screen.track, None) in world.of("layer")


@pytest.mark.parametrize("loss", [0.0, 0.3])
def test_a_picture_that_had_to_go_comes_back_with_the_bandwidth(loss: float) -> None:
    link = Link(4_000_000)
    world, screen = watch(link)
    run(world, 3_000)
    link.rate_bps, link.loss = 60_000, loss
    run(world, 8_000)
    assert layer(world, screen) is None
    screen.stream.packets.clear()
    link.rate_bps, link.loss = 4_000_000, 0.0
    run(world, 10_000)
    assert layer(world, screen) == 2
    screen.stream.check_vp8(screen.ssrc, whole=False)


def test_a_camera_that_was_off_does_not_cost_the_estimate() -> None:
    world, screen = watch(Link(4_000_000))
    run(world, 5_000)
    before = estimate(world)
    for _ in range(500):
        world.phones[0].speak()
        world.run(20)
    assert estimate(world) > before // 2
    run(world, 2_000)
    assert layer(world, screen) == 2
