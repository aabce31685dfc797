"""A stripped file scores as before, holds the same constants, and is smaller."""

from __future__ import annotations

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


@pytest.mark.parametrize("mode", ["float32", "float16", "dynamic", "int8", "int8_io"])
def test_scores_are_the_same_to_the_bit_and_the_file_is_smaller(model, mode: str, clicks: Splits) -> None:
    whole, small = same_scores(model, mode, clicks)
    assert small == stripped(whole) and len(small) < len(whole) - 1000


def test_scores_with_sixteen_bit_activations_are_the_same(trained_mlp, clicks: Splits) -> None:
    whole, small = same_scores(trained_mlp, "int16x8", clicks)
    assert small == stripped(whole) and len(small) < len(whole) - 1000


def same_scores(model: Any, mode: str, clicks: Splits) -> tuple[bytes, bytes]:
    """A file and what is left of it, once it is clear that they give the same and that as much is known of both."""
    whole = Export(mode).to_bytes(model, clicks)
    small = Export(mode, strip=True).to_bytes(model, clicks)
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
    return whole, small


def test_names_stay_at_the_ends_and_around_products(model, clicks: Splits) -> None:
    content = Export("int8", strip=True).to_bytes(model, clicks)
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
