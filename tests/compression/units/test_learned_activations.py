"""A layer whose activation has weights keeps its units, and no other loses any at its cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from networks import spread

from tfshop._keras import keras
from tfshop.compression import Candidate, DropFeatures, LowRank, PruneUnits
from tfshop.compression.units.groups import groups
from tfshop.compression.units.surgery import shrunk
from tfshop.compression.units.trace import follow
from tfshop.data import Splits
from tfshop.training.inputs import model_specs

from .graphs import some_of, zeroed

layers = keras.layers

LEARNED: Mapping[str, Callable[[], Any]] = {
    "dense": lambda: layers.Dense(12, activation=layers.PReLU(), name="own"),
    "einsum": lambda: layers.EinsumDense("bi,iu->bu", (12,), activation=layers.PReLU(), bias_axes="u", name="own"),
    "without bias": lambda: layers.Dense(12, activation=layers.PReLU(), use_bias=False, name="own"),
}


def network(data: Splits, kind: str = "dense") -> Any:
    """A tower with such a layer in the middle."""
    inputs = {f"id_{number}": keras.Input((1,), dtype="int32", name=f"id_{number}") for number in range(3)}
    sizes = data.schema.tables
    fields = [layers.Flatten()(layers.Embedding(sizes[name], 6)(tensor)) for name, tensor in inputs.items()]
    hidden = layers.Dense(16, activation="relu", name="before")(layers.Concatenate()(fields))
    hidden = LEARNED[kind]()(layers.Dense(16, activation="relu", name="between")(hidden))
    hidden = layers.Dense(16, activation="relu", name="behind")(hidden)
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="probability")(hidden), name="learned")
    spread(model)
    return model


def rows_of(model: Any, data: Splits) -> dict[str, np.ndarray]:
    inputs, _ = next(iter(data.validation.take(50).with_batch_size(50).batches(inputs=model_specs(model))))
    return {name: np.asarray(values) for name, values in inputs.items()}


@pytest.mark.parametrize("kind", LEARNED)
def test_units_around_it_go_and_its_own_are_listed(kind: str, clicks: Splits) -> None:
    model = network(clicks, kind)
    step = PruneUnits(0.5, epochs=0)
    step.check(model, clicks.schema)
    assert step.foreseen(model, clicks.schema).get_layer("before").units == 8
    after = step.apply(Candidate(model, clicks.schema), clicks, seed=0)
    assert {name: after.model.get_layer(name).units for name in ("before", "between", "behind")} == {
        "before": 8,
        "between": 16,
        "behind": 8,
    }
    reasons = {row["layer"]: row["reason"] for row in after.history[0].notes["left_alone"]}
    assert "there is no rule for" in reasons["own"] and "to single units is not known" in reasons["between"]


def test_units_that_are_zero_go_and_the_scores_stay(clicks: Splits) -> None:
    model = network(clicks)
    trace = follow(model)
    gone = some_of(groups(trace.ledger), 0.5)
    zeroed(trace, gone)
    given = rows_of(model, clicks)
    np.testing.assert_allclose(shrunk(trace, gone)(given).numpy(), model(given).numpy(), atol=1e-6)


def test_features_go_and_it_reads_the_rest(clicks: Splits) -> None:
    model = network(clicks)
    step = DropFeatures(("id_1",), epochs=0)
    step.check(model, clicks.schema)
    after = step.apply(Candidate(model, clicks.schema), clicks, seed=0).model
    given = rows_of(model, clicks)
    for name in given:
        changed = {**given, name: (given[name] + 7) % 50}
        assert np.array_equal(after(changed).numpy(), after(given).numpy()) == (name == "id_1")


def test_its_kernel_has_a_low_rank_by_what_the_scores_make_of_it(clicks: Splits) -> None:
    model = network(clicks)
    kernel, *rest = model.get_layer("own").get_weights()
    left, right = kernel[:, :2], kernel[:2]
    model.get_layer("own").set_weights([left @ right, *rest])
    step = LowRank(rank={"own": 2}, epochs=0)
    step.check(model, clicks.schema)
    after = step.apply(Candidate(model, clicks.schema), clicks, seed=0)
    (row,) = after.history[0].notes["factored"]
    assert row["layer"] == "own" and row["expected_loss"] < 1e-6
    given = rows_of(model, clicks)
    np.testing.assert_allclose(after.model(given).numpy(), model(given).numpy(), atol=1e-5)
