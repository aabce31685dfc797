"""Adam on what is dense, and only on the rows that occurred in what is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import first_rows, keras_scores, same_weights

from tfshop._keras import keras, tf
from tfshop.data import Splits
from tfshop.models import build_model
from tfshop.training import LazyAdam

FLOATS = (tf.float32, tf.float64, tf.float32)


def sparse(values: list[list[float]], rows: list[int], num_rows: int) -> tf.IndexedSlices:
    return tf.IndexedSlices(tf.constant(values), tf.constant(rows), dense_shape=tf.constant([num_rows, len(values[0])]))


def moments(optimizer: LazyAdam) -> list[np.ndarray]:
    """First and second moment of the only variable."""
    return [optimizer._first_moments[0].numpy(), optimizer._second_moments[0].numpy()]


def test_dense_weights_follow_keras_adam_step_by_step() -> None:
    rng = np.random.default_rng(0)
    start = rng.normal(size=(6, 4)).astype(np.float32)
    ours, theirs = tf.Variable(start), tf.Variable(start)
    settings = {"learning_rate": 0.05, "beta_1": 0.8, "beta_2": 0.95, "epsilon": 1e-6}
    lazy, adam = LazyAdam(**settings), keras.optimizers.Adam(**settings)
    for _ in range(12):
        gradient = tf.constant(rng.normal(size=start.shape).astype(np.float32))
        lazy.apply_gradients([(gradient, ours)])
        adam.apply_gradients([(gradient, theirs)])
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-6, rtol=0)
    assert np.abs(ours.numpy() - start).min() > 1e-3


def test_a_schedule_of_the_learning_rate_is_followed() -> None:
    schedule = keras.optimizers.schedules.PiecewiseConstantDecay([0], [0.1, 0.0])
    variable = tf.Variable([1.0])
    optimizer = LazyAdam(schedule)
    optimizer.apply_gradients([(tf.constant([1.0]), variable)])
    after_one = variable.numpy()
    optimizer.apply_gradients([(tf.constant([1.0]), variable)])
    assert after_one[0] == pytest.approx(0.9, abs=1e-4) and variable.numpy() == after_one


def test_rows_that_occur_at_every_step_follow_adam_too() -> None:
    rng = np.random.default_rng(1)
    start = rng.normal(size=(3, 2)).astype(np.float32)
    table, dense = tf.Variable(start), tf.Variable(start)
    lazy, adam = LazyAdam(0.05), keras.optimizers.Adam(0.05)
    for _ in range(5):
        values = rng.normal(size=(3, 2)).astype(np.float32)
        lazy.apply_gradients([(sparse(values[[2, 0, 1]].tolist(), [2, 0, 1], 3), table)])
        adam.apply_gradients([(tf.constant(values), dense)])
    np.testing.assert_allclose(table.numpy(), dense.numpy(), atol=1e-6)


def test_rows_outside_the_batch_keep_their_weights_and_moments_exactly() -> None:
    """Keras Adam moves them: their momentum goes on."""
    table = tf.Variable(np.arange(10, dtype=np.float32).reshape(5, 2))
    optimizer = LazyAdam(0.1)
    optimizer.apply_gradients([(sparse([[1.0, -2.0]] * 3, [0, 1, 2], 5), table)])
    before, old_moments = table.numpy(), moments(optimizer)
    optimizer.apply_gradients([(sparse([[3.0, 3.0]] * 2, [1, 4], 5), table)])
    untouched, touched = [0, 2, 3], [1, 4]
    np.testing.assert_array_equal(table.numpy()[untouched], before[untouched])
    for old, new in zip(old_moments, moments(optimizer), strict=True):
        np.testing.assert_array_equal(new[untouched], old[untouched])
        assert (new[touched] != old[touched]).all()
    assert (table.numpy()[touched] != before[touched]).all()


def test_an_id_that_occurs_twice_in_a_batch_gets_the_sum_of_its_gradients() -> None:
    twice, once = tf.Variable(tf.ones((4, 2))), tf.Variable(tf.ones((4, 2)))
    for values, rows, table in (
        ([[1.0, 5.0], [0.5, 0.5], [2.0, -1.0]], [3, 0, 3], twice),
        ([[3.0, 4.0], [0.5, 0.5]], [3, 0], once),
    ):
        optimizer = LazyAdam(0.1)
        optimizer.apply_gradients([(sparse(values, rows, 4), table)])
        np.testing.assert_allclose(moments(optimizer)[0][3], [0.3, 0.4], rtol=1e-6)
        np.testing.assert_allclose(moments(optimizer)[1][3], [0.009, 0.016], rtol=1e-5)
    np.testing.assert_allclose(twice.numpy(), once.numpy(), atol=1e-7)


@pytest.mark.parametrize("num_rows", [60, 900], ids=["ticked off in a list", "hashed"])
@pytest.mark.parametrize("ids", [tf.int32, tf.int64])
@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((500, 16), tf.float32), ((500, 3), tf.float64), ((500,), tf.float32), ((500, 2, 3), tf.float32)],
)
def test_rows_are_summed_as_a_segment_sum_does_to_the_bit(
    shape: tuple[int, ...], dtype: tf.DType, ids: tf.DType, num_rows: int
) -> None:
    values = tf.random.stateless_normal(shape, seed=(1, 2), dtype=dtype)
    rows = tf.random.stateless_uniform((500,), seed=(3, 4), maxval=60, dtype=ids)
    optimizer = LazyAdam()

    @tf.function(input_signature=[tf.TensorSpec((None, *shape[1:]), dtype), tf.TensorSpec([None], ids)])
    def of_any_length(values: tf.Tensor, rows: tf.Tensor) -> list[tf.IndexedSlices]:
        gradient = tf.IndexedSlices(values, rows, tf.constant([num_rows, *shape[1:]]))
        return optimizer._deduplicate_sparse_grad([gradient])

    gradient = tf.IndexedSlices(values, rows, tf.constant([num_rows, *shape[1:]]))
    unique, positions = tf.unique(rows)
    expected = tf.math.unsorted_segment_sum(values, positions, tf.size(unique)).numpy()
    in_order = np.argsort(unique) if num_rows < 500 else slice(None)
    for (found,) in (of_any_length(values, rows), optimizer._deduplicate_sparse_grad([gradient])):
        assert found.indices.dtype == ids and len(unique) <= 60
        np.testing.assert_array_equal(found.indices, unique.numpy()[in_order])
        np.testing.assert_array_equal(found.values, expected[in_order])


def test_the_step_number_is_the_global_one() -> None:
    """A row that occurs first at step 3 is corrected as at step 3: Adam's own formula, by hand."""
    table = tf.Variable(tf.zeros((2, 1)))
    optimizer = LazyAdam(0.1)
    for row in (0, 0, 1):
        optimizer.apply_gradients([(sparse([[2.0]], [row], 2), table)])
    rate = 0.1 * np.sqrt(1 - 0.999**3) / (1 - 0.9**3)
    expected = -rate * (0.1 * 2.0) / (np.sqrt(0.001 * 4.0) + 1e-7)
    assert table.numpy()[1, 0] == pytest.approx(expected, rel=1e-5)


