"""Which models can come in."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras
from tfshop.errors import ModelError


def require_functional(model: Any) -> None:
    """Raise `ModelError` for anything but a functional tf_keras model whose outputs are one number each."""
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
    wide = [output for output in model.outputs if output.shape[1:].num_elements() != 1]
    if wide:
        raise ModelError(
            f"output {wide[0].name!r} of {model.name!r} has shape {tuple(wide[0].shape)}. Expected (batch, 1), the "
            "probability of one target. Fix: end in Dense(1, activation='sigmoid'), one for each target."
        )
