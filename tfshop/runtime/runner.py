"""LiteRT interpreters that keep their memory from one chunk of rows to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from tfshop._quiet import quiet
from tfshop.errors import ArtifactError, ScoringError
from tfshop.runtime.elements import Tensor
from tfshop.runtime.graph import Graph, not_a_tflite

Arrays = Mapping[str, NDArray[Any]]


class Runner:
    """One interpreter; memory is laid out anew only when the shape of an input changes.

    Args:
        content: The file.
        graph: The same file, read.
        num_threads: Threads that the kernels of one call may use.

    Raises:
        ArtifactError: For a file that LiteRT cannot load.
    """

    def __init__(self, content: bytes, graph: Graph, *, num_threads: int = 1) -> None:
        self._graph = graph
        self._shapes: dict[str, tuple[int, ...]] = {}
        try:
            with quiet():  # LiteRT announces its delegate
                self._interpreter = Interpreter(model_content=content, num_threads=num_threads)
        except (ValueError, RuntimeError) as error:
            raise _cannot_load(content, graph, error) from error

    def set_inputs(self, inputs: Arrays) -> None:
        """Copy prepared inputs into the interpreter, making room for them first if their shape is new.

        Raises:
            ArtifactError: Where the graph cannot be laid out for this batch.
        """
        shapes = {name: array.shape for name, array in inputs.items()}
        if shapes != self._shapes:
            self._allocate(shapes)
        for name, array in inputs.items():
            self._interpreter.set_tensor(self._graph.inputs[name], array)

    def invoke(self) -> None:
        """Run the graph on what was set.

        Raises:
            ScoringError: With what LiteRT said, where it stops.
        """
        try:
            self._interpreter.invoke()
        except RuntimeError as error:
            raise ScoringError(
                f"LiteRT stopped while scoring: {error}. Expected inputs that every operator can take. Fix: give ids "
                "inside their tables ('out of bounds' means an id past the end); pass schema= to have them checked."
            ) from error

    def outputs(self) -> dict[str, NDArray[Any]]:
        """Copies of the outputs by name, dequantized."""
        return {
            name: _dequantize(self._interpreter.get_tensor(index), self._graph.tensors[index])
            for name, index in self._graph.outputs.items()
        }

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Score prepared inputs of one batch."""
        self.set_inputs(inputs)
        self.invoke()
        return self.outputs()

    def _allocate(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._shapes = {}
        try:
            for name, shape in shapes.items():
                self._interpreter.resize_tensor_input(self._graph.inputs[name], shape)
            with quiet():
                self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise _cannot_allocate(self._graph, shapes, error) from error
        self._shapes = dict(shapes)


def _dequantize(numbers: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    """Float32 of an output; integers without a scale stay as they are."""
    if tensor.scales is None:
        return numbers.astype(np.float32) if numbers.dtype.kind == "f" else numbers
    zero_point = 0 if tensor.zero_points is None else tensor.zero_points[0]
    return np.asarray((numbers.astype(np.float32) - zero_point) * tensor.scales[0], dtype=np.float32)


def _cannot_load(content: bytes, graph: Graph, error: Exception) -> ArtifactError:
    if "flatbuffer" in str(error).lower():
        return not_a_tflite(content, str(error))
    return ArtifactError(
        f"the model does not load: LiteRT says '{error}'. Expected builtin operators of a version it knows; the file "
        f"has {', '.join(graph.kinds)}. Fix: update ai-edge-litert, or export again with this version of tfshop."
    )


def _cannot_allocate(graph: Graph, shapes: Mapping[str, tuple[int, ...]], error: Exception) -> ArtifactError:
    custom = sorted({operator.kind.removeprefix("CUSTOM:") for operator in graph.custom_operators})
    if custom:
        return ArtifactError(
            f"the model needs {', '.join(custom)}, which LiteRT does not have. Expected builtin operators only. "
            "Fix: take the layer that makes them out of the graph; strings and hashing belong beside the file."
        )
    return ArtifactError(
        f"the model cannot be laid out for inputs of shapes {dict(shapes)}: LiteRT says '{error}'. Expected a graph "
        "that takes this batch. Fix: convert it with a free batch axis, or score with the batch it was made for."
    )
