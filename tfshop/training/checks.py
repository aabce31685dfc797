"""Which models can come in."""

from __future__ import annotations

from typing import Any

from tfshop._keras import keras, tf
from tfshop.errors import ModelError
from tfshop.models.foreign import HOW_FROM_KERAS_3

ROWS_AT_ONCE = 1_000_000


def require_graph(model: Any) -> None:
    """Raise `ModelError` for anything but a functional tf_keras model."""
    if not isinstance(model, keras.Model):
        raise _not_tf_keras(model)
    if not model._is_graph_network:
        raise ModelError(
            f"model {model.name!r} ({type(model).__name__}) {_why_not(model)}. Expected a functional model, whose "
            "layers can be seen. Fix: inputs = {'item': keras.Input((1,), dtype='int32', name='item'), …}; "
            "model = keras.Model(inputs, model.call(inputs)), which keeps the trained layers."
        )


def require_functional(model: Any) -> None:
    """Raise `ModelError` for anything but a functional tf_keras model whose outputs are one number each."""
    require_graph(model)
    wide = [output for output in model.outputs if output.shape[1:].num_elements() != 1]
    if wide:
        raise ModelError(
            f"output {wide[0].name!r} of {model.name!r} has shape {tuple(wide[0].shape)}. Expected (batch, 1), the "
            "probability of one target. Fix: end in Dense(1, activation='sigmoid'), one for each target."
        )


def require_trainable(model: Any) -> None:
    """Raise `ModelError` where a training would change no weight."""
    if not model.trainable_variables:
        raise ModelError(
            f"model {model.name!r} has no weight to train: all of it is frozen. Expected layers with trainable=True. "
            "Fix: model.trainable = True, then trainable = False on those layers alone that are to stay."
        )


def require_probabilities(model: Any) -> None:
    """Raise `ModelError` where an output comes straight from a layer without an activation: that is a logit."""
    for output in model.outputs:
        layer = output._keras_history.layer
        if getattr(layer, "activation", None) is keras.activations.linear and layer.weights:
            raise not_a_probability(model, f"output {layer.name!r}", "is what a linear layer gives, a logit")


def not_a_probability(model: Any, output: str, found: str) -> ModelError:
    """The error for an output that is no probability."""
    return ModelError(
        f"{output} of {model.name!r} {found}. Expected a probability, in [0, 1]. Fix: end in a sigmoid: "
        "keras.Model(model.input, keras.layers.Activation('sigmoid', name='probability')(model.output))."
    )


def require_finite_weights(model: Any) -> None:
    """Raise `ModelError` where a weight is NaN or infinite: scores may hide it, a ReLU of NaN can be 0."""
    for layer in model._flatten_layers(include_self=False, recursive=False):
        if not all(_is_finite(weight) for weight in layer.weights):
            raise ModelError(
                f"weights of {layer.name!r} of {model.name!r} are not finite. Expected numbers. Fix: a smaller "
                "learning_rate; and where numbers are missing in the data, which reach the network as NaN, "
                "tfshop.layers.NumericTransform behind their input."
            )


def _is_finite(weight: Any) -> bool:
    if not weight.dtype.is_floating:
        return True
    rows = weight.shape[0] if weight.shape.rank else 1  # a table goes by in parts: a mask of all of it takes memory
    parts = range(0, rows, ROWS_AT_ONCE) if weight.shape.rank else [None]
    return all(bool(tf.reduce_all(tf.math.is_finite(_part(weight, start)))) for start in parts)


def _part(weight: Any, start: int | None) -> Any:
    return weight if start is None else weight[start : start + ROWS_AT_ONCE]


def require_named_inputs(model: Any) -> None:
    """Raise `ModelError` where inputs were given in a dict with other keys than their names.

    Keras binds data to the keys where they are there, and else by position without a word.
    """
    nested = model._nested_inputs
    wrong = [key for key, tensor in nested.items() if key != _name(tensor)] if isinstance(nested, dict) else []
    if wrong:
        raise ModelError(
            f"input {_name(nested[wrong[0]])!r} of {model.name!r} stands under the key {wrong[0]!r}. Expected the same "
            "name twice, since data is bound by name. Fix: keras.Input(…, name=<key>) for each input."
        )


def _name(tensor: Any) -> str:
    return str(tensor._keras_history.layer.name)


def _why_not(model: Any) -> str:
    if isinstance(model, keras.Sequential):
        return "is sequential without an input shape, and not built"
    return "is subclassed"


def _not_tf_keras(model: Any) -> ModelError:
    kind = f"{type(model).__module__}.{type(model).__name__}"
    if any(base.__module__.startswith("keras.src") for base in type(model).__mro__):
        fix = f"{HOW_FROM_KERAS_3}; the path is what model.save('ranker.keras') wrote in Keras 3."
        return ModelError(f"{kind} is a Keras 3 model. Expected a functional tf_keras (Keras 2) model. Fix: {fix}")
    fix = "tfshop.load_model(path) where it was saved with tf_keras, or build it with `import tf_keras as keras`."
    return ModelError(f"{kind} is not a tf_keras model. Expected a functional tf_keras (Keras 2) model. Fix: {fix}")
