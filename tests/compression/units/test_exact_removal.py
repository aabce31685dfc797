"""Units that are exactly zero go without a trace, or stay where the network gives something in their place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfshop._keras import keras
from tfshop.compression.units.groups import groups
from tfshop.compression.units.surgery import shrunk
from tfshop.compression.units.trace import follow

from .graphs import rows

layers = keras.layers
SUMS = (layers.Add, layers.Subtract, layers.Average, layers.Maximum, layers.Minimum)


def half_zero(build: Callable[[Any, Any], Any], width: int = 8) -> Any:
    """A network whose layer 'a' has every other unit zero, and whose other weights and biases are not."""
    keras.utils.set_random_seed(0)
    x = keras.Input((5,), name="x")
    model = keras.Model(x, layers.Dense(1, name="score")(build(layers.Dense(width, name="a")(x), x)))
    random = np.random.default_rng(0)
    for weight in model.weights:
        weight.assign(random.normal(0, 0.5, weight.shape))
    kernel, bias = model.get_layer("a").get_weights()
    kernel[:, ::2], bias[::2] = 0.0, 0.0
    model.get_layer("a").set_weights([kernel, bias])
    return model


def without_zeros(model: Any) -> tuple[Any, str | None]:
    """The network without the units of 'a' that are zero and may go, and why the first of them stays."""
    trace = follow(model)
    free = {atom for group in groups(trace.ledger) for atom in group.atoms}
    zero = trace.tensors[id(model.get_layer("a").output)][-1][::2]
    gone = frozenset().union(*map(trace.ledger.resolve, zero)) & free
    return shrunk(trace, gone), trace.ledger.reason(zero[0])


def require_same_scores(smaller: Any, model: Any) -> None:
    given = rows(model)
    np.testing.assert_allclose(smaller(given).numpy(), model(given).numpy(), atol=1e-6)


@pytest.mark.parametrize("kind", SUMS)
def test_units_stay_where_one_value_is_combined_with_all_of_them(kind: Any) -> None:
    model = half_zero(lambda a, x: layers.Dense(8, "tanh")(kind(name="both")([a, layers.Dense(1)(x)])))
    smaller, reason = without_zeros(model)
    require_same_scores(smaller, model)
    assert reason == "'both' combines it with one value for all units, which a unit of zeros takes on"


def test_units_go_where_one_value_is_multiplied_with_all_of_them() -> None:
    model = half_zero(lambda a, x: layers.Dense(8, "tanh")(layers.Multiply()([a, layers.Dense(1)(x)])))
    smaller, reason = without_zeros(model)
    require_same_scores(smaller, model)
    assert reason is None and smaller.get_layer("a").units == 4


def test_units_go_where_a_sum_is_of_one_width() -> None:
    model = half_zero(lambda a, x: layers.Add()([a, layers.Activation("relu")(a)]))
    smaller, reason = without_zeros(model)
    require_same_scores(smaller, model)
    assert reason is None and smaller.get_layer("a").units == 4


def as_positions(layer: Any) -> Callable[[Any, Any], Any]:
    """A layer applied at each unit of 'a', as a position of length 1 or 2."""

    def build(a: Any, _: Any) -> Any:
        columns = layers.Permute((2, 1))(layers.Reshape((2, 4))(a))
        return layers.Flatten()(layer(columns))

    return build


GIVES_SOMETHING = {
    "a bias": lambda: layers.Dense(3, name="at_each"),
    "a sigmoid": lambda: layers.Dense(3, "sigmoid", use_bias=False, name="at_each"),
    "a bias by letter": lambda: layers.EinsumDense("bpd,dk->bpk", (None, 3), bias_axes="k", name="at_each"),
    "a shift": lambda: layers.BatchNormalization(name="at_each"),
    "a shift over the width": lambda: layers.LayerNormalization(name="at_each"),
    "an activation": lambda: layers.Activation("sigmoid", name="at_each"),
    "a softmax": lambda: layers.Softmax(name="at_each"),
}


@pytest.mark.parametrize("what", GIVES_SOMETHING)
def test_units_stay_as_positions_where_a_layer_gives_something_for_zeros(what: str) -> None:
    model = half_zero(as_positions(GIVES_SOMETHING[what]()))
    smaller, reason = without_zeros(model)
    require_same_scores(smaller, model)
    assert str(reason).startswith("'at_each' is applied at each of its positions")


@pytest.mark.parametrize("activation", ["linear", "tanh"])
def test_units_go_as_positions_where_a_layer_gives_zeros_for_zeros(activation: str) -> None:
    model = half_zero(as_positions(layers.Dense(3, activation, use_bias=False)))
    smaller, reason = without_zeros(model)
    require_same_scores(smaller, model)
    assert reason is None and smaller.get_layer("a").units == 4
