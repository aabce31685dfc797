"""What every codec in `CODECS` has to do, in numpy, in Keras and in the file."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from functools import cache
from typing import Any

import numpy as np
import pytest

from tfshop._keras import keras
from tfshop.errors import PlanError
from tfshop.export import convert
from tfshop.runtime import Scorer, read_graph
from tfshop.runtime.inventory import bytes_by_part
from tfshop.tables import (
    CODECS,
    Codec,
    CodedTable,
    Float16,
    Float32,
    Grouped,
    Hashed,
    Int1,
    Int2,
    Int3,
    Int4,
    Int8,
    LowRankTable,
    MemCom,
    ProductQuantization,
    QuotientRemainder,
    RareRows,
    ResidualQuantization,
    RowwiseLookup,
    lookup_layers,
)
from tfshop.tables.codec import Fields

ROWS, WIDTH, COLUMNS = 1000, 16, 5
ODD = 7  # a width that leaves bytes half full
FIELDS = Fields((0, 100, 700), (0, 1, 1, 2, 0))  # two columns look into the second feature's rows, as histories do
VARIANTS: dict[str, Codec] = {
    "Float32": Float32(),
    "Float16": Float16(),
    "Int8": Int8(),
    "Int8 a table": Int8(scale="table", grid="mid-tread"),
    "Int4": Int4(),
    "Int4 a group": Int4(scale=32, choice="max"),
    "Int3": Int3(choice="least squares"),
    "Int2": Int2(),
    "Int2 a table": Int2(scale="table"),
    "Int2 a field": Int2(scale="field"),
    "Int1": Int1(),
    "ProductQuantization": ProductQuantization(),
    "ProductQuantization a field": ProductQuantization(5, 100, codebooks="field", scale="row"),
    "ResidualQuantization": ResidualQuantization(centroids=200),
    "ResidualQuantization a field": ResidualQuantization(3, codebooks="field", scale="row"),
    "Grouped": Grouped(),
    "Grouped by rows": Grouped((Int8("field"), Int4(8), Float32()), split=(90, 350)),
    "Grouped in groups": Grouped((Grouped((Int8(), Int4()), split=(20,)), Int2()), split=(0.7,)),
    "RareRows": RareRows(Int4(), min_count=500),
    "RareRows with a table": RareRows(Float32(), min_count=350, remap=True),
    "Grouped with rare rows": Grouped((Int8(), RareRows(Int4(), min_count=500, remap=True)), split=(0.4,)),
    "LowRankTable": LowRankTable(12),
    "LowRankTable of a step": LowRankTable(13, Int4("table")),
    "Hashed": Hashed(1024),
    "MemCom": MemCom(),
    "QuotientRemainder": QuotientRemainder(64, Int4("table")),
    "RowwiseLookup": RowwiseLookup(),
    "RowwiseLookup of eight bits": RowwiseLookup(8),
    "RowwiseLookup of two bits": RowwiseLookup(2, "max"),
    "Grouped with RowwiseLookup": Grouped((RowwiseLookup(8), Int8(), RowwiseLookup(4)), split=(0.3, 0.6)),
}
ODD_ROWS = {f"rows_{number}": variant for number, variant in enumerate(VARIANTS)}
NO_TABLES = ("scale", "starts", "means", "projection")  # multiplied by and added, not looked up
SHARING = {"RareRows", "Hashed", "QuotientRemainder", "MemCom"}  # rows of several ids: no codec for whole tables
each_codec = pytest.mark.parametrize("variant", VARIANTS)


def table(rows: int = ROWS, width: int = WIDTH) -> np.ndarray:
    """Rows of very different sizes, as training leaves them; the first is zero."""
    random = np.random.default_rng(0)
    made = random.normal(size=(rows, width)) * np.exp(random.normal(size=(rows, 1))) * 0.05
    made[0] = 0
    return made.astype(np.float32)


@cache
def coded(variant: str, width: int = WIDTH) -> CodedTable:
    return VARIANTS[variant].encode(table(width=width), np.arange(ROWS, 0.0, -1), fields=FIELDS)


@cache
def network(variant: str) -> Any:
    """A network that gives the rows themselves, and beside them a Dense layer for int8 to quantize."""
    ids = keras.Input((COLUMNS,), dtype="int32", name="ids")
    rows = coded(variant).layer("table")(ids)
    flat = keras.layers.Flatten()(rows)
    dense = keras.layers.Dense(16, activation="relu", name="first")(flat)
    score = keras.layers.Dense(1, activation="sigmoid", name="probability")(dense)
    keras.utils.set_random_seed(0)
    return keras.Model(ids, {"probability": score, "rows": keras.layers.Activation("linear", name="rows")(rows)})


def drawn_ids(batch: int, seed: int = 0) -> np.ndarray:
    """Ids of the merged table, each column within its field."""
    ends = [*FIELDS.starts[1:], ROWS]
    random = np.random.default_rng(seed)
    columns = [random.integers(FIELDS.starts[field], ends[field], batch) for field in FIELDS.columns or ()]
    return np.stack(columns, axis=1).astype(np.int32)


def every_id() -> np.ndarray:
    return drawn_ids(200)


@cache
def content(variant: str, mode: str) -> bytes:
    return convert(network(variant), mode, lambda: iter([{"ids": every_id()}]))


@cache
def odd_network() -> tuple[Any, Scorer]:
    """The rows of every codec at the odd width, as a network of so many outputs and as its file."""
    ids = keras.Input((COLUMNS,), dtype="int32", name="ids")
    rows = {
        name: keras.layers.Activation("linear", name=name)(coded(variant, ODD).layer(f"{name}_table")(ids))
        for name, variant in ODD_ROWS.items()
    }
    made = keras.Model(ids, rows)
    return made, Scorer(convert(made, "float32"))


@cache
def odd_rows(batch: int) -> list[dict[str, np.ndarray]]:
    """What they give for drawn ids, by variant."""
    inputs = {"ids": drawn_ids(batch, seed=batch)}
    given = [run(inputs) for run in odd_network()]
    return [{variant: np.asarray(rows[name]) for name, variant in ODD_ROWS.items()} for rows in given]


def digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def constants(file: bytes) -> dict[str, int]:
    """SHA-256 of each constant to its bytes; scales and zero points beside a table count."""
    tensors = read_graph(file).tensors
    vectors = [vector for t in tensors for vector in (t.data, t.scales, t.zero_points) if vector is not None]
    return {digest(vector): vector.nbytes for vector in vectors}


def test_every_codec_is_tested_here() -> None:
    assert {codec.name for codec in VARIANTS.values()} == set(CODECS)
    assert all(CODECS[codec.name] is type(codec) for codec in VARIANTS.values())
    assert all(isinstance(codec, Codec) for codec in VARIANTS.values())


@each_codec
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (40, 1), (1000, 16), (300, 7), (2100, 3)])
def test_bytes_are_known_before_anything_is_built(variant: str, shape: tuple[int, int]) -> None:
    codec = VARIANTS[variant]
    made = codec.encode(table(*shape))
    assert made.num_bytes == codec.num_bytes(*shape)
    assert made.decode().shape == shape and made.decode().dtype == np.float32
    assert made.distortion(table(*shape)) < (1 if codec.name in SHARING else 0.6 if variant == "Int1" else 0.4)


@each_codec
@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_the_file_holds_the_codes_bit_for_bit(variant: str, mode: str) -> None:
    found = constants(content(variant, mode))
    arrays = coded(variant).arrays
    assert {digest(array) for array in arrays.values()} <= set(found)
    held = sum(found[digest(array)] for array in arrays.values())
    assert held == coded(variant).codec.num_bytes(ROWS, WIDTH, FIELDS)
    part = bytes_by_part(content(variant, mode))["tables"]
    assert part == held - sum(array.nbytes for name, array in arrays.items() if name.endswith(NO_TABLES))


@each_codec
@pytest.mark.parametrize("batch", [1, 7, 512])
def test_numpy_keras_and_the_file_agree_to_the_last_bit(variant: str, batch: int) -> None:
    ids = drawn_ids(batch, seed=batch)
    wanted = coded(variant).decode()[ids]
    assert np.array_equal(network(variant)({"ids": ids})["rows"].numpy(), wanted)
    assert np.array_equal(Scorer(content(variant, "float32"))({"ids": ids})["rows"], wanted)


@each_codec
@pytest.mark.parametrize("batch", [1, 7, 512])
def test_they_agree_at_an_odd_width_too(variant: str, batch: int) -> None:
    wanted = coded(variant, ODD).decode()[drawn_ids(batch, seed=batch)]
    for found in odd_rows(batch):
        assert np.array_equal(found[variant], wanted)


@each_codec
def test_int8_keeps_the_lookup_in_float_and_quantizes_the_rest(variant: str) -> None:
    file = content(variant, "int8")
    graph = read_graph(file)
    ids = every_id()
    wanted = coded(variant).decode()[ids]
    gap = np.abs(Scorer(file)({"ids": ids})["rows"] - wanted).max()
    assert gap <= np.ptp(wanted) / 255  # one rounding, of the rows that go on
    assert any(o.kind == "FULLY_CONNECTED" and graph.tensors[o.inputs[1]].dtype == "int8" for o in graph.operators)
    assert not graph.custom_operators


@each_codec
def test_the_lookup_saves_and_loads(variant: str, tmp_path: Any) -> None:
    ids = every_id()
    wanted = network(variant)(ids)["rows"].numpy()
    paths = [tmp_path / "model.keras", tmp_path / "model.h5"]
    for path in (*paths, tmp_path / "saved") if variant == "Int3" else paths:
        network(variant).save(path)
        loaded = keras.models.load_model(path)
        assert np.array_equal(loaded(ids)["rows"].numpy(), wanted)
        assert [w.dtype for w in loaded.get_weights()] == [w.dtype for w in network(variant).get_weights()]


@each_codec
def test_the_layer_gives_its_arrays_back_and_trains_none(variant: str) -> None:
    (layer,) = lookup_layers(network(variant)).values()
    assert {name: digest(array) for name, array in layer.stored().items()} == {
        name: digest(array) for name, array in coded(variant).arrays.items()
    }
    assert layer.trainable_weights == []
    assert layer.compute_mask(np.array([0, 1])) is None
    ids = np.arange(ROWS)[::7]
    assert np.array_equal(layer.rows(ids), coded(variant).rows(ids))
    assert layer.table().tobytes() == coded(variant).decode().tobytes()
    masked = coded(variant).layer("masked", mask_zero=True)
    assert masked.compute_mask(np.array([0, 1])).numpy().tolist() == [False, True]


@each_codec
@pytest.mark.parametrize(
    ("rows", "counts"),
    [
        (np.zeros((3,)), None),
        (np.zeros((0, 4)), None),
        (np.full((3, 4), np.nan), None),
        (np.zeros((3, 4)), np.ones(2)),
        (np.zeros((3, 4)), -np.ones(3)),
    ],
)
def test_what_is_no_table_is_refused(variant: str, rows: np.ndarray, counts: Any) -> None:
    with pytest.raises(PlanError, match=rf"{VARIANTS[variant].name}.*Expected.*Fix:"):
        VARIANTS[variant].encode(rows.astype(np.float32), counts)


@each_codec
def test_zeros_and_single_rows_survive(variant: str) -> None:
    codec = VARIANTS[variant]
    assert np.abs(codec.encode(np.zeros((20, 4), dtype=np.float32)).decode()).max() == 0
    assert np.abs(coded(variant).decode()[0]).max() <= 0.5 * np.abs(table()).max()


@each_codec
def test_a_codec_is_frozen_and_equal_by_value(variant: str) -> None:
    codec = VARIANTS[variant]
    same = CODECS[codec.name](**{field.name: getattr(codec, field.name) for field in fields(codec)})
    assert same == codec and hash(same) == hash(codec)
    with pytest.raises(AttributeError):
        codec.scale = 3
