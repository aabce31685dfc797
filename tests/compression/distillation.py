"""Settings and networks of the tests of distillation."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras, tf
from tfshop.compression import Candidate
from tfshop.data import Splits

TINY = {"dimension": 4, "hidden": (16,)}
LAST = {"last hidden": "last hidden"}


def hints_of(candidate: Candidate) -> list[dict[str, Any]]:
    return candidate.history[-1].notes["hints"]


def foreign_student(data: Splits) -> Any:
    """Reads two of the features, one input each."""
    first, number = keras.Input((1,), dtype="int32", name="id_0"), keras.Input((1,), name="number_0")
    row = keras.layers.Flatten()(keras.layers.Embedding(data.schema.tables["id_0"], 4)(first))
    clean = tf.where(tf.math.is_nan(number), 0.0, number)
    hidden = keras.layers.Dense(8, activation="relu", name="hidden")(keras.layers.Concatenate()([row, clean]))
    return keras.Model([first, number], keras.layers.Dense(1, activation="sigmoid")(hidden), name="own")
