"""Layers of click networks: registered with Keras, so that saved models load without custom code."""

from __future__ import annotations

from tfshop.layers.attention_sum import AttentionSum
from tfshop.layers.bias import Bias
from tfshop.layers.crosses import cross_stack
from tfshop.layers.experts import ExpertKernels, GatedExperts
from tfshop.layers.factorization import BiInteraction, FactorizationMachine
from tfshop.layers.field_aware import FieldAwareProducts
from tfshop.layers.id_crosses import IdCrosses
from tfshop.layers.mixture_crosses import mixture_cross_stack
from tfshop.layers.numeric import NumericTransform
from tfshop.layers.pairs import InnerProducts, OuterProduct, PairwiseProducts
from tfshop.layers.pooling import FieldSlice, FieldSum, MaskedMean
from tfshop.layers.ranges import OutputRange
from tfshop.layers.shapes import Reshaped
from tfshop.layers.tables import FieldOffsets
from tfshop.layers.vector_crosses import vector_cross_stack

__all__ = [
    "AttentionSum",
    "BiInteraction",
    "Bias",
    "ExpertKernels",
    "FactorizationMachine",
    "FieldAwareProducts",
    "FieldOffsets",
    "FieldSlice",
    "FieldSum",
    "GatedExperts",
    "IdCrosses",
    "InnerProducts",
    "MaskedMean",
    "NumericTransform",
    "OuterProduct",
    "OutputRange",
    "PairwiseProducts",
    "Reshaped",
    "cross_stack",
    "mixture_cross_stack",
    "vector_cross_stack",
]
