"""A feature that a network multiplies or normalizes with others goes too: its mean stands in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from networks import spread

from tfshop._keras import keras, tf
from tfshop.compression import Candidate, DropFeatures, PruneUnits
from tfshop.data import Schema, Splits
from tfshop.data.split import Split
from tfshop.errors import PlanError
from tfshop.export import Export, convert
from tfshop.layers import MaskedMean
from tfshop.runtime import Scorer, read_graph
from tfshop.training import train
from tfshop.training.inputs import model_specs

layers = keras.layers
WIDTH = 8
Fields = Mapping[str, Any]


@keras.utils.register_keras_serializable(package="tests")
class Cosine(layers.Layer):
    """A layer of somebody's own, of which nothing is known."""

    def call(self, inputs: Any) -> Any:
        one, other = (tf.math.l2_normalize(vector, axis=-1) for vector in inputs)
        return tf.reduce_sum(one * other, axis=-1, keepdims=True)


def shared_layer(fields: Fields) -> Any:
    tower = layers.Dense(WIDTH, activation="relu", name="tower")
    return layers.Multiply()([tower(fields["id_1"]), tower(fields["id_2"])])


def normalized(fields: Fields) -> Any:
    return layers.LayerNormalization()(layers.Concatenate(name="all")(list(fields.values())))


MEETINGS: Mapping[str, Callable[[Fields], Any]] = {
    "dot": lambda fields: layers.Dot(axes=1)([fields["id_1"], fields["id_2"]]),
    "cosine": lambda fields: layers.Dot(axes=1, normalize=True)([fields["id_2"], fields["id_1"]]),
    "multiply": lambda fields: layers.Multiply()([fields["id_1"], fields["id_2"]]),
    "dense": lambda fields: layers.Multiply()([fields["id_1"], layers.Dense(WIDTH)(fields["id_2"])]),
    "three": lambda fields: layers.Dot(axes=1)([layers.Multiply()([fields["id_0"], fields["id_1"]]), fields["id_2"]]),
    "history": lambda fields: layers.Dot(axes=1)([fields["id_1"], fields["hist_id_0"]]),
    "shared layer": shared_layer,
    "normalized": normalized,
    "somebody's own": lambda fields: Cosine()([fields["id_1"], fields["id_2"]]),
    "an operator": lambda fields: fields["id_1"] * fields["id_2"],
}


def network(schema: Schema, meeting: str) -> Any:
    """An `Embedding` a feature; what they give meets, and goes into a tower beside them."""
    keras.utils.set_random_seed(0)
    tables = {name: layers.Embedding(rows, WIDTH, name=f"embed_{name}") for name, rows in schema.tables.items()}
    inputs, fields = {}, {}
    for feature in schema.id_features:
        inputs[feature.name] = keras.Input((1,), dtype="int32", name=feature.name)
        fields[feature.name] = layers.Flatten()(tables[feature.table_name](inputs[feature.name]))
    for feature in schema.sequence_features:
        ids = keras.Input((feature.max_length,), dtype="int32", name=feature.input_name)
        inputs[feature.input_name] = ids
        fields[feature.input_name] = layers.Flatten()(MaskedMean()([tables[feature.table_name](ids), ids]))
    met = MEETINGS[meeting](fields)
    x = layers.Dense(16, use_bias=False, name="first")(layers.Concatenate(name="joined")([*fields.values(), met]))
    x = layers.ReLU()(layers.BatchNormalization(name="norm")(x))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="probability")(x), name="others")
    spread(model)
    return model


def dropped(model: Any, data: Splits, *names: str, **settings: Any) -> Candidate:
    step = DropFeatures(names, **{"epochs": 0, **settings})
    step.check(model, data.schema)
    return step.apply(Candidate(model, data.schema), data, seed=0)


def rows_of(model: Any, split: Split, num_rows: int = 60) -> dict[str, np.ndarray]:
    inputs, _ = next(iter(split.take(num_rows).with_batch_size(num_rows).batches(inputs=model_specs(model))))
    return {name: np.asarray(values) for name, values in inputs.items()}


def with_one_id(data: Splits, name: str) -> Splits:
    """The same rows, all with one id of a feature."""
    column = [feature.name for feature in data.schema.id_columns].index(name)

    def changed(split: Split) -> Split:
        ids = split.inputs["ids"].copy()
        ids[:, column] = 3
        return replace(split, inputs={**split.inputs, "ids": ids})

    return replace(data, train=changed(data.train), validation=changed(data.validation))


