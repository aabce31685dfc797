"""What is peculiar to xDeepFM."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import first_rows

from models.crossing_checks import output_of, spread
from tfshop.compression.roles import roles
from tfshop.data import Splits
from tfshop.errors import ModelError
from tfshop.models import build_model

TINY = {"dimension": 4, "hidden": (16, 8), "maps": (3, 2)}


def test_numbers_are_multiplied_with_ids(kinds: dict[str, Splits]) -> None:
    """Three ids, one history, one vector and four numeric columns, flags of holes among them: nine fields."""
    model = build_model("xdeepfm", kinds["every kind"].schema, **TINY)
    assert model.get_layer("fields").output.shape[1:] == (5 + model.get_layer("numeric_fields").output.shape[1], 4)
    num_fields = model.get_layer("fields").output.shape[1]
    kernels = [model.get_layer(f"cross_{level}_kernel").kernel.shape for level in range(2)]
    assert kernels == [(num_fields**2, 3), (3 * num_fields, 2)]


def test_the_passes_see_the_interaction_network_as_crosses(kinds: dict[str, Splits]) -> None:
    model = build_model("xdeepfm", kinds["ids"].schema, **TINY)
    found = roles(model)
    assert found["cross_0_kernel"] == found["cross_1_kernel"] == "cross"


def test_the_logit_adds_crosses_tower_and_first_order(kinds: dict[str, Splits]) -> None:
    data = kinds["every kind"]
    model = spread(build_model("xdeepfm", data.schema, **TINY))
    rows = first_rows(data.train.inputs, 9)
    parts = [output_of(model, name, rows) for name in ("head_logit", "first_order_term", "first_order_numeric")]
    np.testing.assert_allclose(sum(parts), output_of(model, "logit", rows), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("maps", [(), (0,), "12"])
def test_maps_without_width_are_refused(maps: object, kinds: dict[str, Splits]) -> None:
    with pytest.raises(ModelError, match=r"maps is .*Expected widths.*Fix:"):
        build_model("xdeepfm", kinds["ids"].schema, **{**TINY, "maps": maps})
