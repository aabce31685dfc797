"""Looking rows of a coded table up inside a network."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.numerics.integer_rows import IntegerRows
from tfshop.tables.codec import chunks
from tfshop.tables.packing import Arithmetic
from tfshop.tables.tuning import TunedTable

RowsOf = Callable[[NDArray[np.int64]], NDArray[np.float32]]
GRAPH = Arithmetic(tf.floor, lambda parts: tf.concat(parts, axis=-1))


class TableLookup(keras.layers.Layer):
    """In the place of an `Embedding`: frozen codes, decoded in float arithmetic of builtin operators.

    The exporter keeps its operators in float, so that no converter touches a code.

    Args:
        num_rows: Rows of the table.
        dimension: Numbers a row.
        mask_zero: As `Embedding` has it.
        **kwargs: As any layer; with `trainable=False` tuning leaves its rows as they are.

    Call:
        ids: integers of any shape. Returns float32 (…, dimension).
    """

    def __init__(self, num_rows: int, dimension: int, *, mask_zero: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_rows, self.dimension, self.mask_zero = int(num_rows), int(dimension), bool(mask_zero)
        self.supports_masking = self.mask_zero
        self._arrays: dict[str, Any] = {}

    @abstractmethod
    def arrays(self) -> Mapping[str, tuple[tuple[int, ...], str]]:
        """Name to shape and dtype of what is stored."""

    @property
    def learns(self) -> bool:
        """Whether anything of it can be trained; where not, `tuned` gives None."""
        return True

    @abstractmethod
    def decoded(self, ids: Any) -> Any:
        """Rows of `ids` (int32), float32."""

    def build(self, input_shape: Any) -> None:
        """Make the arrays, none of them trainable."""
        for name, (shape, dtype) in self.arrays().items():
            made = self.add_weight(name, shape=shape, dtype=dtype, initializer="zeros", trainable=False)
            self._arrays[name] = made
        super().build(input_shape)

    def filled(self, arrays: Mapping[str, NDArray[Any]]) -> TableLookup:
        """The layer with these arrays in it."""
        if not self.built:
            self.build(None)
        self.set_weights([arrays[name] for name in self.arrays()])
        return self

    def stored(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        return {name: np.asarray(weight) for name, weight in zip(self.arrays(), self.get_weights(), strict=True)}

    def table(self) -> NDArray[np.float32]:
        """All rows as they are looked up, (num_rows, dimension)."""
        decode, table = self.decoder_of_rows(), np.empty((self.num_rows, self.dimension), dtype=np.float32)
        for ids in chunks(self.num_rows):
            table[ids] = decode(ids)
        return table

    def rows(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Some rows, (len(ids), dimension)."""
        return self.decoder_of_rows()(ids)

    def decoder_of_rows(self) -> RowsOf:
        """What gives rows (len(ids), dimension) by their ids, with the arrays read once for all calls of it."""
        return lambda ids: np.asarray(self.decoded(tf.constant(ids, dtype=tf.int32)))

    def tuned(self, rows: NDArray[np.float32]) -> TunedTable | None:
        """What learns in its place, starting at `rows` (num_rows, dimension); None where the codes cannot learn."""
        return None

    def after(self, tuned: TunedTable) -> dict[str, NDArray[Any]]:
        """The arrays after `tuned` has learned."""
        return dict(tuned.frozen())

    def integer_rows(self) -> tuple[IntegerRows, ...]:
        """Tables in it that a finished file is to look up by EMBEDDING_LOOKUP."""
        return ()

    def call(self, ids: Any) -> Any:
        """Look up."""
        ids = tf.cast(ids, tf.int32) if ids.dtype != tf.int32 else ids
        if ids.shape.rank == 1:  # a converter would multiply a step into the kernel that reads these rows
            return tf.reshape(self.decoded(ids[:, None]), (-1, self.dimension))
        return self.decoded(ids)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Which ids are no padding, where 0 is."""
        return tf.not_equal(inputs, 0) if self.mask_zero else None

    def compute_output_shape(self, input_shape: Any) -> Any:
        """That of the ids, and the dimension."""
        return (*input_shape, self.dimension)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        own = {"num_rows": self.num_rows, "dimension": self.dimension, "mask_zero": self.mask_zero}
        return {**super().get_config(), **own}


def lookup_layers(model: Any, prefix: str = "") -> dict[str, TableLookup]:
    """The lookups of a model by their paths, those of submodels too."""
    found: dict[str, TableLookup] = {}
    for layer in model.layers:
        bare = layer.layer if isinstance(layer, keras.layers.Wrapper) else layer  # one that holds a trained range
        if isinstance(bare, TableLookup):
            found[prefix + layer.name] = bare
        elif isinstance(layer, keras.Model):
            found.update(lookup_layers(layer, f"{prefix}{layer.name}/"))
    return found
