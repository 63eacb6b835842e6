"""How long a worker lets packets gather: a thread that is woken for each of them costs more than they do."""

from tests.sim.world import G722, MS, PCMU, Phone, World, sine


def gathered(world: World, ms: int) -> set[int]:
    """How long, in ns, after each of so many milliseconds."""
    found = set()
    for _ in range(ms):
        world.run(1)
        found.add(world.worker.gathering_ns)
    return found


def pair(world: World, first: Phone, second: Phone) -> None:
    first.sound, second.sound = sine(440, first.rate_hz), sine(1000, second.rate_hz)
    world.bridge(first, second)


def test_what_waits_in_a_jitter_buffer_anyway_may_wait_for_more() -> None:
    world = World()
    pair(world, world.phone(PCMU), world.phone(G722))
    world.run(1500)
    assert gathered(world, 100) == {0, MS}  # nothing came, something came


def test_what_is_passed_on_at_once_waits_for_nothing() -> None:
    world = World()
    pair(world, world.phone(PCMU), world.phone(PCMU))
    pair(world, world.phone(PCMU), world.phone(G722))
    world.run(1500)
    assert gathered(world, 100) == {0}


def test_nobody_waits_beyond_the_tick() -> None:
    world = World()
    pair(world, world.phone(PCMU), world.phone(G722))
    world.run(1500)
    late = 0
    for _ in range(40):
        world.phones[0].speak()
        due_ns = world.worker.step(world.now_ns)
        assert world.worker.gathering_ns <= due_ns - world.now_ns
        late += world.worker.gathering_ns < MS
        world.now_ns += MS // 2 + 1
    assert late
