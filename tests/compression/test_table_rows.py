"""Whose rows are whose, also where a table lost features or serves one tower alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import first_rows, keras_scores
from networks import spread
from two_towers import ITEM, market

from tfshop._keras import keras
from tfshop.compression import AllocateTables, Candidate, DropFeatures, EncodeTables
from tfshop.compression._table_parts import parts_of
from tfshop.compression.table_rows import tables_behind
from tfshop.data import Splits
from tfshop.errors import PlanError
from tfshop.export import Export
from tfshop.layers import ColumnSelect
from tfshop.models import build_model
from tfshop.runtime import Scorer
from tfshop.runtime.inventory import bytes_by_part
from tfshop.tables import Int2, Int4, Int8, RareRows


@pytest.fixture(scope="module")
def narrower(kinds: dict[str, Splits]) -> tuple[Candidate, Splits]:
    """A network that lost the second of three ids; the first shares its table with a history."""
    data = kinds["every kind"]
    model = build_model("mlp", data.schema, dimension=4, hidden=(8,))
    spread(model)
    return DropFeatures(("id_1",), epochs=0).apply(Candidate(model, data.schema), data, seed=0), data


@pytest.fixture(scope="module")
def towers() -> tuple[Any, Splits]:
    data = market(3000, with_history=True)
    return build_model("two_tower", data.schema, item=ITEM, dimension=4, hidden=(8,), vector_width=4), data


def test_what_is_left_after_features_went_is_still_known(narrower: tuple[Candidate, Splits]) -> None:
    """Each feature left is coded on its own, the history with the id whose table it shares."""
    candidate, data = narrower
    rows = first_rows(data.validation.inputs, 50)
    made = EncodeTables({"id_0": Int8(), "id_2": Int2()}).apply(candidate, data, seed=0)
    (told,) = made.history[-1].notes["tables"]
    sizes = {name: data.schema.tables[name] for name in ("id_0", "id_2")}
    assert [(b["codec"][:4], b["features"], b["rows"]) for b in told["blocks"]] == [
        ("Int8", ["id_0"], sizes["id_0"]),
        ("Int2", ["id_2"], sizes["id_2"]),
    ]
    before, after = (
        keras.Model(model.inputs, model.get_layer("table").output)(rows).numpy()
        for model in (candidate.model, made.model)
    )
    moved = np.square(after - before).mean(axis=(0, 2))
    assert len(moved) == 7  # the two ids that are left, and five of the history
    assert moved[[0, *range(2, 7)]].max() < 0.05 * moved[1]
    content = Export("float32").to_bytes(made.model, data)
    assert bytes_by_part(content)["tables"] == told["bytes_after"]
    np.testing.assert_allclose(Scorer(content)(rows).ravel(), keras_scores(made.model, rows), atol=1e-5)


def test_features_that_are_left_get_bits_of_their_own(narrower: tuple[Candidate, Splits]) -> None:
    candidate, data = narrower
    made = AllocateTables(max_bytes=0.2, rows=500, measured=1).apply(candidate, data, seed=0)
    assert [row["features"] for row in made.history[-1].notes["allocation"]] == [["id_0", "hist_id_0"], ["id_2"]]


def test_a_step_a_field_and_rows_folded_by_field_hold_after_features_went(narrower: tuple[Candidate, Splits]) -> None:
    candidate, data = narrower
    for codec, key, shape in ((Int4("field"), "scale", (7, 1)), (RareRows(Int4("field"), 3), "kept_scale", (7, 1))):
        made = EncodeTables(codec).apply(candidate, data, seed=0)
        assert made.model.get_layer("table").stored()[key].shape == shape


def test_a_feature_that_went_has_no_rows_to_code(narrower: tuple[Candidate, Splits]) -> None:
    candidate, data = narrower
    with pytest.raises(PlanError, match=r"cannot tell which rows .* belong to id_1"):
        EncodeTables({"id_1": Int4()}).check(candidate.model, data.schema)


def test_tables_of_each_tower_have_their_fields(towers: tuple[Any, Splits]) -> None:
    """The table of both towers holds the items alone, so that it is a field by itself."""
    model, data = towers
    found = {(part.layer, part.features): part.num_rows for part in parts_of(model, data.schema).each}
    tables = data.schema.tables
    assert found == {
        ("shared_table", ("item", "liked")): tables["item"],
        ("user_table", ("user",)): tables["user"],
        ("item_table", ("brand",)): tables["brand"],
    }


def test_a_tower_loses_a_feature_and_keeps_the_others_apart(towers: tuple[Any, Splits]) -> None:
    model, data = towers
    smaller = DropFeatures(("brand",), epochs=0).apply(Candidate(model, data.schema), data, seed=0)
    made = EncodeTables({"user": Int8(), "item": Int2()}).apply(smaller, data, seed=0)
    told = {row["layer"]: row["blocks"][0]["codec"][:4] for row in made.history[-1].notes["tables"]}
    assert told == {"user_table": "Int8", "shared_table": "Int2"}


def test_columns_cut_from_a_packed_input_are_known(kinds: dict[str, Splits]) -> None:
    """As somebody would who gives each feature an `Embedding` of its own."""
    schema = kinds["ids"].schema
    ids = keras.Input((3,), dtype="int32", name="ids")
    cut = [ColumnSelect([n])(ids) for n in range(3)]
    tables = [keras.layers.Embedding(schema.tables[f"id_{n}"], 2, name=f"own_{n}") for n in range(3)]
    rows = [keras.layers.Flatten()(table(own)) for table, own in zip(tables, cut, strict=True)]
    output = keras.layers.Dense(1, "sigmoid", name="probability")(keras.layers.Concatenate()(rows))
    model = keras.Model(ids, output)
    found = [tables_behind(model.get_layer(f"own_{n}"), model, schema) for n in range(3)]
    assert found == [("id_0",), ("id_1",), ("id_2",)]
