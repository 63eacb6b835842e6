"""The bandwidth estimator by itself: packets in, arrivals back, one number out."""

from mediaserver.ext.video_estimate import EstimatorForTest

MS = 1_000_000
START = 1_000_000


def send(estimator: EstimatorForTest, packets: int, at_ns: int, *, spacing_ns: int, bottleneck_bps: int) -> int:
    """Packets of 1,200 octets through a queue; feedback in one message. The estimate."""
    free_us, arrivals, first = 0, [], -1
    for i in range(packets):
        sent_ns = at_ns + i * spacing_ns
        number = estimator.sent(1_200, sent_ns)
        first = number if first < 0 else first
        free_us = max(free_us, sent_ns // 1_000) + 1_200 * 8 * 1_000_000 // bottleneck_bps
        arrivals.append(free_us)
    return estimator.feedback(first, arrivals, at_ns + packets * spacing_ns + 20 * MS)


def test_it_starts_at_a_megabit_and_feedback_about_what_was_never_sent_changes_nothing() -> None:
    estimator = EstimatorForTest(65_000)
    assert estimator.bps == START
    before = estimator.feedback(1_234, [1_000, 2_000, None], 5 * MS)
    assert before <= START
    assert estimator.loss_fraction == 0


def test_the_same_feedback_twice_counts_once() -> None:
    estimator = EstimatorForTest()
    numbers = [estimator.sent(1_200, i * 10 * MS) for i in range(60)]
    arrivals = [20_000 + number * 10_000 for number in numbers]
    once = estimator.feedback(0, arrivals, 700 * MS)
    again = estimator.feedback(0, arrivals, 700 * MS)
    assert abs(again - once) <= once // 100


def test_a_growing_queue_brings_it_down_to_what_comes_through() -> None:
    estimator = EstimatorForTest()
    free_us, told, arrivals = 0, 0, []
    for tick in range(400):  # 1.92 Mbit/s into 500 kbit/s for two seconds, feedback each 50 ms about what came
        now_ns = tick * 5 * MS
        estimator.sent(1_200, now_ns + 1)
        free_us = max(free_us, now_ns // 1_000) + 1_200 * 8 * 1_000_000 // 500_000
        arrivals.append(free_us)
        if tick % 10 == 9:
            came = [at for at in arrivals[told:] if at <= now_ns // 1_000]
            if came:
                estimator.feedback(told, came, now_ns + 20 * MS)
                told += len(came)
    assert 200_000 < estimator.bps < 600_000


def test_a_tenth_of_loss_lowers_it_and_two_percent_does_not() -> None:
    for every, lowered in ((5, True), (100, False)):
        estimator = EstimatorForTest()
        for window in range(20):
            first = estimator.sent(1_200, window * 200 * MS + 1)
            for i in range(1, 20):
                estimator.sent(1_200, window * 200 * MS + i * 10 * MS)
            arrivals = [
                None if (window * 20 + i) % every == 0 else window * 200_000 + i * 10_000 + 20_000 for i in range(20)
            ]
            estimator.feedback(first, arrivals, window * 200 * MS + 250 * MS)
        assert (estimator.bps < 600_000) is lowered


def test_a_probe_that_came_through_raises_it_at_once() -> None:
    estimator = EstimatorForTest()
    send(estimator, 20, MS, spacing_ns=10 * MS, bottleneck_bps=50_000_000)
    before = estimator.bps
    at_ns = 400 * MS
    assert estimator.probe(before // 2, at_ns) == 0  # nothing more is wanted
    rate = estimator.probe(4_000_000, at_ns)
    assert rate == 2 * before
    first, arrivals = -1, []
    while estimator.probe_bytes_left > 0:
        number = estimator.sent(250, at_ns)
        first = number if first < 0 else first
        arrivals.append(at_ns // 1_000 + 20_000)
        at_ns += 250 * 8 * 1_000_000_000 // rate
    assert estimator.probe(4_000_000, at_ns) == 0  # one at a time
    assert estimator.feedback(first, arrivals, at_ns + 40 * MS) > before * 3 // 2


def test_without_any_feedback_for_long_it_is_believed_less() -> None:
    estimator = EstimatorForTest()
    send(estimator, 20, MS, spacing_ns=10 * MS, bottleneck_bps=50_000_000)
    before = estimator.bps
    estimator.sent(1_200, 300 * MS)
    estimator.tick(1_000 * MS)
    assert estimator.bps == before
    estimator.tick(2_000 * MS)
    assert estimator.bps <= before // 2 + 1


def test_while_nothing_is_sent_no_feedback_is_missed_and_old_loss_is_forgotten() -> None:
    estimator = EstimatorForTest()
    send(estimator, 20, MS, spacing_ns=10 * MS, bottleneck_bps=50_000_000)
    first = estimator.sent(1_200, 300 * MS)
    for _ in range(20):
        estimator.sent(1_200, 300 * MS)
    estimator.feedback(first, [320_000] * 10 + [None] * 10, 900 * MS)
    before = estimator.bps
    assert estimator.loss_fraction > 0.2
    assert estimator.probe(4_000_000, 1_000 * MS) == 0
    estimator.tick(10_000 * MS)
    assert estimator.bps == before
    assert estimator.probe(4_000_000, 10_000 * MS) > 0
