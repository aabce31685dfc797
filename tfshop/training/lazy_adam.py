"""Adam whose cost per step does not grow with the vocabulary."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras, tf


@keras.utils.register_keras_serializable(package="tfshop")
class LazyAdam(keras.optimizers.Optimizer):
    r"""Adam; rows of a table that a batch does not touch keep their weights and moments.

    .. math::
        m \leftarrow \beta_1 m + (1-\beta_1) g, \quad v \leftarrow \beta_2 v + (1-\beta_2) g^2, \quad
        w \leftarrow w - \eta \frac{\sqrt{1-\beta_2^t}}{1-\beta_1^t} \frac{m}{\sqrt v + \epsilon}

    Dense weights follow Adam exactly. A row follows the same formula at the steps in which it occurs, with `t`
    the global step. Keras Adam rewrites the moments of the whole table at every step.

    Args:
        learning_rate: Step size, or a Keras schedule.
        beta_1: Decay of the first moment, in [0, 1).
        beta_2: Decay of the second moment, in [0, 1).
        epsilon: Added to the root of the second moment.
        **kwargs: As any Keras optimizer: `clipnorm`, `name` …

    Example:
        >>> optimizer = LazyAdam(learning_rate=1e-3)

    References:
        Kingma & Ba, Adam, ICLR 2015; the lazy update is that of TensorFlow Addons' LazyAdam.
    """

    def __init__(
        self,
        learning_rate: Any = 1e-3,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        name: str = "LazyAdam",
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("jit_compile", False)
        kwargs.setdefault("weight_decay", None)  # 0, the default of Keras, still rewrites every table at every step
        super().__init__(name=name, **kwargs)
        self._learning_rate = self._build_learning_rate(learning_rate)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self._rates = self._no_dependency({})  # of the step that is being taken, by dtype

    def build(self, var_list: Any) -> None:
        """Create the moments, one pair a variable."""
        super().build(var_list)
        if getattr(self, "_moments_built", False):
            return
        self._first_moments = [self.add_variable_from_reference(variable, "m") for variable in var_list]
        self._second_moments = [self.add_variable_from_reference(variable, "v") for variable in var_list]
        self._moments_built = True

    def _deduplicate_sparse_grad(self, grads: Any) -> list[Any]:
        """Sum what a batch says about a row; Keras calls this before any update."""
        return [_summed_by_row(grad) if isinstance(grad, tf.IndexedSlices) else grad for grad in grads]

    def _distributed_apply_gradients_fn(self, distribution: Any, grads_and_vars: Any, **kwargs: Any) -> Any:
        """As Keras does, with one rate for all variables: for each anew, it is half of the operators of a dense one."""
        if self.jit_compile or tf.distribute.has_strategy():  # graphs or devices of their own
            return super()._distributed_apply_gradients_fn(distribution, grads_and_vars, **kwargs)
        dtypes = dict.fromkeys(variable.dtype for _, variable in grads_and_vars)
        self._rates = self._no_dependency({dtype: self._rate(dtype) for dtype in dtypes})
        try:
            return super()._distributed_apply_gradients_fn(distribution, grads_and_vars, **kwargs)
        finally:
            self._rates = self._no_dependency({})

    def _rate(self, dtype: Any) -> Any:
        """What stands before the moments at the next step."""
        step, rate = tf.cast(self.iterations + 1, dtype), tf.cast(self.learning_rate, dtype)
        return rate * tf.sqrt(1.0 - self.beta_2**step) / (1.0 - self.beta_1**step)

    def update_step(self, gradient: Any, variable: Any) -> None:
        """Take one step on one variable; `gradient` is dense or has been summed a row."""
        rate = self._rates.get(variable.dtype)
        rate = self._rate(variable.dtype) if rate is None else rate
        position = self._index_dict[self._var_key(variable)]
        first, second = self._first_moments[position], self._second_moments[position]
        if isinstance(gradient, tf.IndexedSlices):
            self._step_rows(gradient, variable, first, second, rate)
            return
        first.assign_add((gradient - first) * (1.0 - self.beta_1))
        second.assign_add((tf.square(gradient) - second) * (1.0 - self.beta_2))
        variable.assign_sub(rate * first / (tf.sqrt(second) + self.epsilon))

    def _step_rows(self, gradient: Any, variable: Any, first: Any, second: Any, rate: Any) -> None:
        rows, values = gradient.indices, gradient.values
        old_first, old_second = tf.gather(first, rows), tf.gather(second, rows)
        new_first = old_first + (values - old_first) * (1.0 - self.beta_1)
        new_second = old_second + (tf.square(values) - old_second) * (1.0 - self.beta_2)
        first.scatter_update(tf.IndexedSlices(new_first, rows))
        second.scatter_update(tf.IndexedSlices(new_second, rows))
        variable.scatter_sub(tf.IndexedSlices(rate * new_first / (tf.sqrt(new_second) + self.epsilon), rows))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "learning_rate": self._serialize_hyperparameter(self._learning_rate),
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
        }


def _summed_by_row(gradient: Any) -> Any:
    """The same gradient with every row once.

    As a product with the matrix of ones that says which value belongs to which row: on a processor it takes a sixth of
    the time of `unsorted_segment_sum`, adds in the same order, and gives the same bits.
    """
    rows, positions = _rows_once(gradient)
    values = gradient.values
    if values.shape.rank != 2 or values.dtype not in (tf.float32, tf.float64):  # noqa: PLR2004  (a matrix)
        summed = tf.math.unsorted_segment_sum(values, positions, tf.size(rows))
        return tf.IndexedSlices(summed, rows, gradient.dense_shape)
    count = tf.size(positions, tf.int64)
    entries = tf.stack([tf.cast(positions, tf.int64), tf.range(count)], axis=1)
    belongs = tf.SparseTensor(entries, tf.ones([count], values.dtype), tf.stack([tf.size(rows, tf.int64), count]))
    return tf.IndexedSlices(tf.sparse.sparse_dense_matmul(belongs, values), rows, gradient.dense_shape)


def _rows_once(gradient: Any) -> tuple[Any, Any]:
    """The different rows of a gradient, and the place of each value's row among them.

    Where a batch names more rows than the table has, they are ticked off in a list as long as the table: two thirds
    of the time of a hash map.
    """
    named = gradient.indices
    shape = tf.get_static_value(gradient.dense_shape)
    if shape is None or named.dtype not in (tf.int32, tf.int64):
        return tuple(tf.unique(named))
    num_rows = int(shape[0])

    def ticked() -> tuple[Any, Any]:
        size, weights = tf.constant(num_rows, named.dtype), tf.constant([], tf.int32)
        seen = tf.raw_ops.DenseBincount(input=named, size=size, weights=weights, binary_output=True)
        return tf.cast(tf.where(seen)[:, 0], named.dtype), tf.gather(tf.cumsum(seen) - 1, named)

    if named.shape[0] is not None:  # known before it runs: no other branch in the graph
        return ticked() if named.shape[0] > num_rows else tuple(tf.unique(named))
    return tuple(tf.cond(tf.size(named) > num_rows, ticked, lambda: tuple(tf.unique(named))))
