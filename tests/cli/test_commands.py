"""The command line: what it prints, what it leaves, how it exits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import exit_code

from tfshop.artifact import Artifact
from tfshop.report import pictures


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a planted table, and one artifact and a page of one picture made through the command line."""
    place = tmp_path_factory.mktemp("cli")
    planted_table(4000).to_csv(place / "log.csv", index=False)
    arguments = ["compress", str(place / "log.csv"), *SMALL, "--out", str(place / "int8")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "PICTURES", {"auc_size": pictures.PICTURES["auc_size"]})
        exit_code([*arguments, "--report", str(place / "report")])
    return place


@pytest.fixture(scope="module")
def network(folder):
    """A network trained on it by a command of its own."""
    assert exit_code(["train", str(folder / "log.csv"), *SMALL, "--out", str(folder / "model")]) == 0
    return str(folder / "model")


def planted_table(num_rows):
    """Items with a known appeal: a network that reads `item` ranks well, one that does not cannot."""
    generator = np.random.default_rng(0)
    items = generator.integers(0, 40, num_rows)
    price = generator.lognormal(2, 1, num_rows).round(2)
    logit = np.linspace(-2, 2, 40)[items] - 0.3 * np.log(price)
    bought = generator.random(num_rows) < 1 / (1 + np.exp(-logit))
    return pd.DataFrame({"item": [f"sku-{i}" for i in items], "price": price, "bought": bought.astype(int)})


SMALL = ["--target", "bought", "--hidden", "32,16", "--dimension", "4", "--epochs", "3"]


def test_compress_leaves_a_verified_artifact_and_a_report(folder):
    artifact = Artifact.load(folder / "int8")
    assert artifact.plan["exporter"]["mode"] == "int8"
    assert artifact.evaluation.test.auc > 0.7
    assert (folder / "report" / "index.html").stat().st_size > 10_000


