"""A smaller network of the same make: fewer units, fewer layers, narrower tables."""

from __future__ import annotations

from typing import Any

import numpy as np

from tfshop._keras import keras
from tfshop.compression.family import shrunk_by_hyperparameters
from tfshop.compression.rebuild import KeepZeros, copy_model, take_over
from tfshop.compression.roles import calls_of, layers_with
from tfshop.compression.shrinkage import Shrinkage, shrunk_size
from tfshop.compression.widths import Columns, WidthGroup, Widths
from tfshop.data.schema import Schema
from tfshop.errors import ModelError, PlanError
from tfshop.layers import Reshaped
from tfshop.models.rebuild import fresh, inlined


def shrink(
    model: Any,
    *,
    width: float | int | None = None,
    depth: float | int | None = None,
    dimension: float | int | None = None,
    crosses: float | int | None = None,
    schema: Schema | None = None,
    seed: int = 0,
) -> Any:
    """A smaller network of the same make with fresh weights: the student of a teacher.

    One of ours is built anew by its hyperparameters where the schema is given. Of any other, and of those without a
    schema, the graph is built again with narrower Dense layers and tables; what meets in a sum or a product stays
    equally wide, the head and layers of other kinds stay as they are. The last layers of a tower are dropped first.
    What does not train keeps its weights where their shapes stay; where these change it has fresh weights, and trains.

    Args:
        model: Functional model; left as it is.
        width: Of the hidden Dense layers: a share as a float in (0, 1], or most units of each.
        depth: Of the towers: a share as a float in (0, 1], or most hidden layers one after the other.
        dimension: Of the widest table, the others in proportion: a share as a float in (0, 1], or its new width.
        crosses: Of a network of ours: a share as a float in (0, 1], or most crosses; None as `depth` has it.
        schema: Fitted schema of the data.
        seed: Of the fresh weights.

    Returns:
        Functional model with the same inputs and outputs.

    Raises:
        PlanError: For a value out of range, and for a network that has nothing of what is to shrink, or in which it
            is bound to something that cannot.

    Example:
        >>> x = keras.Input((4,))
        >>> hidden = keras.layers.Dense(8, activation="relu", name="first")(x)
        >>> small = shrink(keras.Model(x, keras.layers.Dense(1)(hidden)), width=0.5)
        >>> small.get_layer("first").units
        4
    """
    wanted = Shrinkage(width, depth, dimension, crosses)
    keras.utils.set_random_seed(seed)
    if schema is not None:
        made = shrunk_by_hyperparameters(model, schema, wanted, seed)
        if made is not None:
            return made
    return _Shrinking(inlined(model), wanted).made()


