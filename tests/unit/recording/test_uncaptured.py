"""Seconds in which parties were not captured, by reason, whatever goes on and whatever has ended."""

from mediaserver.model import LegHandle
from mediaserver.model_consent import ConsentState as State
from mediaserver.recording.uncaptured import NO_CONSENT, Uncaptured

SECOND = 1_000_000_000
ANN, BOB = LegHandle(1), LegHandle(2)


def test_each_state_counts_for_as_long_as_it_lasted() -> None:
    counted = Uncaptured()
    for at_s, leg, state in [
        (0, ANN, State.UNKNOWN),
        (0, BOB, State.UNKNOWN),
        (1, ANN, State.NOTICE_PLAYING),
        (5, ANN, State.GRANTED),
        (5, BOB, State.DENIED),
        (20, ANN, State.PAUSED),
        (27, ANN, State.GRANTED),
        (30, ANN, State.SUSPENDED_BY_JOINER),
    ]:
        counted.moved("r1", leg, state, at_s * SECOND)
    assert counted.seconds(32 * SECOND) == {NO_CONSENT: 5 + 32, "paused": 7, "joiner": 2}
    counted.moved("r1", ANN, None, 34 * SECOND)
    counted.moved("r1", BOB, None, 40 * SECOND)
    assert counted.seconds(99 * SECOND) == {NO_CONSENT: 5 + 40, "paused": 7, "joiner": 4}


def test_a_party_of_two_recordings_counts_in_each() -> None:
    counted = Uncaptured()
    counted.moved("r1", ANN, State.DENIED, 0)
    counted.moved("r2", ANN, State.GRANTED, 0)
    counted.moved("r2", ANN, State.WITHDRAWN, 4 * SECOND)
    assert counted.seconds(6 * SECOND)[NO_CONSENT] == 6 + 2
