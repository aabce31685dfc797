"""The last step of a plan: which kind of file to make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np

from tfshop.data.binding import bind
from tfshop.data.schema import Schema
from tfshop.data.split import Splits
from tfshop.errors import PlanError
from tfshop.export.convert import INTEGER_MODES, Exported, export
from tfshop.export.groups import require_layers
from tfshop.export.int16_numbers import int16_obstacle
from tfshop.export.modes import MODES, Mode
from tfshop.export.settings import RECORDED, Batches, Mixed, Precision
from tfshop.export.validation import validation_auc
from tfshop.runtime.int4_kernels import with_int4_kernels
from tfshop.runtime.stripping import stripped
from tfshop.training.inputs import model_specs
from tfshop.training.outputs import arrange_outputs

CALIBRATION_BATCH = 64
EIGHT_BITS = ("int8", "int8_io")


@dataclass(frozen=True)
class Export:
    """Write a `.tflite`.

    Args:
        mode: "float32", "float16", "dynamic", "int8", "int8_io" or "int16x8".
        calibration_rows: Training rows on which ranges are measured; the other modes measure none, and take any number.
        ranges: How the range of an activation is chosen, for "int8" and "int8_io": "recorded" (TensorFlow's
            calibrator), or by what the tensors really hold: "minmax", "percentile", "mse" (least squared error),
            "entropy". Ranges that QAT trained are kept.
        percentile: Share of the numbers, in percent, that "percentile" keeps on each side.
        bias_correction: Put the mean error of each quantized product on calibration rows into its bias.
        keep_float: Keras layers (or tensors of the file) that stay in float.
        mixed: Limits under which further layers stay in float, the one first that moves the logits most when it
            alone is quantized: some of "max_change", "max_auc_drop", "max_bytes", as `Mixed` has them. Like
            `keep_float` for int8 and int8_io alone, and between int8 and float alone: TensorFlow's quantizer drops the
            ranges of what it leaves in float, so that a run with int8 finds nothing to do behind one with int16, and
            LiteRT refuses int16 products that have ranges measured for int8.
        strip: Leave out what no runtime reads (names of inner tensors, empty scales and buffers, the history of the
            file), and write equal parts once. The scores are the same to the bit; tools that draw the file show its
            operators without names.
        int4: Store kernels of at most 15 evenly spaced levels a channel, as `QAT(bits=4)` and `QAT(bits=2)` train
            them, in half a byte a weight, for "int8" and "int8_io". An app's runtime has to know version 10 of
            FULLY_CONNECTED; others stay in int8.

    Raises:
        PlanError: At construction for an unknown mode or a setting out of range; in `check` for a model the mode
            cannot serve.

    Example:
        >>> Export("int8").calibration_rows
        2048
        >>> Export("int8", ranges="mse", bias_correction=True, mixed={"max_change": 0.02}).ranges
        'mse'

    References:
        Nagel et al., A White Paper on Neural Network Quantization, 2021.
    """

    name: ClassVar[str] = "Export"

    mode: str = "int8"
    calibration_rows: int = 2048
    ranges: str = RECORDED
    percentile: float = 99.99
    bias_correction: bool = False
    keep_float: tuple[str, ...] = ()
    mixed: Mapping[str, float] | None = None
    strip: bool = False
    int4: bool = False

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise PlanError(f"mode is {self.mode!r}. Expected one of {', '.join(MODES)}. Fix: Export('int8').")
        if not isinstance(self.calibration_rows, int) or self.calibration_rows < 1:
            raise PlanError(f"calibration_rows is {self.calibration_rows!r}. Expected at least 1. Fix: 2048.")
        if isinstance(self.keep_float, list):
            object.__setattr__(self, "keep_float", tuple(self.keep_float))
        if self.int4 and self.mode not in EIGHT_BITS:
            raise PlanError(
                f"Export({self.mode!r}) was given int4=True. Expected it with int8 activations alone. "
                "Fix: Export('int8', int4=True)."
            )
        asked = self.precision  # which refuses what is out of range
        if self.mode not in INTEGER_MODES and not asked.is_plain:
            raise PlanError(
                f"Export({self.mode!r}) was given ranges, bias_correction, keep_float or mixed, which it does not "
                "read. Expected Export('int8') or Export('int8_io'). Fix: change the mode, or leave them out."
            )

    @property
    def precision(self) -> Precision:
        """What is asked of the integers."""
        return Precision(self.ranges, self.percentile, self.bias_correction, self.keep_float, _mixed(self.mixed))

    @property
    def details(self) -> Mode:
        """What the mode promises."""
        return MODES[self.mode]

    def check(self, model: Any, schema: Schema) -> None:
        """Refuse numbers that the mode cannot hold, and layers that it does not know.

        int8 has no NaN, so that "int8_io" cannot tell missing numbers from others. For "int16x8" see `int16_obstacle`.
        """
        obstacle = int16_obstacle(model, schema, self.calibration_rows) if self.mode == "int16x8" else None
        if obstacle is not None:
            raise PlanError(f"Export('int16x8') cannot take {obstacle} Fix: Export('int8').")
        unknown = require_layers(model, self.keep_float)
        if unknown is not None:
            raise PlanError(
                f"keep_float names {unknown!r}, which is no layer of {model.name!r}. Expected some of "
                f"{', '.join(layer.name for layer in model.layers[:12])} … Fix: take one of those."
            )
        holes = [f.name for f in schema.numeric_features if schema.statistics[f.name].missing]
        if self.details.integer_ends and holes:
            raise PlanError(
                f"Export({self.mode!r}) feeds numbers as int8, which has no NaN, but {', '.join(holes)} had missing "
                "values in training. Expected columns without holes. Fix: Export('int8'), or fill the holes first."
            )

    def to_bytes(self, model: Any, data: Splits, *, seed: int = 0) -> bytes:
        """Convert `model`; ranges come from training rows, never from validation or test.

        Of several targets, each output is named `probability_<target>` or `<target>` in the file.

        Raises:
            ExportError: Where the converter fails.
        """
        return self.export(model, data, seed=seed).content

    def export(self, model: Any, data: Splits, *, seed: int = 0) -> Exported:
        """`to_bytes`, with what was measured on the way.

        Raises:
            ExportError: Where the converter fails, and for a layer to be kept in float that is not in the file.
        """
        model = arrange_outputs(model, data.schema)
        calibration = self.calibration(model, data, seed) if self.details.calibrates else None
        made = export(model, self.mode, calibration, self.precision, auc=validation_auc(data))
        content = with_int4_kernels(made.content) if self.int4 else made.content
        return replace(made, content=stripped(content) if self.strip else content)

    def calibration(self, model: Any, data: Splits, seed: int) -> Batches:
        """The training rows on which ranges are measured, in batches of inputs by name."""
        sample = data.train.take(min(self.calibration_rows, data.train.num_rows), seed=seed)
        inputs = bind(sample.inputs, data.schema, model_specs(model))
        # All batches of one size: the converter's calibrator does not resize every tensor for a smaller last one.
        size = min(CALIBRATION_BATCH, sample.num_rows)
        whole = sample.num_rows - sample.num_rows % size

        def batches() -> Iterator[Mapping[str, np.ndarray]]:
            for start in range(0, whole, size):
                yield {name: values[start : start + size] for name, values in inputs.items()}

        return batches


def _mixed(limits: Mapping[str, float] | None) -> Mixed | None:
    if limits is None:
        return None
    known = [item.name for item in fields(Mixed)]
    if not isinstance(limits, Mapping) or not set(limits) <= set(known):
        raise PlanError(f"mixed is {limits!r}. Expected some of {', '.join(known)}. Fix: mixed={{'max_change': 0.02}}.")
    return Mixed(**limits)  # type: ignore[arg-type]
