"""Copies of functional models, layer by layer: whatever somebody else wrote, with its weights."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from tfshop._keras import keras, tf
from tfshop.errors import ModelError
from tfshop.models.recalled import called

Replace = Callable[[Any], Any]

HOUSES = ("tf_keras.", "tfshop.", "tensorflow.")
NO_CHANGES: Mapping[str, Any] = MappingProxyType({})
PATH = "/"  # between the name of a submodel and that of its layer
_FUNCTIONAL = keras.Sequential.__mro__[1]  # the class of keras.Model(inputs, outputs), which has no public name
_PARTS = (keras.constraints.Constraint, keras.initializers.Initializer, keras.regularizers.Regularizer)


def fresh(layer: Any, name: str | None = None, changes: Mapping[str, Any] = NO_CHANGES) -> Any:
    """A new layer with the same configuration, some changes apart, and no weights.

    Functions come along as they are: bytecode, which is what a configuration holds of a `Lambda`, loses the names it
    was written with.

    Args:
        layer: Any layer of a functional model, also `Lambda`, `tf.` operators and layers that Keras does not know.
        name: Of the new layer; by default that of the old one.
        changes: Entries of the configuration that are to be others, such as `units`.

    Raises:
        ModelError: For a layer that cannot be made again from its `get_config()`.
    """
    kind = type(layer)
    name = name or layer.name
    if kind.__name__ in {"TFOpLambda", "SlicingOpLambda"} and hasattr(layer, "function"):
        return kind(layer.function, name=name)
    if kind is keras.layers.Lambda:
        return _fresh_lambda(layer, name)
    try:
        config = {**layer.get_config(), **changes, "name": name}
        with keras.saving.custom_object_scope(foreign_parts(layer)):
            return kind.from_config(config)
    except (NotImplementedError, TypeError, ValueError, KeyError, AttributeError, NameError) as error:
        raise ModelError(
            f"layer {layer.name!r} ({kind.__name__}) cannot be copied: {_first_line(error)} Expected a get_config() "
            f"that holds every argument of {kind.__name__}(...). Fix: give it one, and load a saved model with "
            "custom_objects; or export without a pass."
        ) from error


def _fresh_lambda(layer: Any, name: str) -> Any:
    return keras.layers.Lambda(
        layer.function,
        output_shape=layer._output_shape,
        mask=layer.mask,
        arguments=dict(layer.arguments),
        name=name,
        trainable=layer.trainable,
        dtype=layer.dtype_policy.name if hasattr(layer, "dtype_policy") else layer.dtype,
    )


def foreign_parts(layer: Any) -> dict[str, Any]:
    """Classes and functions that a layer is made of and that are not Keras' or ours, by their names."""
    found = {type(layer).__name__: type(layer)}
    for value in vars(layer).values():
        if isinstance(value, (*_PARTS, keras.layers.Layer)):
            found[type(value).__name__] = type(value)
        elif callable(value) and hasattr(value, "__name__"):
            found[value.__name__] = value
    return {name: value for name, value in found.items() if not _module(value).startswith(HOUSES)}


def _module(value: Any) -> str:
    return str(getattr(value, "__module__", None) or "")


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0][:300] if lines else ""
    return f"{type(error).__name__}: {text.rstrip('.')}."


def is_submodel(layer: Any) -> bool:
    """Whether a layer is a functional or sequential model, whose layers can stand in its place."""
    if not isinstance(layer, _FUNCTIONAL) or not layer._is_graph_network:
        return False
    return type(layer).call in (_FUNCTIONAL.call, keras.Sequential.call)


def has_submodels(model: Any) -> bool:
    """Whether any layer of a model is itself a functional or sequential model."""
    return any(is_submodel(layer) for layer in model.layers)


