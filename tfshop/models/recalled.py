"""Calls of copied layers: what they give is known from the calls of the originals, and is not traced again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tfshop._keras import keras, tf
from tfshop.layers import NextBehaviourLoss

_BUILT_AHEAD = ("tf_keras.src.layers.", "tfshop.layers.")  # weights come from `build`, never from `call`
_NOT_SO = (
    keras.layers.Wrapper,
    keras.layers.RNN,
    keras.layers.MultiHeadAttention,
    keras.layers.Lambda,
    NextBehaviourLoss,  # adds a loss when it is called
)
_PRIVATE = ("_infer_output_signature", "_maybe_build", "_name_scope", "_set_save_spec", "_callable_losses", "_losses")


def called(layer: Any, node: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Call a copied layer on Keras tensors as the original was called.

    Keras runs every layer in a graph that it throws away, to learn the shapes of what it gives: most of the time that
    a copy of a network takes. Where a layer has the settings of the original and reads the same shapes, these are those
    of the original. It is called as usual where anything is different, or could be.

    Args:
        layer: The copy.
        node: The call of the original.
        args: Of the call, with new tensors in the place of those that the original read.
        kwargs: Likewise.

    Returns:
        Keras tensors in the structure of `node.outputs`.
    """
    if not _gives_the_same(layer, node, args, kwargs):
        return layer(*args, **kwargs)

    def known(inputs: Any, others: Any, named: Any, _: Any) -> Any:
        with tf.name_scope(""), keras.backend.name_scope(layer._name_scope()):
            layer._maybe_build(inputs)
        if [weight.shape for weight in layer.weights] != [weight.shape for weight in node.layer.weights]:
            return type(layer)._infer_output_signature(layer, inputs, others, named, _)
        layer._set_save_spec(inputs, others, named)
        return tf.nest.map_structure(_as_new, node.outputs)

    vars(layer)["_infer_output_signature"] = known
    try:
        return layer(*args, **kwargs)
    finally:
        del vars(layer)["_infer_output_signature"]


def _as_new(tensor: Any) -> Any:
    """A Keras tensor of the same shape and type."""
    spec = tensor.type_spec
    return type(tensor)(tf.TensorSpec(spec.shape, spec.dtype, spec.name), name=tensor.name)


def _gives_the_same(layer: Any, node: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether shapes, types and side effects of a call are those of the original's."""
    original = node.layer
    if type(layer) is not type(original) or not type(layer).__module__.startswith(_BUILT_AHEAD):
        return False
    if isinstance(layer, _NOT_SO) or not all(hasattr(layer, name) for name in _PRIVATE):
        return False
    if original.dynamic or original._losses or original._callable_losses or original.activity_regularizer is not None:
        return False
    before, now = (tf.nest.flatten(one) for one in ((node.call_args, node.call_kwargs), (args, kwargs)))
    if len(before) != len(now) or not all(_are_alike(*pair) for pair in zip(before, now, strict=True)):
        return False
    return all(_is_plain(tensor) for tensor in tf.nest.flatten(node.outputs)) and _has_settings_of(layer, original)


def _are_alike(old: Any, new: Any) -> bool:
    """Whether two arguments are tensors of one shape and type without a mask, or both are none."""
    if not (hasattr(old, "_keras_history") or hasattr(new, "_keras_history")):
        return not tf.is_tensor(old) and not tf.is_tensor(new)
    return (
        type(old) is type(new)
        and _is_plain(old)
        and _is_plain(new)
        and old.shape.as_list() == new.shape.as_list()
        and old.dtype == new.dtype
    )


def _is_plain(tensor: Any) -> bool:
    """Whether nothing but shape and type is known of a tensor."""
    bare = getattr(tensor, "_keras_mask", None) is None and getattr(tensor, "_inferred_value", None) is None
    return bare and isinstance(tensor.type_spec, tf.TensorSpec) and tensor.shape.rank is not None


def _has_settings_of(layer: Any, original: Any) -> bool:
    """Whether two layers of one class were made with the same arguments, names apart."""
    try:
        mine, other = ({**one.get_config(), "name": None} for one in (layer, original))
        return bool(mine == other)
    except (ValueError, NotImplementedError, TypeError):  # arrays do not compare as one
        return False
