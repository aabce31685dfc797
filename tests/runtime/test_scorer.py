"""Scores of a file."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tfshop.data import IdFeature, NumericFeature, NumericStatistics, Schema, Split, Vocabulary
from tfshop.errors import ArtifactError, ModelError, ScoringError
from tfshop.runtime import Scorer

from .conftest import MODES, make_rows


def keras_scores(model: Any, rows: dict[str, np.ndarray]) -> np.ndarray:
    """What the Keras model says, shape (n,)."""
    return np.asarray(model(rows)).reshape(-1)


@pytest.mark.parametrize("num_rows", [1, 7, 512, 1024, 1025, 2500])
def test_float32_scores_equal_the_keras_models(files: dict[str, bytes], click_model: Any, num_rows: int) -> None:
    rows = make_rows(num_rows, seed=num_rows)
    scores = Scorer(files["float32"])(rows)
    assert scores.shape == (num_rows,) and scores.dtype == np.float32
    np.testing.assert_allclose(scores, keras_scores(click_model, rows), atol=1e-5, rtol=0)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_follows_the_keras_model(files: dict[str, bytes], click_model: Any, mode: str) -> None:
    """In 8 bits a few scores are far off, so there the mean is compared."""
    rows = make_rows(500, seed=2)
    scores, expected = Scorer(files[mode])(rows), keras_scores(click_model, rows)
    assert scores.dtype == np.float32
    assert expected.std() > 0.1  # the comparison means something
    assert np.abs(scores - expected).mean() < {"float32": 1e-6, "float16": 1e-3, "dynamic": 1e-2}.get(mode, 0.015)


def test_int8_inputs_and_outputs_change_no_score(files: dict[str, bytes]) -> None:
    """The scorer quantizes and dequantizes as the graph of the float-faced file does, up to a step of the output."""
    rows = make_rows(500, seed=2)
    assert Scorer(files["int8_io"]).inputs["numeric"].dtype == "float32"
    scores, expected = Scorer(files["int8_io"])(rows), Scorer(files["int8"])(rows)
    assert np.abs(scores - expected).max() <= 1.01 / 256


def test_inputs_are_bound_by_name_not_by_position(swapped_file: tuple[Any, bytes]) -> None:
    """Two inputs of one shape and type, declared in the other order than their names sort."""
    model, content = swapped_file
    generator = np.random.default_rng(0)
    rows = {
        "b_item": generator.integers(0, 20, 50).astype(np.int32),
        "a_user": generator.integers(0, 20, 50).astype(np.int32),
    }
    expected = keras_scores(model, rows)
    exchanged = keras_scores(model, {"b_item": rows["a_user"], "a_user": rows["b_item"]})
    assert np.abs(expected - exchanged).max() > 0.1
    for order in (["b_item", "a_user"], ["a_user", "b_item"]):
        np.testing.assert_allclose(Scorer(content)({name: rows[name] for name in order}), expected, atol=1e-5)


def test_a_score_does_not_depend_on_its_batch(files: dict[str, bytes]) -> None:
    rows = make_rows(100)
    whole = Scorer(files["float32"])(rows)
    parts = Scorer(files["float32"], batch_size=7)(rows)
    single = Scorer(files["float32"])({name: values[42:43] for name, values in rows.items()})
    np.testing.assert_allclose(parts, whole, atol=1e-6)
    np.testing.assert_allclose(single, whole[42:43], atol=1e-6)


def test_calls_of_different_sizes_do_not_disturb_each_other(files: dict[str, bytes]) -> None:
    """The interpreters are laid out anew in between; nothing of the larger batch may be left."""
    scorer = Scorer(files["int8"], batch_size=16)
    rows = make_rows(40)
    expected = scorer(rows)
    for size in (3, 16, 1, 40, 5):
        scores = scorer({name: values[:size] for name, values in rows.items()})
        np.testing.assert_array_equal(scores, expected[:size])


@pytest.mark.parametrize("num_threads", [2, 3])
def test_threads_change_no_score(files: dict[str, bytes], num_threads: int) -> None:
    rows = make_rows(5000)
    expected = Scorer(files["float32"])(rows)
    np.testing.assert_array_equal(Scorer(files["float32"], num_threads=num_threads)(rows), expected)


def test_one_scorer_can_be_called_from_many_threads(files: dict[str, bytes]) -> None:
    """The interpreter lets other threads run while it works; without taking turns they would change its inputs."""
    scorer = Scorer(files["float32"])
    batches = [make_rows(1000, seed) for seed in range(100)]
    expected = [scorer(rows) for rows in batches]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(scorer, batches))
    for scores, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(scores, wanted)


def test_no_rows_give_no_scores(files: dict[str, bytes]) -> None:
    scores = Scorer(files["int8"])(make_rows(0))
    assert scores.shape == (0,) and scores.dtype == np.float32


def test_several_outputs_come_by_name(two_outputs_file: bytes) -> None:
    outputs = Scorer(two_outputs_file)({"numeric": np.ones((5, 2))})
    assert {name: values.shape for name, values in outputs.items()} == {"narrow": (5,), "wide": (5, 3)}
    assert Scorer(two_outputs_file)({"numeric": np.ones((0, 2))})["wide"].shape == (0, 3)


@pytest.mark.parametrize("num_rows", [1, 4, 7])
def test_a_file_of_one_batch_size_scores_any_number_of_rows(fixed_batch_file: tuple[Any, bytes], num_rows: int) -> None:
    model, content = fixed_batch_file
    numeric = np.random.default_rng(0).normal(size=(8, 2)).astype(np.float32)
    expected = np.concatenate([model(numeric[:4]), model(numeric[4:])])[:num_rows, 0]
    np.testing.assert_allclose(Scorer(content)({"numeric": numeric[:num_rows]}), expected, atol=1e-6)


def test_a_missing_number_is_a_number_like_any_other(files: dict[str, bytes]) -> None:
    """NaN means missing; a graph that imputes makes something of it, this one passes it on."""
    rows = make_rows(3)
    rows["numeric"][1, 2] = np.nan
    assert np.isnan(Scorer(files["float32"])(rows)).tolist() == [False, True, False]


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.int64, np.uint64])
def test_integers_of_any_width_are_ids(files: dict[str, bytes], dtype: type) -> None:
    rows = make_rows(9)
    expected = Scorer(files["float32"])(rows)
    np.testing.assert_array_equal(Scorer(files["float32"])({**rows, "ids": rows["ids"].astype(dtype)}), expected)


def test_integers_and_lists_are_numbers(files: dict[str, bytes]) -> None:
    scorer = Scorer(files["float32"])
    expected = scorer({"ids": np.array([[1, 2, 3]]), "numeric": np.array([[1.0, 2.0, 3.0, 4.0]])})
    np.testing.assert_array_equal(scorer({"ids": [[1, 2, 3]], "numeric": [[1, 2, 3, 4]]}), expected)


def test_all_sources_give_the_same_scores(files: dict[str, bytes], tmp_path: Path) -> None:
    @dataclass
    class Holder:
        model_bytes: bytes

    (tmp_path / "model.tflite").write_bytes(files["int8"])
    rows = make_rows(10)
    expected = Scorer(files["int8"])(rows)
    sources = [tmp_path, tmp_path / "model.tflite", str(tmp_path), bytearray(files["int8"]), Holder(files["int8"])]
    for source in sources:
        np.testing.assert_array_equal(Scorer(source)(rows), expected)


def test_a_folder_brings_its_schema(files: dict[str, bytes], tmp_path: Path) -> None:
    """The refusal knows the feature's name, which is not in the graph."""
    schema = click_schema()
    (tmp_path / "model.tflite").write_bytes(files["int8"])
    (tmp_path / "schema.json").write_text(schema.to_json(), encoding="utf-8")
    rows = make_rows(2)
    rows["ids"][0, 1] = 30
    with pytest.raises(ScoringError, match="feature 'a_user'"):
        Scorer(tmp_path)(rows)


