"""A stripped file scores as before, holds the same constants, and is smaller."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from helpers import first_rows

from tfshop.compression import Candidate, EncodeTables
from tfshop.data import Splits
from tfshop.errors import ArtifactError
from tfshop.export import Export
from tfshop.models import build_model
from tfshop.runtime import Scorer, bytes_by_part, read_graph, sparsity_by_tensor
from tfshop.runtime.stripping import stripped
from tfshop.tables import Grouped, Int1, Int2, RowwiseLookup


@pytest.fixture(scope="module", params=["float", "codes of several widths", "EMBEDDING_LOOKUP"])
def model(request: pytest.FixtureRequest, clicks: Splits):
    """Networks whose lookups take few, many and other operators."""
    made = build_model("mlp", clicks.schema, dimension=8, hidden=(16, 8), seed=0)
    several = Grouped((Int2("field"), Int1("field")), (0.5,))
    codecs = {"codes of several widths": several, "EMBEDDING_LOOKUP": RowwiseLookup(4)}
    if request.param == "float":
        return made
    return EncodeTables(codecs[request.param]).apply(Candidate(made, clicks.schema), clicks, 0).model


@pytest.fixture(scope="module")
def whole(model: Any, clicks: Splits) -> Callable[[str], bytes]:
    """Its file in a mode."""
    return cache(lambda mode: Export(mode, calibration_rows=256).to_bytes(model, clicks))


@pytest.mark.parametrize("mode", ["float32", "float16", "dynamic", "int8", "int8_io"])
def test_scores_are_the_same_to_the_bit_and_the_file_is_smaller(
    mode: str, whole: Callable[[str], bytes], clicks: Splits
) -> None:
    check_scores(whole(mode), stripped(whole(mode)), clicks)


def test_scores_with_sixteen_bit_activations_are_the_same(
    exported: Callable[[str, str], bytes], clicks: Splits
) -> None:
    content = exported("mlp", "int16x8")
    check_scores(content, stripped(content), clicks)


def check_scores(whole: bytes, small: bytes, clicks: Splits) -> None:
    """A file and what is left of it give the same, and as much is known of both."""
    assert len(small) < len(whole) - 1000
    rows = first_rows(clicks.test.inputs, 100)
    rows = {**rows, "numeric": np.nan_to_num(rows["numeric"])}  # int8 inputs have no NaN
    for batch in (rows, first_rows(rows, 7), first_rows(rows, 1)):
        np.testing.assert_array_equal(Scorer(small)(batch), Scorer(whole)(batch))
    before, after = bytes_by_part(whole), bytes_by_part(small)
    assert {**after, "rest": 0} == {**before, "rest": 0} and after["rest"] < before["rest"]
    for name, found in Scorer(whole).inputs.items():
        kept = Scorer(small).inputs[name]
        assert (kept.shape, kept.dtype, kept.tensor.name) == (found.shape, found.dtype, found.tensor.name)
    for row, named in zip(sparsity_by_tensor(small), sparsity_by_tensor(whole), strict=True):
        assert row.name.startswith(named.name.split(";")[0]) and row.zeros == named.zeros  # or the name of its output


def test_names_stay_at_the_ends_and_around_products(model: Any, whole: Callable[[str], bytes], clicks: Splits) -> None:
    content = Export("int8", calibration_rows=256, strip=True).to_bytes(model, clicks)
    assert content == stripped(whole("int8"))
    graph = read_graph(content)
    products = [operator for operator in graph.operators if operator.kind == "FULLY_CONNECTED"]
    assert products
    for operator in products:
        assert all(graph.tensors[i].name for i in (*operator.inputs, *operator.outputs) if i >= 0)
    named = [tensor for tensor in graph.tensors if tensor.name]
    assert len(named) < 0.6 * len(graph.tensors)
    assert stripped(content) == content
    assert b"CONVERSION_METADATA" not in content and b"min_runtime_version" in content


def test_what_is_no_file_is_refused() -> None:
    with pytest.raises(ArtifactError, match="TFLite"):
        stripped(b"no file")
