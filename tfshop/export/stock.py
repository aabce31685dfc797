"""TensorFlow's own converter and quantizer, kept quiet, their refusals in our words."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from tensorflow.lite.python.convert import mlir_quantize
from tensorflow.lite.python.convert_phase import ConverterError

from tfshop._keras import keras, tf
from tfshop._quiet import quiet
from tfshop.errors import ExportError
from tfshop.export.saved_model import converter_of, saved
from tfshop.export.settings import Batches
from tfshop.runtime.trial import run_apart


def float32(converter: Any) -> bytes:
    """Weights and arithmetic in float32."""
    return bytes(converter.convert())


def float16(converter: Any) -> bytes:
    """Weights in float16."""
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return bytes(converter.convert())


def dynamic(converter: Any) -> bytes:
    """Weights in int8, activations quantized at run time."""
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return bytes(converter.convert())


def int16x8(converter: Any, calibration: Batches) -> bytes:
    """Weights in int8, activations in int16; run once in a process of its own, for LiteRT aborts on some of these."""
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = calibration
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
        tf.lite.OpsSet.TFLITE_BUILTINS,
    ]
    content = bytes(converter.convert())
    run_apart(content, next(iter(calibration())))
    return content


CONVERTERS: Mapping[str, Callable[[Any], bytes]] = MappingProxyType(
    {"float32": float32, "float16": float16, "dynamic": dynamic}
)


def whole_way(model: Any, mode: str, calibration: Batches | None) -> bytes:
    """A file made by the stock converter from beginning to end.

    Raises:
        ExportError: Where the converter fails; its own words are in the message.
    """
    with _refusing(model, mode), saved(model) as folder:
        if mode == "int16x8":
            if calibration is None:
                raise ValueError("error: int16x8 needs batches to calibrate with")
            return int16x8(converter_of(model, folder), calibration)
        return CONVERTERS[mode](converter_of(model, folder))


def beside_float32(model: Any, mode: str) -> tuple[bytes, bytes]:
    """The files of a mode and of float32, made of one SavedModel.

    Raises:
        ExportError: Where the converter fails; its own words are in the message.
    """
    with _refusing(model, mode), saved(model) as folder:
        return CONVERTERS[mode](converter_of(model, folder)), float32(converter_of(model, folder))


def calibrated(model: Any, mode: str, calibration: Batches) -> bytes:
    """The float graph with the range of every tensor, before anything is quantized.

    Raises:
        ExportError: Where the converter fails.
    """
    with _refusing(model, mode), saved(model) as folder:
        converter = converter_of(model, folder)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = calibration  # batches by name: a list would be bound by position
        converter._experimental_calibrate_only = True
        return bytes(converter.convert())


def quantize(model: Any, mode: str, content: bytes, floats: Sequence[str]) -> bytes:
    """A calibrated graph in int8, but for the operators whose outputs are named.

    Raises:
        ExportError: Where the quantizer fails.
    """
    ends = {"input_data_type": tf.int8, "output_data_type": tf.int8} if mode == "int8_io" else {}
    with _refusing(model, mode):
        return bytes(mlir_quantize(content, denylisted_nodes=list(floats), **ends))


@contextlib.contextmanager
def _refusing(model: Any, mode: str) -> Iterator[None]:
    """Keep the converter's chatter off the terminal, and say in our words what it refuses."""
    absl_logger = logging.getLogger("absl")
    level = absl_logger.level
    absl_logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), quiet():
            warnings.simplefilter("ignore")
            yield
    except (ConverterError, ValueError, RuntimeError, TypeError, tf.errors.OpError) as error:
        raise _refused(model, mode, error) from error
    finally:
        absl_logger.setLevel(level)


def _refused(model: Any, mode: str, error: Exception) -> ExportError:
    lines = [line for line in str(error).splitlines() if line.strip()]
    first = next((line for line in lines if "error" in line.lower()), lines[0] if lines else type(error).__name__)
    return ExportError(
        f"{model.name!r} does not convert to {mode}: {first.strip()[:400]}. Expected a graph of builtin TFLite "
        f"operators. Fix: {_remedy(model, mode)}"
    )


def _remedy(model: Any, mode: str) -> str:
    """What is known to help against what the network has, else where to look."""
    loops = [
        f"{type(layer).__name__}(…, unroll=True) for {layer.name!r}"
        for layer in model._flatten_layers(include_self=False)
        if isinstance(layer, keras.layers.RNN) and not getattr(layer, "unroll", False)
    ]
    if loops:
        return f"{', '.join(loops)}: a loop needs Flex."
    if keras.mixed_precision.global_policy().compute_dtype != "float32":
        return "keras.mixed_precision.set_global_policy('float32') before the network is built."
    if mode == "int16x8":
        return "Export('int8'), which takes more layers, or replace the layer the message names."
    if mode == "float32":
        return "replace the layer the message names; pre-processing (text, categories) belongs before the file."
    return "replace the layer the message names, or try Export('float32') to see whether the mode is at fault."
