"""Thresholds as people write them: what lies below goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop.errors import PlanError

KINDS = ("quantile", "max", "mean")


@dataclass(frozen=True)
class Threshold:
    r"""Below which score weights go, measured on the weights that come in.

    .. math:: Q_{value}(|w|), \qquad value \cdot \max|w|, \qquad value \cdot mean|w|

    Args:
        kind: "quantile", "max" or "mean".
        value: The quantile, or the factor of the largest or mean score.

    Raises:
        PlanError: For a kind that is not known, a quantile or share of the largest outside (0, 1), a factor of the
            mean that is not above 0.

    Example:
        >>> Threshold("max", 0.05).limit(np.array([0.1, 1.0, 4.0]))
        0.2

    References:
        Li, Zhang & Liu, Ternary Weight Networks, 2016 (0.7 of the mean); Zhu et al., Trained Ternary Quantization, ICLR
        2017 (0.05 of the largest).
    """

    kind: str
    value: float

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise PlanError(f"threshold is {self.kind!r}. Expected {', '.join(KINDS)}. Fix: Threshold('mean', 0.5).")
        is_number = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        if not is_number or not 0 < self.value < (np.inf if self.kind == "mean" else 1):
            expected = "a number above 0" if self.kind == "mean" else "a number between 0 and 1"
            raise PlanError(
                f"Threshold({self.kind!r}) has value {self.value!r}. Expected {expected}. "
                f"Fix: Threshold({self.kind!r}, 0.5)."
            )

    @classmethod
    def of(cls, value: Any) -> Threshold | None:
        """Itself, or what its plain data says; None for none.

        Raises:
            PlanError: For anything else.
        """
        if value is None or isinstance(value, cls):
            return value
        if isinstance(value, Mapping) and set(value) == {"kind", "value"}:
            return cls(**value)
        raise PlanError(
            f"threshold is {value!r}. Expected a Threshold, or its plain data. Fix: Threshold('quantile', 0.5)."
        )

    def limit(self, scores: NDArray[Any]) -> float:
        """The score below which weights go."""
        if self.kind == "quantile":
            return float(np.quantile(scores, self.value))
        return float(self.value * (np.max(scores) if self.kind == "max" else np.mean(scores)))
