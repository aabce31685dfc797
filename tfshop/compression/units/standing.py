"""Constants where features stood: what they are, and the layers that give them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.compression.moments import MOMENT_BATCH
from tfshop.compression.units.constants import Restored
from tfshop.compression.units.following import Kept
from tfshop.compression.units.trace import Trace
from tfshop.data.split import Split
from tfshop.errors import ModelError
from tfshop.layers import ConstantParts, ConstantRows
from tfshop.training.inputs import model_specs
from tfshop.training.tracing import for_batches

CONSTANT_ROWS = 4096
Values = Mapping[int, NDArray[Any]]  # by the identity of the tensor that a constant stands for
NO_VALUES: Values = MappingProxyType({})


def constant_values(trace: Trace, split: Split, *, seed: int) -> dict[int, NDArray[Any]]:
    """What tensors that constants stand for are on average; the most frequent value of integers.

    A feature that is the same in every row is then replaced without any change.

    Args:
        trace: Of the network before.
        split: A sample of it is run, usually the training split.
        seed: Of the sample.

    Raises:
        ModelError: For a tensor that has not one row for each that is fed.
    """
    tensors = trace.constants.tensors
    if not tensors:
        return {}
    probe = keras.Model(trace.model.inputs, tensors)
    sample = split.take(min(CONSTANT_ROWS, split.num_rows), seed=seed).with_batch_size(MOMENT_BATCH)
    run = for_batches(lambda inputs: probe(inputs, training=False), trace.model, sample.num_batches)
    averages = [_Average(tensor) for tensor in tensors]
    for inputs, labels in sample.batches(inputs=model_specs(trace.model)):
        for average, seen in zip(averages, tf.nest.flatten(run(inputs)), strict=True):
            average.add(seen.numpy(), len(tf.nest.flatten(labels)[0]))
    return {id(tensor): average.value() for tensor, average in zip(tensors, averages, strict=True)}


class _Average:
    """The mean of a tensor's rows, of integers the most frequent; missing numbers do not count."""

    def __init__(self, tensor: Any) -> None:
        self._name = tensor._keras_history.layer.name
        self._total: Any = 0.0
        self._count: Any = 0
        self._integers: list[NDArray[Any]] = []

    def add(self, rows: NDArray[Any], num_rows: int) -> None:
        """Count a batch in."""
        if len(rows) != num_rows:
            raise ModelError(
                f"{self._name!r} gives {len(rows)} rows for {num_rows} that are fed. Expected one each, for which a "
                "constant could stand. Fix: drop other features."
            )
        if rows.dtype.kind == "f":
            self._total = self._total + np.nansum(rows, axis=0, dtype=np.float64)
            self._count = self._count + np.isfinite(rows).sum(axis=0)
        else:
            self._integers.append(rows)

    def value(self) -> NDArray[Any]:
        """Of all that was counted."""
        if self._integers:
            return np.apply_along_axis(_most_frequent, 0, np.concatenate(self._integers))
        return np.asarray(self._total / np.maximum(self._count, 1), np.float32)


def _most_frequent(values: NDArray[Any]) -> Any:
    found, counts = np.unique(values, return_counts=True)
    return found[counts.argmax()]


class Standing:
    """The layers that give constants, made when they are first read.

    Args:
        trace: Of the network before.
        kept: What stays.
        values: Of the constants; zeros where there are none.
    """

    def __init__(self, trace: Trace, kept: Kept, values: Values) -> None:
        self._trace = trace
        self._kept = kept
        self._values = values
        self._taken = {layer.name for layer in trace.model.layers}
        self._made: dict[int, Any] = {}

    def among(self, node: Any, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """What a call reads, with constants where it is to read them."""
        wanted = self._trace.constants.met.get(id(node), {})
        if not wanted:
            return args, kwargs
        given = tf.nest.flatten((args, kwargs))
        beside = next(tensor for tensor in given if hasattr(tensor, "_keras_history"))
        old = tf.nest.flatten((node.call_args, node.call_kwargs))
        put = [
            self._of(wanted[id(was)], now, beside) if id(was) in wanted else now
            for was, now in zip(old, given, strict=True)
        ]
        args, kwargs = tf.nest.pack_sequence_as((args, kwargs), put)
        return args, kwargs

    def _of(self, restored: Restored, given: Any, beside: Any) -> Any:
        """A tensor with constants for what is gone of it."""
        key = id(restored.tensor)
        if key not in self._made:
            value = self._values.get(key)
            value = np.zeros(restored.tensor.shape[1:]) if value is None else value
            make = self._whole if given is None else self._parts
            self._made[key] = make(restored, value, beside if given is None else given)
        return self._made[key]

    def _whole(self, restored: Restored, value: NDArray[Any], beside: Any) -> Any:
        cut = self._cut(value, [self._kept.indices(axis) for axis in restored.axes[1:]])
        layer = ConstantRows(cut.shape, dtype=restored.tensor.dtype.name, name=self._name(restored))
        return self._filled(layer, beside, cut)

    def _parts(self, restored: Restored, value: NDArray[Any], given: Any) -> Any:
        """Axis by axis; along those done, all that stays, along the others, what is given."""
        before = self._trace.tensors[id(restored.tensor)]
        staying = [self._kept.indices(axis) for axis in before[1:]]
        for number, axis in enumerate(restored.axes[1:]):
            wanted = self._kept.indices(axis)
            gone = [position for position in wanted if position not in staying[number]]
            if gone:
                cut = self._cut(value, [*staying[:number], gone, *staying[number + 1 :]])
                places = [wanted.index(position) for position in gone]
                layer = ConstantParts(places, number + 1, name=self._name(restored))
                given = self._filled(layer, given, cut)
                staying[number] = wanted
        return given

    @staticmethod
    def _cut(value: NDArray[Any], indices: list[list[int]]) -> NDArray[Any]:
        return value[np.ix_(*indices)] if indices else value

    @staticmethod
    def _filled(layer: Any, given: Any, value: NDArray[Any]) -> Any:
        made = layer(given)
        layer.set_weights([value])
        return made

    def _name(self, restored: Restored) -> str:
        name = f"{restored.tensor._keras_history.layer.name}_constant"
        while name in self._taken:
            name += "_1"
        self._taken.add(name)
        return name
