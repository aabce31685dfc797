"""What the scorer refuses, and what it says."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tfshop.errors import ArtifactError, ScoringError
from tfshop.runtime import Scorer

from .conftest import make_rows

Inputs = dict[str, Any]


def put(name: str, values: Any) -> Callable[[Inputs], Inputs]:
    """Replace an input."""
    return lambda rows: {**rows, name: values}


def change(name: str, position: tuple[int, int], value: float) -> Callable[[Inputs], Inputs]:
    """Replace one value."""

    def apply(rows: Inputs) -> Inputs:
        values = rows[name].astype(np.float64 if isinstance(value, float) else np.int64)
        values[position] = value
        return {**rows, name: values}

    return apply


REFUSALS: dict[str, tuple[Callable[[Inputs], Inputs], str]] = {
    "missing name": (lambda rows: {"ids": rows["ids"]}, "missing ['numeric']. Expected exactly ['ids', 'numeric']"),
    "unknown name": (put("price", [1.0]), "unknown ['price']"),
    "misspelled name": (lambda rows: {"id": rows["ids"], "numeric": rows["numeric"]}, "missing ['ids'] and unknown"),
    "whole floats as ids": (put("ids", np.ones((5, 3))), "float64 values. Expected integer ids"),
    "whole floats, the fix": (put("ids", np.ones((5, 3))), "values.astype(np.int32) loses nothing"),
    "fractions as ids": (put("ids", np.full((5, 3), 0.5)), "the values have fractions"),
    "NaN as id": (change("ids", (2, 1), np.nan), "0 stands for a missing id"),
    "bool as id": (put("ids", np.ones((5, 3), bool)), "bool values. Expected integer ids"),
    "strings as ids": (put("ids", np.full((5, 3), "milk")), "schema.encode(rows)"),
    "bool as number": (put("numeric", np.ones((5, 4), bool)), "bool values. Expected float32 values"),
    "objects as numbers": (put("numeric", np.full((5, 4), None)), "object values. Expected float32"),
    "wrong width": (put("ids", np.ones((5, 2), np.int32)), "width (2,). Expected (3,), that is (rows, 3)"),
    "one row without brackets": (put("ids", np.ones(3, np.int32)), "1 axes (shape (3,)). Expected 2, (rows, 3)"),
    "one row, the fix": (put("ids", np.ones(3, np.int32)), "values[np.newaxis]"),
    "too many axes": (put("ids", np.ones((5, 3, 1), np.int32)), "values.reshape(-1, 3)"),
    "different rows": (put("ids", np.ones((4, 3), np.int32)), "different numbers of rows: {'ids': 4, 'numeric': 5}"),
    "negative id": (change("ids", (4, 2), -1), "1 of 15 values cannot be scored (first: row 4, column 2, -1)"),
    "id past int32": (change("ids", (1, 0), 2**31), "(first: row 1, column 0, 2147483648). Expected values that fit"),
    "infinite number": (change("numeric", (3, 1), np.inf), "(first: row 3, column 1, inf). Expected finite"),
    "number past float32": (change("numeric", (3, 1), 1e300), "(first: row 3, column 1, 1e+300). Expected finite"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_the_refusal_names_what_was_found(files: dict[str, bytes], case: str) -> None:
    spoil, message = REFUSALS[case]
    with pytest.raises(ScoringError, match=re.escape(message)) as caught:
        Scorer(files["float32"])(spoil(make_rows(5)))
    assert "Expected" in str(caught.value) and "Fix: " in str(caught.value)


def test_after_a_refusal_the_scorer_still_scores(files: dict[str, bytes]) -> None:
    scorer, rows = Scorer(files["float32"]), make_rows(5)
    expected = scorer(rows)
    with pytest.raises(ScoringError):
        scorer({**rows, "ids": rows["ids"] - 100})
    np.testing.assert_array_equal(scorer(rows), expected)


def test_an_int8_input_refuses_nan(files: dict[str, bytes]) -> None:
    rows = make_rows(5)
    rows["numeric"][2, 3] = np.nan
    with pytest.raises(ScoringError, match=r"row 2, column 3, nan.*an int8 input has no NaN.*mode 'int8'"):
        Scorer(files["int8_io"])(rows)


@pytest.mark.parametrize("content", [b"", b"not a model at all", bytes(5000)])
def test_a_garbage_file_is_refused(content: bytes) -> None:
    with pytest.raises(ArtifactError, match="not a TFLite file"):
        Scorer(content)


def test_a_file_cut_short_is_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(ArtifactError, match="cut short"):
        Scorer(files["float32"][:-100])


@pytest.mark.parametrize("arguments", [{"batch_size": 0}, {"num_threads": 0}])
def test_a_batch_or_thread_count_under_one_is_refused(files: dict[str, bytes], arguments: dict[str, int]) -> None:
    with pytest.raises(ScoringError, match="at least 1"):
        Scorer(files["float32"], **arguments)
