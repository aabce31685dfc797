"""What each pass leaves in the bytes of a file, which no training alone could: by its name, from the file itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfshop.compression import Candidate
from tfshop.compression._quantizers import on_int8_grid
from tfshop.compression.roles import unwrapped
from tfshop.runtime import lookup_tables
from tfshop.runtime.graph import Graph

CLUSTERS, RANK, DIMENSION, WIDTH, FEATURE = 8, 3, 4, 64, "id_2"
Shown = Callable[[Graph, Candidate], bool]


def products(graph: Graph) -> list[Any]:
    """Kernels (outputs, inputs) of the products of a file but for those of heads."""
    read = [graph.tensors[o.inputs[1]] for o in graph.operators if o.kind == "FULLY_CONNECTED"]
    return [tensor for tensor in read if tensor.is_constant and tensor.shape[0] > 1]


def half_is_zero(graph: Graph, candidate: Candidate) -> bool:
    """Of every kernel; rounding makes a few more zeros."""
    return all((kernel.values() == 0).mean() > 0.48 for kernel in products(graph))


def few_numbers(graph: Graph, candidate: Candidate) -> bool:
    """In every channel: the scale of a channel tells numbers of one kernel apart."""
    counts = [len(np.unique(channel)) for kernel in products(graph) for channel in kernel.stored()]
    return max(counts) <= CLUSTERS


def narrow_between(graph: Graph, candidate: Candidate) -> bool:
    """Pairs of kernels with so many numbers between them."""
    shapes = [kernel.shape for kernel in products(graph)]
    firsts, seconds = (sum(shape[axis] == RANK for shape in shapes) for axis in (0, 1))
    return firsts == seconds == len(_record(candidate, "LowRank").get("factored", ())) > 0


def half_as_wide(graph: Graph, candidate: Candidate) -> bool:
    """No layer has the width that the tower began with."""
    return not any(WIDTH in kernel.shape for kernel in products(graph))


def fewer_rows(graph: Graph, candidate: Candidate) -> bool:
    """Tables have no rows for the feature that went."""
    tables = candidate.schema.tables
    return all(t.num_rows <= sum(tables.values()) - tables[FEATURE] for t in lookup_tables(graph))


def narrow_tables(graph: Graph, candidate: Candidate) -> bool:
    """Those of the student."""
    return {table.tensor.shape[1] for table in lookup_tables(graph)} <= {DIMENSION, 1}


def rows_in_codes(graph: Graph, candidate: Candidate) -> bool:
    """Integers, though the file is in floats; the levels of their scales are a list."""
    tables = [table.tensor for table in lookup_tables(graph) if len(table.tensor.shape) > 1]
    return all("int" in table.dtype for table in tables) and bool(tables)


def trained_numbers(graph: Graph, candidate: Candidate) -> bool:
    """Kernels are in int8 the very numbers that were trained, and every trained range is that of a tensor."""
    notes = _record(candidate, "QAT")
    trained = {layer.name: unwrapped(layer) for layer in candidate.model.layers}
    kernels = {name: layer.kernel.numpy().T for name, layer in trained.items() if hasattr(layer, "kernel")}
    for name in notes.get("values_kept_in", ()):  # the values lie on one grid, the channels on theirs
        kernels[name] = on_int8_grid(kernels[name].T).T
    stored = [kernel for kernel in products(graph) if kernel.dtype == "int8"]
    same = [
        any(np.allclose(one.values(), kernel, atol=1e-6) for kernel in kernels.values() if kernel.shape == one.shape)
        for one in stored
    ]
    steps = [t.scales[0] for t in graph.tensors if t.dtype == "int8" and t.scales is not None and not t.is_constant]
    kept = [np.isclose((high - low) / 255, steps, rtol=1e-3).any() for low, high in notes.get("ranges", {}).values()]
    return bool(same and all(same) and kept and all(kept))


def _record(candidate: Candidate, name: str) -> Mapping[str, Any]:
    return next((record.notes for record in candidate.history if record.name == name), {})


SHOWN: Mapping[str, Shown] = {
    "Prune": half_is_zero,
    "Cluster": few_numbers,
    "LowRank": narrow_between,
    "PruneUnits": half_as_wide,
    "DropFeatures": fewer_rows,
    "Distill": narrow_tables,
    "EncodeTables": rows_in_codes,
    "AllocateTables": rows_in_codes,
    "TuneTables": rows_in_codes,
    "QAT": trained_numbers,
}


def only_scaled(before: Graph, after: Graph) -> bool:
    """Whether every kernel is the old one times a number a row and a number a column, and some are not the old one."""
    moved = []
    for old, new in zip(products(before), products(after), strict=True):
        rows, columns = np.nonzero(np.abs(old.values()) > 1e-6)
        logs = np.log(new.values()[rows, columns] / old.values()[rows, columns])
        scales = np.concatenate([np.eye(old.shape[0])[rows], np.eye(old.shape[1])[columns]], axis=1)
        if not np.allclose(scales @ np.linalg.lstsq(scales, logs, rcond=None)[0], logs, atol=1e-3):
            return False
        moved.append(np.abs(logs).max())
    return max(moved) > 0.1
