"""Content: precomputed text, image and audio vectors, in any network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers import keras_scores
from typer.testing import CliRunner

from tfshop._keras import keras
from tfshop.artifact import Artifact
from tfshop.cli.app import app
from tfshop.data import IdFeature, RandomSplit, Schema, Splits, VectorFeature, prepare
from tfshop.export import Export
from tfshop.models import build_model
from tfshop.runtime import Scorer
from tfshop.training import train

TINY = {"dimension": 4, "hidden": (16,)}
WIDTH = 8


def rows(num_rows: int = 3000) -> pa.Table:
    """Clicked for the direction of an image, whose length says nothing; a tenth of the rows have no image."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(num_rows, WIDTH)) * rng.uniform(1, 40, (num_rows, 1))
    missing = rng.random(num_rows) < 0.1
    logit = 4 * images[:, 0] / np.linalg.norm(images, axis=1) * ~missing * np.sqrt(WIDTH) / 2
    columns = {
        "shop": [f"shop {number}" for number in rng.integers(0, 20, num_rows)],
        "image": [None if gone else list(image) for gone, image in zip(missing, images, strict=True)],
        "clicked": (rng.random(num_rows) < 1 / (1 + np.exp(-logit))).astype(np.int8),
    }
    return pa.table({**columns, "image": pa.array(columns["image"], pa.list_(pa.float32()))})


def prepared(*, normalize: bool = True) -> Splits:
    features = [IdFeature("shop"), VectorFeature("image", width=WIDTH, normalize=normalize)]
    return prepare(rows(), Schema(features, target="clicked"), split=RandomSplit(seed=0), batch_size=128)


@pytest.fixture(scope="module")
def data() -> Splits:
    return prepared()


def test_what_a_vector_says_does_not_depend_on_its_length(data: Splits) -> None:
    model = build_model("mlp", data.schema, **TINY)
    inputs = dict(data.test.inputs)
    longer = {**inputs, "vector_image": 7 * inputs["vector_image"]}
    np.testing.assert_allclose(keras_scores(model, longer), keras_scores(model, inputs), atol=1e-6)
    raw = build_model("mlp", prepared(normalize=False).schema, **TINY)
    assert not np.allclose(keras_scores(raw, longer), keras_scores(raw, inputs), atol=1e-3)


def test_fields_of_vectors_begin_at_the_size_of_fields_of_ids(data: Splits) -> None:
    """Encoders give vectors of any length: unscaled, a field could drown the table in an int8 concatenation."""
    model = build_model("deepfm", data.schema, dimension=16, hidden=(16,))
    field = keras.Model(model.inputs, model.get_layer("table_fields").output)
    shop, image = np.abs(field(dict(data.test.inputs)).numpy()).mean(axis=(0, 2))
    assert image < 10 * shop


def test_a_missing_vector_is_zeros_and_its_field_the_bias_of_the_projection(data: Splits) -> None:
    missing = ~data.test.inputs["vector_image"].any(axis=1)
    assert 0.05 < missing.mean() < 0.2
    model = build_model("mlp", data.schema, **TINY)
    projection = model.get_layer("table_vector_image_projection")
    projection.set_weights([projection.get_weights()[0], np.float32([1, 2, 3, 4])])
    field = keras.Model(model.inputs, model.get_layer("table_vector_image").output)(dict(data.test.inputs)).numpy()
    np.testing.assert_allclose(field[missing, 0], np.tile([1, 2, 3, 4], (missing.sum(), 1)))
    np.testing.assert_array_equal(data.schema.encode({"shop": ["x"], "image": [None]})["vector_image"], [[0] * WIDTH])


@pytest.mark.parametrize("name", ["mlp", "deepfm", "dcn"])
def test_content_is_learned_exported_and_scored(name: str, data: Splits) -> None:
    model = build_model(name, data.schema, **TINY)
    assert train(model, data, epochs=4, learning_rate=1e-2).best.validation_auc > 0.8
    expected = keras_scores(model, data.test.inputs)
    exact = Scorer(Export("float32").to_bytes(model, data)).score_split(data.test)
    np.testing.assert_allclose(exact, expected, atol=1e-5)
    rounded = Scorer(Export("int8", calibration_rows=512).to_bytes(model, data)).score_split(data.test)
    assert np.abs(rounded - expected).mean() < 0.02


def test_an_old_schema_still_reads_and_a_new_one_keeps_the_choice() -> None:
    schema = Schema([VectorFeature("image", width=3, normalize=False)], target="y")
    assert Schema.from_json(schema.to_json()) == schema
    assert Schema.from_json(schema.to_json().replace(', "normalize": false', "")).vector_features[0].normalize


@pytest.mark.usefixtures("one_picture")
def test_a_list_column_of_a_parquet_file_goes_the_whole_way_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inferred as a vector, trained, compressed, audited; and the artifact takes raw rows, one without an image."""
    monkeypatch.chdir(tmp_path)
    pq.write_table(rows(2000), tmp_path / "shop.parquet")
    asked = ["shop.parquet", "--target", "clicked", "--dimension", "4", "--hidden", "64", "--epochs", "12"]
    done = CliRunner().invoke(app, ["train", *asked, "--out", "trained"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(
        app, ["compress", *asked, "--trained", "trained", "--plan", "int8", "--out", "made"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    artifact = Artifact.load(tmp_path / "made")
    assert artifact.schema.vector_features == (VectorFeature("image", width=WIDTH),)
    assert artifact.evaluation is not None and artifact.evaluation.test.auc > 0.7
    scores = Scorer(artifact)(artifact.schema.encode({"shop": ["shop 1", "new"], "image": [[1.0] * WIDTH, None]}))
    assert scores.shape == (2,) and scores[0] != scores[1]
