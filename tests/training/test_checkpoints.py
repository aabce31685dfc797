"""A training that was killed ends as if it had not been, bit for bit."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import same_weights

from tfshop._keras import keras
from tfshop.data import Splits
from tfshop.data.datasets.synthetic import synthetic
from tfshop.errors import DataError, PlanError
from tfshop.models import build_model
from tfshop.training import History, train

SIZES = {"num_rows": 6000, "num_id_features": 3, "rows_per_feature": 100, "history": 5, "seed": 3, "batch_size": 128}
# 38 steps an epoch, eight in a call: checkpoints after 16, 32, 38, 54 steps; killed after 62.
SETTINGS = {"epochs": 3, "learning_rate": 0.02, "patience": 2, "seed": 4}
EVERY, KILLED_AT, LAST_WRITTEN = 16, 62, 54


class At(keras.callbacks.Callback):
    """Do something once the optimizer has taken so many steps."""

    def __init__(self, step: int, action: Any) -> None:
        super().__init__()
        self._step, self._action = step, action

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self.model.optimizer.iterations.numpy() >= self._step:
            self._action()


class StoppedError(Exception):
    pass


def interrupt() -> None:
    raise StoppedError


def network(data: Splits, **changes: Any) -> Any:
    """With dropout and moving statistics: both have to be those of the step."""
    hidden = build_model("mlp", data.schema, **{"dimension": 4, "hidden": (16,), "dropout": 0.3, "seed": 1, **changes})
    normal = keras.layers.BatchNormalization(name="normal")(hidden.get_layer("dense_0_relu").output)
    output = keras.layers.Dense(1, activation="sigmoid", name="out", kernel_initializer="ones")(
        keras.layers.Dropout(0.3)(normal)
    )
    return keras.Model(hidden.inputs, output, name="noisy")


def everything(model: Any) -> list[np.ndarray]:
    """Weights, moments and step."""
    return [*model.get_weights(), *(variable.numpy() for variable in model.optimizer.variables)]


def figures(history: History) -> list[tuple[float, ...]]:
    """What does not depend on the clock."""
    return [(row.epoch, row.loss, row.validation_auc, row.validation_log_loss) for row in history.epochs]


@pytest.fixture(scope="module")
def data() -> Splits:
    return synthetic(**SIZES)


@pytest.fixture(scope="module")
def uninterrupted(data: Splits) -> tuple[Any, History]:
    """Trained in one go, without a checkpoint."""
    model = network(data)
    return model, train(model, data, **SETTINGS)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints of a process that was killed in the middle of its second epoch; tests leave them as they are."""
    folder = tmp_path_factory.mktemp("killed") / "checkpoints"
    code = (
        "import os, signal, sys; sys.path[:0] = sys.argv[2:]\n"
        "from training.test_checkpoints import *\n"
        "from helpers import leave_graphs_as_traced; leave_graphs_as_traced()\n"  # as in the process that goes on
        "data = synthetic(**SIZES)\n"
        "kill = At(KILLED_AT, lambda: os.kill(os.getpid(), signal.SIGKILL))\n"
        "train(network(data), data, checkpoint_dir=sys.argv[1], checkpoint_every=EVERY, callbacks=[kill], **SETTINGS)\n"
    )
    tests = str(Path(__file__).parents[1])
    ended = subprocess.run(
        [sys.executable, "-c", code, str(folder), tests], capture_output=True, text=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    return folder


@pytest.fixture
def folder(killed: Path, tmp_path: Path) -> Path:
    """A copy of them that may be changed."""
    import shutil

    return Path(shutil.copytree(killed, tmp_path / "checkpoints"))


def steps(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("step-")) for path in folder.glob("step-*"))


def test_a_killed_training_resumes_to_the_same_weights_bit_for_bit(
    folder: Path, data: Splits, uninterrupted: tuple[Any, History]
) -> None:
    """Weights, moments, step, dropout, order of rows, moving statistics, history: in another process."""
    assert steps(folder) == [38, LAST_WRITTEN], "killed in the middle of an epoch, after unwritten steps"
    (folder / ".step-000000000062-x").mkdir()  # what a kill leaves while it is written
    taken: list[int] = []
    counter = At(0, lambda: taken.append(resumed.optimizer.iterations.numpy()))
    resumed = network(data, seed=9)  # other first weights: all of them come from the checkpoint
    history = train(resumed, data, checkpoint_dir=folder, checkpoint_every=EVERY, callbacks=[counter], **SETTINGS)
    model, expected = uninterrupted
    assert resumed._training_state is None, "a later fit begins at the beginning"
    assert taken[0] == LAST_WRITTEN + 8 and taken[-1] == 3 * 38
    assert same_weights(everything(resumed), everything(model))
    assert figures(history) == figures(expected) and history.kept_epoch == expected.kept_epoch
    assert steps(folder) == [3 * 38 - 6, 3 * 38] and not list(folder.glob(".*"))


def test_a_finished_training_returns_at_once(tmp_path: Path, data: Splits, uninterrupted: tuple[Any, History]) -> None:
    first = network(data)
    history = train(first, data, checkpoint_dir=tmp_path, **SETTINGS)
    assert same_weights(first, uninterrupted[0]), "writing changes nothing"
    again = network(data, seed=9)
    assert train(again, data, checkpoint_dir=tmp_path, callbacks=[At(0, interrupt)], **SETTINGS) == history
    assert same_weights(again, first)
    assert steps(tmp_path) == [76, 114] and len(list(tmp_path.glob("best-*"))) <= 2


