"""Each output is trained and scored as the target it is named after, or stands for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import first_rows, same_weights
from sklearn.metrics import roc_auc_score

from tfshop._keras import keras
from tfshop.data import Splits
from tfshop.errors import ModelError, PlanError
from tfshop.models import build_model
from tfshop.training import History, predict, train
from tfshop.training.outputs import arrange_outputs, outputs_note

RENAMED = ["probability_clicked", "probability_bought"]


def network(data: Splits, names: tuple[str, ...], *, as_dict: tuple[str, ...] = ()) -> Any:
    """One input a feature; an output of each name, in that order."""
    keras.utils.set_random_seed(3)
    sizes = data.schema.tables
    inputs = [keras.Input((), dtype="int32", name=name) for name in ("shop", "item")]
    parts = [keras.layers.Embedding(sizes[tensor.name], 4)(tensor) for tensor in inputs]
    hidden = keras.layers.Dense(8, activation="relu")(keras.layers.Concatenate()(parts))
    outputs = [keras.layers.Dense(1, activation="sigmoid", name=name)(hidden) for name in names]
    return keras.Model(inputs, dict(zip(as_dict, outputs, strict=True)) if as_dict else outputs, name="theirs")


def test_a_network_of_our_own_is_arranged_already(two_targets: Splits, trained_several: Any) -> None:
    assert arrange_outputs(trained_several, two_targets.schema) is trained_several


@pytest.mark.parametrize(
    ("names", "as_dict", "arranged", "told"),
    [
        (("clicked", "bought"), (), ["clicked", "bought"], "by name: clicked for clicked, bought for bought"),
        (("bought", "clicked"), (), ["clicked", "bought"], "by name: clicked for clicked, bought for bought"),
        (("a", "b"), (), RENAMED, "by order: a for clicked, b for bought"),
        (("a", "b"), ("bought", "clicked"), RENAMED, "by name: clicked for clicked, bought for bought"),
    ],
)
def test_outputs_are_taken_by_name_and_else_by_order(
    names: tuple[str, ...], as_dict: tuple[str, ...], arranged: list[str], told: str, two_targets: Splits
) -> None:
    model = network(two_targets, names, as_dict=as_dict)
    found = arrange_outputs(model, two_targets.schema)
    assert found.output_names == arranged and outputs_note(model, two_targets.schema).endswith(told)
    rows = {name: two_targets.test.inputs["ids"][:9, column] for column, name in enumerate(("item", "shop"))}
    given = model(rows)
    keys = (
        {key: given[key].numpy() for key in given} if as_dict else dict(zip(names, map(np.array, given), strict=True))
    )
    wanted = [pair.split()[0] for pair in told.split(": ")[1].split(", ")]
    for output, key in zip(found(rows), wanted, strict=True):
        np.testing.assert_array_equal(output.numpy(), keys[key])


def test_keys_that_are_no_targets_have_no_order(two_targets: Splits) -> None:
    with pytest.raises(ModelError, match=r"outputs ctr, cvr, which has no order.*\[model.output\['ctr'\], …\]"):
        arrange_outputs(network(two_targets, ("x", "y"), as_dict=("ctr", "cvr")), two_targets.schema)


def test_a_name_that_fits_no_target_beside_one_that_does_is_refused(two_targets: Splits) -> None:
    with pytest.raises(ModelError, match=r"'theirs' has outputs bought, other, of which none is named after clicked"):
        train(network(two_targets, ("bought", "other")), two_targets)


def test_a_layer_that_has_the_name_of_an_output_is_refused(two_targets: Splits) -> None:
    model = network(two_targets, ("a", "b"))
    inner = keras.layers.Activation("linear", name="probability_bought")(model.outputs[0])
    hiding = keras.Model(model.input, [keras.layers.Dense(1, name=name)(inner) for name in ("c", "d")], name="hiding")
    with pytest.raises(ModelError, match=r"'hiding' has a layer called 'probability_bought'.*Fix: rename the layer"):
        train(hiding, two_targets)


def test_too_few_outputs_are_refused(two_targets: Splits, clicks: Splits, trained_mlp: Any) -> None:
    with pytest.raises(ModelError, match=r"'theirs' has 1 output, the schema has 2 targets: clicked, bought.*Fix:"):
        train(network(two_targets, ("clicked",)), two_targets)


def test_a_dict_of_one_output_is_taken_for_one_target(clicks: Splits, trained_mlp: Any) -> None:
    as_dict = keras.Model(trained_mlp.input, {"click": trained_mlp.output})
    np.testing.assert_array_equal(predict(as_dict, clicks.test), predict(trained_mlp, clicks.test))


@pytest.mark.parametrize("as_dict", [(), ("clicked", "bought")])
def test_each_output_learns_its_own_target(as_dict: tuple[str, ...], two_targets: Splits) -> None:
    """Layers stand in the other order, in one case under names that mean nothing."""
    model = network(two_targets, ("zeta", "alpha") if as_dict else ("bought", "clicked"), as_dict=as_dict)
    before = model.get_weights()
    history = train(model, two_targets, epochs=3, learning_rate=0.01)
    assert not same_weights(before, model)
    scores, labels = predict(model, two_targets.test), two_targets.test.labels
    assert scores.shape == (600, 2)
    aucs = [[roc_auc_score(labels[:, target], scores[:, output]) for target in range(2)] for output in range(2)]
    assert aucs[0][0] > 0.8 and aucs[1][1] > 0.8
    assert aucs[0][0] > aucs[1][0] + 0.05 and aucs[1][1] > aucs[0][1] + 0.05
    assert set(history.best.target_aucs) == {"clicked", "bought"}


def test_the_mean_of_the_targets_decides_and_is_told(two_targets: Splits) -> None:
    model = build_model("shared_bottom", two_targets.schema, dimension=2, hidden=(8,), heads=(4,))
    history = train(model, two_targets, epochs=2, learning_rate=0.01)
    for row in history.epochs:
        assert row.validation_auc == pytest.approx(np.mean(list(row.target_aucs.values())))
    assert History.from_dict(history.to_dict()) == history
    scores, labels = predict(model, two_targets.validation), two_targets.validation.labels
    aucs = [roc_auc_score(labels[:, column], scores[:, column]) for column in range(2)]
    assert list(history.best.target_aucs.values()) == pytest.approx(aucs, abs=1e-6)


def test_a_single_target_has_no_figures_by_target(clicks: Splits) -> None:
    model = build_model("mlp", clicks.schema, dimension=2, hidden=(4,))
    assert train(model, clicks, epochs=1).best.target_aucs == {}


def test_a_target_of_no_weight_is_not_learned(two_targets: Splits) -> None:
    """Its own layers keep their first weights."""
    model = build_model("shared_bottom", two_targets.schema, dimension=2, hidden=(8,), heads=(4,))
    before = {name: model.get_layer(name).get_weights() for name in ("logit_clicked", "logit_bought")}
    train(model, two_targets, epochs=1, loss_weights={"bought": 0.0})
    assert same_weights(before["logit_bought"], model.get_layer("logit_bought").get_weights())
    assert not same_weights(before["logit_clicked"], model.get_layer("logit_clicked").get_weights())


@pytest.mark.parametrize("weights", [{"sold": 1.0}, {"bought": -1.0}, {"bought": 0, "clicked": 0}])
def test_weights_that_make_no_sense_are_refused(
    weights: dict[str, float], two_targets: Splits, trained_several: Any
) -> None:
    before = trained_several.get_weights()
    with pytest.raises(PlanError, match=r"loss_weights is .*by target: clicked, bought.*Fix:"):
        train(trained_several, two_targets, loss_weights=weights)
    assert same_weights(before, trained_several)


def test_plain_keras_trains_a_network_of_our_own(two_targets: Splits) -> None:
    model = build_model("mmoe", two_targets.schema, dimension=2, num_experts=2, hidden=(8,), heads=(4,))
    model.compile("adam", "binary_crossentropy")
    logs = model.fit(two_targets.train.batches(shuffle=True), epochs=1, verbose=0).history
    assert {"probability_clicked_loss", "probability_bought_loss"} <= set(logs)
    assert len(model.predict(first_rows(two_targets.test.inputs, 3), verbose=0)) == 2