def test_plain_keras_fit_works_with_the_usual_callbacks(clicks: Splits, tmp_path) -> None:
    model = build_model("mlp", clicks.schema, dimension=4, hidden=(8,))
    model.compile(LazyAdam(0.02), "binary_crossentropy", metrics=[keras.metrics.AUC(name="auc")])
    callbacks = [
        keras.callbacks.EarlyStopping("val_auc", mode="max", patience=0, restore_best_weights=True),
        keras.callbacks.CSVLogger(str(tmp_path / "log.csv")),
        keras.callbacks.ModelCheckpoint(
            str(tmp_path / "best.keras"), monitor="val_auc", mode="max", save_best_only=True
        ),
    ]
    history = model.fit(
        clicks.train.batches(shuffle=True, seed=1),
        validation_data=clicks.validation.batches(),
        epochs=15,
        callbacks=callbacks,
        verbose=0,
    )
    aucs = history.history["val_auc"]
    assert max(aucs) > 0.75 and len(aucs) < 15
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 1 + len(aucs)
    best = keras.models.load_model(tmp_path / "best.keras")
    rows = first_rows(clicks.validation.inputs, 40)
    np.testing.assert_allclose(keras_scores(best, rows), keras_scores(model, rows), atol=1e-6)


def test_tensorboard_logs_a_training_with_lazy_adam(clicks: Splits, tmp_path) -> None:
    pytest.importorskip("tensorboard")
    model = build_model("mlp", clicks.schema, dimension=4, hidden=(8,))
    model.compile(LazyAdam(), "binary_crossentropy")
    model.fit(clicks.train.batches(), epochs=1, verbose=0, callbacks=[keras.callbacks.TensorBoard(str(tmp_path))])
    assert list((tmp_path / "train").glob("events.out.tfevents.*"))


