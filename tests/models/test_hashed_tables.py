"""Networks over hashed tables: built, trained, exported and handed over as any other."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import first_rows, keras_scores
from networks import keras_outputs

from tfshop._keras import keras
from tfshop.artifact import Artifact
from tfshop.data import IdFeature, InputSpec, NumericFeature, Schema, SequenceFeature, TimeSplit, bind, prepare
from tfshop.data.datasets.synthetic import synthetic_table
from tfshop.errors import ScoringError
from tfshop.export import Export, chain
from tfshop.models import MODELS, SEVERAL_TARGETS, build_model
from tfshop.pipeline import compress
from tfshop.runtime import Scorer
from tfshop.training import train

SMALL = {"dimension": 4, "hidden": (16,)}


@pytest.fixture(scope="module")
def hashed():
    """One feature with a vocabulary between two hashed ones, and a history in the first one's table."""
    table = synthetic_table(4000, num_id_features=3, rows_per_feature=60, num_numeric=1, history=4, seed=3)
    features = [
        IdFeature("id_0", hash_buckets=200),
        IdFeature("id_1"),
        IdFeature("id_2", hash_buckets=40, hashes=2),
        NumericFeature("number_0", transform="standard"),
        SequenceFeature("hist_id_0", table="id_0", max_length=4),
    ]
    return prepare(
        table, Schema(features, target="clicked"), split=TimeSplit("day", validation=8, test=9), batch_size=256
    )


@pytest.mark.parametrize("name", MODELS)
def test_every_network_takes_hashed_tables(hashed, name):
    rows = first_rows(hashed.test.inputs, 7)
    assert rows["ids"].shape[1] == 4
    # The user's tower has the history without the id feature that says how its table is hashed.
    sides = {"item": ("id_0", "id_2")} if name == "two_tower" else {}
    schema = hashed.schema.replace(target=("clicked", "bought")) if name in SEVERAL_TARGETS else hashed.schema
    for scores in keras_outputs(build_model(name, schema, **sides), rows).values():
        assert len(scores) == 7 and np.isfinite(scores).all()


def test_a_cross_takes_the_first_hash_of_an_id(hashed):
    model = build_model("wide_deep", hashed.schema, crosses=[("id_1", "id_2")], **SMALL)
    layer = model.get_layer("cross_rows")
    assert (layer.left, layer.right) == ([1], [2])
    assert layer.sizes == [(hashed.schema.tables["id_1"], 41)]


@pytest.mark.parametrize("name", ["mlp", "ffm"])
def test_exported_files_score_as_the_network_does_at_any_batch(hashed, name):
    model, rows = build_model(name, hashed.schema, dimension=4), hashed.test.inputs
    content = Export("float32").to_bytes(model, hashed)
    for num_rows in (1, 7, 512):
        some = first_rows(rows, num_rows)
        np.testing.assert_allclose(Scorer(content)(some), keras_scores(model, some), atol=1e-5)


def test_the_two_rows_of_an_id_are_added(hashed):
    model = build_model("mlp", hashed.schema, **SMALL)
    (table,) = [layer for layer in model.layers if isinstance(layer, keras.layers.Embedding)]
    assert table.input_dim == sum(hashed.schema.tables.values()) == 201 + hashed.schema.tables["id_1"] + 41
    fields = keras.Model(model.inputs, model.get_layer("table_hash_sum").output)
    some = first_rows(hashed.test.inputs, 9)
    weights, start = table.get_weights()[0], 201 + hashed.schema.tables["id_1"]
    expected = weights[start + some["ids"][:, 2]] + weights[start + some["ids"][:, 3]]
    np.testing.assert_allclose(fields(some).numpy()[:, 2], expected, rtol=1e-6)


def test_a_compressed_file_over_hashed_tables_ranks_and_says_how_to_hash(hashed, tmp_path, brief_timing):
    model = build_model("mlp", hashed.schema, **SMALL)
    train(model, hashed, epochs=3, learning_rate=1e-2)
    result = compress(model, hashed, chain(Export("int8")))
    assert result.evaluation.test.auc > 0.6
    assert abs(result.evaluation.auc_difference_test.difference) < 0.005
    artifact = Artifact.load(result.artifact.save(tmp_path / "int8"))
    assert artifact.golden.inputs["ids"].shape[1] == 4
    assert sorted(path.name for path in (tmp_path / "int8" / "vocabularies").iterdir()) == ["id_1.json"]
    page = (tmp_path / "int8" / "README.md").read_text()
    assert "id_0, id_1, id_2 (hash 1), id_2 (hash 2)" in page
    assert "1 + murmur3(text, seed) mod 40 for each seed of 0, 1" in page
    both = hashed.schema.hash_table("id_2").columns(["item-42"])[0]
    assert f"| `id_2` | `item-42` | {both[0]}, {both[1]} |" in page
    assert "```kotlin" in (tmp_path / "int8" / "hashing.md").read_text()


def test_a_network_of_others_takes_both_rows_of_an_id_by_name(hashed):
    rows = first_rows(hashed.test.inputs, 5)
    bound = bind(rows, hashed.schema, {"id_2": InputSpec((2,), "int32"), "id_1": InputSpec((), "int32")})
    np.testing.assert_array_equal(bound["id_2"], rows["ids"][:, 2:])
    np.testing.assert_array_equal(bound["id_1"], rows["ids"][:, 1])


def test_ids_beyond_the_buckets_are_refused(hashed):
    content = Export("float32").to_bytes(build_model("mlp", hashed.schema, **SMALL), hashed)
    rows = first_rows(hashed.test.inputs, 3)
    rows["ids"][1, 3] = 41
    with pytest.raises(ScoringError, match="id_2"):
        Scorer(content, schema=hashed.schema)(rows)
