"""Kernels of few levels in half the bytes: the same levels, the same file around them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import first_rows

from tfshop._keras import keras
from tfshop.compression import QAT, Candidate
from tfshop.data import Splits
from tfshop.errors import PlanError
from tfshop.export import Export, convert
from tfshop.runtime import Scorer, bytes_by_part, count_multiplies, read_graph
from tfshop.runtime.int4_kernels import with_int4_kernels

ROWS = 512  # for calibration


@pytest.fixture(scope="module", params=[4, 2])
def few_levels(request: pytest.FixtureRequest, trained_mlp: Any, brief: Splits) -> Any:
    """A network whose kernels have 15 levels, or 3."""
    return QAT(bits=request.param).apply(Candidate(trained_mlp, brief.schema), brief, 0).model


def kernels(content: bytes) -> dict[str, Any]:
    """Kernels of int8 products, by the names of what they give."""
    graph = read_graph(content)
    products = [operator for operator in graph.operators if operator.kind == "FULLY_CONNECTED"]
    within = [o for o in products if graph.tensors[o.inputs[0]].dtype == "int8"]
    return {graph.tensors[o.outputs[0]].name: graph.tensors[o.inputs[1]] for o in within}


def test_trained_levels_take_half_a_byte(few_levels: Any, clicks: Splits) -> None:
    eight, four = (Export("int8", ROWS, int4=int4).to_bytes(few_levels, clicks) for int4 in (False, True))
    before, after = kernels(eight), kernels(four)
    assert before and before.keys() == after.keys()
    for name, kernel in after.items():
        assert kernel.dtype == "int4" and kernel.size_bytes == before[name].size_bytes // 2
        gap = np.abs(kernel.values() - before[name].values())
        assert (gap <= 0.51 * np.asarray(before[name].scales)[:, None]).all()  # a rounding of int8, no more
    saved = sum(kernel.size_bytes for kernel in after.values())
    assert bytes_by_part(eight)["dense"] - bytes_by_part(four)["dense"] == saved
    assert len(eight) - len(four) > 0.7 * saved
    assert count_multiplies(four) == count_multiplies(eight)
    rows = first_rows(clicks.test.inputs, 300)
    gaps = np.abs(Scorer(four)(rows) - Scorer(eight)(rows))
    assert gaps.mean() < 0.01 and np.corrcoef(Scorer(four)(rows).ravel(), Scorer(eight)(rows).ravel())[0, 1] > 0.995
    small = Export("int8", ROWS, int4=True, strip=True).to_bytes(few_levels, clicks)
    np.testing.assert_array_equal(Scorer(small)(rows), Scorer(four)(rows))


def test_channels_of_fewer_levels_keep_their_steps() -> None:
    """Each channel has as many levels a side as it uses, and its step is that of those."""
    random = np.random.default_rng(0)
    sides = np.array([7, 6, 5, 4, 1, 4, 6, 5])
    levels = np.array([random.permutation(np.resize(np.arange(-side, side + 1), 40)) for side in sides]).T
    steps = random.uniform(0.01, 0.2, len(sides)).astype(np.float32)
    inputs = keras.Input((40,), name="numeric")
    few = keras.layers.Dense(len(sides), name="few")
    model = keras.Model(inputs, keras.layers.Dense(1, name="score")(few(inputs)))
    few.set_weights([levels * steps, random.normal(size=len(sides))])
    rows = random.normal(size=(64, 40)).astype(np.float32)
    content = convert(model, "int8", lambda: ({"numeric": row[None]} for row in rows))
    kernel = next(kernel for kernel in kernels(with_int4_kernels(content)).values() if kernel.shape == (8, 40))
    assert kernel.dtype == "int4"
    np.testing.assert_allclose(kernel.values(), (levels * steps).T, rtol=1e-5, atol=1e-7)
    assert np.abs(kernel.stored()).max(axis=1).tolist() == [7, 6, 5, 4, 7, 4, 6, 5]


def test_kernels_of_more_levels_stay(trained_mlp: Any, clicks: Splits) -> None:
    content = Export("int8", ROWS).to_bytes(trained_mlp, clicks)
    assert with_int4_kernels(content) == content
    assert {kernel.dtype for kernel in kernels(content).values()} == {"int8"}


def test_other_modes_have_no_such_kernels() -> None:
    with pytest.raises(PlanError, match=r"Export\('dynamic'\) was given int4=True.*Fix: Export\('int8', int4=True\)"):
        Export("dynamic", int4=True)
