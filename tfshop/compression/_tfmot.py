"""The only place that imports TF-MOT, after Keras has been chosen."""

from __future__ import annotations

import tfshop._keras  # noqa: F401  (Keras 2 has to be chosen before TF-MOT is imported)

# isort: split
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
