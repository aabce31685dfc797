"""Which models can come in."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras
from tfshop.errors import ModelError


def require_functional(model: Any) -> None:
    """Raise `ModelError` for anything but a functional tf_keras model with one output."""
    if not isinstance(model, keras.Model):
        kind = f"{type(model).__module__}.{type(model).__name__}"
        raise ModelError(
            f"{kind} is not a tf_keras model. Expected a functional tf_keras (Keras 2) model. Fix: build it with "
            "`import tf_keras as keras`; weights of a Keras 3 model can be set by name after that."
        )
    if not model._is_graph_network:
        raise ModelError(
            f"model {model.name!r} is subclassed. Expected a functional model. Fix: "
            "keras.Model(inputs, model.call(inputs)) with one keras.Input for each of its inputs."
        )
    if len(model.outputs) != 1:
        raise ModelError(
            f"model {model.name!r} has {len(model.outputs)} outputs. Expected one. Fix: one model a target."
        )
