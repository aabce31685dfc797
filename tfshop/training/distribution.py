"""Training on several devices or machines: each reads its share of every batch, one writes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop._keras import keras, tf
from tfshop.data.split import Split
from tfshop.errors import PlanError
from tfshop.training.inputs import model_specs
from tfshop.training.scoring import SCORING_BATCH, outputs_of
from tfshop.training.weights import read_blocks, write_blocks


def requested_strategy(workers: str | None, index: int | None) -> Any:
    """The strategy of a command line: over `workers`, else over `TF_CONFIG`, else None.

    Args:
        workers: Addresses separated by commas.
        index: Which of them this process is.

    Raises:
        PlanError: For one without the other, and for a `TF_CONFIG` that names no worker.
    """
    if (workers is None) != (index is None):
        raise PlanError("--workers and --worker-index belong together; one is missing. Fix: give both, or TF_CONFIG.")
    if workers is not None and index is not None:
        return multi_worker_strategy([part.strip() for part in workers.split(",")], index)
    return multi_worker_strategy() if "TF_CONFIG" in os.environ else None


def multi_worker_strategy(workers: Sequence[str] = (), index: int = 0) -> Any:
    """`MultiWorkerMirroredStrategy` over given addresses, or over those of the variable `TF_CONFIG`.

    Has to be called before TensorFlow has worked on anything else, once in each process; it returns when all
    workers are there. Gradients travel as a ring of all-reduces, those of tables as their rows alone.

    Args:
        workers: "host:port" of every worker, the same list everywhere; the first is the chief. Empty: `TF_CONFIG`.
        index: Which of them this process is.

    Raises:
        PlanError: For an address without a port, an index outside the list, or a `TF_CONFIG` that names no worker.

    Example:
        >>> strategy = multi_worker_strategy(["10.0.0.1:2222", "10.0.0.2:2222"], index=0)  # doctest: +SKIP
    """
    if not workers:
        _require_cluster(os.environ.get("TF_CONFIG"))
        return tf.distribute.MultiWorkerMirroredStrategy()
    for address in workers:
        if not address.rpartition(":")[0] or not address.rpartition(":")[2].isdigit():
            raise PlanError(f"worker {address!r} is no address. Expected host:port. Fix: e.g. 10.0.0.1:2222.")
    if not 0 <= index < len(workers):
        raise PlanError(
            f"worker index {index} is outside the {len(workers)} workers. Expected 0 to {len(workers) - 1}. "
            "Fix: give each process its own place in the list."
        )
    cluster = tf.train.ClusterSpec({"worker": list(workers)})
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        cluster, task_type="worker", task_id=index, rpc_layer="grpc"
    )
    return tf.distribute.MultiWorkerMirroredStrategy(cluster_resolver=resolver)


def _require_cluster(config: str | None) -> None:
    try:
        content = json.loads(config or "")
        found = bool(content["cluster"]["worker"]) and int(content["task"]["index"]) >= 0
    except (ValueError, KeyError, TypeError):
        found = False
    if not found:
        raise PlanError(
            f"TF_CONFIG is {config!r}. Expected JSON with cluster.worker, a list of host:port, and task. Fix: "
            'TF_CONFIG=\'{"cluster": {"worker": ["10.0.0.1:2222"]}, "task": {"type": "worker", "index": 0}}\'.'
        )


class Workers:
    """Those who train together; without a strategy there is one, and nothing is distributed.

    A batch is that of the whole team: each of `n` replicas takes every n-th row of it, and the gradient is that of
    one worker with the whole batch, up to rounding.

    Args:
        strategy: A synchronous `tf.distribute` strategy, or None.

    Raises:
        PlanError: For a parameter server strategy: its workers do not wait for each other.
    """

    def __init__(self, strategy: Any = None) -> None:
        if isinstance(strategy, tf.distribute.ParameterServerStrategy):
            raise PlanError(
                "strategy is a ParameterServerStrategy, whose workers do not wait for each other, so that no epoch "
                "has a state to validate or to keep. Expected a synchronous strategy. Fix: "
                "MultiWorkerMirroredStrategy, or a loop of your own as docs/scale.md has it."
            )
        self._strategy = strategy
        self._score: tuple[Any, Any] | None = None

    @property
    def is_chief(self) -> bool:
        """Whether this process writes files."""
        return self._strategy is None or bool(self._strategy.extended.should_checkpoint)

    def scope(self) -> AbstractContextManager[Any]:
        """Variables made inside belong to the strategy."""
        return nullcontext() if self._strategy is None else self._strategy.scope()

    @contextmanager
    def place(self, model: Any) -> Iterator[Any]:
        """Yield a model whose weights the strategy holds; the given one has its weights when the block ends.

        That is the model itself where it was built inside `strategy.scope()`, else a copy. Every worker begins with
        the weights of the chief.
        """
        if self._strategy is None:
            yield model
            return
        own = model.distribute_strategy is self._strategy
        with self._strategy.scope():
            copy = model if own else keras.models.clone_model(model)
        for mine, theirs in zip(copy.weights, model.weights, strict=True):
            write_blocks(mine, (self._from_chief(block) for block in read_blocks(theirs)))
        yield copy
        if not own:
            for mine, theirs in zip(copy.weights, model.weights, strict=True):
                write_blocks(theirs, read_blocks(mine))

    def feed(self, read: Callable[[], Any], batch_size: int) -> Any:
        """Endless batches for `model.fit`; under a strategy, each replica's share of them.

        Args:
            read: Gives the data set of whole batches, the same on every worker.
            batch_size: Rows of a whole batch.
        """
        if self._strategy is None:
            return read()
        replicas = self._strategy.num_replicas_in_sync
        size = -(-batch_size // replicas)

        def of_pipeline(context: Any) -> Any:
            here = replicas // context.num_input_pipelines
            first = context.input_pipeline_id * here
            mine = tf.data.Dataset.range(first, first + here, output_type=tf.int32)
            return read().flat_map(
                lambda inputs, labels: mine.map(
                    lambda replica: _share(inputs, labels, tf.range(size) * replicas + replica, size * replicas)
                )
            )

        return self._strategy.distribute_datasets_from_function(of_pipeline)

    def scores(self, model: Any, split: Split) -> Any:
        """Outputs of a model on all rows, in order, as `model.predict` gives them; replicas take batches in turns.

        Args:
            model: As `place` yields it; every output (batch, 1).
            split: The rows.
        """
        if self._strategy is None:
            return outputs_of(model, split)
        batches = split.with_batch_size(SCORING_BATCH).batches(inputs=model_specs(model))
        score = self._scoring(model)
        replicas = self._strategy.num_replicas_in_sync

        def of_replica(context: Any) -> Any:
            found = np.zeros((split.num_rows, len(model.outputs)), np.float32)
            start = 0
            for number, (inputs, labels) in enumerate(batches):
                stop = start + int(tf.nest.flatten(labels)[0].shape[0])
                if number % replicas == context.replica_id_in_sync_group:
                    found[start:stop] = score(inputs).numpy()
                start = stop
            return tf.constant(found)

        found = self._sum(of_replica)
        return found if len(model.outputs) == 1 else np.split(found, len(model.outputs), axis=1)

    def require_same(self, number: int, what: str) -> None:
        """Raise on every worker where they do not all have the same number.

        Raises:
            PlanError: Naming what differs.
        """
        if self._strategy is None:
            return

        def of_replica(context: Any) -> Any:
            numbers = np.zeros(self._strategy.num_replicas_in_sync, np.int64)
            numbers[context.replica_id_in_sync_group] = number
            return tf.constant(numbers)

        numbers = self._sum(of_replica)
        if (numbers != number).any():
            raise PlanError(
                f"workers have different {what}: {sorted(set(numbers.tolist()))}. Expected the same everywhere. "
                "Fix: give all of them the same data, settings and, on a shared disk, the same checkpoint folder."
            )

    def _scoring(self, model: Any) -> Any:
        if self._score is None or self._score[0] is not model:

            def side_by_side(inputs: Any) -> Any:
                return tf.concat(tf.nest.flatten(model(inputs, training=False)), axis=1)

            self._score = model, tf.function(side_by_side, reduce_retracing=True)
        return self._score[1]

    def _from_chief(self, block: NDArray[Any]) -> NDArray[Any]:
        return self._sum(lambda context: tf.constant(block * (context.replica_id_in_sync_group == 0)))

    def _sum(self, of_replica: Any) -> NDArray[Any]:
        """Add up what every replica gives; the zeros of the others leave a value as it is."""
        values = self._strategy.experimental_distribute_values_from_function(of_replica)
        return np.asarray(self._strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None).numpy())


def _share(inputs: Any, labels: Any, positions: Any, slots: int) -> Any:
    """The rows at some positions of a batch, and their weights.

    Rows of a gradient are gathered from all workers, which TensorFlow can do for one number of rows only. So a last,
    smaller batch is filled up with rows that it has, weight 0, and the others weigh so much that the mean is theirs.
    """
    rows = tf.shape(tf.nest.flatten(labels)[0])[0]
    mine = tf.nest.map_structure(lambda values: tf.gather(values, positions % rows), (inputs, labels))
    return (*mine, tf.cast(positions < rows, tf.float32) * (slots / tf.cast(rows, tf.float32)))
