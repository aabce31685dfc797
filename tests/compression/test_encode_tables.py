"""Tables as codes in a network, and in its file."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from foreign.conftest import click_schema, click_table
from foreign.styles import STYLES
from helpers import first_rows, keras_scores
from sklearn.metrics import roc_auc_score as auc

from tfshop._keras import keras
from tfshop.compression import QAT, Candidate, Distill, DropFeatures, EncodeTables, LowRank, Prune
from tfshop.compression._table_codecs import table_codecs
from tfshop.compression.rebuild import copy_model
from tfshop.data import RandomSplit, Splits, prepare
from tfshop.errors import AuditError, PlanError
from tfshop.evaluation.audit import audit_file
from tfshop.export import Export, chain
from tfshop.export.plan import Plan
from tfshop.models import build_model
from tfshop.runtime import Scorer, lookup_tables, read_graph
from tfshop.runtime.inventory import bytes_by_part
from tfshop.tables import (
    Float32,
    Grouped,
    Int2,
    Int4,
    Int8,
    LowRankTable,
    ProductQuantization,
    RareRows,
    RowwiseLookup,
    TableLookup,
    lookup_layers,
)
from tfshop.training import predict


def encoded(model: Any, data: Splits, codec: Any) -> Candidate:
    step = EncodeTables(codec)
    step.check(model, data.schema)
    return step.apply(Candidate(model, data.schema), data, seed=0)


def holds(content: bytes, model: Any) -> bool:
    """Whether the file has the codes of every lookup, byte for byte."""
    constants = {t.data.tobytes() for t in read_graph(content).tensors if t.data is not None}
    codes = [array for layer in lookup_layers(model).values() for array in layer.stored().values()]
    return all(array.tobytes() in constants for array in codes if array.dtype == np.uint8)


@pytest.mark.parametrize("network", ["mlp", "deepfm"])
def test_four_bits_keep_the_auc_and_the_file_holds_them(
    network: str, trained: Callable[[str], Any], clicks: Splits, exported: Callable[[str, str], bytes]
) -> None:
    made = encoded(trained(network), clicks, Int4())
    (record,) = made.history
    labels = clicks.validation.labels[: clicks.validation.num_rows].ravel()
    before = auc(labels, Scorer(exported(network, "float32")).score_split(clicks.validation).ravel())
    sizes = {}
    for mode in ("float32", "int8"):
        content = Export(mode, calibration_rows=512).to_bytes(made.model, clicks)
        assert holds(content, made.model)
        assert auc(labels, Scorer(content).score_split(clicks.validation).ravel()) > before - 3e-3
        assert audit_file(content, made.model, clicks, mode=mode).zeroed_rows == 0
        sizes[mode] = bytes_by_part(content)["tables"]
    assert sizes["float32"] == sizes["int8"] == record.notes["bytes"][1] < 0.3 * record.notes["bytes"][0]
    table = record.notes["tables"][0]
    assert table["layer"] == "table" and 0 < table["distortion"] < 0.02
    assert table["shape"] == [sum(clicks.schema.tables.values()), 8]
    assert made.model.get_layer("table").output.shape == trained(network).get_layer("table").output.shape


def test_features_of_a_merged_table_get_their_own_codecs(trained_mlp: Any, clicks: Splits) -> None:
    """Also where their columns do not stand side by side: the history shares the table of the first id."""
    made = encoded(trained_mlp, clicks, {"id_0": Int8(), "id_2": "Int2"})
    rows = first_rows(clicks.validation.inputs, 200)
    merged = trained_mlp.get_layer("table").get_weights()[0]
    sizes = [clicks.schema.tables[f"id_{n}"] for n in range(3)]
    starts = np.cumsum([0, *sizes])
    probe = keras.Model(made.model.inputs, made.model.get_layer("table").output)
    looked_up = probe(rows).numpy()
    plain = keras.Model(trained_mlp.inputs, trained_mlp.get_layer("table").output)(rows).numpy()
    assert np.array_equal(looked_up[:, 1], plain[:, 1])  # id_1 was not named
    for column, codec, part in ((0, Int8(), 0), (4, Int8(), 0), (2, Int2(), 2)):
        own = merged[starts[part] : starts[part] + sizes[part]]
        error = np.square(looked_up[:, column] - plain[:, column]).mean() / own.var()
        assert 0 < error < (1e-3 if codec == Int8() else 0.3)
    (told,) = made.history[0].notes["tables"]
    assert {block["codec"].split("(")[0]: block["features"] for block in told["blocks"]} == {
        "Int8": ["id_0"],
        "Float32": ["id_1"],
        "Int2": ["id_2"],
    }
    content = Export("int8", calibration_rows=512).to_bytes(made.model, clicks)
    assert holds(content, made.model) and bytes_by_part(content)["tables"] == told["bytes_after"]
    gap = np.abs(Scorer(content)(rows).ravel() - keras_scores(made.model, rows))
    assert gap.mean() < 5e-3


def test_each_feature_of_a_merged_table_reads_its_own_codebooks(trained_mlp: Any, clicks: Splits) -> None:
    codec = ProductQuantization(centroids=16, codebooks="field")
    made = encoded(trained_mlp, clicks, {"id_0": codec, "id_2": codec})
    (told,) = made.history[0].notes["tables"]
    (block,) = [block for block in told["blocks"] if block["codec"].startswith("Product")]
    assert block["features"] == ["id_0", "id_2"] and 0 < block["distortion"] < 0.5
    rows = first_rows(clicks.validation.inputs, 200)
    looked_up, plain = (
        keras.Model(model.inputs, model.get_layer("table").output)(rows).numpy() for model in (made.model, trained_mlp)
    )
    columns = [0, 2, 4]  # of a wrong feature's codebooks the error would be above the variance
    assert np.square(looked_up - plain)[:, columns].mean() < 0.6 * plain[:, columns].var()
    content = Export("int8", calibration_rows=512).to_bytes(made.model, clicks)
    assert holds(content, made.model)
    assert np.abs(Scorer(content)(rows).ravel() - keras_scores(made.model, rows)).mean() < 5e-3


@pytest.mark.parametrize(
    "codec",
    [
        Grouped(),
        {"id_0": Grouped((Int8("field"), Int2()), split=(5,)), "id_2": "Int4"},
        RareRows(Int8(), min_count=3, remap=True),
        {"id_0": RareRows(Int8(), kept=60)},
        Grouped((Int8(), LowRankTable(6)), split=(0.8,)),
        {"id_0": RowwiseLookup(8), "id_2": RowwiseLookup(4)},
        RareRows(RowwiseLookup(4), min_count=3),
    ],
    ids=repr,
)
def test_frequent_and_rare_rows_get_their_own_codecs(codec: Any, trained_mlp: Any, clicks: Splits) -> None:
    made = encoded(trained_mlp, clicks, codec)
    (told,) = made.history[0].notes["tables"]
    layer = made.model.get_layer("table")
    assert told["bytes_after"] == sum(array.nbytes for array in layer.stored().values())
    assert 0 < max(block["distortion"] for block in told["blocks"]) < 0.1
    rows = first_rows(clicks.validation.inputs, 300)
    content = Export("int8", calibration_rows=512).to_bytes(made.model, clicks)
    assert holds(content, made.model)
    audit_file(content, made.model, clicks, mode="int8")
    assert np.abs(Scorer(content)(rows).ravel() - keras_scores(made.model, rows)).mean() < 5e-3


def test_later_passes_leave_the_codes_alone(trained_mlp: Any, clicks: Splits) -> None:
    made = encoded(trained_mlp, clicks, Int4())
    wanted = made.model.get_layer("table").stored()
    current = made
    for step in (LowRank(rank=3), Prune(0.5), QAT()):
        step.check(current.model, current.schema)
        current = step.apply(current, clicks, seed=0)
    (layer,) = [x for x in current.model._flatten_layers() if isinstance(x, TableLookup)]
    assert {key: array.tobytes() for key, array in layer.stored().items()} == {
        key: array.tobytes() for key, array in wanted.items()
    }
    content = Export("int8", calibration_rows=512).to_bytes(current.model, clicks)
    assert holds(content, made.model)
    rows = first_rows(clicks.validation.inputs, 300)
    assert np.abs(Scorer(content)(rows).ravel() - keras_scores(current.model, rows)).mean() < 1e-2


def test_a_pruned_network_keeps_its_zeros(pruned: Candidate, clicks: Splits) -> None:
    made = EncodeTables().apply(pruned, clicks, seed=0)
    kernels = [layer for layer in pruned.model.layers if type(layer) is keras.layers.Dense]
    assert all(
        np.array_equal(layer.get_weights()[0], made.model.get_layer(layer.name).get_weights()[0]) for layer in kernels
    )


@pytest.fixture(scope="module")
def log() -> Splits:
    return prepare(click_table(800), click_schema(), split=RandomSplit(seed=0), batch_size=128)


@pytest.mark.parametrize("codec", [Int8(), RowwiseLookup(4)], ids=repr)
@pytest.mark.parametrize("style", ["plain", "shared_layers", "nested", "interactions", "wide_and_deep"])
def test_networks_of_others_are_coded(style: str, codec: Any, log: Splits) -> None:
    model = STYLES[style](log.schema)
    made = encoded(model, log, codec)
    tables = {x for x in model._flatten_layers() if type(x) is keras.layers.Embedding}
    told = made.history[0].notes
    assert {row["layer"].split("/")[-1] for row in told["tables"]} <= {x.name for x in tables}
    assert len(told["tables"]) + sum("no fewer bytes" in row["reason"] for row in told["left_alone"]) == len(tables)
    content = Export("float32").to_bytes(made.model, log)
    assert holds(content, made.model) and lookup_layers(made.model)
    scores = Scorer(content, schema=log.schema).score_split(log.validation)
    np.testing.assert_allclose(scores.ravel(), predict(made.model, log.validation).ravel(), atol=1e-5)
    assert ("EMBEDDING_LOOKUP" in read_graph(content).kinds) == (codec == RowwiseLookup(4))


def test_one_operator_reads_rows_with_scales_of_their_own_and_the_codes_are_audited(
    trained_mlp: Any, clicks: Splits
) -> None:
    made = encoded(trained_mlp, clicks, RowwiseLookup(4))
    for mode in ("float32", "int8"):
        content = Export(mode, calibration_rows=512).to_bytes(made.model, clicks)
        audited = audit_file(content, made.model, clicks, mode=mode)
        (table,) = lookup_tables(read_graph(content))
        assert [operator.kind for operator in table.operators] == ["EMBEDDING_LOOKUP"]
        assert audited.operators["EMBEDDING_LOOKUP"] == 1 and table.inputs == ("hist_id_0", "ids")
        assert bytes_by_part(content)["tables"] == made.history[0].notes["bytes"][1]
    codes = made.model.get_layer("table").stored()["codes"]
    place = content.index(codes.tobytes()) + codes.size // 2
    spoiled = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    with pytest.raises(AuditError, match=r"table 'table': its codes.*Fix:"):
        audit_file(spoiled, made.model, clicks, mode="int8")


def test_a_file_whose_codes_were_changed_is_refused(trained_mlp: Any, clicks: Splits) -> None:
    made = encoded(trained_mlp, clicks, Int4())
    other = encoded(trained_mlp, clicks, Int4(choice="max"))
    with pytest.raises(AuditError, match=r"table 'table': its codes.*Fix:"):
        audit_file(Export("float32").to_bytes(other.model, clicks), made.model, clicks, mode="float32")


@pytest.mark.parametrize("codec", [Int4(), Grouped(), LowRankTable(3), {"id_0": Int8()}], ids=repr)
def test_lookups_are_as_trainable_as_their_tables(codec: Any, trained_mlp: Any, clicks: Splits) -> None:
    model = copy_model(trained_mlp)
    for trainable in (True, False):
        model.get_layer("table").trainable = trainable
        foreseen = EncodeTables(codec).foreseen(model, clicks.schema)
        for made in (foreseen, encoded(model, clicks, codec).model):
            assert made.get_layer("table").trainable is trainable


def test_plans_with_codecs_survive_json() -> None:
    plan = chain(
        EncodeTables({"id_0": Int8(scale="table"), "name": Int2(), "shop": RowwiseLookup(4)}),
        Prune(0.5),
        Export("int8"),
    )
    again = Plan.from_json(plan.to_json())
    assert again == plan and again.passes[0].codec["id_0"] == Int8(scale="table")
    assert again.passes[0].codec["shop"] == RowwiseLookup(4, "least squares")
    assert Plan.from_json(chain(EncodeTables(Float32())).to_json()).passes[0].codec == Float32()


@pytest.mark.parametrize("step", [Distill(), DropFeatures(("id_0",))])
def test_what_would_undo_the_codes_is_refused_after_them(step: Any) -> None:
    with pytest.raises(PlanError, match=r"comes after EncodeTables and would undo its coded tables"):
        chain(EncodeTables(), step, Export("int8"))


@pytest.mark.parametrize("codec", ["Int5", {}, None, Int4, {"id_0": 3}, {"name": "Int4", "bits": 3}])
def test_what_is_no_codec_is_refused(codec: Any) -> None:
    with pytest.raises(PlanError, match=r"(Expected a codec|cannot be made).*Fix:"):
        EncodeTables(codec)


def several_read(schema: Any, *features: str) -> Any:
    """One Embedding for several features, as others share it."""
    inputs = {name: keras.Input((1,), dtype="int32", name=name) for name in features}
    shared = keras.layers.Embedding(sum(schema.tables.values()), 4, name="both")
    hidden = keras.layers.Flatten()(keras.layers.Concatenate()([shared(ids) for ids in inputs.values()]))
    return keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(hidden), name="shared")


def test_a_table_of_several_features_is_not_coded_for_one_of_them(clicks: Splits) -> None:
    """Where its rows cannot be told apart; in a merged table the others would stay in float."""
    both = several_read(clicks.schema, "id_0", "id_1")
    message = r"names id_0, but id_0, id_1, hist_id_0 all read layer 'both'.*Expected.*Fix: name the layer"
    with pytest.raises(PlanError, match=message):
        EncodeTables({"id_0": Int8()}).check(both, clicks.schema)
    for codec in ({"id_0": Int8(), "id_1": Int8()}, {"both": Int8()}):
        assert table_codecs(both, clicks.schema, codec).codecs == {"both": Int8()}
    one = several_read(clicks.schema, "id_0", "hist_id_0")
    assert table_codecs(one, clicks.schema, {"id_0": Int8()}).codecs == {"both": Int8()}


def test_one_of_several_features_of_a_tower_is_coded_alone(clicks: Splits) -> None:
    towers = build_model("two_tower", clicks.schema, item=("id_1",), dimension=4, hidden=(8,))
    asked = table_codecs(towers, clicks.schema, {"id_2": Int8()})
    assert asked.codecs == {"user_table": {"id_0": Float32(), "id_2": Int8()}}
    assert set(table_codecs(towers, clicks.schema, {"user_table": Int8()}).codecs) == {"user_table"}


def test_names_that_no_table_goes_by_are_refused(trained_mlp: Any, clicks: Splits) -> None:
    with pytest.raises(PlanError, match=r"names 'id_9'.*Expected some of id_0.*table.*Fix:"):
        EncodeTables({"id_9": Int4()}).check(trained_mlp, clicks.schema)
    for codecs in ({"id_0": Int4(), "hist_id_0": Int8()}, {"hist_id_0": Int8(), "id_0": Int4()}):
        told = ", ".join(f"{name}: {codec!r}" for name, codec in codecs.items())
        with pytest.raises(PlanError, match=rf"gives table 'id_0' several codecs: {re.escape(told)}.*Fix:"):
            EncodeTables(codecs).check(trained_mlp, clicks.schema)
    made = encoded(trained_mlp, clicks, {"table": Int4()}).model
    with pytest.raises(PlanError, match=r"finds no table in 'mlp'.*Fix:"):
        EncodeTables().check(made, clicks.schema)
    tall = build_model("deepfm", clicks.schema, dimension=4, hidden=(8,))
    left = encoded(tall, clicks, {"table": Int4()}).history[0].notes["left_alone"]
    assert "no codec was named for it" in {row["reason"] for row in left if row["class"] == "Embedding"}
