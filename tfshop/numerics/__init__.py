"""The arithmetic of quantization in plain numpy: grids of levels, scales for weights, ranges for activations.

For study and notebooks, and what the exporter itself chooses ranges with.

Example:
    >>> import numpy as np
    >>> from tfshop.numerics import asymmetric
    >>> asymmetric(np.array([-1.0, 0.0, 2.0]), bits=2).fake_quantize(np.array([-1.0, 0.0, 2.0]))
    array([-1.,  0.,  2.])
"""

from __future__ import annotations

from tfshop.numerics.grid import (
    Grid,
    asymmetric,
    asymmetric_grid,
    clipped,
    mean_squared_error,
    symmetric,
    symmetric_grid,
)
from tfshop.numerics.histogram import Histogram
from tfshop.numerics.least_squares import least_squares
from tfshop.numerics.range_choice import RANGE_METHODS, choose_range

__all__ = [
    "RANGE_METHODS",
    "Grid",
    "Histogram",
    "asymmetric",
    "asymmetric_grid",
    "choose_range",
    "clipped",
    "least_squares",
    "mean_squared_error",
    "symmetric",
    "symmetric_grid",
]
