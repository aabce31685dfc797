"""Where a network gets trained ranges: on layers that train with rounding, and on whatever they read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tfshop._keras import keras, tf
from tfshop.compression.roles import calls_of, layers_with, output_tensors, readers, source_layers
from tfshop.models.rebuild import foreign_parts

_FUNCTIONS = frozenset({"Lambda", "TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty"})


@dataclass(frozen=True)
class RangePlaces:
    """Names of layers, by how they are treated.

    Attributes:
        rounded: Dense layers whose kernel trains with rounding.
        within: Layers whose wrapper holds the range of their output, those of `rounded` among them.
        behind: Layers followed by an identity that holds the range: what cannot be wrapped, because it has weights of
            its own, takes several arguments, or nobody knows what it does.
    """

    rounded: tuple[str, ...]
    within: tuple[str, ...]
    behind: tuple[str, ...]

    @property
    def holders(self) -> dict[str, str]:
        """Layer whose output has a range -> the layer that holds it."""
        return {**{name: name for name in self.within}, **{name: range_name(name) for name in self.behind}}


def range_name(name: str) -> str:
    """Name of the identity behind a layer."""
    return f"{name}_range"


def range_places(model: Any, rounded: tuple[str, ...]) -> RangePlaces:
    """Find the places of a flat model.

    A Dense layer that nothing but a BatchNormalization reads gets no range: the converter folds the two into one, and
    the range belongs behind both.
    """
    folded = {name: reader for name in rounded if (reader := _normalization(model, name))}
    # The head reads what trained layers give: without a range of its own the converter would lend it theirs.
    reading = (*rounded, *layers_with(model, ("head",)))
    sources = {source.name: source for name in reading for source in source_layers(model.get_layer(name), model)}
    sources.update({reader.name: reader for reader in folded.values()})
    feeding = [source for name, source in sources.items() if name not in rounded and _gives_one_float(source, model)]
    return RangePlaces(
        rounded=rounded,
        within=(*(n for n in rounded if n not in folded), *(s.name for s in feeding if _can_be_wrapped(s))),
        behind=tuple(source.name for source in feeding if not _can_be_wrapped(source)),
    )


def _normalization(model: Any, name: str) -> Any:
    """The BatchNormalization that alone reads a linear layer; None where there is none."""
    layer = model.get_layer(name)
    layer = getattr(layer, "layer", layer)
    calls = readers(model.get_layer(name), model)
    linear = getattr(layer, "activation", None) is keras.activations.linear
    if linear and len(calls) == 1 and type(calls[0]) is keras.layers.BatchNormalization:
        return calls[0] if len(source_layers(calls[0], model)) == 1 else None
    return None


def _gives_one_float(layer: Any, model: Any) -> bool:
    """Whether each call gives one tensor that a range can be put on; inputs and ids get none."""
    if isinstance(layer, keras.layers.InputLayer):
        return False
    tensors = output_tensors(layer, model)
    return len(tensors) == len(calls_of(layer, model)) and all(tf.as_dtype(t.dtype).is_floating for t in tensors)


def _can_be_wrapped(layer: Any) -> bool:
    return not layer.weights and type(layer).__name__ not in _FUNCTIONS and not foreign_parts(layer)
