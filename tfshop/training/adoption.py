"""What is asked of a network of somebody else's before anything is trained, and the shape it is worked on in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tfshop._keras import keras, tf
from tfshop.data.binding import bind
from tfshop.data.schema import Schema
from tfshop.errors import ModelError, PlanError
from tfshop.models.rebuild import foreign_parts, has_submodels, is_submodel, rebuild
from tfshop.training.checks import not_a_probability, require_probabilities
from tfshop.training.inputs import model_specs

SAMPLE_ROWS = 32
SAME = 1e-4  # of a score: what float arithmetic in another order can make
ADDED = frozenset({"AddLoss", "AddMetric"})  # what Keras makes of model.add_loss and model.add_metric
# Layers that hold more than their configuration and weights say, or may.
STATEFUL = frozenset({"Lambda", "Normalization", "Discretization", "IntegerLookup", "StringLookup"})


@dataclass(frozen=True)
class Adopted:
    """A model as passes take it.

    Attributes:
        model: Flat, with integer inputs for ids; the model itself where it was so already.
        notes: What was changed, a sentence each.
    """

    model: Any
    notes: tuple[str, ...] = ()


def adopted(model: Any, schema: Schema) -> Adopted:
    """Put the layers of submodels in their place, and let ids come in as integers.

    Args:
        model: Functional model; left as it is.
        schema: Fitted; says which inputs hold ids.

    Raises:
        ModelError: For inputs the schema cannot serve, tables too small for its ids, outputs that are no
            probabilities, and layers that cannot be copied.
    """
    require_probabilities(model)
    notes = []
    if _has_added(model):
        model = keras.Model(model.input, model.output, name=model.name)
        notes.append("losses and metrics added with add_loss and add_metric are left out of what passes train")
    require_takes(model, schema)
    dtypes = _integer_inputs(model, schema)
    notes += [
        f"input {name!r} was declared float32 and holds ids: the file takes it as int32, in which no two become one"
        for name in dtypes
    ]
    if has_submodels(model):
        notes.append("the layers of submodels stand in their place, named by their path")
    if not dtypes and not has_submodels(model) and not _has_renamed_inputs(model):
        return Adopted(model, tuple(notes))
    made = rebuild(model, dtypes=dtypes)
    _require_same_scores(model, made, schema)
    return Adopted(made, tuple(notes))


def require_takes(model: Any, schema: Schema) -> None:
    """Refuse a network whose inputs the schema cannot serve, or whose tables have no row for some of its ids.

    Raises:
        ModelError: Naming the input.
    """
    specs = model_specs(model)
    inputs = bind(sample_inputs(schema), schema, specs)
    try:
        scores = scores_of(model, inputs)
    except (tf.errors.InvalidArgumentError, tf.errors.InternalError) as error:
        raise ModelError(
            f"network {model.name!r} cannot score the largest ids of the schema, {dict(schema.tables)} rows a table: "
            f"{_reason(error)}. Expected a table at least as long as its vocabulary, row 0 included. Fix: build each "
            "Embedding with input_dim=data.schema.tables[…], or prepare the data with the schema the network was "
            "trained with."
        ) from error
    if np.nanmin(scores, initial=0.0) < 0 or np.nanmax(scores, initial=1.0) > 1:
        found = f"goes from {np.nanmin(scores):.3g} to {np.nanmax(scores):.3g}"
        raise not_a_probability(model, f"output {', '.join(map(repr, model.output_names))}", found)


def require_copyable(model: Any, schema: Schema) -> None:
    """Refuse a network with a layer that does not come back from its configuration.

    Stock layers and those of tfshop are known to.

    Raises:
        PlanError: Naming the layer.
    """
    if not any(_is_suspect(layer) for layer in model._flatten_layers(include_self=False)):
        return
    try:
        copied = rebuild(model)
        _require_same_scores(model, copied, schema)
    except ModelError as error:
        raise PlanError(str(error)) from error


def sample_inputs(schema: Schema) -> dict[str, npt.NDArray[Any]]:
    """Packed rows that no table has seen: random ids with the largest in the first row, positive numbers."""
    generator = np.random.default_rng(0)
    sizes = schema.tables
    columns = {
        "ids": [sizes[feature.table_name] for feature in schema.id_columns],
        **{f.input_name: [sizes[f.table_name]] * f.max_length for f in schema.sequence_features},
    }
    packed: dict[str, npt.NDArray[Any]] = {}
    for name, spec in schema.input_specs().items():
        if name in columns:
            ids = generator.integers(0, columns[name], (SAMPLE_ROWS, len(columns[name])))
            ids[0] = np.asarray(columns[name]) - 1
            packed[name] = ids.astype(spec.dtype)
        else:
            packed[name] = generator.lognormal(size=(SAMPLE_ROWS, *spec.shape)).astype(spec.dtype)
    return packed


def scores_of(model: Any, inputs: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.float64]:
    """All outputs side by side, float64 (rows, outputs), as the model gives them when it is not trained."""
    given = {name: tf.constant(values) for name, values in inputs.items()}
    with tf.device("/CPU:0"):  # a GPU gives zeros for an id past the end of a table
        outputs = tf.nest.flatten(model([given[name] for name in model_specs(model)], training=False))
    return np.concatenate([np.asarray(output, np.float64).reshape(SAMPLE_ROWS, -1) for output in outputs], axis=1)


def _has_added(model: Any) -> bool:
    """Whether losses or metrics were added to a model or a submodel; a loss without arguments makes no layer."""
    models = [model, *(part for part in model._flatten_layers(include_self=False) if is_submodel(part))]
    return any(one._callable_losses or any(type(layer).__name__ in ADDED for layer in one.layers) for one in models)


def _integer_inputs(model: Any, schema: Schema) -> dict[str, str]:
    """Inputs that are declared as floats and get ids, which float arithmetic is no place for."""
    packed = {name for name, spec in schema.input_specs().items() if spec.dtype.startswith("int")}
    named = {feature.name for feature in schema.id_features} | {feature.name for feature in schema.sequence_features}
    specs = model_specs(model)
    return {name: "int32" for name, spec in specs.items() if name in packed | named and spec.dtype.startswith("float")}


def _has_renamed_inputs(model: Any) -> bool:
    """Whether inputs were given in a dict whose keys are not their names: Keras would then bind them by position."""
    nested = model._nested_inputs
    return isinstance(nested, dict) and any(key != tensor._keras_history.layer.name for key, tensor in nested.items())


def _is_suspect(layer: Any) -> bool:
    return bool(foreign_parts(layer)) or type(layer).__name__ in STATEFUL or ".saved_model." in type(layer).__module__


def _require_same_scores(model: Any, copied: Any, schema: Schema) -> None:
    scores = [scores_of(one, bind(sample_inputs(schema), schema, model_specs(one))) for one in (model, copied)]
    gap = float(np.nanmax(np.abs(scores[0] - scores[1]), initial=0.0))
    if gap <= SAME and np.array_equal(np.isnan(scores[0]), np.isnan(scores[1])):
        return
    suspects = [f"{x.name!r} ({type(x).__name__})" for x in model._flatten_layers(include_self=False) if _is_suspect(x)]
    raise ModelError(
        f"a copy of {model.name!r} scores differently, by up to {gap:.2g}. Expected equal scores: some layer does not "
        f"come back from its get_config(), of {', '.join(suspects) or 'its layers'}. Fix: let get_config() hold every "
        "argument of the layer, and keep what it learns in weights; or export without a pass."
    )


def _reason(error: Exception) -> str:
    text = next((line for line in str(error).splitlines() if "indices" in line), str(error).splitlines()[0])
    return text.strip()[:200].rstrip(".")