def rebuild(
    model: Any,
    replace: Replace | None = None,
    *,
    dtypes: Mapping[str, str] | None = None,
    unfilled: Collection[str] = (),
    behind_inputs: Mapping[str, Any] | None = None,
) -> Any:
    """A model of the same graph with the weights of the original, the layers of submodels in their place.

    A layer or submodel that is called several times is copied once. A layer of a submodel gets its path as its name,
    such as "tower/first". Inputs and outputs keep their names, outputs their structure.

    Args:
        model: Functional model; left as it is.
        replace: For models without submodels: takes a layer and gives the one to put in its place, under the same name,
            or a tuple of layers to call one after the other, of which the first gets the weights; of an empty one what
            the layer read goes on as it is. By default a copy.
        dtypes: Input name to the dtype it is to have.
        unfilled: Names of layers whose weights stay behind: what takes their place has other shapes.
        behind_inputs: Input name to a layer that everything reads it through.

    Raises:
        ModelError: For a layer that cannot be copied.

    Example:
        >>> x = keras.Input((4,))
        >>> tower = keras.Sequential([keras.layers.Dense(2, name="first")], name="tower")
        >>> [layer.name for layer in rebuild(keras.Model(x, tower(x))).layers[1:]]
        ['tower/first', 'tower']
    """
    return Rebuild(replace, dtypes or {}, unfilled, behind_inputs or {}).whole(model)


def called_on(model: Any, tensors: Mapping[str, Any]) -> list[Any]:
    """What copies of a model's layers, with its weights, give for other tensors.

    Args:
        model: Functional model; left as it is.
        tensors: Keras tensors in the place of its inputs, by their names.

    Returns:
        Tensors in the order of `model.outputs`.
    """
    made = Rebuild(None)
    outputs = made._run(model, [tensors[t._keras_history.layer.name] for t in model.inputs], prefix="", training=None)
    made.fill()
    return outputs


class Rebuild:
    """One pass over a graph: new layers by the identity of the old ones, so that shared layers stay shared.

    Args:
        replace: As `rebuild` takes it.
        dtypes: As `rebuild` takes them.
        unfilled: As `rebuild` takes them.
        behind_inputs: As `rebuild` takes them.
    """

    def __init__(
        self,
        replace: Replace | None,
        dtypes: Mapping[str, str] = NO_CHANGES,
        unfilled: Collection[str] = (),
        behind_inputs: Mapping[str, Any] = NO_CHANGES,
    ) -> None:
        self._replace = replace
        self._dtypes = dtypes
        self._unfilled = unfilled
        self._behind_inputs = behind_inputs
        self._made: dict[int, tuple[Any, tuple[Any, ...]]] = {}

    def whole(self, model: Any) -> Any:
        """The new model."""
        inputs = [self._input(tensor) for tensor in model.inputs]
        read = [self._behind_inputs.get(tensor._keras_history.layer.name, _itself)(tensor) for tensor in inputs]
        outputs = self._run(model, read, prefix="", training=None)
        flat = [
            keras.layers.Activation("linear", name=name)(tensor)
            if tensor._keras_history.layer.name != name and is_submodel(old._keras_history.layer)
            else tensor
            for name, old, tensor in zip(model.output_names, model.outputs, outputs, strict=True)
        ]
        made = keras.Model(
            _as_before(model, inputs), tf.nest.pack_sequence_as(model._nested_outputs, flat), name=model.name
        )
        self.fill()
        return made

    def fill(self) -> None:
        """Give the new layers the weights of the old ones."""
        for old, chain in self._made.values():
            if chain and old.name not in self._unfilled:
                self._give_weights(old, chain[0])

    def _give_weights(self, old: Any, new: Any) -> None:
        copy_weights(old, new)

    def _input(self, tensor: Any) -> Any:
        name = tensor._keras_history.layer.name
        return keras.Input(
            batch_shape=tuple(tensor.shape), dtype=self._dtypes.get(name, tf.as_dtype(tensor.dtype).name), name=name
        )

    def _run(self, model: Any, inputs: list[Any], *, prefix: str, training: Any) -> list[Any]:
        """Call new layers in the order of the old graph."""
        usage = model._tensor_usage_count
        tensors = {str(id(old)): [new] * usage[str(id(old))] for old, new in zip(model.inputs, inputs, strict=True)}
        for node in calls_in_order(model):
            args, kwargs = node.map_arguments(tensors)
            if training is not None and node.layer._expects_training_arg:
                kwargs.setdefault("training", training)
            outputs = self._call(node, args, kwargs, prefix)
            for key, tensor in zip(node.flat_output_ids, outputs, strict=True):
                tensors[key] = [tensor] * usage[key]
        return [tensors[str(id(old))].pop() for old in model.outputs]

    def _call(self, node: Any, args: tuple[Any, ...], kwargs: dict[str, Any], prefix: str) -> list[Any]:
        layer = node.layer
        if is_submodel(layer):
            given = layer._flatten_to_reference_inputs(args[0] if args else kwargs["inputs"])
            inputs = [_conformed(tensor, wanted) for tensor, wanted in zip(given, layer.inputs, strict=True)]
            return self._run(layer, inputs, prefix=f"{prefix}{layer.name}{PATH}", training=kwargs.get("training"))
        chain = self._layers(layer, prefix)
        outputs = called(chain[0], node, args, kwargs) if chain else args[0]
        for other in chain[1:]:
            outputs = other(outputs)
        flat: list[Any] = tf.nest.flatten(outputs)
        return flat

    def _layers(self, layer: Any, prefix: str) -> tuple[Any, ...]:
        if id(layer) not in self._made:
            made = fresh(layer, prefix + layer.name) if self._replace is None else self._replace(layer)
            self._made[id(layer)] = (layer, made if isinstance(made, tuple) else (made,))
        return self._made[id(layer)][1]


