"""Changing the structure of a `.tflite`: operators and tensors replaced, what nobody reads any more left out."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from tfshop.errors import ExportError
from tfshop.runtime.flatbuffer import IDENTIFIER
from tfshop.runtime.sharing import SharingBuilder

ALIGNMENT = 16  # of constants, as the schema asks for
ROOM = 1 << 20  # bytes for all that is no constant
HISTORY = b"CONVERSION_METADATA"  # which converter made the file, with what settings


class OpenFile:
    """The main graph of a file as objects, to be changed and packed again.

    Constants stay views of `content` until they are packed, and are copied there once.

    Args:
        content: The whole file.

    Raises:
        ExportError: For a file over 2 GB, whose constants stand behind the flatbuffer.
    """

    def __init__(self, content: bytes) -> None:
        self._model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
        self._size = len(content)
        if any(buffer.offset > 1 for buffer in self._model.buffers):
            raise ExportError(
                f"the file has {len(content):,} bytes, and its constants stand behind the flatbuffer, which is not "
                "written anew. Expected a file under 2 GB. Fix: Export without strip, and a codec other than "
                "RowwiseLookup for the largest table."
            )
        self._graph = self._model.subgraphs[0]
        self._read = self._used()

    @property
    def operators(self) -> list[Any]:
        """Of the main graph, in order of execution."""
        return list(self._graph.operators)

    def kind(self, name: str, version: int = 1) -> int:
        """Number of a builtin operator in the list of those that the file needs."""
        wanted = getattr(schema.BuiltinOperator, name)
        for number, code in enumerate(self._model.operatorCodes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == wanted and code.version == version:
                return number
        made = schema.OperatorCodeT()
        made.builtinCode, made.version = wanted, version
        made.deprecatedBuiltinCode = min(wanted, int(schema.BuiltinOperator.PLACEHOLDER_FOR_GREATER_OP_CODES))
        self._model.operatorCodes.append(made)
        return len(self._model.operatorCodes) - 1

    def add(self, like: int, shape: Sequence[int] | None = None, dtype: str | None = None) -> tuple[int, Any]:
        """A new tensor with the name of another one; of its shape and type where none are given."""
        old, made = self._graph.tensors[like], schema.TensorT()
        made.name, made.buffer, made.type = old.name, old.buffer, old.type
        made.shape, made.shapeSignature = old.shape, old.shapeSignature
        if shape is not None:
            made.shape, made.shapeSignature = np.array(shape, dtype=np.int32), None
        if dtype is not None:
            made.type = getattr(schema.TensorType, dtype)
        self._graph.tensors.append(made)
        return len(self._graph.tensors) - 1, made

    def hold(self, data: NDArray[Any]) -> int:
        """Number of a new buffer with these numbers."""
        self._model.buffers.append(schema.BufferT(data=np.ascontiguousarray(data).reshape(-1).view(np.uint8)))
        return len(self._model.buffers) - 1

    def strip(self, named: Collection[int] = ()) -> None:
        """Leave out what no runtime reads: names, empty scales, buffers of tensors without a constant, the history.

        Inputs, outputs and what the signatures mean keep their names.

        Args:
            named: Further tensors that keep theirs.
        """
        kept = {*named, *self._ends()}
        for index, tensor in enumerate(self._graph.tensors):
            tensor.name = tensor.name if index in kept else None
            is_scaled = tensor.quantization is not None and _num_bytes(tensor.quantization) > 0
            if not is_scaled and _blocks(tensor) is None:
                tensor.quantization = None
        self._model.description = None
        self._model.metadata = [entry for entry in self._model.metadata or () if entry.name != HISTORY] or None
        meant = {tensor.buffer for graph in self._model.subgraphs for tensor in graph.tensors}
        meant |= {entry.buffer for entry in self._model.metadata or ()}
        filled = [n for n, buffer in enumerate(self._model.buffers) if buffer.data is not None and n in meant]
        numbers = {old: new for new, old in enumerate(filled, start=1)}  # the first buffer is the empty one
        for graph in self._model.subgraphs:
            for tensor in graph.tensors:
                tensor.buffer = numbers.get(tensor.buffer, 0)
        for entry in self._model.metadata or ():
            entry.buffer = numbers.get(entry.buffer, 0)
        self._model.metadataBuffer = None  # which no longer means anything: the schema has metadata instead
        self._model.buffers = [schema.BufferT(), *(self._model.buffers[number] for number in filled)]

    def to_bytes(self, *, share: bool = False) -> bytes:
        """The file, without what nothing reads any more.

        Args:
            share: Write equal shapes, scales, names and settings once, for a file that nobody changes in place.
        """
        self._sweep()
        self._model.buffers = [_Aligned(b.data, b.offset, b.size) for b in self._model.buffers]
        added = sum(0 if buffer.data is None else len(buffer.data) for buffer in self._model.buffers)
        scales = sum(_num_bytes(tensor.quantization) for tensor in self._graph.tensors)
        builder = (SharingBuilder if share else flatbuffers.Builder)(max(added + scales, self._size // 2) + ROOM)
        builder.Finish(self._model.Pack(builder), file_identifier=IDENTIFIER)
        return bytes(memoryview(builder.Bytes)[builder.Head() :])

    def _sweep(self) -> None:
        """Leave out operators whose outputs nobody reads, then tensors that were read before and are not now."""
        while True:
            needed = set(self._ends()) | {i for operator in self.operators for i in _indices(operator.inputs)}
            alive = [o for o in self.operators if not len(o.outputs) or needed & set(_indices(o.outputs))]
            if len(alive) == len(self.operators):
                break
            self._graph.operators = alive
        gone = self._read - self._used()
        kept = [index for index in range(len(self._graph.tensors)) if index not in gone]
        self._renumber({old: new for new, old in enumerate(kept)})
        self._graph.tensors = [self._graph.tensors[index] for index in kept]
        held = {tensor.buffer for graph in self._model.subgraphs for tensor in graph.tensors}
        held |= {entry.buffer for entry in self._model.metadata or ()}
        for number, buffer in enumerate(self._model.buffers):
            buffer.data = buffer.data if number in held else None

    def _used(self) -> set[int]:
        """Tensors that operators, ends and scales of others mean."""
        used = set(self._ends())
        for operator in self.operators:
            for indices in (operator.inputs, operator.outputs, operator.intermediates):
                used.update(_indices(indices))
        for index in tuple(used):
            blocks = _blocks(self._graph.tensors[index])
            used |= {blocks.scales, blocks.zeroPoints} if blocks else set()
        return used - {-1}

    def _ends(self) -> Iterator[int]:
        yield from _indices(self._graph.inputs)
        yield from _indices(self._graph.outputs)
        yield from (entry.tensorIndex for entry in self._entries())

    def _entries(self) -> Iterator[Any]:
        """Names in the signatures of the main graph."""
        for signature in self._model.signatureDefs or ():
            if signature.subgraphIndex == 0:
                yield from signature.inputs or ()
                yield from signature.outputs or ()

    def _renumber(self, numbers: dict[int, int]) -> None:
        """Give every tensor its new number wherever it is meant."""

        def renumbered(indices: Any) -> Any:
            return None if indices is None else np.array([numbers.get(int(i), -1) for i in indices], dtype=np.int32)

        for operator in self.operators:
            for name in ("inputs", "outputs", "intermediates"):
                setattr(operator, name, renumbered(getattr(operator, name)))
        self._graph.inputs, self._graph.outputs = renumbered(self._graph.inputs), renumbered(self._graph.outputs)
        for entry in self._entries():
            entry.tensorIndex = numbers[entry.tensorIndex]
        for blocks in filter(None, (_blocks(tensor) for tensor in self._graph.tensors)):
            blocks.scales, blocks.zeroPoints = numbers.get(blocks.scales, -1), numbers.get(blocks.zeroPoints, -1)


class _Aligned(schema.BufferT):
    """A buffer whose bytes begin where LiteRT wants them; the generated one lets them begin anywhere."""

    def Pack(self, builder: Any) -> Any:  # noqa: N802 - as the schema calls it
        data = None if self.data is None else np.asarray(self.data, dtype=np.uint8)
        if data is not None:
            builder.StartVector(1, data.size, ALIGNMENT)
            builder.head -= data.size
            builder.Bytes[builder.head : builder.head + data.size] = np.ascontiguousarray(data).data
            start = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, start)
        schema.BufferAddOffset(builder, self.offset)
        schema.BufferAddSize(builder, self.size)
        return schema.BufferEnd(builder)


def _indices(values: Any) -> list[int]:
    return [] if values is None else [int(value) for value in values]


def _blocks(tensor: Any) -> Any:
    """The details of scales a block, which are tensors of their own; None for other tensors."""
    quantization = tensor.quantization
    in_blocks = schema.QuantizationDetails.BlockwiseQuantization
    return quantization.details if quantization is not None and quantization.detailsType == in_blocks else None


def _num_bytes(quantization: Any) -> int:
    if quantization is None:
        return 0
    vectors = (quantization.scale, quantization.zeroPoint, quantization.min, quantization.max)
    return sum(0 if vector is None else 8 * len(vector) for vector in vectors)
