"""Each lookup more is operators in the file, which count within a budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from foreign.conftest import click_schema, click_table
from foreign.styles import STYLES

from tfshop.compression import AllocateTables, Candidate, EncodeTables
from tfshop.compression._table_allocation import Allocation, Point
from tfshop.compression._table_parts import Part, Parts, num_lookups, parts_of
from tfshop.compression.table_rows import MergedTable
from tfshop.data import RandomSplit, Splits, prepare
from tfshop.errors import PlanError
from tfshop.export import Export
from tfshop.tables import Float32, Grouped, Hashed, Int2, Int4, Int8, LowRankTable, RareRows, RowCounts, row_counts

MENU = (Int8("field"), Int4("field"), Int2("field"), Float32())


def allocated(model: Any, data: Splits, **settings: Any) -> Candidate:
    step = AllocateTables(**{"rows": 1000, "measured": 1, "max_bytes": 1_000, **settings})
    step.check(model, data.schema)
    return step.apply(Candidate(model, data.schema), data, seed=0)


def test_small_tables_get_one_codec_and_the_file_is_smaller(trained: Callable[[str], Any], clicks: Splits) -> None:
    """1,000 bytes of codes in several lookups take more than those of one."""
    export = Export("int8", calibration_rows=256, strip=True)
    one, several = (allocated(trained("mlp"), clicks, lookup_bytes=number) for number in (1500, 0))
    codecs = [{row["codec"] for row in made.history[-1].notes["allocation"]} for made in (one, several)]
    assert len(codecs[0]) == 1 < len(codecs[1])
    sizes = [len(export.to_bytes(made.model, clicks)) for made in (one, several)]
    assert sizes[0] < sizes[1] - 500


def test_what_a_lookup_more_takes_is_what_the_files_say(trained: Callable[[str], Any], clicks: Splits) -> None:
    made = [
        EncodeTables(codec).apply(Candidate(trained("mlp"), clicks.schema), clicks, seed=0)
        for codec in (Grouped((Int4("field"), Int2("field")), (0.5,)), Int4("field"))
    ]
    sizes = [len(Export("int8", calibration_rows=256, strip=True).to_bytes(own.model, clicks)) for own in made]
    codes = [own.history[-1].notes["bytes"][1] for own in made]
    assert 800 < (sizes[0] - codes[0]) - (sizes[1] - codes[1]) < 4_500  # with what tells frequent rows from rare ones


@pytest.mark.parametrize(
    ("codec", "wanted"),
    [
        (Int4(), 1),
        (Float32(), 1),
        (Grouped((Int8(), Int4(), Int2()), (0.5, 0.8)), 3),
        (RareRows(Grouped((Int4(), Int2()), (0.5,)), 3), 2),
        (LowRankTable(2, Int4()), 1),
    ],
)
def test_codecs_inside_others_are_lookups_too(codec: Any, wanted: int) -> None:
    assert num_lookups(codec) == wanted


def test_bytes_of_choices_have_the_lookups_beyond_the_first_of_each_layer(
    trained: Callable[[str], Any], clicks: Splits
) -> None:
    parts = parts_of(trained("mlp"), clicks.schema)
    counted = row_counts(trained("mlp"), ("table",), clicks.train)["table"]
    counts = {"table": RowCounts(counted, counted)}
    with_operators = type(parts)(parts.each, parts.merged, counts, lookup_bytes=1000)
    bare = type(parts)(parts.each, parts.merged, counts)
    for chosen, more in (((1, 1, 1), 0), ((1, 1, 2), 1), ((0, 1, 2), 2), ((3, 3, 3), 0)):
        codecs = [MENU[choice] for choice in chosen]
        assert with_operators.num_bytes(codecs) == bare.num_bytes(codecs) + 1000 * more


def test_operators_decide_where_bytes_are_few(trained: Callable[[str], Any], clicks: Splits) -> None:
    """Within the same bytes there is room for two codecs without operators, and for one with them."""
    parts = parts_of(trained("mlp"), clicks.schema)
    worth = np.array([[0.01, 0.02, 1.0], [0.01, 0.02, 0.03], [0.01, 0.02, 0.03]])  # of fields and codecs
    changes = {(i, c): np.full((1, 8), worth[i, c], np.float32) for i in range(3) for c in range(3)}
    bare, with_operators = (type(parts)(parts.each, parts.merged, lookup_bytes=own) for own in (0, 1000))
    budget = bare.num_bytes([MENU[1], MENU[2], MENU[2]])
    found = {own: Allocation(own, MENU, changes).within(budget) for own in (bare, with_operators)}
    assert found[bare] is not None and len(set(found[bare].chosen)) == 2
    assert found[with_operators] is not None and found[with_operators].chosen == (2, 2, 2)
    richer = Allocation(with_operators, MENU, changes).within(budget + 1000)
    assert richer is not None and richer.num_bytes <= budget + 1000 and richer.loss <= found[bare].loss


def test_a_small_field_may_have_the_codec_of_a_large_one() -> None:
    """Alone it would take more bytes than its rows; in the lookup that is there anyway it takes next to none."""
    sizes = {"large": 2000, "small": 20}
    merged = MergedTable({"large": 0, "small": 2000}, sizes, (0, 2000))
    each = tuple(
        Part("table", name, (name,), merged.starts[name], rows, 8, (number,))
        for number, (name, rows) in enumerate(sizes.items())
    )
    menu = (Hashed(64), Float32())
    parts = Parts(each, {"table": merged}, lookup_bytes=1500)
    assert parts.bytes_alone(each[1], menu[0]) > parts.bytes_alone(each[1], menu[1]) > parts.bytes_added(1, menu[0])
    fewest = Allocation(parts, menu, {}).smallest()
    assert fewest.chosen == (0, 0)
    changes = {(0, 0): np.full((1, 8), 0.1, np.float32), (1, 0): np.full((1, 8), 0.1, np.float32)}
    assert Allocation(parts, menu, changes).within(fewest.num_bytes) == Point(
        (0, 0), fewest.num_bytes, pytest.approx(0.01)
    )


def test_what_rows_as_they_are_would_be_looked_up_with_counts_against_them() -> None:
    """Codes that take two bytes more than the rows, but no lookup of their own."""
    sizes = {"large": 2000, "small": 1}
    merged = MergedTable({"large": 0, "small": 2000}, sizes, (0, 2000, 2000))
    large = Part("table", "large", ("large",), 0, 2000, 1, (0,))
    small = Part("table", "small", ("small", "twice"), 2000, 1, 1, (1, 2))
    menu = (Int4("field"), Float32())
    parts = Parts((large, small), {"table": merged}, lookup_bytes=1500)
    assert parts.bytes_added(1, menu[0]) > parts.bytes_alone(small, menu[1])
    fewest = Allocation(parts, menu, {}).smallest()
    assert fewest.chosen == (0, 0) and fewest.num_bytes < parts.num_bytes([menu[0], menu[1]])
    assert Allocation(replace(parts, lookup_bytes=0), menu, {}).smallest().chosen == (0, 1)


def test_fields_of_26_million_rows_may_share_rows() -> None:
    """In one table, of more ids than float32 tells apart."""
    rows, codec = 2**20, Hashed(1024)
    starts = {f"id_{number}": number * rows for number in range(26)}
    merged = MergedTable(starts, dict.fromkeys(starts, rows), tuple(starts.values()))
    each = [Part("table", name, (name,), start, rows, 16, (n,)) for n, (name, start) in enumerate(starts.items())]
    found = Parts(tuple(each), {"table": merged}).num_bytes([codec] * 26)
    assert found == codec.num_bytes(26 * rows, 16, merged.fields(list(starts))) == 4 * 16 * (2 * 1024 + 26)


@pytest.mark.parametrize(
    "setting", [{"rows": 1.5}, {"rows": 0}, {"measured": 2.5}, {"measured": True}, {"lookup_bytes": 1e3}], ids=repr
)
def test_numbers_of_things_are_whole(setting: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=rf"{next(iter(setting))} is.*Expected a whole number of at least.*Fix:"):
        AllocateTables(max_bytes=1_000, **setting)


def test_layers_of_their_own_share_no_lookup() -> None:
    data = prepare(click_table(), click_schema(), split=RandomSplit(seed=0), batch_size=128)
    model = STYLES["plain"](data.schema)
    parts = parts_of(model, data.schema)
    each = [MENU[number % 3] for number in range(len(parts.each))]
    with_operators = type(parts)(parts.each, parts.merged, lookup_bytes=1000)
    assert len(parts.each) > 1 and with_operators.num_bytes(each) == parts.num_bytes(each)