@pytest.mark.parametrize("meeting", MEETINGS)
def test_a_feature_goes_though_it_meets_another(meeting: str, clicks: Splits) -> None:
    model = network(clicks.schema, meeting)
    after = dropped(model, clicks, "id_1")
    assert after.history[0].notes["how"] == {"id_1": "replaced by its mean"}
    smaller = after.model
    assert model_specs(smaller) == model_specs(model)
    rows = rows_of(model, clicks.validation)
    found = smaller(rows).numpy()
    for name in rows:
        others = {**rows, name: (rows[name] + 7) % 50}
        assert not np.array_equal(model(others).numpy(), model(rows).numpy())
        assert np.array_equal(smaller(others).numpy(), found) == (name == "id_1")
    before_file, file = convert(model, "float32"), convert(smaller, "float32")
    table = 4 * WIDTH * clicks.schema.tables["id_1"]
    assert 0.6 * table < len(before_file) - len(file)  # a few operators give the constant
    assert read_graph(file).custom_operators == ()
    np.testing.assert_allclose(np.ravel(Scorer(file)(rows)), found.ravel(), atol=1e-6)


def lookups(file: bytes) -> int:
    return [operator.kind for operator in read_graph(file).operators].count("GATHER")


@pytest.mark.parametrize("meeting", ["dot", "multiply", "shared layer"])
def test_the_int8_file_gives_the_same(meeting: str, clicks: Splits) -> None:
    model = network(clicks.schema, meeting)
    smaller = dropped(model, clicks, "id_1").model
    before_file, file = (Export("int8", calibration_rows=512).to_bytes(m, clicks) for m in (model, smaller))
    assert len(file) < len(before_file) and lookups(file) == lookups(before_file) - 1
    graph = read_graph(file)
    kinds = {operator.kind: graph.tensors[operator.outputs[0]].dtype for operator in graph.operators}
    assert kinds["BROADCAST_TO"] == "int8"
    rows = rows_of(model, clicks.validation)
    found, expected = np.ravel(Scorer(file)(rows)), smaller(rows).numpy().ravel()
    assert np.abs(found - expected).mean() < 0.02 and np.corrcoef(found, expected)[0, 1] > 0.98
    others = {**rows, "id_1": (rows["id_1"] + 7) % 50}
    np.testing.assert_array_equal(np.ravel(Scorer(file)(others)), found)


@pytest.mark.parametrize("meeting", MEETINGS)
def test_nothing_changes_where_a_feature_is_always_the_same(meeting: str, clicks: Splits) -> None:
    """The mean is then what the network read: in the constants, and in what a layer without a bias lost."""
    data = with_one_id(clicks, "id_1")
    model = network(data.schema, meeting)
    rows = rows_of(model, data.validation)
    smaller = dropped(model, data, "id_1").model
    np.testing.assert_allclose(smaller(rows).numpy(), model(rows).numpy(), atol=1e-6)
    zeros = dropped(model, data, "id_1", compensate=False)
    assert zeros.history[0].notes["how"] == {"id_1": "replaced by zeros"}
    assert np.abs(zeros.model(rows).numpy() - model(rows).numpy()).max() > 1e-3


def unbiased(schema: Schema, kind: str) -> Any:
    """Layers without bias or normalization read a feature among others, or alone before a sum."""
    keras.utils.set_random_seed(0)
    inputs = {f.name: keras.Input((1,), dtype="int32", name=f.name) for f in schema.id_features}
    fields = [
        layers.Flatten()(layers.Embedding(schema.tables[n], WIDTH, name=f"embed_{n}")(x)) for n, x in inputs.items()
    ]
    if kind == "among others":
        x = layers.Dense(16, use_bias=False, activation="relu", name="first")(layers.Concatenate()(fields))
    else:
        named = [layers.Dense(16, use_bias=False, name=f"of_{n}") for n in inputs]
        x = layers.ReLU()(layers.Add()([layer(field) for layer, field in zip(named, fields, strict=True)]))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="probability")(x))
    spread(model)
    return model


@pytest.mark.parametrize(("kind", "biased"), [("among others", ["first"]), ("in a sum", ["of_id_0"])])
def test_the_mean_stays_where_a_layer_has_no_bias(kind: str, biased: list[str], clicks: Splits) -> None:
    """Scores are then those of a network that reads the feature's mean row whatever its id."""
    model = unbiased(clicks.schema, kind)
    after = dropped(model, clicks, "id_1")
    assert after.history[0].notes["how"] == {"id_1": "removed"}
    assert after.history[0].notes["compensated"] == biased
    assert [x.name for x in after.model.layers if isinstance(x, layers.Dense) and x.use_bias] == [
        *biased,
        "probability",
    ]
    assert after.model.count_params() < model.count_params()
    sample = rows_of(model, clicks.train.take(4096, seed=0), 4096)
    ids, rows = sample["id_1"].ravel(), model.get_layer("embed_id_1").get_weights()[0]
    told = DropFeatures(("id_1",), epochs=0).foreseen(model, clicks.schema)
    assert [w.shape for w in told.get_weights()] == [w.shape for w in after.model.get_weights()]
    model.get_layer("embed_id_1").set_weights([np.broadcast_to(rows[ids].mean(axis=0), rows.shape)])
    few = rows_of(model, clicks.validation)
    np.testing.assert_allclose(after.model(few).numpy(), model(few).numpy(), atol=1e-5)
    zeros = DropFeatures(("id_1",), epochs=0, compensate=False)
    bare = zeros.apply(Candidate(model, clicks.schema), clicks, seed=0).model
    assert np.abs(bare(few).numpy() - model(few).numpy()).max() > 1e-3


