"""What cannot work is refused before anything is trained, with the way in."""

from __future__ import annotations

import numpy as np
import pytest

import tfshop as ts
from tfshop._keras import keras, tf
from tfshop.data import IdFeature, Schema, SequenceFeature, VectorFeature
from tfshop.data.vocabulary import Vocabulary
from tfshop.errors import ModelError, PlanError, TfshopError
from tfshop.training.adoption import adopted, require_copyable, sample_inputs

from .styles import embedded, id_inputs

layers = keras.layers
PRUNE = ts.chain(ts.Prune(0.5), ts.Export("int8"))


@pytest.fixture(autouse=True)
def no_training(monkeypatch):
    """Whoever trains here has refused too late."""

    def refuse(*args, **kwargs):
        raise AssertionError("something was trained")

    monkeypatch.setattr(keras.Model, "fit", refuse)


def ending(inputs, hidden):
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="click")(hidden), name="theirs")


def with_layer(schema, *more):
    """A plain network with some layers between the tables and the head."""
    inputs = id_inputs(schema)
    hidden = layers.Dense(8, activation="relu", name="first")(layers.Concatenate()(embedded(schema, inputs)))
    for layer in more:
        hidden = layer(hidden)
    return ending(list(inputs.values()), hidden)


def refused(model, log, plan=PRUNE):
    with pytest.raises(TfshopError) as error:
        ts.compress(model, log, plan)
    assert "Expected" in str(error.value) and "Fix:" in str(error.value)
    return str(error.value)


def test_text_inputs_are_refused_since_strings_never_enter_the_graph(log):
    words = keras.Input((1,), dtype="string", name="id_0")
    hashed = layers.Hashing(10)(words)
    message = refused(ending(words, layers.Flatten()(layers.Embedding(10, 4)(hashed))), log)
    assert "'id_0' has dtype string" in message and "int32" in message


def test_an_input_the_schema_has_not_is_named_with_those_it_has(log):
    other = keras.Input((1,), dtype="int32", name="input_1")
    message = refused(ending(other, layers.Flatten()(layers.Embedding(10, 4)(other))), log)
    assert "'input_1'" in message and "'id_0'" in message


def test_a_table_without_a_row_for_every_id_is_refused(log):
    """TensorFlow would fail in the middle of an epoch, LiteRT would read somewhere else."""
    short = keras.Input((1,), dtype="int32", name="id_1")
    message = refused(ending(short, layers.Flatten()(layers.Embedding(12, 4)(short))), log)
    assert "largest ids" in message and "input_dim=data.schema.tables" in message


def test_a_subclassed_network_is_told_how_to_become_functional_and_does(log):
    class Ranker(keras.Model):
        def __init__(self):
            super().__init__()
            self.table = layers.Embedding(log.schema.tables["id_0"], 4)
            self.last = layers.Dense(1, activation="sigmoid")

        def call(self, inputs):
            return self.last(tf.squeeze(self.table(inputs["id_0"]), 1))

    ranker = Ranker()
    ranker({"id_0": np.zeros((2, 1), np.int32)})
    assert "(Ranker) is subclassed" in (message := refused(ranker, log))
    assert "keras.Model(inputs, model.call(inputs))" in message
    inputs = {"id_0": keras.Input((1,), dtype="int32", name="id_0")}
    rebuilt = keras.Model(inputs, ranker.call(inputs))
    assert adopted(rebuilt, log.schema).model is rebuilt
    assert rebuilt.count_params() == ranker.count_params()


def test_a_network_that_ends_in_a_logit_is_told_to_end_in_a_sigmoid(log):
    inputs = id_inputs(log.schema)
    hidden = layers.Concatenate()(embedded(log.schema, inputs))
    for ends in (layers.Dense(1), layers.Dense(1, activation=lambda x: x * 30.0 - 3.0)):
        model = keras.Model(inputs, ends(hidden))
        for use in (lambda model=model: ts.compress(model, log, PRUNE), lambda model=model: ts.evaluate(model, log)):
            with pytest.raises(ModelError, match=r"Expected a probability, in \[0, 1\]. Fix: end in a sigmoid"):
                use()
    with pytest.raises(ModelError, match="a logit"):
        ts.train(keras.Model(inputs, layers.Dense(1)(hidden)), log)


def test_a_recurrence_that_is_a_loop_is_told_to_unroll(log):
    inputs = id_inputs(log.schema)
    steps = layers.Concatenate(axis=1)([layers.Reshape((1, 4))(part) for part in embedded(log.schema, inputs)])
    model = ending(inputs, layers.GRU(4, name="steps")(steps))
    with pytest.raises(TfshopError, match=r"Fix: GRU\(…, unroll=True\) for 'steps'"):
        ts.Export("float32").to_bytes(model, log)
    unrolled = ending(inputs, layers.GRU(4, unroll=True)(steps))
    assert ts.Export("float32").to_bytes(unrolled, log)


