"""The only place that imports TF-MOT, after Keras has been chosen."""

from __future__ import annotations

import tfshop._keras  # noqa: F401  (Keras 2 has to be chosen before TF-MOT is imported)

# isort: split
import tensorflow_model_optimization as tfmot
from tensorflow_model_optimization.python.core.quantization.keras import quantizers
from tensorflow_model_optimization.python.core.quantization.keras.quantize_config import QuantizeConfig
from tensorflow_model_optimization.python.core.quantization.keras.quantize_wrapper import QuantizeWrapperV2
from tensorflow_model_optimization.python.core.quantization.keras.quantizers import Quantizer

sparsity = tfmot.sparsity.keras

__all__ = ["QuantizeConfig", "QuantizeWrapperV2", "Quantizer", "quantizers", "sparsity"]