def test_features_that_meet_each_other_alone_go_with_the_product(clicks: Splits) -> None:
    model = network(clicks.schema, "dot")
    after = dropped(model, clicks, "id_1", "id_2")
    assert after.history[0].notes["how"] == {"id_1": "removed", "id_2": "removed"}
    assert not {"dot", "embed_id_1", "embed_id_2"} & {layer.name for layer in after.model.layers}


def test_a_table_that_another_feature_reads_stays(clicks: Splits) -> None:
    model = network(clicks.schema, "three")
    assert any(layer.name == "embed_id_0" for layer in dropped(model, clicks, "id_0").model.layers)
    both = dropped(model, clicks, "id_0", "hist_id_0").model
    assert not any(layer.name == "embed_id_0" for layer in both.layers)


def test_a_useless_feature_is_found_and_replaced(clicks: Splits) -> None:
    model = network(clicks.schema, "dot")
    train(model, clicks, epochs=1, learning_rate=5e-3)
    table = model.get_layer("embed_id_1")
    table.set_weights([np.repeat(table.get_weights()[0][:1], table.input_dim, axis=0)])
    step = DropFeatures(max_auc_drop=0.0, epochs=0)
    step.check(model, clicks.schema)
    after = step.apply(Candidate(model, clicks.schema), clicks, seed=0)
    notes = after.history[0].notes
    assert notes["how"]["id_1"] == "replaced by its mean" and notes["not_to_be_dropped"] == {
        "number_0": "no input of the network is named after it",
        "number_1": "no input of the network is named after it",
    }
    rows = rows_of(model, clicks.validation)
    alone = dropped(model, clicks, "id_1").model
    np.testing.assert_allclose(alone(rows).numpy(), model(rows).numpy(), atol=1e-6)


def test_constants_are_trained_saved_and_pruned_with_the_rest(clicks: Splits, tmp_path: Any) -> None:
    model = network(clicks.schema, "multiply")
    small = replace(clicks, train=clicks.train.take(1024))
    still, trained, again = (dropped(model, small, "id_1", epochs=epochs).model for epochs in (0, 1, 1))
    (name,) = (layer.name for layer in still.layers if layer.name.endswith("_constant"))
    before, after, same = (m.get_layer(name).get_weights()[0] for m in (still, trained, again))
    assert before.shape == (WIDTH,) and not np.array_equal(before, after)
    np.testing.assert_array_equal(after, same)
    trained.save(tmp_path / "model.keras")
    rows = rows_of(model, clicks.validation)
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(rows).numpy(), trained(rows).numpy())
    pruned = PruneUnits(0.5, epochs=0).apply(Candidate(trained, clicks.schema), small, seed=0).model
    assert pruned.get_layer("first").units == 8
    twice = dropped(pruned, small, "id_2")
    assert twice.history[0].notes["how"] == {"id_2": "removed"}
    assert not any(layer.name.endswith("_constant") for layer in twice.model.layers)


def test_packed_numbers_that_a_layer_normalizes_go_one_by_one(clicks: Splits) -> None:
    def build(columns: Any) -> Any:
        ids = layers.Flatten()(layers.Embedding(300, 4)(columns["ids"]))
        numbers = layers.LayerNormalization(name="norm")(columns["numeric"])
        return layers.Dense(1, activation="sigmoid", name="probability")(layers.Concatenate()([ids, numbers]))

    inputs = {"ids": keras.Input((3,), dtype="int32", name="ids"), "numeric": keras.Input((2,), name="numeric")}
    model = keras.Model(inputs, build(inputs))
    spread(model)
    after = dropped(model, clicks, "number_0")
    assert after.history[0].notes["how"] == {"number_0": "replaced by its mean"}
    rows = {name: np.nan_to_num(values) for name, values in rows_of(model, clicks.validation).items()}
    mean = np.nanmean(clicks.train.take(4096, seed=0).inputs["numeric"][:, 0])
    expected = {**rows, "numeric": np.stack([np.full(60, mean, np.float32), rows["numeric"][:, 1]], axis=1)}
    np.testing.assert_allclose(after.model(rows).numpy(), model(expected).numpy(), atol=1e-6)


def test_columns_that_an_operator_picks_are_refused_with_a_way_out(clicks: Splits) -> None:
    ids = keras.Input((3,), dtype="int32", name="ids")
    vectors = [layers.Embedding(300, 4)(ids[:, number]) for number in range(3)]
    logit = layers.Dense(1, activation="sigmoid")(layers.Concatenate()(vectors))
    model = keras.Model({"ids": ids}, logit)
    with pytest.raises(PlanError, match=r"cannot drop 'id_1'.*SlicingOpLambda.*Fix: give each id feature an input"):
        DropFeatures(("id_1",)).check(model, clicks.schema)
    with pytest.raises(PlanError, match=r"can drop no feature.*Fix: give each id feature an input"):
        DropFeatures().check(model, clicks.schema)
