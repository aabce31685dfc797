"""A training whose table lies in shards on two servers; `test_parameter_servers.py` starts it as a process of its own.

Servers and the worker listen on ports of their own within the process: one import of TensorFlow instead of four.

Arguments: addresses by job as JSON, a file for what was found.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tfshop._keras import keras, tf
from tfshop.data.datasets.synthetic import synthetic
from tfshop.models import build_model
from tfshop.models.lookup import table_starts
from tfshop.training import LazyAdam

BATCH, STEPS = 256, 40


def coordinate(cluster: Any, found: Path) -> None:
    """Hand steps to the worker, then look at the table."""
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        cluster, task_type="chief", task_id=0, rpc_layer="grpc"
    )
    shards = tf.distribute.experimental.partitioners.MinSizePartitioner(min_shard_bytes=1024, max_shards=2)
    strategy = tf.distribute.ParameterServerStrategy(resolver, variable_partitioner=shards)
    coordinator = tf.distribute.coordinator.ClusterCoordinator(strategy)
    data = synthetic(6000, num_id_features=3, rows_per_feature=900, num_numeric=0, seed=3, batch_size=BATCH)
    data = replace(data, train=data.train.take(4 * BATCH))
    with strategy.scope():
        model, optimizer = build_model("mlp", data.schema, dimension=4, hidden=(16,)), LazyAdam(0.01)
    table = model.get_layer("table").embeddings
    before = np.concatenate([shard.numpy() for shard in table.variables])
    step, batches = worker_step(strategy, model, optimizer), worker_batches(data.train)
    iterator = iter(coordinator.create_per_worker_dataset(batches))
    losses = [coordinator.schedule(step, args=(iterator,)) for _ in range(STEPS)]
    coordinator.join()
    after = np.concatenate([shard.numpy() for shard in table.variables])
    moments = [v for v in optimizer.variables if tuple(v.shape) == after.shape]
    rows = data.train.inputs["ids"] + np.array(list(table_starts(data.schema).values()))
    content = {
        "losses": [float(loss.fetch()) for loss in losses],
        "servers": [[shard.device for shard in variable.variables] for variable in (table, *moments)],
        "num_rows": len(after),
        "used": np.unique(rows).tolist(),
        "changed": np.flatnonzero((after != before).any(axis=1)).tolist(),
    }
    found.write_text(json.dumps(content))


def worker_step(strategy: Any, model: Any, optimizer: Any) -> Any:
    """One step, as the documentation has it."""
    loss = keras.losses.BinaryCrossentropy(reduction="none")

    def replica_step(inputs: Any, labels: Any) -> Any:
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(loss(labels, model(inputs, training=True)))
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return value

    return tf.function(lambda iterator: strategy.run(replica_step, args=next(iterator)))


def worker_batches(split: Any) -> Any:
    """What a worker reads: the graph is sent to it, so the rows have to be in it."""
    arrays, labels = dict(split.inputs), split.labels[:, None]
    return lambda: tf.data.Dataset.from_tensor_slices((arrays, labels)).shuffle(1024, seed=1).repeat().batch(BATCH)


if __name__ == "__main__":
    spec = tf.train.ClusterSpec(json.loads(sys.argv[1]))
    enough = tf.compat.v1.ConfigProto(inter_op_parallelism_threads=4)  # a step waits for the shards with a thread each
    servers = [
        tf.distribute.Server(spec, job_name=job, task_index=number, protocol="grpc", config=enough)
        for job in ("ps", "worker")
        for number in range(spec.num_tasks(job))
    ]
    coordinate(spec, Path(sys.argv[2]))
    os._exit(0)  # servers wait for ever, and so would the connections to them
