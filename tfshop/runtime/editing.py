"""Changing numbers of a `.tflite` in place: ranges and constants, never its structure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray


def recorded_ranges(content: bytes) -> dict[int, tuple[float, float]]:
    """Tensor of the main graph -> the range a calibrator wrote beside it."""
    subgraph = schema.Model.GetRootAs(content).Subgraphs(0)
    found = {}
    for index in range(subgraph.TensorsLength()):
        quantization = subgraph.Tensors(index).Quantization()
        if quantization is not None and quantization.MinLength() == 1 and quantization.MaxLength() == 1:
            found[index] = (float(quantization.Min(0)), float(quantization.Max(0)))
    return found


def with_ranges(content: bytes, ranges: Mapping[int, tuple[float, float]]) -> bytes:
    """The file with other calibrated ranges; each tensor has to have one already."""
    changed = bytearray(content)
    subgraph = schema.Model.GetRootAs(changed).Subgraphs(0)
    for index, (low, high) in ranges.items():
        quantization = subgraph.Tensors(index).Quantization()
        quantization.MinAsNumpy()[0], quantization.MaxAsNumpy()[0] = low, high
    return bytes(changed)


def with_constants(content: bytes, constants: Mapping[int, NDArray[np.generic]]) -> bytes:
    """The file with other numbers in constants of the main graph, of the same dtype and size as before."""
    changed = bytearray(content)
    model = schema.Model.GetRootAs(changed)
    for index, values in constants.items():
        stored = model.Buffers(model.Subgraphs(0).Tensors(index).Buffer()).DataAsNumpy()
        stored[:] = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    return bytes(changed)
