"""Deadlines with callbacks: order, cancelling, and no rows left of a million cancelled ones."""

from __future__ import annotations

from mediaserver.sip.timers import Timers


def test_deadlines_fire_in_order_and_once():
    timers, fired = Timers(), []
    for at in (30, 10, 20):
        timers.at(at, lambda at=at: fired.append(at))
    assert timers.next_deadline() == 10
    timers.fire(9)
    assert fired == []
    timers.fire(20)
    timers.fire(20)
    assert fired == [10, 20]
    assert (len(timers), timers.next_deadline()) == (1, 30)


def test_a_cancelled_deadline_never_fires_whenever_it_is_cancelled():
    timers, fired = Timers(), []
    first = timers.at(10, lambda: fired.append("first"))
    timers.at(10, first.cancel)
    second = timers.at(10, lambda: fired.append("second"))
    second.cancel()
    second.cancel()
    timers.fire(10)
    first.cancel()
    assert fired == ["first"]
    assert (len(timers), timers.next_deadline()) == (0, None)


def test_a_callback_may_set_the_next_deadline():
    timers, fired = Timers(), []

    def again() -> None:
        fired.append(len(fired))
        if len(fired) < 3:
            timers.at(10, again)

    timers.at(10, again)
    timers.fire(10)
    assert fired == [0, 1, 2]


def test_cancelled_rows_do_not_pile_up():
    timers = Timers()
    for at in range(10_000):
        timers.at(at, lambda: None).cancel()
    assert len(timers) == 0
    assert len(timers._heap) <= 200
