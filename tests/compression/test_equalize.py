"""Equalization: the same function, with columns that int8 can tell apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from foreign.conftest import click_schema, click_table
from foreign.styles import STYLES
from helpers import same_weights
from networks import spread

from tfshop._keras import keras
from tfshop.compression import QAT, Candidate, Equalize, Prune
from tfshop.compression.prune import sparsity_of
from tfshop.data import IdFeature, NumericFeature, RandomSplit, Schema, Splits, prepare
from tfshop.errors import PlanError
from tfshop.export import Export, chain
from tfshop.export.mixed import change, logits
from tfshop.models import build_model
from tfshop.training import predict, train

layers = keras.layers
TREATED = (
    "plain",
    "interactions",
    "with_lambda",
    "normalized",
    "shared_layers",
    "nested",
    "wide_and_deep",
)
FIRST = 3  # position of the first Dense layer's kernel, behind the tables
REFUSED = ("factorization",)


def equalized(model: Any, data: Splits, **settings: Any) -> Any:
    step = Equalize(**settings)
    step.check(model, data.schema)
    return step.apply(Candidate(model, data.schema), data, seed=0)


def uneven(model: Any) -> Any:
    """A network whose columns differ by orders of magnitude, as training with ReLU leaves them now and then."""
    generator = np.random.default_rng(0)
    for layer in model._flatten_layers():
        if type(layer) is layers.Dense and layer.units > 1:
            kernel, *bias = layer.get_weights()
            columns = np.exp(generator.normal(0, 1.5, kernel.shape[-1]))
            layer.set_weights([kernel * columns, *(b + 0.01 * columns for b in bias)])
    return model


@pytest.fixture(scope="module")
def log() -> Splits:
    return prepare(click_table(1500), click_schema(), split=RandomSplit(seed=0), batch_size=128)


@pytest.fixture(scope="module")
def heavy() -> Splits:
    """Planted: two id columns and a price as it is, with a heavy tail."""
    generator = np.random.default_rng(0)
    size = 6000
    ids = {name: generator.integers(0, 40, size) for name in ("item", "shop")}
    price = generator.lognormal(1, 1, size)
    effects = np.random.default_rng(1).normal(size=(2, 40))
    logit = effects[0][ids["item"]] + effects[1][ids["shop"]] - 0.4 * np.log(price)
    clicked = generator.random(size) < 1 / (1 + np.exp(-logit))
    table = pd.DataFrame({**{n: [f"x{v}" for v in v] for n, v in ids.items()}, "price": price, "clicked": clicked * 1})
    features = [IdFeature("item"), IdFeature("shop"), NumericFeature("price", transform="none")]
    return prepare(table, Schema(features, target="clicked"), split=RandomSplit(seed=0), batch_size=128)


@pytest.mark.parametrize(
    ("style", "by"), [*((style, "activations") for style in TREATED), ("normalized", "weights"), ("nested", "weights")]
)
def test_networks_of_others_score_as_before(style: str, by: str, log: Splits) -> None:
    keras.utils.set_random_seed(0)
    model = uneven(STYLES[style](log.schema))
    before = model.get_weights()
    after = equalized(model, log, by=by)
    assert same_weights(model, before), "the model that came in was changed"
    np.testing.assert_allclose(predict(after.model, log.validation), predict(model, log.validation), atol=1e-5)
    rows = after.history[-1].notes["equalized"]
    assert any(row["largest"] / row["smallest"] > 1.5 for row in rows), "nothing was scaled"
    listed = {row["layer"] for row in after.history[-1].notes["left_alone"]}
    assert listed and not listed & {name for row in rows for name in (*row["divided"], *row["taken_by"])}


@pytest.mark.parametrize("style", ["factorization", "attention", "shared_tower", "preprocessed"])
def test_what_cannot_be_scaled_is_left_or_refused(style: str, log: Splits) -> None:
    """A product of two towers, attention, a tower called three times: nothing may change the scores."""
    keras.utils.set_random_seed(0)
    model = uneven(STYLES[style](log.schema))
    if style in REFUSED:
        with pytest.raises(PlanError, match=r"Equalize finds nothing to scale in .*Fix:"):
            equalized(model, log)
        return
    after = equalized(model, log)
    np.testing.assert_allclose(predict(after.model, log.validation), predict(model, log.validation), atol=1e-5)


def test_columns_that_share_a_range_use_it_better_in_the_file(log: Splits) -> None:
    """The int8 file of uneven columns moves the logits less once they are even."""
    keras.utils.set_random_seed(0)
    model = uneven(STYLES["plain"](log.schema))
    rows = [dict(next(iter(_inputs(log))))]
    wanted = logits(Export("float32").to_bytes(model, log), rows)

    def moved(network: Any) -> float:
        return change(logits(Export("int8").to_bytes(network, log), rows), wanted)

    assert moved(equalized(model, log).model) < 0.8 * moved(model)


def test_weights_alone_need_no_rows(log: Splits) -> None:
    keras.utils.set_random_seed(0)
    model = uneven(STYLES["plain"](log.schema))
    few = replace(log, train=log.train.take(20))
    made = {
        by: [equalized(model, data, by=by, inputs=False).model.get_weights() for data in (log, few)]
        for by in ("weights", "activations")
    }
    assert same_weights(*made["weights"]) and not same_weights(*made["activations"])
    kernels = [model.get_layer(name).get_weights()[0].astype(np.float64) for name in ("first", "second")]
    sizes = np.abs(kernels[0]).max(axis=0)
    shares = (np.abs(kernels[1]) / np.abs(kernels[1]).max(axis=0)).max(axis=1)
    scale = np.sqrt(sizes / sizes.max() / (shares / shares.max()))
    np.testing.assert_allclose(made["weights"][0][FIRST], kernels[0] / scale, rtol=1e-4)


def behind_leaky(slope: float) -> Any:
    """A column of a LeakyReLU that is hundreds below zero before and hardly anything behind."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    hidden = layers.Flatten()(layers.Embedding(110, 4, name="table")(ids))
    hidden = layers.LeakyReLU(slope, name="leaky")(layers.Dense(8, name="first")(hidden))
    model = keras.Model(ids, layers.Dense(1, activation="sigmoid", name="click")(layers.Dense(4, name="next")(hidden)))
    spread(model)
    kernel, bias = model.get_layer("first").get_weights()
    bias[3] = -300.0
    model.get_layer("first").set_weights([kernel, bias])
    return model


