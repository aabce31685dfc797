"""Constants in the place of what an input feature gave."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop._keras import keras, tf


@keras.utils.register_keras_serializable(package="tfshop")
class ConstantRows(keras.layers.Layer):
    """The same trained numbers for every row; only the number of rows is read.

    Args:
        shape: Of one row, without the batch. Starts at zero; integers are not trained.

    Call:
        values: (batch, ...), any dtype. Returns (batch, *shape).

    Example:
        >>> ConstantRows((3,))(tf.ones((2, 5))).shape.as_list()
        [2, 3]
    """

    def __init__(self, shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.shape = [int(length) for length in shape]

    def build(self, input_shape: Any) -> None:
        """Make the numbers."""
        trained = tf.as_dtype(self.dtype).is_floating
        self.constant = self.add_weight("constant", shape=self.shape, initializer="zeros", trainable=trained)
        super().build(input_shape)

    def call(self, values: Any) -> Any:
        """Repeat the constant for each of the rows."""
        return _repeated(self.constant, values, self.shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "shape": self.shape}


@keras.utils.register_keras_serializable(package="tfshop")
class ConstantParts(keras.layers.Layer):
    """A tensor with trained numbers, the same for every row, put between its own along one axis.

    Args:
        positions: Where they stand in the result, ascending. They start at zero.
        axis: Along which, from 1.

    Call:
        values: float32 (batch, ...). Returns the same with `len(positions)` more along the axis.

    Example:
        >>> ConstantParts([0, 2])(tf.constant([[5.0, 6.0]])).numpy().tolist()
        [[0.0, 5.0, 0.0, 6.0]]
    """

    def __init__(self, positions: Sequence[int], axis: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.positions = [int(position) for position in positions]
        self.axis = axis

    def build(self, input_shape: Any) -> None:
        """Make the numbers, and the order they stand in."""
        shape = [int(length) for length in input_shape[1:]]
        own = shape[self.axis - 1]
        shape[self.axis - 1] = len(self.positions)
        places = {position: own + number for number, position in enumerate(self.positions)}
        others = iter(range(own))
        self.order = [places[p] if p in places else next(others) for p in range(own + len(places))]
        self.constant = self.add_weight("constant", shape=shape, initializer="zeros")
        super().build(input_shape)

    def call(self, values: Any) -> Any:
        """Put the constant between the values."""
        both = tf.concat([values, _repeated(self.constant, values, self.constant.shape)], axis=self.axis)
        return both if self.order == sorted(self.order) else tf.gather(both, self.order, axis=self.axis)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "positions": self.positions, "axis": self.axis}


def _repeated(constant: Any, values: Any, shape: Sequence[int]) -> Any:
    """A constant for each row of a tensor."""
    repeated = tf.broadcast_to(constant, tf.concat([tf.shape(values)[:1], tf.constant(list(shape), tf.int32)], axis=0))
    repeated.set_shape((values.shape[0], *shape))
    return repeated
