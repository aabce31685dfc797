"""The audit lets a good file through and refuses each kind of bad one, with the tensor and the remedy."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from helpers import first_rows, keras_scores

from tfshop._keras import keras, tf
from tfshop.compression.rebuild import copy_model
from tfshop.data import Splits
from tfshop.errors import AuditError
from tfshop.evaluation.audit import audit_file
from tfshop.export import Export
from tfshop.models import build_model
from tfshop.runtime import lookup_tables, read_graph, zero_rows


def stock(model: Any, *, data: Splits | None = None, flex: bool = False) -> bytes:
    """Convert as a guide shows it: default optimizations where there is data to calibrate on."""
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    if flex:
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS, tf.lite.OpsSet.SELECT_TF_OPS]
    if data is not None:
        names = [tensor.name for tensor in model.inputs]

        def batches() -> Iterator[dict[str, np.ndarray]]:
            for start in range(0, 1000, 50):
                yield {
                    name: data.train.inputs[name][start : start + 50].astype(model.get_layer(name).dtype)
                    for name in names
                }

        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = batches
    return bytes(converter.convert())


class OddLayer(keras.layers.Layer):
    """A layer that does to its inputs what it is told."""

    def __init__(self, function: Callable[[Any], Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function

    def call(self, values: Any) -> Any:
        """Apply the function."""
        return self.function(values)


def small_network(
    fields: Callable[[Any], Any], *, dtype: str = "int32", head: Callable[[Any], Any] | None = None
) -> Any:
    """`ids`, then what `fields` makes of them, then a Dense layer with wide weights and a head."""
    keras.utils.set_random_seed(1)
    ids = keras.Input((3,), dtype=dtype, name="ids")
    wide = keras.initializers.RandomNormal(stddev=0.8)
    hidden = keras.layers.Dense(8, activation="relu", kernel_initializer=wide)(keras.layers.Flatten()(fields(ids)))
    logit = keras.layers.Dense(1, name="logit", kernel_initializer=wide)(hidden)
    score = OddLayer(head or tf.sigmoid, name="probability")(logit)
    return keras.Model(ids, score)


def table() -> Any:
    return keras.layers.Embedding(
        101, 4, embeddings_initializer=keras.initializers.RandomNormal(stddev=1.0), name="table"
    )


@pytest.fixture(scope="module")
def plain(dense_clicks: Splits) -> tuple[Any, bytes]:
    """A network without numerics, and its float32 file."""
    model = small_network(table())
    return model, Export("float32").to_bytes(model, dense_clicks)


@pytest.mark.parametrize("mode", ["float32", "float16", "dynamic", "int8"])
def test_a_good_file_passes_and_its_figures_are_told(
    mode: str, trained_mlp: Any, exported: Callable[[str, str], bytes], clicks: Splits
) -> None:
    content = exported("mlp", mode)
    audit = audit_file(content, trained_mlp, clicks, mode=mode, baseline=exported("mlp", "float32"))
    assert audit.operators == read_graph(content).kinds and audit.zeroed_rows == 0
    assert 0 <= audit.parity_gap_mean <= audit.parity_gap_max < {"float32": 1e-5}.get(mode, 0.1)
    if mode != "float32":
        assert audit.parity_gap_mean > 1e-6
    assert audit.tie_rate < 1e-3
    assert f"{sum(audit.operators.values())}), ids reach the tables untouched" in audit.sentence


def test_a_custom_operator_is_refused(dense_clicks: Splits) -> None:
    inverse = OddLayer(lambda x: tf.linalg.inv(x[:, :, :3] + 9 * tf.eye(3)), name="inverse")
    model = small_network(lambda ids: inverse(table()(ids)))
    content = stock(model, flex=True)
    with pytest.raises(
        AuditError, match=r"(?s)needs CUSTOM:Flex\w+ \(first at tensor '.+'\).*Expected builtin.*Fix: replace"
    ):
        audit_file(content, model, dense_clicks, mode="float32")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused(share: float, plain: tuple[Any, bytes], dense_clicks: Splits) -> None:
    model, content = plain
    with pytest.raises(AuditError, match=r"(cannot be read back|does not load and score).*Fix:"):
        audit_file(content[: int(share * len(content))], model, dense_clicks, mode="float32")


def test_a_file_whose_scores_are_not_finite_is_refused(dense_clicks: Splits) -> None:
    """The logarithm of a negative number, for some rows."""
    model = small_network(table(), head=lambda logit: tf.sigmoid(tf.math.log(logit)))
    content = Export("float32").to_bytes(model, dense_clicks)
    with pytest.raises(AuditError, match=r"does not load and score: .*not finite.*Fix:"):
        audit_file(content, model, dense_clicks, mode="float32")


def test_a_file_that_takes_other_ids_than_the_data_has_is_refused(dense_clicks: Splits) -> None:
    """Its table ends before the ids do: LiteRT stops at the lookup."""
    short = small_network(keras.layers.Embedding(5, 4))
    with pytest.raises(AuditError, match=r"does not load and score"):
        audit_file(Export("float32").to_bytes(short, dense_clicks), short, dense_clicks, mode="float32")


def test_float_ids_are_refused_by_the_name_of_their_input(dense_clicks: Splits) -> None:
    model = small_network(lambda ids: table()(OddLayer(lambda x: tf.cast(x, tf.int32))(ids)), dtype="float32")
    content = stock(model)
    with pytest.raises(
        AuditError, match=r"ids of input 'ids' pass input 'ids' of type float32.*Fix: declare the input as int32"
    ):
        audit_file(content, model, dense_clicks, mode="float32")


def test_ids_that_pass_a_quantizing_operator_are_refused(dense_clicks: Splits) -> None:
    """Float ids under the stock int8 converter, and int ids that somebody rounds."""

    def rounded(ids: Any) -> Any:
        rough = tf.quantization.fake_quant_with_min_max_args(tf.cast(ids, tf.float32), 0.0, 100.0)
        return tf.cast(rough, tf.int32)

    model = small_network(lambda ids: table()(OddLayer(rounded)(ids)))
    with pytest.raises(
        AuditError, match=r"ids of input 'ids' pass (operator \d+ (DE)?QUANTIZE|tensor \d+ .*scale).*Fix:.*QAT\(roles"
    ):
        audit_file(stock(model), model, dense_clicks, mode="float32")


def test_a_table_whose_small_rows_became_zero_is_refused(dense_clicks: Splits) -> None:
    """Rows with log-normal norms under the stock converter, which gives a whole table one scale."""
    model = build_model("mlp", dense_clicks.schema, dimension=8, hidden=(16,))
    rows = model.get_layer("table").get_weights()[0]
    norms = np.random.default_rng(0).lognormal(0, 1.5, (len(rows), 1))
    model.get_layer("table").set_weights([rows * norms])
    content = stock(model, data=dense_clicks)
    with pytest.raises(
        AuditError,
        match=r"table '.+' \(\d+ rows\): \d+ of \d+ non-zero rows became zero, \d+\.\d%.*Fix: Export\('float16'\)",
    ) as refusal:
        audit_file(content, model, dense_clicks, mode="int8")
    told = int(re.search(rf"(\d+) of {len(rows)}", str(refusal.value)).group(1))
    scale = np.abs(model.get_layer("table").get_weights()[0]).max() / 127
    expected = (np.abs(rows * norms).max(axis=1) < scale / 2).sum()
    assert told == pytest.approx(expected, abs=3) and told > 30
    for remedy in ("float16", "int16x8"):  # both are in the message, so both have to help
        assert "Export('" + remedy in str(refusal.value)
        (cured,) = lookup_tables(read_graph(Export(remedy, 256).to_bytes(model, dense_clicks)))
        assert zero_rows(cured.tensor.values()).sum() == 0, remedy


@pytest.mark.parametrize(("spread", "refused"), [(0.0, False), (2.5, True)])
def test_a_table_of_single_numbers_may_round_a_few_of_them_to_zero(
    spread: float, refused: bool, dense_clicks: Splits
) -> None:
    """Of normally distributed weights 1% lie within half a step of zero; a lost id is another matter."""
    model = build_model("logistic_regression", dense_clicks.schema)
    (table,) = (layer for layer in model.layers if type(layer) is keras.layers.Embedding)
    draw = np.random.default_rng(0)
    shape = table.get_weights()[0].shape
    table.set_weights([draw.normal(0, 0.1, shape) * draw.lognormal(0, spread, shape)])
    content = stock(model, data=dense_clicks)
    (stored,) = lookup_tables(read_graph(content))
    assert zero_rows(stored.tensor.values()).mean() > 0.01
    if refused:
        with pytest.raises(AuditError, match="Expected at most 10%"):
            audit_file(content, model, dense_clicks, mode="int8")
    else:
        assert 0.01 < audit_file(content, model, dense_clicks, mode="int8").zeroed_rows < 0.1


def test_rows_that_were_zero_before_are_not_counted(dense_clicks: Splits) -> None:
    model = build_model("mlp", dense_clicks.schema, dimension=8, hidden=(16,))
    rows = np.array(model.get_layer("table").get_weights()[0])
    rows[:200] = 0.0
    model.get_layer("table").set_weights([rows])
    audit = audit_file(stock(model, data=dense_clicks), model, dense_clicks, mode="int8")
    assert audit.zeroed_rows == 0


def test_an_output_with_few_levels_is_refused(dense_clicks: Splits, plain: tuple[Any, bytes]) -> None:
    """The file is its own model's twin; what it lost shows only beside the baseline's ties."""
    model = small_network(table(), head=lambda logit: tf.round(tf.sigmoid(logit) * 8) / 8)
    content = Export("float32").to_bytes(model, dense_clicks)
    assert audit_file(content, model, dense_clicks, mode="int8").tie_rate > 0.05
    with pytest.raises(
        AuditError,
        match=r"output 'probability': \S+ of the \(positive, negative\) pairs have equal scores.*Fix: QAT\(\)",
    ):
        audit_file(content, model, dense_clicks, mode="int8", baseline=plain[1])


def test_256_levels_are_let_through_where_int8_ends_were_asked_for(
    dense_clicks: Splits, plain: tuple[Any, bytes]
) -> None:
    model = small_network(table(), head=lambda logit: tf.round(tf.sigmoid(logit) * 256) / 256)
    content = Export("float32").to_bytes(model, dense_clicks)
    assert audit_file(content, model, dense_clicks, mode="int8_io", baseline=plain[1]).tie_rate > 0


def test_one_negative_a_positive_may_tie_where_the_baseline_has_no_ties(
    plain: tuple[Any, bytes], dense_clicks: Splits, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, content = plain
    labels = dense_clicks.validation.labels
    scores = np.linspace(0.1, 0.9, labels.size)
    tied = scores.copy()
    negatives, (first, second, *_) = np.flatnonzero(labels == 0), np.flatnonzero(labels == 1)
    tied[negatives[0]] = tied[first]

    def audited(found: np.ndarray) -> float:
        given = iter([found, scores])  # of the file, then of its baseline
        monkeypatch.setattr("tfshop.evaluation.audit._parity", lambda *args: (0.0, 0.0))
        monkeypatch.setattr("tfshop.evaluation.audit._scores", lambda *args: {dense_clicks.schema.target: next(given)})
        return audit_file(content, model, dense_clicks, mode="int8", baseline=content).tie_rate

    assert 0 < audited(tied) < 1e-4
    tied[negatives[: 2 * int(labels.sum())]] = tied[second]
    with pytest.raises(AuditError, match="have equal scores"):
        audited(tied)


def test_a_file_of_another_model_is_refused(
    trained_mlp: Any, exported: Callable[[str, str], bytes], clicks: Splits
) -> None:
    other = copy_model(trained_mlp)
    kernel, bias = other.get_layer("logit").get_weights()
    other.get_layer("logit").set_weights([-kernel, bias])
    for mode, remedy in (("float32", "Export('float32')"), ("int8", "QAT()")):
        with pytest.raises(
            AuditError, match=rf"(?s)output 'probability' of the {mode} file differs.*Fix: .*{re.escape(remedy)}"
        ):
            audit_file(exported("mlp", mode), other, clicks, mode=mode)


def test_a_small_shift_is_a_gap_in_float32_and_none_in_int8(
    trained_mlp: Any, exported: Callable[[str, str], bytes], clicks: Splits
) -> None:
    """What is allowed depends on the mode."""
    shifted = copy_model(trained_mlp)
    kernel, bias = shifted.get_layer("logit").get_weights()
    shifted.get_layer("logit").set_weights([kernel, bias + 0.005])
    content = exported("mlp", "float32")
    audit = audit_file(content, shifted, clicks, mode="int8")
    rows = first_rows(clicks.validation.inputs, clicks.validation.num_rows)
    gaps = np.abs(keras_scores(shifted, rows) - keras_scores(trained_mlp, rows))
    assert audit.parity_gap_max == pytest.approx(gaps.max(), abs=1e-6)
    assert audit.parity_gap_mean == pytest.approx(gaps.mean(), abs=1e-6)
    with pytest.raises(AuditError, match="differs from the Keras model"):
        audit_file(content, shifted, clicks, mode="float32")
    shifted.get_layer("logit").set_weights([kernel, bias + 0.25])
    with pytest.raises(AuditError, match=r"by [34]\.\d+e-02 on average .*at most 2e-02 on average and 5e-01"):
        audit_file(content, shifted, clicks, mode="int8")  # on average too much, though nowhere half a probability


def test_the_test_split_is_not_read(trained_mlp: Any, exported: Callable[[str, str], bytes], clicks: Splits) -> None:
    blind = Splits(clicks.train, clicks.validation, None, clicks.schema)  # type: ignore[arg-type]
    assert audit_file(exported("mlp", "int8"), trained_mlp, blind, mode="int8", baseline=exported("mlp", "float32"))
