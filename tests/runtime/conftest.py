"""Real files for the runtime's tests: one small click network in every mode, and a few odd ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from tfshop._keras import keras, tf
from tfshop.layers import FieldOffsets

SIZES = (50, 30, 7)  # rows of the tables of three features
STARTS = (0, 50, 80)
NUM_NUMERIC = 4
PLANTED_SPARSITY = 0.75
MODES = ("float32", "float16", "dynamic", "int8", "int8_io")

Inputs = dict[str, np.ndarray]


def convert(model: Any, mode: str = "float32", rows: Callable[[], Iterator[Inputs]] | None = None) -> bytes:
    """Convert with the stock converter, calibrated by name."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if mode != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if mode == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if mode.startswith("int8"):
        converter.representative_dataset = rows
    if mode == "int8_io":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def make_rows(num_rows: int, seed: int = 0) -> Inputs:
    """Valid packed inputs of the click network."""
    generator = np.random.default_rng(seed)
    columns = [generator.integers(0, size, num_rows) for size in SIZES]
    numeric = generator.normal(size=(num_rows, NUM_NUMERIC)).astype(np.float32)
    return {"ids": np.stack(columns, axis=1).astype(np.int32), "numeric": numeric}


@pytest.fixture(scope="session")
def click_model() -> Any:
    """From ids and numeric to a probability; three quarters of the hidden weights are zero; some table rows too."""
    keras.utils.set_random_seed(7)
    # Numeric is declared first: position and name disagree.
    numeric = keras.Input((NUM_NUMERIC,), name="numeric")
    ids = keras.Input((len(SIZES),), dtype="int32", name="ids")
    table = keras.layers.Embedding(sum(SIZES), 8, name="table", embeddings_initializer="random_normal")
    fields = keras.layers.Flatten()(table(FieldOffsets(STARTS)(ids)))
    joined = keras.layers.Concatenate()([fields, numeric])
    hidden = keras.layers.Dense(64, activation="relu", name="hidden", bias_initializer="random_normal")(joined)
    wide = keras.initializers.RandomNormal(stddev=1.0)
    logit = keras.layers.Dense(1, name="logit", kernel_initializer=wide)(hidden)
    model = keras.Model([numeric, ids], keras.layers.Activation("sigmoid", name="probability")(logit))
    kernel, bias = model.get_layer("hidden").get_weights()
    flat = kernel.reshape(-1)
    flat[: int(PLANTED_SPARSITY * flat.size)] = 0.0
    np.random.default_rng(0).shuffle(flat)
    model.get_layer("hidden").set_weights([flat.reshape(kernel.shape), bias])
    rows = table.get_weights()[0] * 10
    rows[[3, 60]] = 0.0
    table.set_weights([rows])
    return model


@pytest.fixture(scope="session")
def files(click_model: Any) -> dict[str, bytes]:
    """The click network in every mode."""

    def rows() -> Iterator[Inputs]:
        samples = make_rows(64, seed=1)
        for row in range(64):
            yield {name: values[row : row + 1] for name, values in samples.items()}

    return {mode: convert(click_model, mode, rows) for mode in MODES}


@pytest.fixture(scope="session")
def swapped_file() -> tuple[Any, bytes]:
    """Two inputs of equal shape and type whose names sort the other way round than they are declared."""
    keras.utils.set_random_seed(3)
    item = keras.Input((), dtype="int32", name="b_item")
    user = keras.Input((), dtype="int32", name="a_user")
    parts = [keras.layers.Embedding(20, 4)(item), keras.layers.Embedding(40, 4)(user)]
    joined = keras.layers.Concatenate()(parts)
    output = keras.layers.Dense(
        1, activation="sigmoid", kernel_initializer=keras.initializers.RandomNormal(stddev=20.0)
    )
    model = keras.Model([item, user], output(joined))
    return model, convert(model)


@pytest.fixture(scope="session")
def flex_file() -> bytes:
    """A file with an operator that LiteRT does not ship."""

    class Inverse(keras.layers.Layer):
        """Inverts a 2 x 2 matrix, which only TensorFlow can."""

        def call(self, values: Any) -> Any:
            """Invert (batch, 4) read as (batch, 2, 2)."""
            return tf.reshape(tf.linalg.inv(tf.reshape(values, [-1, 2, 2])), [-1, 4])

    numeric = keras.Input((4,), name="numeric")
    model = keras.Model(numeric, keras.layers.Dense(1)(Inverse()(numeric)))
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    return bytes(converter.convert())


@pytest.fixture(scope="session")
def two_outputs_file() -> bytes:
    """A file with an output of width 1 and one of width 3."""
    numeric = keras.Input((2,), name="numeric")
    narrow = keras.layers.Dense(1, name="narrow")(numeric)
    wide = keras.layers.Dense(3, name="wide")(numeric)
    return convert(keras.Model(numeric, {"narrow": narrow, "wide": wide}))


@pytest.fixture(scope="session")
def fixed_batch_file() -> tuple[Any, bytes]:
    """A file that takes batches of exactly four rows."""
    numeric = keras.Input((2,), name="numeric", batch_size=4)
    model = keras.Model(numeric, keras.layers.Dense(1, name="score")(numeric))
    return model, convert(model)
