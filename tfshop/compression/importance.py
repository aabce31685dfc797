"""How much each weight matters: the scores by which passes choose what goes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.compression.kernels import Kernel, kernels_of
from tfshop.compression.moments import Moments, input_moments
from tfshop.data.split import Split, Splits
from tfshop.errors import PlanError
from tfshop.training.inputs import model_specs
from tfshop.training.outputs import arrange_outputs
from tfshop.training.tracing import for_batches

IMPORTANCES = ("magnitude", "activation", "taylor", "random")
TAYLOR_ROWS = 4096
TAYLOR_BATCH = 256

Scores = dict[str, NDArray[np.float64]]
Importance = str | Callable[[NDArray[np.float32], Moments], NDArray[Any]]


def weight_scores(model: Any, names: Sequence[str], importance: Importance, data: Splits, *, seed: int = 0) -> Scores:
    r"""Score every element of the named layers' kernels; the larger, the more it matters.

    .. math::
        |w|, \qquad |w|\,E[x^2], \qquad E_{batches}\left|w \frac{\partial L}{\partial w}\right|

    Args:
        model: Functional model without submodels; left as it is.
        names: Layers with kernels, see `kernels_of`.
        importance: "magnitude", "activation" (by the mean square of the input a weight reads), "taylor" (by the
            gradient of the cross-entropy of all targets), "random" as a control, or a callable that takes a kernel
            float32 (inputs, outputs) and the `Moments` of its inputs and returns scores of the kernel's shape.
        data: The scores are taken on a sample of its training split.
        seed: Of the sample, and of random scores.

    Returns:
        float64 of each kernel's shape, by the layer's name, or by `layer:weight` where a layer has several kernels.

    Raises:
        PlanError: For an importance that is not known, one that needs moments of inputs a kernel does not read, or
            scores of the wrong shape.

    Example:
        >>> scores = weight_scores(model, ["dense_0"], "taylor", data)  # doctest: +SKIP

    References:
        Han et al., Learning both Weights and Connections, NeurIPS 2015; Sun et al., A Simple and Effective Pruning
        Approach for Large Language Models (Wanda), ICLR 2024; Molchanov et al., Importance Estimation for Neural
        Network Pruning, CVPR 2019.
    """
    return Scorer(model, tuple(names), importance, data, seed).scores()


def require_importance(importance: Any) -> None:
    """Raise `PlanError` unless it is one of `IMPORTANCES` or a callable."""
    if importance not in IMPORTANCES if isinstance(importance, str) else not callable(importance):
        raise PlanError(
            f"importance is {importance!r}. Expected one of {', '.join(IMPORTANCES)}, or a callable that takes a "
            "kernel and the moments of its inputs. Fix: importance='magnitude'."
        )


def needs_moments(importance: Importance) -> bool:
    """Whether only kernels that read a layer's float input can be scored."""
    return callable(importance) or importance == "activation"


@dataclass(frozen=True, eq=False)
class Scorer:
    """`weight_scores` of one model again and again, as its weights change.

    Moments of inputs are gathered once, gradients are taken anew each time.

    Args:
        model: Functional model without submodels.
        names: Layers.
        importance: As in `weight_scores`.
        data: Its training split is sampled.
        seed: Of the sample.
    """

    model: Any
    names: tuple[str, ...]
    importance: Importance
    data: Splits
    seed: int = 0
    kernels: Mapping[str, Kernel] = field(init=False)

    def __post_init__(self) -> None:
        require_importance(self.importance)
        object.__setattr__(self, "kernels", kernels_of(self.model, self.names))
        blind = [name for name, kernel in self.kernels.items() if not kernel.axes]
        if needs_moments(self.importance) and blind:
            raise PlanError(
                f"importance {self.importance!r} weighs inputs, but the kernel of {blind[0]!r} does not meet its "
                "layer's float input. Expected layers such as Dense. Fix: importance='taylor' or 'magnitude'."
            )

    def scores(self) -> Scores:
        """Scores of the weights as they are now."""
        if self.importance == "taylor":
            return self._taylor()
        return {name: self._score(name, kernel) for name, kernel in self.kernels.items()}

    def _score(self, name: str, kernel: Kernel) -> NDArray[np.float64]:
        values: NDArray[np.float32] = kernel.variable.numpy()
        if self.importance == "random":
            generator = np.random.default_rng([self.seed, *name.encode()])
            return generator.random(values.shape)
        if self.importance == "magnitude":
            return np.abs(values).astype(np.float64)
        matrix, moments = kernel.matrix(values), self._moments[kernel.layer]
        if callable(self.importance):
            return kernel.shaped(_required_scores(self.importance, name, matrix, moments))
        return kernel.shaped(np.abs(matrix).astype(np.float64) * moments.mean_square[:, None])

    @cached_property
    def _moments(self) -> dict[str, Moments]:
        layers = list(dict.fromkeys(kernel.layer for kernel in self.kernels.values()))
        return input_moments(self.model, layers, self.data.train, seed=self.seed)

    def _taylor(self) -> Scores:
        variables = {name: kernel.variable for name, kernel in self.kernels.items()}
        totals = {name: np.zeros(variable.shape) for name, variable in variables.items()}
        outputs = self.data.schema.outputs.values()
        for inputs, labels in self._sample.batches(inputs=model_specs(self.model)):
            columns = [labels[output] for output in outputs] if isinstance(labels, dict) else [labels]
            for name, found in self._products(inputs, columns).items():
                totals[name] += found.numpy()
        return {name: total / self._sample.num_batches for name, total in totals.items()}

    @cached_property
    def _sample(self) -> Split:
        return self.data.train.take(TAYLOR_ROWS, seed=self.seed).with_batch_size(TAYLOR_BATCH)

    @cached_property
    def _products(self) -> Any:
        """|w x gradient| of a batch, by kernel; the mean within a batch, so that noise of single rows cancels."""
        model = arrange_outputs(self.model, self.data.schema)
        variables = {name: kernel.variable for name, kernel in self.kernels.items()}

        def products(inputs: Any, labels: list[Any]) -> dict[str, Any]:
            with tf.GradientTape() as tape:
                scores = tf.nest.flatten(model(inputs, training=False))
                losses = [_cross_entropy(y, score) for y, score in zip(labels, scores, strict=True)]
                loss = tf.add_n(losses)
            gradients = tape.gradient(loss, variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            return {name: tf.abs(variables[name] * tf.convert_to_tensor(g)) for name, g in gradients.items()}

        columns = [tf.TensorSpec((None, None), tf.float32)] * len(self.data.schema.targets)
        return for_batches(products, self.model, self._sample.num_batches, columns)


def _cross_entropy(labels: Any, scores: Any) -> Any:
    columns = (tf.reshape(column, (-1, 1)) for column in (labels, scores))
    return tf.reduce_mean(keras.losses.binary_crossentropy(*columns))


def _required_scores(importance: Any, name: str, matrix: np.ndarray, moments: Moments) -> NDArray[np.float64]:
    """What a callable says, checked."""
    scores = np.asarray(importance(matrix.copy(), moments), dtype=np.float64)
    if scores.shape != matrix.shape or not np.isfinite(scores).all():
        found = f"shape {scores.shape}" if scores.shape != matrix.shape else "numbers that are not finite"
        raise PlanError(
            f"importance {getattr(importance, '__name__', importance)!r} gives {found} for {name!r}. Expected finite "
            f"scores of shape {matrix.shape}, as the kernel. Fix: return one score a weight."
        )
    return scores
