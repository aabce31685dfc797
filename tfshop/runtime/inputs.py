"""Inputs of a file: what they have to look like, and the refusal of what does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop.errors import ArtifactError, ScoringError
from tfshop.runtime.elements import Tensor
from tfshop.runtime.graph import Graph
from tfshop.runtime.limits import IdLimit
from tfshop.runtime.walks import walk_from_input


@dataclass(frozen=True, eq=False)
class FileInput:
    """One input of a file, as its callers see it.

    Args:
        name: In the file's signature.
        shape: Without the batch; -1 for a free axis.
        dtype: What callers give: "float32" also where the file itself takes int8.
        tensor: The input tensor, with the scale that an int8 input has.
        is_id: Whether values are looked up in a table, so that negative ones make no sense.
        limits: Rows of the tables, a limit a column; empty where nothing is known.

    Raises:
        ArtifactError: For an input without a batch axis.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    tensor: Tensor
    is_id: bool = False
    limits: tuple[IdLimit, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be scored in batches."""
        if not self.tensor.shape:
            raise ArtifactError(
                f"input {self.name!r} of the file is a single number. Expected a batch of rows. "
                "Fix: convert a model whose inputs have a batch axis."
            )

    @property
    def fixed_batch(self) -> int | None:
        """The only batch size the file takes; None where it takes any."""
        first = self.tensor.shape_signature[0]
        return None if first == -1 else first

    def prepare(self, values: Any) -> NDArray[Any]:
        """Check values (rows, *shape) and turn them into what the file takes.

        Raises:
            ScoringError: For a wrong type, rank or width, a negative or too large id, an infinite number.
        """
        array = np.asarray(values)
        _check_type(self, array)
        _check_shape(self, array)
        if self.dtype == "bool":
            return array
        return _prepare_floats(self, array) if self.dtype.startswith("float") else _prepare_integers(self, array)


def file_inputs(graph: Graph, limits: Mapping[str, tuple[IdLimit, ...]]) -> dict[str, FileInput]:
    """The inputs of a file by name, with the limits known for their ids."""
    return {
        name: FileInput(
            name=name,
            shape=graph.tensors[index].shape_signature[1:],
            dtype="float32" if graph.tensors[index].is_quantized else graph.tensors[index].dtype,
            tensor=graph.tensors[index],
            is_id=name in limits or bool(walk_from_input(graph, name).lookups),
            limits=limits.get(name, ()),
        )
        for name, index in graph.inputs.items()
    }


def prepare_all(specs: Mapping[str, FileInput], inputs: Mapping[str, Any]) -> tuple[dict[str, NDArray[Any]], int]:
    """Check named inputs against a file; returns them by name and the number of rows.

    Raises:
        ScoringError: For missing or unknown names, different numbers of rows, and all that `prepare` refuses.
    """
    missing, unknown = sorted(set(specs) - set(inputs)), sorted(set(inputs) - set(specs))
    if missing or unknown:
        what = [f"missing {missing}"] * bool(missing) + [f"unknown {unknown}"] * bool(unknown)
        raise ScoringError(
            f"inputs, {' and '.join(what)}. Expected exactly {sorted(specs)}. "
            "Fix: give every input of the file by its name, and no other."
        )
    arrays = {name: spec.prepare(inputs[name]) for name, spec in specs.items()}
    rows = {name: len(array) for name, array in arrays.items()}
    if len(set(rows.values())) > 1:
        raise ScoringError(
            f"inputs, different numbers of rows: {rows}. Expected the same number in each. "
            "Fix: cut all inputs from the same rows."
        )
    return arrays, next(iter(rows.values()), 0)


def _check_type(spec: FileInput, array: NDArray[Any]) -> None:
    """Refuse a kind of value that cannot be meant."""
    kind = array.dtype.kind
    if kind in {"f": "iuf", "b": "b"}.get(spec.dtype[0], "iu"):
        return
    meant = "integer ids" if spec.is_id else f"{spec.dtype} values"
    raise ScoringError(
        f"input {spec.name!r}, {array.dtype} values. Expected {meant} of shape {_shape_text(spec)}. "
        f"Fix: {_type_remedy(spec, array)}"
    )


def _type_remedy(spec: FileInput, array: NDArray[Any]) -> str:
    """What to do about a wrong kind of value."""
    if array.dtype.kind == "f":
        if np.isnan(array).any():
            return "the values hold NaN; 0 stands for a missing id: np.nan_to_num(values).astype(np.int32)."
        if np.array_equal(array, np.trunc(array)):
            return "the values are whole numbers, so values.astype(np.int32) loses nothing."
        return "the values have fractions, so they are no ids; check which column was given, or use schema.encode."
    if array.dtype.kind in "OUS":
        return "the graph takes no strings or objects; use schema.encode(rows) to turn raw rows into inputs."
    return f"values.astype(np.{'bool_' if spec.dtype == 'bool' else spec.dtype}), if that is what they mean."


def _check_shape(spec: FileInput, array: NDArray[Any]) -> None:
    """Refuse a wrong rank or width; an axis of -1 takes any."""
    if array.ndim != len(spec.shape) + 1:
        remedy = "give one row more brackets: values[np.newaxis]."
        if array.ndim > len(spec.shape) + 1:
            remedy = f"values.reshape({', '.join(str(n) for n in (-1, *spec.shape))})."
        raise ScoringError(
            f"input {spec.name!r}, {array.ndim} axes (shape {array.shape}). Expected {len(spec.shape) + 1}, "
            f"{_shape_text(spec)}. Fix: {remedy}"
        )
    if any(want not in (-1, got) for want, got in zip(spec.shape, array.shape[1:], strict=True)):
        raise ScoringError(
            f"input {spec.name!r}, width {array.shape[1:]}. Expected {spec.shape}, that is {_shape_text(spec)}. "
            "Fix: give the columns that the file was trained with, in the schema's order."
        )


def _prepare_integers(spec: FileInput, array: NDArray[Any]) -> NDArray[Any]:
    """Ids in the file's integer type, every one inside its table."""
    bounds = np.iinfo(np.dtype(spec.dtype))
    if array.size:
        if spec.is_id and array.dtype.kind == "i" and array.min() < 0:
            _refuse_values(spec, array < 0, array, "ids of 0 or more, 0 for an unknown one", "use schema.encode(rows).")
        if array.min() < bounds.min or array.max() > bounds.max:
            outside = (array < bounds.min) | (array > bounds.max)
            _refuse_values(spec, outside, array, f"values that fit {spec.dtype}", "encode the ids with the schema.")
        _check_limits(spec, array)
    return np.ascontiguousarray(array, dtype=spec.dtype)


def _check_limits(spec: FileInput, array: NDArray[Any]) -> None:
    """Refuse ids past the end of their feature's table: the graph would read another feature's row."""
    if not spec.limits:
        return
    largest = array.reshape(len(array), -1).max(axis=0)
    # Where the width is free, one limit is that of every column.
    limits = spec.limits if len(spec.limits) == len(largest) else spec.limits[:1] * len(largest)
    for column, (limit, found) in enumerate(zip(limits, largest.tolist(), strict=True)):
        if limit.rows is not None and found >= limit.rows:
            beyond = np.zeros(array.shape, dtype=np.bool_)
            beyond.reshape(len(array), -1)[:, column] = array.reshape(len(array), -1)[:, column] >= limit.rows
            feature = f" of feature {limit.feature!r}" if limit.feature else ""
            expected = f"ids below {limit.rows:,}, the rows of the table{feature}"
            _refuse_values(spec, beyond, array, expected, "use the vocabulary saved beside the file; unseen is id 0.")


def _prepare_floats(spec: FileInput, array: NDArray[Any]) -> NDArray[Any]:
    """Numbers in the file's type: NaN means missing, infinite is refused."""
    with np.errstate(over="ignore"):
        numbers = np.ascontiguousarray(array, dtype=spec.dtype)
    infinite = np.isinf(numbers)
    if infinite.any():
        remedy = "use NaN for a missing value, and clip what is too large for float32."
        _refuse_values(spec, infinite, array, "finite numbers or NaN", remedy)
    return _quantize(spec, numbers) if spec.tensor.is_quantized else numbers


def _quantize(spec: FileInput, numbers: NDArray[Any]) -> NDArray[Any]:
    """Numbers in the scale of an int8 or int16 input."""
    missing = np.isnan(numbers)
    if missing.any():
        remedy = "fill missing values before scoring, or export with mode 'int8', whose inputs stay float32."
        _refuse_values(spec, missing, numbers, f"numbers: an {spec.tensor.dtype} input has no NaN", remedy)
    if spec.tensor.scales is None or spec.tensor.scales.size != 1:
        raise ArtifactError(
            f"input {spec.name!r} of the file has no single scale. Expected one for the whole input. "
            "Fix: export with mode 'int8' or 'int8_io'."
        )
    zero_point = 0 if spec.tensor.zero_points is None else spec.tensor.zero_points[0]
    bounds = np.iinfo(np.dtype(spec.tensor.dtype))
    levels = np.rint(numbers / spec.tensor.scales[0]) + zero_point
    return np.asarray(np.clip(levels, bounds.min, bounds.max), dtype=spec.tensor.dtype)


def _refuse_values(spec: FileInput, wrong: NDArray[np.bool_], array: NDArray[Any], expected: str, fix: str) -> None:
    """Raise for values, naming the first wrong one and where it stands."""
    position = tuple(int(axis) for axis in np.argwhere(wrong)[0])
    row, *column = position
    at = f"row {row}" + (f", column {', '.join(map(str, column))}" if column else "")
    raise ScoringError(
        f"input {spec.name!r}, {int(wrong.sum()):,} of {wrong.size:,} values cannot be scored (first: {at}, "
        f"{array[position]}). Expected {expected}. Fix: {fix}"
    )


def _shape_text(spec: FileInput) -> str:
    """Shape with names for what is free."""
    sizes = ["rows", *("any" if size == -1 else str(size) for size in spec.shape)]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
