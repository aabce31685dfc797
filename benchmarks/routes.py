"""From one trained network to a `.tflite`, along the routes that the tools' own guides show, and along ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import tfshop as ts
from tfshop._keras import keras, tf
from tfshop._quiet import quiet
from tfshop.compression.rebuild import copy_model
from tfshop.data.split import Splits
from tfshop.evaluation.measured import Measured, measure_file

# isort: split
import tensorflow_model_optimization as tfmot
from ai_edge_quantizer import quantizer, recipe
from usual_network import usual_network

CALIBRATION_ROWS = 2048  # as many as tfshop's exporter takes, and the same ones
CALIBRATION_BATCH = 64
QUANTIZER_RECIPES = (
    "dynamic_wi8_afp32",
    "dynamic_legacy_wi8_afp32",
    "weight_only_wi8_afp32",
    "static_wi8_ai8",
    "static_wi8_ai16",
    "dynamic_wi4_afp32",
    "dynamic_wi4b32_afp32",
    "dynamic_wi4c_hr_afp32",
    "weight_only_wi4_afp32",
    "dynamic_wi2c_afp32",
    "dynamic_wi2b32_afp32",
)


@dataclass(frozen=True, eq=False)
class Start:
    """What every route starts from.

    Attributes:
        model: The trained network; no route changes it.
        data: Splits.
        float32: The file of the network as it is, measured.
        seed: Of whatever is trained.
    """

    model: Any
    data: Splits
    float32: Measured
    seed: int

    def rows(self) -> Iterator[dict[str, np.ndarray]]:
        """Calibration batches by input name, from training rows."""
        inputs = self.data.train.take(min(CALIBRATION_ROWS, self.data.train.num_rows), seed=0).inputs
        for begin in range(0, len(next(iter(inputs.values()))), CALIBRATION_BATCH):
            yield {name: values[begin : begin + CALIBRATION_BATCH] for name, values in inputs.items()}


Route = Callable[[Start, str], Measured]


def _measured(make: Callable[[Start], bytes]) -> Route:
    """A route from what makes the bytes."""
    return lambda start, name: measure_file(name, make(start), start.data, baseline=start.float32)


def converted(model: Any, **settings: Any) -> bytes:
    """Run TFLiteConverter with attributes set."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    for name, value in settings.items():
        setattr(converter, name, value)
    with quiet():
        return bytes(converter.convert())


