"""Head, body and tail of each field with a codec of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfshop._keras import keras
from tfshop.compression import EncodeTables, Prune
from tfshop.errors import PlanError
from tfshop.export import chain, convert
from tfshop.export.plan import Plan
from tfshop.runtime import Scorer, read_graph
from tfshop.tables import CodedTable, Float32, Grouped, Int2, Int4, Int8, resolved
from tfshop.tables.codec import Fields

random = np.random.default_rng(3)
TABLE = random.normal(size=(1000, 8)).astype(np.float32)
FIELDS = Fields((0, 3, 600), (2, 0, 1, 0))  # the first field is all head
COUNTS = np.concatenate([[50.0, 30, 20], 1000 / np.arange(1.0, 598), 10 / np.arange(1.0, 401)])
CODEC = Grouped((Float32(), Int8(), Int2("table")), split=(0.5, 0.9))


def lookup(coded: CodedTable, shape: tuple[int, ...]) -> tuple[Any, bytes]:
    """The network of a lookup, and its file."""
    ids = keras.Input(shape, dtype="int32", name="ids")
    model = keras.Model(ids, coded.layer("table")(ids))
    return model, convert(model, "float32", lambda: iter([]))


def test_a_share_of_the_lookups_stays_in_front_in_each_field() -> None:
    made = resolved(CODEC, 1000, 8, COUNTS, FIELDS)
    assert isinstance(made, Grouped)
    first = [max(1, rows) for rows in made.split[0]]
    for rows, part in zip(first, FIELDS.slices(1000), strict=True):
        seen = COUNTS[part] / COUNTS[part].sum()
        assert seen[:rows].sum() >= 0.5 - 1e-9 > seen[: rows - 1].sum() - 1e-9
    assert made.split[0][0] == 1 and made.split[1][0] == 3
    even = resolved(CODEC, 1000, 8, None, FIELDS)
    assert isinstance(even, Grouped) and even.split[0] == (2, 299, 200)
    assert resolved(made, 1000, 8, COUNTS, FIELDS) == made


def test_bytes_are_those_of_the_parts_once_counts_are_known() -> None:
    coded = CODEC.encode(TABLE, COUNTS, fields=FIELDS)
    before = resolved(CODEC, 1000, 8, COUNTS, FIELDS)
    assert coded.codec == before and coded.num_bytes == before.num_bytes(1000, 8, FIELDS)
    assert isinstance(before, Grouped)
    head, body = (sum(rows) for rows in before.split)
    parts = (head, body - head, 1000 - body)
    assert coded.num_bytes == sum(c.num_bytes(n, 8) for c, n in zip(CODEC.codecs, parts, strict=True))
    assert CODEC.num_bytes(1000, 8, FIELDS) == CODEC.encode(TABLE, fields=FIELDS).num_bytes != coded.num_bytes


def test_rows_are_as_their_codec_stores_them() -> None:
    coded = CODEC.encode(TABLE, COUNTS, fields=FIELDS)
    rows, split = coded.decode(), np.array(coded.codec.split)  # type: ignore[attr-defined]
    for field, part in enumerate(FIELDS.slices(1000)):
        own, before = rows[part], TABLE[part]
        head, body = split[:, field]
        assert np.array_equal(own[:head], before[:head]) and not np.array_equal(own[head:], before[head:])
        assert np.abs(own[head:body] - before[head:body]).max(initial=0) < 0.02
    tail = np.concatenate([rows[part][split[1, f] :] for f, part in enumerate(FIELDS.slices(1000))])
    assert len(np.unique(tail)) == 4


@pytest.mark.parametrize("shape", [(), (1,), (6,), (3, 2)])
def test_ids_of_any_shape_find_their_part(shape: tuple[int, ...]) -> None:
    coded = CODEC.encode(TABLE, COUNTS)
    model, file = lookup(coded, shape)
    for ids in (random.integers(0, 1000, (70, *shape)), np.zeros((1, *shape)), np.full((2, *shape), 999)):
        rows = coded.decode()[ids.astype(int)]
        assert np.array_equal(model(ids.astype(np.int32)).numpy(), rows)
        assert np.array_equal(Scorer(file)({"ids": ids.astype(np.int32)}), rows)


def test_rows_at_the_boundaries_of_every_column_are_found() -> None:
    coded = CODEC.encode(TABLE, COUNTS, fields=FIELDS)
    model, file = lookup(coded, (4,))
    starts, ends = np.array(FIELDS.starts), np.array([*FIELDS.starts[1:], 1000])
    edges = np.array([[0, *row] for row in np.array(coded.codec.split)])  # type: ignore[attr-defined]
    near = [starts + e[1:] + step for e in edges for step in (-1, 0, 1)]
    ids = np.stack([np.clip(row, starts, ends - 1) for row in (starts, ends - 1, *near)])
    ids = ids[:, list(FIELDS.columns or ())].astype(np.int32)
    rows = coded.decode()[ids]
    assert np.array_equal(model(ids).numpy(), rows)
    assert np.array_equal(Scorer(file)({"ids": ids}), rows)


def test_a_feature_that_is_all_head_is_looked_up_once() -> None:
    fields = Fields((0, 3), (0, 0, 1))
    coded = Grouped((Int8("table"), Int4("table")), split=(3,)).encode(TABLE, fields=fields)
    _, file = lookup(coded, (3,))
    graph = read_graph(file)
    shapes = sorted(graph.tensors[o.outputs[0]].shape[-2:] for o in graph.operators if o.kind == "GATHER")
    assert shapes == [(1, 4), (3, 8)]  # the second codec decodes one column of three


def test_groups_of_groups_survive_json() -> None:
    inside = Grouped((Int8("field"), Int4()), split=(20,))
    for codec in (Grouped(), CODEC, Grouped((inside, Int2()), split=(0.7,)), Grouped((Int8(), Int2()), ((3, 4),))):
        plan = chain(EncodeTables({"id_0": codec, "id_1": Int8()}), Prune(0.5))
        again = Plan.from_json(plan.to_json())
        assert again == plan and again.passes[0].codec["id_0"] == codec


@pytest.mark.parametrize(
    ("codecs", "split"),
    [
        ((Int8(), Int2()), ()),
        ((Int8(),), ()),
        ((Int8(), Int2()), (1.0,)),
        ((Int8(), Int2()), (0,)),
        ((Int8(), Int2()), (True,)),
        ((Int8(), Int4(), Int2()), (0.9, 0.8)),
        ((Int8(), Int4(), Int2()), (0.9, 300)),
        ((Int8(), "Int2"), (0.9,)),
        ((Int8(), Int2), (0.9,)),
    ],
)
def test_what_is_no_split_is_refused(codecs: Any, split: Any) -> None:
    with pytest.raises(PlanError, match=r"(split is|as a codec).*Expected.*Fix:"):
        Grouped(codecs, split)


def test_rows_of_other_features_are_refused() -> None:
    with pytest.raises(PlanError, match=r"splits 2 features, and the table has 3.*Fix:"):
        Grouped((Int8(), Int2()), ((1, 2),)).encode(TABLE, fields=FIELDS)
