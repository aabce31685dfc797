"""Packed inputs cut into the inputs a network asks for, by name and never by position."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from tfshop.data.features import SequenceFeature, VectorFeature
from tfshop.data.schema import InputSpec, Schema
from tfshop.errors import ModelError


def bind(
    packed: Mapping[str, npt.NDArray[Any]], schema: Schema, specs: Mapping[str, InputSpec]
) -> dict[str, npt.NDArray[Any]]:
    """Return what a network's inputs hold, by name.

    An input may be packed (`ids`, `numeric`, `hist_<feature>`, `vector_<feature>`), or named after one feature: an id
    or a number of shape (b,) or (b, 1), an id of several hashes of shape (b, hashes), a sequence of shape
    (b, max_length), a vector of shape (b, width). Both mix.

    Args:
        packed: Arrays as `schema.input_specs()` says, first dimension the batch.
        schema: The schema they were encoded with.
        specs: Input name to shape (without the batch) and dtype.

    Raises:
        ModelError: For a name, shape or dtype the schema cannot serve.

    Example:
        >>> from tfshop.data import IdFeature, NumericFeature
        >>> schema = Schema([IdFeature("item"), NumericFeature("price")], target="bought")
        >>> packed = {"ids": np.array([[3]], np.int32), "numeric": np.array([[1.5]], np.float32)}
        >>> bind(packed, schema, {"price": InputSpec((), "float32")})
        {'price': array([1.5], dtype=float32)}
    """
    return {name: _bind_one(packed, schema, name, spec) for name, spec in specs.items()}


def _bind_one(packed: Mapping[str, npt.NDArray[Any]], schema: Schema, name: str, spec: InputSpec) -> npt.NDArray[Any]:
    values = _find(packed, schema, name)
    if spec.shape == () and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape[1:] != tuple(spec.shape):
        raise ModelError(
            f"input {name!r} has shape (batch, {', '.join(map(str, spec.shape))}), but the schema gives "
            f"{('batch', *values.shape[1:])}. Expected the schema's shape. Fix: build the input from "
            "schema.input_specs(), or change the feature's max_length or width."
        )
    _require_dtype(name, values, spec)
    return values.astype(spec.dtype, copy=False)


def _find(packed: Mapping[str, npt.NDArray[Any]], schema: Schema, name: str) -> npt.NDArray[Any]:
    """Return the columns an input is named after, shape (b, width)."""
    if name in packed:
        return packed[name]
    for key, features in (("ids", schema.id_columns), ("numeric", schema.numeric_features)):
        names = [feature.name for feature in features]
        if name in names:
            position = names.index(name)
            return packed[key][:, position : position + names.count(name)]
    owners: list[SequenceFeature | VectorFeature] = [*schema.sequence_features, *schema.vector_features]
    for feature in owners:
        if name == feature.name:
            return packed[feature.input_name]
    available = sorted({*packed, *(feature.name for feature in schema.features)})
    raise ModelError(
        f"the network has an input {name!r}, which the schema has not. Expected names from {available}. "
        "Fix: name the network's inputs after the features, or add the feature to the schema."
    )


def _require_dtype(name: str, values: npt.NDArray[Any], spec: InputSpec) -> None:
    """Raise where ids would become something else than integers (or floats that hold them), or floats integers."""
    try:
        wanted = np.dtype(spec.dtype)
    except TypeError:
        wanted = np.dtype(object)
    if wanted.kind != "f" and not (
        wanted.kind in "iu" and wanted.itemsize >= values.dtype.itemsize and values.dtype.kind == "i"
    ):
        raise ModelError(
            f"input {name!r} has dtype {spec.dtype}, but the schema gives {values.dtype}. Expected int32 or int64 for "
            "ids and float32 for numbers. Fix: declare the input with the schema's dtype."
        )
