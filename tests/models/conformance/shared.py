"""What the tests of every network share, besides fixtures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from networks import needs

from tfshop._keras import keras, tf
from tfshop.data import Splits
from tfshop.models import MODELS, build_model

NUM_IDS = 26
MOST_ROWS = 512
EXPERTS = {"mmoe": {"num_experts": 2, "heads": (8,)}, "ple": {"hidden": (8,), "heads": (8,)}}  # fewer and narrower ones
Built = Callable[[str, str], Any]
Scored = Callable[[str, str], dict[str, np.ndarray]]
Files = Callable[[str, str], bytes]

each_network = pytest.mark.parametrize("name", MODELS)
each_network_and_kind = pytest.mark.parametrize(
    ("name", "kind"), [(name, kind) for name in MODELS for kind in needs(name).kinds if kind != "numerics"]
)


@dataclass
class Step:
    """One step of training on one batch: the weights it began with, the loss before and after, and the gradients."""

    initial: list[np.ndarray]
    before: float
    after: float
    gradients: dict[str, np.ndarray | None]


def build(name: str, data: Splits, **settings: Any) -> Any:
    return build_model(name, data.schema, **{**needs(name).settings, **EXPERTS.get(name, {}), **settings})


def richest(name: str) -> str:
    return needs(name).kinds[-1]


def loss_of(outputs: dict[str, Any], labels: dict[str, np.ndarray]) -> Any:
    losses = [tf.reduce_mean(keras.losses.binary_crossentropy(labels[name], outputs[name])) for name in labels]
    return tf.add_n(losses)
