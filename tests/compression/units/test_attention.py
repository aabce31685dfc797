"""A MultiHeadAttention is followed by the names of its arguments, and a mask keeps what it is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from networks import spread

from tfshop._keras import keras, tf
from tfshop.compression import Candidate, DropFeatures, PruneUnits
from tfshop.compression.units.groups import groups
from tfshop.compression.units.surgery import shrunk
from tfshop.compression.units.trace import Trace, follow
from tfshop.data import Splits
from tfshop.training.inputs import model_specs

from .graphs import rows, zeroed

layers = keras.layers
QUERIES, POSITIONS = 3, 4
Attend = Callable[[Any, Any, Any, Any, Any], Any]

CALLS: Mapping[str, Attend] = {
    "mask by position": lambda layer, query, value, key, mask: layer(query, value, key, mask),
    "mask by name": lambda layer, query, value, key, mask: layer(query, value, key, attention_mask=mask),
    "all by name": lambda layer, query, value, key, mask: layer(query=query, key=key, value=value),
    "any order": lambda layer, query, value, key, mask: layer(key=key, attention_mask=mask, value=value, query=query),
    "no key": lambda layer, query, value, key, mask: layer(query, value, attention_mask=mask),
}


def attending(call: Attend, value_width: int, key_width: int) -> Any:
    """Query, value and key from Dense layers of their own, and a mask that comes in."""
    keras.utils.set_random_seed(0)
    one, other = keras.Input((QUERIES, 5), name="one"), keras.Input((POSITIONS, 6), name="other")
    mask = keras.Input((QUERIES, POSITIONS), name="mask")
    query = layers.Dense(8, activation="relu", use_bias=False, name="query")(one)
    value = layers.Dense(value_width, activation="relu", use_bias=False, name="value")(other)
    key = layers.Dense(key_width, activation="relu", use_bias=False, name="key")(other)
    attended = call(layers.MultiHeadAttention(2, 3, name="attention"), query, value, key, mask > 0)
    score = layers.Dense(1, name="score")(layers.Flatten()(attended))
    model = keras.Model([one, other, mask], score)
    spread(model)
    return model


def halves(trace: Trace) -> set[int]:
    """Half of each group, of one the first and of the next the last: what is mistaken for another is seen."""
    gone: set[int] = set()
    for number, group in enumerate(groups(trace.ledger)):
        half = len(group.atoms) // 2
        gone.update(group.atoms[:half] if number % 2 else group.atoms[half:])
    return gone


@pytest.mark.parametrize(("value_width", "key_width"), [(6, 4), (6, 6)])
@pytest.mark.parametrize("call", CALLS)
def test_units_that_are_zero_go_whichever_way_they_are_given(call: str, value_width: int, key_width: int) -> None:
    model = attending(CALLS[call], value_width, key_width)
    trace = follow(model)
    gone = halves(trace)
    zeroed(trace, gone)
    given = rows(model)
    smaller = shrunk(trace, gone)
    np.testing.assert_allclose(smaller(given).numpy(), model(given).numpy(), atol=1e-6)
    left = {layer.name: layer.units for layer in smaller.layers if isinstance(layer, layers.Dense)}
    wanted = {"query": 4, "value": value_width // 2, "key": key_width // 2, "score": 1}
    assert left == {name: units for name, units in wanted.items() if name in left}
    assert ("key" in left) == (call != "no key")
    assert smaller.get_layer("attention").get_config()["num_heads"] == 1


MASKED: Mapping[str, tuple[int, Callable[[Any, Any], Any]]] = {
    "attention": (
        POSITIONS * POSITIONS,
        lambda read, mask: layers.Flatten()(
            layers.MultiHeadAttention(2, 3)(read, read, attention_mask=layers.Reshape((POSITIONS, POSITIONS))(mask))
        ),
    ),
    "pooling": (POSITIONS, lambda read, mask: layers.GlobalAveragePooling1D()(read, mask=mask)),
}


@pytest.mark.parametrize("reader", MASKED)
def test_what_a_mask_is_made_of_stays(reader: str) -> None:
    """A position that is left out is none that is zero."""
    keras.utils.set_random_seed(0)
    length, read_by = MASKED[reader]
    one, other = keras.Input((POSITIONS, 5), name="one"), keras.Input((6,), name="other")
    read = layers.Dense(8, use_bias=False, name="read")(one)
    mask = layers.Dense(length, activation="sigmoid", name="masking")(other)
    model = keras.Model([one, other], layers.Dense(1)(read_by(read, mask)))
    spread(model)
    trace = follow(model)
    gone = halves(trace)
    assert "reads it as a mask" in str(trace.ledger.reason(trace.tensors[id(model.get_layer("masking").output)][-1][0]))
    zeroed(trace, gone)
    smaller = shrunk(trace, gone)
    given = rows(model)
    np.testing.assert_allclose(smaller(given).numpy(), model(given).numpy(), atol=1e-6)
    assert smaller.get_layer("read").units == 4 and smaller.get_layer("masking").units == length


def of_histories(data: Splits) -> Any:
    """Fields attend to a history; what is padding is masked."""
    inputs = {f"id_{number}": keras.Input((1,), dtype="int32", name=f"id_{number}") for number in range(3)}
    history = inputs["hist_id_0"] = keras.Input((5,), dtype="int32", name="hist_id_0")
    sizes = data.schema.tables
    tables = {name: layers.Embedding(sizes[name], 8, name=f"embed_{name}") for name in ("id_0", "id_1", "id_2")}
    fields = layers.Concatenate(axis=1)([tables[name](inputs[name]) for name in tables])
    query = layers.Dense(10, activation="relu", name="query")(fields)
    read = layers.Dense(12, activation="relu", name="read")(tables["id_0"](history))
    attention = layers.MultiHeadAttention(2, 4, name="attention")
    attended = attention(query, read, attention_mask=tf.not_equal(history, 0)[:, tf.newaxis, :])
    hidden = layers.Dense(16, activation="relu", name="hidden")(layers.Flatten()(attended))
    model = keras.Model(inputs, layers.Dense(1, activation="sigmoid", name="probability")(hidden), name="masked")
    spread(model)
    return model


@pytest.mark.parametrize("scope", ["local", "global"])
def test_units_around_a_masked_attention_go(scope: str, clicks: Splits) -> None:
    model = of_histories(clicks)
    step = PruneUnits(0.5, scope=scope, minimum=2, epochs=0)
    step.check(model, clicks.schema)
    foreseen = step.foreseen(model, clicks.schema)
    after = step.apply(Candidate(model, clicks.schema), clicks, seed=0).model
    assert after.count_params() < model.count_params()
    if scope == "local":
        assert [after.get_layer(name).units for name in ("query", "read", "hidden")] == [5, 6, 8]
        assert [w.shape for w in foreseen.get_weights()] == [w.shape for w in after.get_weights()]
    scores = after(rows_of(model, clicks)).numpy()
    assert np.isfinite(scores).all() and np.ptp(scores) > 0


@pytest.mark.parametrize("name", ["hist_id_0", "id_1"])
def test_a_feature_that_a_masked_attention_reads_goes(name: str, clicks: Splits) -> None:
    model = of_histories(clicks)
    step = DropFeatures((name,), epochs=0)
    step.check(model, clicks.schema)
    after = step.apply(Candidate(model, clicks.schema), clicks, seed=0)
    assert after.history[0].notes["how"] == {name: "replaced by its mean"}
    given = rows_of(model, clicks)
    found = after.model(given).numpy()
    for other in given:
        changed = after.model({**given, other: (given[other] + 7) % 50}).numpy()
        assert np.array_equal(changed, found) == (other == name)


def rows_of(model: Any, data: Splits) -> dict[str, np.ndarray]:
    inputs, _ = next(iter(data.validation.take(50).with_batch_size(50).batches(inputs=model_specs(model))))
    return {name: np.asarray(values) for name, values in inputs.items()}
