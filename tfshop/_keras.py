"""The only place that selects Keras: tf_keras (Keras 2), which TF-MOT is built on."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from tfshop._quiet import quiet
from tfshop.errors import ModelError


def _refuse_keras_3() -> None:
    """Raise when TensorFlow already serves Keras 3: its layers and ours would not mix."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        return
    version = getattr(tensorflow.keras, "__version__", "2")  # tf_keras has no such attribute, Keras 3 has
    if not version.startswith("2"):
        raise ModelError(
            f"TensorFlow is already imported with Keras {version}. Expected Keras 2 (tf_keras). "
            "Fix: import tfshop before tensorflow, or set TF_USE_LEGACY_KERAS=1 before Python starts."
        )


_WITHOUT_GRAPHS = (
    "tfshop",
    "tensorflow_model_optimization.python.core.keras",
    "tensorflow_model_optimization.python.core.quantization.keras.quant_ops",
    "tensorflow_model_optimization.python.core.quantization.keras.quantizers",
)


def _leave_to_python(*modules: str) -> None:
    """Keep AutoGraph from rewriting modules in which no tensor decides what Python does.

    Rewriting all that a network calls takes longer than tracing it. Layers of others are rewritten as ever: Keras calls
    them, and TF-MOT's wrappers, which stay off the list. A version of TensorFlow that has its rules elsewhere only
    takes that longer.
    """
    try:
        config: Any = importlib.import_module("tensorflow.python.autograph.core.config")
        config.CONVERSION_RULES = (*map(config.DoNotConvert, modules), *config.CONVERSION_RULES)
    except (ImportError, AttributeError):
        return


if os.environ.get("TF_USE_LEGACY_KERAS", "1") not in {"1", "true", "True"}:
    raise ModelError(
        f"TF_USE_LEGACY_KERAS is {os.environ['TF_USE_LEGACY_KERAS']!r}. Expected '1': TF-MOT and tfshop are built on "
        "tf_keras. Fix: unset it, or set it to 1."
    )
os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # errors come as exceptions; what C++ adds is noise

_refuse_keras_3()

with quiet():  # the environment has to be set first
    import tensorflow as tf
    import tf_keras as keras

_refuse_keras_3()

_leave_to_python(*_WITHOUT_GRAPHS)

tf.get_logger().setLevel("ERROR")  # retracing warnings are about us, not about what a user can change

__all__ = ["keras", "tf"]
