"""Tables of networks of others, and of several targets, train on in their codes; and the smallest recipe as it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from foreign.conftest import click_schema, click_table
from foreign.styles import STYLES
from helpers import apply_once, first_rows

import tfshop as ts
from tfshop._keras import keras
from tfshop.compression import Candidate, EncodeTables, TuneTables
from tfshop.data import RandomSplit, Splits, prepare
from tfshop.errors import PlanError
from tfshop.evaluation.audit import audit_file
from tfshop.evaluation.coded_tables import require_codes
from tfshop.evaluation.measured import Measured
from tfshop.export import Export
from tfshop.pipeline import Goal, pursue
from tfshop.runtime import Scorer, read_graph
from tfshop.runtime.inventory import bytes_by_part
from tfshop.runtime.stripping import stripped
from tfshop.tables import Int2, lookup_layers
from tfshop.training import predict, train

COARSE = Int2("table", choice="max", grid="mid-tread")  # three levels, two of them hardly used


@pytest.fixture(scope="module")
def log() -> Splits:
    return prepare(click_table(2000), click_schema(), split=RandomSplit(seed=0), batch_size=128)


@pytest.mark.parametrize("style", ["plain", "shared_layers", "nested"])
def test_tables_of_others_learn_and_the_file_has_what_they_learned(style: str, log: Splits) -> None:
    model = STYLES[style](log.schema)
    train(model, log, epochs=2, learning_rate=5e-3)
    made = TuneTables(COARSE, epochs=5).apply(Candidate(model, log.schema), log, seed=0)
    notes = made.history[-1].notes
    assert notes["kept"] == "tuned" and notes["validation_auc"]["tuned"] > notes["validation_auc"]["coded"]
    lookups = lookup_layers(made.model)
    assert lookups and all(notes["steps"][name]["changed_bytes"] > 0 for name in notes["steps"])
    content = Export("float32").to_bytes(made.model, log)
    audit_file(content, made.model, log, mode="float32")
    scores = Scorer(content, schema=log.schema).score_split(log.validation)
    np.testing.assert_allclose(scores.ravel(), predict(made.model, log.validation).ravel(), atol=1e-5)


def test_tables_that_are_not_trainable_stay_as_they_are_coded(log: Splits) -> None:
    """Such as rows that were trained elsewhere."""
    model = STYLES["plain"](log.schema)
    tables = [layer for layer in model.layers if isinstance(layer, keras.layers.Embedding)]
    still, *learning = tables
    still.trainable = False
    made = TuneTables(COARSE, epochs=1, learning_rate=0.1).apply(Candidate(model, log.schema), log, seed=0)
    coded = EncodeTables(COARSE).apply(Candidate(model, log.schema), log, seed=0)
    notes = made.history[-1].notes
    assert learning and set(notes["steps"]) == {layer.name for layer in learning}
    assert {row["layer"]: row["reason"] for row in notes["left_alone"]}[still.name].endswith("trainable=False")
    own, wanted = (one.model.get_layer(still.name) for one in (made, coded))
    assert all(np.array_equal(own.stored()[key], array) for key, array in wanted.stored().items())
    assert not own.trainable and made.model.get_layer(learning[0].name).trainable
    for layer in learning:
        layer.trainable = False
    with pytest.raises(PlanError, match=r"that can learn.*of a table that is trainable. Fix:.*trainable=True"):
        TuneTables(COARSE).check(model, log.schema)


def test_tables_of_several_targets_learn_for_all_of_them(trained_several: Any, two_targets: Splits) -> None:
    made = TuneTables(COARSE, epochs=2).apply(Candidate(trained_several, two_targets.schema), two_targets, seed=0)
    notes = made.history[-1].notes
    assert notes["validation_auc"]["tuned"] >= notes["validation_auc"]["coded"] + 0.001
    content = Export("float32").to_bytes(made.model, two_targets)
    assert set(read_graph(content).outputs) == {"probability_clicked", "probability_bought"}
    audit_file(content, made.model, two_targets, mode="float32")


@pytest.fixture(scope="module")
def one_student() -> Iterator[None]:
    """Recipes that differ in their last step begin with the same student and tables."""
    with pytest.MonkeyPatch.context() as patch:
        apply_once(patch, ts.Distill, ts.AllocateTables, ts.TuneTables)
        yield


@pytest.mark.usefixtures("one_student")
@pytest.mark.parametrize("bits", [8, 4])
def test_the_smallest_recipe_makes_the_file_it_says(
    bits: int, trained_mlp: Any, clicks: Splits, baseline: Measured
) -> None:
    plan = ts.recipes.tiny(width=16, dimension=4, max_bytes=0.06, bits=bits)
    result = pursue(trained_mlp, clicks, plan, Goal(baseline=baseline, timed=False))
    content, notes = result.measured.content, result.candidate.history
    graph = read_graph(content)
    assert len(stripped(content)) == len(content)
    told = next(record.notes for record in notes if "allocation" in record.notes)
    require_codes(graph, result.candidate.model)
    stored = [array for layer in lookup_layers(result.candidate.model).values() for array in layer.stored().values()]
    assert sum(array.nbytes for array in stored) == told["bytes"][1] >= bytes_by_part(content)["tables"] > 0
    assert ("int4" in {tensor.dtype for tensor in graph.tensors}) == (bits == 4)
    assert len(content) < 0.25 * len(result.baseline.content)
    rows = first_rows(clicks.validation.inputs, 200)
    before, after = Scorer(result.baseline.content)(rows), Scorer(content)(rows)
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.7
