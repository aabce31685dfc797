"""Two planted targets, the whole way: to a file, an artifact and a report, from Python and from the command line."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import two_targets_table
from helpers import exit_code
from sklearn.metrics import roc_auc_score

import tfshop as ts
from tfshop._keras import keras
from tfshop.compression import Candidate
from tfshop.data import Splits
from tfshop.errors import ArtifactError, LimitError, ModelError
from tfshop.pipeline import Goal, pursue
from tfshop.report import pictures
from tfshop.result import Result
from tfshop.training import predict

pytestmark = pytest.mark.usefixtures("brief_timing")
OUTPUTS = ["probability_clicked", "probability_bought"]


@pytest.fixture(scope="module")
def result(trained_several: Any, two_targets: Splits) -> Result:
    """Pruned, trained with int8's rounding, and exported."""
    plan = ts.chain(ts.Prune(0.5), ts.QAT(), ts.Export("int8"))
    return ts.compress(trained_several, two_targets, plan, max_auc_drop=0.05)


@pytest.fixture(scope="module")
def folder(result: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("several")
    result.artifact.save(place / "mine")
    return place


def aucs(scores: Any, data: Splits) -> list[float]:
    """Test AUC of each target, of scores (rows, targets)."""
    return [roc_auc_score(data.test.labels[:, column], np.asarray(scores)[:, column]) for column in range(2)]


def test_the_file_gives_each_target_under_its_name(result: Result, two_targets: Splits) -> None:
    """And each is the better one at its own target."""
    scores = ts.Scorer(result.artifact)(two_targets.test.inputs)
    assert set(scores) == set(OUTPUTS)
    columns = np.stack([scores[name] for name in OUTPUTS], axis=1)
    np.testing.assert_array_equal(columns, result.measured.test_scores)
    assert min(aucs(columns, two_targets)) > 0.8
    assert max(aucs(columns[:, ::-1], two_targets)) < min(aucs(columns, two_targets))


def test_every_target_is_measured_beside_the_baseline(result: Result, two_targets: Splits) -> None:
    for column, (target, found) in enumerate(result.evaluation.each.items()):
        assert target == two_targets.schema.targets[column]
        assert found.test.auc == pytest.approx(aucs(result.measured.test_scores, two_targets)[column])
        assert abs(found.auc_difference_test.difference) < 0.05
    assert result.met and result.evaluation.latency is not None
    assert any("outputs taken for targets by name" in note for note in result.baseline.evaluation.notes)


def test_a_limit_has_to_hold_for_every_target(trained_several: Any, two_targets: Splits, result: Result) -> None:
    """Both are needed: a limit between what the two targets lose is missed by one of them."""
    plan = ts.chain(ts.Export("int8"))
    found = pursue(trained_several, two_targets, plan, Goal(baseline=result.baseline, timed=False)).evaluation
    lows = sorted(seen.auc_difference_validation.low for seen in found.each.values())
    goal = Goal(limits={"max_auc_drop": -sum(lows) / 2}, baseline=result.baseline, timed=False)
    assert len(pursue(trained_several, two_targets, plan, goal).missed) == 1
    strict = replace(goal, limits={"max_auc_drop": 1e-9}, retry=True)
    with pytest.raises(LimitError, match=r"on validation of (clicked|bought) is") as caught:
        pursue(trained_several, two_targets, ts.chain(ts.Export("float16")), strict)
    assert len(caught.value.best.missed) == 2


def test_the_artifact_holds_every_output(folder: Path, result: Result) -> None:
    loaded = ts.Artifact.load(folder / "mine")
    assert loaded.evaluation == result.evaluation and loaded.schema.targets == ("clicked", "bought")
    assert list(json.loads((folder / "mine" / "evaluation.json").read_text())["targets"]) == ["clicked", "bought"]
    golden = np.load(folder / "mine" / "golden.npz")
    assert {name for name in golden.files if name.startswith("scores")} == {f"scores_{name}" for name in OUTPUTS}
    assert loaded.golden.num_rows == 100 and loaded.verify() == 0


def test_the_handover_page_lists_every_output_and_its_check_runs(folder: Path) -> None:
    page = (folder / "mine" / "README.md").read_text()
    assert "`clicked` is 1 and that `bought` is 1" in page
    for name, target in zip(OUTPUTS, ("clicked", "bought"), strict=True):
        assert f"| `{name}` | float32 | `[batch, 1]` | `{target}` |" in page and f"AUC difference of `{target}`" in page
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    subprocess.run([sys.executable, "-c", code], cwd=folder / "mine", check=True)


def test_golden_scores_of_another_output_are_refused(result: Result) -> None:
    artifact = result.artifact
    assert isinstance(artifact.golden.scores, dict)
    for scores in (
        {name: artifact.golden.scores[other] for name, other in zip(OUTPUTS, OUTPUTS[::-1], strict=True)},
        {"probability_clicked": artifact.golden.scores["probability_clicked"]},
        artifact.golden.scores["probability_clicked"],
    ):
        with pytest.raises(ArtifactError, match="golden"):
            replace(artifact, golden=replace(artifact.golden, scores=scores)).verify()


def test_the_report_tells_of_both(result: Result) -> None:
    assert "clicked AUC" in str(result) and "bought AUC" in str(result)
    report = result.report
    assert "clicked: AUC" in report.summary.headings and "'clicked', 'bought'" in report.dataset
    assert [curve.name for curve in report.curves][-1] == result.evaluation.name


def test_a_saved_model_has_every_output(result: Result, two_targets: Splits, tmp_path: Path) -> None:
    result.save_model(tmp_path / "saved")
    loaded = keras.models.load_model(tmp_path / "saved", compile=False)
    assert loaded.output_names == OUTPUTS
    np.testing.assert_allclose(
        predict(loaded, two_targets.test), predict(result.candidate.model, two_targets.test), atol=1e-6
    )


def test_a_student_learns_every_target_from_its_teacher(trained_several: Any, two_targets: Splits) -> None:
    """On its scores alone; ESMM's second output has no logit of its own."""
    for family, settings in (("esmm", {"dimension": 4, "hidden": (16,)}), ("mmoe", {"dimension": 4, "hidden": (8,)})):
        distill = ts.Distill(settings, family=family, weight=1.0, epochs=4, learning_rate=0.01)
        student = distill.apply(Candidate(trained_several, two_targets.schema), two_targets, seed=0).model
        assert student.name == family and student.output_names == OUTPUTS
        taught, teacher = predict(student, two_targets.test), predict(trained_several, two_targets.test)
        for column in range(2):
            assert np.corrcoef(taught[:, column], teacher[:, column])[0, 1] > 0.9
        assert min(aucs(taught, two_targets)) > 0.75


def foreign(data: Splits, names: tuple[str, str]) -> Any:
    """Somebody else's network: an input a feature, the purchase before the click."""
    keras.utils.set_random_seed(1)
    sizes = data.schema.tables
    inputs = {name: keras.Input((1,), dtype="int32", name=name) for name in ("shop", "item")}
    parts = [keras.layers.Flatten()(keras.layers.Embedding(sizes[name], 6)(tensor)) for name, tensor in inputs.items()]
    shared = keras.layers.Dense(24, activation="relu", name="shared")(keras.layers.Concatenate()(parts))
    outputs = []
    for name in names:
        own = keras.layers.Dense(8, activation="relu", name=f"{name}_tower")(shared)
        outputs.append(keras.layers.Dense(1, activation="sigmoid", name=name)(own))
    return keras.Model(list(inputs.values()), outputs, name="theirs")


def test_a_network_of_somebody_else_goes_by_the_names_of_its_outputs(two_targets: Splits, tmp_path: Path) -> None:
    """Its outputs stand in the other order, and pruning the heads renames their layers meanwhile."""
    model = foreign(two_targets, ("bought", "clicked"))
    ts.train(model, two_targets, epochs=3, learning_rate=0.01)
    plan = ts.chain(ts.Prune(0.3, roles=("dense", "head")), ts.QAT(), ts.Export("int8"))
    result = pursue(model, two_targets, plan, Goal(timed=False))
    for found in (*result.evaluation.each.values(), *result.baseline.evaluation.each.values()):
        assert found.test.auc > 0.8
    loaded = ts.Artifact.load(result.artifact.save(tmp_path / "theirs"))
    assert set(loaded.golden.inputs) == {"shop", "item"}
    assert set(ts.Scorer(loaded).outputs) == {"clicked", "bought"}


def test_outputs_of_any_name_are_taken_in_order_and_it_is_said(
    two_targets: Splits, capsys: pytest.CaptureFixture[str]
) -> None:
    """In training too."""
    model = foreign(two_targets, ("zeta", "alpha"))  # the file's own order is the alphabet's
    ts.train(model, two_targets, epochs=3, learning_rate=0.01)
    told = " ".join((captured := capsys.readouterr()).err.split() + captured.out.split())
    assert "by order: zeta for clicked, alpha for bought" in told
    result = pursue(model, two_targets, ts.chain(ts.Export("int8")), Goal(timed=False))
    assert any("by order: zeta for clicked, alpha for bought" in note for note in result.baseline.evaluation.notes)
    scores = ts.Scorer(result.artifact).score_split(two_targets.test)
    assert set(scores) == set(OUTPUTS)
    assert min(aucs(np.stack([scores[name] for name in OUTPUTS], axis=1), two_targets)) > 0.8
    found = ts.evaluate(model, two_targets, timed=False)
    assert found.targets == result.baseline.evaluation.targets


def test_a_dict_of_outputs_without_targets_names_has_no_order_to_go_by(two_targets: Splits) -> None:
    """Its keys come in the order of the alphabet: `buy` would learn what was clicked."""
    plain = foreign(two_targets, ("first", "second"))
    model = keras.Model(plain.input, dict(zip(("ctr", "buy"), plain.outputs, strict=True)))
    for use in (lambda: ts.train(model, two_targets), lambda: ts.compress(model, two_targets, ts.chain())):
        with pytest.raises(ModelError, match=r"buy, ctr, which has no order.*Fix: name the keys after the targets"):
            use()


def test_a_network_of_one_target_does_not_learn_two(trained_mlp: Any, two_targets: Splits) -> None:
    for use in (
        lambda: ts.compress(trained_mlp, two_targets, ts.chain()),
        lambda: ts.evaluate(trained_mlp, two_targets),
        lambda: ts.train(trained_mlp, two_targets),
    ):
        with pytest.raises(ModelError, match=r"'mlp' has 1 output, the schema has 2 targets.*Fix:.*mmoe"):
            use()


@pytest.fixture(scope="module")
def commanded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `tfshop compress` leaves, with one picture a target."""
    place = tmp_path_factory.mktemp("command")
    pq.write_table(two_targets_table(3000), place / "log.parquet")
    small = ["--model", "shared_bottom", "--hidden", "64", "--dimension", "16", "--epochs", "12", "--time", "day"]
    arguments = ["compress", str(place / "log.parquet"), "--target", "clicked", "--target", "bought", *small]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "PICTURES", {"auc_size": pictures.PICTURES["auc_size"]})
        assert exit_code([*arguments, "--out", str(place / "int8"), "--report", str(place / "report")]) == 0
    return place


def test_the_command_line_takes_several_targets(commanded: Path) -> None:
    artifact = ts.Artifact.load(commanded / "int8")
    assert artifact.schema.targets == ("clicked", "bought") and artifact.plan["exporter"]["mode"] == "int8"
    assert min(found.test.auc for found in artifact.evaluation.each.values()) > 0.6
    assert (commanded / "report" / "auc_size_target_2.svg").is_file()


def test_the_command_line_evaluates_each_target(commanded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    both = [str(commanded / "int8"), str(commanded / "log.parquet"), "--baseline", str(commanded / "int8")]
    assert exit_code(["evaluate", *both, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["targets"]
    assert list(found) == ["clicked", "bought"] and found["bought"]["num_rows"] == 3000
    assert found["bought"]["num_positives"] < found["clicked"]["num_positives"]
    assert found["bought"]["auc_difference"]["difference"] == 0
    assert exit_code(["evaluate", *both[:2]]) == 0
    assert "bought" in capsys.readouterr().out


def test_targets_may_be_separated_by_commas(commanded: Path, tmp_path: Path) -> None:
    arguments = ["train", str(commanded / "log.parquet"), "--target", "clicked, bought", "--model", "esmm"]
    assert (
        exit_code([*arguments, "--hidden", "4", "--dimension", "2", "--epochs", "1", "--out", str(tmp_path / "model")])
        == 0
    )
    schema = ts.Schema.from_json((tmp_path / "model" / "tfshop_schema.json").read_text())
    assert schema.targets == ("clicked", "bought")


def test_a_network_that_cannot_learn_them_is_refused_on_the_command_line(
    commanded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", str(commanded / "log.parquet"), "--target", "clicked,bought", "--out", str(tmp_path / "m")]
    assert exit_code(arguments) == 2
    assert "learns one" in capsys.readouterr().err and not (tmp_path / "m").exists()
