"""A layer changed on kept activations scores as the whole network with that layer changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from foreign.styles import STYLES
from helpers import same_weights
from networks import spread

from tfshop._keras import keras
from tfshop.compression.kernels import kernels_of
from tfshop.compression.rebuild import copy_model
from tfshop.data import Splits
from tfshop.export import Export
from tfshop.models import build_model
from tfshop.models.rebuild import inlined
from tfshop.probing.activations import Activations
from tfshop.probing.bench import Bench
from tfshop.probing.change import Change
from tfshop.probing.material import Material
from tfshop.probing.measuring import DENSE_HALF, _treated

from .conftest import run_in_full

OURS = ("dcn", "deepfm", "din")
THEIRS = (
    "interactions",
    "with_tf_ops",
    "normalized",
    "shared_layers",
    "nested",
    "custom_layers",
    "wide_and_deep",
    "preprocessed",
)


def bench_of(model: Any, data: Splits, **options: Any) -> Bench:
    return Bench(Material(model, _treated(model, DENSE_HALF), data, seed=0), data.validation, **options)


def assert_same_as_in_full(model: Any, data: Splits, **options: Any) -> None:
    spread(model)
    model = copy_model(model)  # Normalization takes what it reads from its weights once
    names = _treated(model, DENSE_HALF)
    bench = bench_of(model, data, **options)
    generator = np.random.default_rng(0)
    before = run_in_full(model, data.validation, {})
    for name in names:
        kernels = bench._material.kernels(name)
        if set(kernels) != {name}:
            continue  # several kernels: see the test of attention
        values = kernels[name].variable.numpy()
        changed = (values + generator.normal(0, 0.5, values.shape)).astype(np.float32)
        found = bench.changed_scores(name, Change({name: changed}, 0))
        expected = run_in_full(model, data.validation, {name: changed})
        np.testing.assert_allclose(found, expected, atol=2e-6, err_msg=name)
        assert np.abs(found - before).max() > 1e-3, name
    np.testing.assert_allclose(bench.changed_scores(names[0], Change({}, 0)), before, atol=1e-6)


@pytest.mark.parametrize("name", OURS)
def test_our_networks_score_as_if_run_in_full(name: str, clicks: Splits) -> None:
    assert_same_as_in_full(build_model(name, clicks.schema, dimension=4, hidden=(16, 8)), clicks)


@pytest.mark.parametrize("style", THEIRS)
def test_networks_of_others_score_as_if_run_in_full(style: str, foreign_log: Splits) -> None:
    keras.utils.set_random_seed(0)
    assert_same_as_in_full(inlined(STYLES[style](foreign_log.schema)), foreign_log)


def test_a_cut_too_large_for_memory_lies_in_a_file(clicks: Splits) -> None:
    assert_same_as_in_full(
        build_model("dcn", clicks.schema, dimension=4, hidden=(16,)), clicks, memory_bytes=0, batch_rows=100
    )


def test_masks_are_kept_with_what_they_belong_to(foreign_log: Splits) -> None:
    """An average over rows that are no padding changes when the mask is lost."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    rows = keras.layers.Embedding(max(foreign_log.schema.tables.values()), 4, mask_zero=True, name="table")(ids)
    rows = keras.layers.Dense(4, name="rows")(rows)
    rows = keras.layers.Dense(4, name="more", activation="relu")(rows)
    mean = keras.layers.GlobalAveragePooling1D()(rows)
    model = keras.Model(ids, keras.layers.Dense(1, activation="sigmoid", name="click")(mean))
    split = foreign_log.validation
    split.inputs["ids"][: split.num_rows // 2, 1] = 0
    assert_same_as_in_full(model, foreign_log)


def test_all_kernels_of_a_layer_are_changed_together(foreign_log: Splits) -> None:
    keras.utils.set_random_seed(0)
    model = STYLES["attention"](foreign_log.schema)
    spread(model)
    bench = bench_of(model, foreign_log)
    kernels = bench._material.kernels("heads")
    assert len(kernels) == 4
    halves = {name: kernel.variable.numpy() / 2 for name, kernel in kernels.items()}
    found = bench.changed_scores("heads", Change(halves, 0))
    ids = {id(kernel.variable) for kernel in kernels_of(model, ["heads"]).values()}
    weights = model.get_layer("heads").weights
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    other.get_layer("heads").set_weights([w.numpy() / 2 if id(w) in ids else w.numpy() for w in weights])
    np.testing.assert_allclose(found, run_in_full(other, foreign_log.validation, {}), atol=1e-6)


def test_only_what_lies_behind_a_layer_is_run_again(clicks: Splits) -> None:
    """Neither tables nor the other branch."""
    model = build_model("dcn", clicks.schema, dimension=4, hidden=(16, 8))
    activations = Activations(model, clicks.validation)
    dense = model.get_layer("dense_1")
    whole = {call.layer.name for call in activations.graph.calls_to(activations.graph.outputs, activations._inputs)}
    activations.move_before([dense.kernel])
    known = {**activations._inputs, **activations._cut}
    behind = {call.layer.name for call in activations.graph.calls_to(activations.graph.outputs, known)}
    assert {"dense_1", "logit"} <= behind < whole
    assert {"table", "dense_0", "cross_0_kernel", "cross_1_kernel"} <= whole - behind


def test_the_next_cut_is_computed_from_the_last(clicks: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tables are looked up once, for the first cut."""
    model = build_model("dcn", clicks.schema, dimension=4, hidden=(16, 8))
    activations = Activations(model, clicks.validation)
    activations.move_before([model.get_layer("dense_0").kernel])
    monkeypatch.setattr(type(model.get_layer("table")), "call", None)
    activations.move_before([model.get_layer("dense_1").kernel])
    assert activations.outputs()().shape == (clicks.validation.num_rows, 1)


def test_only_one_cut_is_kept(clicks: Splits) -> None:
    model = build_model("mlp", clicks.schema, dimension=4, hidden=(16, 8))
    activations = Activations(model, clicks.validation)
    sizes = []
    for name in ("dense_0", "dense_1", "logit"):
        activations.move_before([model.get_layer(name).kernel])
        sizes.append(activations.kept_bytes)
    assert sizes[1:] == [4 * 16 * clicks.validation.num_rows, 4 * 8 * clicks.validation.num_rows]


def test_a_fixed_unit_can_be_removed_without_any_change(clicks: Splits) -> None:
    """Its mean times what reads it goes into the bias of the next layer."""
    model = build_model("mlp", clicks.schema, dimension=4, hidden=(16, 8))
    spread(model)
    bench = bench_of(model, clicks)
    fixed = {1: 0.3, 5: -0.2}
    found = bench.changed_scores("dense_1", Change({}, 0, 0, fixed))
    kernel, bias = model.get_layer("logit").get_weights()
    bias = bias + sum(value * kernel[unit] for unit, value in fixed.items())
    kernel[list(fixed)] = 0
    other = keras.models.clone_model(model)
    other.set_weights(model.get_weights())
    other.get_layer("logit").set_weights([kernel, bias])
    np.testing.assert_allclose(found, run_in_full(other, clicks.validation, {}), atol=1e-6)


def test_a_layer_is_put_back_when_a_trial_breaks_off(clicks: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build_model("mlp", clicks.schema, dimension=4, hidden=(16, 8))
    bench = bench_of(model, clicks)
    before = bench._material.model.get_weights()
    zeros = np.zeros_like(model.get_layer("dense_0").kernel.numpy())
    plain = bench.changed_scores("dense_0", Change({}, 0))

    def stop() -> None:
        raise KeyboardInterrupt

    grids = bench._material.grids("dense_0", Export(), 8)
    change = Change({"dense_0": zeros}, 0, 0, {1: 2.0}, grids)
    monkeypatch.setattr(bench, "_run", stop)
    with pytest.raises(KeyboardInterrupt):
        bench.changed_scores("dense_0", change)
    assert same_weights(before, bench._material.model.get_weights())
    monkeypatch.undo()
    assert np.array_equal(bench.changed_scores("dense_0", Change({}, 0)), plain)