def inlined(model: Any) -> Any:
    """The model with the layers of its submodels in their place; itself where it has none."""
    return rebuild(model) if has_submodels(model) else model


def copy_weights(old: Any, new: Any) -> None:
    """Give a new layer, or a wrapper around one, the weights of the old."""
    try:
        if not isinstance(new, keras.layers.Wrapper) or isinstance(old, type(new)):
            new.set_weights(old.get_weights())
        else:
            wrapped = weights_by_name(new)
            for name, weight in weights_by_name(old).items():
                wrapped[name].assign(weight)
    except (ValueError, KeyError) as error:
        raise ModelError(
            f"layer {old.name!r} ({type(old).__name__}) comes back from its get_config() with other weights: "
            f"{_first_line(error)} Expected the same weights in the same order. Fix: let get_config() hold every "
            f"argument of {type(old).__name__}(...), and make the weights in build()."
        ) from error


def weights_by_name(layer: Any) -> dict[str, Any]:
    """Variables of a layer by their last name, such as "kernel" and "bias".

    TF-MOT's wrapper takes the kernel away from the layer inside it, so that `layer.layer.get_weights()` lacks it.
    """
    return {variable.name.split("/")[-1].split(":")[0]: variable for variable in layer.variables}


def _itself(tensor: Any) -> Any:
    return tensor


def _as_before(model: Any, inputs: list[Any]) -> Any:
    """Inputs in the structure the model took them in; a dict by the names of its inputs, whatever its keys were."""
    if isinstance(model._nested_inputs, dict):
        return {tensor._keras_history.layer.name: tensor for tensor in inputs}
    return tf.nest.pack_sequence_as(model._nested_inputs, inputs)


def calls_in_order(model: Any) -> Iterator[Any]:
    """Calls of layers in an order in which they can be repeated."""
    for depth in sorted(model._nodes_by_depth, reverse=True):
        yield from (node for node in model._nodes_by_depth[depth] if not node.is_input)


def _conformed(tensor: Any, wanted: Any) -> Any:
    """A tensor as a submodel's input takes it: Keras lets (b,) and (b, 1) pass for each other, and casts."""
    if tensor.shape.rank == wanted.shape.rank + 1 and tensor.shape[-1] == 1:
        tensor = tf.squeeze(tensor, axis=-1)
    elif tensor.shape.rank == wanted.shape.rank - 1 and wanted.shape[-1] == 1:
        tensor = tf.expand_dims(tensor, axis=-1)
    return tensor if tensor.dtype == wanted.dtype else tf.cast(tensor, wanted.dtype)