def test_an_exporter_alone_asks_for_a_functional_network_too(log):
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ModelError, match="is subclassed"):
        ts.Export("float32").to_bytes(Subclassed(), log)


def test_a_sequential_model_without_input_is_told_what_it_lacks(log):
    assert "sequential without an input shape" in refused(keras.Sequential([layers.Dense(1)]), log)


def test_a_model_of_keras_3_is_told_the_way_over(keras_3):
    last = keras_3.refusal
    assert "ModelError" in last and "is a Keras 3 model" in last and "weights_from_keras3(path, model)" in last


def test_a_layer_without_a_config_is_refused_by_passes_and_goes_through_the_exporter(log):
    class Scale(layers.Layer):
        def __init__(self, factor):
            super().__init__()
            self.factor = tf.constant(factor)  # nothing that Keras could write down by itself

        def call(self, inputs):
            return inputs * self.factor

    model = with_layer(log.schema, Scale(2.0))
    message = refused(model, log)
    assert "(Scale) cannot be copied" in message and "get_config()" in message
    ts.chain(ts.Export("float32")).check(model, log.schema)


def test_a_layer_that_forgets_an_argument_is_refused_instead_of_scoring_differently(log):
    class Forgetful(layers.Layer):
        def __init__(self, factor=1.0, **kwargs):
            super().__init__(**kwargs)
            self.factor = factor

        def call(self, inputs):
            return inputs * self.factor

        def get_config(self):
            return {"name": self.name}

    with pytest.raises(PlanError, match=r"scores differently.*Forgetful"):
        require_copyable(with_layer(log.schema, Forgetful(3.0)), log.schema)
    require_copyable(with_layer(log.schema, Forgetful(1.0)), log.schema)


def test_no_layer_to_treat_is_refused_with_the_roles_there_are(log):
    inputs = id_inputs(log.schema)
    model = ending(list(inputs.values()), layers.Concatenate()(embedded(log.schema, inputs)))
    with pytest.raises(PlanError, match=r"no layer to prune with role.*Found roles: head, other, table. Fix:"):
        ts.compress(model, log, PRUNE)


def test_inputs_under_other_keys_than_their_names_are_not_bound_by_position(log):
    """Keras would feed the second table with the first ids, without a word."""
    inputs = {"b": keras.Input((1,), dtype="int32", name="id_0"), "a": keras.Input((1,), dtype="int32", name="id_1")}
    tables = {"b": layers.Embedding(40, 4), "a": layers.Embedding(40, 4)}
    parts = [layers.Flatten()(tables[key](tensor)) for key, tensor in inputs.items()]
    model = ending(inputs, layers.Concatenate()(parts))
    with pytest.raises(ModelError, match="stands under the key 'b'"):
        ts.train(model, log)
    flat = adopted(model, log.schema).model
    rows = {"id_0": np.int32([[3]]), "id_1": np.int32([[5]])}
    expected = model({"b": rows["id_0"], "a": rows["id_1"]})
    np.testing.assert_array_equal(flat(rows), expected)


def test_ids_declared_as_floats_come_in_as_integers(log):
    """`keras.Input((1,), name="user")` is float32 unless told otherwise."""
    inputs = {name: keras.Input((1,), name=name) for name in ("id_0", "id_1", "id_2")}
    model = ending(list(inputs.values()), layers.Concatenate()(embedded(log.schema, inputs)))
    found = adopted(model, log.schema)
    assert {tensor.dtype.name for tensor in found.model.inputs} == {"int32"}
    assert len(found.notes) == 3 and "'id_0' was declared float32" in found.notes[0]
    assert ts.evaluate(model, log, timed=False).test.num_rows == log.test.num_rows


def test_sample_rows_have_the_shape_and_the_bounds_the_schema_says():
    """An id of two hashes has two columns; the largest id of every table is among the rows."""
    hashed = IdFeature("query", hash_buckets=50, hashes=2)
    schema = Schema(
        [hashed, SequenceFeature("seen", table="item", max_length=3), VectorFeature("image", 4)], target="y"
    )
    schema = schema.replace(vocabularies={"item": Vocabulary(["a", "b"], [2, 1])})
    packed = sample_inputs(schema)
    assert {name: array.shape[1:] for name, array in packed.items()} == {
        name: spec.shape for name, spec in schema.input_specs().items()
    }
    assert packed["ids"].max(axis=0).tolist() == [schema.tables["query"] - 1] * 2
    assert packed["hist_seen"].max() == 2 and packed["vector_image"].min() > 0
