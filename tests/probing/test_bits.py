"""Rounding of one layer is estimated as the file has it where that layer alone is int8."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from foreign.styles import STYLES, embedded, id_inputs

from tfshop._keras import keras
from tfshop.compression.rebuild import copy_model
from tfshop.data import Splits
from tfshop.data.binding import bind
from tfshop.export import Export
from tfshop.layers import OutputRange
from tfshop.models.rebuild import fresh
from tfshop.probing import sensitivity
from tfshop.probing.bits import Bits
from tfshop.probing.material import Material
from tfshop.runtime import Scorer
from tfshop.training.inputs import model_specs

layers = keras.layers
EXPORTER = Export("int8", ranges="minmax")  # what TensorFlow records is wider where an operator works in place
# What the file has in one operator goes with its first layer.
NAMES = ("first", "saturated", "normalized", "last")


@pytest.fixture(scope="module")
def planted(foreign_log: Splits) -> Any:
    """One unit of `saturated` gives hundreds before its tanh, so that 256 levels are few for the others.

    Its kernel does not suffer: each channel has a scale of its own.
    """
    keras.utils.set_random_seed(0)
    inputs = id_inputs(foreign_log.schema)
    hidden = layers.Concatenate()(embedded(foreign_log.schema, inputs))
    beside = layers.Dense(16, activation="relu", name="first")(hidden)
    hidden = layers.Dense(16, activation="tanh", name="saturated")(beside)
    hidden = layers.Dense(16, use_bias=False, name="normalized")(hidden)
    hidden = layers.Activation("relu")(layers.BatchNormalization(name="norm")(hidden))
    # The sum reads floats that `saturated` reads as integers.
    hidden = layers.Add(name="add_1")([hidden, beside])  # an operator of the normalization is called so too
    hidden = layers.Dense(8, activation="relu", name="last")(hidden)
    model = keras.Model(list(inputs.values()), layers.Dense(1, activation="sigmoid", name="click")(hidden))
    generator = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, layers.Embedding):
            layer.set_weights([20 * layer.get_weights()[0]])
    kernel, bias = model.get_layer("saturated").get_weights()
    kernel[:, 3] *= 300
    model.get_layer("saturated").set_weights([kernel, bias])
    model.get_layer("norm").set_weights([generator.uniform(*ends, 16) for ends in ((1, 2), (0, 1), (-1, 1), (0.1, 3))])
    return model


def logits_of(scores: Any) -> np.ndarray:
    chances = np.asarray(scores, np.float64).reshape(-1)
    return np.asarray(np.log(chances / (1 - chances)))


def logit_errors(model: Any, data: Splits, names: tuple[str, ...]) -> dict[str, float]:
    """Root mean square change of the logit in files where one layer is int8."""
    inputs = bind(data.validation.inputs, data.schema, model_specs(model))
    before = logits_of(model(list(inputs.values())))
    others_still = (layers.Embedding, layers.Flatten, layers.Concatenate, layers.Add)
    in_float = [layer.name for layer in model.layers if isinstance(layer, others_still)]
    found = {}
    for name in names:
        others = tuple(other for other in names if other != name)
        exporter = replace(EXPORTER, keep_float=(*in_float, *others))
        after = logits_of(Scorer(exporter.to_bytes(model, data))(inputs))
        found[name] = float(np.sqrt(np.mean((after - before) ** 2)))
    return found


def test_losses_are_those_of_files_with_one_layer_in_int8(planted: Any, foreign_log: Splits) -> None:
    measured = logit_errors(planted, foreign_log, NAMES)
    found = {t.layer: t.logit_error for t in sensitivity(planted, foreign_log, EXPORTER).trials}
    assert set(found) == set(NAMES)  # the head is in float in every file
    assert found == pytest.approx(measured, rel=0.01)
    assert sorted(found, key=found.get) == sorted(measured, key=measured.get)
    weights = {t.layer: t.logit_error for t in sensitivity(planted, foreign_log, Export("dynamic")).trials}
    assert max(found, key=found.get) == "saturated"
    assert weights["saturated"] < 0.1 * found["saturated"]  # which rounding of weights alone would not tell
    assert found["saturated"] > 5 * max(found[name] for name in NAMES if name != "saturated")


def test_a_shared_layer_has_ranges_for_each_of_its_calls(foreign_log: Splits) -> None:
    """A tanh of its own is a second tensor in both."""
    keras.utils.set_random_seed(0)
    model = STYLES["shared_layers"](foreign_log.schema)
    model.get_layer("tower").activation = keras.activations.tanh
    rows = model.get_layer("table").get_weights()[0]
    rows[: len(rows) // 2] *= 100
    model.get_layer("table").set_weights([rows])
    measured = logit_errors(model, foreign_log, ("tower", "second"))
    found = {t.layer: t.logit_error for t in sensitivity(model, foreign_log, EXPORTER).trials}
    assert found["tower"] == pytest.approx(measured["tower"], rel=0.01)
    assert found["second"] == pytest.approx(measured["second"], rel=0.1)  # the converter rounds a tanh kept in float
    material = Material(model, ("tower",), foreign_log, seed=0)
    assert [place.is_read for place in material.places("tower")] == [True, True, False, False, False, False]


def test_sixteen_bits_and_other_ranges_are_rounded_as_asked(planted: Any, foreign_log: Splits) -> None:
    percentiles = [Export("int8", ranges="percentile", percentile=percent) for percent in (99.99, 90.0)]
    exporters = (Export("int8"), Export("int16x8"), *percentiles)
    found = sensitivity(planted, foreign_log, [Bits((8,), exporter) for exporter in exporters])
    by_name = {t.technique: t.logit_error for t in found.trials if t.layer == "saturated"}
    assert by_name["Quantize (int16x8)"] < 0.2 * by_name["Quantize"]
    usual, narrow = (by_name[f"Quantize (ranges percentile{more})"] for more in ("", ", percentile 90.0"))
    assert narrow < 0.7 * usual, "behind a tanh what lies far out says little"


def test_what_is_rounded_is_what_the_converter_leaves_of_a_layer(planted: Any, foreign_log: Splits) -> None:
    """Sigmoid and its kin have a tensor before them; rectifier and normalization have none."""
    material = Material(planted, NAMES, foreign_log, seed=0)
    grids = {name: material.grids(name, Export(), 8) for name in NAMES}
    kinds = {name: [place.is_read for place in grids[name]] for name in NAMES}
    assert kinds == {**{name: [True, False] for name in NAMES}, "saturated": [True, False, False]}
    before, after = (grid for place, grid in grids["saturated"].items() if not place.is_read)
    assert before.maximum - before.minimum > 50
    assert after.scale == pytest.approx(1 / 128, rel=0.01) and after.zero_point == 0
    assert min(grid.minimum for place, grid in grids["normalized"].items() if not place.is_read) == 0  # of a ReLU


def test_layers_to_be_kept_in_float_are_left_alone(planted: Any, foreign_log: Splits) -> None:
    found = sensitivity(planted, foreign_log, Export("int8", keep_float=("saturated",)))
    assert set(found.layers) == {*NAMES} - {"saturated"}
    assert {"saturated", "click"} <= {row["layer"] for row in found.left_alone}
    assert "click" in sensitivity(planted, foreign_log, Export("int8_io")).layers  # which has no float at all


def test_each_row_of_a_table_has_a_scale_of_its_own(planted: Any, foreign_log: Splits) -> None:
    table = next(layer for layer in planted.layers if isinstance(layer, layers.Embedding))
    rows = table.get_weights()[0]
    table.set_weights([rows * np.logspace(0, 4, len(rows))[:, None]])
    change = Bits().change(Material(planted, (table.name,), foreign_log, seed=0), table.name, 8)
    uneven = table.get_weights()[0]
    table.set_weights([rows])
    gaps = np.abs(change.kernels[table.name] - uneven).max(axis=1) / np.abs(uneven).max(axis=1)
    assert 1e-4 < gaps.max() <= 0.5001 / 127


def test_ranges_that_were_trained_are_those_that_a_tensor_is_rounded_to(planted: Any, foreign_log: Splits) -> None:
    def ranged(layer: Any) -> Any:
        copied = fresh(layer)
        return OutputRange(copied, -0.5, 7.0) if layer.name == "last" else copied

    material = Material(copy_model(planted, ranged), ("last",), foreign_log, seed=0)
    (given,) = [grid for place, grid in material.grids("last", EXPORTER, 8).items() if not place.is_read]
    assert (given.maximum - given.minimum) == pytest.approx(7.5) and given.maximum == pytest.approx(7.0, abs=0.03)
