"""The only place that imports TF-MOT, after Keras has been chosen."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tfshop._keras  # noqa: F401  (Keras 2 has to be chosen before TF-MOT is imported)

OF_KERAS_2 = ("keras.engine", "keras.src.engine")


@contextmanager
def _known_to_be_absent(*names: str) -> Iterator[None]:
    """Imports of modules that nobody has imported yet fail at once."""
    modules: dict[str, Any] = sys.modules
    absent = [name for name in names if name not in modules]
    modules.update(dict.fromkeys(absent))
    try:
        yield
    finally:
        for name in absent:
            del modules[name]


with _known_to_be_absent(*OF_KERAS_2):  # TF-MOT would import all of Keras 3 to find out, for two seconds
    import tensorflow_model_optimization as tfmot
    from tensorflow_model_optimization.python.core.clustering.keras.cluster_wrapper import ClusterWeights
    from tensorflow_model_optimization.python.core.clustering.keras.clusterable_layer import ClusterableLayer
    from tensorflow_model_optimization.python.core.clustering.keras.clustering_algorithm import ClusteringAlgorithm
    from tensorflow_model_optimization.python.core.quantization.keras import quantizers
    from tensorflow_model_optimization.python.core.quantization.keras.quantize_config import QuantizeConfig
    from tensorflow_model_optimization.python.core.quantization.keras.quantize_wrapper import QuantizeWrapperV2
    from tensorflow_model_optimization.python.core.quantization.keras.quantizers import Quantizer

clustering = tfmot.clustering.keras
sparsity = tfmot.sparsity.keras

__all__ = [
    "ClusterWeights",
    "ClusterableLayer",
    "ClusteringAlgorithm",
    "QuantizeConfig",
    "QuantizeWrapperV2",
    "Quantizer",
    "clustering",
    "quantizers",
    "sparsity",
]
