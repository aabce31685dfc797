"""Each tower as a file of its own, and what the two retrieve."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from two_towers import ITEM, market

import tfshop as ts
from tfshop.artifact import Artifact
from tfshop.data import Splits
from tfshop.errors import ArtifactError, AuditError, ModelError, TfshopError
from tfshop.models import build_model
from tfshop.retrieval import FIGURES, Towers, tower_model
from tfshop.runtime import read_graph
from tfshop.training.retrieval import vectors_of

MODES = ("float32", "int8")


@pytest.fixture(scope="module")
def data() -> Splits:
    return market(6000, with_history=True)


@pytest.fixture(scope="module")
def model(data: Splits) -> Any:
    network = build_model("two_tower", data.schema, item=ITEM, dimension=8, hidden=(32,), vector_width=16)
    ts.train_two_tower(network, data, epochs=3, learning_rate=5e-3)
    return network


@pytest.fixture(scope="module")
def towers(model: Any, data: Splits) -> dict[str, Towers]:
    return {mode: ts.export_towers(model, data, ts.Export(mode, calibration_rows=512), ks=(10, 50)) for mode in MODES}


def test_a_tower_of_the_graph_is_the_tower(model: Any, data: Splits) -> None:
    """Cut out twice, and the network is what it was."""
    before = [layer.name for layer in model.layers]
    for _ in range(2):
        for side, names in (("user", {"ids", "hist_liked"}), ("item", {"ids", "numeric"})):
            tower = tower_model(model, data.schema, side)
            assert set(tower.input_names) == names and tower.output_names == ["vector"]
    assert [layer.name for layer in model.layers] == before and model.get_layer("user_vector").output is not None


@pytest.mark.parametrize("mode", MODES)
def test_the_files_give_the_vectors_of_the_network_for_raw_rows(
    mode: str, towers: dict[str, Towers], model: Any, data: Splits
) -> None:
    rows = {"item": [3, 7], "brand": [1, 0], "price": [1.5, None], "user": [5, 6], "liked": [[1, 2], []]}
    whole = data.schema.encode(rows)
    split = data.validation.take(2)
    split = type(split)("two", whole, split.labels, None, 2, data.schema)
    for side in ("user", "item"):
        artifact = getattr(towers[mode], side)
        found = ts.Scorer(artifact)(artifact.schema.encode(rows))
        expected = vectors_of(model, split, side)
        assert found.shape == (2, 16)
        np.testing.assert_allclose(found, expected, atol=1e-5 if mode == "float32" else 0.1)
        assert read_graph(artifact.model_bytes).custom_operators == ()


def test_parity_is_measured_and_int8_keeps_what_is_retrieved(towers: dict[str, Towers]) -> None:
    for side in ("user", "item"):
        assert towers["float32"].parity[side].cosine_least > 1 - 1e-6
        assert 0.99 < towers["int8"].parity[side].cosine_mean < 1 - 1e-7
    for part in ("validation", "test"):
        floats, ints = towers["float32"].recall[part], towers["int8"].recall[part]
        assert floats.recall == pytest.approx(towers["float32"].float_recall[part].recall, abs=0.005)
        assert ints.recall[50] == pytest.approx(floats.recall[50], abs=0.05)
        assert floats.recall[10] > floats.popularity_recall[10]
    assert "recall@10" in str(towers["int8"]) and "most popular" in str(towers["int8"])


def test_an_int8_tower_is_smaller(towers: dict[str, Towers]) -> None:
    sizes = {mode: len(made.user.model_bytes) + len(made.item.model_bytes) for mode, made in towers.items()}
    assert sizes["int8"] < 0.7 * sizes["float32"]


def test_the_folder_comes_back_and_its_towers_are_artifacts(towers: dict[str, Towers], tmp_path: Any) -> None:
    place = towers["int8"].save(tmp_path / "towers")
    back = Towers.load(place)
    assert back.to_dict() == towers["int8"].to_dict() and back.recall == towers["int8"].recall
    assert Artifact.load(place / "item").model_bytes == towers["int8"].item.model_bytes
    page = (place / "user" / "README.md").read_text(encoding="utf-8")
    assert "gives a vector of 16 numbers" in page and "probability" not in page
    towers["float32"].save(place)
    assert Towers.load(place).user.model_bytes == towers["float32"].user.model_bytes


def test_the_code_on_the_page_runs(towers: dict[str, Towers], tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    place = towers["int8"].save(tmp_path / "towers") / "item"
    page = (place / "README.md").read_text(encoding="utf-8")
    monkeypatch.chdir(place)
    found: dict[str, Any] = {}
    exec(page.split("```python")[1].split("```")[0], found)  # noqa: S102  (the page's own example, with an assert)
    np.testing.assert_allclose(found["scores"], towers["int8"].item.golden.scores, atol=0.02)


def test_folders_of_others_and_altered_ones_are_refused(towers: dict[str, Towers], tmp_path: Any) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(TfshopError, match="not ours to replace"):
        towers["int8"].save(tmp_path / "mine")
    place = towers["int8"].save(tmp_path / "towers")
    (place / FIGURES).write_text(json.dumps({"parity": {}}))
    with pytest.raises(ArtifactError, match=r"retrieval.json is not readable.*export the towers again"):
        Towers.load(place)


def test_a_file_with_other_vectors_is_refused(model: Any, data: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tfshop.retrieval.LEAST_COSINE", {"float32": 1.1})
    with pytest.raises(AuditError, match=r"mean cosine of 1\.0000 with the Keras tower's"):
        ts.export_towers(model, data, ts.Export("float32"))


def test_a_network_without_towers_is_refused(data: Splits) -> None:
    network = build_model("mlp", data.schema, dimension=4, hidden=(8,))
    with pytest.raises(ModelError, match="has no item tower"):
        ts.export_towers(network, data)
    with pytest.raises(ModelError, match="has no item tower"):
        ts.evaluate_retrieval(network, data)


def test_the_whole_network_goes_through_compress(model: Any, data: Splits, brief_timing: None) -> None:
    """And its towers can be cut out of what came of it."""
    result = ts.compress(model, data, ts.chain(ts.Prune(0.5, epochs=1), ts.Export("int8")))
    assert abs(result.evaluation.test.auc - result.baseline.evaluation.test.auc) < 0.2
    exported = ts.export_towers(result.candidate.model, data, ts.Export("int8"), ks=(10,))
    assert exported.recall["test"].num_queries > 0
