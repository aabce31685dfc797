"""Networks with Lambda, `tf.` operators, normalization, attention and layers of their own."""

from __future__ import annotations

import pytest

from tfshop.layers import OutputRange

from .checks import AT_ONCE, RISING, check_exports, check_passes

TREATED = {
    "with_lambda": ("first", "second"),
    "with_tf_ops": ("first", "second"),
    "normalized": ("first", "second", "third"),
    "custom_layers": ("first", "second"),
    "attention": ("first",),
    "preprocessed": ("first",),
}
ROUNDED_TOO = {"normalized": ("prelu",)}
RANGES_BEHIND = {  # what cannot be wrapped is followed by its range
    "with_lambda": {"join_range", "twice_range"},
    "with_tf_ops": {"tf.concat", "tf.nn.relu"},  # Keras numbers these
    "normalized": {"prelu_range", "activation"},  # of folded and of float normalizations there is none
    "custom_layers": {"unregistered_range"},
}
LEFT = {
    "normalized": {"LayerNormalization", "BatchNormalization", "Embedding", "Dense"},
    "custom_layers": {"Registered", "Unregistered", "Embedding", "Dense"},
    "attention": {"MultiHeadAttention", "LayerNormalization", "Embedding", "Dense"},
    "preprocessed": {"TimeDistributed", "Normalization", "Embedding", "Dense"},
}
TRAINED = ("with_lambda", "normalized", "custom_layers", "attention")  # with zeros that grow; QAT trains all of them
each_style = pytest.mark.parametrize("style", TREATED)


@each_style
def test_passes_reach_its_dense_layers_and_leave_the_rest(style, network, log):
    prune = RISING if style in TRAINED else AT_ONCE
    candidate = check_passes(network(style), log, TREATED[style], ROUNDED_TOO.get(style, ()), prune)
    ranges = {layer.name for layer in candidate.model.layers if isinstance(layer, OutputRange)}
    missing = [w for w in RANGES_BEHIND.get(style, set()) if not any(name.startswith(w) for name in ranges)]
    assert missing == [], sorted(ranges)
    rows = candidate.history[-1].notes["left_alone"]
    assert LEFT.get(style, {"Embedding", "Dense"}) == {row["class"] for row in rows}


@each_style
def test_every_mode_gives_a_file_that_agrees(style, network, log):
    check_exports(network(style), log)
