"""Bridges between two streams."""

from __future__ import annotations

import numpy as np
import pytest

from layers.references import normal, random_model, relu, softmax
from tfshop.layers import bridge

X, H = normal(5, 4), normal(5, 4, seed=2)


@pytest.mark.parametrize(("kind", "expected"), [("product", X * H), ("sum", X + H)])
def test_streams_are_multiplied_or_added(kind: str, expected: np.ndarray) -> None:
    model = random_model(lambda x, h: bridge(x, h, kind, name="bridge"), [(4,), (4,)])
    np.testing.assert_allclose(model([X, H]), expected, rtol=1e-6)
    assert not model.weights


def test_streams_side_by_side_go_through_a_dense_layer_of_their_width() -> None:
    model = random_model(lambda x, h: bridge(x, h, "concatenation", name="bridge"), [(4,), (4,)])
    kernel, bias = model.get_layer("bridge").get_weights()
    np.testing.assert_allclose(
        model([X, H]), relu(np.concatenate([X, H], axis=1) @ kernel + bias), rtol=1e-4, atol=1e-5
    )


def test_attention_weighs_the_elements_of_each_stream() -> None:
    model = random_model(lambda x, h: bridge(x, h, "attention", name="bridge"), [(4,), (4,)])
    expected = np.zeros((5, 4))
    for stream, values in (("cross", X), ("deep", H)):
        kernel, bias = model.get_layer(f"bridge_{stream}_inner").get_weights()
        (scores,) = model.get_layer(f"bridge_{stream}_scores").get_weights()
        expected += softmax(relu(values @ kernel + bias) @ scores) * values
    np.testing.assert_allclose(model([X, H]), expected, rtol=1e-4, atol=1e-5)
