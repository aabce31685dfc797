"""Limits of ids, and what LiteRT does beyond them."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from tfshop.data import IdFeature, NumericFeature, NumericStatistics, Schema, SequenceFeature, Vocabulary
from tfshop.errors import ScoringError
from tfshop.models import build_model
from tfshop.runtime import Scorer, read_graph
from tfshop.runtime.limits import id_limits, limits_from_graph

from .conftest import SIZES, convert, make_rows

# Ids as given to LiteRT directly; a crash would take a process of its own down only.
RAW_SCORE = """
import sys, numpy as np
from ai_edge_litert.interpreter import Interpreter
runner = Interpreter(sys.argv[1]).get_signature_runner()
ids = np.array([[int(i) for i in sys.argv[2:]]], np.int32)
print(runner(ids=ids, numeric=np.zeros((1, 4), np.float32))["probability"][0, 0])
"""


def fitted_schema() -> Schema:
    """Two features of the table 'item' (31 rows), one of 'user' (51), one of 'brand' (6)."""

    def vocabulary(size: int) -> Vocabulary:
        return Vocabulary([str(i) for i in range(size)], np.arange(size, 0, -1))

    features = [
        IdFeature("item"),
        IdFeature("user"),
        SequenceFeature("hist_item", table="item", max_length=5),
        IdFeature("brand"),
        NumericFeature("price"),
    ]
    return Schema(
        features,
        target="bought",
        vocabularies={"item": vocabulary(30), "user": vocabulary(50), "brand": vocabulary(5)},
        statistics={"price": NumericStatistics(10, 1, 0.0, 1.0, -1.0, 1.0)},
    )


@cache
def network_file(name: str) -> bytes:
    """A small network of the schema."""
    return convert(build_model(name, fitted_schema(), dimension=4, hidden=(8,)))


def raw_score(path: Path, *ids: int) -> subprocess.CompletedProcess[str]:
    """Score one row with bare LiteRT, in a process of its own."""
    command = [sys.executable, "-c", RAW_SCORE, str(path), *map(str, ids)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_litert_itself_reads_a_neighbours_row(files: dict[str, bytes], tmp_path: Path) -> None:
    """Why the scorer checks ids: beyond the feature's rows LiteRT says nothing, only beyond the whole table it stops.

    If this fails, LiteRT has learned to refuse, or to crash.
    """
    path = tmp_path / "model.tflite"
    path.write_bytes(files["float32"])
    first_row_of_second_table = raw_score(path, SIZES[0], 0, 0)
    before_the_second_table = raw_score(path, 0, -1, 0)
    past_the_end = raw_score(path, 0, 0, SIZES[2])
    assert first_row_of_second_table.returncode == 0
    assert before_the_second_table.returncode == 0
    assert past_the_end.returncode != 0 and "out of bounds" in past_the_end.stderr


@pytest.mark.parametrize("mode", ["float32", "float16", "int8"])
def test_limits_are_read_from_the_offsets_in_the_graph(files: dict[str, bytes], mode: str) -> None:
    limits = limits_from_graph(read_graph(files[mode]))
    assert [limit.rows for limit in limits["ids"]] == list(SIZES)
    assert "numeric" not in limits


@pytest.mark.parametrize("name", ["mlp", "deepfm", "dcn"])
def test_the_graph_of_every_network_shows_the_schemas_limits(name: str) -> None:
    """The way from the inputs to the table stays readable, with a sequence joined to the ids."""
    schema = fitted_schema()
    graph = read_graph(network_file(name))
    from_graph, stated = limits_from_graph(graph), id_limits(graph, schema)
    assert [limit.rows for limit in stated["ids"]] == [31, 51, 6]
    for key in ("ids", "hist_item"):
        assert [limit.rows for limit in from_graph[key]] == [limit.rows for limit in stated[key]]
    assert [limit.feature for limit in stated["ids"]] == ["item", "user", "brand"]


@pytest.mark.parametrize("column", range(len(SIZES)))
def test_an_id_past_its_features_table_is_refused(files: dict[str, bytes], column: int) -> None:
    rows = make_rows(5)
    rows["ids"][3, column] = SIZES[column] - 1
    scorer = Scorer(files["float32"])
    scorer(rows)
    rows["ids"][3, column] = SIZES[column]
    message = rf"input 'ids', 1 of 15 .*row 3, column {column}, {SIZES[column]}\)\. Expected ids below {SIZES[column]}"
    with pytest.raises(ScoringError, match=message):
        scorer(rows)


def test_with_a_schema_the_refusal_names_the_feature() -> None:
    schema = fitted_schema()
    scorer = Scorer(network_file("mlp"), schema=schema)
    rows = {name: np.zeros((2, *spec.shape), spec.dtype) for name, spec in scorer.inputs.items()}
    rows["hist_item"][1, 4] = 31
    with pytest.raises(ScoringError, match=r"'hist_item'.*row 1, column 4, 31.*below 31.*feature 'hist_item'.*Fix:"):
        scorer(rows)


def test_a_schema_of_another_file_is_refused(files: dict[str, bytes]) -> None:
    schema = Schema([IdFeature("item")], target="y", vocabularies={"item": Vocabulary(["a"], [1])})
    with pytest.raises(ScoringError, match="3 columns, but the schema gives it 1"):
        Scorer(files["float32"], schema=schema)


def test_inputs_named_by_feature_have_the_rows_of_their_table(swapped_file: tuple[object, bytes]) -> None:
    limits = limits_from_graph(read_graph(swapped_file[1]))
    assert {name: [limit.rows for limit in found] for name, found in limits.items()} == {"a_user": [40], "b_item": [20]}
