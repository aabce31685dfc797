"""Our own networks are known by their hyperparameters, and what these do not say is not lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import SIDES, needs

from tfshop._keras import keras
from tfshop.compression import shrink
from tfshop.compression._likeness import are_alike
from tfshop.compression.family import hyperparameters_of
from tfshop.compression.rebuild import KeepZeros, copy_model
from tfshop.data import Schema, Splits
from tfshop.layers import FieldRegulation, MaskedMean, NextBehaviourLoss, OutputRange, PositionWeights
from tfshop.layers.behaviour import HistoryAttention
from tfshop.layers.field_attention import FieldAttention
from tfshop.models import MODELS, build_model, known_hyperparameters, load_model
from tfshop.models.rebuild import fresh

layers = keras.layers
SMALL = {"dimension": 4, "hidden": (16, 8), "dropout": 0.25}
UNREAD = ("ffm", "two_tower")  # whose table is wider than the dimension; that has to be told who is the user
TOWERS = ("finalmlp", "esmm", "mmoe", "ple")  # whose hidden layers are those of several towers: as wide as by default


def small(name: str) -> dict[str, Any]:
    left = {"hidden"} if name in TOWERS else set()
    return {key: value for key, value in SMALL.items() if key in known_hyperparameters(name) and key not in left}


def built(name: str, kinds: dict[str, Splits], **settings: Any) -> tuple[Any, Schema]:
    schema = kinds[needs(name).kinds[-1]].schema
    return build_model(name, schema, seed=3, **{**small(name), **settings}), schema


def changed(model: Any, name: str, **settings: Any) -> Any:
    """The model with other settings of one layer."""
    return copy_model(model, lambda layer: fresh(layer, changes=settings if layer.name == name else {}))


@pytest.mark.parametrize("name", MODELS)
def test_every_network_is_known_before_and_after_it_was_saved(
    name: str, kinds: dict[str, Splits], tmp_path: Path
) -> None:
    model, schema = built(name, kinds, **(SIDES if name == "two_tower" else {}))
    found = hyperparameters_of(model, schema)
    assert (found is None) == (name in UNREAD)
    assert found is None or all(found[key] == value for key, value in small(name).items())
    model.save(tmp_path / "model.keras")
    assert are_alike(load_model(tmp_path / "model.keras"), model)


@pytest.mark.parametrize(
    ("name", "settings", "kind"),
    [
        ("mean_pooling", {"pooling": "sum"}, MaskedMean),
        ("din", {"softmax": True}, PositionWeights),
        ("edcn", {"temperature": 0.2}, FieldRegulation),
        ("bst", {"num_heads": 1}, HistoryAttention),
        ("autoint", {"num_heads": 4, "head_width": 16}, FieldAttention),
    ],
)
def test_a_hyperparameter_that_no_weight_shows_is_the_students_too(
    name: str, settings: dict[str, Any], kind: Any, kinds: dict[str, Splits]
) -> None:
    model, schema = built(name, kinds, **settings)
    student = shrink(model, dimension=0.5, schema=schema)
    shown, value = next(iter(settings.items()))
    assert student.get_layer("table").output_dim == 2
    assert {getattr(layer, shown) for layer in student.layers if isinstance(layer, kind)} == {value}


@pytest.mark.parametrize("weight", [0.5, 0.0])
def test_a_student_has_the_losses_of_its_teacher(weight: float, kinds: dict[str, Splits]) -> None:
    model, schema = built("dien", kinds, auxiliary_weight=weight)
    student = shrink(model, width=0.5, schema=schema)
    assert student.get_layer("dense_0").units == 8
    assert [layer.weight for layer in student.layers if isinstance(layer, NextBehaviourLoss)] == [weight] * bool(weight)


@pytest.mark.parametrize(
    ("bridging", "kinds_of_layers"),
    [("sum", [layers.Add]), ("concatenation", [layers.Dense]), ("attention", [layers.Add, layers.Softmax])],
)
def test_streams_of_a_student_meet_as_those_of_its_teacher(
    bridging: str, kinds_of_layers: list[Any], kinds: dict[str, Splits]
) -> None:
    model, schema = built("edcn", kinds, bridging=bridging)
    student = shrink(model, width=0.5, schema=schema)
    bridge = {type(layer) for layer in student.layers if layer.name.startswith("bridge_0")}
    assert set(kinds_of_layers) <= bridge and (layers.Multiply in bridge) == (bridging == "attention")
    assert student.get_layer("dense_0").units == 8


def test_what_no_hyperparameter_says_is_kept(clicks: Splits) -> None:
    model = build_model("mlp", clicks.schema, **SMALL)
    for settings in ({"activation": "tanh"}, {"kernel_constraint": "max_norm"}, {"kernel_regularizer": "l2"}):
        student = shrink(changed(model, "dense_1", **settings), width=0.5, schema=clicks.schema)
        assert student.get_layer("dense_1").units == 4
        found = student.get_layer("dense_1").get_config()
        assert found == fresh(student.get_layer("dense_1"), changes=settings).get_config()


def test_a_layer_that_was_taken_out_stays_out(clicks: Splits) -> None:
    model = build_model("mlp", clicks.schema, **SMALL)
    without = copy_model(model, lambda layer: () if layer.name == "dropout_0" else fresh(layer))
    names = {layer.name for layer in shrink(without, width=0.5, schema=clicks.schema).layers}
    assert "dropout_1" in names and "dropout_0" not in names


def in_a_row(*order: str, output: str = "click", **settings: Any) -> Any:
    """Three Dense layers of one size called in an order, and a score."""
    x = keras.Input((4,), name="numeric")
    made = {name: layers.Dense(4, name=name) for name in ("one", "other", "third")}
    hidden = x
    for name in order:
        hidden = made[name](hidden)
    hidden = layers.Dropout(0.5, **settings)(layers.Concatenate()([x, hidden]))
    return keras.Model(x, layers.Dense(1, kernel_initializer="zeros", name=output)(hidden))


def with_zeros(model: Any) -> Any:
    return changed(model, "one", kernel_constraint=KeepZeros(np.eye(4)))


def frozen(model: Any) -> Any:
    model.get_layer("one").trainable = False
    return model


@pytest.mark.parametrize(
    "change",
    [
        copy_model,
        keras.models.clone_model,
        with_zeros,
        frozen,
        lambda model: changed(model, "one", kernel_initializer="ones"),
        lambda model: changed(model, "click", kernel_initializer="ones"),
        lambda model: copy_model(model, lambda layer: OutputRange(fresh(layer), 0, 1)),
        lambda _: in_a_row("one", "other", "third", seed=5, name="another"),
    ],
)
def test_what_a_network_does_not_compute_makes_it_no_other(change: Callable[[Any], Any]) -> None:
    model, again = (in_a_row("one", "other", "third") for _ in range(2))
    assert are_alike(change(again), model)


@pytest.mark.parametrize(
    ("order", "settings"),
    [
        (("other", "one", "third"), {}),
        (("one", "other", "third", "one"), {}),
        (("one", "other"), {}),
        (("one", "other", "third"), {"output": "bought"}),
        (("one", "other", "third"), {"noise_shape": (None, 1)}),
    ],
)
def test_what_a_network_does_compute_makes_it_another(order: tuple[str, ...], settings: dict[str, Any]) -> None:
    assert not are_alike(in_a_row(*order, **settings), in_a_row("one", "other", "third"))


def test_the_order_of_what_is_joined_counts() -> None:
    one, other = keras.Input((2,), name="one"), keras.Input((2,), name="other")
    models = [
        keras.Model([one, other], layers.Dense(1, name="click")(layers.Concatenate()(order)))
        for order in ([one, other], [other, one])
    ]
    assert are_alike(models[0], models[0]) and not are_alike(*models)
