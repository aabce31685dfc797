"""Gates of fields for one of two streams."""

from __future__ import annotations

import numpy as np
import pytest

from layers.references import normal, random_model, softmax
from tfshop.layers import FieldRegulation


@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_the_fields_share_one_softmax(temperature: float) -> None:
    model = random_model(FieldRegulation(3, temperature, name="gates"), [(12,)])
    (logits,) = model.get_layer("gates").get_weights()
    gates = 3 * softmax(logits / temperature)
    fields = normal(5, 3, 4)
    expected = np.stack([fields[:, field] * gates[field] for field in range(3)], axis=1)
    np.testing.assert_allclose(model(fields.reshape(5, 12)), expected.reshape(5, 12), rtol=1e-5)
    assert abs(gates.mean() - 1) < 1e-6


def test_fresh_gates_change_nothing() -> None:
    np.testing.assert_allclose(FieldRegulation(3)(normal(5, 12)), normal(5, 12), rtol=1e-6)
