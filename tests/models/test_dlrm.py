"""What is peculiar to DLRM."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import first_rows

from models.crossing_checks import output_of, spread
from tfshop.data import Splits
from tfshop.errors import ModelError
from tfshop.models import build_model

TINY = {"dimension": 4, "hidden": (16, 8), "bottom": (6,)}


def test_the_numbers_together_are_one_field_that_meets_every_other(kinds: dict[str, Splits]) -> None:
    data = kinds["every kind"]
    model = spread(build_model("dlrm", data.schema, **TINY))
    rows = first_rows(data.train.inputs, 7)
    field, fields = output_of(model, "bottom_1", rows), output_of(model, "table_fields", rows)
    dots = output_of(model, "dots", rows)
    assert dots.shape == (7, 15)
    expected = [(field * fields[:, other]).sum(axis=1) for other in range(5)]
    np.testing.assert_allclose(dots[:, :5], np.stack(expected, axis=1), rtol=1e-4, atol=1e-5)


def test_the_top_reads_the_products_and_the_numbers(kinds: dict[str, Splits]) -> None:
    model = build_model("dlrm", kinds["every kind"].schema, **TINY)
    assert model.get_layer("dense_0").kernel.shape[0] == 15
    assert model.get_layer("dense_0_numeric").kernel.shape[0] == 4


def test_without_numbers_there_is_no_bottom(kinds: dict[str, Splits]) -> None:
    model = build_model("dlrm", kinds["ids"].schema, **TINY)
    assert not [layer.name for layer in model.layers if layer.name.startswith("bottom")]
    assert model.get_layer("dots").output.shape[1] == 3


def test_numbers_alone_are_refused(kinds: dict[str, Splits]) -> None:
    with pytest.raises(ModelError, match=r"dlrm multiplies fields.*gives it 1. Expected at least 2.*Fix:"):
        build_model("dlrm", kinds["numerics"].schema, **TINY)
