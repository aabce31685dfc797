"""From a table, or from somebody else's network, to a file that is handed over."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tfshop as ts
from tfshop._keras import keras
from tfshop.data import Splits
from tfshop.data.datasets.synthetic import synthetic_table
from tfshop.pipeline import Goal, pursue
from tfshop.report import pictures

pytestmark = pytest.mark.usefixtures("brief_timing")


def test_a_network_with_one_input_a_feature_goes_the_whole_way(clicks: Splits, tmp_path: Path) -> None:
    """Somebody else's network: bound by name, declared in another order than the schema's."""
    keras.utils.set_random_seed(0)
    second, first = (keras.Input((), dtype="int32", name=name) for name in ("id_1", "id_0"))
    history = keras.Input((5,), dtype="int32", name="hist_id_0")
    sizes = clicks.schema.tables
    table = keras.layers.Embedding(sizes["id_0"], 8, name="shared")
    parts = [
        table(first),
        keras.layers.Embedding(sizes["id_1"], 8)(second),
        keras.layers.GlobalAveragePooling1D()(table(history)),
    ]
    hidden = keras.layers.Dense(16, activation="relu")(keras.layers.Concatenate()(parts))
    model = keras.Model(
        [second, history, first], keras.layers.Dense(1, activation="sigmoid", name="score")(hidden), name="theirs"
    )
    ts.train(model, clicks, epochs=2, learning_rate=0.01)
    result = pursue(model, clicks, ts.chain(ts.Prune(0.5), ts.QAT(), ts.Export("int8")), Goal(timed=False))
    assert result.evaluation.validation.auc > 0.6
    loaded = ts.Artifact.load(result.artifact.save(tmp_path / "theirs"))
    assert set(loaded.golden.inputs) == {"id_0", "id_1", "hist_id_0"}


def test_the_notebook_of_the_readme_runs_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        pictures, "PICTURES", {name: pictures.PICTURES[name] for name in ("auc_size", "training_curves")}
    )
    write_exposures(tmp_path / "exposures.parquet")

    table = ts.read_table("exposures.parquet")
    schema = ts.Schema.infer(table, target="bought", group="household_id", time="week")
    data = ts.prepare(table, schema, split=ts.TimeSplit("week", validation=43, test=45))
    model = ts.build_model("deepfm", data.schema, dimension=16)
    ts.train(model, data)
    result = ts.compress(model, data, ts.chain(ts.Prune(0.5), ts.QAT(), ts.Export("int8")), max_auc_drop=0.001)
    result.artifact.save("tflite/deepfm")
    result.report.save("report/deepfm")

    assert {feature.name for feature in data.schema.id_features} >= {"household_id", "product"}
    assert data.train.num_rows > data.test.num_rows > data.validation.num_rows > 0
    assert ts.Artifact.load("tflite/deepfm").evaluation.size_bytes < 0.4 * result.baseline.evaluation.size_bytes
    page = Path("report/deepfm/index.html").read_text()
    assert "prune_qat_int8" in page and "float32" in page and "data:image/" in page
    assert Path("report/deepfm/training_curves.png").stat().st_size > 1000
    assert 0.5 < result.evaluation.test.auc < 1


def write_exposures(path: Path) -> None:
    """A synthetic log under the column names of the issue: weeks 1 to 53, households and products as text."""
    query = """SELECT 'h' || id_0 AS household_id, 'p' || id_1 AS product, id_2 AS store, number_0 AS price,
        1 + row_number() OVER () * 53 // 8001 AS week, clicked AS bought FROM rows"""
    batches = list(synthetic_table(8000, num_id_features=3, rows_per_feature=60, seed=2).batches(query, 10_000))
    pq.write_table(pa.Table.from_batches(batches), path)