def test_evaluate_measures_the_file_on_a_table(folder, capsys):
    assert exit_code(["evaluate", str(folder / "int8"), str(folder / "log.csv"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["num_rows"] == 4000
    assert found["auc"] > 0.7


def test_evaluate_compares_with_a_baseline(folder, capsys):
    both = [str(folder / "int8"), str(folder / "log.csv"), "--baseline", str(folder / "int8")]
    assert exit_code(["evaluate", *both, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["auc_difference"] == {"difference": 0.0, "low": 0.0, "high": 0.0}


def test_benchmark_times_files_by_batch_size(folder, capsys):
    assert exit_code(["benchmark", str(folder / "int8"), "--batch", "1,8", "--seconds", "0.05", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["files"][str(folder / "int8")]
    assert [row["batch_size"] for row in rows] == [1, 8]
    assert all(0 < row["p50_us"] <= row["p99_us"] for row in rows)


def test_inspect_shows_inputs_bytes_and_operators(folder, capsys):
    assert exit_code(["inspect", str(folder / "int8"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["inputs"]) == {"ids", "numeric"}
    assert sum(found["bytes"].values()) == found["size_bytes"]
    assert found["operators"]["FULLY_CONNECTED"] >= 3
    assert found["verified"] == "hashes and golden scores"


def test_sensitivity_leaves_a_table_and_a_picture(folder, tmp_path, capsys):
    arguments = ["sensitivity", str(folder / "log.csv"), *SMALL, "--techniques", "Quantize", "--rows", "300"]
    assert exit_code([*arguments, "--out", str(tmp_path / "s"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {trial["layer"] for trial in found["trials"]} >= {"dense_0", "dense_1"}
    assert {trial["setting"] for trial in found["trials"]} == {"8 bits", "4 bits", "2 bits"}
    assert len(pd.read_csv(tmp_path / "s" / "sensitivity.csv")) == len(found["trials"])
    assert (tmp_path / "s" / "sensitivity.png").stat().st_size > 10_000
    assert exit_code([*arguments[:-4], "--techniques", "Distill", "--out", str(tmp_path / "t")]) == 2
    assert "layer by layer" in capsys.readouterr().err
    assert not (tmp_path / "t").exists()
    assert exit_code([*arguments, "--plan", "int8", "--out", str(tmp_path / "t")]) == 2
    assert "both" in capsys.readouterr().err
    assert exit_code([*arguments[:-4], "--plan", "int8", "--rows", "300", "--out", str(tmp_path / "s"), "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert {(trial["technique"], trial["setting"]) for trial in planned["trials"]} == {("Quantize", "8 bits")}


@pytest.mark.usefixtures("one_picture")
def test_a_missed_limit_exits_with_1_and_says_by_how_much(folder, network, tmp_path, capsys):
    arguments = ["compress", str(folder / "log.csv"), *SMALL, "--trained", network, "--max-size-bytes", "100"]
    capsys.readouterr()
    assert exit_code([*arguments, "--out", str(tmp_path / "x"), "--report", str(tmp_path / "r"), "--json"]) == 1
    missed = json.loads(capsys.readouterr().out)["missed"]
    assert len(missed) == 1
    assert "max_size_bytes" in missed[0]


@pytest.mark.usefixtures("one_picture")
def test_training_and_compressing_can_be_two_commands(folder, network, tmp_path, capsys):
    arguments = ["compress", str(folder / "log.csv"), *SMALL, "--trained", network, "--plan", "float16"]
    assert exit_code([*arguments, "--out", str(tmp_path / "half"), "--report", str(tmp_path / "r"), "--json"]) == 0
    assert Artifact.load(tmp_path / "half").evaluation.name == "float16"
    capsys.readouterr()
    other = [*arguments, "--seed", "1", "--out", str(tmp_path / "y"), "--report", str(tmp_path / "r2")]
    assert exit_code(other) == 2  # another seed is another split, so the model saw some of its test rows
    assert "trained with another schema" in capsys.readouterr().err


@pytest.mark.usefixtures("one_picture")
def test_a_plan_can_come_from_a_file(folder, network, tmp_path):
    plan = {"passes": [{"name": "Prune", "sparsity": 0.5}], "exporter": {"mode": "int8"}}
    (tmp_path / "half_zeros.json").write_text(json.dumps(plan))
    arguments = ["compress", str(folder / "log.csv"), *SMALL, "--trained", network]
    arguments += ["--plan", str(tmp_path / "half_zeros.json"), "--out", str(tmp_path / "o")]
    assert exit_code([*arguments, "--report", str(tmp_path / "r"), "--json"]) == 0
    assert any("dense weights are zero" in note for note in Artifact.load(tmp_path / "o").evaluation.notes)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (["--target", "nothing"], "'nothing'"),
        (["--target", "price"], "'price'"),
        (["--plan", "int9"], "int9"),
        (["--model", "mpl"], "'mpl'"),
        (["--dimension", "0"], "--dimension"),
        (["--hidden", "32,0"], "--hidden"),
        (["--exclude", "item,price"], "Fix:"),
        (["--validation", "3"], "--time"),
        (["--max-auc-drop", "-1"], "max_auc_drop"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(folder, tmp_path, capsys, change, words):
    arguments = ["compress", str(folder / "log.csv"), *SMALL, *change, "--out", str(tmp_path / "o")]
    assert exit_code([*arguments, "--report", str(tmp_path / "r")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert "Traceback" not in error
    assert not (tmp_path / "o").exists()


def test_a_missing_table_and_an_altered_artifact_are_clear(folder, tmp_path, capsys):
    assert exit_code(["compress", str(tmp_path / "none.csv"), *SMALL, "--out", str(tmp_path / "o")]) == 2
    assert "none.csv" in capsys.readouterr().err
    copy = tmp_path / "altered"
    Artifact.load(folder / "int8").save(copy)
    (copy / "schema.json").write_text("{}")
    assert exit_code(["inspect", str(copy)]) == 2
    assert "SHA-256" in capsys.readouterr().err


def test_help_answers_without_tensorflow():
    code = (
        "import sys; sys.argv = ['tfshop', '--help']\n"
        "from tfshop.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'tensorflow', 'duckdb', 'pandas', 'matplotlib', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("demo", "train", "compress", "sensitivity", "evaluate", "benchmark", "inspect"):
        assert command in done.stdout


def test_the_online_shoppers_data_goes_through_unchanged(tmp_path, capsys):
    data = Path(__file__).parents[3] / "shared" / "data" / "online_shoppers" / "online_shoppers_intention.csv"
    if not data.is_file():
        pytest.skip("the shared data set online_shoppers is not beside the project")
    arguments = ["compress", str(data), "--target", "Revenue", "--hidden", "64,32", "--epochs", "4"]
    assert exit_code([*arguments, "--out", str(tmp_path / "o"), "--report", str(tmp_path / "r"), "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    for name in ("float32", "int8"):
        assert files[name]["test"]["accuracy"] > 0.85
        assert files[name]["test"]["recall"] > 0.5
    assert abs(files["int8"]["test"]["auc"] - files["float32"]["test"]["auc"]) < 0.005


def test_no_command_replaces_a_folder_of_somebody_else(folder, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("keep me")
    for arguments in (
        ["train", str(folder / "log.csv"), *SMALL, "--out", str(tmp_path)],
        ["compress", str(folder / "log.csv"), *SMALL, "--out", str(tmp_path)],
        ["compress", str(folder / "log.csv"), *SMALL, "--out", str(tmp_path / "new"), "--report", str(tmp_path)],
    ):
        assert exit_code(arguments) == 2
        assert "training" not in capsys.readouterr().err  # refused before the work, not after
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
