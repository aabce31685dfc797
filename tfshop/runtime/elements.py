"""The two things a converted graph is made of: tensors and operators."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop.errors import ArtifactError

PACKED_BITS: Mapping[str, int] = {"int4": 4, "uint4": 4, "int2": 2}
_ONE_BYTE_FLOATS = ("float8_e4m3fn", "float8_e5m2")


@dataclass(frozen=True, eq=False)
class Tensor:
    """One tensor of the main graph, with its constant where it has one.

    Args:
        index: Position in the graph; LiteRT's interpreter uses the same number.
        name: As the converter left it.
        shape: As stored; a free dimension is 1.
        dtype: "float32", "int8", "int4" …
        shape_signature: Like `shape`, with -1 for a free dimension.
        scales: float32, one for the tensor or one a slice along `quantized_dimension`; None if not quantized.
        zero_points: int64, as many as scales; None if not quantized.
        quantized_dimension: Axis along which scales differ.
        data: The constant as stored, None for a value computed at run time. It is a view of the file. Narrower than
            a byte (int4, int2) it stays packed, a flat uint8; with a sparse encoding it is the flat stored values.
        size_bytes: Bytes the constant takes in the file, without scales.
        parameter_bytes: Bytes its scales, zero points and ranges take in the file.
        buffer: Number of the buffer; tensors can share one.
        is_sparse: Whether only some values are stored.
        details: Name of a quantization scheme other than scale and zero point; None for the usual one.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    shape_signature: tuple[int, ...] = ()
    scales: NDArray[np.float32] | None = None
    zero_points: NDArray[np.int64] | None = None
    quantized_dimension: int = 0
    data: NDArray[Any] | None = None
    size_bytes: int = 0
    parameter_bytes: int = 0
    buffer: int = 0
    is_sparse: bool = False
    details: str | None = None

    @property
    def is_constant(self) -> bool:
        """Whether its value is in the file."""
        return self.data is not None

    @property
    def is_quantized(self) -> bool:
        """Whether its numbers stand for others through scales."""
        return self.scales is not None or self.details is not None

    def stored(self) -> NDArray[Any]:
        """The constant in its logical shape, one number an element: int4 and int2 unpacked, nothing dequantized.

        Raises:
            ArtifactError: For a tensor without constant, a sparse one, or one whose bytes do not fill its shape.
        """
        if self.data is None or self.is_sparse:
            found = "is computed at run time" if self.data is None else "stores only its non-zero values"
            raise ArtifactError(
                f"tensor {self.index} {self.name!r} {found}. Expected a dense constant. "
                "Fix: ask only tensors with `is_constant` and without `is_sparse` for values."
            )
        numbers = _unpack(self.data, self.dtype) if self.dtype in PACKED_BITS else self.data
        count = int(np.prod(self.shape, dtype=np.int64))
        if numbers.size < count:
            raise ArtifactError(
                f"tensor {self.index} {self.name!r} holds {numbers.size:,} numbers. Expected {count:,} for its shape "
                f"{self.shape}. Fix: export the file again; this one is damaged."
            )
        return numbers.reshape(-1)[:count].reshape(self.shape)

    def zero_levels(self) -> NDArray[np.int64] | int:
        """The stored number that means zero, shaped to broadcast over the tensor."""
        if self.zero_points is None or self.zero_points.size == 0:
            return 0
        return self._broadcast(self.zero_points)

    def values(self) -> NDArray[np.floating[Any]]:
        """The constant as numbers: float32 (float64 stays), dequantized, in the tensor's shape.

        Raises:
            ArtifactError: As `stored`, and for schemes without one scale a tensor or slice.
        """
        numbers = self.stored()
        if self.details is not None or self.dtype in _ONE_BYTE_FLOATS:
            raise ArtifactError(
                f"tensor {self.index} {self.name!r} is stored as {self.details or self.dtype}. Expected one scale for "
                "the tensor or one a slice. Fix: read `data` and decode it yourself."
            )
        if self.dtype == "bfloat16":
            return (numbers.astype(np.uint32) << 16).view(np.float32)
        if self.scales is None:
            return numbers if numbers.dtype == np.float64 else numbers.astype(np.float32)
        shifted = numbers.astype(np.float32) - np.asarray(self.zero_levels(), dtype=np.float32)
        return np.asarray(shifted * self._broadcast(self.scales), dtype=np.float32)

    def _broadcast(self, parameters: NDArray[Any]) -> NDArray[Any]:
        """One parameter a slice, shaped to meet the tensor along its quantized dimension."""
        if parameters.size == 1:
            return parameters.reshape((1,) * len(self.shape))
        shape = [1] * len(self.shape)
        shape[self.quantized_dimension] = parameters.size
        return parameters.reshape(shape)


@dataclass(frozen=True)
class Operator:
    """One operator of a converted graph.

    Args:
        kind: Builtin name such as "FULLY_CONNECTED", or "CUSTOM:<code>" such as "CUSTOM:FlexAbs".
        inputs: Tensor indices; -1 stands for an optional input that is absent.
        outputs: Tensor indices.
        index: Position in its subgraph, which is the order of execution.
        subgraph: 0 for the main graph.
    """

    kind: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    index: int = 0
    subgraph: int = 0

    @property
    def is_custom(self) -> bool:
        """Whether the operator needs code that LiteRT does not ship, Flex included."""
        return self.kind.startswith("CUSTOM:")


def _unpack(data: NDArray[Any], dtype: str) -> NDArray[np.int8]:
    """Numbers narrower than a byte, lowest bits first, sign extended where signed."""
    bits = PACKED_BITS[dtype]
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    numbers: NDArray[np.int8] = ((data.reshape(-1, 1) >> shifts) & (2**bits - 1)).reshape(-1).astype(np.int8)
    if not dtype.startswith("uint"):
        numbers[numbers >= 2 ** (bits - 1)] -= 2**bits
    return numbers
