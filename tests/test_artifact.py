"""An artifact is whole and as it was saved, or it is refused."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tfshop.artifact import MANIFEST, Artifact, Golden
from tfshop.data import IdFeature, RandomSplit, Schema, Splits, prepare
from tfshop.errors import ArtifactError, TfshopError
from tfshop.evaluation.measured import measure_file
from tfshop.export import Export, chain, convert
from tfshop.models import build_model
from tfshop.runtime import Scorer

FILES = {
    "model.tflite",
    "schema.json",
    "vocabularies/id_0.json",
    "vocabularies/id_1.json",
    "vocabularies/id_2.json",
    "golden.npz",
    "plan.json",
    "history.json",
    "evaluation.json",
    "README.md",
    MANIFEST,
}


def make_artifact(content: bytes, data: Splits, *, measured: bool = True) -> Artifact:
    return Artifact(
        model_bytes=content,
        schema=data.schema,
        plan=chain(Export("int8")).to_dict(),
        golden=Golden.of(content, data.validation),
        evaluation=measure_file("int8", content, data).evaluation if measured else None,
        history=({"name": "Prune", "notes": {"sparsity": 0.5}},),
    )


@pytest.fixture(scope="module")
def artifact(exported: Callable[[str, str], bytes], clicks: Splits) -> Artifact:
    """The int8 perceptron, measured."""
    return make_artifact(exported("mlp", "int8"), clicks)


@pytest.fixture(scope="module")
def other(exported: Callable[[str, str], bytes], clicks: Splits) -> Artifact:
    """Another file for the same place."""
    return make_artifact(exported("mlp", "float32"), clicks, measured=False)


@pytest.fixture(scope="module")
def saved(artifact: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its folder; tests copy it before they damage it."""
    return artifact.save(tmp_path_factory.mktemp("artifacts") / "deep" / "mine")


@pytest.fixture
def copy(saved: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(saved, tmp_path / "copy"))


def rewrite(folder: Path, name: str, content: bytes, **manifest: Any) -> None:
    """Change a file together with its hash: what a clumsy tool, not a careless download, would do."""
    (folder / name).write_bytes(content)
    known = json.loads((folder / MANIFEST).read_text())
    known["sha256"][name] = hashlib.sha256(content).hexdigest()
    (folder / MANIFEST).write_text(json.dumps({**known, **manifest}))


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


def test_golden_rows_are_a_sample_of_validation_with_the_files_own_scores(artifact: Artifact, clicks: Splits) -> None:
    """Not the first rows: in a log those are often of one user."""
    golden, rows = artifact.golden, clicks.validation.inputs
    assert golden.scores.shape == (100,) and len(np.unique(golden.scores)) > 50
    np.testing.assert_array_equal(golden.scores, Scorer(artifact.model_bytes)(golden.inputs))
    assert np.isnan(golden.inputs["numeric"]).any()
    known = {row.tobytes() for row in np.hstack([rows["ids"], rows["hist_id_0"]])}
    drawn = [row.tobytes() for row in np.hstack([golden.inputs["ids"], golden.inputs["hist_id_0"]])]
    assert set(drawn) <= known and drawn != [row.tobytes() for row in np.hstack([rows["ids"], rows["hist_id_0"]])[:100]]


def test_the_folder_scores_by_its_own_schema(saved: Path, artifact: Artifact) -> None:
    rows = {"id_0": ["3", "no such id"], "id_1": ["1", "2"], "id_2": ["5", None]}
    rows |= {"number_0": [1.5, None], "number_1": [0.2, 3.0], "hist_id_0": [["3", "4"], []]}
    loaded = Artifact.load(saved)
    encoded = loaded.schema.encode(rows)
    assert encoded["ids"][1, 0] == encoded["ids"][1, 2] == 0 and encoded["ids"][0].all()
    np.testing.assert_array_equal(Scorer(saved)(encoded), Scorer(artifact.model_bytes)(encoded))


