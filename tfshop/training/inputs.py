"""What a Keras model wants to be fed, by input name."""

from __future__ import annotations

from typing import Any

from tfshop.data.schema import InputSpec


def model_specs(model: Any) -> dict[str, InputSpec]:
    """Inputs of a functional model: name to shape (without batch) and dtype."""
    return {
        tensor.name.split(":")[0]: InputSpec(
            tuple(tensor.shape[1:]), tensor.dtype if isinstance(tensor.dtype, str) else tensor.dtype.name
        )
        for tensor in model.inputs
    }
