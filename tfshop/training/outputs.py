"""Which output of a Keras model is the probability of which target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop._keras import keras
from tfshop.data.schema import Schema
from tfshop.errors import ModelError
from tfshop.training.checks import require_graph


def arrange_outputs(model: Any, schema: Schema) -> Any:
    """The model with its outputs as a list in the order of the targets, named so that its file tells them apart.

    Outputs are mapped by name where they are called `probability_<target>` or `<target>` (the key, where the model
    gives a dict), else by their order; `outputs_note` says which. A model that is arranged already comes back itself,
    another shares its layers.

    Args:
        model: Functional model with one output a target.
        schema: Names the targets.

    Raises:
        ModelError: For what is not functional, another number of outputs than of targets, where some names are
            targets' and others not, and where another layer has the name that an output is to get.

    Example:
        >>> schema = Schema([NumericFeature("age")], target=("clicked", "bought"))  # doctest: +SKIP
        >>> arrange_outputs(keras.Model(x, {"bought": b, "clicked": c}), schema).output_names  # doctest: +SKIP
        ['probability_clicked', 'probability_bought']
    """
    require_graph(model)
    _require_as_many(model, schema.targets)
    if len(schema.targets) == 1:
        return keras.Model(model.input, model.outputs[0], name=model.name) if isinstance(model.output, dict) else model
    names = output_names(model)
    positions = _positions(model, names, schema)
    if positions is not None and list(positions) == sorted(positions) and names == model.output_names:
        return model
    tensors = [model.outputs[position] for position in positions or range(len(names))]
    if positions is None or names != model.output_names:  # the converter names outputs after their layers
        _require_free(model, schema)
        tensors = [
            keras.layers.Activation("linear", name=name)(tensor)
            for name, tensor in zip(schema.outputs.values(), tensors, strict=True)
        ]
    return keras.Model(model.input, tensors, name=model.name)


def outputs_note(model: Any, schema: Schema) -> str:
    """Which output was taken for which target, and why, in a sentence; empty for a single target."""
    if len(schema.targets) == 1:
        return ""
    names = output_names(model)
    positions = _positions(model, names, schema)
    found = [names[position] for position in positions or range(len(names))]
    pairs = ", ".join(f"{name} for {target}" for name, target in zip(found, schema.targets, strict=True))
    return f"outputs taken for targets by {'order' if positions is None else 'name'}: {pairs}"


def output_names(model: Any) -> list[str]:
    """Names of a model's outputs in the order of `model.outputs`: keys of a dict, else names of layers."""
    return sorted(model.output) if isinstance(model.output, dict) else list(model.output_names)


def _require_as_many(model: Any, targets: Sequence[str]) -> None:
    found = len(model.outputs)
    if found == len(targets):
        return
    if len(targets) == 1:
        raise ModelError(
            f"model {model.name!r} has {found} outputs. Expected one. Fix: Schema(…, target=(…)) with a target for "
            "each output, or keras.Model(model.input, model.outputs[0])."
        )
    raise ModelError(
        f"model {model.name!r} has {found} output{'s' if found > 1 else ''}, the schema has {len(targets)} targets: "
        f"{', '.join(targets)}. Expected an output for each. Fix: a network of several targets, such as "
        "build_model('mmoe', data.schema), or a schema of one target."
    )


def _require_free(model: Any, schema: Schema) -> None:
    """Raise where a layer has a name that an output is to get."""
    taken = sorted({layer.name for layer in model.layers} & set(schema.outputs.values()))
    if taken:
        raise ModelError(
            f"model {model.name!r} has a layer called {taken[0]!r} that is not the output of that name. Expected the "
            f"name to be free, or outputs called {', '.join(schema.outputs.values())}. Fix: rename the layer."
        )


def _positions(model: Any, names: Sequence[str], schema: Schema) -> tuple[int, ...] | None:
    """Position of each target's output by name; None where no name is that of a target.

    Raises:
        ModelError: Where some are and others are not, or none is and the outputs are a dict: their order would be a
            guess.
    """
    found = {
        target: next((name for name in (output, target) if name in names), None)
        for target, output in schema.outputs.items()
    }
    if not any(found.values()):
        if isinstance(model.output, dict):
            raise ModelError(
                f"model {model.name!r} gives a dict of outputs {', '.join(names)}, which has no order, and no key is "
                f"a target's. Expected the keys {', '.join(schema.outputs)}. Fix: name the keys after the targets, "
                f"or give a list: keras.Model(model.input, [model.output[{names[0]!r}], …], name={model.name!r})."
            )
        return None
    lost = [target for target, name in found.items() if name is None]
    if lost:
        raise ModelError(
            f"model {model.name!r} has outputs {', '.join(names)}, of which none is named after {', '.join(lost)}. "
            f"Expected all or none to be called {', '.join(schema.outputs.values())}. Fix: rename the output layers."
        )
    return tuple(names.index(name) for name in found.values() if name is not None)
