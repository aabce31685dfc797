"""Reading of the flatbuffer that a `.tflite` is, field by field, without trusting it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from tfshop.runtime.elements import PACKED_BITS, Operator, Tensor

IDENTIFIER = b"TFL3"
_IDENTIFIER_END = 8


def _names(enumeration: type) -> Mapping[int, str]:
    return {number: name for name, number in vars(enumeration).items() if not name.startswith("_")}


BUILTIN_NAMES = _names(schema.BuiltinOperator)
TYPE_NAMES = {number: name.lower() for number, name in _names(schema.TensorType).items()}
DETAILS_NAMES = _names(schema.QuantizationDetails)
BLOCKWISE = "BlockwiseQuantization"


class FlatModel:
    """The model table of a file, read on demand.

    Args:
        content: The whole file.

    Raises:
        ValueError: For bytes without the identifier of a TFLite file. Other methods raise what the flatbuffer
            reader raises on damaged bytes; `read_graph` turns all of it into one ArtifactError.
    """

    def __init__(self, content: bytes) -> None:
        if len(content) < _IDENTIFIER_END or content[4:_IDENTIFIER_END] != IDENTIFIER:
            raise ValueError("the identifier TFL3 is missing")
        self._content = content
        self._model = schema.Model.GetRootAs(content)
        self.kinds = [self._kind(self._model.OperatorCodes(i)) for i in self._range(self._model.OperatorCodesLength())]

    @property
    def num_subgraphs(self) -> int:
        """How many subgraphs there are; the first is the main graph."""
        return len(self._range(self._model.SubgraphsLength()))

    def operators(self, subgraph: int) -> tuple[Operator, ...]:
        """The operators of one subgraph, in order of execution."""
        graph = self._model.Subgraphs(subgraph)
        operators = (graph.Operators(i) for i in self._range(graph.OperatorsLength()))
        return tuple(
            Operator(
                kind=self.kinds[operator.OpcodeIndex()],
                inputs=_integers(operator.InputsAsNumpy()),
                outputs=_integers(operator.OutputsAsNumpy()),
                index=index,
                subgraph=subgraph,
            )
            for index, operator in enumerate(operators)
        )

    def tensors(self) -> tuple[Tensor, ...]:
        """The tensors of the main graph."""
        graph = self._model.Subgraphs(0)
        return tuple(self._tensor(index, graph.Tensors(index)) for index in self._range(graph.TensorsLength()))

    def ends(self) -> tuple[dict[str, int], dict[str, int]]:
        """Inputs and outputs of the main graph, signature name -> tensor index.

        A file without a signature gives the tensors' names, less what TensorFlow puts around them.
        """
        for signature in self._signatures():
            inputs = (signature.Inputs(i) for i in self._range(signature.InputsLength()))
            outputs = (signature.Outputs(i) for i in self._range(signature.OutputsLength()))
            return _name_map(inputs), _name_map(outputs)
        graph = self._model.Subgraphs(0)
        return tuple(  # type: ignore[return-value]
            {_bare_name(graph.Tensors(index)): index for index in _integers(indices)}
            for indices in (graph.InputsAsNumpy(), graph.OutputsAsNumpy())
        )

    def _signatures(self) -> Iterator[Any]:
        """Signatures of the main graph, the usual one first."""
        all_signatures = [self._model.SignatureDefs(i) for i in self._range(self._model.SignatureDefsLength())]
        of_main = [signature for signature in all_signatures if signature.SubgraphIndex() == 0]
        yield from sorted(of_main, key=lambda signature: signature.SignatureKey() != b"serving_default")

    def _tensor(self, index: int, raw: Any) -> Tensor:
        dtype = TYPE_NAMES.get(raw.Type(), f"type_{raw.Type()}")
        shape = _integers(raw.ShapeAsNumpy())
        data = self._buffer(raw.Buffer())
        is_sparse = raw.Sparsity() is not None
        quantization = _quantization(raw.Quantization())
        if quantization.get("details") == BLOCKWISE:
            quantization["parameter_bytes"] += self._bytes_of_blocks(raw.Quantization().Details())
        return Tensor(
            index=index,
            name=(raw.Name() or b"").decode(),
            shape=shape,
            dtype=dtype,
            shape_signature=_integers(raw.ShapeSignatureAsNumpy()) or shape,
            data=None if data is None else _typed(data, dtype, shape, is_sparse=is_sparse),
            size_bytes=0 if data is None else data.size,
            buffer=raw.Buffer(),
            is_sparse=is_sparse,
            **quantization,
        )

    def _bytes_of_blocks(self, details: Any) -> int:
        """Bytes of scales and zero points that are tensors of their own."""
        blocks, tensors = schema.BlockwiseQuantization(), self._model.Subgraphs(0)
        blocks.Init(details.Bytes, details.Pos)
        held = [i for i in (blocks.Scales(), blocks.ZeroPoints()) if 0 < i < tensors.TensorsLength()]
        data = [self._buffer(tensors.Tensors(index).Buffer()) for index in held]
        return sum(numbers.size for numbers in data if numbers is not None)

    def _buffer(self, number: int) -> NDArray[np.uint8] | None:
        """Bytes of a buffer, in the flatbuffer or behind it (files over 2 GB); None for an empty one."""
        buffer = self._model.Buffers(number)
        if buffer.Offset() > 1:  # 0 and 1 mean that the data are inside
            end = buffer.Offset() + buffer.Size()
            if end > len(self._content):
                raise ValueError(f"buffer {number} ends at byte {end:,}")
            return np.frombuffer(self._content, np.uint8, buffer.Size(), buffer.Offset())
        data = buffer.DataAsNumpy()
        return data if isinstance(data, np.ndarray) and data.size else None

    def _range(self, length: int) -> range:
        """Positions of a vector; a damaged length is refused before a loop runs over it."""
        if length * 4 > len(self._content):
            raise ValueError(f"a list claims {length:,} entries")
        return range(length)

    @staticmethod
    def _kind(code: Any) -> str:
        # Old files keep the number in the first field, which ends at 127.
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        name = BUILTIN_NAMES.get(number, f"BUILTIN_{number}")
        return f"CUSTOM:{(code.CustomCode() or b'').decode()}" if name == "CUSTOM" else name


def _integers(vector: Any) -> tuple[int, ...]:
    return tuple(int(value) for value in vector) if isinstance(vector, np.ndarray) else ()


def _name_map(entries: Iterator[Any]) -> dict[str, int]:
    return {entry.Name().decode(): entry.TensorIndex() for entry in entries}


def _bare_name(tensor: Any) -> str:
    name: str = (tensor.Name() or b"").decode()
    return name.removeprefix("serving_default_").removesuffix(":0")


def _typed(data: NDArray[np.uint8], dtype: str, shape: tuple[int, ...], *, is_sparse: bool) -> NDArray[Any]:
    """A view of the bytes as numbers; as bytes where numpy has no such number."""
    as_bytes = dtype in PACKED_BITS or dtype.startswith(("string", "float8", "type_", "resource", "variant"))
    numbers = data if as_bytes else data.view(np.uint16 if dtype == "bfloat16" else np.dtype(dtype))
    fills = not as_bytes and not is_sparse and numbers.size == int(np.prod(shape, dtype=np.int64))
    return numbers.reshape(shape) if fills else numbers


def _quantization(raw: Any) -> dict[str, Any]:
    """Scales, zero points, axis and the bytes they take."""
    if raw is None:
        return {}
    scales, zero_points = raw.ScaleAsNumpy(), raw.ZeroPointAsNumpy()
    has_scales = isinstance(scales, np.ndarray) and scales.size > 0
    vectors = (scales, zero_points, raw.MinAsNumpy(), raw.MaxAsNumpy())
    has_details = raw.DetailsType() != schema.QuantizationDetails.NONE
    return {
        "scales": scales if has_scales else None,
        "zero_points": zero_points if has_scales and isinstance(zero_points, np.ndarray) else None,
        "quantized_dimension": raw.QuantizedDimension(),
        "parameter_bytes": sum(vector.nbytes for vector in vectors if isinstance(vector, np.ndarray)),
        "details": DETAILS_NAMES.get(raw.DetailsType(), "unknown details") if has_details else None,
    }
