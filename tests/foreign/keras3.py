"""A network of Keras 3, in a process of its own: its files, and what tfshop says of it."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import numpy as np

# Nobody else imports Keras 3, which takes seconds; made-up names of layers do not start at 0.
SAVE = """
import sys, tfshop, tfshop.compression; assert 'keras' not in sys.modules
import keras, numpy as np
assert keras.__version__.startswith("3")
{source}
keras.utils.set_random_seed(1)
for _ in range(3): keras.layers.Dense(1), keras.layers.PReLU()
model = build(keras)
for weight in model.weights: weight.assign(np.random.default_rng(len(weight.path)).uniform(0.1, 0.9, weight.shape))
rows = dict(np.load({folder!r} + "/rows.npz"))
np.save({folder!r} + "/scores.npy", model.predict(rows, verbose=0))
model.save({folder!r} + "/net.keras")
model.save({folder!r} + "/net.h5")
model.save_weights({folder!r} + "/net.weights.h5")
tfshop.compress(model, None, None)
"""


def build(keras_of_either, tower_name="tower", first="first", width=6):
    """The same network in Keras 2 and 3: names given and made up, a submodel, statistics, layers inside layers."""
    layers = keras_of_either.layers
    item = keras_of_either.Input((4,), dtype="int32", name="hist_id_0")
    price = keras_of_either.Input((1,), name="price")
    fields = layers.Embedding(40, 8, name="table")(item)
    fields = layers.MultiHeadAttention(2, 4, name="heads")(fields, fields)
    fields = layers.Bidirectional(layers.GRU(3))(fields)
    joined = layers.Concatenate()([fields, layers.BatchNormalization()(price)])
    tower = keras_of_either.Sequential(
        [layers.Dense(width, activation="relu", name=first), layers.Dropout(0.1), layers.PReLU()], name=tower_name
    )
    output = layers.Dense(1, activation="sigmoid")(layers.Dense(5)(tower(joined)))
    return keras_of_either.Model([item, price], output)


def saved_by_keras_3(folder: Path) -> str:
    """Have Keras 3 save the network beside rows and their scores, and compress it; returns what it ended with."""
    generator = np.random.default_rng(0)
    rows = {"hist_id_0": generator.integers(0, 40, (20, 4)).astype(np.int32)}
    np.savez(folder / "rows.npz", **rows, price=generator.normal(size=(20, 1)).astype(np.float32))
    code = SAVE.format(source=inspect.getsource(build), folder=str(folder))
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (folder / "net.weights.h5").exists(), answer.stderr
    return answer.stderr.strip().splitlines()[-1]
