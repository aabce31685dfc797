"""Dropout that depends on the seed and the number of the step, and on nothing that came before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from tfshop._keras import tf

_STRIDE = 1_000_003  # seeds this far apart leave each its own layers


@contextmanager
def noise_by_step(model: Any, seed: int) -> Iterator[None]:
    """Let every random layer draw from (seed, its position, the optimizer's step) while the block runs.

    The usual generators keep a state inside the step function that can be neither read nor set: a training that is
    resumed would draw other numbers than one that ran through. A layer that is called twice in a step draws the
    same numbers twice.

    Args:
        model: Compiled model; the optimizer counts the steps.
        seed: The training's seed.
    """
    generators = [layer._random_generator for layer in model.submodules if hasattr(layer, "_random_generator")]
    kinds = []
    for position, generator in enumerate(generators):
        generator._maybe_init()
        kinds.append(generator._rng_type)
        generator._rng_type = generator.RNG_STATELESS
        draw = partial(_step_seed, model.optimizer, seed * _STRIDE + position)
        generator.make_seed_for_stateless_op = draw
    try:
        yield
    finally:
        for generator, kind in zip(generators, kinds, strict=True):
            generator._rng_type = kind
            del generator.make_seed_for_stateless_op


def _step_seed(optimizer: Any, layer_seed: int) -> Any:
    """int64 (2,): the layer's seed and the step, another one on every replica."""
    seed = tf.stack([tf.constant(layer_seed, tf.int64), tf.cast(optimizer.iterations, tf.int64)])
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return seed
    return tf.random.experimental.stateless_fold_in(seed, replica.replica_id_in_sync_group)
