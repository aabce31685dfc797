"""A smaller file for the same scores: without what no runtime reads."""

from __future__ import annotations

from tfshop.runtime.graph import read_graph
from tfshop.runtime.inventory import WEIGHTS
from tfshop.runtime.structure import OpenFile
from tfshop.runtime.walks import lookup_tables


def stripped(content: bytes) -> bytes:
    """The file without names of inner tensors, empty scales and empty buffers, as `strip` does with programs.

    Operators, constants, shapes, inputs, outputs and signatures stay; so do the names of tables and those around layers
    that multiply, for what an audit or a report says.

    Args:
        content: A whole `.tflite`.

    Raises:
        ArtifactError: For bytes that are not a TFLite file.
        ExportError: For a file over 2 GB, whose constants stand behind the flatbuffer.

    Example:
        >>> small = stripped(content)  # doctest: +SKIP
    """
    graph = read_graph(content)
    multiply = (operator for operator in graph.operators if operator.kind in WEIGHTS and operator.subgraph == 0)
    named = {index for operator in multiply for index in (*operator.inputs, *operator.outputs)}
    file = OpenFile(content)
    file.strip(named | {table.tensor.index for table in lookup_tables(graph)})
    return file.to_bytes(share=True)
