from __future__ import annotations

import numpy as np
import pytest

from tfshop.data import InputSpec, bind
from tfshop.errors import ModelError


@pytest.fixture
def data(prepared):
    return prepared


def bound(data, **specs):
    return bind(data.train.inputs, data.schema, {name: InputSpec(*spec) for name, spec in specs.items()})


def test_packed_inputs_pass_unchanged(data):
    same = bind(data.train.inputs, data.schema, data.schema.input_specs())
    assert all(same[name] is values for name, values in data.train.inputs.items())


def test_features_are_found_by_name_not_by_position(data):
    """`item` is the second column of ids whatever the order of the network's inputs."""
    inputs = bound(data, price=((), "float32"), item=((), "int32"), shop=((1,), "int32"))
    np.testing.assert_array_equal(inputs["item"], data.train.inputs["ids"][:, 1])
    np.testing.assert_array_equal(inputs["shop"], data.train.inputs["ids"][:, :1])
    np.testing.assert_array_equal(inputs["price"], data.train.inputs["numeric"][:, 0])


def test_sequences_vectors_and_packed_inputs_mix(data):
    inputs = bound(data, viewed=((3,), "int64"), image=((2,), "float32"), ids=((2,), "int32"))
    np.testing.assert_array_equal(inputs["viewed"], data.train.inputs["hist_viewed"])
    assert inputs["viewed"].dtype == np.int64
    np.testing.assert_array_equal(inputs["image"], data.train.inputs["vector_image"])


@pytest.mark.parametrize(
    ("specs", "found"),
    [
        ({"colour": ((), "int32")}, r"'colour', which the schema has not. Expected names from .*'hist_viewed'.*'shop'"),
        ({"viewed": ((5,), "int32")}, "'viewed' has shape"),
        ({"ids": ((3,), "int32")}, "'ids' has shape"),
        ({"shop": ((), "string")}, "'shop' has dtype string"),
        ({"shop": ((), "int8")}, "'shop' has dtype int8"),
        ({"price": ((), "int32")}, "'price' has dtype int32"),
    ],
)
def test_what_the_schema_cannot_serve_is_refused(data, specs, found):
    with pytest.raises(ModelError, match=found) as raised:
        bound(data, **specs)
    assert "Fix:" in str(raised.value)
