"""Sparsity rises over the steps that are really run."""

from __future__ import annotations

import pytest

from tfshop.compression.schedules import Rise


@pytest.mark.parametrize("steps", [3, 5, 19, 100, 12345])
@pytest.mark.parametrize("updates", [10, 60])
def test_the_rise_ends_before_the_steps_do(steps: int, updates: int) -> None:
    levels = Rise("polynomial", steps, updates).levels
    assert list(levels.values()) == sorted(levels.values()) and max(levels.values()) == 1.0
    assert max(levels) <= max(1, 0.6 * steps) and len(levels) <= 2 * updates
    assert all(0 < level <= 1 for level in levels.values())


@pytest.mark.parametrize(("schedule", "steps"), [("constant", 50), ("one_shot", 50), ("polynomial", 2)])
def test_others_are_there_from_the_first_step(schedule: str, steps: int) -> None:
    assert Rise(schedule, steps, 60).levels == {0: 1.0}
