"""Two processes on loopback train as one would with the whole batch, and keep their tables lazy."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tfshop
from tfshop._keras import tf
from tfshop.data import Splits
from tfshop.errors import PlanError
from tfshop.models import build_model
from tfshop.training import History, train
from tfshop.training.distribution import Workers, multi_worker_strategy, requested_strategy
from training import two_workers


def free_addresses(count: int) -> str:
    """Ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    addresses = ",".join(f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)
    for one in sockets:
        one.close()
    return addresses


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two workers left."""
    place = tmp_path_factory.mktemp("workers")
    addresses, script = free_addresses(2), two_workers.__file__
    paths = os.pathsep.join([str(Path(tfshop.__file__).parents[1]), str(Path(script).parents[1])])
    workers = [
        subprocess.Popen(
            [sys.executable, script, addresses, str(index), str(place)],
            env={**os.environ, "PYTHONPATH": paths},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for index in range(2)
    ]
    try:
        told = [worker.communicate(timeout=300)[0] for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0], "\n".join(told)
    return place


@pytest.fixture(scope="module")
def found(folder: Path) -> list[dict[str, Any]]:
    return [json.loads((folder / f"worker_{index}.json").read_text()) for index in range(2)]


def arrays(folder: Path, name: str, worker: int = 0) -> list[np.ndarray]:
    """Weights of a model, or moments of its table, in order."""
    content = np.load(folder / f"worker_{worker}.npz")
    return [content[key] for key in content.files if key.startswith(f"{name}_")]


@pytest.fixture(scope="module")
def alone() -> tuple[Any, History]:
    """One worker with the whole batch."""
    data = two_workers.clicks(two_workers.EVEN)
    model = two_workers.network(data, seed=0)
    return model, train(model, data, **two_workers.SETTINGS)


@pytest.mark.parametrize("name", ["straight", "resumed", "moment"])
def test_both_workers_end_with_the_same_weights(folder: Path, name: str) -> None:
    first, second = arrays(folder, name, 0), arrays(folder, name, 1)
    assert len(first) >= 2
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_two_workers_do_what_one_does_with_the_doubled_batch(
    folder: Path, found: list[dict[str, Any]], alone: tuple[Any, History]
) -> None:
    """Losses agree to six digits; of the weights nearly all, Adam divides a few by next to nothing."""
    model, expected = alone
    assert found[0]["history"]["kept_epoch"] == expected.kept_epoch
    for told in found:
        for row, other in zip(told["history"]["epochs"], expected.epochs, strict=True):
            assert row["loss"] == pytest.approx(other.loss, rel=1e-5)
            assert row["validation_log_loss"] == pytest.approx(other.validation_log_loss, rel=1e-5)
    assert_close(arrays(folder, "straight"), model.get_weights())
    untrained = two_workers.network(two_workers.clicks(two_workers.EVEN), seed=0).get_weights()
    with pytest.raises(AssertionError):
        assert_close(arrays(folder, "straight"), untrained)


def assert_close(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    apart = np.concatenate([np.abs(one - other).ravel() for one, other in zip(found, expected, strict=True)])
    assert np.quantile(apart, 0.99) < 1e-5 and apart.max() < 0.02


def test_tables_stay_lazy_on_their_way_through_the_workers(
    folder: Path, found: list[dict[str, Any]], alone: tuple[Any, History]
) -> None:
    """Gradients arrive as rows; rows that no worker touched keep weights and moments to the bit."""
    data = two_workers.clicks(two_workers.EVEN)
    first = two_workers.network(data, seed=0).get_weights()[0]
    assert found[0]["row_wise"] == found[1]["row_wise"] == [len(first)]
    table, moments = arrays(folder, "straight")[0], arrays(folder, "moment")
    same = (table == first).all(axis=1)
    np.testing.assert_array_equal(same, (alone[0].get_weights()[0] == first).all(axis=1))
    assert len(moments) == 2 and 300 < same.sum() < len(first) - 300
    for moment in moments:
        assert not moment[same].any() and moment[~same].any(axis=1).mean() > 0.9


def test_two_workers_resume_and_take_a_last_batch_of_four_rows(folder: Path, found: list[dict[str, Any]]) -> None:
    """Batches of 60 leave four rows; stopped in the second epoch, they end where one worker ends."""
    assert found[0]["written"] == ["step-000000000018", "step-000000000026"], "an epoch has 18 steps"
    data = two_workers.clicks(two_workers.UNEVEN)
    model = two_workers.network(data, seed=0)
    train(model, data, **two_workers.SETTINGS)
    assert_close(arrays(folder, "resumed"), model.get_weights())


def test_a_strategy_of_one_device_changes_nothing_but_rounding(clicks: Splits) -> None:
    models = [build_model("mlp", clicks.schema, dimension=4, hidden=(16,), seed=2) for _ in range(2)]
    train(models[0], clicks, epochs=1)
    train(models[1], clicks, epochs=1, strategy=tf.distribute.OneDeviceStrategy("/cpu:0"))
    assert_close(models[1].get_weights(), models[0].get_weights())


@pytest.mark.parametrize(
    ("workers", "index", "message"),
    [
        (["10.0.0.1"], 0, "'10.0.0.1' is no address. Expected host:port"),
        (["10.0.0.1:1", "10.0.0.2:x"], 0, "'10.0.0.2:x' is no address"),
        (["10.0.0.1:1", "10.0.0.2:1"], 2, "index 2 is outside the 2 workers. Expected 0 to 1"),
        (["10.0.0.1:1"], -1, "index -1"),
    ],
)
def test_addresses_that_cannot_work_are_refused(workers: list[str], index: int, message: str) -> None:
    with pytest.raises(PlanError, match=f"{message}.*Fix:"):
        multi_worker_strategy(workers, index)


@pytest.mark.parametrize("config", [None, "", "{}", "[1]", '{"cluster": {"worker": []}, "task": {"index": 0}}'])
def test_a_configuration_without_workers_is_refused(config: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(PlanError, match=r"TF_CONFIG is .* Expected JSON with cluster.worker"):
        multi_worker_strategy()


def test_what_a_command_line_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing asked, nothing distributed; half an answer is refused."""
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert requested_strategy(None, None) is None
    for workers, index in (("10.0.0.1:1", None), (None, 0)):
        with pytest.raises(PlanError, match="--workers and --worker-index belong together"):
            requested_strategy(workers, index)


def test_a_parameter_server_strategy_is_refused() -> None:
    class Stub(tf.distribute.ParameterServerStrategy):
        def __init__(self) -> None:
            pass

    with pytest.raises(PlanError, match=r"do not wait for each other.*Fix: MultiWorkerMirroredStrategy"):
        Workers(Stub())
