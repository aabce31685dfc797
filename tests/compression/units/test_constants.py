"""Whatever a network looks like: an input feature goes, or a constant stands for it, and the rest stays as it was."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from tfshop._keras import keras
from tfshop.compression.units.features import follow_features
from tfshop.compression.units.surgery import shrunk
from tfshop.data import Schema, VectorFeature
from tfshop.models.rebuild import inlined

from .graphs import INPUTS, networks, rows

layers = keras.layers
SCHEMA = Schema([VectorFeature(name, width=width) for name, width in INPUTS.items()], target="clicked")


@settings(max_examples=20, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(networks())
def test_a_feature_goes_from_any_network_and_the_other_is_still_read(model: Any) -> None:
    flat = inlined(model)
    features = follow_features(flat, SCHEMA, ["one"])
    given_rows = rows(flat)
    if "one" in features.held:  # it may be all that the network reads
        without = flat({**given_rows, "other": given_rows["other"][::-1]}).numpy()
        np.testing.assert_array_equal(without, flat(given_rows).numpy())
        return
    smaller = shrunk(features.trace, features.atoms(["one"]))
    found = smaller(given_rows).numpy()
    others = {**given_rows, "one": given_rows["one"][::-1]}
    np.testing.assert_array_equal(smaller(others).numpy(), found)
    assert np.isfinite(found).all() and [t.name for t in smaller.inputs] == [t.name for t in flat.inputs]


def two_inputs(build: Any) -> Any:
    """A network of two inputs of one width."""
    keras.utils.set_random_seed(0)
    one, other = keras.Input((5,), name="one"), keras.Input((4,), name="other")
    return keras.Model([one, other], layers.Dense(1, name="score")(build(one, other)))


def constants(model: Any) -> list[str]:
    """Names of the constants in the network without the feature 'one'."""
    features = follow_features(model, SCHEMA, ["one"])
    assert "one" not in features.held
    smaller = shrunk(features.trace, features.atoms(["one"]))
    assert smaller(rows(model)).shape == (16, 1)
    return [layer.name for layer in smaller.layers if layer.name.endswith("_constant")]


def test_a_constant_stands_as_late_as_possible_and_only_where_it_is_needed() -> None:
    def build(one: Any, other: Any) -> Any:
        first = layers.Dense(8, name="second")(layers.Dense(6, name="first")(one))
        product = layers.Multiply()([first, layers.Dense(8)(other)])
        return layers.Concatenate()([first, product, other])

    assert constants(two_inputs(build)) == ["second_constant"]
    assert constants(two_inputs(lambda one, other: layers.Concatenate()([one, other]))) == []


def test_a_layer_called_on_both_reads_constants_where_they_differ() -> None:
    def build(one: Any, other: Any) -> Any:
        shared = layers.Dense(3, name="shared")
        mixed = layers.Concatenate(name="mixed")([one, other])
        return layers.Concatenate()([shared(mixed), shared(layers.Dense(9, name="wide")(other))])

    assert constants(two_inputs(build)) == ["mixed_constant"]


def test_a_dot_product_is_kept_for_what_its_other_side_says() -> None:
    """A product of the feature by another would go whole with it, and with that what the other adds by a bias."""

    def build(one: Any, other: Any) -> Any:
        sides = [layers.Dense(4, bias_initializer="ones", name=name)(x) for name, x in (("user", one), ("item", other))]
        return layers.Concatenate()([layers.Dot(axes=1)(sides), other])

    model = two_inputs(build)
    features = follow_features(model, SCHEMA, ["one"])
    values = {id(tensor): np.ones(tensor.shape[1:], np.float32) for tensor in features.trace.constants.tensors}
    smaller, given_rows = shrunk(features.trace, features.atoms(["one"]), values), rows(model)
    expected = model({**given_rows, "one": np.zeros((16, 5), np.float32)}).numpy()  # of which "user" makes its bias
    np.testing.assert_allclose(smaller(given_rows).numpy(), expected, atol=1e-6)
    assert constants(model) == ["user_constant"]


@pytest.mark.parametrize("turned", [False, True])
def test_constants_are_put_between_what_stays_along_any_axis(turned: bool) -> None:
    """What stays is given as it was, in its order, and the constant where the feature stood."""

    def build(one: Any, other: Any) -> Any:
        both = layers.Concatenate(name="both")([other, one, other])
        rows_of = layers.Reshape((13, 1))(both)
        rows_of = layers.Permute((2, 1))(rows_of) if turned else rows_of
        return layers.Flatten()(layers.LayerNormalization(axis=(1, 2), name="normalized")(rows_of))

    model = two_inputs(build)
    features = follow_features(model, SCHEMA, ["one"])
    restored = features.trace.constants.tensors
    values = {id(tensor): np.full(tensor.shape[1:], 0.5, np.float32) for tensor in restored}
    smaller = shrunk(features.trace, features.atoms(["one"]), values)
    given_rows = rows(model)
    expected = model({**given_rows, "one": np.full((16, 5), 0.5, np.float32)}).numpy()
    np.testing.assert_allclose(smaller(given_rows).numpy(), expected, atol=1e-6)
