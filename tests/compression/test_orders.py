"""Several passes one after the other: each works on what the ones before made, and the last file shows them all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from helpers import first_rows, keras_scores

from tfshop.compression import (
    PASSES,
    QAT,
    AllocateTables,
    Candidate,
    Cluster,
    Distill,
    DropFeatures,
    EncodeTables,
    Equalize,
    LowRank,
    Prune,
    PruneUnits,
    TuneTables,
)
from tfshop.data import Splits
from tfshop.export import Export, chain
from tfshop.runtime import Scorer, count_multiplies, read_graph

from .in_the_file import SHOWN, only_scaled

features = DropFeatures(("id_2",), epochs=0)
units = PruneUnits(0.5, epochs=0)
ranks = LowRank(rank=3, epochs=0)
zeros = Prune(0.5, schedule="one_shot", epochs=0)
uneven = AllocateTables(max_bytes=1_200, rows=500, measured=1, lookup_bytes=0)
student = Distill({"dimension": 4, "hidden": (48, 16)})

# What is built anew comes before what cuts, that before zeros and shared numbers, and ranges come last.
ORDERS = {
    "a student with zeros": ("mlp", (student, features, Prune(0.5), QAT()), Export("int8", 256)),
    "narrow, few numbers": (
        "deepfm",
        (units, features, zeros, uneven, Equalize(), Cluster(8), QAT()),
        Export("int8", 256),
    ),
    "narrow factors, codes": (
        "dcn",
        (features, units, ranks, zeros, EncodeTables("Int8"), TuneTables(epochs=1), Equalize()),
        Export("float32"),
    ),
}


def test_every_pass_is_in_some_order() -> None:
    assert {step.name for _, passes, _ in ORDERS.values() for step in passes} == set(PASSES)


@pytest.mark.parametrize("order", ORDERS)
def test_the_last_file_shows_every_pass(
    order: str, candidate: Callable[[str], Candidate], exported: Callable[[str, str], bytes], brief: Splits
) -> None:
    network, passes, exporter = ORDERS[order]
    plan, current = chain(*passes, exporter), candidate(network)
    plan.check(current.model, current.schema)
    for step in plan.passes:
        step.check(current.model, current.schema)
        before, current = current, step.apply(current, brief, seed=0)
    assert [record.name for record in current.history] == [step.name for step in passes]
    content = exporter.to_bytes(current.model, brief)
    graph = read_graph(content)
    assert [step.name for step in passes if step.name in SHOWN and not SHOWN[step.name](graph, current)] == []
    if passes[-1] == Equalize():
        assert only_scaled(read_graph(exporter.to_bytes(before.model, brief)), graph)
    assert count_multiplies(content) < 0.9 * count_multiplies(exported(network, "float32"))
    same_scores(content, current.model, brief, exporter)


def same_scores(content: bytes, model: Any, data: Splits, exporter: Export) -> None:
    """Keras and the file agree, row by row, and tell rows apart."""
    rows = first_rows(data.validation.inputs, 300)
    wanted, found = keras_scores(model, rows), Scorer(content)(rows)
    most, mean = (1e-5, 1e-6) if exporter.mode == "float32" else (3e-2, 3e-3)
    gaps = np.abs(found - wanted)
    assert gaps.max() <= most and gaps.mean() <= mean, (gaps.max(), gaps.mean())
    assert len(np.unique(found)) > 200 and np.ptp(found) > 20 * gaps.mean()
