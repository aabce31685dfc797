"""Walks through a graph."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfshop._keras import keras, tf
from tfshop.errors import ScoringError
from tfshop.runtime import lookup_tables, read_graph, walk_from_input

from .conftest import MODES, SIZES, convert


@pytest.mark.parametrize("mode", MODES)
def test_ids_reach_the_table_undamaged_in_every_mode(files: dict[str, bytes], mode: str) -> None:
    path = walk_from_input(read_graph(files[mode]), "ids")
    assert [operator.kind for operator in path.operators] == ["ADD"]
    assert [operator.kind for operator in path.lookups] == ["GATHER"]
    assert path.losses == ()


@pytest.mark.parametrize("mode", MODES)
def test_the_table_is_found_in_every_mode(files: dict[str, bytes], mode: str) -> None:
    """In a float16 file it stands behind a DEQUANTIZE."""
    (table,) = lookup_tables(read_graph(files[mode]))
    assert table.tensor.shape == (sum(SIZES), 8)
    assert table.inputs == ("ids",)
    assert table.tensor.dtype == {"float16": "float16", "int8": "int8", "int8_io": "int8"}.get(mode, "float32")


def test_quantized_ids_are_caught() -> None:
    """Float ids with a fake-quant, as quantize_model makes them: 256 levels for a thousand ids."""

    class QuantizedLookup(keras.layers.Layer):
        """Looks ids up after they went through 8 bits."""

        def build(self, input_shape: Any) -> None:
            """Create the table."""
            self.table = self.add_weight("table", (1000, 4))

        def call(self, ids: Any) -> Any:
            """Quantize, then look up."""
            rough = tf.quantization.fake_quant_with_min_max_args(ids, 0.0, 999.0)
            return tf.gather(self.table, tf.cast(rough, tf.int32))

    ids = keras.Input((2,), name="ids")
    hidden = keras.layers.Flatten()(QuantizedLookup()(ids))
    path = walk_from_input(read_graph(convert(keras.Model(ids, keras.layers.Dense(1)(hidden)))), "ids")
    assert [operator.kind for operator in path.lookups] == ["GATHER"]
    assert any("QUANTIZE" in loss for loss in path.losses)
    assert any("quantization scale" in loss for loss in path.losses)


def test_ids_through_a_narrow_type_are_caught() -> None:
    class NarrowLookup(keras.layers.Layer):
        """Looks ids up after a cast to int8."""

        def build(self, input_shape: Any) -> None:
            """Create the table."""
            self.table = self.add_weight("table", (100, 4))

        def call(self, ids: Any) -> Any:
            """Cast, then look up."""
            return tf.gather(self.table, tf.cast(tf.cast(ids, tf.int8), tf.int32))

    ids = keras.Input((2,), dtype="int32", name="ids")
    hidden = keras.layers.Flatten()(NarrowLookup()(ids))
    path = walk_from_input(read_graph(convert(keras.Model(ids, keras.layers.Dense(1)(hidden)))), "ids")
    assert any("type int8" in loss for loss in path.losses)


def test_a_padding_mask_is_not_on_the_way_of_the_ids() -> None:
    """The mask of a sequence may be quantized; its ids may not."""

    class Mask(keras.layers.Layer):
        """1 where there is an id."""

        def call(self, ids: Any) -> Any:
            """Compare with the padding."""
            return tf.cast(ids > 0, tf.float32)[..., tf.newaxis]

    history = keras.Input((5,), dtype="int32", name="hist_item")
    masked = keras.layers.Embedding(30, 4)(history) * Mask()(history)
    model = keras.Model(history, keras.layers.Dense(1)(keras.layers.Flatten()(masked)))
    rows = ({"hist_item": np.full((1, 5), i % 30, np.int32)} for i in range(30))
    graph = read_graph(convert(model, "int8", lambda: rows))
    path = walk_from_input(graph, "hist_item")
    assert path.operators == () and path.losses == ()
    assert [operator.kind for operator in path.lookups] == ["GATHER"]


def test_a_codebook_read_by_looked_up_codes_is_a_table() -> None:
    """Product quantization: ids read codes, codes read codewords."""

    class Codebook(keras.layers.Layer):
        """Two lookups, one behind the other."""

        def call(self, ids: Any) -> Any:
            """Ids to codes to codewords."""
            generator = np.random.default_rng(0)
            codes = tf.constant(generator.integers(0, 16, (200, 1)), tf.int8)
            words = tf.constant(generator.normal(size=(16, 4)), tf.float32)
            return tf.gather(words, tf.cast(tf.gather(codes, ids), tf.int32))

    ids = keras.Input((2,), dtype="int32", name="ids")
    model = keras.Model(ids, keras.layers.Dense(1)(keras.layers.Flatten()(Codebook()(ids))))
    tables = lookup_tables(read_graph(convert(model)))
    assert [table.tensor.shape for table in tables] == [(200, 1), (16, 4)]
    assert all(table.inputs == ("ids",) for table in tables)


def test_an_input_without_lookup_has_none(files: dict[str, bytes]) -> None:
    path = walk_from_input(read_graph(files["int8"]), "numeric")
    assert path.lookups == () and path.operators == ()


def test_an_unknown_name_is_refused_with_the_known_ones(files: dict[str, bytes]) -> None:
    with pytest.raises(ScoringError, match=r"'id' is not in the file. Expected one of \['ids', 'numeric'\]"):
        walk_from_input(read_graph(files["int8"]), "id")
