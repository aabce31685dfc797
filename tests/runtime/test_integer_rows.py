"""EMBEDDING_LOOKUP in the place of what the converter made: same rows, same file around it."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tfshop._keras import keras
from tfshop.errors import ExportError, ScoringError
from tfshop.numerics.integer_rows import IntegerRows, packed_in_order, unpacked_in_order
from tfshop.runtime import Scorer, read_graph, walk_from_input
from tfshop.runtime.integer_rows import with_integer_rows
from tfshop.runtime.structure import OpenFile
from tfshop.tables import CodedTable, Int8, RowwiseLookup
from tfshop.tables.blocks import Block, block_layer
from tfshop.tables.codec import Fields

conversion: Any = import_module("tfshop.export.convert")  # `tfshop.export.convert` is the function
ROWS, WIDTH, COLUMNS = 2000, 10, 4
CHAIN = {"GATHER", "CAST", "MUL", "FLOOR", "SUB", "BITCAST", "PACK"}
each_width = pytest.mark.parametrize("bits", [8, 4, 2])


def table(seed: int = 0) -> np.ndarray:
    """Rows of very different sizes; of some the scales are subnormal in float16, or zero."""
    random = np.random.default_rng(seed)
    made = random.normal(size=(ROWS, WIDTH)) * np.exp(2 * random.normal(size=(ROWS, 1))) * 0.05
    made[:3] = 0
    made[3:9] *= 1e-6
    return made.astype(np.float32)


@cache
def coded(bits: int) -> CodedTable:
    return RowwiseLookup(bits).encode(table())


def inputs(batch: int = 64) -> dict[str, np.ndarray]:
    random = np.random.default_rng(1)
    ids = random.integers(0, ROWS, (batch, COLUMNS)).astype(np.int32)
    ids[0] = 0, 1, 3, ROWS - 1
    return {"ids": ids, "price": random.normal(size=(batch, 2)).astype(np.float32)}


def network(lookup: Any) -> Any:
    ids, price = keras.Input((COLUMNS,), dtype="int32", name="ids"), keras.Input((2,), name="price")
    rows = lookup(ids)
    hidden = keras.layers.Concatenate()([keras.layers.Flatten()(rows), price])
    hidden = keras.layers.Dense(16, activation="relu", name="first")(hidden)
    score = keras.layers.Dense(1, activation="sigmoid", name="probability")(hidden)
    keras.utils.set_random_seed(0)
    outputs = {"probability": score, "rows": keras.layers.Activation("linear", name="rows")(rows)}
    return keras.Model([ids, price], outputs, name="network")


def convert(model: Any, mode: str = "float32") -> bytes:
    return conversion.convert(model, mode, lambda: iter([inputs()]))


@cache
def looking_up(bits: int) -> Any:
    return network(coded(bits).layer("table"))


@cache
def content(bits: int, mode: str = "float32") -> bytes:
    return convert(looking_up(bits), mode)


def reference(file: bytes, batch: dict[str, np.ndarray]) -> np.ndarray:
    """Rows by the reference kernels, without any delegate."""
    interpreter = Interpreter(model_content=file, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    runner = interpreter.get_signature_runner()
    return np.asarray(runner(**batch)["rows"])


@each_width
@pytest.mark.parametrize("mode", ["float32", "float16", "dynamic", "int8"])
@pytest.mark.parametrize("batch", [1, 7, 512])
def test_rows_are_those_of_the_codes_to_the_last_bit_with_every_kernel(bits: int, mode: str, batch: int) -> None:
    own = inputs(batch)
    wanted = coded(bits).decode()[own["ids"]]
    assert np.array_equal(Scorer(content(bits, mode))(own)["rows"], wanted)
    assert np.array_equal(reference(content(bits, mode), own), wanted)


@each_width
@pytest.mark.parametrize("mode", ["float32", "int8"])
def test_one_operator_looks_up_and_nothing_else_of_the_file_changes(
    bits: int, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = read_graph(content(bits, mode))
    assert graph.kinds["EMBEDDING_LOOKUP"] == 1 and not CHAIN & set(graph.kinds)
    assert walk_from_input(graph, "ids").losses == ()
    monkeypatch.setattr(conversion, "with_integer_rows", lambda file, _: file)
    plain = convert(looking_up(bits), mode)
    before = read_graph(plain)
    assert before.kinds["GATHER"] == 2
    assert (list(before.inputs), list(before.outputs)) == (list(graph.inputs), list(graph.outputs))
    was = {t.name: t for t in before.tensors}
    for tensor in graph.tensors:
        if "table" in tensor.name and tensor.is_constant and tensor.shape[0] == ROWS:
            continue
        old = was[tensor.name]
        assert (tensor.shape_signature, tensor.dtype) == (old.shape_signature, old.dtype)
        assert (tensor.data is None) == (old.data is None)
        assert tensor.data is None or tensor.data.tobytes() == old.data.tobytes()
        assert np.array_equal(tensor.scales, old.scales) and np.array_equal(tensor.zero_points, old.zero_points)
    old, new = (schema.Model.GetRootAs(file) for file in (plain, content(bits, mode)))
    assert new.MetadataLength() == old.MetadataLength() > 0
    assert new.SignatureDefs(0).SignatureKey() == old.SignatureDefs(0).SignatureKey()


@each_width
def test_the_file_grows_by_what_was_foretold_and_constants_begin_where_they_should(bits: int) -> None:
    file = content(bits)
    model, start = schema.Model.GetRootAs(file), np.frombuffer(file, np.uint8).ctypes.data
    held = [model.Buffers(i).DataAsNumpy() for i in range(model.BuffersLength())]
    assert {(b.ctypes.data - start) % 16 for b in held if isinstance(b, np.ndarray) and b.size} == {0}
    assert 0 < len(file) - RowwiseLookup(bits).num_bytes(ROWS, WIDTH) < 12_000
    small = convert(network(RowwiseLookup(bits).encode(table()[: ROWS // 2]).layer("table")))
    assert len(file) - len(small) == pytest.approx(RowwiseLookup(bits).num_bytes(ROWS // 2, WIDTH), abs=64)


@pytest.mark.parametrize(("bad", "said"), [(-1, "ids of 0 or more"), (ROWS, "ids below 2,000")])
def test_ids_past_the_end_are_refused_as_by_other_lookups(bad: int, said: str) -> None:
    own = inputs(3)
    own["ids"][1, 2] = bad
    for file in (content(8), content(4), convert(network(Int8().encode(table()).layer("table")))):
        with pytest.raises(ScoringError, match=rf"row 1, column 2, {bad}.*{said}.*Fix:"):
            Scorer(file)(own)
        with pytest.raises(RuntimeError, match="out of bounds"):
            reference(file, own)


def test_a_product_with_an_activation_in_it_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conversion, "with_integer_rows", lambda file, _: file)
    file = OpenFile(convert(looking_up(8)))
    *_, product = [o for o in file.operators if o.builtinOptionsType == schema.BuiltinOptions.MulOptions]
    product.builtinOptions.fusedActivationFunction = schema.ActivationFunctionType.RELU
    with pytest.raises(ExportError, match=r"2,000 rows of 8 bits.*Expected.*Fix: Export"):
        with_integer_rows(file.to_bytes(), coded(8).layer("table").integer_rows())


def test_a_file_that_was_opened_and_packed_is_the_same() -> None:
    before, after = read_graph(content(4, "int8")), read_graph(OpenFile(content(4, "int8")).to_bytes())
    assert [(o.kind, o.inputs, o.outputs) for o in before.operators] == [
        (o.kind, o.inputs, o.outputs) for o in after.operators
    ]
    assert [(t.name, t.shape_signature, t.size_bytes, t.parameter_bytes) for t in before.tensors] == [
        (t.name, t.shape_signature, t.size_bytes, t.parameter_bytes) for t in after.tensors
    ]


def convert_ids(model: Any) -> bytes:
    return conversion.convert(model, "float32")


@pytest.mark.parametrize("mode", ["float32", "float16"])
@pytest.mark.parametrize("bits", [8, 4])
def test_tables_of_the_same_codes_keep_their_own_scales_and_shared_ones_are_stored_once(bits: int, mode: str) -> None:
    first, second = keras.Input((2,), dtype="int32", name="first"), keras.Input((3,), dtype="int32", name="second")
    own, double = coded(bits), RowwiseLookup(bits).encode(2 * table())
    assert np.array_equal(own.arrays["codes"][9:], double.arrays["codes"][9:])
    double = CodedTable(double.codec, ROWS, WIDTH, {**double.arrays, "codes": own.arrays["codes"]})
    layer, other = own.layer("own"), double.layer("double")
    looked_up = {"a": layer(first), "b": layer(second), "c": other(first)}
    named = {name: keras.layers.Activation("linear", name=name)(rows) for name, rows in looked_up.items()}
    model = keras.Model([first, second], named)
    file = conversion.convert(model, mode)
    assert read_graph(file).kinds["EMBEDDING_LOOKUP"] == 3
    ids = inputs()["ids"]
    found = Scorer(file)({"first": ids[:, :2], "second": ids[:, 1:]})
    for name, made, asked in (("a", own, ids[:, :2]), ("b", own, ids[:, 1:]), ("c", double, ids[:, :2])):
        assert np.array_equal(found[name], made.decode()[asked])
    assert len(file) < ROWS * (own.arrays["codes"].shape[1] + 2 * (12 if bits == 8 else 2)) + 12_000


def test_blocks_of_a_merged_table_are_looked_up_each_by_its_own_operator() -> None:
    blocks = [
        Block(RowwiseLookup(4).encode(table()[:1500]), [0, 2], [0, 0], [(0, 1500)]),
        Block(RowwiseLookup(8).encode(table()[1500:]), [1, 3], [-1500, -1500], [(1500, 500)]),
    ]
    model = network(block_layer(blocks, ROWS, Fields((0, 1500), (0, 1, 0, 1)), name="table"))
    own = inputs()
    own["ids"] = own["ids"] % 500 + np.array([0, 1500, 1000, 1500], dtype=np.int32)
    file = convert(model)
    assert read_graph(file).kinds["EMBEDDING_LOOKUP"] == 2
    assert np.array_equal(Scorer(file)(own)["rows"], model(own)["rows"].numpy())


def test_ids_of_two_free_sizes_are_looked_up_too() -> None:
    ids = keras.Input((None,), dtype="int32", name="ids")
    rows = coded(4).layer("rows")(ids)
    file = convert_ids(keras.Model(ids, {"rows": rows}))
    assert read_graph(file).kinds["EMBEDDING_LOOKUP"] == 1
    assert np.array_equal(reference(file, {"ids": inputs()["ids"]}), coded(4).decode()[inputs()["ids"]])


def test_a_table_that_is_not_in_the_file_is_refused() -> None:
    with pytest.raises(ExportError, match=r"2,000 rows of 4 bits.*Expected.*Fix: Export"):
        with_integer_rows(content(8), coded(4).layer("table").integer_rows())


@each_width
def test_numbers_come_back_from_their_bytes(bits: int) -> None:
    random = np.random.default_rng(0)
    numbers = random.integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (50, 7)).astype(np.int8)
    packed = packed_in_order(numbers, bits)
    assert packed.shape == (50, -(-7 * bits // 8)) and packed.dtype == np.uint8
    assert np.array_equal(unpacked_in_order(packed, 7, bits), numbers)
    assert IntegerRows(bits, packed, np.ones(50)).shape == (50, {8: 7, 4: 8, 2: 8}[bits])
