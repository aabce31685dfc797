"""What single networks promise beyond the contract that all share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from helpers import first_rows, keras_scores, same_weights
from networks import spread

from tfshop._keras import keras
from tfshop.data import Splits
from tfshop.errors import ModelError
from tfshop.export import Export, convert
from tfshop.models import build_model
from tfshop.models.lookup import table_starts
from tfshop.runtime import Scorer, read_graph

TINY = {"dimension": 4, "hidden": (8,)}
Rows = Mapping[str, np.ndarray]


def logits_of(model: Any, rows: Rows) -> np.ndarray:
    return keras.Model(model.inputs, model.get_layer("logit").output)(dict(rows)).numpy().reshape(-1)


def looked_up(model: Any, data: Splits, rows: Rows, table: str = "table") -> np.ndarray:
    starts = np.array([table_starts(data.schema)[name] for name in data.schema.tables])
    return model.get_layer(table).get_weights()[0][rows["ids"] + starts]


def linear(model: Any, data: Splits, rows: Rows) -> np.ndarray:
    """The first-order part of a network over ids, its constant included."""
    constant = [layer.get_weights()[0][0] for layer in model.layers if type(layer).__name__ == "Bias"]
    return looked_up(model, data, rows, "first_order").sum(axis=(1, 2)) + sum(constant)


def of_logistic_regression(model: Any, data: Splits, rows: Rows) -> np.ndarray:
    return linear(model, data, rows)


def of_fm(model: Any, data: Splits, rows: Rows) -> np.ndarray:
    v = looked_up(model, data, rows)
    return linear(model, data, rows) + sum((v[:, i] * v[:, j]).sum(axis=1) for i, j in combinations(range(3), 2))


def of_fwfm(model: Any, data: Splits, rows: Rows) -> np.ndarray:
    v, weights = looked_up(model, data, rows), model.get_layer("field_weights").get_weights()[0][:, 0]
    pairs = zip(weights, combinations(range(3), 2), strict=True)
    return linear(model, data, rows) + sum(w * (v[:, i] * v[:, j]).sum(axis=1) for w, (i, j) in pairs)


def of_ffm(model: Any, data: Splits, rows: Rows) -> np.ndarray:
    v = looked_up(model, data, rows).reshape(-1, 3, 2, 4)
    pairs = v[:, 0, 0] * v[:, 1, 0] + v[:, 0, 1] * v[:, 2, 0] + v[:, 1, 1] * v[:, 2, 1]
    return linear(model, data, rows) + pairs.sum(axis=1)


def of_afm(model: Any, data: Splits, rows: Rows) -> np.ndarray:
    v = looked_up(model, data, rows)
    products = np.stack([v[:, i] * v[:, j] for i, j in combinations(range(3), 2)], axis=1)
    (kernel, bias), (score,) = (model.get_layer(name).get_weights() for name in ("attention", "attention_score"))
    scores = np.exp(np.maximum(products @ kernel + bias, 0) @ score)
    pooled = (scores / scores.sum(axis=1, keepdims=True) * products).sum(axis=1)
    head, constant = model.get_layer("head_logit").get_weights()
    return linear(model, data, rows) + (pooled @ head + constant)[:, 0]


def of_nfm(model: Any, data: Splits, rows: Rows) -> np.ndarray:
    v = looked_up(model, data, rows)
    pooled = sum(v[:, i] * v[:, j] for i, j in combinations(range(3), 2))
    kernel, bias = model.get_layer("dense_0").get_weights()
    head, constant = model.get_layer("head_logit").get_weights()
    return linear(model, data, rows) + (np.maximum(pooled @ kernel + bias, 0) @ head + constant)[:, 0]


def of_fnn(model: Any, data: Splits, rows: Rows) -> np.ndarray:
    fields = np.concatenate([looked_up(model, data, rows, "first_order"), looked_up(model, data, rows)], axis=2)
    kernel, bias = model.get_layer("dense_0").get_weights()
    head, constant = model.get_layer("logit").get_weights()
    return (np.maximum(fields.reshape(len(fields), -1) @ kernel + bias, 0) @ head + constant)[:, 0]


FORMULAS: dict[str, Callable[..., np.ndarray]] = {
    "logistic_regression": of_logistic_regression,
    "fm": of_fm,
    "fwfm": of_fwfm,
    "ffm": of_ffm,
    "afm": of_afm,
    "nfm": of_nfm,
    "fnn": of_fnn,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_the_logit_is_the_formula_of_the_paper(name: str, kinds: dict[str, Splits]) -> None:
    data = kinds["ids"]
    hidden = {"hidden": (8,)} if name in {"nfm", "fnn"} else {}
    model = build_model(name, data.schema, **hidden, **({} if name == "logistic_regression" else {"dimension": 4}))
    spread(model)
    rows = first_rows(data.train.inputs, 20)
    np.testing.assert_allclose(logits_of(model, rows), FORMULAS[name](model, data, rows), rtol=1e-4, atol=1e-5)


def test_fwfm_starts_as_a_factorization_machine(kinds: dict[str, Splits]) -> None:
    data = kinds["ids"]
    rows = first_rows(data.train.inputs, 20)
    fwfm, fm = (build_model(name, data.schema, dimension=4) for name in ("fwfm", "fm"))
    for layer in ("table", "first_order"):
        fm.get_layer(layer).set_weights(fwfm.get_layer(layer).get_weights())
    np.testing.assert_allclose(keras_scores(fwfm, rows), keras_scores(fm, rows), atol=1e-6)


@pytest.mark.parametrize(
    ("product", "widths"), [("inner", {"inner": 3}), ("outer", {"outer": 10}), ("both", {"inner": 3, "outer": 10})]
)
def test_pnn_reads_the_products_it_is_asked_for(product: str, widths: dict[str, int], kinds: dict[str, Splits]) -> None:
    """Three fields have three pairs; a 4 x 4 matrix has ten entries in its upper half."""
    model = build_model("pnn", kinds["ids"].schema, product=product, **TINY)
    widths_found = {
        layer.name.split("_")[2]: layer.kernel.shape[0]
        for layer in model.layers
        if layer.name in {"dense_0_inner_products", "dense_0_outer_products"}
    }
    assert widths_found == widths


def test_fnn_starts_from_a_trained_factorization_machine(kinds: dict[str, Splits]) -> None:
    data = kinds["every kind"]
    machine = build_model("fm", data.schema, dimension=4)
    spread(machine)
    before = machine.get_weights()
    model = build_model("fnn", data.schema, machine=machine, **TINY)
    for layer in ("table", "first_order", "table_vector_image_projection", "first_order_vector_image_projection"):
        assert same_weights(model.get_layer(layer), machine.get_layer(layer))
    before_step = model.get_layer("table").get_weights()[0] + 1
    model.get_layer("table").set_weights([before_step])
    assert same_weights(machine, before), "the machine is left as it is"


def test_fnn_refuses_a_machine_of_another_shape(kinds: dict[str, Splits]) -> None:
    data = kinds["ids"]
    with pytest.raises(ModelError, match=r"'fm' has .* 8\)\] for 'table', the network .* 4\).*Fix:"):
        build_model("fnn", data.schema, machine=build_model("fm", data.schema, dimension=8), **TINY)
    with pytest.raises(ModelError, match=r"'mlp' has nothing for 'first_order'.*Fix:"):
        build_model("fnn", data.schema, machine=build_model("mlp", data.schema, **TINY), **TINY)


def test_the_wide_part_tells_two_pairs_of_ids_apart(kinds: dict[str, Splits]) -> None:
    """A table of crosses is all that is left when every other weight is 0."""
    data = kinds["ids"]
    model = build_model("wide_deep", data.schema, crosses=[("id_0", "id_2")], **TINY)
    for layer in model.layers:
        layer.set_weights([np.zeros_like(weight) for weight in layer.get_weights()])
    sizes = list(data.schema.tables.values())
    weights = np.random.default_rng(0).normal(size=(min(sizes[0] * sizes[2], 10_000), 1))
    model.get_layer("cross_weights").set_weights([weights])
    rows = {"ids": np.int32([[3, 1, 4], [3, 2, 4], [4, 1, 3]])}
    found = logits_of(model, rows)
    assert found[0] == found[1] != found[2]
    if sizes[0] * sizes[2] <= 10_000:
        np.testing.assert_allclose(found[0], weights[3 * sizes[2] + 4, 0], rtol=1e-5)


@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_crosses_convert_to_builtin_operators(mode: str, kinds: dict[str, Splits]) -> None:
    data = kinds["every kind"]
    crosses = [("id_0", "id_1"), ("id_1", "id_2")]
    model = build_model("wide_deep", data.schema, crosses=crosses, cross_buckets=50, **TINY)
    spread(model)
    content = Export(mode, calibration_rows=64).to_bytes(model, data)
    assert read_graph(content).custom_operators == ()
    scorer = Scorer(content)
    for batch in (1, 7, 512):
        rows = first_rows(data.train.inputs, batch)
        gap = np.abs(scorer(rows) - keras_scores(model, rows))
        assert gap.max() <= 1e-5 if mode == "float32" else gap.mean() < 0.02


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("pnn", {"product": "cosine"}, r"product is 'cosine'. Expected one of inner, outer, both.*Fix:"),
        ("afm", {"attention_width": 0}, r"attention_width is 0.*Fix:"),
        ("afm", {"dropout": 1.0}, r"dropout is 1.0.*Fix:"),
        ("dcn_mix", {"rank": 0}, r"rank is 0.*Fix:"),
        ("dcn_mix", {"num_experts": 1.5}, r"num_experts is 1.5.*Fix:"),
        ("wide_deep", {"crosses": [("id_0", "price")]}, r"\('id_0', 'price'\).*id_0, id_1, id_2.*Fix:"),
        ("wide_deep", {"crosses": [("id_0", "id_0")]}, r"two different id features.*Fix:"),
        ("wide_deep", {"crosses": ["id_0"]}, r"crosses has 'id_0'.*Fix:"),
        ("wide_deep", {"crosses": [("id_0", "id_1")], "cross_buckets": 0}, r"cross_buckets is 0.*Fix:"),
        ("fm", {"hidden": (8,)}, r"fm has no hyperparameter hidden.*dimension"),
    ],
)
def test_hyperparameters_out_of_range_are_refused(
    name: str, settings: dict[str, Any], message: str, kinds: dict[str, Splits]
) -> None:
    with pytest.raises(ModelError, match=message):
        build_model(name, kinds["ids"].schema, **settings)


def test_low_rank_crosses_are_cheaper_than_matrices(kinds: dict[str, Splits]) -> None:
    """At a rank of a sixth of the width, and the vectors of the first paper cheaper still."""
    sizes = {
        name: build_model(name, kinds["ids"].schema, dimension=64, hidden=(8,), **settings).count_params()
        for name, settings in (("dcn_vector", {}), ("dcn_mix", {"num_experts": 2, "rank": 16}), ("dcn", {}))
    }
    assert sizes["dcn_vector"] < sizes["dcn_mix"] < sizes["dcn"]


def test_the_first_layer_of_pnn_has_one_bias(kinds: dict[str, Splits]) -> None:
    model = build_model("pnn", kinds["every kind"].schema, product="both", **TINY)
    first = [layer for layer in model.layers if layer.name.startswith("dense_0") and layer.weights]
    assert {layer.name: layer.use_bias for layer in first} == {
        "dense_0": True,
        "dense_0_numeric": False,
        "dense_0_inner_products": False,
        "dense_0_outer_products": False,
    }


def test_ffm_converts_with_one_lookup_of_its_wide_table(kinds: dict[str, Splits]) -> None:
    data = kinds["ids"]
    model = build_model("ffm", data.schema, dimension=3)
    assert model.get_layer("table").output_dim == 2 * 3
    graph = read_graph(convert(model, "float32"))
    constants = [o for o in graph.operators if o.kind == "GATHER" and graph.tensors[o.inputs[0]].is_constant]
    assert len(constants) == 2, "its table and that of the first-order weights"
