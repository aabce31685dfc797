"""Compression passes: one technique a file, one row each in `PASSES`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tfshop.compression.candidate import Candidate, Pass, StepRecord, step_to_dict
from tfshop.compression.distill import Distill
from tfshop.compression.low_rank import LowRank
from tfshop.compression.prune import Prune
from tfshop.compression.qat import QAT
from tfshop.compression.shrink import shrink
from tfshop.compression.warm_start import warm_start

PASSES: Mapping[str, Any] = MappingProxyType({"Prune": Prune, "LowRank": LowRank, "QAT": QAT, "Distill": Distill})

__all__ = [
    "PASSES",
    "QAT",
    "Candidate",
    "Distill",
    "LowRank",
    "Pass",
    "Prune",
    "StepRecord",
    "shrink",
    "step_to_dict",
    "warm_start",
]
