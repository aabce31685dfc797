"""Reading of a file's graph."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tfshop._keras import keras, tf
from tfshop.errors import ArtifactError
from tfshop.runtime import Tensor, read_graph


def test_inputs_and_outputs_are_named_as_in_the_signature(files: dict[str, bytes]) -> None:
    graph = read_graph(files["float32"])
    assert set(graph.inputs) == {"ids", "numeric"}
    assert graph.tensors[graph.inputs["ids"]].dtype == "int32"
    assert graph.tensors[graph.inputs["ids"]].shape_signature == (-1, 3)
    assert set(graph.outputs) == {"probability"}


def test_operators_have_their_builtin_names_in_order_of_execution(files: dict[str, bytes]) -> None:
    kinds = [operator.kind for operator in read_graph(files["float32"]).operators]
    assert kinds == ["ADD", "GATHER", "RESHAPE", "CONCATENATION", "FULLY_CONNECTED", "FULLY_CONNECTED", "LOGISTIC"]


def test_float_constants_are_the_models_weights(files: dict[str, bytes], click_model: Any) -> None:
    weights = click_model.get_layer("table").get_weights()[0]
    constants = [t for t in read_graph(files["float32"]).tensors if t.shape == weights.shape and t.is_constant]
    np.testing.assert_array_equal(constants[0].values(), weights)


def test_float16_constants_are_half_the_bytes_and_close(files: dict[str, bytes], click_model: Any) -> None:
    weights = click_model.get_layer("table").get_weights()[0]
    table = next(t for t in read_graph(files["float16"]).tensors if t.shape == weights.shape and t.is_constant)
    assert (table.dtype, table.size_bytes) == ("float16", 2 * weights.size)
    np.testing.assert_allclose(table.values(), weights, rtol=1e-3)


def test_int8_constants_dequantize_along_their_own_axis(files: dict[str, bytes], click_model: Any) -> None:
    """The hidden kernel has a scale a unit; a wrong axis would miss by far more than half a step."""
    kernel = click_model.get_layer("hidden").get_weights()[0].T
    tensor = next(t for t in read_graph(files["int8"]).tensors if t.shape == kernel.shape and t.is_constant)
    assert tensor.dtype == "int8"
    assert tensor.scales is not None and tensor.scales.size == len(kernel)
    assert np.abs(tensor.values() - kernel).max() <= tensor.scales.max() * 0.51


def test_constants_are_views_of_the_file(files: dict[str, bytes]) -> None:
    """A table of a gigabyte must not be copied to be looked at."""
    tensor = max(read_graph(files["float32"]).tensors, key=lambda tensor: tensor.size_bytes)
    assert tensor.data is not None and not tensor.data.flags.owndata and not tensor.data.flags.writeable


@pytest.mark.parametrize(
    ("dtype", "packed", "expected"),
    [
        ("int4", [0x1F, 0x87], [-1, 1, 7, -8]),
        ("uint4", [0x1F, 0x87], [15, 1, 7, 8]),
        ("int2", [0b11_10_01_00], [0, 1, -2, -1]),
    ],
)
def test_numbers_narrower_than_a_byte_unpack_lowest_bits_first(
    dtype: str, packed: list[int], expected: list[int]
) -> None:
    tensor = Tensor(0, "codes", (len(expected),), dtype, data=np.array(packed, np.uint8))
    assert tensor.stored().tolist() == expected


def test_an_odd_number_of_int4_leaves_the_last_half_byte_out() -> None:
    tensor = Tensor(0, "codes", (3,), "int4", data=np.array([0x21, 0x03], np.uint8), scales=np.array([0.5], np.float32))
    assert tensor.values().tolist() == [0.5, 1.0, 1.5]


def test_bfloat16_is_the_upper_half_of_a_float32() -> None:
    numbers = np.array([1.5, -2.0], np.float32)
    tensor = Tensor(0, "weights", (2,), "bfloat16", data=(numbers.view(np.uint32) >> 16).astype(np.uint16))
    assert tensor.values().tolist() == [1.5, -2.0]


def test_a_run_time_tensor_has_no_values_and_says_so(files: dict[str, bytes]) -> None:
    graph = read_graph(files["float32"])
    with pytest.raises(ArtifactError, match="computed at run time"):
        graph.tensors[graph.outputs["probability"]].values()


def test_buffers_behind_the_flatbuffer_are_read(click_model: Any) -> None:
    """Files over 2 GB keep their constants behind the flatbuffer."""
    converter = tf.lite.TFLiteConverter.from_keras_model(click_model)
    converter._experimental_use_buffer_offset = True
    content = bytes(converter.convert())
    weights = click_model.get_layer("table").get_weights()[0]
    table = next(t for t in read_graph(content).tensors if t.shape == weights.shape and t.is_constant)
    np.testing.assert_array_equal(table.values(), weights)
    with pytest.raises(ArtifactError, match="cut short"):
        read_graph(content[:-64])


def test_custom_operators_carry_their_code(flex_file: bytes) -> None:
    assert [operator.kind for operator in read_graph(flex_file).custom_operators] == ["CUSTOM:FlexMatrixInverse"]


def test_operators_of_branches_are_listed() -> None:
    """A Flex operator inside a branch must not escape the audit."""

    class Branch(keras.layers.Layer):
        """Takes the cosine in one branch only."""

        def call(self, values: Any) -> Any:
            """Branch on the sum of the batch."""
            return tf.cond(tf.reduce_sum(values) > 0, lambda: tf.cos(values), lambda: values)

    numeric = keras.Input((2,), name="numeric")
    graph = read_graph(
        bytes(tf.lite.TFLiteConverter.from_keras_model(keras.Model(numeric, Branch()(numeric))).convert())
    )
    assert "COS" not in [operator.kind for operator in graph.operators]
    assert "COS" in [operator.kind for operator in graph.all_operators]


def test_producers_and_consumers_agree_with_the_operators(files: dict[str, bytes]) -> None:
    graph = read_graph(files["int8"])
    for operator in graph.operators:
        assert all(graph.producers[index] is operator for index in operator.outputs)
        assert all(operator in graph.consumers[index] for index in operator.inputs if index >= 0)


def test_a_file_without_signature_is_bound_by_tensor_names() -> None:
    """Only a file that was never a Keras model or a SavedModel has none."""
    function = tf.function(lambda ids: tf.cast(ids, tf.float32) * 2.0)
    concrete = function.get_concrete_function(tf.TensorSpec((None, 2), tf.int32, name="ids"))
    content = bytes(tf.lite.TFLiteConverter.from_concrete_functions([concrete]).convert())
    assert list(read_graph(content).inputs) == ["ids"]


@pytest.mark.parametrize(
    "content", [b"", b"TFL3", b"PK\x03\x04 a zip file", bytes(1000), b"\x1c\x00\x00\x00TFL3" + b"\xff" * 500]
)
def test_garbage_is_refused_with_the_fix(content: bytes) -> None:
    with pytest.raises(ArtifactError, match=r"not a TFLite file.*Expected.*Fix:"):
        read_graph(content)


def test_a_file_cut_short_anywhere_is_refused(files: dict[str, bytes]) -> None:
    content = files["int8"]
    for length in range(0, len(content), 61):
        with pytest.raises(ArtifactError, match="cut short"):
            read_graph(content[:length])


def test_the_room_needs_no_tensorflow() -> None:
    """An edge engineer may have ai-edge-litert only."""
    code = "import sys, tfshop.runtime; sys.exit('tensorflow' in sys.modules or 'tf_keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
