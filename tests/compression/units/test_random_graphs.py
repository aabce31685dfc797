"""Whatever a network looks like: without units that are exactly zero it gives the same, from fewer parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tfshop.compression.units.groups import groups
from tfshop.compression.units.scoring import Judge, unit_scores
from tfshop.compression.units.selection import Limits, choose
from tfshop.compression.units.surgery import shrunk
from tfshop.compression.units.trace import follow
from tfshop.models.rebuild import inlined

from .graphs import RARE, STEPS, Growth, networks, rows, some_of, zeroed

HOLDING = {"normalized_rows": "mean and variance", "learned_activation": "what Dense does to single units is not known"}
quietly = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@quietly
@given(networks())
def test_without_units_that_are_zero_the_outputs_are_the_same(model: Any) -> None:
    flat = inlined(model)
    trace = follow(flat)
    gone = some_of(groups(trace.ledger), 0.5)
    assert gone or not groups(trace.ledger)
    zeroed(trace, gone)
    given_rows = rows(flat)
    expected = flat(given_rows, training=False).numpy()
    smaller = shrunk(trace, gone)
    np.testing.assert_allclose(smaller(given_rows, training=False).numpy(), expected, atol=1e-6)
    assert smaller.count_params() < flat.count_params() or not gone


@quietly
@given(networks())
def test_units_that_are_zero_go_first(model: Any) -> None:
    flat = inlined(model)
    trace = follow(flat)
    found = groups(trace.ledger)
    zero = some_of(found, 0.75)
    zeroed(trace, zero)
    scores = unit_scores(trace, found, Judge("magnitude"), None, seed=0)  # type: ignore[arg-type]
    assert all(scores[atom] == 0 for atom in zero)
    gone = choose(found, scores, 0.2, Limits(minimum=1))
    given_rows = rows(flat)
    smaller = shrunk(trace, gone & zero)
    np.testing.assert_allclose(smaller(given_rows).numpy(), flat(given_rows).numpy(), atol=1e-6)
    room = {atom for group in found for atom in group.atoms}
    assert len(gone & zero) >= min(len(gone), len(zero & room) // 2)


@pytest.mark.parametrize("step", [*STEPS, *RARE])
def test_each_step_lets_units_before_it_go_or_says_why(step: str) -> None:
    """The random networks would prove nothing if a rule held everything back."""

    growth = Growth(_first)
    growth.step(step)
    trace = follow(inlined(growth.model()))
    freed = {owner for group in groups(trace.ledger) for owner in group.owners}
    first = growth.tensors[0]._keras_history.layer.name
    reason = trace.ledger.reason(trace.tensors[id(trace.model.get_layer(first).output)][-1][0])
    assert (first in freed) == (step not in HOLDING), reason
    assert HOLDING.get(step, "") in str(reason)


def _first(strategy: Any) -> Any:
    """The first of everything."""
    return strategy.elements[0] if hasattr(strategy, "elements") else 0
