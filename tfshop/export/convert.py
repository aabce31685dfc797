"""From a Keras model to the bytes of a `.tflite`, with the stock converter underneath."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from tensorflow.lite.python.convert import mlir_quantize
from tensorflow.lite.python.convert_phase import ConverterError

from tfshop._keras import tf
from tfshop._quiet import quiet
from tfshop.errors import ExportError
from tfshop.export.precision import float_operators
from tfshop.runtime.graph import read_graph

Batches = Callable[[], Iterator[Mapping[str, np.ndarray]]]


def convert(model: Any, mode: str, calibration: Batches | None = None) -> bytes:
    """Convert a functional Keras model; `int8` keeps in float what int8 would ruin.

    Args:
        model: Functional tf_keras model.
        mode: Key of `MODES`.
        calibration: Gives batches of inputs by name; needed by the modes that calibrate.

    Returns:
        The bytes of a `.tflite` whose signature has the model's input and output names.

    Raises:
        ExportError: Where the converter fails; its own words are in the message.
    """
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    try:
        with _silent():
            return CONVERTERS[mode](converter, calibration)
    except (ConverterError, ValueError, RuntimeError, TypeError, tf.errors.OpError) as error:
        raise _refused(model, mode, error) from error


def _float32(converter: Any, calibration: Batches | None) -> bytes:
    return bytes(converter.convert())


def _float16(converter: Any, calibration: Batches | None) -> bytes:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return bytes(converter.convert())


def _dynamic(converter: Any, calibration: Batches | None) -> bytes:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return bytes(converter.convert())


def _int8(converter: Any, calibration: Batches | None) -> bytes:
    calibrated = _calibrated(converter, calibration)
    return bytes(mlir_quantize(calibrated, denylisted_nodes=list(float_operators(read_graph(calibrated)))))


def _int8_io(converter: Any, calibration: Batches | None) -> bytes:
    calibrated = _calibrated(converter, calibration)
    floats = float_operators(read_graph(calibrated), float_head=False)
    return bytes(
        mlir_quantize(calibrated, input_data_type=tf.int8, output_data_type=tf.int8, denylisted_nodes=list(floats))
    )


def _int16x8(converter: Any, calibration: Batches | None) -> bytes:
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = calibration
    converter.target_spec.supported_ops = [
        tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8,
        tf.lite.OpsSet.TFLITE_BUILTINS,
    ]
    return bytes(converter.convert())


CONVERTERS: Mapping[str, Callable[[Any, Batches | None], bytes]] = {
    "float32": _float32,
    "float16": _float16,
    "dynamic": _dynamic,
    "int8": _int8,
    "int8_io": _int8_io,
    "int16x8": _int16x8,
}


def _calibrated(converter: Any, calibration: Batches | None) -> bytes:
    """The float graph with the range of every tensor, before anything is quantized."""
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = calibration  # batches by name: a list would be bound by position
    converter._experimental_calibrate_only = True
    return bytes(converter.convert())


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep the converter's chatter off the terminal, its warnings included."""
    absl_logger = logging.getLogger("absl")
    level = absl_logger.level
    absl_logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), quiet():
            warnings.simplefilter("ignore")
            yield
    finally:
        absl_logger.setLevel(level)


def _refused(model: Any, mode: str, error: Exception) -> ExportError:
    lines = [line for line in str(error).splitlines() if line.strip()]
    first = next((line for line in lines if "error" in line.lower()), lines[0] if lines else type(error).__name__)
    return ExportError(
        f"{model.name!r} does not convert to {mode}: {first.strip()[:400]}. Expected a graph of builtin TFLite "
        "operators. Fix: replace the layer the message names, or try Export('float32') to see whether the mode or "
        "the network is at fault."
    )