@pytest.mark.parametrize("name", sorted(FILES - {MANIFEST}))
def test_any_altered_file_is_refused_by_name(name: str, copy: Path) -> None:
    content = bytearray((copy / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"{name}.*(altered or cut short).*Fix:"):
        Artifact.load(copy)


@pytest.mark.parametrize("name", sorted(FILES))
def test_any_missing_file_is_refused_by_name(name: str, copy: Path) -> None:
    (copy / name).unlink()
    with pytest.raises(ArtifactError, match=rf"{name}.*Fix:"):
        Artifact.load(copy)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_model_is_refused(share: float, copy: Path) -> None:
    content = (copy / "model.tflite").read_bytes()
    (copy / "model.tflite").write_bytes(content[: int(share * len(content))])
    with pytest.raises(ArtifactError, match=r"model\.tflite.*Fix:"):
        Artifact.load(copy)


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


@pytest.mark.parametrize(
    "manifest",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"format": 1}',
        '{"format": 1, "sha256": []}',
        '{"format": 1, "sha256": {}}',
        '{"format": 99, "sha256": {}}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_manifest_is_refused(manifest: str | bytes, copy: Path) -> None:
    (copy / MANIFEST).write_bytes(manifest if isinstance(manifest, bytes) else manifest.encode())
    with pytest.raises(ArtifactError, match=rf"{MANIFEST}.*Fix:"):
        Artifact.load(copy)


def test_a_manifest_of_another_format_names_the_version_that_wrote_it(copy: Path) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    (copy / MANIFEST).write_text(json.dumps({**manifest, "format": 2, "versions": {"tfshop": "9.9"}}))
    with pytest.raises(ArtifactError, match=r"format 2. Expected 1. Fix: use the tfshop that wrote it, 9\.9"):
        Artifact.load(copy)


def test_a_manifest_without_versions_is_refused(copy: Path) -> None:
    manifest = json.loads((copy / MANIFEST).read_text())
    del manifest["versions"]
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="Fix:"):
        Artifact.load(copy)


