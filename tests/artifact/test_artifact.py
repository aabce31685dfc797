"""An artifact is whole and as it was saved, or it is refused."""

from __future__ import annotations

import json
import pickle
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from artifact.conftest import FILES, make_artifact, rewrite
from tfshop.artifact import MANIFEST, Artifact
from tfshop.data import IdFeature, RandomSplit, Schema, prepare
from tfshop.errors import ArtifactError, TfshopError
from tfshop.export import convert
from tfshop.models import build_model
from tfshop.runtime import Scorer


def test_the_folder_holds_what_the_reader_needs(saved: Path) -> None:
    assert {str(path.relative_to(saved)) for path in saved.rglob("*") if path.is_file()} == FILES
    readme = (saved / "README.md").read_text()
    assert "hist_id_0" in readme and "int32" in readme and "golden" in readme
    manifest = json.loads((saved / MANIFEST).read_text())
    assert set(manifest["sha256"]) == FILES - {MANIFEST}
    assert manifest["versions"]["tensorflow"].startswith("2.") and manifest["versions"]["python"]


def test_what_was_saved_is_what_is_loaded(artifact: Artifact, saved: Path) -> None:
    loaded = Artifact.load(saved)
    assert loaded.model_bytes == artifact.model_bytes
    assert loaded.schema == artifact.schema and loaded.plan == artifact.plan
    assert loaded.evaluation == artifact.evaluation and loaded.evaluation is not None
    assert loaded.history == artifact.history and dict(loaded.versions) == dict(artifact.versions)
    assert set(loaded.golden.inputs) == {"ids", "numeric", "hist_id_0"}
    for name, values in artifact.golden.inputs.items():
        np.testing.assert_array_equal(loaded.golden.inputs[name], values)
        assert loaded.golden.inputs[name].dtype == values.dtype
    np.testing.assert_array_equal(loaded.golden.scores, artifact.golden.scores)
    assert loaded.verify() < 1e-6


def test_an_artifact_without_evaluation_is_loaded_too(other: Artifact, tmp_path: Path) -> None:
    assert Artifact.load(other.save(tmp_path / "bare")).evaluation is None


def test_the_folder_scores_by_its_own_schema(saved: Path, artifact: Artifact) -> None:
    rows = {"id_0": ["3", "no such id"], "id_1": ["1", "2"], "id_2": ["5", None]}
    rows |= {"number_0": [1.5, None], "number_1": [0.2, 3.0], "hist_id_0": [["3", "4"], []]}
    loaded = Artifact.load(saved)
    encoded = loaded.schema.encode(rows)
    assert encoded["ids"][1, 0] == encoded["ids"][1, 2] == 0 and encoded["ids"][0].all()
    np.testing.assert_array_equal(Scorer(saved)(encoded), Scorer(artifact.model_bytes)(encoded))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
@pytest.mark.parametrize(
    "name", ["model.tflite", "schema.json", "golden.npz", "evaluation.json", "plan.json", "history.json"]
)
def test_a_file_cut_short_before_it_was_hashed_is_refused(name: str, share: float, copy: Path) -> None:
    content = (copy / name).read_bytes()
    rewrite(copy, name, content[: int(share * len(content))])
    with pytest.raises(TfshopError, match="Fix:"):
        Artifact.load(copy)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("plan.json", text) for text in ("[]", "3", "null", '"int8"', '{"exporter": 5}', '{"exporter": null}')),
        *(("schema.json", text) for text in ("[]", "3", "null", "{}")),
        *(("evaluation.json", text) for text in ("[]", "3", "{}")),
        *(("history.json", text) for text in ("3", "null")),
    ],
)
def test_json_of_another_kind_is_refused(name: str, content: str, copy: Path) -> None:
    rewrite(copy, name, content.encode())
    with pytest.raises(TfshopError, match="Fix:"):
        Artifact.load(copy)


class Bomb:
    """Runs when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("import builtins; builtins.exploded = True",))


def test_no_code_of_the_folder_is_run(copy: Path) -> None:
    """A pickle in place of each file that NumPy or JSON reads."""
    import builtins

    archive = BytesIO()
    np.savez(archive, scores=np.array([Bomb()], dtype=object), input_ids=np.array([Bomb()], dtype=object))
    for name in ("golden.npz", "plan.json"):
        for content in (archive.getvalue(), pickle.dumps(Bomb())):
            before = (copy / name).read_bytes()
            rewrite(copy, name, content)
            with pytest.raises(ArtifactError, match="Fix:"):
                Artifact.load(copy)
            rewrite(copy, name, before)
    assert not hasattr(builtins, "exploded")
    Artifact.load(copy)


def test_an_older_artifact_is_replaced_as_a_whole(copy: Path, other: Artifact) -> None:
    (copy / "vocabularies" / "stale.json").write_text("[]")
    other.save(copy)
    assert Artifact.load(copy).model_bytes == other.model_bytes
    assert not (copy / "vocabularies" / "stale.json").exists()


def test_an_empty_folder_is_filled(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert Artifact.load(artifact.save(tmp_path / "empty")).plan == artifact.plan


@pytest.mark.parametrize("content", ["thesis.txt", MANIFEST])
def test_a_folder_with_other_files_is_left_alone(content: str, artifact: Artifact, tmp_path: Path) -> None:
    """Many a web page has a manifest.json of its own."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / content).write_text('{"name": "my web app"}')
    (tmp_path / "mine" / "index.html").write_text("years of work")
    with pytest.raises(ArtifactError, match=r"holds no tfshop artifact.*Fix:"):
        artifact.save(tmp_path / "mine")
    assert (tmp_path / "mine" / "index.html").read_text() == "years of work"


def test_a_file_in_the_way_is_left_alone(artifact: Artifact, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("a file")
    with pytest.raises(ArtifactError, match="Fix:"):
        artifact.save(tmp_path / "mine")
    assert (tmp_path / "mine").read_text() == "a file"


def test_columns_may_be_called_what_no_file_can_be(tmp_path: Path) -> None:
    """A vocabulary goes to a file of its own: a slash, dots or a colon in its name must not lead anywhere."""
    names = ["brand/type", "../sneaky", "..", "c:d", "a b", "ä" * 120]
    rng = np.random.default_rng(0)
    columns = {name: rng.integers(0, 9, 600) for name in names}
    frame = pd.DataFrame({**columns, "bought": rng.integers(0, 2, 600)})
    data = prepare(frame, Schema([IdFeature(name) for name in names], target="bought"), split=RandomSplit())
    model = build_model("mlp", data.schema, dimension=2, hidden=(4,))
    saved = make_artifact(convert(model, "float32"), data, measured=False).save(tmp_path / "odd" / "mine")
    assert Artifact.load(saved).schema == data.schema
    assert [path.name for path in (tmp_path / "odd").iterdir()] == ["mine"]
    outside = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_relative_to(saved)]
    assert outside == []
