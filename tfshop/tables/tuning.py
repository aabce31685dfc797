"""Tables while they learn: what is stored is rounded on every look-up, what is trained is not."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf


class TunedTable(keras.layers.Layer):
    """In the place of a `TableLookup` while a network trains: gives the rows that the codes would stand for.

    Call:
        ids: integers of any shape. Returns float32 (…, dimension).
    """

    mask_zero = False

    def masked_as(self, mask_zero: bool) -> TunedTable:
        """The same with the mask of an `Embedding`."""
        self.mask_zero = self.supports_masking = mask_zero
        return self

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """Which ids are no padding, where 0 is."""
        return tf.not_equal(inputs, 0) if self.mask_zero else None

    def settle(self) -> None:
        """Choose anew what is chosen by more than rounding; called a few times in a training."""

    @abstractmethod
    def frozen(self) -> Mapping[str, NDArray[Any]]:
        """The arrays of the lookup, as the training left them."""

    @abstractmethod
    def looked_up(self, ids: Any) -> Any:
        """Rows of `ids`, rounded."""

    def decoded(self, ids: Any) -> Any:
        """The same, as a lookup calls it."""
        return self.looked_up(ids)

    def call(self, ids: Any) -> Any:
        """Look up."""
        return self.looked_up(tf.cast(ids, tf.int32) if ids.dtype != tf.int32 else ids)


def straight_through(exact: Any, rounded: Any) -> Any:
    """The value of `rounded` with the gradient of `exact`.

    References:
        Bengio et al., Estimating or Propagating Gradients Through Stochastic Neurons, 2013.
    """
    return exact + tf.stop_gradient(rounded - exact)


class TunedFixed(TunedTable):
    """Rows that stay as they are coded.

    Args:
        decoded: What a lookup makes of ids.
        **kwargs: As any layer.
    """

    def __init__(self, decoded: Callable[[Any], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._decoded = decoded

    def looked_up(self, ids: Any) -> Any:
        """Rows by id."""
        return self._decoded(ids)


class TunedFloats(TunedTable):
    """Rows that are stored as they are.

    Args:
        rows: float32 (num_rows, dimension).
        **kwargs: As any layer.
    """

    def __init__(self, rows: NDArray[np.float32], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rows = self.add_weight("rows", rows.shape, initializer=keras.initializers.Constant(rows))

    def looked_up(self, ids: Any) -> Any:
        """Rows by id."""
        return tf.gather(self.rows, ids)

    def frozen(self) -> Mapping[str, NDArray[Any]]:
        """The rows."""
        return {"table": self.rows.numpy()}


class TunedIntegers(TunedTable):
    r"""Rows on a grid with learned steps, :math:`s\,(\mathrm{clip}(\mathrm{round}(w / s + o)) - o)`.

    Gradients pass the rounding as if it were none, where nothing is cut off; a step learns from both. Steps are learned
    by their logarithms, so that none changes its sign and all change by a share of themselves.

    Args:
        rows: float32 (num_rows, dimension), where training starts.
        steps: float32, as many as are stored.
        which: The step of ids; takes the steps as a tensor and ids.
        offset: The code that stands for zero.
        top: Largest code.
        unit: What one of the rows' numbers counts while it learns: with tiny numbers every step of an optimizer would
            be a large one.
        **kwargs: As any layer.

    References:
        Esser et al., Learned Step Size Quantization, ICLR 2020.
    """

    def __init__(
        self,
        rows: NDArray[np.float32],
        steps: NDArray[np.float32],
        *,
        which: Callable[[Any, Any], Any],
        offset: float,
        top: int,
        unit: float = 1.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._which, self._offset, self._top = which, float(offset), float(top)
        self._start, self._unit = tf.constant(steps), float(unit)
        self.rows = self.add_weight("rows", rows.shape, initializer=keras.initializers.Constant(rows / self._unit))
        self.changes = self.add_weight("changes", steps.shape, initializer="zeros")

    def steps(self) -> Any:
        """The steps as they are now."""
        return self._start * tf.exp(self.changes)

    def looked_up(self, ids: Any) -> Any:
        """Rows by id, on their grids."""
        codes, steps = self.codes_and_steps(ids)
        return codes * steps

    def codes_and_steps(self, ids: Any) -> tuple[Any, Any]:
        """Codes around zero (…, dimension), and what they are multiplied by, as `IntegerLookup` has them."""
        steps = self._which(self.steps(), ids)
        inside = tf.where(steps > 0, steps, tf.ones_like(steps))
        exact = tf.gather(self.rows, ids) / (inside / self._unit)
        codes = tf.clip_by_value(exact, -self._offset, self._top - self._offset)
        return straight_through(codes, tf.round(codes + self._offset) - self._offset), steps

    def frozen(self) -> Mapping[str, NDArray[Any]]:
        """Rows and steps, of which the lookup makes its codes."""
        return {"rows": self.rows.numpy() * np.float32(self._unit), "steps": self.steps().numpy()}


class TunedNested(TunedTable):
    """A lookup through others, of which some learn.

    Args:
        parts: What learns, or stays, in the place of each lookup inside, and of arrays beside them.
        decoded: What the outer lookup makes of ids by way of them.
        **kwargs: As any layer.
    """

    def __init__(self, parts: Mapping[str, TunedTable], decoded: Callable[[Any], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.parts, self._outer = dict(parts), decoded

    def settle(self) -> None:
        """Each part."""
        for part in self.parts.values():
            part.settle()

    def looked_up(self, ids: Any) -> Any:
        """As the outer lookup does."""
        return self._outer(ids)
