"""Simulcast layers that come and go, in virtual time: what a viewer gets while the one it had or chose is not sent."""

import pytest

from tests.sim.cameras import Screen, VideoWorld
from tests.sim.test_worker_video import simulcast


def pin(world: VideoWorld, screen: Screen, layer: int | None) -> None:
    limits = {"priority": 0, "max_bps": 0, "layer": layer, "paused": False}
    world.do(world.worker.set_track_limits(screen.phone.handle, screen.track, **limits))


@pytest.mark.parametrize(
    ("chosen", "dropped", "instead"),
    [(2, {2}, 1), (None, {2}, 1), (2, {1, 2}, 0), (1, {1}, 0), (0, {0}, 1), (None, {0, 1}, 2)],
)
def test_a_layer_that_its_sender_drops_is_left_within_a_second_and_comes_back(
    chosen: int | None, dropped: set[int], instead: int
) -> None:
    """A browser short of time or bandwidth stops layers; the next lower one goes on, else the next higher."""
    world = VideoWorld()
    anna, track, cameras = simulcast(world)
    screen = world.screen(world.phone(rtcp_mux=True))
    world.connect(screen, anna, track)
    pin(world, screen, chosen)
    world.film(3_000)
    best = 2 if chosen is None else chosen
    assert screen.stream.origin(screen.stream.packets[-1])[0] == cameras[best].ssrc
    going = [camera for camera in world.cameras if camera not in [cameras[layer] for layer in dropped]]
    world.cameras[:], stopped_ns = going, world.now_ns
    keys = cameras[instead].asked
    world.film(1_000)
    assert screen.stream.origin(screen.stream.packets[-1])[0] == cameras[instead].ssrc
    assert cameras[instead].asked == keys + (instead != best)
    gaps = [b[0].at_ns - a[0].at_ns for a, b in zip(screen.stream.frames(), screen.stream.frames()[1:], strict=False)]
    assert max(gaps) < 800_000_000
    lives = [bps >= 0 for bps in world.worker.track_stats(anna.handle, track)["layer_bps"]]
    assert lives == [layer not in dropped for layer in range(3)]
    for layer in dropped:
        cameras[layer].want_key = True  # a stream that begins anew does so with a key frame
    world.cameras[:] = cameras
    world.film(4_000)
    assert screen.stream.origin(screen.stream.packets[-1])[0] == cameras[best].ssrc
    assert world.now_ns > stopped_ns
    screen.stream.check_vp8(screen.ssrc)


def test_a_layer_chosen_before_its_sender_sends_it_is_not_waited_for() -> None:
    world = VideoWorld()
    anna, track, cameras = simulcast(world)
    world.cameras[:] = cameras[:2]
    screen = world.screen(world.phone(rtcp_mux=True))
    world.connect(screen, anna, track)
    pin(world, screen, 2)
    world.film(500)
    assert screen.stream.origin(screen.stream.packets[-1])[0] == cameras[1].ssrc


def test_layers_that_all_pause_together_are_waited_for() -> None:
    """A shared screen that does not change, or a network that stalls: no layer has been dropped."""
    world = VideoWorld()
    anna, track, cameras = simulcast(world)
    screen = world.screen(world.phone(rtcp_mux=True))
    world.connect(screen, anna, track)
    pin(world, screen, 1)
    world.film(2_000)
    told = len(world.of("layer"))
    for _ in range(3):
        world.cameras.clear()
        world.film(900)
        world.cameras.extend(cameras)
        world.film(300)
    assert len(world.of("layer")) == told
    assert screen.stream.origin(screen.stream.packets[-1])[0] == cameras[1].ssrc
