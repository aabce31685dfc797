"""Compression passes: one technique a file, one row each in `PASSES`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tfshop.compression.allocate_tables import AllocateTables
from tfshop.compression.candidate import Candidate, Pass, StepRecord, step_to_dict
from tfshop.compression.cluster import Cluster
from tfshop.compression.distill import Distill
from tfshop.compression.drop_features import DropFeatures
from tfshop.compression.effects import FeatureEffect, feature_effects
from tfshop.compression.encode_tables import EncodeTables
from tfshop.compression.equalize import Equalize
from tfshop.compression.low_rank import LowRank
from tfshop.compression.prune import Prune
from tfshop.compression.prune_units import PruneUnits
from tfshop.compression.qat import QAT
from tfshop.compression.shrink import shrink
from tfshop.compression.thresholds import Threshold
from tfshop.compression.tune_tables import TuneTables
from tfshop.compression.warm_start import warm_start

PASSES: Mapping[str, Any] = MappingProxyType(
    {
        "Prune": Prune,
        "PruneUnits": PruneUnits,
        "DropFeatures": DropFeatures,
        "Equalize": Equalize,
        "Cluster": Cluster,
        "LowRank": LowRank,
        "EncodeTables": EncodeTables,
        "AllocateTables": AllocateTables,
        "TuneTables": TuneTables,
        "QAT": QAT,
        "Distill": Distill,
    }
)

__all__ = [
    "PASSES",
    "QAT",
    "AllocateTables",
    "Candidate",
    "Cluster",
    "Distill",
    "DropFeatures",
    "EncodeTables",
    "Equalize",
    "FeatureEffect",
    "LowRank",
    "Pass",
    "Prune",
    "PruneUnits",
    "StepRecord",
    "Threshold",
    "TuneTables",
    "feature_effects",
    "shrink",
    "step_to_dict",
    "warm_start",
]
