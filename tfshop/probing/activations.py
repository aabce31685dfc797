"""What a network computes for a sample of rows, kept at one cut through its graph at a time."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import tf
from tfshop.data.binding import bind
from tfshop.data.split import Split
from tfshop.probing.graph import NO_EDITS, Edits, Graph, Masked
from tfshop.training.inputs import model_specs

BATCH_ROWS = 4096
PROBED_ROWS = 7
MEMORY_BYTES = 1 << 30

Array = NDArray[Any]
Kept = tuple[Array, ...]  # the values, and the mask where there is one


class Activations:
    """Tensors of a model for a fixed sample of rows.

    Only the inputs and one cut are kept. Moving the cut computes the next one from the last, so that what lies before
    both is not run again; what lies beside a cut is kept with it, so that behind it only what can have changed is run.

    Args:
        model: Functional model without submodels.
        split: The rows, in order.
        memory_bytes: What a cut may take in memory; the rest lies in a file without a name.
        batch_rows: Rows that are run at once.
    """

    def __init__(
        self, model: Any, split: Split, *, memory_bytes: int = MEMORY_BYTES, batch_rows: int = BATCH_ROWS
    ) -> None:
        self.graph = Graph(model)
        self.num_rows = split.num_rows
        self._memory_bytes = memory_bytes
        self._batch_rows = batch_rows
        specs = model_specs(model)
        named = bind(split.inputs, split.schema, specs)
        self._inputs: dict[str, Kept] = {
            tensor: (named[name],) for tensor, name in zip(self.graph.inputs, specs, strict=True)
        }
        self._cut: dict[str, Kept] = {}
        self._storable = self._find_storable()

    @property
    def kept_bytes(self) -> int:
        """Size of the cut, in memory and in files."""
        return sum(array.nbytes for kept in self._cut.values() for array in kept)

    def move_before(self, variables: Sequence[Any]) -> None:
        """Keep what the first uses of some weights read, and all that is needed behind them."""
        wanted = sorted(self.graph.cut_before(variables, self._storable) - set(self._inputs))
        missing = [tensor for tensor in wanted if tensor not in self._cut]
        computed = self._computed(missing)
        self._cut = {tensor: self._cut[tensor] if tensor in self._cut else computed[tensor] for tensor in wanted}

    def outputs(self, edits: Edits = NO_EDITS) -> Callable[[], Array]:
        """A function that computes the model's outputs with its weights as they are then, (rows, outputs).

        Args:
            edits: As `Graph.run` takes them.
        """
        known = self._needed(self.graph.outputs)
        step = self._compiled(known, self.graph.outputs, edits)

        def run() -> Array:
            made = np.empty((self.num_rows, len(self.graph.outputs)), np.float32)
            for rows in self._batches():
                found = step(_rows_of(known, rows))
                for column, tensor in enumerate(self.graph.outputs):
                    made[rows, column] = found[tensor][0].numpy().reshape(-1)
            return made

        return run

    def _computed(self, wanted: Sequence[str]) -> dict[str, Kept]:
        if not wanted:
            return {}
        known = self._needed(wanted)
        step = self._compiled(known, wanted)
        made: dict[str, Kept] = {}
        for rows in self._batches():
            for tensor, parts in step(_rows_of(known, rows)).items():
                if tensor not in made:
                    made[tensor] = tuple(self._room(part, made) for part in parts)
                for array, part in zip(made[tensor], parts, strict=True):
                    array[rows] = part.numpy()
        return made

    def _needed(self, wanted: Sequence[str]) -> dict[str, Kept]:
        """Of what is kept, what the wanted tensors are computed from."""
        known = {**self._inputs, **self._cut}
        read = {tensor for call in self.graph.calls_to(wanted, known) for tensor in call.flat_input_ids}
        return {tensor: kept for tensor, kept in known.items() if tensor in read or tensor in wanted}

    def _compiled(self, known: Mapping[str, Kept], wanted: Sequence[str], edits: Edits = NO_EDITS) -> Any:
        signature = {
            tensor: tuple(tf.TensorSpec((None, *part.shape[1:]), part.dtype) for part in kept)
            for tensor, kept in known.items()
        }

        def step(values: Mapping[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
            masked = {tensor: _masked(parts) for tensor, parts in values.items()}
            found = self.graph.run(masked, wanted, edits)
            return {tensor: tuple(part for part in pair if part is not None) for tensor, pair in found.items()}

        return tf.function(step, input_signature=[signature])

    def _batches(self) -> list[slice]:
        return [slice(start, start + self._batch_rows) for start in range(0, self.num_rows, self._batch_rows)]

    def _room(self, part: Any, made: Mapping[str, Kept]) -> Array:
        """An empty array for all rows, in a file where memory would not do."""
        shape = (self.num_rows, *part.shape[1:])
        dtype = part.dtype.as_numpy_dtype
        taken = self.kept_bytes + sum(array.nbytes for kept in made.values() for array in kept)
        if taken + int(np.prod(shape)) * np.dtype(dtype).itemsize <= self._memory_bytes:
            return np.empty(shape, dtype)
        with tempfile.TemporaryFile(prefix="tfshop-activations-") as file:  # the mapping outlives it, and frees it
            return np.memmap(file, dtype, "w+", shape=shape)

    def _find_storable(self) -> frozenset[str]:
        """Tensors whose first axis is that of the rows: `tf.shape` and constants have another."""
        count = min(PROBED_ROWS, self.num_rows)
        tensors = self.graph.tensors
        known = {
            tensor: _masked(tuple(map(tf.constant, parts)))
            for tensor, parts in _rows_of(self._inputs, slice(count)).items()
        }
        found = self.graph.run(known, list(tensors))
        return frozenset(
            name
            for name, parts in found.items()
            if tensors[name].shape.rank
            and tensors[name].shape[0] is None
            and all(part is None or _has_rows(part, count) for part in parts)
        )


def _masked(parts: tuple[Any, ...]) -> Masked:
    return (parts[0], parts[1] if len(parts) > 1 else None)


def _rows_of(known: Mapping[str, Kept], rows: slice) -> dict[str, Kept]:
    return {tensor: tuple(part[rows] for part in kept) for tensor, kept in known.items()}


def _has_rows(value: Any, count: int) -> bool:
    return isinstance(value, tf.Tensor) and value.shape.rank > 0 and value.shape[0] == count
