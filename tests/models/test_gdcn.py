"""What is peculiar to the gated Deep & Cross Network."""

from __future__ import annotations

import pytest

from models.crossing_checks import dead_weights, largest_gap, spread
from tfshop.compression.roles import roles
from tfshop.data import Splits
from tfshop.errors import ModelError
from tfshop.models import build_model

TINY = {"dimension": 4, "hidden": (16, 8)}


def test_stacked_the_tower_reads_the_crosses(kinds: dict[str, Splits]) -> None:
    data = kinds["every kind"]
    model = build_model("gdcn", data.schema, structure="stacked", **TINY)
    tower = model.get_layer("dense_0")
    assert tower.input is model.get_layer("cross_2_residual").output
    assert dead_weights(model, data) == []
    assert largest_gap(spread(model), data) <= 1e-5


def test_kernels_and_gates_are_crosses_to_the_passes(kinds: dict[str, Splits]) -> None:
    found = roles(build_model("gdcn", kinds["ids"].schema, **TINY))
    assert {name for name, role in found.items() if role == "cross"} == {
        f"cross_{level}_{part}" for level in range(3) for part in ("kernel", "gate")
    }


def test_an_unknown_structure_and_no_cross_are_refused(kinds: dict[str, Splits]) -> None:
    schema = kinds["ids"].schema
    with pytest.raises(ModelError, match=r"structure is 'serial'. Expected one of parallel, stacked. Fix:"):
        build_model("gdcn", schema, structure="serial")
    with pytest.raises(ModelError, match=r"num_crosses is 0.*Fix:"):
        build_model("gdcn", schema, num_crosses=0)
