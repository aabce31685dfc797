"""The last step of a plan: which kind of file to make."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from tfshop.data.binding import bind
from tfshop.data.schema import Schema
from tfshop.data.split import Splits
from tfshop.errors import PlanError
from tfshop.export.convert import Batches, convert
from tfshop.export.modes import MODES, Mode
from tfshop.training.inputs import model_specs
from tfshop.training.outputs import arrange_outputs

CALIBRATION_BATCH = 64


@dataclass(frozen=True)
class Export:
    """Write a `.tflite`.

    Args:
        mode: "float32", "float16", "dynamic", "int8", "int8_io" or "int16x8".
        calibration_rows: Training rows on which ranges are measured, for the modes that need ranges.

    Raises:
        PlanError: At construction for an unknown mode; in `check` for a model the mode cannot serve.

    Example:
        >>> Export("int8").calibration_rows
        2048
    """

    name: ClassVar[str] = "Export"

    mode: str = "int8"
    calibration_rows: int = 2048

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise PlanError(f"mode is {self.mode!r}. Expected one of {', '.join(MODES)}. Fix: Export('int8').")
        if not isinstance(self.calibration_rows, int) or self.calibration_rows < 1:
            raise PlanError(f"calibration_rows is {self.calibration_rows!r}. Expected at least 1. Fix: 2048.")

    @property
    def details(self) -> Mode:
        """What the mode promises."""
        return MODES[self.mode]

    def check(self, model: Any, schema: Schema) -> None:
        """Refuse int8 inputs where missing numbers have to be told from others: int8 has no NaN."""
        fragile = [layer.name for layer in model._flatten_layers() if type(layer).__name__ == "LayerNormalization"]
        if self.mode == "int16x8" and fragile:
            raise PlanError(
                f"Export('int16x8') cannot take {fragile[0]!r} (LayerNormalization): TensorFlow's converter aborts the "
                "whole process on it. Expected a network without. Fix: Export('int8')."
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
        model = arrange_outputs(model, data.schema)
        return convert(model, self.mode, self._calibration(model, data, seed) if self.details.calibrates else None)

    def _calibration(self, model: Any, data: Splits, seed: int) -> Batches:
        sample = data.train.take(min(self.calibration_rows, data.train.num_rows), seed=seed)
        inputs = bind(sample.inputs, data.schema, model_specs(model))
        # All batches of one size: the converter's calibrator does not resize every tensor for a smaller last one.
        size = min(CALIBRATION_BATCH, sample.num_rows)
        whole = sample.num_rows - sample.num_rows % size

        def batches() -> Iterator[Mapping[str, np.ndarray]]:
            for start in range(0, whole, size):
                yield {name: values[start : start + size] for name, values in inputs.items()}

        return batches
