"""Codecs of codes into codebooks: what more codes, counts, fields and row scales do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tfshop._keras import keras
from tfshop.compression import EncodeTables
from tfshop.errors import PlanError
from tfshop.export import Export, chain, convert
from tfshop.export.plan import Plan
from tfshop.runtime import Scorer, read_graph
from tfshop.tables import ProductQuantization, ResidualQuantization
from tfshop.tables.codec import Fields
from tfshop.tables.residual_quantization import _first_books, best_sums, refitted

random = np.random.default_rng(5)
ROWS = 1500
DIRECTIONS = random.normal(size=(ROWS, 12))
TABLE = (DIRECTIONS * np.exp(random.normal(size=(ROWS, 1)))).astype(np.float32)
both = pytest.mark.parametrize("kind", [ProductQuantization, ResidualQuantization])


def small(kind: Any, **settings: Any) -> Any:
    return kind(**{"codes": 3, "centroids": 32, **settings})


@both
@pytest.mark.parametrize("scale", [None, "row"])
def test_more_codes_and_centroids_never_raise_the_distortion(kind: Any, scale: str | None) -> None:
    by_codes = [small(kind, codes=n, scale=scale).encode(TABLE).distortion(TABLE) for n in (1, 2, 3, 4)]
    assert by_codes == sorted(by_codes, reverse=True) and by_codes[-1] < 0.5 * by_codes[0]
    by_size = [small(kind, centroids=n, scale=scale).encode(TABLE).distortion(TABLE) for n in (4, 16, 64, 256)]
    assert by_size == sorted(by_size, reverse=True) and by_size[-1] < 0.5 * by_size[0]


@both
def test_rows_that_are_seen_are_kept_better(kind: Any) -> None:
    counts = np.where(np.arange(ROWS) < 300, 1000.0, 0.0)
    plain, weighted = (small(kind).encode(TABLE, seen) for seen in (None, counts))
    assert weighted.distortion(TABLE, counts) < 0.7 * plain.distortion(TABLE, counts)
    assert weighted.distortion(TABLE) > plain.distortion(TABLE)


@both
@pytest.mark.parametrize("scale", [None, "row"])
def test_codebooks_of_their_own_serve_fields_that_differ(kind: Any, scale: str | None) -> None:
    even = np.arange(12) % 2 == 0  # one field has numbers where the other has none
    half = ROWS // 2
    rows = np.concatenate([TABLE[:half] * even, TABLE[half:] * ~even]).astype(np.float32)
    fields = Fields((0, half), (1, 0, 0))
    shared, own = (
        small(kind, codebooks=books, scale=scale).encode(rows, fields=fields) for books in ("shared", "field")
    )
    assert own.distortion(rows) < 0.8 * shared.distortion(rows)
    assert own.arrays["codes"].nbytes == shared.arrays["codes"].nbytes
    assert own.arrays["codebooks"].nbytes == 2 * shared.arrays["codebooks"].nbytes
    alone = small(kind, scale=None).encode(rows[:half])
    again = small(kind, codebooks="field").encode(rows, fields=fields)
    assert np.array_equal(again.rows(np.arange(half)), alone.decode())


@both
def test_a_row_scale_serves_rows_of_very_different_length(kind: Any) -> None:
    plain, scaled = (small(kind, scale=scale).encode(TABLE) for scale in (None, "row"))
    assert scaled.num_bytes == plain.num_bytes + ROWS + scaled.arrays["levels"].nbytes
    assert scaled.distortion(TABLE) < 0.7 * plain.distortion(TABLE)
    alike = (TABLE / np.linalg.norm(TABLE, axis=1, keepdims=True)).astype(np.float32)
    longer = (alike * np.geomspace(1e-3, 1e3, ROWS)[:, None]).astype(np.float32)
    made = small(kind, scale="row").encode(longer).decode()
    shares = np.square(made - longer).sum(axis=1) / np.square(longer).sum(axis=1)
    assert np.median(shares) < 0.5  # also of the small rows


@both
def test_codes_repeat_by_seed(kind: Any) -> None:
    made = [small(kind).encode(TABLE, seed=seed).arrays for seed in (1, 1, 2)]
    assert all(np.array_equal(made[0][key], made[1][key]) for key in made[0])
    assert not np.array_equal(made[0]["codes"], made[2]["codes"])


@both
def test_tables_of_fewer_rows_than_centroids_are_exact(kind: Any) -> None:
    coded = kind().encode(TABLE[:20])
    assert coded.arrays["codebooks"].shape[0] == 20 * coded.arrays["codes"].shape[1]
    assert coded.distortion(TABLE[:20]) < 1e-10


@pytest.mark.parametrize(
    ("codes", "dimension", "cut"), [(4, 16, (4, 4)), (4, 7, (4, 2)), (4, 9, (3, 3)), (8, 3, (3, 1))]
)
def test_dimensions_that_cannot_be_cut_evenly_are_filled_up(codes: int, dimension: int, cut: tuple[int, int]) -> None:
    codec = ProductQuantization(codes)
    assert codec.cut(dimension) == cut
    coded = codec.encode(np.concatenate([TABLE, TABLE], axis=1)[:, :dimension])
    assert coded.arrays["codes"].shape[1] == cut[0] and coded.arrays["codebooks"].shape == (cut[0] * 256, cut[1])
    spare = cut[0] * cut[1] - dimension
    assert not spare or not coded.arrays["codebooks"][-256:, -spare:].any()


def test_least_squares_lower_the_error_and_leave_unused_centroids() -> None:
    books = random.normal(size=(2, 16, 12)).astype(np.float32)
    codes = best_sums(TABLE, books)
    codes[codes[:, 0] == 3, 0] = 4
    weights = np.linspace(1, 5, ROWS)

    def error(books: np.ndarray) -> float:
        return float(weights @ np.square(TABLE - books[0, codes[:, 0]] - books[1, codes[:, 1]]).sum(axis=1))

    better = refitted(TABLE, weights, books, codes)
    assert error(better) < 0.95 * error(books) and np.array_equal(better[0, 3], books[0, 3])
    nudged = [better + step * random.normal(size=books.shape).astype(np.float32) for step in (1e-2, 1e-1)]
    assert all(error(better) < error(other) for other in nudged)


def test_codebooks_and_codes_learned_in_turns_beat_those_of_one_turn() -> None:
    weights = np.ones(ROWS)

    def error(books: np.ndarray, codes: np.ndarray) -> float:
        return float(np.square(TABLE - sum(book[codes[:, number]] for number, book in enumerate(books))).sum())

    first = _first_books(TABLE, weights, (3, 32), 0)
    codes = best_sums(TABLE, first)
    once = refitted(TABLE, weights, first, codes)
    assert error(*small(ResidualQuantization).learned(TABLE, weights, 32, 0)) < 0.97 * error(once, codes)


def test_a_beam_finds_better_sums_than_greed() -> None:
    books = random.normal(size=(3, 16, 12)).astype(np.float32)
    left, total = TABLE.copy(), np.zeros_like(TABLE)
    for book in books:
        picked = book[np.square(left[:, None] - book).sum(axis=2).argmin(axis=1)]
        left, total = left - picked, total + picked
    codes = best_sums(TABLE, books)
    made = sum(book[codes[:, n]] for n, book in enumerate(books))
    assert np.square(TABLE - made).sum() < 0.97 * np.square(TABLE - total).sum()


@both
@pytest.mark.parametrize("shape", [(), (4,), (None,), (None, 3)])
def test_ids_of_any_shape_are_looked_up(kind: Any, shape: tuple[int | None, ...]) -> None:
    coded = small(kind, scale="row").encode(TABLE)
    ids = keras.Input(shape, dtype="int32", name="ids")
    model = keras.Model(ids, keras.layers.Activation("linear", name="rows")(coded.layer("table")(ids)))
    drawn = random.integers(0, ROWS, (5, *(size or 2 for size in shape))).astype(np.int32)
    wanted = coded.decode()[drawn]
    assert np.array_equal(model(drawn).numpy(), wanted)
    if None not in shape:
        assert np.array_equal(Scorer(convert(model, "float32"))({"ids": drawn}).reshape(wanted.shape), wanted)


def test_one_operator_reads_all_codebooks() -> None:
    ids = keras.Input((6,), dtype="int32", name="ids")
    fields = Fields((0, 1000), (0, 1, 1, 0, 1, 0))
    coded = ProductQuantization(codebooks="field", centroids=32).encode(TABLE, fields=fields)
    graph = read_graph(convert(keras.Model(ids, coded.layer("table")(ids)), "float32"))
    assert [operator.kind for operator in graph.operators] == ["GATHER", "CAST", "ADD", "GATHER", "RESHAPE"]


@both
@pytest.mark.parametrize("books", ["shared", "field"])
def test_a_lookup_gives_its_rows_whatever_column_they_come_from(kind: Any, books: str) -> None:
    coded = small(kind, codebooks=books, scale="row").encode(TABLE, fields=Fields((0, 1000), (0, 1, 1)))
    assert np.array_equal(coded.layer("table").table(), coded.decode())


def test_plans_survive_json() -> None:
    codecs = {"item": ProductQuantization(2, codebooks="field"), "shop": ResidualQuantization(scale="row")}
    plan = chain(EncodeTables(codecs), Export("int8"))
    assert Plan.from_json(plan.to_json()) == plan


@both
@pytest.mark.parametrize(
    "change",
    [{"codes": 0}, {"codes": True}, {"centroids": 257}, {"centroids": 1}, {"codebooks": "column"}, {"scale": "table"}],
)
def test_settings_out_of_range_are_refused(kind: Any, change: dict[str, object]) -> None:
    with pytest.raises(PlanError, match=f"{next(iter(change))} is.*Expected.*Fix:"):
        kind(**change)
