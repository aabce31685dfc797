"""What is peculiar to EDCN."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import first_rows

from models.crossing_checks import dead_weights, largest_gap, output_of, spread
from tfshop.data import IdFeature, Schema, Splits
from tfshop.errors import ModelError
from tfshop.layers.bridge import BRIDGES
from tfshop.models import build_model

TINY = {"dimension": 4, "num_layers": 2}


@pytest.mark.parametrize("bridging", BRIDGES)
def test_every_bridge_learns_and_converts(bridging: str, kinds: dict[str, Splits]) -> None:
    data = kinds["every kind"]
    model = build_model("edcn", data.schema, bridging=bridging, **TINY)
    assert dead_weights(model, data) == []
    assert largest_gap(spread(model), data) <= 1e-5


def test_both_streams_go_on_from_the_bridge(kinds: dict[str, Splits]) -> None:
    """Each through gates of its own."""
    data = kinds["ids"]
    model = spread(build_model("edcn", data.schema, **TINY))
    shared = model.get_layer("bridge_0_norm").output
    assert model.get_layer("cross_gates_1").input is shared and model.get_layer("deep_gates_1").input is shared
    rows = first_rows(data.train.inputs, 5)
    assert not np.allclose(output_of(model, "cross_gates_1", rows), output_of(model, "deep_gates_1", rows), atol=1e-4)


def test_crosses_multiply_by_the_gated_fields_not_by_the_bridge(kinds: dict[str, Splits]) -> None:
    model = build_model("edcn", kinds["ids"].schema, **TINY)
    assert model.get_layer("cross_1_product").input[0] is model.get_layer("cross_gates_0").output
    assert model.get_layer("cross_1_kernel").input is model.get_layer("cross_gates_1").output


def test_a_field_alone_has_no_gates(clicks: Splits) -> None:
    """A softmax over one field is one whatever it learns."""
    schema = Schema([IdFeature("id_0")], target="clicked", vocabularies=clicks.schema.vocabularies)
    model = build_model("edcn", schema, **TINY)
    assert not [layer.name for layer in model.layers if "gates" in layer.name]


def test_hidden_widths_add_a_tower_over_the_streams(kinds: dict[str, Splits]) -> None:
    plain = build_model("edcn", kinds["ids"].schema, **TINY)
    towered = build_model("edcn", kinds["ids"].schema, hidden=(8,), **TINY)
    assert [plain.get_layer(f"{name}_logit").kernel.shape for name in ("head", "deep", "bridge")] == [(12, 1)] * 3
    assert towered.get_layer("dense_0").kernel.shape == (36, 8)


def test_what_cannot_be_built_is_refused(kinds: dict[str, Splits]) -> None:
    for settings, message in (
        ({"bridging": "glue"}, "bridging is 'glue'. Expected one of product, sum, concatenation, attention"),
        ({"temperature": 0}, "temperature is 0. Expected a number above 0"),
        ({"num_layers": 0}, "num_layers is 0"),
    ):
        with pytest.raises(ModelError, match=rf"{message}.*Fix:"):
            build_model("edcn", kinds["ids"].schema, **{**TINY, **settings})
