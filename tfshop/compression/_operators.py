"""Which TensorFlow operators a layer runs on what it reads: traced, so that custom layers and lambdas are no riddle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from tfshop._keras import keras, tf
from tfshop.compression.roles import calls_of

PRODUCTS = frozenset({"MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Einsum", "Conv1D", "Conv2D"})
LOOKUPS = frozenset({"ResourceGather", "GatherV2", "GatherNd", "ResourceGatherNd"})
CONCATENATIONS = frozenset({"ConcatV2", "Pack"})
RELUS = frozenset({"Relu", "Relu6"})
# Operators that move numbers or hand them on: in int8 what comes out has the scale of what went in.
MOVES = frozenset(
    {
        *("Identity", "IdentityN", "StopGradient", "Reshape", "Squeeze", "ExpandDims", "Transpose", "Shape"),
        *("StridedSlice", "Slice", "Split", "SplitV", "GatherV2", "ConcatV2", "Pack"),
    }
)


@dataclass(frozen=True)
class Operators:
    """What a layer does with the tensors it reads; what it computes from its weights alone is not told.

    Attributes:
        on_floats: Kinds of the operators that give floats.
        on_integers: Kinds of the others.
        last: Kind of the operator that gives the output.
        normalizes: Whether it divides by a spread that it measures in what it reads.
        casts: Whether integers become floats.
        count: How many operators compute floats, rather than move them.
    """

    on_floats: frozenset[str]
    on_integers: frozenset[str]
    last: str
    normalizes: bool
    casts: bool
    count: int

    @cached_property
    def has_product(self) -> bool:
        """Whether there is a matrix product."""
        return bool(self.on_floats & PRODUCTS)

    @cached_property
    def is_move(self) -> bool:
        """Whether floats are only moved: reshaped, cut, picked."""
        return self.on_floats <= MOVES - CONCATENATIONS

    @cached_property
    def is_concatenation(self) -> bool:
        """Whether floats are put side by side, and nothing else but moved."""
        return bool(self.on_floats & CONCATENATIONS) and self.on_floats <= MOVES

    @cached_property
    def is_relu(self) -> bool:
        """Whether it is the rectifier alone, which the converter fuses with what comes before."""
        return len(self.on_floats) == 1 and self.on_floats <= RELUS


def operators_of(layer: Any, model: Any) -> Operators:
    """Trace the calls of a layer inside `model`."""
    found = [_traced(node) for node in calls_of(layer, model) if not node.is_input]
    floats = frozenset().union(*(operators.on_floats for operators in found))
    integers = frozenset().union(*(operators.on_integers for operators in found))
    return Operators(
        on_floats=floats,
        on_integers=integers,
        last=found[0].last if found else "",
        normalizes=any(operators.normalizes for operators in found),
        casts=any(operators.casts for operators in found),
        count=max((operators.count for operators in found), default=0),
    )


class OperatorsByLayer(Mapping[str, Operators]):
    """Operators of each layer of a flat model by name, traced when they are asked for; inputs have none."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._layers = {x.name: x for x in model.layers if not isinstance(x, keras.layers.InputLayer)}
        self._known: dict[str, Operators] = {}

    def __getitem__(self, name: str) -> Operators:
        """Those of one layer."""
        if name not in self._known:
            self._known[name] = operators_of(self._layers[name], self._model)
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        """Whether it is a layer, known without tracing it."""
        return name in self._layers

    def __iter__(self) -> Iterator[str]:
        """Names in the order of the model."""
        return iter(self._layers)

    def __len__(self) -> int:
        """How many layers there are."""
        return len(self._layers)


def _traced(node: Any) -> Operators:
    unique = list({id(tensor): tensor for tensor in node.keras_inputs}.values())
    call = keras.Model(unique, tf.nest.flatten(node.outputs))
    specs = [tf.TensorSpec(tensor.shape, tensor.dtype) for tensor in unique]
    traced = tf.function(lambda *tensors: call(list(tensors), training=False)).get_concrete_function(*specs)
    graph = traced.graph
    reached = {tensor.op.name for tensor in traced.inputs[: len(specs)]}
    chain = list(_that_read(graph, reached))
    floats = [operation for operation in chain if any(_is_float(tensor) for tensor in operation.outputs)]
    named = {operation.type for operation in floats} | _in_functions(graph)
    return Operators(
        on_floats=frozenset(named - {"Identity"}),
        on_integers=frozenset(operation.type for operation in chain if operation not in floats),
        last=_giver(traced.structured_outputs).type,
        normalizes="Rsqrt" in named or any(_measures(operation) for operation in floats),
        casts=any(_makes_floats(operation) for operation in floats),
        count=sum(operation.type not in MOVES for operation in floats),
    )


def _that_read(graph: Any, reached: set[str]) -> Iterator[Any]:
    """Operators that depend on the inputs, in order."""
    for operation in graph.get_operations():
        if any(tensor.op.name in reached for tensor in operation.inputs):
            reached.add(operation.name)
            yield operation


def _in_functions(graph: Any) -> set[str]:
    """Operators of functions that the layer calls, whatever they read."""
    return {node.op for function in graph.as_graph_def().library.function for node in function.node_def}


def _giver(outputs: Any) -> Any:
    """The operator behind the identities that Keras and tf.function add to an output."""
    operation = tf.nest.flatten(outputs)[0].op
    while operation.type in {"Identity", "Reshape", "Transpose", "Squeeze", "NoOp"} and operation.inputs:
        operation = operation.inputs[0].op
    return operation


def _is_float(tensor: Any) -> bool:
    return bool(tensor.dtype.is_floating)


def _makes_floats(operation: Any) -> bool:
    return operation.type == "Cast" and bool(operation.inputs[0].dtype.is_integer)


def _measures(operation: Any) -> bool:
    return operation.type.startswith("FusedBatchNorm") and bool(operation.get_attr("is_training"))
