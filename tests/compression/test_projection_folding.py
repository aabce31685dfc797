"""Projections of short rows in the kernels that read them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from foreign.conftest import click_schema, click_table
from foreign.styles import STYLES
from helpers import first_rows, keras_scores

from tfshop._keras import keras, tf
from tfshop.compression import Candidate, EncodeTables, LowRank, Prune, TuneTables
from tfshop.data import RandomSplit, Splits, prepare
from tfshop.errors import PlanError
from tfshop.evaluation.audit import audit_file
from tfshop.export import Export, chain
from tfshop.export.plan import Plan
from tfshop.layers import HashSum
from tfshop.layers.shapes import Reshaped
from tfshop.runtime import read_graph
from tfshop.runtime.inventory import bytes_by_part
from tfshop.tables import Grouped, Int4, Int8, LowRankTable, RowCounts, lookup_layers
from tfshop.tables.integer_lookup import IntegerLookup

layers = keras.layers
SHORT = LowRankTable(3)


def encoded(model: Any, data: Splits, codec: Any = SHORT, *, fold: bool = True) -> Candidate:
    step = EncodeTables(codec, fold=fold)
    step.check(model, data.schema)
    return step.apply(Candidate(model, data.schema), data, seed=0)


def told(candidate: Candidate) -> dict[str, Any]:
    return {row["layer"]: row["folded_into"] or row["reason"] for row in candidate.history[-1].notes["projections"]}


@pytest.fixture(scope="module")
def log() -> Splits:
    return prepare(click_table(800), click_schema(), split=RandomSplit(seed=0), batch_size=128)


@pytest.fixture(scope="module")
def folded(trained_mlp: Any, clicks: Splits) -> Candidate:
    return encoded(trained_mlp, clicks)


def test_the_next_kernel_takes_the_projection_in(folded: Candidate, trained_mlp: Any, clicks: Splits) -> None:
    """Also that of a history, whose rows are averaged on their way."""
    kept = encoded(trained_mlp, clicks, fold=False)
    rows = first_rows(clicks.validation.inputs, 500)
    assert told(folded) == {"table": ["dense_0"]} and "projections" not in kept.history[-1].notes
    np.testing.assert_allclose(keras_scores(folded.model, rows), keras_scores(kept.model, rows), atol=1e-5)
    assert np.ptp(keras_scores(kept.model, rows)) > 0.2
    lookup, before = folded.model.get_layer("table"), kept.model.get_layer("table")
    assert isinstance(lookup, IntegerLookup) and lookup.dimension == 3
    assert np.array_equal(lookup.stored()["codes"], before.stored()["rows_codes"])
    kernel, other = (model.get_layer("dense_0").get_weights()[0] for model in (folded.model, trained_mlp))
    assert kernel.shape == (len(other) // 8 * 3, other.shape[1])  # four fields of three numbers instead of eight
    assert 0.1 < np.abs(folded.rows["table"]).mean() / np.abs(lookup.table()).mean() < 10
    np.testing.assert_allclose(folded.rows["table"], lookup.table(), atol=0.1 * np.abs(lookup.table()).max())


@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_the_file_has_no_projection(mode: str, folded: Candidate, trained_mlp: Any, clicks: Splits) -> None:
    contents = [
        Export(mode, calibration_rows=512).to_bytes(model, clicks)
        for model in (folded.model, encoded(trained_mlp, clicks, fold=False).model)
    ]
    audit_file(contents[0], folded.model, clicks, mode=mode)
    sizes = [bytes_by_part(content) for content in contents]
    notes = folded.history[-1].notes
    num_rows = sum(clicks.schema.tables.values())
    assert notes["bytes"][1] == SHORT.codec.num_bytes(num_rows, 3) == SHORT.num_bytes(num_rows, 8) - 4 * 3 * 8
    assert notes["tables"][0]["blocks"][0]["bytes"] == notes["bytes"][1] == sizes[0]["tables"]
    kernel = (4 * 5 * 64 + 3 * 8) * (4 if mode == "float32" else 1)  # five numbers fewer of four fields
    assert sizes[1]["dense"] - sizes[0]["dense"] >= kernel
    kinds = [[o.kind for o in read_graph(content).operators].count("FULLY_CONNECTED") for content in contents]
    assert kinds[0] == kinds[1] - 1


@pytest.mark.parametrize("style", ["plain", "scalar_inputs", "normalized"])
def test_tables_of_others_meet_in_one_kernel(style: str, log: Splits) -> None:
    model = STYLES[style](log.schema)
    made, kept = encoded(model, log), encoded(model, log, fold=False)
    tables = set(lookup_layers(made.model))
    assert told(made) == {name: ["first"] for name in tables}
    np.testing.assert_allclose(keras_predictions(made.model, log), keras_predictions(kept.model, log), atol=1e-5)
    assert made.model.get_layer("first").kernel.shape[0] == model.get_layer("first").kernel.shape[0] - len(tables)


def keras_predictions(model: Any, log: Splits) -> np.ndarray:
    """Scores for random inputs, whatever a network calls them."""
    random = np.random.default_rng(0)
    inputs = {}
    for tensor in model.inputs:
        shape = (200, *tensor.shape[1:])
        whole = tf.as_dtype(tensor.dtype).is_integer
        most = min(log.schema.tables.values())
        values = random.integers(0, most, shape) if whole else random.normal(size=shape)
        inputs[tensor._keras_history.layer.name] = values.astype(tf.as_dtype(tensor.dtype).name)
    given = inputs if isinstance(model._nested_inputs, dict) else [inputs[name] for name in model.input_names]
    return np.ravel(tf.nest.flatten(model(given))[0].numpy())


def network(join: Callable[[Any, Any], Any], *, width: int = 4) -> Any:
    """Two tables, one looked up in three columns, and what `join` makes of their rows."""
    first, second = keras.Input((3,), dtype="int32", name="first"), keras.Input((1,), dtype="int32", name="second")
    keras.utils.set_random_seed(0)
    rows = layers.Embedding(50, width, name="one")(first), layers.Embedding(60, width, name="two")(second)
    hidden = layers.Dense(8, activation="relu", name="dense")(join(*rows))
    return keras.Model([first, second], layers.Dense(1, activation="sigmoid", name="score")(hidden))


def flat(rows: Any) -> Any:
    return layers.Flatten()(rows)


FOLDABLE: dict[str, Callable[[Any, Any], Any]] = {
    "flattened": lambda one, two: layers.Concatenate()([flat(one), flat(two)]),
    "joined as fields": lambda one, two: flat(layers.Concatenate(axis=1)([one, two])),
    "laid out anew": lambda one, two: layers.concatenate([layers.Reshape((-1,))(one), Reshaped((4,))(two)]),
    "averaged": lambda one, two: layers.concatenate([layers.GlobalAveragePooling1D()(one), flat(two)]),
    "added up": lambda one, two: layers.concatenate([flat(HashSum([2, 1])(one)), flat(two)]),
    "each by a kernel": lambda one, two: layers.concatenate([flat(layers.Dense(5)(one)), flat(layers.Dense(5)(two))]),
    "dropped": lambda one, two: layers.Dropout(0.5)(layers.concatenate([flat(two), flat(one)])),
}
STAYING: dict[str, tuple[Callable[[Any, Any], Any], dict[str, Any]]] = {
    "a product": (
        lambda one, two: flat(layers.Multiply()([one, two])),
        {"one": "Multiply", "two": "Multiply"},
    ),
    "attention beside": (
        lambda one, two: layers.concatenate([flat(layers.Attention()([one, one])), flat(two)]),
        {"one": "Attention", "two": ["dense"]},
    ),
    "several readers": (
        lambda one, two: layers.concatenate([flat(one), flat(two), flat(layers.Activation("tanh")(two))]),
        {"one": ["dense"], "two": "is no linear layer"},
    ),
    "read twice": (
        lambda one, two: layers.concatenate([flat(one), flat(two), flat(two)]),
        {"one": "reads it twice", "two": "reads it twice"},
    ),
    "called twice": (
        lambda one, two: layers.concatenate([*map(layers.Dense(5), (flat(one), flat(one))), flat(two)]),
        {"one": "several calls", "two": ["dense"]},
    ),
    "cut apart": (
        lambda one, two: layers.concatenate([flat(one), flat(layers.Reshape((2, 2))(two))]),
        {"one": ["dense"], "two": "cuts its rows apart"},
    ),
}


@pytest.mark.parametrize("join", FOLDABLE)
def test_rows_may_be_moved_joined_and_averaged_on_their_way(join: str, log: Splits) -> None:
    model = network(FOLDABLE[join])
    made, kept = small(model, log, fold=True), small(model, log, fold=False)
    (one,), (two,) = told(made)["one"], told(made)["two"]
    assert (one == two == "dense") == (join != "each by a kernel")
    np.testing.assert_allclose(keras_predictions(made.model, log), keras_predictions(kept.model, log), atol=1e-5)
    for name in {one, two}:
        assert made.model.get_layer(name).kernel.shape[0] == model.get_layer(name).kernel.shape[0] // 4 * 3


@pytest.mark.parametrize("join", STAYING)
def test_where_more_than_a_kernel_reads_a_table_its_projection_stays(join: str, log: Splits) -> None:
    build, wanted = STAYING[join]
    model = network(build)
    made, kept = small(model, log, fold=True), small(model, log, fold=False)
    assert set(told(made)) == set(wanted)
    for name, found in told(made).items():
        assert found == wanted[name] or wanted[name] in found
        assert (made.model.get_layer(name).dimension == 3) == isinstance(wanted[name], list)
    np.testing.assert_allclose(keras_predictions(made.model, log), keras_predictions(kept.model, log), atol=1e-5)


def small(model: Any, log: Splits, *, fold: bool, codec: Any = SHORT) -> Candidate:
    """Coded without counting ids: the columns of these networks are not those of the data."""
    with pytest.MonkeyPatch.context() as patch:
        sizes = {layer.name: layer.input_dim for layer in model.layers if hasattr(layer, "input_dim")}
        counts = {name: RowCounts(np.ones(size), np.ones(size)) for name, size in sizes.items()}
        patch.setattr("tfshop.compression.encode_tables.expected_counts", lambda *_: counts)
        patch.setattr("tfshop.compression.encode_tables.require_copyable", lambda *_: None)
        return EncodeTables(codec, fold=fold).apply(Candidate(model, log.schema), log, seed=0)


def test_ranks_that_differ_by_table_go_side_by_side_and_not_as_fields(log: Splits) -> None:
    codecs = {"one": LowRankTable(3), "two": LowRankTable(2, Int4())}
    beside = small(network(FOLDABLE["flattened"]), log, fold=True, codec=codecs)
    assert told(beside) == {"one": ["dense"], "two": ["dense"]}
    assert beside.model.get_layer("dense").kernel.shape[0] == 3 * 3 + 2
    fields = small(network(FOLDABLE["joined as fields"]), log, fold=True, codec=codecs)
    assert set(told(fields)) == {"one", "two"} and all("another length" in str(why) for why in told(fields).values())


@pytest.mark.parametrize(
    "codec", [Grouped((LowRankTable(4), LowRankTable(2)), split=(0.8,)), {"id_0": SHORT, "id_1": Int8()}], ids=repr
)
def test_rows_of_several_lengths_in_one_table_keep_their_projections(
    codec: Any, trained_mlp: Any, clicks: Splits
) -> None:
    made, kept = encoded(trained_mlp, clicks, codec), encoded(trained_mlp, clicks, codec, fold=False)
    assert "other lengths" in told(made)["table"]
    rows = first_rows(clicks.validation.inputs, 100)
    np.testing.assert_array_equal(keras_scores(made.model, rows), keras_scores(kept.model, rows))


def test_zeros_and_shared_weights_of_kernels_stay(trained_mlp: Any, clicks: Splits) -> None:
    model = keras.models.clone_model(trained_mlp)
    model.set_weights(trained_mlp.get_weights())
    kernel, bias = model.get_layer("dense_0").get_weights()
    for changed, why in ((np.where(kernel > 0, kernel, 0), "zeros"), (np.sign(kernel), "shared weights")):
        model.get_layer("dense_0").set_weights([changed, bias])
        made = encoded(model, clicks)
        assert why in told(made)["table"]
        assert np.array_equal(made.model.get_layer("dense_0").get_weights()[0], changed)


def test_kernels_that_are_held_to_something_stay(log: Splits) -> None:
    """A constraint would cut the folded kernel in its first step."""
    model = network(FOLDABLE["flattened"])
    dense = model.get_layer("dense")
    dense.kernel_constraint = keras.constraints.NonNeg()
    dense.set_weights([np.abs(weight) + 1e-3 for weight in dense.get_weights()])
    made = small(model, log, fold=True)
    assert all("'dense' (Dense) holds its kernel to NonNeg" in str(why) for why in told(made).values())
    assert np.array_equal(made.model.get_layer("dense").get_weights()[0], dense.get_weights()[0])


def test_products_of_fields_keep_the_projection(trained_deepfm: Any, clicks: Splits) -> None:
    made = encoded(trained_deepfm, clicks, {"table": SHORT})
    assert "reads it, and is not known to be linear" in told(made)["table"]
    assert made.model.get_layer("table").dimension == 8


def test_later_passes_are_checked_on_short_rows(folded: Candidate, trained_mlp: Any, clicks: Splits) -> None:
    foreseen = EncodeTables(SHORT).foreseen(trained_mlp, clicks.schema)
    shapes = [[layer.output_shape for layer in model.layers] for model in (foreseen, folded.model)]
    assert shapes[0] == shapes[1]
    kernels = [model.get_layer("dense_0").kernel.shape for model in (foreseen, folded.model)]
    assert kernels[0] == kernels[1]
    chain(EncodeTables(SHORT), LowRank(rank=3), Prune(0.5), Export("int8")).check(trained_mlp, clicks.schema)


def test_short_rows_learn_beside_their_kernel_and_the_whole_network_teaches(
    trained_mlp: Any, clicks: Splits, teachers: list[Any]
) -> None:
    step = TuneTables(LowRankTable(1, Int4("table")), epochs=1)
    made = step.apply(Candidate(trained_mlp, clicks.schema), clicks, seed=0)
    rows = first_rows(clicks.validation.inputs, 100)
    np.testing.assert_allclose(keras_scores(teachers[0], rows), keras_scores(trained_mlp, rows), atol=1e-6)
    notes = made.history[-1].notes
    assert notes["kept"] == "tuned" and notes["validation_auc"]["tuned"] > notes["validation_auc"]["coded"] + 0.002
    assert made.model.get_layer("table").dimension == 1 and notes["steps"]["table"]["changed_bytes"] > 0
    content = Export("float32").to_bytes(made.model, clicks)
    audit_file(content, made.model, clicks, mode="float32")


def test_whether_to_fold_is_a_setting() -> None:
    plan = chain(EncodeTables(SHORT, fold=False), Export("int8"))
    assert Plan.from_json(plan.to_json()) == plan and plan.passes[0].fold is False
    with pytest.raises(PlanError, match=r"fold is 1.*Expected True or False.*Fix:"):
        EncodeTables(SHORT, fold=1)  # type: ignore[arg-type]
