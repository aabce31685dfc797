"""`tfshop train` with checkpoints and with several workers."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import exit_code, same_weights

from tfshop._keras import keras

SMALL = ["--target", "bought", "--hidden", "8", "--dimension", "4", "--epochs", "2"]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "log.csv"
    generator = np.random.default_rng(0)
    items = generator.integers(0, 40, 3000)
    bought = generator.random(3000) < np.linspace(0.1, 0.6, 40)[items]
    pd.DataFrame({"item": [f"sku-{i}" for i in items], "bought": bought.astype(int)}).to_csv(path, index=False)
    return path


def test_a_training_with_checkpoints_is_not_done_twice(
    log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", str(log), *SMALL, "--checkpoint", str(tmp_path / "kept"), "--checkpoint-every", "10"]
    assert exit_code([*arguments, "--out", str(tmp_path / "one")]) == 0
    assert len(list((tmp_path / "kept").glob("step-*"))) == 2
    monkeypatch.setattr(keras.Model, "fit", None)
    assert exit_code([*arguments, "--out", str(tmp_path / "two")]) == 0
    models = [keras.models.load_model(tmp_path / name) for name in ("one", "two")]
    assert same_weights(*models)
    assert exit_code([*arguments, "--seed", "1", "--out", str(tmp_path / "three")]) == 2
    assert "belongs to another training" in capfd.readouterr().err
    assert not (tmp_path / "three").exists()


def test_two_towers_are_told_which_columns_are_the_item_s(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    generator = np.random.default_rng(0)
    users, items = generator.integers(0, 30, 2000), generator.integers(0, 40, 2000)
    bought = (users % 5 == items % 5).astype(int)
    columns = {"user": [f"u-{u}" for u in users], "item": [f"sku-{i}" for i in items], "bought": bought}
    pd.DataFrame(columns).to_csv(tmp_path / "log.csv", index=False)
    command = ["train", str(tmp_path / "log.csv"), *SMALL, "--out", str(tmp_path / "model"), "--model"]
    assert exit_code([*command, "two_tower"]) == 2
    assert "Fix: --model two_tower --item" in capfd.readouterr().err
    assert exit_code([*command, "mlp", "--item", "item"]) == 2
    assert exit_code([*command, "two_tower", "--item", "item"]) == 0
    model = keras.models.load_model(tmp_path / "model", compile=False)
    assert {"user_vector", "item_vector"} <= {layer.name for layer in model.layers}


def test_half_a_cluster_is_one_line_and_exit_code_2(
    log: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", str(log), *SMALL, "--workers", "127.0.0.1:1", "--out", str(tmp_path / "out")]
    assert exit_code(arguments) == 2
    assert "belong together" in capfd.readouterr().err


def test_two_workers_train_and_the_first_writes(log: Path, tmp_path: Path) -> None:
    """One told by options, the other by TF_CONFIG."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    for one in sockets:
        one.close()
    config = json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": 1}})
    told = [["--workers", ",".join(addresses), "--worker-index", "0"], []]
    command = [sys.executable, "-c", "from tfshop.cli import main; main()", "train", str(log), *SMALL, "--json"]
    started = [
        subprocess.Popen(
            [*command, *told[index], "--out", str(tmp_path / f"out_{index}")],
            env={**os.environ, **({"TF_CONFIG": config} if index else {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]
    try:
        answers = [process.communicate(timeout=300) for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0, 0], answers
    assert [json.loads(answer[0])["folder"] for answer in answers] == [str(tmp_path / "out_0"), None]
    assert (tmp_path / "out_0" / "saved_model.pb").is_file() and not (tmp_path / "out_1").exists()