def test_more_epochs_can_be_asked_for_later(tmp_path: Path, data: Splits) -> None:
    straight, later = network(data), network(data)
    wanted = {**SETTINGS, "patience": 9}
    train(straight, data, **wanted)
    train(later, data, checkpoint_dir=tmp_path, **{**wanted, "epochs": 1})
    train(later, data, checkpoint_dir=tmp_path, **wanted)
    assert same_weights(everything(later), everything(straight))


def test_early_stopping_and_the_best_weights_survive(tmp_path: Path, data: Splits) -> None:
    """Stopped twice on the way to an early stop, the second time after the best epoch."""
    data = data.with_batch_size(256)
    settings = {"epochs": 12, "learning_rate": 0.05, "patience": 2, "seed": 1}
    straight, stopped = network(data), network(data)
    expected = train(straight, data, **settings)
    assert expected.stopped_early
    last = 19 * len(expected.epochs)
    for step in (8, last - 18):
        with pytest.raises(StoppedError):
            train(
                stopped, data, checkpoint_dir=tmp_path, checkpoint_every=7, callbacks=[At(step, interrupt)], **settings
            )
        stopped = network(data, seed=step)
    history = train(stopped, data, checkpoint_dir=tmp_path, checkpoint_every=7, **settings)
    assert figures(history) == figures(expected) and history.stopped_early
    assert history.kept_epoch == expected.kept_epoch < len(history.epochs)
    assert same_weights(everything(stopped), everything(straight))


def test_resume_false_begins_anew(folder: Path, data: Splits, uninterrupted: tuple[Any, History]) -> None:
    model = network(data)
    train(model, data, checkpoint_dir=folder, resume=False, **SETTINGS)
    assert same_weights(model, uninterrupted[0]) and steps(folder) == [76, 114]


def test_a_checkpoint_of_another_training_is_refused_by_what_differs(folder: Path, data: Splits) -> None:
    """Nothing is trained and the checkpoint stays."""
    wider = network(data, hidden=(17,))
    before = wider.get_weights()
    with pytest.raises(PlanError, match=r"another training: network differ.*Fix: another checkpoint_dir"):
        train(wider, data, checkpoint_dir=folder, **SETTINGS)
    assert same_weights(before, wider)
    with pytest.raises(PlanError, match="settings differ"):
        train(network(data), data, checkpoint_dir=folder, **{**SETTINGS, "learning_rate": 0.01})
    with pytest.raises(PlanError, match=": training rows, validation rows differ"):
        train(network(data), data.with_batch_size(64), checkpoint_dir=folder, **SETTINGS)
    other = replace(data, train=replace(data.train, labels=1 - data.train.labels))
    with pytest.raises(PlanError, match=": training rows differ"):
        train(network(data), other, checkpoint_dir=folder, **SETTINGS)
    last = np.array(data.train.labels)
    last[-1] = 1 - last[-1]
    with pytest.raises(PlanError, match=": training rows differ"):
        train(network(data), replace(data, train=replace(data.train, labels=last)), checkpoint_dir=folder, **SETTINGS)
    ids = np.array(data.train.inputs["ids"])
    ids[-1, 0] = 1 + ids[-1, 0] % 2
    inputs = {**data.train.inputs, "ids": ids}
    with pytest.raises(PlanError, match=": training rows differ"):
        train(network(data), replace(data, train=replace(data.train, inputs=inputs)), checkpoint_dir=folder, **SETTINGS)
    assert steps(folder) == [38, LAST_WRITTEN]


@pytest.mark.parametrize("damage", ["cut", "altered", "missing", "state"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_serves(
    damage: str, folder: Path, data: Splits, uninterrupted: tuple[Any, History]
) -> None:
    newest = folder / f"step-{LAST_WRITTEN:012d}"
    victim = newest / ("state.json" if damage == "state" else "0002.npy")
    content = victim.read_bytes()
    if damage == "missing":
        victim.unlink()
    else:
        victim.write_bytes(content[:-5] if damage != "altered" else content[:-1] + bytes([content[-1] ^ 1]))
    model = network(data)
    before = model.get_weights()
    with pytest.raises(DataError, match=rf"{victim.name} is damaged.*Fix: remove the folder {newest.name}"):
        train(model, data, checkpoint_dir=folder, **SETTINGS)
    assert same_weights(before, model)
    if damage == "cut":
        import shutil

        shutil.rmtree(newest)
        train(model, data, checkpoint_dir=folder, **SETTINGS)
        assert same_weights(model, uninterrupted[0])


def test_a_state_without_its_fields_is_damaged(folder: Path, data: Splits) -> None:
    path = folder / f"step-{LAST_WRITTEN:012d}" / "state.json"
    content = json.loads(path.read_text())
    del content["state"]["epoch"]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r"state.json is damaged"):
        train(network(data), data, checkpoint_dir=folder, **SETTINGS)


@pytest.mark.parametrize("every", [0, -1, True, 2.5, "day"])
def test_other_intervals_are_refused(every: Any, data: Splits, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"checkpoint_every is .*Fix:"):
        train(network(data), data, checkpoint_dir=tmp_path / "new", checkpoint_every=every)
    assert not (tmp_path / "new").exists()


def test_a_file_in_the_place_of_the_folder_is_refused(data: Splits, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PlanError, match=r"is a file. Expected a folder"):
        train(network(data), data, checkpoint_dir=tmp_path / "file")
