"""From a network to TensorFlow's converter, by way of a SavedModel that is not loaded again."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

from tensorflow.lite.python import lite

from tfshop._keras import tf

_STOCK: Any = getattr(lite, "TFLiteSavedModelConverterV2", object)  # private, as is what it is asked for
_ASKED = ("_convert_and_export_metrics", "_convert_from_saved_model")


@contextlib.contextmanager
def saved(model: Any) -> Iterator[str]:
    """A SavedModel of the one function that a file needs; an empty folder where TensorFlow cannot make it.

    `TFLiteConverter.from_keras_model` first saves every layer with functions of its own, to be trained on later: most
    of the time an export takes, for nothing in the file.
    """
    served = tf.Module()
    served.held = list(model.variables)
    with tempfile.TemporaryDirectory() as folder:
        with contextlib.suppress(AssertionError):  # a layer holds what Keras does not see, say a table of words
            tf.saved_model.save(served, folder, signatures=_scoring(model).get_concrete_function())
        yield folder


def converter_of(model: Any, folder: str) -> Any:
    """A converter of what `saved` wrote, else of the model itself, which is slower and finds what a layer holds."""
    if not tf.saved_model.contains_saved_model(folder):
        return tf.lite.TFLiteConverter.from_keras_model(model)
    if not all(hasattr(_STOCK, name) for name in _ASKED):
        return tf.lite.TFLiteConverter.from_saved_model(folder)
    lite.TFLiteConverterBase._set_original_model_type(lite.conversion_metadata_fb.ModelType.TF_SAVED_MODEL)
    return _Unloaded(folder, {tf.saved_model.SERVING}, [tf.saved_model.DEFAULT_SERVING_SIGNATURE_DEF_KEY])


class _Unloaded(_STOCK):
    """The stock converter, without loading the network again.

    It would do so three times, for the name of the signature, for stack traces that nothing reads and for a graph of
    which it needs the definition alone, and then collect all of Python's garbage: half of the time of a conversion.
    """

    def convert(self) -> Any:
        """The bytes of a `.tflite`, the same as the stock converter's."""
        return self._convert_and_export_metrics(_Unloaded._converted)

    def _converted(self) -> Any:
        (meta_graph,) = tf.__internal__.saved_model.parse_saved_model(self.saved_model_dir).meta_graphs
        return self._convert_from_saved_model(meta_graph.graph_def)


def _scoring(model: Any) -> Any:
    """A model's call outside of training, inputs and outputs by name."""
    inputs = tf.nest.flatten(model.input)
    specs = {t.name: tf.TensorSpec([None, *t.shape[1:]], t.dtype, name=t.name) for t in inputs}

    def score(named: Mapping[str, Any]) -> dict[str, Any]:
        values = tf.nest.pack_sequence_as(model.input, [named[tensor.name] for tensor in inputs])
        return dict(zip(model.output_names, tf.nest.flatten(model(values, training=False)), strict=True))

    return tf.function(score, input_signature=[specs])
