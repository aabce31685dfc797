"""One of our networks by its hyperparameters, read off its layers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Protocol

from tfshop._keras import keras
from tfshop.compression._likeness import are_alike
from tfshop.compression.roles import unwrapped
from tfshop.data.schema import Schema
from tfshop.errors import ModelError
from tfshop.layers import (
    FieldAttention,
    FieldRegulation,
    HistoryAttention,
    MaskedMean,
    NextBehaviourLoss,
    PositionWeights,
)
from tfshop.models import MODELS, build_model

HIDDEN = re.compile(r"dense_(\d+)")
# Hyperparameters that no weight shows, to the layers and their attribute that do.
SHOWN_BY: Mapping[str, tuple[Any, str]] = MappingProxyType(
    {
        "dropout": (keras.layers.Dropout, "rate"),
        "pooling": (MaskedMean, "pooling"),
        "softmax": (PositionWeights, "softmax"),
        "temperature": (FieldRegulation, "temperature"),
        "num_heads": ((FieldAttention, HistoryAttention), "num_heads"),
    }
)
BRIDGES: Mapping[Any, str] = MappingProxyType(
    {keras.layers.Multiply: "product", keras.layers.Add: "sum", keras.layers.Dense: "concatenation"}
)


class Smaller(Protocol):
    """How much smaller a network is to be."""

    def units(self, width: int) -> int:
        """New width of a hidden layer."""

    def layers(self, depth: int) -> int:
        """New number of hidden layers."""

    def num_crosses(self, crosses: int) -> int:
        """New number of crosses."""

    def columns(self, width: int, widest: int) -> int:
        """New width of a table."""


def shrunk_by_hyperparameters(model: Any, schema: Schema, wanted: Smaller, seed: int) -> Any:
    """The network built anew, smaller; None where it is none of ours, or has hyperparameters that do not show."""
    found = hyperparameters_of(model, schema)
    if found is None:
        return None
    smaller = dict(found)
    if "hidden" in found:
        kept = wanted.layers(len(found["hidden"])) if found["hidden"] else 0
        smaller["hidden"] = tuple(wanted.units(width) for width in found["hidden"][:kept])
    if "num_crosses" in found:
        smaller["num_crosses"] = wanted.num_crosses(found["num_crosses"])
    if "dimension" in found:
        smaller["dimension"] = wanted.columns(found["dimension"], found["dimension"])
    try:
        return None if smaller == found else build_model(model.name, schema, seed=seed, **smaller)
    except ModelError:  # a width that has to be a multiple of something
        return None


def hyperparameters_of(model: Any, schema: Schema) -> dict[str, Any] | None:
    """`dimension`, `hidden` and whatever else shows, such that `build_model` gives the same network, weights apart.

    None where it is none of our networks, one that other hyperparameters were changed of, or one that was changed
    since it was built.
    """
    if model.name not in MODELS:
        return None
    parameters = inspect.signature(MODELS[model.name]).parameters
    layers = {layer.name: unwrapped(layer) for layer in model.layers}
    read = {
        **{name: _attribute(layers, *where) for name, where in SHOWN_BY.items()},
        "dimension": getattr(layers.get("table"), "output_dim", None),
        "hidden": _hidden(layers),
        "num_crosses": len([name for name in layers if re.fullmatch(r"cross_\d+_kernel", name)]) or None,
        "head_width": _head_width(layers),
        "auxiliary_weight": _attribute(layers, NextBehaviourLoss, "weight") or 0.0,
        "bridging": "attention" if "bridge_0_cross_inner" in layers else BRIDGES.get(type(layers.get("bridge_0"))),
    }
    found: dict[str, Any] = {name: value for name, value in read.items() if value is not None and name in parameters}
    try:
        return found if are_alike(build_model(model.name, schema, **found), model) else None
    except (ModelError, ValueError, TypeError, NotImplementedError):  # or a layer that says nothing of its settings
        return None


def _attribute(layers: Mapping[str, Any], kind: Any, name: str) -> Any:
    """What the first layer of a kind says; None where there is none."""
    return next((getattr(layer, name) for layer in layers.values() if isinstance(layer, kind)), None)


def _head_width(layers: Mapping[str, Any]) -> int | None:
    """Of the attention among fields; its queries are as wide as all heads together."""
    attention, query = (layers.get(name) for name in ("attention_0", "attention_0_query"))
    return query.units // attention.num_heads if isinstance(attention, FieldAttention) and query else None


def _hidden(layers: Mapping[str, Any]) -> tuple[int, ...] | None:
    widths = {int(place[1]): layer.units for name, layer in layers.items() if (place := HIDDEN.fullmatch(name))}
    return tuple(widths[level] for level in sorted(widths)) or None
