"""One of our networks by its hyperparameters, read off its layers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Any, Protocol

from tfshop._keras import keras
from tfshop.data.schema import Schema
from tfshop.errors import ModelError
from tfshop.models import MODELS, build_model

HIDDEN = re.compile(r"dense_(\d+)")


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
    """`dimension`, `hidden` and whatever else shows, such that `build_model` gives weights of the same shapes.

    None where it is none of our networks, or one that other hyperparameters were changed of.
    """
    if model.name not in MODELS:
        return None
    parameters = inspect.signature(MODELS[model.name]).parameters
    layers = {layer.name: layer for layer in model.layers}
    read = {
        "dimension": getattr(layers.get("table"), "output_dim", None),
        "hidden": _hidden(layers),
        "num_crosses": len([name for name in layers if re.fullmatch(r"cross_\d+_kernel", name)]) or None,
        "dropout": next((layer.rate for layer in layers.values() if isinstance(layer, keras.layers.Dropout)), None),
    }
    found: dict[str, Any] = {name: value for name, value in read.items() if value is not None and name in parameters}
    try:
        again = build_model(model.name, schema, **found)
    except (ModelError, ValueError, TypeError):
        return None
    return found if _shapes(again) == _shapes(model) else None


def _hidden(layers: Mapping[str, Any]) -> tuple[int, ...] | None:
    widths = {int(place[1]): layer.units for name, layer in layers.items() if (place := HIDDEN.fullmatch(name))}
    return tuple(widths[level] for level in sorted(widths)) or None


def _shapes(model: Any) -> list[tuple[str, tuple[int, ...]]]:
    return [(weight.name, tuple(weight.shape)) for weight in model.weights]
