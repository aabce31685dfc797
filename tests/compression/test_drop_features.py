"""A feature that nobody needs is found, and goes with its rows and weights; who feeds the file notices nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import first_rows, keras_scores
from networks import keras_outputs

from tfshop.compression import Candidate, DropFeatures, feature_effects
from tfshop.compression.rebuild import copy_model
from tfshop.compression.units.surgery import shrunk
from tfshop.data import Splits
from tfshop.errors import PlanError
from tfshop.export import convert
from tfshop.models import MODELS
from tfshop.runtime import Scorer
from tfshop.training.inputs import model_specs

NEED_A_CONSTANT = ("ffm", "fibinet", "edcn")  # each pair of fields has weights, or a normalization reads all


def without(inputs: dict[str, np.ndarray], column: int) -> dict[str, np.ndarray]:
    """The rows with other ids in one column."""
    ids = inputs["ids"].copy()
    ids[:, column] = (ids[:, column] + 7) % 50
    return {**inputs, "ids": ids}


@pytest.mark.parametrize("name", MODELS)
def test_a_feature_goes_from_every_network(name: str, richest: Callable[[str], tuple[Any, Splits]]) -> None:
    model, data = richest(name)
    step = DropFeatures(("id_2",), epochs=0)
    step.check(model, data.schema)
    candidate = step.apply(Candidate(model, data.schema), data, seed=0)
    told = {"id_2": "replaced by its mean" if name in NEED_A_CONSTANT else "removed"}
    assert candidate.history[0].notes["how"] == told and candidate.history[0].notes["not_to_be_dropped"] == {}
    after = candidate.model
    assert model_specs(after) == model_specs(model)
    rows_of_table = data.schema.tables["id_2"]
    assert model.count_params() - after.count_params() >= rows_of_table  # times the width of each table
    rows = first_rows(data.validation.inputs, 40)
    before, found = keras_outputs(model, rows), keras_outputs(after, rows)
    for output, changed in keras_outputs(after, without(rows, 2)).items():
        np.testing.assert_array_equal(changed, found[output])
        assert not np.array_equal(keras_outputs(model, without(rows, 2))[output], before[output])
    assert any(not np.array_equal(v, found[o]) for o, v in keras_outputs(after, without(rows, 1)).items())


@pytest.mark.parametrize("name", ["mlp", "dcn", "two_tower"])
@pytest.mark.parametrize("features", [("number_0",), ("image",), ("hist_id_0", "id_1")])
def test_numbers_vectors_and_histories_go_too(
    name: str, features: tuple[str, ...], richest: Callable[[str], tuple[Any, Splits]]
) -> None:
    model, data = richest(name)
    step = DropFeatures(features, epochs=0)
    step.check(model, data.schema)
    after = step.apply(Candidate(model, data.schema), data, seed=0).model
    assert model_specs(after) == model_specs(model) and after.count_params() < model.count_params()
    scores = keras_scores(after, first_rows(data.validation.inputs, 20))
    assert np.isfinite(scores).all() and np.ptp(scores) > 0


def test_all_numbers_can_go_at_once_and_not_all_features(trained_mlp: Any, clicks: Splits) -> None:
    numbers = tuple(feature.name for feature in clicks.schema.numeric_features)
    step = DropFeatures(numbers, epochs=0)
    after = step.apply(Candidate(trained_mlp, clicks.schema), clicks, 0).model
    assert "dense_0_numeric" not in {layer.name for layer in after.layers}
    assert [tensor.name for tensor in after.inputs] == [tensor.name for tensor in trained_mlp.inputs]
    with pytest.raises(PlanError, match=r"DropFeatures cannot drop .*Fix: drop fewer"):
        DropFeatures(tuple(f.name for f in clicks.schema.features)).check(trained_mlp, clicks.schema)


def test_the_file_loses_the_rows_and_takes_the_same_inputs(
    trained_dcn: Any, exported: Callable[[str, str], bytes], clicks: Splits
) -> None:
    after = DropFeatures(("id_1",), epochs=0).apply(Candidate(trained_dcn, clicks.schema), clicks, 0).model
    before_file, file = exported("dcn", "float32"), convert(after, "float32")
    removed = trained_dcn.count_params() - after.count_params()
    assert len(before_file) - len(file) > 3.5 * removed  # four bytes a weight, and a few for the selection
    rows = first_rows(clicks.validation.inputs, 30)
    np.testing.assert_allclose(Scorer(file)(rows), keras_scores(after, rows), atol=1e-5)


def test_effects_tell_what_matters_from_what_does_not(trained_mlp: Any, clicks: Splits) -> None:
    """A column that no weight reads has no effect at all; each other one is told by its own shuffle."""
    model = blinded(trained_mlp)
    for how in ("permuted", "unknown"):
        effects = feature_effects(model, clicks, how=how)
        assert {e.feature for e in effects} == {f.name for f in clicks.schema.features}
        drops = {effect.feature: effect.auc_drop for effect in effects}
        assert drops["id_2"] == 0.0 and max(drops.values()) > 0.01
        assert list(drops.values()) == sorted(drops.values())


def blinded(model: Any) -> Any:
    """A copy whose first layer does not read the field of id_2."""
    copied = copy_model(model)
    kernel, *rest = copied.get_layer("dense_0").get_weights()
    width = copied.get_layer("table").output.shape[-1]
    kernel[2 * width : 3 * width] = 0.0
    copied.get_layer("dense_0").set_weights([kernel, *rest])
    return copied


def test_features_without_an_effect_are_dropped_and_nothing_changes(trained_mlp: Any, clicks: Splits) -> None:
    model = blinded(trained_mlp)
    step = DropFeatures(max_auc_drop=0.0, epochs=0)
    step.check(model, clicks.schema)
    after = step.apply(Candidate(model, clicks.schema), clicks, 0)
    notes = after.history[0].notes
    assert "id_2" in notes["dropped"] and len(notes["effects"]) == len(clicks.schema.features)
    useful = max(notes["effects"], key=lambda row: row["auc_drop"])["feature"]
    assert useful not in notes["dropped"]
    alone = DropFeatures(("id_2",), epochs=0).apply(Candidate(model, clicks.schema), clicks, 0).model
    rows = first_rows(clicks.validation.inputs, 50)
    np.testing.assert_allclose(keras_scores(alone, rows), keras_scores(model, rows), atol=1e-6)


def test_the_smaller_network_is_built_once(trained_mlp: Any, clicks: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Any] = []

    def counted(*args: Any, **kwargs: Any) -> Any:
        built.append(shrunk(*args, **kwargs))
        return built[-1]

    monkeypatch.setattr("tfshop.compression.drop_features.shrunk", counted)
    step = DropFeatures(("id_1",), epochs=0)
    assert step.foreseen(trained_mlp, clicks.schema) is built[0] and len(built) == 1
    after = step.apply(Candidate(trained_mlp, clicks.schema), clicks, seed=0)
    assert after.model is built[1] and len(built) == 2
    assert [w.shape for w in built[0].get_weights()] == [w.shape for w in built[1].get_weights()]


def test_unknown_features_and_settings_are_refused(trained: Callable[[str], Any], clicks: Splits) -> None:
    with pytest.raises(PlanError, match=r"'colour', which the schema has not.*id_0.*Fix:"):
        DropFeatures(("colour",)).check(trained("mlp"), clicks.schema)
    for change in ({"names": "id_2"}, {"names": ()}, {"max_auc_drop": 2.0}, {"how": "guessed"}):
        with pytest.raises(PlanError, match=f"{next(iter(change))} is.*Fix:"):
            DropFeatures(**change)  # type: ignore[arg-type]
