"""Networks that read behaviour sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from helpers import keras_scores, same_weights

from tfshop._keras import keras, tf
from tfshop.data import IdFeature, NumericFeature, RandomSplit, Schema, SequenceFeature, Splits, TimeSplit, prepare
from tfshop.data.datasets.synthetic import synthetic_table
from tfshop.errors import ModelError
from tfshop.export import convert
from tfshop.models import build_model
from tfshop.runtime import Scorer, read_graph
from tfshop.training import train

NAMES = ("mean_pooling", "din", "dien", "bst")
ATTENTIVE = ("din", "dien", "bst")
TINY = {"dimension": 4, "hidden": (16, 8)}
SHORT, LONG = 5, 9

each_network = pytest.mark.parametrize("name", NAMES)


def views(max_length: int) -> Splits:
    """Synthetic clicks whose histories are at most SHORT long, read with room for more."""
    table = synthetic_table(1000, num_id_features=2, rows_per_feature=30, num_numeric=1, history=SHORT, seed=3)
    features = [IdFeature("id_0"), IdFeature("id_1"), NumericFeature("number_0", transform="log1p")]
    features.append(SequenceFeature("hist_id_0", table="id_0", max_length=max_length))
    return prepare(table, Schema(features, target="clicked"), split=TimeSplit("day", validation=8, test=9))


@pytest.fixture(scope="module")
def short() -> Splits:
    return views(SHORT)


@pytest.fixture(scope="module")
def long() -> Splits:
    return views(LONG)


def spread(model: Any, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    model.set_weights(
        [
            np.abs(rng.normal(1, 0.2, weight.shape))
            if "variance" in variable.name
            else rng.normal(0, 0.4, weight.shape)
            for variable, weight in zip(model.weights, model.get_weights(), strict=True)
        ]
    )
    return model


@each_network
def test_more_padding_leaves_the_score_as_it_is(name: str, short: Splits, long: Splits) -> None:
    """The same weights; the longer network of `bst` has rows for distances that do not occur."""
    one, other = (spread(build_model(name, data.schema, **TINY)) for data in (short, long))
    copied = []
    for small, large in zip(one.get_weights(), other.get_weights(), strict=True):
        whole = large.copy()
        whole[tuple(slice(0, size) for size in small.shape)] = small
        copied.append(whole)
    other.set_weights(copied)
    rows, padded = short.train.inputs, long.train.inputs
    assert padded["hist_id_0"].shape[1] == LONG and not padded["hist_id_0"][:, SHORT:].any()
    np.testing.assert_array_equal(padded["hist_id_0"][:, :SHORT], rows["hist_id_0"])
    np.testing.assert_allclose(keras_scores(other, padded), keras_scores(one, rows), atol=1e-6)


@pytest.mark.parametrize(("name", "minds"), [("mean_pooling", False), ("din", False), ("dien", True), ("bst", True)])
def test_order_matters_to_networks_that_read_it(name: str, minds: bool, short: Splits) -> None:
    model = spread(build_model(name, short.schema, **TINY))
    full = (short.train.inputs["hist_id_0"] > 0).all(axis=1)
    rows = {key: values[full] for key, values in short.train.inputs.items()}
    turned = {**rows, "hist_id_0": rows["hist_id_0"][:, ::-1]}
    gap = np.abs(keras_scores(model, rows) - keras_scores(model, turned))
    assert gap.max() > 1e-3 if minds else gap.max() < 1e-6


@each_network
def test_a_row_is_scored_alike_whatever_else_is_in_the_batch(name: str, short: Splits) -> None:
    model = spread(build_model(name, short.schema, **TINY))
    rows = {key: values[:12] for key, values in short.train.inputs.items()}
    alone = [keras_scores(model, {key: values[[i]] for key, values in rows.items()})[0] for i in range(12)]
    np.testing.assert_allclose(keras_scores(model, rows), alone, atol=1e-6)


def test_mean_pooling_is_the_mlp_that_needs_a_history(short: Splits) -> None:
    mlp, pooled = (build_model(name, short.schema, seed=1, **TINY) for name in ("mlp", "mean_pooling"))
    assert same_weights(mlp, pooled)
    np.testing.assert_array_equal(keras_scores(mlp, short.test.inputs), keras_scores(pooled, short.test.inputs))
    summed = build_model("mean_pooling", short.schema, seed=1, pooling="sum", **TINY)
    assert not np.allclose(keras_scores(summed, short.test.inputs), keras_scores(mlp, short.test.inputs), atol=1e-6)


def test_the_activation_unit_of_din_is_one_kernel_over_what_the_paper_lays_side_by_side(short: Splits) -> None:
    model = spread(build_model("din", short.schema, attention_hidden=(6,), activation="prelu", **TINY))
    tensors = ["table_hist_id_0", "table_hist_id_0_target", "table_hist_id_0_unit_score_fields"]
    inner = keras.Model(model.inputs, [model.get_layer(name).output for name in tensors])
    positions, target, scores = (values.numpy() for values in inner(dict(short.test.inputs)))
    target = np.broadcast_to(target, positions.shape)
    weights = {
        part: model.get_layer(f"table_hist_id_0_unit_0_{part}").get_weights()
        for part in ("behaviour", "target", "product", "prelu")
    }
    kernel = np.concatenate([weights["behaviour"][0], weights["target"][0], weights["product"][0]])
    hidden = np.concatenate([positions, target, positions * target], axis=-1) @ kernel + weights["behaviour"][1]
    hidden = np.where(hidden > 0, hidden, weights["prelu"][0] * hidden)
    score_kernel, score_bias = model.get_layer("table_hist_id_0_unit_score").get_weights()
    np.testing.assert_allclose(scores, hidden @ score_kernel + score_bias, atol=1e-4)


@pytest.mark.parametrize("softmax", [False, True])
def test_weights_of_din_are_normalized_where_asked_for(softmax: bool, short: Splits) -> None:
    model = spread(build_model("din", short.schema, softmax=softmax, **TINY))
    layer = keras.Model(model.inputs, model.get_layer("table_hist_id_0_weights").output)
    sums = layer(dict(short.test.inputs)).numpy().sum(axis=(1, 2))
    filled = short.test.inputs["hist_id_0"].any(axis=1)
    assert np.allclose(sums[filled], 1, atol=1e-5) == softmax and not sums[~filled].any()


def test_the_auxiliary_loss_of_dien_trains_and_is_not_in_the_file(short: Splits) -> None:
    with_loss, without = (
        build_model("dien", short.schema, auxiliary_weight=weight, seed=1, **TINY) for weight in (2.0, 0.0)
    )
    assert same_weights(with_loss, without)
    rows = {key: values[:64] for key, values in short.train.inputs.items()}
    labels = short.train.labels[:64, None]
    losses = []
    for model in (with_loss, without):
        model.compile(keras.optimizers.SGD(0.0), "binary_crossentropy", run_eagerly=True)
        losses.append(model.train_on_batch(rows, labels))
        assert model.test_on_batch(rows, labels) < 1
    assert losses[0] > losses[1] + 1
    graphs = [read_graph(convert(model, "float32")) for model in (with_loss, without)]
    assert graphs[0].kinds == graphs[1].kinds
    scores = [keras_scores(model, rows) for model in (with_loss, without)]
    np.testing.assert_array_equal(*scores)


def test_the_operators_of_dien_grow_by_the_position(short: Splits, long: Splits) -> None:
    """About 27 operators a position in the file, and some fifty besides."""
    few, many = (
        len(read_graph(convert(build_model("dien", data.schema, **TINY), "float32")).all_operators)
        for data in (short, long)
    )
    assert (many - few) / (LONG - SHORT) <= 28
    assert few <= 28 * SHORT + 60


@each_network
def test_a_schema_without_a_sequence_is_refused(name: str, kinds: dict[str, Splits]) -> None:
    with pytest.raises(ModelError, match=rf"{name} reads behaviour sequences, and the schema has none.*Fix: declare"):
        build_model(name, kinds["ids"].schema, **TINY)


@pytest.fixture(scope="module")
def unpaired() -> Splits:
    """A history of `viewed` without an id feature of its table, and one of `id_0` with one."""
    rows = pa.table(
        {
            "id_0": [1, 2, 3, 4] * 30,
            "hist_id_0": [[1, 2], [3], [], [4, 4, 1]] * 30,
            "viewed": [["a"], ["b", "a"], ["c"], []] * 30,
            "clicked": [0, 1, 1, 0] * 30,
        }
    )
    features = [
        IdFeature("id_0"),
        SequenceFeature("hist_id_0", table="id_0", max_length=3),
        SequenceFeature("viewed", table="pages", max_length=3),
    ]
    return prepare(rows, Schema(features, target="clicked"), split=RandomSplit(seed=0))


@pytest.mark.parametrize("name", ATTENTIVE)
def test_a_history_without_its_id_is_averaged_beside_one_with_it(name: str, unpaired: Splits) -> None:
    model = spread(build_model(name, unpaired.schema, **TINY))
    assert type(model.get_layer("table_hist_viewed_mean")).__name__ == "MaskedMean"
    rows = dict(unpaired.train.inputs)
    for key in ("hist_id_0", "hist_viewed"):
        changed = {**rows, key: np.roll(rows[key], 1, axis=0)}
        assert not np.allclose(keras_scores(model, rows), keras_scores(model, changed), atol=1e-4)


@pytest.mark.parametrize("name", ATTENTIVE)
def test_a_schema_whose_histories_lead_to_no_id_is_refused(name: str, unpaired: Splits) -> None:
    lonely = unpaired.schema.replace(features=[unpaired.schema.features[0], unpaired.schema.features[2]])
    with pytest.raises(ModelError, match=rf"{name} compares.*'viewed' \(table 'pages'\).*Fix: IdFeature\('pages'"):
        build_model(name, lonely, **TINY)


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("mean_pooling", {"pooling": "max"}, "pooling is 'max'. Expected one of mean, sum, sqrt"),
        ("din", {"activation": "relu"}, "activation is 'relu'. Expected one of dice, prelu"),
        ("din", {"attention_hidden": ()}, "attention_hidden is"),
        ("dien", {"auxiliary_weight": -1.0}, "auxiliary_weight is -1.0. Expected 0 or more"),
        ("bst", {"num_heads": 3}, "num_heads is 3 and dimension 4. Expected heads that divide"),
        ("bst", {"num_blocks": 0}, "num_blocks is 0"),
    ],
)
def test_hyperparameters_out_of_range_are_refused(
    name: str, settings: dict[str, Any], said: str, short: Splits
) -> None:
    with pytest.raises(ModelError, match=said.replace("(", r"\(")):
        build_model(name, short.schema, **TINY, **settings)


@pytest.fixture(scope="module")
def seen_before() -> Splits:
    """Clicked, mostly, where the item is in the history: no id says so by itself."""
    rng = np.random.default_rng(0)
    history = rng.integers(0, 40, (9000, 6))
    again = rng.random(9000) < 0.5
    item = np.where(again, history[np.arange(9000), rng.integers(0, 6, 9000)], rng.integers(0, 40, 9000))
    known = (history == item[:, None]).any(axis=1)
    clicked = rng.random(9000) < np.where(known, 0.9, 0.1)
    rows = pa.table({"item": item, "history": list(history), "clicked": clicked.astype(np.int8)})
    features = [IdFeature("item"), SequenceFeature("history", table="item", max_length=6)]
    return prepare(rows, Schema(features, target="clicked"), split=RandomSplit(seed=0), batch_size=128)


def test_attention_finds_what_an_average_cannot(seen_before: Splits) -> None:
    def auc(network: str) -> float:
        model = build_model(network, seen_before.schema, dimension=16, hidden=(32,))
        return train(model, seen_before, epochs=6, learning_rate=1e-2, patience=6).best.validation_auc

    average = auc("mean_pooling")
    assert auc("din") > average + 0.1
    assert auc("bst") > average + 0.05


def test_an_empty_history_is_scored(short: Splits) -> None:
    rows = {key: values[:3] for key, values in short.train.inputs.items()}
    rows["hist_id_0"] = np.zeros_like(rows["hist_id_0"])
    for name in NAMES:
        model = spread(build_model(name, short.schema, **TINY))
        scores = keras_scores(model, rows)
        assert np.isfinite(scores).all()
        np.testing.assert_allclose(Scorer(convert(model, "float32"))(rows), scores, atol=1e-5)
        assert np.isfinite(tf.convert_to_tensor(model(rows, training=True)).numpy()).all()
