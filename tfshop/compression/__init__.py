"""Compression passes: one technique a file, one row each in `PASSES`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tfshop.compression.candidate import Candidate, Pass, StepRecord, step_to_dict
from tfshop.compression.cluster import Cluster
from tfshop.compression.distill import Distill
from tfshop.compression.prune import Prune
from tfshop.compression.qat import QAT
from tfshop.compression.thresholds import Threshold

PASSES: Mapping[str, Any] = MappingProxyType({"Prune": Prune, "Cluster": Cluster, "QAT": QAT, "Distill": Distill})

__all__ = [
    "PASSES",
    "QAT",
    "Candidate",
    "Cluster",
    "Distill",
    "Pass",
    "Prune",
    "StepRecord",
    "Threshold",
    "step_to_dict",
]
