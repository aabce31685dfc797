"""What cannot be distilled is refused early, with the fix."""

from __future__ import annotations

import pytest

from compression.distillation import TINY
from tfshop._keras import keras
from tfshop.compression import Distill
from tfshop.errors import PlanError


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"student": 3}, "student is 3. Expected hyperparameters by name, a functional model, or the path"),
        ({"teachers": (3,)}, "teachers hold 3. Expected functional tf_keras models, or paths"),
        ({"averages": "votes"}, "averages is 'votes'. Expected one of logits, probabilities"),
        ({"hints": 3}, "hints is 3. Expected layers of the teacher to layers of the student"),
        ({"hint_weight": 0}, "hint_weight is 0. Expected a number above 0"),
        ({"shrink": {"hidden": 3}}, "shrink has no hidden. Expected width, depth, dimension"),
        ({"shrink": {"width": 0.5}, "student": TINY}, "given a student and shrink. Expected one"),
    ],
)
def test_settings_that_say_nothing_are_refused_at_construction(settings, message):
    with pytest.raises(PlanError, match=message):
        Distill(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"hints": {"dense_9": "last hidden"}}, "hints name 'dense_9', which is no layer of the teacher 'mlp'"),
        ({"hints": {"last hidden": "ids"}}, "which is no layer of the student"),
        ({"teachers": ("nowhere.keras",)}, "cannot use its teacher 'nowhere.keras': nowhere.keras does not exist"),
        ({"student": "nowhere.keras"}, "cannot use its student"),
        ({"shrink": {"width": 10_000}}, "has no hidden layer wider than 10000 units"),
    ],
)
def test_what_cannot_be_taught_is_refused_before_training(settings, message, trained_mlp, clicks):
    with pytest.raises(PlanError, match=message):
        Distill(**settings).check(trained_mlp, clicks.schema)


def test_models_that_the_schema_cannot_feed_are_refused(trained_mlp, clicks):
    x = keras.Input((1,), name="unheard_of")
    stranger = keras.Model(x, keras.layers.Dense(1, activation="sigmoid")(x), name="stranger")
    for settings in ({"teachers": (stranger,)}, {"student": stranger}):
        with pytest.raises(PlanError, match=r"'stranger'.*'unheard_of'"):
            Distill(**settings).check(trained_mlp, clicks.schema)
