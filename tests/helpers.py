"""Small questions that tests of several rooms ask."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np


def first_rows(inputs: Mapping[str, np.ndarray], num_rows: int) -> dict[str, np.ndarray]:
    """So many rows of named inputs, repeated from the start where there are fewer."""
    return {name: np.resize(values, (num_rows, *values.shape[1:])) for name, values in inputs.items()}


def keras_scores(model: Any, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Scores of a Keras model, without a data pipeline."""
    return model(dict(inputs), training=False).numpy().reshape(-1)


def same_weights(one: Any, other: Any) -> bool:
    """Whether two models, or two lists of weights, hold exactly the same numbers."""
    first, second = (list(m) if isinstance(m, list) else m.get_weights() for m in (one, other))
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
