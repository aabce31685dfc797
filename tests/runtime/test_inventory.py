"""Bytes and zeros of a file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfshop.runtime import bytes_by_part, count_zeros, read_graph, sparsity_by_tensor, tables_in_graph, zero_rows

from .conftest import MODES, PLANTED_SPARSITY, SIZES

TABLE_WEIGHTS = sum(SIZES) * 8
BYTES_A_WEIGHT = {"float32": 4, "float16": 2, "dynamic": 4, "int8": 1, "int8_io": 1}


@pytest.mark.parametrize("mode", MODES)
def test_the_parts_sum_to_the_file(files: dict[str, bytes], mode: str) -> None:
    parts = bytes_by_part(files[mode])
    assert list(parts) == ["tables", "dense", "rest"]
    assert sum(parts.values()) == len(files[mode])
    assert all(size > 0 for size in parts.values())


@pytest.mark.parametrize("mode", MODES)
def test_tables_take_their_weights_and_scales(files: dict[str, bytes], mode: str) -> None:
    table = tables_in_graph(files[mode])[0]
    stored = TABLE_WEIGHTS * BYTES_A_WEIGHT[mode]
    assert table.tensor.size_bytes == stored
    assert bytes_by_part(files[mode])["tables"] == table.size_bytes
    assert (table.size_bytes > stored) == (BYTES_A_WEIGHT[mode] == 1)


def test_dense_bytes_are_weights_and_biases(files: dict[str, bytes], click_model: Any) -> None:
    """A bias of zeros is not stored, so it is not expected."""
    layers = [click_model.get_layer(name) for name in ("hidden", "logit")]
    weights = sum(weight.size for layer in layers for weight in layer.get_weights() if weight.any())
    assert bytes_by_part(files["float32"])["dense"] == 4 * weights


@pytest.mark.parametrize("mode", MODES)
def test_sparsity_found_is_the_sparsity_planted(files: dict[str, bytes], click_model: Any, mode: str) -> None:
    """Small weights become zero in 8 bits, so there it may be a little more, never less."""
    hidden = next(row for row in sparsity_by_tensor(files[mode]) if row.size > 1000)
    assert hidden.shape == click_model.get_layer("hidden").get_weights()[0].T.shape
    assert PLANTED_SPARSITY <= hidden.sparsity <= PLANTED_SPARSITY + (0.02 if "float" not in mode else 0)


def test_sparsity_rows_are_named_after_their_layer(files: dict[str, bytes]) -> None:
    assert ["hidden" in row.name or "logit" in row.name for row in sparsity_by_tensor(files["float32"])] == [True] * 2


def test_zeros_are_counted_over_all_weight_matrices(files: dict[str, bytes], click_model: Any) -> None:
    kernels = [click_model.get_layer(name).get_weights()[0] for name in ("hidden", "logit")]
    assert count_zeros(files["float32"]) == (
        sum(int((kernel == 0).sum()) for kernel in kernels),
        sum(kernel.size for kernel in kernels),
    )


def test_zero_rows_of_a_table_are_found_in_the_bytes(files: dict[str, bytes]) -> None:
    values = tables_in_graph(files["int8"])[0].tensor.values()
    assert np.flatnonzero(zero_rows(values)).tolist() == [3, 60]


def test_a_shared_buffer_is_counted_once(files: dict[str, bytes]) -> None:
    graph = read_graph(files["float32"])
    assert sum({t.buffer: t.size_bytes for t in graph.tensors}.values()) < len(files["float32"])