def test_a_saved_training_goes_on_where_it_stopped(clicks: Splits, tmp_path) -> None:
    """Step number and moments are saved with the model: the next step of the copy is that of the original."""
    model = build_model("mlp", clicks.schema, dimension=4, hidden=(8,))
    model.compile(LazyAdam(0.01, beta_1=0.7), "binary_crossentropy")
    step(model, clicks, 3)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert type(loaded.optimizer) is LazyAdam and loaded.optimizer.beta_1 == 0.7
    assert int(loaded.optimizer.iterations) == 3
    step(model, clicks, 1)
    step(loaded, clicks, 1)
    for one, other in zip(model.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    fresh = build_model("mlp", clicks.schema, dimension=4, hidden=(8,))
    assert not same_weights(fresh, loaded)


def step(model: Any, data: Splits, times: int) -> None:
    for _ in range(times):
        model.train_on_batch(first_rows(data.train.inputs, 64), data.train.labels[:64, None])


def test_the_cost_of_a_step_does_not_grow_with_the_table() -> None:
    """The update reads and writes the rows of the batch: no operator of the table's size is in the graph."""
    table = tf.Variable(tf.zeros((5000, 4)))
    optimizer = LazyAdam()
    optimizer.build([table])

    @tf.function
    def update(gradient: tf.Tensor) -> None:
        optimizer.apply_gradients([(tf.IndexedSlices(gradient, tf.constant([1, 2]), tf.constant([5000, 4])), table)])

    graph = update.get_concrete_function(tf.zeros((2, 4))).graph
    large = [
        tensor.name
        for function in [graph, *(f.graph for f in graph._functions.values() if hasattr(f, "graph"))]
        for operation in function.get_operations()
        for tensor in operation.outputs
        if tensor.shape.rank and tensor.shape[0] == 5000
    ]
    assert large == []


def test_all_variables_of_a_step_share_one_rate_which_is_that_of_each_to_the_bit() -> None:
    starts = [tf.random.stateless_normal((4, 3), (number, 1), dtype=kind) for number, kind in enumerate(FLOATS)]
    together, apart = ([tf.Variable(start) for start in starts] for _ in range(2))
    shared, each = (LazyAdam(keras.optimizers.schedules.ExponentialDecay(0.1, 3, 0.5)) for _ in range(2))
    each.build(apart)
    step = tf.function(lambda gradients: shared.apply_gradients(zip(gradients, together, strict=True)))
    for number in range(3):
        gradients = [tf.random.stateless_normal((4, 3), (number, 2), dtype=kind) for kind in FLOATS]
        step(gradients)
        each._compute_current_learning_rate()
        for gradient, variable in zip(gradients, apart, strict=True):
            each.update_step(gradient, variable)
        each.iterations.assign_add(1)
    for one, other, start in zip(together, apart, starts, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())
        assert (one.numpy() != start.numpy()).all()
    operators = [operation.type for operation in step.get_concrete_function(gradients).graph.get_operations()]
    assert operators.count("Pow") == 2 * len(set(FLOATS)) + 1, "and one of the schedule"