def test_what_an_activation_cuts_off_counts_where_the_file_has_a_tensor_for_it(dense_clicks: Splits) -> None:
    model = behind_leaky(1e-3)
    after = equalized(model, dense_clicks, inputs=False).model
    rows = {"ids": dense_clicks.train.inputs["ids"][:500]}
    before, now = (
        np.abs(keras.Model(net.inputs, net.get_layer("first").output)(rows)).max(axis=0) for net in (model, after)
    )
    assert before[3] / np.median(before) > 1.3 * now[3] / np.median(now), (
        "what is next would have it three times as large"
    )


def with_two_sources(together: Any) -> Any:
    """Two linear layers of uneven columns, put together and read by two kernels of one column, one a multiple."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    fields = layers.Flatten()(layers.Embedding(110, 4, name="table")(ids))
    sources = [layers.Dense(4, name=name)(fields) for name in ("one", "other")]
    read = together(sources)
    given = layers.Add()([layers.Dense(1, name=name)(read) for name in ("left", "right")])
    model = keras.Model(ids, layers.Activation("sigmoid", name="click")(given))
    spread(model)
    uneven(model)
    kernel, bias = model.get_layer("left").get_weights()
    model.get_layer("right").set_weights([-3 * kernel, bias])
    return model


def test_a_second_path_to_the_same_kernels_finds_them_equalized_already(dense_clicks: Splits) -> None:
    """Of a product both factors can take the scale: after the first, sizes and shares are alike."""
    rows = equalized(with_two_sources(layers.Multiply()), dense_clicks).history[-1].notes["equalized"]
    assert [row["taken_by"] for row in rows] == [["left", "right"]] * 2
    first, second = (row["largest"] / row["smallest"] for row in rows)
    assert first > 2 and abs(second - 1) < 1e-3, rows


def test_a_second_path_is_measured_against_the_sizes_that_the_first_left(dense_clicks: Splits) -> None:
    """Side by side, the columns of one are what those of the other are brought to."""
    model = with_two_sources(layers.Concatenate(name="joined"))
    read = keras.Model(model.inputs, model.get_layer("joined").output)
    rows = {"ids": dense_clicks.train.inputs["ids"]}
    sizes = np.abs(read(rows).numpy()).max(axis=0)
    kernel = np.abs(model.get_layer("left").get_weights()[0][:, 0])
    after = equalized(model, dense_clicks)
    for own, beside in ((slice(0, 4), slice(4, 8)), (slice(4, 8), slice(0, 4))):
        relative = sizes[own] / sizes[beside].max(), kernel[own] / kernel[beside].max()
        scale = np.sqrt(relative[0] / relative[1])
        sizes[own], kernel[own] = sizes[own] / scale, kernel[own] * scale
    equal = keras.Model(after.model.inputs, after.model.get_layer("joined").output)
    np.testing.assert_allclose(np.abs(equal(rows).numpy()).max(axis=0), sizes, rtol=1e-4)


def test_numbers_of_the_right_size_are_not_multiplied(dense_clicks: Splits) -> None:
    """A constant near one would cost an operator and change little."""

    def multiplied(size: float) -> list[str]:
        ids, price = keras.Input((3,), dtype="int32", name="ids"), keras.Input((1,), name="numeric")
        fields = layers.Flatten()(layers.Embedding(110, 4, name="table")(ids))
        hidden = layers.Dense(8, activation="relu", name="first")(layers.Concatenate()([fields, price]))
        model = keras.Model([ids, price], layers.Dense(1, activation="sigmoid", name="click")(hidden))
        model.get_layer("table").set_weights([np.ones((110, 4))])
        model.get_layer("first").set_weights([np.ones((13, 8)), np.zeros(8)])
        data = with_numbers(dense_clicks, size)
        return [layer.name for layer in equalized(model, data, layers=False).model.layers if "equalized" in layer.name]

    assert multiplied(1.2) == [] and multiplied(30.0) == ["numeric_equalized"]


def with_numbers(data: Splits, size: float) -> Splits:
    """The rows with one raw number more, as large as that."""
    num_rows = 300
    ids = data.train.inputs["ids"][:num_rows]
    table = {**{f"id_{i}": [f"x{v}" for v in ids[:, i]] for i in range(3)}, "price": np.full(num_rows, size)}
    table["price"][::2] = 0.0
    features = [*(IdFeature(f"id_{i}") for i in range(3)), NumericFeature("price", transform="none")]
    frame = pd.DataFrame({**table, "clicked": np.arange(num_rows) % 3 == 0})
    return prepare(frame, Schema(features, target="clicked"), split=RandomSplit(seed=0), batch_size=64)


def _inputs(data: Splits) -> Any:
    names = [feature.name for feature in data.schema.id_features]
    yield {name: data.validation.inputs["ids"][:, [position]] for position, name in enumerate(names)}


def test_heavy_numbers_joined_to_tables_no_longer_take_their_levels(heavy: Splits) -> None:
    """A raw price up to a hundred beside embeddings below one, in one int8 range of the crosses."""
    keras.utils.set_random_seed(0)
    model = build_model("dcn", heavy.schema, dimension=8, hidden=(32, 16), num_crosses=1)
    train(model, heavy, epochs=4, learning_rate=5e-3)
    after = equalized(model, heavy)
    np.testing.assert_allclose(predict(after.model, heavy.validation), predict(model, heavy.validation), atol=1e-5)
    (row,) = [row for row in after.history[-1].notes["equalized"] if row["layer"] == "numeric_transform"]
    assert row["largest"] > 2 and {"cross_0_kernel", "dense_0_numeric"} <= set(row["taken_by"])
    rows = [dict(heavy.validation.inputs)]
    wanted = logits(Export("float32").to_bytes(model, heavy), rows)
    moved = {
        name: change(logits(Export("int8").to_bytes(network, heavy), rows), wanted)
        for name, network in (("before", model), ("after", after.model))
    }
    assert moved["after"] < 0.6 * moved["before"], moved


def test_a_sum_of_two_layers_is_scaled_as_one(trained_mlp: Any, clicks: Splits) -> None:
    rows = equalized(trained_mlp, clicks, inputs=False).history[-1].notes["equalized"]
    assert ["dense_0", "dense_0_numeric"] in [row["divided"] for row in rows]


def with_source(source: Any, width: int = 3) -> Any:
    """Rows of fields through something that could be divided, before a kernel that could take the scale."""
    ids = keras.Input((3,), dtype="int32", name="ids")
    read = layers.Dense(4, activation="relu", name="taker")(source(layers.Embedding(110, width, name="table")(ids)))
    model = keras.Model(ids, layers.Dense(1, activation="sigmoid", name="click")(layers.Flatten()(read)))
    spread(model)
    return uneven(model)


def test_a_layer_that_is_added_to_itself_is_divided_once(dense_clicks: Splits) -> None:
    def twice(x: Any) -> Any:
        x = layers.Dense(5, name="source")(x)
        return layers.Add(name="both")([x, x])

    model = with_source(twice)
    after = equalized(model, dense_clicks)
    (row,) = (row for row in after.history[-1].notes["equalized"] if row["layer"] == "both")
    assert row["divided"] == ["source"] and row["largest"] / row["smallest"] > 1.1
    before, found = (predict(network, dense_clicks.validation) for network in (model, after.model))
    np.testing.assert_allclose(found, before, atol=1e-5)


@pytest.mark.parametrize("width", [3, 4])
def test_a_normalization_of_positions_has_no_columns_to_divide(width: int, dense_clicks: Splits) -> None:
    """Its numbers are one a position, whether there are as many columns or not."""
    model = with_source(layers.BatchNormalization(axis=1, name="source"), width)
    with pytest.raises(PlanError, match="Equalize finds nothing to scale"):
        equalized(model, dense_clicks)


def test_zeros_stay_zeros(pruned: Candidate, clicks: Splits) -> None:
    names = ("dense_0", "dense_1")
    after = Equalize().apply(pruned, clicks, seed=0)
    assert sparsity_of(after.model, names) == sparsity_of(pruned.model, names) > 0.7


def test_it_comes_before_qat_and_not_after() -> None:
    assert chain(Prune(0.5), Equalize(), QAT()).passes[1] == Equalize()
    with pytest.raises(PlanError, match=r"Equalize.*comes after QAT and would undo its ranges"):
        chain(QAT(), Equalize())


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(PlanError, match=r"by is 'size'.*Fix:"):
        Equalize(by="size")
    with pytest.raises(PlanError, match=r"leave both.*Fix:"):
        Equalize(layers=False, inputs=False)
