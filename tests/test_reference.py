"""The small artifact that the project ships: what was written once has to stay readable."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

import tfshop.layers  # registers the layers of saved networks
from tfshop._keras import keras, tf
from tfshop.artifact import Artifact
from tfshop.runtime import Scorer

ROOT = Path(__file__).parents[1]


def test_the_shipped_artifact_still_loads_and_gives_its_golden_scores():
    artifact = Artifact.load(ROOT / "tflite" / "reference")
    assert artifact.verify() <= artifact.tolerance
    assert len(artifact.golden.scores) == 100
    assert len(np.unique(artifact.golden.scores)) > 50  # rows that differ, so that a wrong binding shows
    assert artifact.evaluation.test.auc > 0.6


@pytest.mark.parametrize("kernels", ["BUILTIN_WITHOUT_DEFAULT_DELEGATES", "BUILTIN_REF"])
def test_other_kernels_give_its_golden_scores_within_the_tolerance(kernels):
    """What another processor would run: some integer steps are rounded the other way, and no more."""
    artifact = Artifact.load(ROOT / "tflite" / "reference")
    interpreter = Interpreter(model_content=artifact.model_bytes, experimental_op_resolver_type=OpResolverType[kernels])
    scores = interpreter.get_signature_runner()(**artifact.golden.inputs)["probability"].ravel()
    gap = np.abs(scores - artifact.golden.scores).max()
    assert gap <= artifact.tolerance
    shifted = {**artifact.golden.inputs, "ids": np.roll(artifact.golden.inputs["ids"], 1, axis=1)}
    wrong = interpreter.get_signature_runner()(**shifted)["probability"].ravel()
    assert np.abs(wrong - artifact.golden.scores).max() > artifact.tolerance  # ids bound in another order


def test_the_shipped_saved_model_has_the_signature_of_the_file_and_its_scores():
    artifact = Artifact.load(ROOT / "tflite" / "reference")
    served = tf.saved_model.load(str(ROOT / "saved_models" / "reference")).signatures["serving_default"]
    inputs = {name: tf.constant(values) for name, values in artifact.golden.inputs.items()}
    scores = served(**inputs)["probability"].numpy().ravel()
    assert set(inputs) == set(Scorer(artifact).inputs)
    assert np.abs(scores - artifact.golden.scores).mean() < 0.01  # int8 against float


def test_the_shipped_saved_model_loads_as_keras_model():
    model = keras.models.load_model(str(ROOT / "saved_models" / "reference"))
    assert isinstance(model.get_layer("table_rows"), tfshop.layers.FieldOffsets)
    assert model.output_names == ["probability"]
