"""Heads, maps, ranks and gates that are exactly zero go from networks of ours, and no score changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from helpers import first_rows
from networks import keras_outputs

from tfshop.compression.units.groups import groups
from tfshop.compression.units.surgery import shrunk
from tfshop.compression.units.trace import Trace, follow
from tfshop.data import Splits
from tfshop.models.rebuild import inlined

from .graphs import some_of, zeroed

# What is special in each, beside the neurons of a tower.
NETWORKS = {
    "xdeepfm": "maps of a compressed interaction network",
    "autoint": "heads of field attention",
    "bst": "heads of a MultiHeadAttention with masks",
    "dcn_mix": "ranks of gated crosses",
    "fibinet": "squeeze and excitation",
    "masknet": "masks and normalizations",
    "edcn": "bridges and regulation between towers",
    "dlrm": "towers whose ends meet in products",
    "din": "attention over a history",
    "two_tower": "vectors of length one",
    "mmoe": "units of experts and gates",
    "ple": "experts of several levels",
}


def without_experts(trace: Trace, atoms: set[int]) -> set[int]:
    """A softmax shares out what an expert had among the others: without one, even one of zeros, scores change."""
    experts = {atom for group in groups(trace.ledger) if group.kind == "expert" for atom in group.atoms}
    return atoms - experts


@pytest.fixture
def followed(name: str, richest: Callable[[str], tuple[Any, Splits]]) -> Iterator[tuple[Trace, dict[str, np.ndarray]]]:
    """The trace of a small network, whose weights come back in the end, and rows to score."""
    model, data = richest(name)
    weights = model.get_weights()
    yield follow(inlined(model)), first_rows(data.validation.inputs, 40)
    model.set_weights(weights)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_zero_goes_and_no_score_changes(name: str, followed: tuple[Trace, dict[str, np.ndarray]]) -> None:
    trace, rows = followed
    flat = trace.model
    gone = without_experts(trace, some_of(groups(trace.ledger), 0.5))
    assert {group.kind for group in groups(trace.ledger) if set(group.atoms) & gone} >= (
        {"head"} if name in ("autoint", "bst") else {"unit"}
    )
    zeroed(trace, gone)
    wanted = keras_outputs(flat, rows)
    smaller = shrunk(trace, gone)
    assert smaller.count_params() < flat.count_params()
    for output, scores in keras_outputs(smaller, rows).items():
        np.testing.assert_allclose(scores, wanted[output], atol=1e-6)


@pytest.mark.parametrize("name", ["dcn_mix", "mmoe", "ple"])
def test_an_expert_of_zeros_behind_a_softmax_is_missed(followed: tuple[Trace, dict[str, np.ndarray]]) -> None:
    """Why experts are left out above, and why `PruneUnits` trains for an epoch after taking one out."""
    trace, rows = followed
    flat = trace.model
    gone = some_of(groups(trace.ledger), 0.5)
    gone -= without_experts(trace, gone)
    assert gone
    zeroed(trace, gone)
    wanted, found = keras_outputs(flat, rows), keras_outputs(shrunk(trace, gone), rows)
    assert max(np.abs(found[output] - wanted[output]).max() for output in wanted) > 1e-4
