"""What `build_model` takes, and what it refuses."""

from __future__ import annotations

import re

import pytest

from tfshop.data import Schema, Splits
from tfshop.errors import ModelError
from tfshop.models import MODELS, build_model


def test_hyperparameters_reach_the_network(clicks: Splits) -> None:
    model = build_model("dcn", clicks.schema, dimension=3, hidden=(11, 7), num_crosses=2, dropout=0.1)
    assert model.get_layer("table").output_dim == 3
    assert [model.get_layer(f"dense_{level}").units for level in range(2)] == [11, 7]
    assert [layer.name for layer in model.layers if layer.name.endswith("_product")] == [
        "cross_0_product",
        "cross_1_product",
    ]
    assert model.get_layer("dropout_1").rate == 0.1


def test_an_unknown_network_is_refused_with_the_known_ones(clicks: Splits) -> None:
    with pytest.raises(ModelError, match=rf"'wide'.*{', '.join(MODELS)}.*Fix:"):
        build_model("wide", clicks.schema)


def test_an_unknown_hyperparameter_is_refused_with_the_known_ones(clicks: Splits) -> None:
    with pytest.raises(ModelError, match=r"mlp has no hyperparameter num_crosses, width.*dimension, hidden, dropout"):
        build_model("mlp", clicks.schema, num_crosses=2, width=3)


@pytest.mark.parametrize("hidden", [(), (0,), (8, -1)])
def test_a_tower_without_width_is_refused(hidden: tuple[int, ...], clicks: Splits) -> None:
    with pytest.raises(ModelError, match=rf"hidden is {re.escape(str(hidden))}.*Fix:"):
        build_model("mlp", clicks.schema, hidden=hidden)


def test_a_schema_that_is_not_fitted_is_refused_with_the_way_to_fit_it(clicks: Splits) -> None:
    bare = Schema(clicks.schema.features, target="clicked")
    with pytest.raises(ModelError, match=r"not fitted.*prepare\("):
        build_model("mlp", bare)
