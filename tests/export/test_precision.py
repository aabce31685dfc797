"""Ranges, biases and layers of an int8 file are what was asked for, read from its bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from helpers import first_rows

from tfshop._keras import keras
from tfshop.compression import QAT, Candidate
from tfshop.data import Splits
from tfshop.errors import ExportError, PlanError
from tfshop.export import Export, Plan, chain
from tfshop.export.mixed import change, logits
from tfshop.export.ranges import open_tensors
from tfshop.export.stock import calibrated
from tfshop.numerics import RANGE_METHODS, Histogram, choose_range
from tfshop.pipeline import compress
from tfshop.runtime import Scorer, read_graph
from tfshop.runtime.editing import recorded_ranges
from tfshop.runtime.observer import observed

PRODUCT = "dcn/cross_1_kernel/MatMul;dcn/cross_1_kernel/BiasAdd"
ROWS = 512


@pytest.fixture(scope="module")
def exported_with(trained_dcn: Any, clicks: Splits) -> Callable[..., bytes]:
    """The int8 file of the network of crosses with other settings."""
    made: dict[str, Any] = {}

    def once(**settings: Any) -> Any:
        key = repr(settings)
        if key not in made:
            made[key] = Export("int8", calibration_rows=ROWS, **settings).export(trained_dcn, clicks)
        return made[key].content

    return once


@pytest.fixture(scope="module")
def values(trained_dcn: Any, clicks: Splits) -> np.ndarray:
    """What the kernel of a cross gives on the calibration rows, from Keras."""
    sample = clicks.train.take(ROWS, seed=0)
    probe = keras.Model(trained_dcn.inputs, trained_dcn.get_layer("cross_1_kernel").output)
    return np.asarray(probe(dict(sample.inputs), training=False))


def range_of(content: bytes, name: str) -> tuple[float, float]:
    """Lowest and highest number of an int8 tensor."""
    (tensor,) = [tensor for tensor in read_graph(content).tensors if tensor.name == name]
    assert tensor.dtype == "int8"
    return tuple(float((level - tensor.zero_points[0]) * tensor.scales[0]) for level in (-128, 127))


def moved(content: bytes, reference: bytes, data: Splits) -> float:
    rows = [first_rows(data.validation.inputs, 600)]
    return change(logits(content, rows), logits(reference, rows))


@pytest.mark.parametrize("method", RANGE_METHODS)
def test_the_scale_in_the_file_is_that_of_the_chosen_range(
    method: str, exported_with: Callable[..., bytes], values: np.ndarray
) -> None:
    histogram = Histogram()
    for batch in np.array_split(values, ROWS // 64):
        histogram.add(batch)
    low, high = choose_range(histogram, method)
    found = range_of(exported_with(ranges=method), PRODUCT)
    assert found == pytest.approx((low, high), abs=(high - low) * 0.02)


def test_the_calibrators_own_ranges_are_wider_than_what_is_there(
    exported_with: Callable[..., bytes], values: np.ndarray
) -> None:
    """It reads tensors whose memory the next operator has written to."""
    low, high = range_of(exported_with(ranges="minmax"), PRODUCT)
    wide_low, wide_high = range_of(exported_with(), PRODUCT)
    assert (low, high) == pytest.approx((values.min(), values.max()), abs=0.02 * float(np.ptp(values)))
    assert wide_high - wide_low > 1.3 * (high - low)


def test_a_lower_percentile_gives_finer_steps(exported_with: Callable[..., bytes]) -> None:
    fine, coarse = (range_of(exported_with(ranges="percentile", percentile=p), PRODUCT) for p in (98.0, 99.99))
    assert fine[1] - fine[0] < 0.8 * (coarse[1] - coarse[0])


@pytest.mark.parametrize("method", RANGE_METHODS)
def test_files_with_chosen_ranges_score(
    method: str, exported_with: Callable[..., bytes], exported: Callable[[str, str], bytes], clicks: Splits
) -> None:
    limit = {"entropy": 0.4}.get(method, 0.12)  # entropy cuts off more than 8 bits need
    assert moved(exported_with(ranges=method), exported("dcn", "float32"), clicks) < limit


@pytest.fixture(scope="module")
def quantized(trained_dcn: Any, clicks: Splits) -> Any:
    """The network of crosses with trained ranges."""
    brief = replace(clicks, train=clicks.train.take(1024))
    return QAT().apply(Candidate(trained_dcn, clicks.schema), brief, seed=0).model


def test_trained_ranges_are_left_as_they_were_trained(quantized: Any, clicks: Splits) -> None:
    files = [Export("int8", ROWS, ranges=ranges).to_bytes(quantized, clicks) for ranges in ("recorded", "percentile")]
    layer = quantized.get_layer("cross_1_kernel")
    found = [range_of(content, _trained(content, "cross_1_kernel")) for content in files]
    assert found[0] == found[1] == pytest.approx((layer.minimum, layer.maximum), abs=0.02 * layer.maximum)


def _trained(content: bytes, layer: str) -> str:
    names = [t.name for t in read_graph(content).tensors if f"/{layer}/" in t.name and t.dtype == "int8"]
    return next(name for name in names if "BiasAdd" in name)


def test_no_tensor_with_a_trained_range_is_open(quantized: Any, clicks: Splits) -> None:
    content = calibrated(quantized, "int8", Export("int8", ROWS).calibration(quantized, clicks, 0))
    graph = read_graph(content)
    recorded = recorded_ranges(content)
    kinds = {graph.producers[i].kind for i in open_tensors(graph, recorded) if i in graph.producers}
    assert "DEQUANTIZE" not in kinds and len(open_tensors(graph, recorded)) < len(recorded)


def product_means(content: bytes, data: Splits, rows: int) -> dict[str, np.ndarray]:
    graph = read_graph(content)
    inputs = [dict(data.train.take(rows, seed=0).inputs)]
    outputs = [o.outputs[0] for o in graph.operators if o.kind == "FULLY_CONNECTED" and len(o.inputs) > 2]
    (seen,) = observed(content, graph, inputs, outputs)
    return {graph.tensors[index].name: value.mean(axis=0) for index, value in seen.items()}


def test_corrected_biases_bring_the_means_back(
    trained_dcn: Any, exported_with: Callable[..., bytes], exported: Callable[[str, str], bytes], clicks: Splits
) -> None:
    """Mean of each channel of every product, against the float file; only biases differ in the bytes."""
    plain, corrected = exported_with(ranges="minmax"), exported_with(ranges="minmax", bias_correction=True)
    wanted = product_means(exported("dcn", "float32"), clicks, ROWS)
    before, after = (product_means(content, clicks, ROWS) for content in (plain, corrected))
    common = set(wanted) & set(before)
    assert len(common) >= 5
    shift = [np.mean([np.abs(found[n] - wanted[n]).mean() for n in common]) for found in (before, after)]
    assert shift[1] < 0.35 * shift[0]
    different = [
        tensor.index
        for tensor, other in zip(read_graph(plain).tensors, read_graph(corrected).tensors, strict=True)
        if tensor.is_constant and not np.array_equal(tensor.data, other.data)
    ]
    graph = read_graph(plain)
    biases = {o.inputs[2] for o in graph.operators if o.kind == "FULLY_CONNECTED" and len(o.inputs) > 2}
    assert different and set(different) <= biases


def test_the_correction_is_told(trained_dcn: Any, clicks: Splits) -> None:
    made = Export("int8", calibration_rows=ROWS, bias_correction=True).export(trained_dcn, clicks)
    assert made.notes[0].startswith("bias correction: mean shift of ")


def test_named_layers_stay_in_float(exported_with: Callable[..., bytes]) -> None:
    graph = read_graph(exported_with(keep_float=("cross_1_kernel", "table")))
    types = {o.outputs[0]: graph.tensors[o.outputs[0]] for o in graph.operators}
    assert {t.dtype for t in types.values() if "cross_1_kernel" in t.name} == {"float32"}
    assert {t.dtype for t in types.values() if "/cross_2_kernel/" in t.name} == {"int8"}
    weights = {o.inputs[1] for o in graph.operators if "cross_1_kernel" in graph.tensors[o.outputs[0]].name}
    assert "float32" in {graph.tensors[index].dtype for index in weights}
    assert next(graph.tensors[o.inputs[0]].dtype for o in graph.operators if o.kind == "GATHER") == "float32"
    assert len(exported_with(keep_float=("table",))) > len(exported_with()) + 5000


def test_the_worst_layers_stay_in_float_until_the_error_is_under_the_bound(
    trained_dcn: Any, exported: Callable[[str, str], bytes], exported_with: Callable[..., bytes], clicks: Splits
) -> None:
    reference = exported("dcn", "float32")
    before = moved(exported_with(ranges="minmax"), reference, clicks)
    bound = before / 2
    made = Export("int8", ROWS, ranges="minmax", mixed={"max_change": bound}).export(trained_dcn, clicks)
    assert moved(made.content, reference, clicks) < 1.5 * bound
    assert "mixed precision: layers left in float" in made.notes[0] and "not reached" not in made.notes[0]
    graph = read_graph(made.content)
    types = [graph.tensors[o.outputs[0]].dtype for o in graph.operators if o.kind == "FULLY_CONNECTED"]
    assert "int8" in types, "not everything is left in float"
    assert len(exported_with()) < len(made.content) < len(reference)


def test_a_budget_of_bytes_is_kept(trained_dcn: Any, exported_with: Callable[..., bytes], clicks: Splits) -> None:
    smallest = len(exported_with())
    budget = smallest + 4000
    made = Export("int8", ROWS, mixed={"max_bytes": budget}).export(trained_dcn, clicks)
    assert len(made.content) <= budget and made.content != exported_with()
    impossible = Export("int8", ROWS, mixed={"max_bytes": smallest // 2}).export(trained_dcn, clicks)
    assert "the limits asked for were not reached" in impossible.notes[0]


def test_a_limit_on_validation_auc_is_measured_on_validation(trained_dcn: Any, clicks: Splits) -> None:
    made = Export("int8", ROWS, mixed={"max_auc_drop": 0.05}).export(trained_dcn, clicks)
    assert "of validation AUC lost" in made.notes[0] and "by: none" in made.notes[0]


def test_layers_of_zeros_alone_give_a_file_that_scores(clicks: Splits) -> None:
    """In integers their scale would be about 1e-8."""
    keras.utils.set_random_seed(0)
    ids = keras.Input((3,), dtype="int32", name="ids")
    fields = keras.layers.Flatten()(keras.layers.Embedding(400, 4)(ids))
    first = keras.layers.Dense(8, activation="relu", name="first")(fields)
    dead = keras.layers.Dense(8, kernel_initializer="zeros", name="dead")(first)
    joined = keras.layers.Concatenate()([keras.layers.Multiply()([first, dead]), dead, first])
    hidden = keras.layers.Dense(8, activation="relu", name="second")(joined)
    model = keras.Model(ids, keras.layers.Dense(1, activation="sigmoid", name="probability")(hidden), name="dead")
    content = Export("int8", calibration_rows=ROWS).to_bytes(model, clicks)
    scales = [float(t.scales.min()) for t in read_graph(content).tensors if t.scales is not None]
    assert min(scales) > 1e-7 and "int8" in {t.dtype for t in read_graph(content).tensors}
    rows = {"ids": clicks.validation.inputs["ids"][:50]}
    np.testing.assert_allclose(Scorer(content)(rows), model(rows).numpy().ravel(), atol=0.02)


def test_the_settings_survive_json() -> None:
    plan = chain(Export("int8", ranges="percentile", percentile=99.9, keep_float=("a",), mixed={"max_bytes": 10_000}))
    again = Plan.from_json(plan.to_json())
    assert again == plan and json.loads(plan.to_json())["exporter"]["mixed"] == {"max_bytes": 10_000}
    assert "ranges='percentile'" in str(plan)


def test_layers_that_are_not_there_are_refused(trained_dcn: Any, clicks: Splits) -> None:
    with pytest.raises(PlanError, match=r"keep_float names 'dense_9', which is no layer of 'dcn'.*Fix:"):
        Export("int8", keep_float=("dense_9",)).check(trained_dcn, clicks.schema)
    Export("int8", keep_float=("dense_1",)).check(trained_dcn, clicks.schema)
    with pytest.raises(ExportError, match=r"keep_float names 'ids', which no operator.*Fix:"):
        Export("int8", ROWS, keep_float=("ids",)).to_bytes(trained_dcn, clicks)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ranges": "median"}, "ranges is 'median'"),
        ({"ranges": "percentile", "percentile": 40.0}, "percentile is 40.0"),
        ({"keep_float": "dense_0"}, "keep_float is 'dense_0'"),
        ({"mixed": {}}, "mixed has the limits"),
        ({"mixed": {"max_change": -1.0}}, "mixed has the limits"),
        ({"mixed": {"max_loss": 1.0}}, "mixed is"),
        ({"mode": "float16", "ranges": "mse"}, r"Export\('float16'\) was given"),
        ({"mode": "dynamic", "bias_correction": True}, r"Export\('dynamic'\) was given"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_construction(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=rf"{message}.*Fix:"):
        Export(**settings)


def test_settings_work_on_networks_of_several_outputs(trained_several: Any, two_targets: Splits) -> None:
    made = Export(
        "int8", ROWS, ranges="mse", bias_correction=True, mixed={"max_change": 1e-9, "max_auc_drop": 1e-3}
    ).export(trained_several, two_targets)
    scores = Scorer(made.content)(first_rows(two_targets.validation.inputs, 100))
    assert set(scores) == {"probability_clicked", "probability_bought"}
    assert "mixed precision" in made.notes[0] and "bias correction" in made.notes[1]


def test_compress_audits_such_a_file_and_tells_what_stayed_in_float(
    trained_dcn: Any, clicks: Splits, brief_timing: None
) -> None:
    plan = chain(Export("int8", ROWS, ranges="minmax", bias_correction=True, keep_float=("features",)))
    result = compress(trained_dcn, clicks, plan)
    notes = " ".join(result.evaluation.notes)
    assert "audit passed" in notes and "bias correction: mean shift" in notes
