"""Layers of click networks: registered with Keras, so that saved models load without custom code."""

from __future__ import annotations

from tfshop.layers.crosses import cross_stack
from tfshop.layers.factorization import FactorizationMachine
from tfshop.layers.numeric import NumericTransform
from tfshop.layers.pooling import FieldSlice, FieldSum, MaskedMean
from tfshop.layers.ranges import OutputRange
from tfshop.layers.tables import FieldOffsets

__all__ = [
    "FactorizationMachine",
    "FieldOffsets",
    "FieldSlice",
    "FieldSum",
    "MaskedMean",
    "NumericTransform",
    "OutputRange",
    "cross_stack",
]
