"""Click networks: one a file, one row each in `MODELS`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from tfshop._keras import keras
from tfshop.data.schema import Schema
from tfshop.errors import ModelError
from tfshop.models.dcn import build_dcn
from tfshop.models.deepfm import build_deepfm
from tfshop.models.foreign import load_model
from tfshop.models.keras3 import weights_from_keras3
from tfshop.models.mlp import build_mlp

Builder = Callable[..., Any]

MODELS: Mapping[str, Builder] = MappingProxyType({"mlp": build_mlp, "deepfm": build_deepfm, "dcn": build_dcn})


def build_model(name: str, schema: Schema, *, seed: int = 0, **hyperparameters: Any) -> Any:
    """Build one of the networks in `MODELS`, the same weights for the same seed.

    Args:
        name: A key of `MODELS`.
        schema: Fitted schema, as `prepare` returns it in `data.schema`.
        seed: Seed of the initial weights.
        **hyperparameters: As the builder's own function takes them: `dimension`, `hidden`, `dropout` …

    Returns:
        Functional tf_keras model; inputs as `schema.input_specs()`, output `probability` float32 (batch, 1).

    Raises:
        ModelError: For an unknown name or hyperparameter.

    Example:
        >>> model = build_model("mlp", data.schema, dimension=8, hidden=(64, 32))  # doctest: +SKIP
    """
    if name not in MODELS:
        raise ModelError(
            f"no network is called {name!r}. Expected one of {', '.join(MODELS)}. Fix: build_model('mlp', …)."
        )
    builder = MODELS[name]
    known = [key for key in inspect.signature(builder).parameters if key != "schema"]
    unknown = sorted(set(hyperparameters) - set(known))
    if unknown:
        raise ModelError(f"{name} has no hyperparameter {', '.join(unknown)}. Expected some of {', '.join(known)}.")
    dimension = hyperparameters.get("dimension", 1)
    if not isinstance(dimension, int) or dimension < 1:
        raise ModelError(f"dimension is {dimension!r}. Expected an integer of at least 1. Fix: dimension=16.")
    keras.utils.set_random_seed(seed)
    return builder(schema, **hyperparameters)


__all__ = ["MODELS", "build_dcn", "build_deepfm", "build_mlp", "build_model", "load_model", "weights_from_keras3"]
