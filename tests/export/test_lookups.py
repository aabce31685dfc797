"""Lookups of coded tables in the modes that leave nothing alone by themselves: every bit there, or refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from helpers import keras_scores

from tfshop._keras import keras
from tfshop.compression import AllocateTables, Candidate, EncodeTables
from tfshop.data import Splits
from tfshop.errors import AuditError, ExportError, PlanError
from tfshop.evaluation.audit import audit_file
from tfshop.evaluation.coded_tables import require_codes
from tfshop.export import Export, chain, convert
from tfshop.runtime import Scorer, read_graph
from tfshop.runtime.float_operators import with_float_operators
from tfshop.runtime.stripping import stripped
from tfshop.tables import CODECS, Codec, CodedTable, LowRankTable, ProductQuantization, lookup_layers
from tfshop.tables.codec import Fields

MODES = ("float32", "float16", "dynamic", "int8")
ROWS, WIDTH = 400, 16
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "Hashed": {"buckets": 65_536, "hashes": 1},  # more than float16 reaches
    "QuotientRemainder": {"buckets": 64},
    "RareRows": {"min_count": 3},
}
each_mode = pytest.mark.parametrize("mode", MODES)


def codec(name: str) -> Codec:
    made: Codec = CODECS[name](**SETTINGS.get(name, {}))
    return made


@cache
def coded_table(column: int, name: str) -> CodedTable:
    rows = (np.random.default_rng(column).normal(size=(ROWS, WIDTH)) * 0.05).astype(np.float32)
    return codec(name).encode(rows, np.arange(ROWS, 0.0, -1))


@cache
def network(*, coded: bool = True) -> Any:
    """A column of ids for each codec, and the rows that it looks up beside the score; or their rows uncoded."""
    ids = keras.Input((len(CODECS),), dtype="int32", name="ids")
    rows = {}
    for column, name in enumerate(CODECS):
        made, path = coded_table(column, name), f"{name}_table"
        layer = made.layer(path) if coded else keras.layers.Embedding(ROWS, WIDTH, weights=[made.decode()], name=path)
        rows[name] = layer(ids[:, column : column + 1])
    flat = keras.layers.Flatten()(keras.layers.Concatenate()(list(rows.values())))
    keras.utils.set_random_seed(0)
    hidden = keras.layers.Dense(32, activation="relu", name="first")(flat)
    score = keras.layers.Dense(1, activation="sigmoid", name="probability")(hidden)
    given = {name: keras.layers.Activation("linear", name=name)(value) for name, value in rows.items()}
    return keras.Model(ids, {"probability": score, **given}, name="network")


def batch() -> dict[str, np.ndarray]:
    return {"ids": np.random.default_rng(1).integers(0, ROWS, (256, len(CODECS))).astype(np.int32)}


def batches() -> Iterator[Mapping[str, np.ndarray]]:
    yield batch()


@cache
def content(mode: str, *, coded: bool = True) -> bytes:
    return convert(network(coded=coded), mode, batches)


@each_mode
@pytest.mark.parametrize("strip", [False, True])
def test_every_array_of_every_codec_is_in_the_file_to_the_bit(mode: str, strip: bool) -> None:
    graph = read_graph(stripped(content(mode)) if strip else content(mode))
    held = {
        vector.tobytes() for t in graph.tensors for vector in (t.data, t.scales, t.zero_points) if vector is not None
    }
    for path, layer in lookup_layers(network()).items():
        for key, array in layer.stored().items():
            is_nothing = key == "starts" and not array.any()  # added to each code
            assert is_nothing or array.tobytes() in held, (path, key)
    require_codes(graph, network())


def test_numbers_that_change_nothing_need_not_be_in_the_file() -> None:
    """The converter leaves out what adds zero: codes of single numbers have one codebook, which starts there."""
    rows = np.random.default_rng(0).normal(size=(ROWS, 1)).astype(np.float32)
    layer = ProductQuantization(4).encode(rows, fields=Fields((0, 100, 200), (0, 1, 2))).layer("table")
    ids = keras.Input((3,), dtype="int32", name="ids")
    score = keras.layers.Dense(1, activation="sigmoid", name="probability")(keras.layers.Flatten()(layer(ids)))
    model = keras.Model(ids, score)
    assert layer.stored()["starts"].shape == (3, 1) and not layer.stored()["starts"].any()
    require_codes(read_graph(convert(model, "float32")), model)


@each_mode
def test_the_file_looks_up_the_rows_that_were_coded(mode: str) -> None:
    found, ids = Scorer(content(mode))(batch()), batch()["ids"]
    for column, name in enumerate(CODECS):
        wanted = coded_table(column, name).decode()[ids[:, column]]
        np.testing.assert_allclose(found[name].reshape(wanted.shape), wanted, rtol=1e-6, atol=1e-9, err_msg=name)


@pytest.mark.parametrize("mode", ["float16", "dynamic"])
def test_scores_are_as_near_as_those_of_the_network_without_codes(mode: str) -> None:
    def gap(*, coded: bool) -> float:
        wanted = network(coded=coded)(batch())["probability"].numpy()
        return float(np.abs(Scorer(content(mode, coded=coded))(batch())["probability"].ravel() - wanted.ravel()).max())

    assert gap(coded=True) < 2 * gap(coded=False) + 1e-6


@pytest.mark.parametrize(("mode", "dtype"), [("float16", "float16"), ("dynamic", "int8")])
def test_other_layers_are_as_the_mode_makes_them(mode: str, dtype: str) -> None:
    """And what the converter made of the lookups is gone; RowwiseLookup has integers and halves of its own."""
    rounded = {t.shape for t in read_graph(content(mode)).tensors if t.is_constant and t.dtype == dtype}
    assert (32, WIDTH * len(CODECS)) in rounded
    assert rounded <= {(32, WIDTH * len(CODECS)), (1, 32), (ROWS, 1), (ROWS, WIDTH)}


@pytest.mark.parametrize("mode", ["float16", "dynamic", "int8"])
def test_a_model_may_be_called_as_its_table_is(mode: str) -> None:
    """The name of the model stands before those of all operators."""
    ids = keras.Input((1,), dtype="int32", name="ids")
    flat = keras.layers.Flatten()(coded_table(0, "Int4").layer("item")(ids))
    hidden = keras.layers.Dense(128, activation="relu", name="first")(flat)
    model = keras.Model(ids, keras.layers.Dense(1, activation="sigmoid", name="probability")(hidden), name="item")
    graph = read_graph(convert(model, mode, lambda: iter([{"ids": batch()["ids"][:, :1]}])))
    (kernel,) = (t for t in graph.tensors if t.is_constant and t.shape == (128, WIDTH))
    assert kernel.dtype == ("float16" if mode == "float16" else "int8")


def test_a_file_is_left_alone_where_nothing_named_was_rounded() -> None:
    exact = content("float32")
    assert with_float_operators(exact, exact, ["first"]) is exact
    assert with_float_operators(content("dynamic"), exact, []) is content("dynamic")


def test_what_others_read_stays_rounded_beside_its_float_twin() -> None:
    """Halves that two operators read, of which one is put back."""
    ids = keras.Input((1,), dtype="int32", name="ids")
    shared = keras.layers.Embedding(ROWS, WIDTH, name="table")
    one, two = shared(ids), shared((ids + 7) % ROWS)
    flat = keras.layers.Flatten()(keras.layers.Concatenate()([one, two]))
    model = keras.Model(ids, keras.layers.Dense(1, activation="sigmoid", name="probability")(flat))
    exact, halves = convert(model, "float32"), convert(model, "float16")
    graph = read_graph(exact)
    first, second = (o for o in graph.operators if o.kind == "GATHER")
    changed = read_graph(with_float_operators(halves, exact, [graph.tensors[first.outputs[0]].name]))
    tables = [t for t in changed.tensors if t.is_constant and t.shape == (ROWS, WIDTH)]
    assert sorted(t.dtype for t in tables) == ["float16", "float32"] and second.inputs[0] == first.inputs[0]
    (whole,) = (t for t in tables if t.dtype == "float32")
    assert np.array_equal(whole.values(), shared.get_weights()[0])
    rows = {"ids": np.arange(ROWS, dtype=np.int32)[:, None]}
    scores = Scorer(with_float_operators(halves, exact, [graph.tensors[first.outputs[0]].name]))(rows)
    np.testing.assert_allclose(scores, keras_scores(model, rows), atol=1e-3)


def test_files_of_two_networks_are_told_apart() -> None:
    ids = keras.Input((1,), dtype="int32", name="ids")
    other = convert(keras.Model(ids, keras.layers.Embedding(ROWS, 2, name="rows")(ids)), "float32")
    with pytest.raises(ExportError, match=r"operators that are not those of.*Fix: Export\('int8'\)"):
        with_float_operators(content("float16"), other, [])


@pytest.mark.parametrize(
    ("coding", "key", "mode"),
    [(ProductQuantization(4), "codebooks", "dynamic"), (LowRankTable(4), "rows_levels", "float16")],
)
def test_a_file_whose_floats_were_changed_is_refused(
    coding: Codec, key: str, mode: str, trained_mlp: Any, clicks: Splits
) -> None:
    made = EncodeTables(coding, fold=False).apply(Candidate(trained_mlp, clicks.schema), clicks, seed=0).model
    file = Export(mode, strip=True).to_bytes(made, clicks)
    audited = audit_file(file, made, clicks, mode=mode)
    assert audited.parity_gap_max < (1e-3 if mode == "float16" else 2e-2)
    (layer,) = lookup_layers(made).values()
    place = file.index(layer.stored()[key].tobytes())
    spoiled = file[:place] + bytes([file[place] ^ 1]) + file[place + 1 :]
    with pytest.raises(AuditError, match=rf"table 'table': its {key} \(float32 .* are not in the file.*Fix:"):
        audit_file(spoiled, made, clicks, mode=mode)


@pytest.mark.parametrize("step", [EncodeTables("Int4"), AllocateTables(max_bytes=0.2)], ids=str)
def test_int16_is_refused_before_anything_is_done(step: Any, trained_mlp: Any, clicks: Splits) -> None:
    chain(step, Export("int8")).check(trained_mlp, clicks.schema)
    plan = chain(step, Export("int16x8"))
    with pytest.raises(PlanError, match=r"step 2 \(Export\): .*'table', a coded table: .*Fix: Export\('int8'\)\."):
        plan.check(trained_mlp, clicks.schema)


def test_int16_of_a_coded_network_is_not_converted() -> None:
    with pytest.raises(ExportError, match=r"'network' does not convert to int16x8, for '.+_table', a coded table"):
        convert(network(), "int16x8", batches)
