"""What is peculiar to AutoInt."""

from __future__ import annotations

import pytest

from models.crossing_checks import dead_weights, largest_gap, spread
from tfshop.data import IdFeature, Schema, Splits
from tfshop.errors import ModelError
from tfshop.models import build_model

TINY = {"dimension": 4, "num_layers": 2, "num_heads": 2, "head_width": 3}


def test_without_a_tower_it_is_the_network_of_the_paper(kinds: dict[str, Splits]) -> None:
    data = kinds["every kind"]
    model = build_model("autoint", data.schema, hidden=(), **TINY)
    assert not [layer.name for layer in model.layers if layer.name.startswith("dense")]
    assert dead_weights(model, data) == []
    assert largest_gap(spread(model), data) <= 1e-5


def test_numbers_attend_and_are_attended_to(kinds: dict[str, Splits]) -> None:
    model = build_model("autoint", kinds["every kind"].schema, hidden=(8,), **TINY)
    num_fields = 5 + model.get_layer("numeric_fields").output.shape[1]
    assert model.get_layer("attended").output.shape[1] == num_fields * 2 * 3


def test_a_field_alone_is_refused(clicks: Splits) -> None:
    schema = Schema([IdFeature("id_0")], target="clicked", vocabularies=clicks.schema.vocabularies)
    with pytest.raises(ModelError, match=r"autoint multiplies fields.*gives it 1. Expected at least 2.*Fix:"):
        build_model("autoint", schema)


@pytest.mark.parametrize("name", ["num_layers", "num_heads", "head_width"])
def test_counts_below_one_are_refused(name: str, kinds: dict[str, Splits]) -> None:
    with pytest.raises(ModelError, match=rf"{name} is 0.*Fix: {name}="):
        build_model("autoint", kinds["ids"].schema, **{**TINY, name: 0})
