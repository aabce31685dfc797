"""Layers of click networks: registered with Keras, so that saved models load without custom code."""

from __future__ import annotations

from tfshop.layers.attention_sum import AttentionSum
from tfshop.layers.behaviour import (
    Dice,
    HistoryAttention,
    PositionScores,
    PositionWeights,
    RecencyCodes,
    WeightedSum,
)
from tfshop.layers.bias import Bias
from tfshop.layers.bilinear import bilinear_pairs
from tfshop.layers.bilinear_fusion import bilinear_fusion
from tfshop.layers.bridge import bridge
from tfshop.layers.constants import ConstantParts, ConstantRows
from tfshop.layers.crosses import cross_stack
from tfshop.layers.experts import ExpertKernels, GatedExperts, GatedSum
from tfshop.layers.factorization import BiInteraction, FactorizationMachine
from tfshop.layers.field_attention import FieldAttention, attend
from tfshop.layers.field_aware import FieldAwareProducts
from tfshop.layers.fields import FieldGather, FieldScale, dense_per_field
from tfshop.layers.gated_crosses import gated_cross_stack
from tfshop.layers.gates import ConstantGate, Gate
from tfshop.layers.hashing import HashSum
from tfshop.layers.id_crosses import IdCrosses
from tfshop.layers.interaction_network import RowProducts, interaction_network
from tfshop.layers.mask_block import mask_block
from tfshop.layers.matching import ColumnSelect, DotProduct, UnitLength
from tfshop.layers.mixture_crosses import mixture_cross_stack
from tfshop.layers.numeric import NumericTransform
from tfshop.layers.numeric_fields import NumericFields
from tfshop.layers.pairs import InnerProducts, OuterProduct, PairwiseProducts
from tfshop.layers.pooling import POOLINGS, FieldSlice, FieldSum, MaskedMean
from tfshop.layers.ranges import OutputRange
from tfshop.layers.recurrent import InterestEvolution, InterestGRU, NextBehaviourLoss
from tfshop.layers.regulation import FieldRegulation
from tfshop.layers.shapes import Reshaped
from tfshop.layers.squeeze_excitation import FieldMean, squeeze_excitation
from tfshop.layers.tables import FieldOffsets
from tfshop.layers.vector_crosses import vector_cross, vector_cross_stack

__all__ = [
    "POOLINGS",
    "AttentionSum",
    "BiInteraction",
    "Bias",
    "ColumnSelect",
    "ConstantGate",
    "ConstantParts",
    "ConstantRows",
    "Dice",
    "DotProduct",
    "ExpertKernels",
    "FactorizationMachine",
    "FieldAttention",
    "FieldAwareProducts",
    "FieldGather",
    "FieldMean",
    "FieldOffsets",
    "FieldRegulation",
    "FieldScale",
    "FieldSlice",
    "FieldSum",
    "Gate",
    "GatedExperts",
    "GatedSum",
    "HashSum",
    "HistoryAttention",
    "IdCrosses",
    "InnerProducts",
    "InterestEvolution",
    "InterestGRU",
    "MaskedMean",
    "NextBehaviourLoss",
    "NumericFields",
    "NumericTransform",
    "OuterProduct",
    "OutputRange",
    "PairwiseProducts",
    "PositionScores",
    "PositionWeights",
    "RecencyCodes",
    "Reshaped",
    "RowProducts",
    "UnitLength",
    "WeightedSum",
    "attend",
    "bilinear_fusion",
    "bilinear_pairs",
    "bridge",
    "cross_stack",
    "dense_per_field",
    "gated_cross_stack",
    "interaction_network",
    "mask_block",
    "mixture_cross_stack",
    "squeeze_excitation",
    "vector_cross",
    "vector_cross_stack",
]
