"""Two towers that meet in a product."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from two_towers import ITEM, market

from tfshop._keras import keras
from tfshop.data import Splits
from tfshop.errors import ModelError
from tfshop.models import build_model
from tfshop.models.two_tower import features_of_tower, tower_features

TINY = {"dimension": 4, "hidden": (8,), "vector_width": 6}


@pytest.fixture(scope="module")
def data() -> Splits:
    return market(1500, with_history=True)


def vectors(model: Any, rows: dict[str, np.ndarray]) -> list[np.ndarray]:
    layers = [model.get_layer(f"{side}_vector").output for side in ("user", "item")]
    return [values.numpy() for values in keras.Model(model.inputs, layers)(rows)]


def test_the_logit_is_a_weight_times_the_cosine_plus_a_bias(data: Splits) -> None:
    model = build_model("two_tower", data.schema, item=ITEM, **TINY)
    rows = dict(data.test.inputs)
    user, item = vectors(model, rows)
    np.testing.assert_allclose(np.linalg.norm(user, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(item, axis=1), 1, atol=1e-5)
    (weight,), (bias,) = model.get_layer("logit").get_weights()
    expected = 1 / (1 + np.exp(-((user * item).sum(axis=1) * weight + bias)))
    np.testing.assert_allclose(model(rows).numpy().ravel(), expected, atol=1e-6)


def test_a_side_is_moved_by_its_own_features_alone(data: Splits) -> None:
    """Item 1 in the history and item 1 as the candidate read one row, so the table is shared and the towers are not."""
    model = build_model("two_tower", data.schema, item=ITEM, **TINY)
    rows = dict(data.test.inputs)
    user, item = vectors(model, rows)
    names = [feature.name for feature in data.schema.id_features]
    for name in names:
        ids = rows["ids"].copy()
        ids[:, names.index(name)] = np.roll(ids[:, names.index(name)], 1)
        moved_user, moved_item = vectors(model, {**rows, "ids": ids})
        assert np.allclose(user, moved_user) == (name in ITEM)
        assert np.allclose(item, moved_item) == (name not in ITEM)
    moved_user, moved_item = vectors(model, {**rows, "hist_liked": np.roll(rows["hist_liked"], 1, axis=0)})
    assert not np.allclose(user, moved_user) and np.allclose(item, moved_item)


def test_the_table_of_a_history_is_that_of_the_items(data: Splits) -> None:
    model = build_model("two_tower", data.schema, item=ITEM, **TINY)
    tables = {layer.name: layer.input_dim for layer in model.layers if isinstance(layer, keras.layers.Embedding)}
    sizes = data.schema.tables
    assert tables == {"shared_table": sizes["item"], "user_table": sizes["user"], "item_table": sizes["brand"]}


def test_features_left_out_of_one_side_are_on_the_other(data: Splits) -> None:
    sides = {"user": ["user", "liked"], "item": ["item", "brand", "price"]}
    for given in ({"item": ITEM}, {"user": ("liked", "user")}, {"user": ("user", "liked"), "item": ITEM}):
        assert tower_features(data.schema, given.get("user", ()), given.get("item", ())) == sides
        model = build_model("two_tower", data.schema, **given, **TINY)
        for side, names in sides.items():
            assert set(features_of_tower(model, data.schema, side)) == set(names)


@pytest.mark.parametrize(
    ("sides", "said"),
    [
        ({}, "Expected the names of the features of one side"),
        ({"item": "item"}, "Expected the names of the features of one side"),
        ({"item": ("item", "size")}, "'size' is unknown"),
        ({"user": ("user", "item"), "item": ITEM}, "'item' is on both sides"),
        ({"user": ("user",), "item": ("item",)}, "'brand', 'price', 'liked' are on no side"),
        ({"item": ("user", "item", "brand", "price", "liked")}, "no features are left for the user"),
    ],
)
def test_sides_that_do_not_divide_the_features_are_refused(sides: dict[str, Any], said: str, data: Splits) -> None:
    with pytest.raises(ModelError, match=rf"two_tower.*{said}|{said}.*Fix:"):
        build_model("two_tower", data.schema, **sides, **TINY)


@pytest.mark.parametrize("wrong", [{"hidden": ()}, {"hidden": (0,)}, {"vector_width": 0}, {"dropout": 1.0}])
def test_widths_out_of_range_are_refused(wrong: dict[str, Any], data: Splits) -> None:
    with pytest.raises(ModelError, match="Expected"):
        build_model("two_tower", data.schema, item=ITEM, **{**TINY, **wrong})


def test_another_network_has_no_towers(data: Splits) -> None:
    model = build_model("mlp", data.schema, dimension=4, hidden=(8,))
    with pytest.raises(ModelError, match=r"model 'mlp' has no user tower.*build_model\('two_tower'"):
        features_of_tower(model, data.schema, "user")
