"""How weights and outputs are rounded while training: kinds that TF-MOT does not ship."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tfshop._keras import tf
from tfshop.compression._tfmot import Quantizer, quantizers

LEVELS = 127  # of each sign: what the exporter writes kernels in
MOST_SHARED = 256
HALF_WAY, PUSHED = 2e-3, 2e-4  # levels that count as none; the share of a range that moves zero by more than those


def on_int8_grid(kernel: np.ndarray) -> np.ndarray:
    """Round a kernel (inputs, channels) to -127 … 127 times a scale for each channel."""
    scale = np.abs(kernel).max(axis=0, keepdims=True) / LEVELS
    scale = np.where(scale > 0, scale, 1.0)
    return (np.round(kernel / scale) * scale).astype(np.float32)


def largest_level(bits: int) -> int:
    """Highest level of a symmetric grid: 7 of 4 bits, 1 of 2 bits."""
    return int(2 ** (bits - 1) - 1)


def shared_values(kernel: np.ndarray) -> np.ndarray | None:
    """Number of the value each weight has, int32 of the kernel's shape, where few values are shared by many weights.

    None where they are not: every weight its own value, zeros aside.
    """
    values, numbers = np.unique(kernel, return_inverse=True)
    alive = int(np.count_nonzero(kernel))
    few = 0 < np.count_nonzero(values) <= min(MOST_SHARED, alive // 2)
    return numbers.reshape(kernel.shape).astype(np.int32) if few else None


def _through(rounded: Any, values: Any) -> Any:
    """`rounded` on the way forward, the gradient of `values` on the way back."""
    return values + tf.stop_gradient(rounded - values)


def _channel_rounded(kernel: Any, axes: Sequence[int]) -> Any:
    """As `on_int8_grid`, for tensors; one scale for all numbers along `axes`."""
    scale = tf.reduce_max(tf.abs(kernel), axis=list(axes), keepdims=True) / LEVELS
    scale = tf.where(scale > 0, scale, 1.0)
    return tf.round(kernel / scale) * scale


class HeldRange(Quantizer):
    """An output that is rounded to the levels of a range which training does not move."""

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """Variables as those of a moving range."""
        settings = {"num_bits": 8, "per_axis": False, "symmetric": False, "narrow_range": False}
        variables: dict[str, Any] = quantizers.MovingAverageQuantizer(**settings).build(tensor_shape, name, layer)
        return variables

    def __call__(self, inputs: Any, training: Any, weights: Mapping[str, Any], **kwargs: Any) -> Any:
        """Round."""
        return tf.quantization.fake_quant_with_min_max_vars(inputs, weights["min_var"], weights["max_var"])

    def get_config(self) -> dict[str, Any]:
        """Nothing to configure."""
        return {}


class Grid(Quantizer):
    """Rounding that depends on the weights alone: the int8 numbers that the file has."""

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """No variables."""
        return {}

    def __call__(self, inputs: Any, training: Any, weights: Mapping[str, Any], **kwargs: Any) -> Any:
        """Round; the gradient goes through."""
        return _through(self.rounded(inputs), inputs)

    def rounded(self, weight: Any) -> Any:
        """The weight as the file has it."""
        raise NotImplementedError

    def summed(self, rank: int) -> list[int]:
        """Axes of a weight of so many along which one step serves all numbers: by default all of them."""
        return list(range(rank))

    def levels(self, weight: np.ndarray) -> int:
        """How many int8 numbers the file will have a weight in."""
        return len(np.unique(self.rounded(weight).numpy()))

    def get_config(self) -> dict[str, Any]:
        """Nothing to configure."""
        return {}


class ChannelScales(Grid):
    """A kernel on `-127 … 127` times a scale for each channel.

    Args:
        axes: Those that are summed over; all others are channels.
    """

    def __init__(self, axes: Sequence[int]) -> None:
        self.axes = tuple(axes)

    def rounded(self, weight: Any) -> Any:
        """On the grid."""
        return _channel_rounded(weight, self.axes)

    def summed(self, rank: int) -> list[int]:
        """Those that are no channels."""
        return list(self.axes)

    def levels(self, weight: np.ndarray) -> int:
        """As many as all channels have together: each has the same numbers, times a scale of its own."""
        scale = np.abs(weight).max(axis=self.axes, keepdims=True) / LEVELS
        return len(np.unique(np.round(weight / np.where(scale > 0, scale, 1.0))))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"axes": list(self.axes)}


class OneScale(Grid):
    """A weight on `-127 … 127` times one scale."""

    def rounded(self, weight: Any) -> Any:
        """On the grid."""
        return _channel_rounded(weight, range(len(weight.shape)))


class OneRange(Grid):
    """A weight on 256 levels from its lowest to its highest number, zero between them."""

    def rounded(self, weight: Any) -> Any:
        """On the grid."""
        low, high = tf.minimum(tf.reduce_min(weight), 0.0), tf.maximum(tf.reduce_max(weight), 1e-6)
        # Half way between two levels, as between -1 and 1, zero would be on neither in turn: no grid would stay.
        zero = 255 * -low / (high - low)
        high = tf.where(tf.abs(zero - tf.floor(zero) - 0.5) < HALF_WAY, high * (1 - PUSHED), high)
        return tf.quantization.fake_quant_with_min_max_vars(weight, low, high)


class LearnedSteps(Quantizer):
    r"""A kernel on `-Q … Q` times steps that are trained with the weights, one wherever the file has a scale.

    .. math:: \hat w = s \, round(clip(w / s, -Q, Q)), \qquad Q = 2^{bits - 1} - 1

    The gradient of `s` is scaled by `1 / sqrt(n Q)`, `n` weights a step. A step is kept small enough for the
    largest of its weights to be on level Q: then all channels take the same int8 numbers in the file. These are
    the multiples of `127 / Q`, rounded; the rounding is part of the training.

    Args:
        bits: 2 to 7; 8 has nothing to learn.
        grid: Of the int8 numbers in the file: a step for each channel where that has a scale for each channel, one
            for the whole kernel where it has one range.

    References:
        Esser et al., Learned Step Size Quantization, ICLR 2020.
    """

    def __init__(self, bits: int, grid: Grid) -> None:
        self.bits = bits
        self.grid = grid

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """The steps, in the kernel's rank."""
        summed = self.grid.summed(len(tensor_shape))
        shape = [1 if axis in summed else size for axis, size in enumerate(tensor_shape)]
        return {"steps": layer.add_weight(f"{name}_steps", shape=shape, initializer="ones")}

    def first_steps(self, kernel: np.ndarray) -> np.ndarray:
        """Where learned steps begin: `2 mean|w| / sqrt(Q)` for each channel, over the weights that are not zero."""
        size, summed = np.abs(kernel), tuple(self.grid.summed(kernel.ndim))
        alive = np.maximum((size > 0).sum(axis=summed, keepdims=True), 1)
        steps = 2 * size.sum(axis=summed, keepdims=True) / alive / np.sqrt(largest_level(self.bits))
        return np.where(steps > 0, steps, 1.0).astype(np.float32)

    def __call__(self, inputs: Any, training: Any, weights: Mapping[str, Any], **kwargs: Any) -> Any:
        """Round."""
        top = float(largest_level(self.bits))
        summed = self.grid.summed(len(inputs.shape))
        per_step = float(np.prod([inputs.shape[axis] for axis in summed]))
        slowness = 1.0 / np.sqrt(per_step * top)
        steps = weights["steps"] * slowness + tf.stop_gradient(weights["steps"] * (1.0 - slowness))
        largest = tf.reduce_max(tf.abs(inputs), axis=summed, keepdims=True)
        reaching = tf.stop_gradient(tf.where(largest > 0, largest / (top - 0.499), 1.0))
        steps = tf.clip_by_value(steps, 1e-8, reaching)
        levels = tf.clip_by_value(inputs / steps, -top, top)
        rounded = _through(tf.round(levels), levels) * steps
        return _through(self.grid.rounded(rounded), rounded)

    def rounded(self, weight: Any, weights: Mapping[str, Any]) -> Any:
        """The kernel as the file has it."""
        return self.grid.rounded(self(weight, False, weights))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"bits": self.bits, "grid": self.grid}