@pytest.mark.parametrize(
    ("what", "message"), [("nothing", "does not exist"), ("empty", "does not exist"), (7, "a int")]
)
def test_a_source_without_model_is_refused(tmp_path: Path, what: str | int, message: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match=rf"{message}.*Expected.*Fix:"):
        Scorer(tmp_path / what if isinstance(what, str) else what)  # type: ignore[arg-type]


def test_a_file_that_needs_flex_is_refused_by_name(flex_file: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"needs FlexMatrixInverse.*Fix:"):
        Scorer(flex_file)({"numeric": np.eye(2, dtype=np.float32).reshape(1, 4)})


def click_schema() -> Schema:
    """A schema whose id features are the tables of the click network."""
    names = {"item": 50, "a_user": 30, "b_item": 7}
    return Schema(
        [*(IdFeature(name) for name in names), *(NumericFeature(f"n{i}") for i in range(4))],
        target="y",
        vocabularies={n: Vocabulary([str(i) for i in range(s - 1)], np.ones(s - 1, int)) for n, s in names.items()},
        statistics={f"n{i}": NumericStatistics(10, 0, 0.0, 1.0, -1.0, 1.0) for i in range(4)},
    )


def click_split(rows: dict[str, np.ndarray]) -> Split:
    """Rows as a split."""
    labels = np.zeros(len(rows["ids"]), np.float32)
    return Split("test", rows, labels, groups=None, batch_size=64, schema=click_schema())


def test_a_split_is_scored_whole(files: dict[str, bytes]) -> None:
    rows = make_rows(3000)
    np.testing.assert_array_equal(Scorer(files["int8"]).score_split(click_split(rows)), Scorer(files["int8"])(rows))


def test_a_long_split_is_scored_in_pieces(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    rows = make_rows(3000)
    whole = Scorer(files["int8"])(rows)
    monkeypatch.setattr("tfshop.runtime.scorer.ROWS_AT_ONCE", 700)
    scorer = Scorer(files["int8"])
    sizes: list[int] = []
    monkeypatch.setattr(scorer, "_score", lambda arrays, n: sizes.append(n) or Scorer._score(scorer, arrays, n))
    np.testing.assert_array_equal(scorer.score_split(click_split(rows)), whole)
    assert sizes == [700, 700, 700, 700, 200]


def test_a_split_feeds_a_file_whose_inputs_are_features(swapped_file: tuple[Any, bytes]) -> None:
    model, content = swapped_file
    rows = make_rows(200)
    expected = keras_scores(model, {"a_user": rows["ids"][:, 1], "b_item": rows["ids"][:, 2]})
    np.testing.assert_allclose(Scorer(content).score_split(click_split(rows)), expected, atol=1e-5)


def test_a_split_without_the_feature_is_refused(files: dict[str, bytes], swapped_file: tuple[Any, bytes]) -> None:
    split = click_split(make_rows(5))
    other = Schema([IdFeature("shop")], target="y", vocabularies={"shop": Vocabulary(["a"], [1])})
    with pytest.raises(ModelError, match="'a_user'"):
        Scorer(swapped_file[1], schema=other).score_split(split)
    with pytest.raises(ScoringError, match="no schema is known"):
        Scorer(swapped_file[1]).score_split(Scorable(split.inputs))


@dataclass
class Scorable:
    """Inputs without a schema."""

    inputs: Any