@pytest.mark.parametrize("kind", ["relative", "absolute"])
def test_a_manifest_that_points_outside_is_refused_and_the_file_not_read(kind: str, copy: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    manifest = json.loads((copy / MANIFEST).read_text())
    name = "../secret" if kind == "relative" else str(secret)
    manifest["sha256"][name] = hashlib.sha256(b"secret").hexdigest()
    (copy / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError, match="outside the artifact"):
        Artifact.load(copy)


def test_a_folder_that_is_no_artifact_is_refused(tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(
            ArtifactError, match=rf"has no {MANIFEST}. Expected a folder written by Artifact.save.*Fix:"
        ):
            Artifact.load(place)


def test_a_file_that_gives_other_scores_than_its_golden_ones_is_refused(copy: Path, artifact: Artifact) -> None:
    rewrite(copy, "golden.npz", replace(artifact.golden, scores=artifact.golden.scores + np.float32(0.01)).to_bytes())
    with pytest.raises(ArtifactError, match=r"differ from its golden ones by 1\.0e-02.*Fix:"):
        Artifact.load(copy)


def test_golden_scores_that_are_no_numbers_are_refused(copy: Path, artifact: Artifact) -> None:
    """NaN is larger than no tolerance."""
    rewrite(copy, "golden.npz", replace(artifact.golden, scores=np.full(100, np.nan, np.float32)).to_bytes())
    with pytest.raises(ArtifactError, match="golden"):
        Artifact.load(copy)


def test_float_files_have_to_meet_their_golden_scores_more_closely(artifact: Artifact, other: Artifact) -> None:
    """Another processor may round an integer step the other way; a float it may not change that much."""
    for one, is_close in ((artifact, True), (other, False)):
        mode = "int8" if is_close else "float32"
        shifted = replace(one, plan=chain(Export(mode)).to_dict(), golden=moved(one.golden, 1e-3))
        if is_close:
            assert shifted.verify() == pytest.approx(1e-3, rel=0.1)
        else:
            with pytest.raises(ArtifactError, match=r"by 1\.0e-03, 1\.0e-03 on average. Expected at most 1e-04"):
                shifted.verify()


def moved(golden: Golden, by: float) -> Golden:
    return replace(golden, scores=golden.scores + np.float32(by))


@pytest.mark.parametrize("rows", [0, 50])
def test_golden_rows_that_do_not_fit_their_scores_are_refused(rows: int, copy: Path, artifact: Artifact) -> None:
    """No rows prove nothing, and half of them not the whole."""
    inputs = {name: values[:rows] for name, values in artifact.golden.inputs.items()}
    scores = artifact.golden.scores[:rows] if rows == 0 else artifact.golden.scores
    rewrite(copy, "golden.npz", Golden(inputs, scores).to_bytes())
    with pytest.raises(ArtifactError, match="golden"):
        Artifact.load(copy)


def test_golden_inputs_of_another_file_are_refused(copy: Path, artifact: Artifact) -> None:
    inputs = {name: values for name, values in artifact.golden.inputs.items() if name != "numeric"}
    rewrite(copy, "golden.npz", replace(artifact.golden, inputs=inputs).to_bytes())
    with pytest.raises(ArtifactError, match=r"does not take its golden inputs.*numeric"):
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


# Each kill happens in a fork, at the n-th time the save asks the system for something.
KILLED_SAVES = """
import os, signal, sys
from tfshop.artifact import Artifact
place, one, other = sys.argv[1], Artifact.load(sys.argv[2]), Artifact.load(sys.argv[3])
sizes = {len(one.model_bytes): "old", len(other.model_bytes): "new"}

def killed_at(number):
    child = os.fork()
    if child == 0:
        seen = 0
        def hook(event, arguments):
            nonlocal seen
            if event.startswith(("open", "os.", "shutil.", "tempfile.", "ctypes.")):
                seen += 1
                if seen == number:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        other.save(place)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

one.save(place)
number, killed = 0, True
while killed:
    number += 1
    killed = killed_at(number)
    state = sizes[len(Artifact.load(place).model_bytes)]
    print(state, flush=True)
    if state == "new":
        one.save(place)
"""

ENDLESS_SAVES = """
import sys
from tfshop.artifact import Artifact
one, other = Artifact.load(sys.argv[2]), Artifact.load(sys.argv[3])
while True:
    for artifact in (one, other):
        artifact.save(sys.argv[1])
        print("saved", flush=True)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere two names cannot be exchanged in one step")
def test_a_kill_at_any_moment_of_a_save_leaves_the_old_or_the_new(
    artifact: Artifact, other: Artifact, tmp_path: Path
) -> None:
    folders = [str(tmp_path / "mine"), str(artifact.save(tmp_path / "one")), str(other.save(tmp_path / "other"))]
    answer = subprocess.run([sys.executable, "-c", KILLED_SAVES, *folders], capture_output=True, text=True, check=True)
    states = answer.stdout.split()
    assert len(states) > 30 and set(states) == {"old", "new"}
    assert states == sorted(states, reverse=True), "old up to one moment, new from then on"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere two names cannot be exchanged in one step")
def test_a_kill_from_outside_leaves_the_old_or_the_new(artifact: Artifact, other: Artifact, tmp_path: Path) -> None:
    folders = [str(tmp_path / "mine"), str(artifact.save(tmp_path / "one")), str(other.save(tmp_path / "other"))]
    for saves in (1, 4, 9):
        process = subprocess.Popen([sys.executable, "-c", ENDLESS_SAVES, *folders], stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(saves)] == ["saved\n"] * saves
        process.send_signal(signal.SIGKILL)  # the next save is under way
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        assert Artifact.load(tmp_path / "mine").model_bytes in {artifact.model_bytes, other.model_bytes}