class SharedValues(Quantizer):
    """A kernel whose weights share few values: the values are trained, which weight has which one stays.

    Every weight stands for the mean of those that share its value, so that the gradient of a value is that of all
    of them. Values lie on the int8 grid of the largest of them.

    Args:
        numbers: int32 of the kernel's shape, from `shared_values`.

    References:
        TF-MOT's cluster-preserving quantization, which has one scale for all channels, likewise keeps assignments.
    """

    def __init__(self, numbers: np.ndarray) -> None:
        self.numbers = np.asarray(numbers, np.int32)

    def build(self, tensor_shape: Any, name: str, layer: Any) -> dict[str, Any]:
        """No variables: the kernel holds the values."""
        return {}

    def __call__(self, inputs: Any, training: Any, weights: Mapping[str, Any], **kwargs: Any) -> Any:
        """Round, for each channel as the exporter will."""
        shared = self.shared(inputs)
        return _through(_channel_rounded(shared, range(len(shared.shape) - 1)), shared)

    def shared(self, kernel: Any) -> Any:
        """The kernel with as many values as `numbers` has, at most."""
        numbers = tf.constant(self.numbers.reshape(-1))
        count = int(self.numbers.max()) + 1
        values = tf.math.unsorted_segment_mean(tf.reshape(kernel, (-1,)), numbers, count)
        scale = tf.reduce_max(tf.abs(values)) / LEVELS
        scale = tf.where(scale > 0, scale, 1.0)
        values = _through(tf.round(values / scale) * scale, values)
        return tf.reshape(tf.gather(values, numbers), kernel.shape)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"numbers": self.numbers.tolist()}
