"""Penalties that draw weights towards zero while a model trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from tfshop._keras import tf
from tfshop.compression.kernels import Kernel
from tfshop.compression.patterns import Pattern

SMALLEST_SQUARE = 1e-12  # the root of a sum of squares has no slope at zero


def penalty(kernels: Iterable[Kernel], *, l1: float, group_lasso: float, pattern: Pattern) -> Callable[[], Any]:
    r"""What is added to the loss.

    .. math:: l_1 \sum |w| + \lambda \sum_g \sqrt{|g|}\,\|w_g\|_2

    The groups are the blocks of the pattern where it has some, else the incoming weights of each unit.

    Args:
        kernels: Whose weights are drawn.
        l1: Strength on single weights.
        group_lasso: Strength on groups.
        pattern: Of the zeros.

    Returns:
        A function without arguments, as `Model.add_loss` takes it.

    References:
        Tibshirani, Regression shrinkage and selection via the lasso, 1996; Yuan & Lin, Model selection and estimation
        in regression with grouped variables, 2006; Wen et al., Learning Structured Sparsity in Deep Neural Networks,
        NeurIPS 2016.
    """
    drawn = tuple(kernels)

    def total() -> Any:
        parts = [l1 * tf.reduce_sum(tf.abs(kernel.variable)) for kernel in drawn if l1]
        parts += [group_lasso * _group_norms(kernel, pattern) for kernel in drawn if group_lasso]
        return tf.add_n(parts)

    return total


def _group_norms(kernel: Kernel, pattern: Pattern) -> Any:
    """Norms of the groups of a kernel, each times the root of its size, added up."""
    squares = tf.square(kernel.variable)
    inputs = kernel.axes or (0,)
    if pattern.block == (1, 1):
        size = tf.cast(tf.reduce_prod(tf.gather(tf.shape(squares), inputs)), squares.dtype)
        return tf.reduce_sum(tf.sqrt(size * (tf.reduce_sum(squares, axis=inputs) + SMALLEST_SQUARE)))
    others = [axis for axis in range(len(squares.shape)) if axis not in inputs]
    rows = int(tf.reduce_prod([squares.shape[axis] for axis in inputs]))
    matrix = tf.reshape(tf.transpose(squares, [*inputs, *others]), (1, rows, -1, 1))
    means = tf.nn.avg_pool2d(matrix, pattern.block, pattern.block, "SAME")
    return pattern.block[0] * pattern.block[1] * tf.reduce_sum(tf.sqrt(means + SMALLEST_SQUARE))
