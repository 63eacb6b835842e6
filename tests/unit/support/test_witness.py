"""Who judges whether a failed hearing counts must itself be judged."""

from __future__ import annotations

import pytest

from tests.support import witness
from tests.support.witness import Machine, Witness


@pytest.mark.parametrize(
    ("machine", "short"),
    [
        (Machine(20.0, 0.10, 0.0, 0, 0.004), False),
        (Machine(20.0, 0.60, 0.0, 0, 0.004), True),
        (Machine(20.0, 0.10, 0.05, 0, 0.004), True),
        (Machine(20.0, 0.10, 0.0, 3, 0.2), True),
    ],
)
def test_a_machine_is_short_by_any_of_three_signs(machine: Machine, short: bool) -> None:
    assert machine.short is short


def test_pressure_is_read_from_the_kernel_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter((100.0, 160.0))  # a minute of waiting in whatever time the test takes
    monkeypatch.setattr(witness, "waited_s", lambda: next(clock))
    monkeypatch.setattr(witness, "stolen_and_all", lambda: (0, 1_000))
    with Witness() as watching:
        pass
    assert watching.machine.waiting > 1.0
    assert watching.machine.short
    assert "waited" in str(watching.machine)


def test_the_kernel_counts_only_upwards() -> None:
    before, (stolen, ticks) = witness.waited_s(), witness.stolen_and_all()
    assert witness.waited_s() >= before >= 0.0
    now_stolen, now_ticks = witness.stolen_and_all()
    assert now_ticks >= ticks > 0
    assert now_stolen >= stolen >= 0
