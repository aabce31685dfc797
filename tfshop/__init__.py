"""tfshop: click and recommendation networks, small and fast enough for a phone, proven on the exported file.

Example:
    >>> import tfshop as ts
    >>> plan = ts.chain(ts.Prune(0.5), ts.Export("int8"))
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tfshop import recipes, tables
    from tfshop.artifact import Artifact
    from tfshop.compression import (
        PASSES,
        QAT,
        AllocateTables,
        Cluster,
        Distill,
        DropFeatures,
        EncodeTables,
        Equalize,
        LowRank,
        Prune,
        PruneUnits,
        Threshold,
        TuneTables,
        feature_effects,
    )
    from tfshop.compression.shrink import shrink
    from tfshop.data import (
        GroupSplit,
        IdFeature,
        NumericFeature,
        RandomSplit,
        Schema,
        SequenceFeature,
        TimeSplit,
        VectorFeature,
        datasets,
        prepare,
        read_table,
    )
    from tfshop.errors import TfshopError
    from tfshop.export import Export, chain
    from tfshop.measuring import evaluate
    from tfshop.models import MODELS, build_model, load_model, weights_from_keras3
    from tfshop.pipeline import compress
    from tfshop.probing import Sensitivity, sensitivity
    from tfshop.report import table_frontier
    from tfshop.retrieval import Towers, evaluate_retrieval, export_towers
    from tfshop.runtime import Scorer, benchmark
    from tfshop.training import InBatchSoftmax, train, train_two_tower

__version__ = "0.1.0"

# Where each public name lives. They are imported at first use, so that `import tfshop` does not import TensorFlow.
_HOMES = {
    "tfshop.artifact": ("Artifact",),
    "tfshop.compression": (
        "PASSES",
        "QAT",
        "AllocateTables",
        "Cluster",
        "Distill",
        "DropFeatures",
        "EncodeTables",
        "Equalize",
        "LowRank",
        "Prune",
        "PruneUnits",
        "Threshold",
        "TuneTables",
        "feature_effects",
    ),
    "tfshop.compression.shrink": ("shrink",),
    "tfshop.data": (
        "GroupSplit",
        "IdFeature",
        "NumericFeature",
        "RandomSplit",
        "Schema",
        "SequenceFeature",
        "TimeSplit",
        "VectorFeature",
        "prepare",
        "read_table",
    ),
    "tfshop.errors": ("TfshopError",),
    "tfshop.export": ("Export", "chain"),
    "tfshop.measuring": ("evaluate",),
    "tfshop.models": ("MODELS", "build_model", "load_model", "weights_from_keras3"),
    "tfshop.pipeline": ("compress",),
    "tfshop.probing": ("Sensitivity", "sensitivity"),
    "tfshop.report": ("table_frontier",),
    "tfshop.retrieval": ("Towers", "evaluate_retrieval", "export_towers"),
    "tfshop.runtime": ("Scorer", "benchmark"),
    "tfshop.training": ("InBatchSoftmax", "train", "train_two_tower"),
}
_MODULES = {"datasets": "tfshop.data.datasets", "recipes": "tfshop.recipes", "tables": "tfshop.tables"}

__all__ = [
    "MODELS",
    "PASSES",
    "QAT",
    "AllocateTables",
    "Artifact",
    "Cluster",
    "Distill",
    "DropFeatures",
    "EncodeTables",
    "Equalize",
    "Export",
    "GroupSplit",
    "IdFeature",
    "InBatchSoftmax",
    "LowRank",
    "NumericFeature",
    "Prune",
    "PruneUnits",
    "RandomSplit",
    "Schema",
    "Scorer",
    "Sensitivity",
    "SequenceFeature",
    "TfshopError",
    "Threshold",
    "TimeSplit",
    "Towers",
    "TuneTables",
    "VectorFeature",
    "benchmark",
    "build_model",
    "chain",
    "compress",
    "datasets",
    "evaluate",
    "evaluate_retrieval",
    "export_towers",
    "feature_effects",
    "load_model",
    "prepare",
    "read_table",
    "recipes",
    "sensitivity",
    "shrink",
    "table_frontier",
    "tables",
    "train",
    "train_two_tower",
    "weights_from_keras3",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(_MODULES[name])
    for home, names in _HOMES.items():
        if name in names:
            value = getattr(importlib.import_module(home), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'tfshop' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