class _Shrinking:
    """A graph on its way to be built again."""

    def __init__(self, model: Any, wanted: Shrinkage) -> None:
        self._model = model
        self._wanted = wanted
        self._widths = Widths(model)
        self._heads = set(layers_with(model, ("head",)))
        tables = [group.width for group in self._widths.groups if _is_table(group)]
        self._widest = max(tables, default=1)
        self._places = self._positions()
        deepest = max(self._places.values(), default=0)
        self._kept_depth = wanted.layers(deepest) if deepest else 0

    def made(self) -> Any:
        """The smaller network."""
        self._require_effect()
        layers = self._model.layers
        try:
            made = copy_model(self._model, self._replace, unfilled=[layer.name for layer in layers])
        except (ValueError, TypeError, ModelError) as error:
            reason = " ".join(str(error).split())[:300].rstrip(".")
            raise PlanError(
                f"{self._model.name!r} cannot shrink to {self._wanted}: {reason}. Expected layers whose widths follow "
                "from what they read. Fix: shrink less of it (width alone, say), or build the student yourself and "
                "give it as Distill(student)."
            ) from error
        for layer in layers:  # what was learned before training, such as the mean of a Normalization
            if layer.weights and not layer.trainable_weights and layer not in self._dropped:
                take_over(layer, made.get_layer(layer.name))
        if [weight.shape for weight in made.weights] == [weight.shape for weight in self._model.weights]:
            raise PlanError(self._small_already())
        return made

    @property
    def _dropped(self) -> list[Any]:
        gone = [group for group, place in self._places.items() if self._is_dropped(group, place)]
        return [tensor._keras_history.layer for group in gone for tensor in group.tensors]

    def _is_dropped(self, group: WidthGroup, place: int) -> bool:
        return place > self._kept_depth and _can_be_left_out(group, self._model)

    def _replace(self, layer: Any) -> Any:
        if any(layer is one for one in self._dropped):
            return ()
        width = self._width(layer)
        if type(layer) is keras.layers.Dense:
            zeros = isinstance(layer.kernel_constraint, KeepZeros)  # of weights that are none of the fresh ones
            return fresh(layer, changes={"units": width, **({"kernel_constraint": None} if zeros else {})})
        if type(layer) is keras.layers.Embedding and width != layer.output_dim:
            return fresh(layer, changes={"output_dim": width})
        if width and type(layer) is keras.layers.Reshape:
            return fresh(layer, changes={"target_shape": (*layer.target_shape[:-1], width)})
        if width and type(layer) is Reshaped:
            return fresh(layer, changes={"shape": (*layer.shape[:-1], width)})
        return fresh(layer)

    def _width(self, layer: Any) -> int:
        """New width of what a layer gives; 0 where that has none, such as ids."""
        output = calls_of(layer, self._model)[0].outputs
        if type(layer) not in _WIDE or not self._widths.has(output):
            return 0
        return len(self._widths.columns(output, self._choose))

    def _choose(self, group: WidthGroup) -> Columns:
        if group in self._places and self._is_dropped(group, self._places[group]):
            return self._widths.columns(group.makers[0].input, self._choose)
        return np.arange(self._new_width(group))

    def _new_width(self, group: WidthGroup) -> int:
        if _is_table(group):
            return self._wanted.columns(group.width, self._widest)
        return self._wanted.units(group.width) if self._is_hidden(group) else group.width

    def _is_hidden(self, group: WidthGroup) -> bool:
        """Whether hidden Dense layers alone say how wide a group is."""
        if not group.is_free or group.width == 1:
            return False
        return all(
            type(maker) is keras.layers.Dense
            and maker.name not in self._heads
            and maker.activation is not keras.activations.softmax  # weights over things, of which there are as many
            for maker in group.makers
        )

    def _positions(self) -> dict[WidthGroup, int]:
        """Hidden groups by their place in a tower, from 1."""
        places: dict[WidthGroup, int] = {}
        for group in self._widths.groups:
            if self._is_hidden(group):
                read = [self._widths.group_of(t) for t in _read_by(group, self._model)]
                places[group] = 1 + max((places.get(one, 0) for one in read), default=0)
        return places

    def _require_effect(self) -> None:
        """Raise where something is to shrink that the network has not."""
        tables = [group for group in self._widths.groups if _is_table(group)]
        bound = any(isinstance(layer, keras.layers.Embedding) and layer.output_dim > 1 for layer in self._model.layers)
        if self._wanted.dimension is not None and not tables and (bound or self._wanted.needs_a_table()):
            raise PlanError(self._lacks("dimension", "a table wider than 1 that is bound to nothing of a fixed width"))
        if self._wanted.width is not None and not self._places:
            raise PlanError(self._lacks("width", "a hidden Dense layer of a width of its own"))
        if self._wanted.depth is not None and not self._places:
            raise PlanError(self._lacks("depth", "a hidden Dense layer"))
        if not {"width", "depth", "dimension"} & set(self._wanted.given()):
            raise PlanError(self._lacks("crosses", "crosses of ours, more than that"))

    def _small_already(self) -> str:
        """What is said where nothing is larger than asked for."""
        widest = max((group.width for group in self._places), default=1)
        sizes = {"width": widest, "depth": max(self._places.values(), default=1), "dimension": self._widest}
        asked = {name: value for name, value in self._wanted.given().items() if name in sizes}
        found = " and ".join(_NONE_LARGER[name].format(_amount(value, sizes[name])) for name, value in asked.items())
        name = next((name for name in asked if sizes[name] > 1), "width")
        return (
            f"{self._model.name!r} has {found}. Expected something to shrink. Fix: "
            f"Distill(shrink={{{name!r}: {max(1, sizes[name] // 2)}}})."
        )

    def _lacks(self, name: str, what: str) -> str:
        return (
            f"{self._model.name!r} cannot shrink in {name}: it has not {what}. Expected one. Fix: leave {name} out, "
            "give the schema of a network of ours, or build the student yourself and give it as Distill(student)."
        )


_WIDE = (keras.layers.Dense, keras.layers.Embedding, keras.layers.Reshape, Reshaped)

_NONE_LARGER = {
    "width": "no hidden layer wider than {} units",
    "depth": "no tower deeper than {} hidden layers",
    "dimension": "no table wider than {} numbers",
}


def _amount(value: float | int, largest: int) -> int:
    """The largest size that is left: a share is one of what there is."""
    return value if isinstance(value, int) else shrunk_size(largest, value)


def _is_table(group: WidthGroup) -> bool:
    """Whether tables say how wide a group is; those of single numbers stay as they are."""
    tables = any(isinstance(maker, keras.layers.Embedding) for maker in group.makers)
    return tables and group.is_free and group.width > 1


def _read_by(group: WidthGroup, model: Any) -> list[Any]:
    return [tensor for maker in group.makers for node in calls_of(maker, model) for tensor in node.keras_inputs]


def _can_be_left_out(group: WidthGroup, model: Any) -> bool:
    """Whether each layer of a group reads one tensor once, so that what its only maker reads can go on in its place."""
    layers = [tensor._keras_history.layer for tensor in group.tensors]
    calls = [node for layer in layers for node in calls_of(layer, model)]
    return len(group.makers) == 1 and len(calls) == len(layers) and all(len(node.keras_inputs) == 1 for node in calls)
