"""What each of two processes does; `test_distribution.py` starts them and looks at what they found.

Arguments: the workers' addresses, which of them this is, a folder that both write to.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tfshop._keras import keras, tf
from tfshop.data import Splits
from tfshop.data.datasets.synthetic import synthetic
from tfshop.models import build_model
from tfshop.training import LazyAdam, train
from tfshop.training.distribution import multi_worker_strategy

SETTINGS = {"epochs": 2, "learning_rate": 0.01, "seed": 1}
EVEN, UNEVEN = 256, 60  # of 1,024 rows; the last of the smaller batches has four
STOPPED_AT, EVERY = 24, 8  # a step of the second epoch, of 18 steps each


def clicks(batch_size: int) -> Splits:
    """Few training rows of many ids, so that many rows of the table are never touched."""
    data = synthetic(6000, num_id_features=3, rows_per_feature=900, history=5, seed=3, batch_size=batch_size)
    return replace(data, train=data.train.take(1024))


def network(data: Splits, seed: int) -> Any:
    """A network with a table, and noise."""
    return build_model("mlp", data.schema, dimension=4, hidden=(16,), seed=seed)


class Stop(keras.callbacks.Callback):
    """Fail at a step, on all workers at the same."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Steps are those of the optimizer."""
        if self.model.optimizer.iterations.numpy() >= STOPPED_AT:
            raise KeyboardInterrupt


def watch_updates() -> list[int]:
    """Sizes of the tables that are updated row by row, filled while a step is traced."""
    seen: list[int] = []
    original = LazyAdam._step_rows

    def spy(self: Any, gradient: Any, variable: Any, *rest: Any) -> None:
        seen.append(int(variable.shape[0]))
        original(self, gradient, variable, *rest)

    LazyAdam._step_rows = spy
    return seen


class Keep(keras.callbacks.Callback):
    """Hold on to the model that is really trained."""

    def on_train_end(self, logs: Any = None) -> None:
        """Its moments are those of the copy inside the strategy."""
        self.trained = self.model


def main(addresses: str, index: int, folder: Path) -> None:
    """Train in one go; then with a last batch that does not divide evenly, stopped and resumed."""
    strategy = multi_worker_strategy(addresses.split(","), index)
    rows, keep = watch_updates(), Keep()
    straight = network(clicks(EVEN), seed=index)  # another one on each worker: the chief's is taken
    history = train(straight, clicks(EVEN), strategy=strategy, callbacks=[keep], **SETTINGS)
    table = tuple(straight.weights[0].shape)
    moments = [v.numpy() for v in keep.trained.optimizer.variables if tuple(v.shape) == table]
    resumed, written = stopped_and_resumed(strategy, folder / "checkpoints")
    found = {"history": history.to_dict(), "row_wise": sorted(set(rows)), "written": written}
    arrays = {
        f"{name}_{number}": array
        for name, listed in (
            ("straight", straight.get_weights()),
            ("resumed", resumed.get_weights()),
            ("moment", moments),
        )
        for number, array in enumerate(listed)
    }
    np.savez(folder / f"worker_{index}.npz", **arrays)
    (folder / f"worker_{index}.json").write_text(json.dumps(found))


def stopped_and_resumed(strategy: Any, place: Path) -> tuple[Any, list[str]]:
    """A network built inside the scope, and the checkpoints that were there when it went on."""
    data = clicks(UNEVEN)
    settings = {**SETTINGS, "checkpoint_dir": place, "checkpoint_every": EVERY, "strategy": strategy}
    with suppress(KeyboardInterrupt):
        train(network(data, seed=0), data, callbacks=[Stop()], **settings)
    written = sorted(path.name for path in place.glob("step-*"))
    with strategy.scope():
        resumed = network(data, seed=5)
    train(resumed, data, **settings)
    return resumed, written


if __name__ == "__main__":
    tf.config.threading.set_inter_op_parallelism_threads(2)
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
