"""Our concealment of G.711 beside the standard's own, and that the yardstick is one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.g711_loss import measure
from tests.sim.appendix_i import FRAME, QUARTER_MAX, AppendixI

FRAMES = 20


def buzz(period: int) -> NDArray[np.int16]:
    one = sum(
        np.roll(np.random.default_rng(period).normal(0, 2_000, period), n) for n in range(6)
    )  # smooth, as a voice
    return np.tile(one, FRAMES * FRAME // period + 1)[: FRAMES * FRAME].astype(np.int16)


def through(sound: NDArray[np.int16], lost: set[int]) -> NDArray[np.int16]:
    concealer = AppendixI()
    parts = [
        concealer.missed() if n in lost else concealer.heard(sound[n * FRAME : (n + 1) * FRAME]) for n in range(FRAMES)
    ]
    return np.concatenate(parts)


def test_what_is_not_lost_comes_out_as_it_was_and_3_75_ms_later() -> None:
    sound = buzz(70)
    assert np.array_equal(through(sound, set())[QUARTER_MAX:], sound[:-QUARTER_MAX])


@pytest.mark.parametrize("period", [47, 70, 113])
def test_one_lost_frame_of_a_periodic_sound_is_not_heard(period: int) -> None:
    sound = buzz(period)
    off = through(sound, {10})[QUARTER_MAX:].astype(int) - sound[:-QUARTER_MAX]
    assert np.max(np.abs(off)) <= 1


def test_a_long_loss_fades_by_a_fifth_a_frame_and_is_silent_after_60_ms() -> None:
    sound = buzz(70)
    heard = through(sound, set(range(8, 20)))[QUARTER_MAX:].astype(float)
    levels = [float(np.sqrt(np.mean(heard[n * FRAME : (n + 1) * FRAME] ** 2))) for n in range(8, 15)]
    assert all(a > b for a, b in pairwise(levels))
    assert levels[3] / levels[0] == pytest.approx(0.5, abs=0.1)
    assert levels[6] == 0


def test_ours_is_better_than_appendix_i_where_packets_are_lost() -> None:
    """A part of benchmarks/g711_loss.py, in virtual time."""
    figures = np.mean([measure(((0.1, 1), clip, 0)) for clip in (0, 1, 2)], axis=0)
    silence, repeated, appendix_i, ours, _delay_ms = figures
    assert silence < repeated < appendix_i < ours
