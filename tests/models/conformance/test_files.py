"""Every network as a float32 file."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import first_rows
from networks import file_outputs, needs, pointwise

from models.conformance.shared import MOST_ROWS, Files, Scored, each_network_and_kind
from tfshop.data import Splits
from tfshop.runtime import Scorer, read_graph

MOST_OPERATORS = 150


@each_network_and_kind
def test_the_float32_file_has_builtin_operators_and_the_scores_of_keras(
    name: str, kind: str, scored: Scored, file: Files, kinds: dict[str, Splits]
) -> None:
    """At batch 1, 7 and 512, in one interpreter and in one for each, holes in the numerics included."""
    content, data = file(name, kind), kinds[kind]
    graph = read_graph(content)
    assert graph.custom_operators == ()
    assert set(graph.inputs) == set(data.schema.input_specs()) and set(graph.outputs) == set(needs(name).outputs)
    shared = Scorer(content)
    for batch in (1, 7, MOST_ROWS):
        rows = first_rows(data.train.inputs, batch)
        found, alone = file_outputs(shared, rows), file_outputs(Scorer(content, batch_size=batch), rows)
        for output, expected in scored(name, kind).items():
            assert np.abs(found[output] - expected[:batch]).max() <= 1e-5
            assert np.abs(alone[output] - expected[:batch]).max() <= 1e-5
            assert batch < MOST_ROWS or (len(np.unique(expected)) > 300 and np.isfinite(expected).all())
    assert "numeric" not in rows or np.isnan(rows["numeric"]).any()


@pytest.mark.parametrize("name", pointwise())
def test_a_file_of_26_ids_has_few_operators(name: str, file: Files) -> None:
    assert len(read_graph(file(name, "ids")).all_operators) <= MOST_OPERATORS
