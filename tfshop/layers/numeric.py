"""Raw numbers in, scaled numbers out, inside the graph: the phone feeds what it measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tfshop._keras import keras, tf


@keras.utils.register_keras_serializable(package="tfshop")
class NumericTransform(keras.layers.Layer):
    r"""Impute, log-scale and standardize raw numbers.

    With `t(x) = sign(x) log(1 + |x|)` for columns under log1p and `t(x) = x` elsewhere,

    after x was clipped to [low, high],

    .. math:: y = clip((t(x) - center) \cdot scale, -limit, limit), \qquad y = fill \text{ where x is NaN}

    followed by one 0/1 column for each column that had missing values in training.

    Args:
        logarithmic: One flag a column.
        center: Subtracted after the logarithm; one a column.
        scale: Multiplied after that; one a column.
        fill: The output where the input is missing; one a column.
        limit: Largest output of a column by magnitude (outliers would cost every other column its
            resolution in int8); infinity for none. One a column.
        indicators: Columns that get a missing-value flag, by position.
        low: Smallest raw value of a column, what lies below is raised to it; one a column. Default: none is.
        high: Largest raw value of a column; one a column. Default: none is.

    Call:
        values: float32 (batch, num_numeric), NaN where missing.
        Returns float32 (batch, num_numeric + len(indicators)).
    """

    def __init__(
        self,
        logarithmic: Sequence[bool],
        center: Sequence[float],
        scale: Sequence[float],
        fill: Sequence[float],
        limit: Sequence[float],
        indicators: Sequence[int] = (),
        low: Sequence[float] | None = None,
        high: Sequence[float] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.logarithmic = [bool(flag) for flag in logarithmic]
        self.center = [float(value) for value in center]
        self.scale = [float(value) for value in scale]
        self.fill = [float(value) for value in fill]
        self.limit = [float(value) for value in limit]
        self.indicators = [int(position) for position in indicators]
        self.low = None if low is None else [float(value) for value in low]
        self.high = None if high is None else [float(value) for value in high]

    def call(self, values: Any) -> Any:
        """Transform raw numbers (batch, num_numeric)."""
        missing = tf.not_equal(values, values)  # true for NaN alone; IS_NAN is no builtin of the runtime
        filled = self._clipped(tf.where(missing, 0.0, values))
        if any(self.logarithmic):
            logarithm = tf.sign(filled) * tf.math.log(1.0 + tf.abs(filled))
            filled = logarithm if all(self.logarithmic) else tf.where([self.logarithmic], logarithm, filled)
        scaled = (filled - tf.constant([self.center])) * tf.constant([self.scale])
        if any(limit < float("inf") for limit in self.limit):
            limit = tf.minimum(tf.constant([self.limit]), values.dtype.max)
            scaled = tf.maximum(tf.minimum(scaled, limit), -limit)
        scaled = tf.where(missing, tf.constant([self.fill]), scaled)
        if not self.indicators:
            return scaled
        flags = tf.gather(tf.cast(missing, values.dtype), self.indicators, axis=1)
        return tf.concat([scaled, flags], axis=1)

    def _clipped(self, values: Any) -> Any:
        """Move outliers to the limits; a column without limits has infinite ones."""
        largest = values.dtype.max
        if self.high is not None:
            values = tf.minimum(values, tf.constant([[min(value, largest) for value in self.high]], values.dtype))
        if self.low is not None:
            values = tf.maximum(values, tf.constant([[max(value, -largest) for value in self.low]], values.dtype))
        return values

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        names = ("logarithmic", "center", "scale", "fill", "limit", "indicators", "low", "high")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
