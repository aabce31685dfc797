"""Zeros stay zero in whatever layer they are, while everything else trains."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfshop._keras import keras
from tfshop.compression.kernels import kernels_of
from tfshop.compression.masked import MaskedKernels, zeros_held
from tfshop.compression.rebuild import copy_model
from tfshop.layers import ExpertKernels, InterestGRU
from tfshop.training import LazyAdam


def network() -> Any:
    """Attention, a recurrence of Keras and one of ours, experts, and an einsum, on one input."""
    keras.utils.set_random_seed(0)
    steps = keras.Input((4, 6), name="steps")
    attended = keras.layers.MultiHeadAttention(2, 3, name="attention")(steps, steps)
    state = keras.layers.LSTM(4, name="lstm")(attended)
    states = InterestGRU(2, name="gru")(steps)
    einsum = keras.layers.EinsumDense("bfd,fde->bfe", (4, 2), name="einsum")(states)
    experts = ExpertKernels(2, name="experts")(keras.layers.Flatten()(einsum))
    joined = keras.layers.Concatenate()([state, experts])
    return keras.Model(steps, keras.layers.Dense(1, activation="sigmoid", name="out")(joined))


def train(model: Any) -> None:
    model.compile(LazyAdam(1e-2), "binary_crossentropy")
    rows = np.random.default_rng(0).normal(size=(64, 4, 6)).astype(np.float32)
    model.fit(rows, (rows.sum(axis=(1, 2)) > 0).astype(np.float32), epochs=3, verbose=0)


def test_zeros_of_every_kind_of_layer_are_held_and_the_rest_trains() -> None:
    model = network()
    names = [layer.name for layer in model.layers]
    masked = MaskedKernels(kernels_of(model, names))
    assert len(masked.kernels) == 4 + 2 + 2 + 1 + 1 + 1
    drawn = {
        name: np.random.default_rng(len(name)).random(kernel.variable.shape) < 0.5
        for name, kernel in masked.kernels.items()
    }
    masked.assign(drawn)
    before = {name: kernel.variable.numpy() for name, kernel in masked.kernels.items()}
    with zeros_held(model) as held:
        assert set(held) == {"attention", "lstm", "gru", "einsum", "experts", "out"}
        train(model)
    for name, kernel in masked.kernels.items():
        after = kernel.variable.numpy()
        assert (after[~drawn[name]] == 0).all(), name
        assert (after[drawn[name]] != before[name][drawn[name]]).mean() > 0.3, name  # some lead nowhere
    assert all(kernel.variable.constraint is None for kernel in masked.kernels.values())


def test_without_holding_zeros_come_back() -> None:
    steps = keras.Input((4, 6), name="steps")
    einsum = keras.layers.Flatten()(keras.layers.EinsumDense("bfd,fde->bfe", (4, 2), name="einsum")(steps))
    model = keras.Model(steps, keras.layers.Dense(1, activation="sigmoid", name="out")(einsum))
    kernel = model.get_layer("einsum").kernel
    kernel.assign(kernel.numpy() * 0)
    train(model)
    assert (kernel.numpy() != 0).mean() > 0.9


def test_a_constraint_that_was_there_holds_too() -> None:
    x = keras.Input((3,))
    model = keras.Model(x, keras.layers.Dense(1, kernel_constraint="non_neg", name="out")(x))
    model.set_weights([np.float32([[0.5], [0.0], [0.1]]), np.zeros(1)])
    before = model.get_layer("out").kernel.constraint
    with zeros_held(model):
        model.compile(keras.optimizers.SGD(0.5), "mse")
        model.fit(np.ones((8, 3)), -np.ones(8), epochs=2, verbose=0)
    kernel = model.get_layer("out").get_weights()[0]
    assert kernel[1] == 0 and (kernel >= 0).all() and kernel[0] != 0.5
    assert model.get_layer("out").kernel.constraint is before


def test_rows_of_a_table_that_were_never_asked_for_are_no_pruning(trained_mlp: Any) -> None:
    model = copy_model(trained_mlp)
    table = model.get_layer("table")
    values = table.get_weights()[0]
    values[7:9] = 0.0
    table.set_weights([values])
    with zeros_held(model) as held:
        assert held == ()
    values[3, 0] = 0.0
    table.set_weights([values])
    with zeros_held(model) as held:
        assert held == ("table",)
