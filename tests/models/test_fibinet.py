"""What is peculiar to FiBiNET."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import first_rows

from models.crossing_checks import dead_weights, largest_gap, output_of, spread
from tfshop.data import IdFeature, Schema, Splits
from tfshop.errors import ModelError
from tfshop.layers.bilinear import BILINEAR_KINDS
from tfshop.models import build_model

TINY = {"dimension": 4, "hidden": (16, 8)}


@pytest.mark.parametrize("bilinear", BILINEAR_KINDS)
def test_every_kind_of_product_learns_and_converts(bilinear: str, kinds: dict[str, Splits]) -> None:
    data = kinds["every kind"]
    model = build_model("fibinet", data.schema, bilinear=bilinear, **TINY)
    assert dead_weights(model, data) == []
    assert largest_gap(spread(model), data) <= 1e-5


def test_the_tower_reads_plain_and_weighted_pairs(kinds: dict[str, Splits]) -> None:
    data = kinds["ids"]
    model = spread(build_model("fibinet", data.schema, **TINY))
    rows = first_rows(data.train.inputs, 5)
    pairs = output_of(model, "all_pairs", rows)
    assert pairs.shape == (5, 6, 4)
    np.testing.assert_allclose(pairs[:, :3], output_of(model, "pairs", rows))
    np.testing.assert_allclose(pairs[:, 3:], output_of(model, "weighted_pairs", rows))
    assert not np.allclose(pairs[:, :3], pairs[:, 3:], atol=1e-3)


def test_an_unknown_product_and_a_field_alone_are_refused(clicks: Splits) -> None:
    with pytest.raises(ModelError, match=r"bilinear is 'some'. Expected one of all, each, interaction. Fix:"):
        build_model("fibinet", clicks.schema, bilinear="some")
    schema = Schema([IdFeature("id_0")], target="clicked", vocabularies=clicks.schema.vocabularies)
    with pytest.raises(ModelError, match=r"fibinet multiplies fields.*gives it 1"):
        build_model("fibinet", schema)
