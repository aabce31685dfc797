"""The smaller network: every layer made again with what stays, and given its part of the weights."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.compression.units.following import Kept, WeightAxes
from tfshop.compression.units.standing import NO_VALUES, Standing, Values
from tfshop.compression.units.trace import Trace
from tfshop.errors import ModelError
from tfshop.layers import ColumnSelect
from tfshop.models.rebuild import Rebuild, copy_weights, fresh


def shrunk(trace: Trace, removed: Iterable[int], values: Values = NO_VALUES, *, biased: Collection[str] = ()) -> Any:
    """The network without some atoms, its weights those that stay; inputs and outputs keep their names and shapes.

    Args:
        trace: Of the network, which is left as it is.
        removed: Atoms of the trace's ledger; all of those that constants stand for.
        values: Of the constants, as `constant_values` gives them; zeros by default.
        biased: Names of Dense layers without a bias that are to have one, of zeros.

    Raises:
        ModelError: Where a layer would be left with nothing to read.
    """
    return _Shrink(trace, Kept(trace.ledger, removed), values, biased).whole(trace.model)


class _Shrink(Rebuild):
    """A rebuild whose tensors are None where nothing of them stays."""

    def __init__(self, trace: Trace, kept: Kept, values: Values, biased: Collection[str]) -> None:
        super().__init__(self._smaller)
        self._biased = biased
        self._trace = trace
        self._kept = kept
        self._standing = Standing(trace, kept, values)
        self._inputs: dict[int, Any] = {}

    def _smaller(self, layer: Any) -> Any:
        settings = self._trace.layers[layer.name].settings
        changes = dict(settings(self._kept)) if settings else {}
        return fresh(layer, changes={**changes, "use_bias": True} if layer.name in self._biased else changes)

    def _give_weights(self, old: Any, new: Any) -> None:
        axes = self._trace.weights_of(old.name)
        if not axes:
            copy_weights(old, new)
            return
        pairs = zip(old.get_weights(), axes, strict=True)
        staying = [sliced(weight, weight_axes, self._kept) for weight, weight_axes in pairs]
        new.set_weights([*staying, np.zeros(new.units)] if old.name in self._biased else staying)

    def _input(self, tensor: Any) -> Any:
        made = super()._input(tensor)
        columns = self._trace.tensors[id(tensor)]
        if self._kept.is_dead(columns):
            self._inputs[id(made)] = None
        elif self._kept.count(columns[-1]) < len(columns[-1]):
            name = f"{made._keras_history.layer.name}_kept"
            self._inputs[id(made)] = ColumnSelect(self._kept.indices(columns[-1]), name=name)(made)
        return made

    def _call(self, node: Any, args: tuple[Any, ...], kwargs: dict[str, Any], prefix: str) -> list[Any]:
        outputs = tf.nest.flatten(node.outputs)
        if all(self._kept.is_dead(self._trace.tensors[id(output)]) for output in outputs):
            return [None] * len(outputs)
        if type(node.layer) is not ColumnSelect:  # which selects by the input's own columns
            args, kwargs = tf.nest.map_structure(lambda given: self._inputs.get(id(given), given), (args, kwargs))
        args, kwargs = self._standing.among(node, args, kwargs)
        if any(self._trace_says_none(node, args, kwargs)):
            return [self._with_less(node.layer, tf.nest.flatten(args))]
        return super()._call(node, args, kwargs, prefix)

    @staticmethod
    def _trace_says_none(node: Any, args: Any, kwargs: Any) -> list[bool]:
        given = tf.nest.flatten((args, list(kwargs.values())))
        was = tf.nest.flatten((node.call_args, list(node.call_kwargs.values())))
        return [new is None and old is not None for old, new in zip(was, given, strict=True)]

    def _with_less(self, layer: Any, given: list[Any]) -> Any:
        """What a layer gives where some of what it read is gone."""
        live = [tensor for tensor in given if tensor is not None]
        if isinstance(layer, keras.layers.Concatenate | keras.layers.Add) and live:
            if len(live) > 1:
                return self._layers(layer, "")[0](live)
            return keras.layers.Activation("linear", name=layer.name)(live[0])
        adds_nothing = isinstance(layer, keras.layers.Dense) and not layer.use_bias
        if adds_nothing and layer.activation is keras.activations.linear:
            return None  # a sum does without it
        raise ModelError(
            f"{layer.name!r} ({type(layer).__name__}) would be left with nothing to read. Expected a layer that does "
            "without. Fix: keep some of what it reads."
        )


def sliced(weight: NDArray[Any], axes: WeightAxes, kept: Kept) -> NDArray[Any]:
    """The part of a weight that stays."""
    indices: list[Any] = []
    for length, axis in zip(weight.shape, axes, strict=True):
        if axis is None:
            indices.append(range(length))
        else:
            indices.append(kept.indices(axis) if isinstance(axis, tuple) else axis(kept))
    return weight[np.ix_(*indices)]
