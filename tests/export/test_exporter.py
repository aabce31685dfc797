"""Every mode makes a file of each kind of network that scores, and keeps in float what int8 would ruin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers import first_rows, keras_scores, same_weights
from networks import SAMPLE

from tfshop._keras import keras
from tfshop.data import IdFeature, NumericFeature, RandomSplit, Schema, Splits, prepare, read_table
from tfshop.errors import ExportError, PlanError
from tfshop.export import MODES, Export
from tfshop.export.convert import convert
from tfshop.export.precision import float_operators
from tfshop.runtime import Scorer, lookup_tables, read_graph

MEAN_GAP = {"float32": 1e-6, "float16": 1e-3, "dynamic": 1e-2, "int8": 1e-2, "int8_io": 0.2, "int16x8": 0.2}
WEIGHT_TYPES = {
    "float32": "float32",
    "float16": "float16",
    "dynamic": "int8",
    "int8": "int8",
    "int8_io": "int8",
    "int16x8": "int8",
}


@pytest.mark.parametrize("network", SAMPLE)
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_of_every_network_loads_and_scores(
    mode: str, network: str, exported: Callable[[str, str], bytes], trained: Callable[[str], Any], clicks: Splits
) -> None:
    """At batch 1, 7 and 512; int8_io has no NaN, so its rows have their holes filled."""
    scorer = Scorer(exported(network, mode))
    for batch in (1, 7, 512):
        rows = first_rows(clicks.validation.inputs, batch)
        if mode == "int8_io":
            rows["numeric"] = np.nan_to_num(rows["numeric"], nan=1.0)
        scores = scorer(rows)
        assert scores.shape == (batch,) and ((scores >= 0) & (scores <= 1)).all()
    assert np.abs(scores - keras_scores(trained(network), rows)).mean() < MEAN_GAP[mode]
    assert np.corrcoef(scores, keras_scores(trained(network), rows))[0, 1] > (
        0.6 if mode in {"int8_io", "int16x8"} else 0.99
    )


@pytest.mark.parametrize("network", SAMPLE)
def test_float32_is_the_keras_model(
    network: str, exported: Callable[[str, str], bytes], trained: Callable[[str], Any], clicks: Splits
) -> None:
    scorer = Scorer(exported(network, "float32"))
    for batch in (1, 7, 512):
        rows = first_rows(clicks.validation.inputs, batch)
        np.testing.assert_allclose(scorer(rows), keras_scores(trained(network), rows), atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_weights_are_stored_as_the_mode_says(mode: str, exported: Callable[[str, str], bytes]) -> None:
    graph = read_graph(exported("mlp", mode))
    assert graph.custom_operators == () and set(graph.inputs) == {"ids", "numeric", "hist_id_0"}
    stored = {t.dtype for t in graph.tensors if t.is_constant and t.shape in {(64, 32), (32, 64)}}
    assert stored == {WEIGHT_TYPES[mode]}
    sizes = {other: len(exported("mlp", other)) for other in MODES}
    assert sizes["int8"] < sizes["float16"] < sizes["float32"]


@pytest.mark.parametrize("mode", MODES)
def test_only_int8_io_has_integer_ends(mode: str, exported: Callable[[str, str], bytes]) -> None:
    graph = read_graph(exported("mlp", mode))
    ends = (graph.tensors[graph.inputs["numeric"]].dtype, graph.tensors[graph.outputs["probability"]].dtype)
    assert ends == (("int8", "int8") if mode == "int8_io" else ("float32", "float32"))
    assert graph.tensors[graph.inputs["ids"]].dtype == "int32"
    assert MODES[mode].integer_ends == (mode == "int8_io")


@pytest.mark.parametrize("network", SAMPLE)
def test_the_head_of_an_int8_file_is_float_and_its_scores_are_many(
    network: str, exported: Callable[[str, str], bytes], clicks: Splits
) -> None:
    graph = read_graph(exported(network, "int8"))
    last = next(operator for operator in reversed(graph.operators) if operator.kind == "FULLY_CONNECTED")
    assert [graph.tensors[index].dtype for index in last.outputs] == ["float32"]
    assert graph.tensors[graph.producers[graph.outputs["probability"]].inputs[0]].dtype == "float32"
    scores = Scorer(exported(network, "int8"))(first_rows(clicks.validation.inputs, 600))
    assert len(np.unique(scores)) > 400


@pytest.mark.parametrize("network", SAMPLE)
def test_an_int8_file_computes_in_int8(network: str, exported: Callable[[str, str], bytes]) -> None:
    graph = read_graph(exported(network, "int8"))
    products = [o for o in graph.operators if o.kind == "FULLY_CONNECTED"]
    types = [graph.tensors[o.outputs[0]].dtype for o in products]
    assert types.count("int8") >= 3
    assert [table.tensor.dtype for table in lookup_tables(graph)][:1] == ["int8"]
    hidden = [graph.tensors[o.inputs[1]] for o in products if graph.tensors[o.outputs[0]].dtype == "int8"]
    assert all(w.scales is not None and w.scales.size == w.shape[0] for w in hidden), "one scale for all channels"


def test_raw_numbers_stay_float_up_to_their_first_product(
    exported: Callable[[str, str], bytes], clicks: Splits
) -> None:
    """Logarithms of 1 and of 1e6 in one int8 range would leave a handful of levels."""
    graph = read_graph(exported("mlp", "int8"))
    kinds = {o.kind: {graph.tensors[i].dtype for i in o.outputs} for o in graph.operators}
    assert kinds["LOG"] == kinds["SIGN"] == {"float32"}
    scorer = Scorer(exported("mlp", "int8"))
    rows = first_rows(clicks.validation.inputs, 1)
    base = {name: np.repeat(values, 400, axis=0) for name, values in rows.items()}
    base["numeric"] = np.stack([np.geomspace(0.01, 50, 400), np.ones(400)], axis=1).astype(np.float32)
    assert len(np.unique(scorer(base))) > 80


def test_float_operators_name_head_raw_numbers_and_masks(exported: Callable[[str, str], bytes]) -> None:
    graph = read_graph(exported("mlp", "float32"))
    names = float_operators(graph)
    kinds = [graph.producers[t.index].kind for t in graph.tensors if t.name in names and t.index in graph.producers]
    assert {"LOGISTIC", "LOG", "SIGN", "MINIMUM", "MUL", "SUM", "DIV"} <= set(kinds)
    assert kinds.count("FULLY_CONNECTED") == 1, "the head's product and no other"
    without_head = float_operators(graph, float_head=False)
    assert set(names) - set(without_head) and "LOGISTIC" not in [
        graph.producers[t.index].kind for t in graph.tensors if t.name in without_head and t.index in graph.producers
    ]


def test_missing_numbers_score_alike_in_int8_and_float(exported: Callable[[str, str], bytes], clicks: Splits) -> None:
    rows = first_rows(clicks.validation.inputs, 64)
    rows["numeric"] = np.full_like(rows["numeric"], np.nan)
    whole, small = (Scorer(exported("mlp", mode))(rows) for mode in ("float32", "int8"))
    assert np.isfinite(small).all() and np.abs(whole - small).max() < 0.05


def test_conversion_leaves_the_model_as_it_is(trained_mlp: Any, clicks: Splits) -> None:
    before = trained_mlp.get_weights()
    Export("int8", calibration_rows=64).to_bytes(trained_mlp, clicks)
    assert same_weights(before, trained_mlp)


def test_the_same_model_gives_the_same_bytes_size_and_scores(
    trained_mlp: Any, exported: Callable[[str, str], bytes], clicks: Splits
) -> None:
    again = Export("int8", calibration_rows=512).to_bytes(trained_mlp, clicks)
    rows = first_rows(clicks.validation.inputs, 200)
    np.testing.assert_array_equal(Scorer(again)(rows), Scorer(exported("mlp", "int8"))(rows))


def test_calibration_reads_training_rows_alone(
    trained_mlp: Any, exported: Callable[[str, str], bytes], clicks: Splits
) -> None:
    """Validation and test rows with other numbers change nothing."""

    def spoiled(part: Any) -> Any:
        wild = {name: v * 1000 if v.dtype == np.float32 else v * 0 for name, v in part.inputs.items()}
        return type(part)(part.name, wild, part.labels, part.groups, part.batch_size, part.schema)

    data = Splits(clicks.train, spoiled(clicks.validation), spoiled(clicks.test), clicks.schema)
    rows = first_rows(clicks.validation.inputs, 200)
    found = Scorer(Export("int8", calibration_rows=512).to_bytes(trained_mlp, data))(rows)
    np.testing.assert_array_equal(found, Scorer(exported("mlp", "int8"))(rows))


# Two inputs of equal shape whose names sort otherwise than they are declared, with different ranges.


@pytest.fixture(scope="module")
def lopsided() -> Splits:
    """`z_small` is about 1, `a_large` about 1000; `z_item` has 900 ids, `a_user` 5."""
    rng = np.random.default_rng(0)
    size = 3000
    columns = {
        "z_item": rng.integers(0, 900, size),
        "a_user": rng.integers(0, 5, size),
        "z_small": rng.normal(0, 1, size),
        "a_large": rng.normal(0, 1000, size),
        "bought": rng.integers(0, 2, size),
    }
    schema = Schema(
        [IdFeature("z_item"), IdFeature("a_user"), NumericFeature("z_small"), NumericFeature("a_large")],
        target="bought",
    )
    return prepare(read_table(pd.DataFrame(columns)), schema, split=RandomSplit(), batch_size=256)


@pytest.fixture(scope="module")
def by_feature(lopsided: Splits) -> Any:
    """One input a feature, declared against the order of the alphabet."""
    keras.utils.set_random_seed(0)
    small, large = keras.Input((1,), name="z_small"), keras.Input((1,), name="a_large")
    item, user = (keras.Input((), dtype="int32", name=name) for name in ("z_item", "a_user"))
    wide = keras.initializers.RandomNormal(stddev=1.0)
    parts = [
        keras.layers.Dense(8, name="from_small", kernel_initializer=wide)(small),
        keras.layers.Dense(8, name="from_large", kernel_initializer=keras.initializers.RandomNormal(stddev=1e-3))(
            large
        ),
        keras.layers.Embedding(lopsided.schema.tables["z_item"], 8, embeddings_initializer=wide)(item),
        keras.layers.Embedding(lopsided.schema.tables["a_user"], 8, embeddings_initializer=wide)(user),
    ]
    hidden = keras.layers.Dense(16, activation="relu")(keras.layers.Add()(parts))
    return keras.Model(
        [small, item, large, user], keras.layers.Dense(1, activation="sigmoid", name="probability")(hidden)
    )


def feature_rows(data: Splits, num_rows: int) -> dict[str, np.ndarray]:
    """One array a feature, from packed columns."""
    ids, numbers = (data.train.inputs[name][:num_rows] for name in ("ids", "numeric"))
    return {"z_item": ids[:, 0], "a_user": ids[:, 1], "z_small": numbers[:, :1], "a_large": numbers[:, 1:]}


@pytest.mark.parametrize("mode", ["int8", "int8_io", "int16x8"])
def test_calibration_is_bound_by_name(mode: str, by_feature: Any, lopsided: Splits) -> None:
    rows = feature_rows(lopsided, 1000)
    scores = Scorer(Export(mode).to_bytes(by_feature, lopsided))(rows)
    gaps = np.abs(scores - keras_scores(by_feature, rows))
    assert gaps.mean() < 0.02, "ranges were measured on another input's numbers"


def test_a_calibration_that_swaps_two_inputs_would_be_seen(by_feature: Any, lopsided: Splits) -> None:
    """The control of the test above: it can fail."""
    rows = feature_rows(lopsided, 1000)
    swapped = {**rows, "z_small": rows["a_large"], "a_large": rows["z_small"]}
    scores = Scorer(convert(by_feature, "int8", lambda: iter([swapped])))(rows)
    assert np.abs(scores - keras_scores(by_feature, rows)).mean() > 0.05


def test_a_layer_that_only_tensorflow_can_run_is_refused(flex_model: Any, clicks: Splits) -> None:
    for mode in ("float32", "int8"):
        with pytest.raises(ExportError, match=rf"(?s)'flexible' does not convert to {mode}.*MatrixInverse.*Fix:"):
            Export(mode, calibration_rows=64).to_bytes(flex_model, clicks)


def test_integer_ends_are_refused_where_numbers_were_missing(
    trained_mlp: Any, clicks: Splits, dense_clicks: Splits
) -> None:
    with pytest.raises(PlanError, match=r"int8_io.*number_0, number_1 had missing.*Fix: Export\('int8'\)"):
        Export("int8_io").check(trained_mlp, clicks.schema)
    Export("int8").check(trained_mlp, clicks.schema)
    Export("int8_io").check(trained_mlp, dense_clicks.schema)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "int4"}, r"mode is 'int4'. Expected one of float32, .*Fix:"),
        ({"calibration_rows": 0}, "calibration_rows is 0.*Fix:"),
    ],
)
def test_settings_out_of_range_are_refused_at_construction(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        Export(**settings)


def test_the_converters_words_do_not_reach_the_terminal(
    trained_mlp: Any, clicks: Splits, capfd: pytest.CaptureFixture[str]
) -> None:
    Export("float32").to_bytes(trained_mlp, clicks)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("rows", [40, 100])
def test_calibration_rows_need_not_fill_whole_batches(clicks, trained_mlp, rows):
    """A last batch of another size once stopped the calibrator: 'Given shapes are not broadcastable'."""
    content = Export("int8", calibration_rows=rows).to_bytes(trained_mlp, clicks)
    assert np.isfinite(Scorer(content).score_split(clicks.validation.take(10))).all()
