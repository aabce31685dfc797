"""What is peculiar to FinalMLP."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import first_rows

from models.crossing_checks import dead_weights, largest_gap, output_of, spread
from tfshop.data import Splits
from tfshop.errors import ModelError
from tfshop.models import build_model

TINY = {"dimension": 4, "hidden": (16, 8)}


def test_streams_of_other_widths_with_contexts_learn_and_convert(kinds: dict[str, Splits]) -> None:
    data = kinds["every kind"]
    contexts = (("id_0", "hist_id_0"), ("image",))
    model = build_model("finalmlp", data.schema, contexts=contexts, other_hidden=(12,), **TINY)
    assert [model.get_layer(name).units for name in ("first_0", "first_1", "second_0")] == [16, 8, 12]
    assert dead_weights(model, data) == []
    assert largest_gap(spread(model), data) <= 1e-5


def test_a_gate_follows_its_context_alone(kinds: dict[str, Splits]) -> None:
    """What the first gate says of `id_2` changes with `id_0`, and not with `id_1`."""
    data = kinds["ids"]
    model = spread(build_model("finalmlp", data.schema, contexts=(("id_0",), ("id_1",)), **TINY))
    rows = np.int32([[1, 1, 1], [1, 2, 1], [2, 1, 1]])
    gated = output_of(model, "first_field_gate", rows)[:, 8:]
    np.testing.assert_allclose(gated[0], gated[1], rtol=1e-5)
    assert np.abs(gated[0] - gated[2]).max() > 1e-3


def test_fresh_gates_without_a_context_pass_everything(kinds: dict[str, Splits]) -> None:
    data = kinds["ids"]
    model = build_model("finalmlp", data.schema, **TINY)
    rows = first_rows(data.train.inputs, 9)
    for stream in ("first", "second"):
        np.testing.assert_array_equal(
            output_of(model, f"{stream}_field_gate", rows), output_of(model, "flat_fields", rows)
        )


def test_the_logit_is_the_bilinear_form_of_both_streams(kinds: dict[str, Splits]) -> None:
    data = kinds["ids"]
    model = spread(build_model("finalmlp", data.schema, num_heads=1, **TINY))
    rows = first_rows(data.train.inputs, 9)
    first, second = output_of(model, "first_1", rows), output_of(model, "second_1", rows)
    weights, bias = model.get_layer("head_logit").get_weights()
    (kernel,) = model.get_layer("fusion_kernel").get_weights()
    expected = np.concatenate([first, second], axis=1) @ weights + bias
    expected += np.einsum("bi,ij,bj->b", first, kernel, second)[:, None]
    np.testing.assert_allclose(output_of(model, "logit", rows), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_heads": 3}, r"num_heads is 3, and the towers end 8 and 8 wide. Expected a divisor of both"),
        ({"contexts": (("id_9",), ())}, r"finalmlp cannot gate by id_9. Expected names of .*id_0, id_1, id_2"),
        ({"contexts": ("id_0", "id_1")}, r"contexts is .*Expected two sequences"),
        ({"gate_width": 0}, r"gate_width is 0"),
        ({"other_hidden": ()}, r"other_hidden is \(\)"),
    ],
)
def test_what_cannot_be_fused_or_gated_is_refused(settings: dict, message: str, kinds: dict[str, Splits]) -> None:
    with pytest.raises(ModelError, match=rf"{message}.*Fix:"):
        build_model("finalmlp", kinds["ids"].schema, **{**TINY, **settings})
