"""Codecs by field within a budget: kept to the byte, spent where the scores need it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from foreign.conftest import click_schema, click_table
from foreign.styles import STYLES
from helpers import first_rows, keras_scores

from tfshop._keras import keras
from tfshop.compression import AllocateTables, Candidate, EncodeTables, TuneTables
from tfshop.compression._table_allocation import Allocation
from tfshop.compression._table_parts import menu_of, parts_of
from tfshop.compression._table_slopes import divergence, loss_of, sampled
from tfshop.compression._table_trials import Trials
from tfshop.data import IdFeature, RandomSplit, Schema, Splits, prepare
from tfshop.errors import PlanError
from tfshop.evaluation.audit import audit_file
from tfshop.export import Export, chain
from tfshop.export.plan import Plan
from tfshop.models import build_model
from tfshop.models.rebuild import inlined
from tfshop.runtime import Scorer, read_graph
from tfshop.tables import (
    Float16,
    Float32,
    Grouped,
    Int2,
    Int4,
    Int8,
    ProductQuantization,
    RareRows,
    RowwiseLookup,
    TableLookup,
    lookup_layers,
)
from tfshop.training import train
from tfshop.training.scoring import mean_auc

BITS = {"Float32": 32, "Int8": 8, "Int4": 4, "Int3": 3, "Int2": 2, "Int1": 1}


def allocated(model: Any, data: Splits, **settings: Any) -> Candidate:
    step = AllocateTables(**{"rows": 1000, "measured": 2, "lookup_bytes": 0, **settings})
    step.check(model, data.schema)
    return step.apply(Candidate(model, data.schema), data, seed=0)


def notes(candidate: Candidate) -> Any:
    return candidate.history[-1].notes


def bits(row: dict[str, Any]) -> int:
    return BITS[row["codec"].split("(")[0]]


@pytest.fixture(scope="module")
def planted() -> tuple[Any, Splits]:
    """A log in which `item` decides, `shop` says a little and `noise` nothing, and a network that has seen it."""
    random = np.random.default_rng(2)
    item, shop, noise = (random.integers(0, 50, 4000) for _ in range(3))
    chances = 1 / (1 + np.exp(-(np.linspace(-3, 3, 50)[item] + np.linspace(-0.5, 0.5, 50)[shop])))
    columns = {"item": item.astype(str), "shop": shop.astype(str), "noise": noise.astype(str)}
    table = pa.table({**columns, "clicked": (random.random(4000) < chances).astype(np.int8)})
    schema = Schema([IdFeature(name) for name in columns], target="clicked")
    data = prepare(table, schema, split=RandomSplit(seed=0), batch_size=128)
    model = build_model("mlp", data.schema, dimension=8, hidden=(32,))
    train(model, data, epochs=6, learning_rate=5e-3)
    return model, data


@pytest.fixture(scope="module")
def uneven(planted: tuple[Any, Splits]) -> Candidate:
    return allocated(*planted, max_bytes=500)


def test_what_matters_gets_the_most_bits_and_what_says_nothing_the_fewest(uneven: Candidate) -> None:
    found = {row["features"][0]: bits(row) for row in notes(uneven)["allocation"]}
    assert found["item"] > found["shop"] >= found["noise"] and found["noise"] <= 2
    (told,) = notes(uneven)["tables"]
    stored = {block["codec"]: block["features"] for block in told["blocks"]}
    for row in notes(uneven)["allocation"]:
        assert row["features"][0] in stored[row["codec"]]


def test_rows_with_scales_of_their_own_are_a_choice_too(planted: tuple[Any, Splits]) -> None:
    """Of 51 rows a field and 8 numbers a row: 20, 6 and 4 bytes a row."""
    made = allocated(*planted, max_bytes=51 * (6 + 2 * 4), codecs=tuple(RowwiseLookup(bits) for bits in (8, 4, 2)))
    chosen = {row["features"][0]: row["codec"] for row in notes(made)["allocation"]}
    assert "bits=4" in chosen["item"] and "bits=2" in chosen["noise"]
    content = Export("float32").to_bytes(made.model, planted[1])
    audited = audit_file(content, made.model, planted[1], mode="float32")
    assert audited.operators["EMBEDDING_LOOKUP"] == len(set(chosen.values()))
    assert notes(made)["bytes"][1] == 51 * (6 + 2 * 4)


def test_uneven_bits_beat_even_ones_of_no_fewer_bytes(uneven: Candidate, planted: tuple[Any, Splits]) -> None:
    model, data = planted
    even = EncodeTables(Int2("field")).apply(Candidate(model, data.schema), data, seed=0)
    uneven = allocated(model, data, max_bytes=even.history[-1].notes["bytes"][1])
    assert notes(uneven)["bytes"][1] <= even.history[-1].notes["bytes"][1]
    sample = first_rows(data.validation.inputs, data.validation.num_rows)
    wanted = keras_scores(model, sample)[None].astype(float)
    losses = [divergence(wanted, keras_scores(made.model, sample)[None].astype(float)) for made in (uneven, even)]
    assert losses[0] < 0.7 * losses[1]


@pytest.mark.parametrize(
    ("network", "codecs"),
    [
        ("deepfm", None),
        ("mlp", ("Int8", Int4(), ProductQuantization(codes=2, centroids=16), Float16())),
        ("mlp", (Grouped((Int8("field"), Int2("field")), split=(0.6,)), Int2("field"))),
    ],
)
def test_the_file_keeps_the_budget_to_the_byte(
    network: str, codecs: Any, trained: Callable[[str], Any], clicks: Splits
) -> None:
    """Also where fields of one codec share levels or codebooks, or rows are split by how often they were seen."""
    budget = 1_700
    made = allocated(trained(network), clicks, max_bytes=budget, **({"codecs": codecs} if codecs else {}))
    content = Export("int8", calibration_rows=512).to_bytes(made.model, clicks)
    constants = {t.data.tobytes() for t in read_graph(content).tensors if t.data is not None}
    stored = [array for layer in lookup_layers(made.model).values() for array in layer.stored().values()]
    assert all(array.tobytes() in constants for array in stored)
    assert sum(array.nbytes for array in stored) == notes(made)["bytes"][1] <= budget
    assert notes(made)["bytes"][1] > 0.45 * budget
    (chosen,) = [row for row in notes(made)["frontier"] if row["chosen"]]
    assert chosen["bytes"] == notes(made)["bytes"][1]
    audit_file(content, made.model, clicks, mode="int8")
    rows = first_rows(clicks.validation.inputs, 200)
    assert np.abs(Scorer(content)(rows).ravel() - keras_scores(made.model, rows)).mean() < 5e-3


def test_more_bytes_never_cost_more(trained_mlp: Any, clicks: Splits) -> None:
    made = allocated(trained_mlp, clicks, max_bytes=1_200)
    rows = notes(made)["frontier"]
    assert len(rows) > 8 and rows[-1]["expected_loss"] == 0 and rows[-1]["bytes"] == notes(made)["bytes"][0]
    few_pairs = 5 / (clicks.validation.labels == 0).sum() / clicks.validation.labels.sum()  # solved for loss, not AUC
    for one, other in itertools.pairwise(rows):
        assert one["bytes"] < other["bytes"] and one["expected_loss"] >= other["expected_loss"]
        assert one["expected_auc"] <= other["expected_auc"] + few_pairs
    measured = [row["measured_auc"] for row in rows if row["measured_auc"] is not None]
    assert len(measured) >= 3 and measured[0] < measured[-1]  # two of the ladder, and the chosen one


def test_no_allocation_of_as_few_bytes_is_expected_to_cost_less(trained_mlp: Any, clicks: Splits) -> None:
    """Against all of them."""
    parts, menu = parts_of(trained_mlp, clicks.schema), menu_of((Int8(), Int4(), Int2("field"), Int4("field")))
    random = np.random.default_rng(0)
    bare = Allocation(parts, menu, {})
    changes = {pair: random.normal(0, 0.01 * 2.0 ** -pair[1], (1, 50)).astype(np.float32) for pair in bare.saving()}
    allocation = Allocation(parts, menu, changes)
    allowed = [[c for c in range(len(menu)) if (i, c) in changes or c == bare.kept] for i in range(len(parts.each))]
    points = [allocation.point(chosen) for chosen in itertools.product(*allowed)]
    assert allocation.smallest().num_bytes == min(point.num_bytes for point in points)
    for most in (800, 1_100, 1_550, 2_400, 5_000):
        found = allocation.within(most)
        fitting = [point.loss for point in points if point.num_bytes <= most]
        assert (found is None) == (not fitting)
        if found is not None:
            assert found.num_bytes <= most and found.loss == pytest.approx(min(fitting), rel=1e-6)


def test_estimates_are_what_trials_find(trained_deepfm: Any, clicks: Splits) -> None:
    """Of all fields and codecs: to second order, of one backward pass."""
    model = inlined(trained_deepfm)
    parts = parts_of(model, clicks.schema)
    sample = clicks.validation.take(500, seed=3)
    slopes = sampled(model, parts.each, clicks.validation, rows=500, seed=3).slopes
    trials, weights = Trials(model, sample, clicks.validation), model.get_weights()
    for part, own in zip(parts.each, slopes, strict=True):
        rows = model.get_layer(part.layer).get_weights()[0][part.rows]
        for codec in (Int4("field"), Int2("field")):
            coded = codec.encode(rows, fields=part.fields)
            found = loss_of(own.changes(rows, coded.rows))
            assert found == pytest.approx(trials.loss(part, coded), rel=0.15, abs=1e-8) and found > 0
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights, strict=True))


def test_several_targets_count_together(trained_several: Any, two_targets: Splits) -> None:
    made = allocated(trained_several, two_targets, max_bytes=150, rows=300, codecs=(Int8("field"), Int2("field")))
    assert notes(made)["bytes"][1] <= 150
    tried = [row for row in notes(made)["allocation"] if row["tried_loss"]]
    for row in tried:
        assert row["tried_loss"] == pytest.approx(row["estimated_loss"], rel=0.3)


def test_the_cheapest_that_keeps_the_auc_is_taken(trained_mlp: Any, clicks: Splits) -> None:
    drop = 0.002
    made = allocated(trained_mlp, clicks, max_auc_drop=drop)
    found = notes(made)["validation_auc"]
    assert found["float"] == pytest.approx(mean_auc(trained_mlp, clicks.validation), abs=1e-6)
    assert found["coded"] == pytest.approx(mean_auc(made.model, clicks.validation), abs=1e-6)
    assert found["float"] - drop <= found["coded"]
    smaller = [row for row in notes(made)["frontier"] if row["bytes"] < notes(made)["bytes"][1]]
    tried = [row for row in smaller if row["measured_auc"] is not None]
    assert tried and tried[-1]["measured_auc"] < found["float"] - drop
    assert notes(made)["bytes"][1] < 0.25 * notes(made)["bytes"][0]


def test_a_drop_that_no_codec_keeps_leaves_rows_as_they_are(planted: tuple[Any, Splits]) -> None:
    model, data = planted
    made = allocated(model, data, max_auc_drop=0, codecs=("Int1",), measured=0)
    item = next(row for row in notes(made)["allocation"] if row["features"] == ["item"])
    assert item["codec"] == "Float32()" and notes(made)["validation_auc"]["coded"] >= mean_auc(model, data.validation)


@pytest.mark.parametrize("style", ["shared_layers", "nested"])
def test_networks_of_others_have_a_field_for_each_table(style: str) -> None:
    log = prepare(click_table(800), click_schema(), split=RandomSplit(seed=0), batch_size=128)
    model = STYLES[style](log.schema)
    floats = sum(4 * w.input_dim * w.output_dim for w in model._flatten_layers() if type(w) is keras.layers.Embedding)
    made = allocated(model, log, max_bytes=floats // 6, rows=100)
    tables = [x.name for x in model._flatten_layers() if type(x) is keras.layers.Embedding]
    assert {row["layer"].split("/")[-1] for row in notes(made)["allocation"]} == set(tables)
    assert len(lookup_layers(made.model)) == len(tables) and notes(made)["bytes"][1] <= floats // 6
    audit_file(Export("float32").to_bytes(made.model, log), made.model, log, mode="float32")


def test_tuning_goes_on_from_the_rows_of_before(uneven: Candidate, planted: tuple[Any, Splits]) -> None:
    model, data = planted
    plan = chain(AllocateTables(max_bytes=500, lookup_bytes=0), TuneTables(epochs=1), Export("int8"))
    plan.check(model, data.schema)
    assert np.array_equal(uneven.rows["table"], model.get_layer("table").get_weights()[0])
    tuned = TuneTables(epochs=1).apply(uneven, data, seed=0)
    assert isinstance(tuned.model.get_layer("table"), TableLookup)
    assert notes(tuned)["validation_auc"]["coded"] == pytest.approx(notes(uneven)["validation_auc"]["coded"], abs=1e-6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "max_bytes is None and max_auc_drop is None"),
        ({"max_bytes": 10, "max_auc_drop": 0.1}, "max_bytes is 10 and max_auc_drop is 0.1"),
        ({"max_bytes": 0}, "max_bytes is 0"),
        ({"max_bytes": 1.5}, "max_bytes is 1.5"),
        ({"max_auc_drop": -0.1}, "max_auc_drop is -0.1"),
        ({"max_bytes": 10, "codecs": ()}, r"codecs is \(\)"),
        ({"max_bytes": 10, "codecs": ({"item": "Int8"},)}, "codec is {'item'"),
        ({"max_bytes": 10, "codecs": ("Int5",)}, "codec is 'Int5'"),
        ({"max_bytes": 10, "rows": 0}, "rows is 0"),
        ({"max_bytes": 10, "measured": -1}, "measured is -1"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=f"{message}.*Fix:"):
        AllocateTables(**settings)


def test_a_share_is_one_of_what_the_tables_take(trained_mlp: Any, clicks: Splits) -> None:
    now = 4 * trained_mlp.get_layer("table").count_params()
    assert notes(allocated(trained_mlp, clicks, max_bytes=0.1))["bytes"][1] <= 0.1 * now
    assert notes(allocated(trained_mlp, clicks, max_bytes=0.001))["bytes"][1] == 335, "the fewest there are"


def test_rows_that_fold_are_counted_before_a_budget_is_refused(trained_mlp: Any, clicks: Splits) -> None:
    made = allocated(trained_mlp, clicks, max_bytes=0.2, codecs=(RareRows(Int8("field"), min_count=60),))
    assert notes(made)["bytes"][1] <= 0.2 * notes(made)["bytes"][0]
    EncodeTables(RareRows(Float32(), min_count=60)).check(trained_mlp, clicks.schema)


def test_codecs_that_hardly_matter_are_left_out(trained_mlp: Any, clicks: Splits) -> None:
    """Each is a lookup more."""
    parts = parts_of(inlined(trained_mlp), clicks.schema)
    bare = Allocation(parts, menu_of((Int8("field"), Int4("field"), Int2("field"))), {})
    matters = {0: 1.0, 1: 1e-3, 2: 1e-4}  # what two bits of a field change; each bit more halves it
    changes = {
        (i, c): np.full((1, 10), matters[i] * 2.0 ** -BITS[bare.menu[c].name], np.float32) for i, c in bare.saving()
    }
    allocation = Allocation(parts, bare.menu, changes)
    most = allocation.parts.num_bytes(allocation.codecs((0, 1, 2))) + 5
    best = allocation.within(most)
    assert best is not None and len(set(best.chosen)) == 3
    lean = allocation.lean(best, most)
    assert len(set(lean.chosen)) == 2
    assert best.loss <= lean.loss <= 1.1 * best.loss and lean.num_bytes <= most


def test_budgets_that_no_allocation_keeps_are_refused_at_once(trained_mlp: Any, clicks: Splits) -> None:
    with pytest.raises(PlanError, match=r"max_bytes is 300, and the tables need 335 bytes.*Fix:"):
        AllocateTables(max_bytes=300).check(trained_mlp, clicks.schema)
    AllocateTables(max_bytes=335).check(trained_mlp, clicks.schema)
    with pytest.raises(PlanError, match=r"can make no table of 'mlp' smaller.*Fix:"):
        AllocateTables(max_bytes=90_000, codecs=("Float32",)).check(trained_mlp, clicks.schema)
    coded = EncodeTables().apply(Candidate(trained_mlp, clicks.schema), clicks, seed=0).model
    with pytest.raises(PlanError, match=r"AllocateTables finds no table in 'mlp'.*Fix:"):
        AllocateTables(max_bytes=5_000).check(coded, clicks.schema)


def test_it_survives_json() -> None:
    plan = chain(AllocateTables(max_bytes=60_000, codecs=("Int8", Int4("field"))), TuneTables(), Export("int8"))
    again = Plan.from_json(plan.to_json())
    assert again == plan and again.passes[0].codecs == (Int8(), Int4("field"))