def float16(start: Start) -> bytes:
    """Post-training float16 quantization, as TensorFlow's guide shows it."""
    converter = tf.lite.TFLiteConverter.from_keras_model(start.model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    with quiet():
        return bytes(converter.convert())


def dynamic(model: Any) -> bytes:
    """Default optimizations and nothing else."""
    return converted(model, optimizations=[tf.lite.Optimize.DEFAULT])


def full_int8(start: Start) -> bytes:
    """Post-training integer quantization; the representative rows are given by name."""
    return converted(start.model, optimizations=[tf.lite.Optimize.DEFAULT], representative_dataset=start.rows)


def quantize_whole(start: Start) -> bytes:
    """TF-MOT's `quantize_model` on the whole network, as the first page of its guide shows."""
    model = tfmot.quantization.keras.quantize_model(copy_model(start.model))
    return dynamic(_fitted(model, start, ts.QAT().learning_rate))


def quantize_dense(start: Start) -> bytes:
    """TF-MOT on the Dense layers: annotate, apply, one epoch, convert with default optimizations."""
    annotate = tfmot.quantization.keras.quantize_annotate_layer
    annotated = keras.models.clone_model(
        copy_model(start.model),
        clone_function=lambda layer: annotate(layer) if isinstance(layer, keras.layers.Dense) else layer,
    )
    model = tfmot.quantization.keras.quantize_apply(annotated)
    return dynamic(_fitted(model, start, ts.QAT().learning_rate))


def prune_whole(start: Start) -> bytes:
    """TF-MOT's `prune_low_magnitude` on the whole network, to 80%, one epoch, default optimizations."""
    model = tfmot.sparsity.keras.prune_low_magnitude(copy_model(start.model), pruning_schedule=_schedule(start))
    return _pruned(model, start)


def prune_dense(start: Start) -> bytes:
    """TF-MOT's pruning of the Dense layers to 80%, one epoch, default optimizations."""
    prune, schedule = tfmot.sparsity.keras.prune_low_magnitude, _schedule(start)

    def wrap(layer: Any) -> Any:
        return prune(layer, pruning_schedule=schedule) if isinstance(layer, keras.layers.Dense) else layer

    return _pruned(keras.models.clone_model(copy_model(start.model), clone_function=wrap), start)


def _schedule(start: Start) -> Any:
    """The guide's schedule: from 50% to 80% until the last step."""
    return tfmot.sparsity.keras.PolynomialDecay(
        initial_sparsity=0.5, final_sparsity=0.8, begin_step=0, end_step=start.data.train.num_batches
    )


def _pruned(model: Any, start: Start) -> bytes:
    trained = _fitted(model, start, ts.Prune().learning_rate, tfmot.sparsity.keras.UpdatePruningStep())
    return dynamic(tfmot.sparsity.keras.strip_pruning(trained))


def _fitted(model: Any, start: Start, learning_rate: float, *callbacks: Any) -> Any:
    """One epoch of plain Keras, with the step size that tfshop's own pass takes: no straw man."""
    keras.utils.set_random_seed(start.seed)
    model.compile(keras.optimizers.Adam(learning_rate), "binary_crossentropy")
    rows = start.data.train.batches(shuffle=True, seed=start.seed)
    model.fit(rows, epochs=1, verbose=0, callbacks=list(callbacks))
    return model


def quantizer_recipe(name: str) -> Callable[[Start], bytes]:
    """A ready-made recipe of ai-edge-quantizer on the float32 file, calibrated where it asks for it."""

    def make(start: Start) -> bytes:
        with quiet():
            tool = quantizer.Quantizer(bytearray(start.float32.content), getattr(recipe, name)())
            # a list: a generator would be used up by counting it, and nothing would be calibrated
            ranges = tool.calibrate({"serving_default": list(start.rows())}) if tool.need_calibration else None
            return bytes(tool.quantize(ranges, enable_progress_report=False).quantized_model)

    return make


def our_recipe(name: str, **settings: Any) -> Route:
    """A recipe of tfshop."""

    def follow(start: Start, row: str) -> Measured:
        plan = ts.recipes.RECIPES[name](**settings)
        result = ts.compress(start.model, start.data, plan, name=row, seed=start.seed)
        return result.measured

    return follow


ROUTES: Mapping[str, Route] = {
    "one table a field, float32": _measured(lambda start: converted(usual_network(start.model, start.data.schema))),
    "one table a field, dynamic": _measured(lambda start: dynamic(usual_network(start.model, start.data.schema))),
    "TFLiteConverter dynamic": _measured(lambda start: dynamic(start.model)),
    "TFLiteConverter float16": _measured(float16),
    "TFLiteConverter int8": _measured(full_int8),
    "TF-MOT quantize_model": _measured(quantize_whole),
    "TF-MOT quantize Dense": _measured(quantize_dense),
    "TF-MOT prune model 80%": _measured(prune_whole),
    "TF-MOT prune Dense 80%": _measured(prune_dense),
    **{f"ai-edge {name}": _measured(quantizer_recipe(name)) for name in QUANTIZER_RECIPES},
    **{f"tfshop {name}": our_recipe(name) for name in ("int8", "qat_int8", "prune_int8", "distill_int8")},
    "tfshop fast": our_recipe("fast"),
    "tfshop fast without its history": our_recipe("fast", without=("hist_product_type",)),
    "tfshop tiny": our_recipe("tiny"),
}
