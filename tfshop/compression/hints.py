"""Hints: hidden layers of a student learn to say what hidden layers of its teacher say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfshop._keras import keras, tf
from tfshop.compression.roles import layers_with, output_tensors, source_tensors
from tfshop.data.schema import InputSpec
from tfshop.errors import PlanError
from tfshop.training.inputs import model_specs

LAST_HIDDEN = "last hidden"
SMALLEST = 1e-9


@keras.utils.register_keras_serializable(package="tfshop")
class Hint(keras.layers.Layer):
    r"""Pass a tensor on, and add to the loss how far the student's layer is from the teacher's.

    .. math:: w \cdot |P s - t|^2 / |t|^2

    where `P` is a learned projection, there only where the widths differ.

    Args:
        weight: `w`.

    Call:
        values: What is passed on; student's and teacher's layer, float32 (batch, …).

    References:
        Romero et al., FitNets: Hints for Thin Deep Nets, ICLR 2015.
    """

    def __init__(self, weight: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.weight = weight
        self.projection: Any = None

    def build(self, input_shape: Any) -> None:
        """Make the projection."""
        student, teacher = (int(np.prod(shape[1:])) for shape in input_shape[1:])
        if student != teacher:
            self.projection = keras.layers.Dense(teacher, name="projection")
            self.projection.build((None, student))
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        """The first tensor as it is."""
        passed, student, teacher = inputs
        student, teacher = (tf.reshape(one, (tf.shape(one)[0], np.prod(one.shape[1:]))) for one in (student, teacher))
        said = student if self.projection is None else self.projection(student)
        teacher = tf.stop_gradient(teacher)
        gap = tf.reduce_mean(tf.square(said - teacher)) / (tf.reduce_mean(tf.square(teacher)) + SMALLEST)
        self.add_loss(self.weight * gap)
        self.add_metric(gap, name=self.name)
        return tf.identity(passed)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "weight": self.weight}


class Unseen(keras.layers.Layer):
    """Call a model without owning its weights: they are neither trained, nor counted, nor kept twice.

    Args:
        model: What to call.
    """

    def __init__(self, model: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._call_model: Any = lambda inputs: model(inputs, training=False)

    def call(self, inputs: Any) -> Any:
        """What the model gives when it is not trained."""
        return self._call_model(inputs)


@dataclass(frozen=True, eq=False)
class HintPair:
    """A layer of the teacher and the one of the student that learns from it.

    Attributes:
        teacher: Name of the layer.
        student: Name of the layer.
        told: Tensor of the teacher.
        said: Tensor of the student.
    """

    teacher: str
    student: str
    told: Any
    said: Any


def hint_pairs(hints: Mapping[str, str], teacher: Any, student: Any) -> list[HintPair]:
    """The pairs of layers; "last hidden" is what the head reads.

    Args:
        hints: Name of a layer of the teacher to that of one of the student.
        teacher: Functional model without submodels.
        student: Likewise.

    Raises:
        PlanError: For a layer that is not there, or gives no floats of known width.
    """
    pairs = []
    for taught, learning in hints.items():
        told, said = hidden_tensor(teacher, taught, "teacher"), hidden_tensor(student, learning, "student")
        pairs.append(HintPair(told._keras_history.layer.name, said._keras_history.layer.name, told, said))
    return pairs


def hidden_tensor(model: Any, name: str, whose: str) -> Any:
    """What a layer gives in its first call."""
    if name == LAST_HIDDEN:
        heads = layers_with(model, ("head",))
        tensors = [source_tensors(model.get_layer(head), model)[0] for head in heads]
        tensors = tensors or [
            tensor
            for one in layers_with(model, ("dense",))[-1:]
            for tensor in output_tensors(model.get_layer(one), model)
        ]
    else:
        known = {layer.name: layer for layer in model.layers}
        tensors = output_tensors(known[name], model) if name in known else []
    widest = max(tensors, key=lambda tensor: tensor.shape[-1] or 0, default=None)
    if widest is None or not tf.as_dtype(widest.dtype).is_floating or None in widest.shape[1:].as_list():
        found = ", ".join([LAST_HIDDEN, *layers_with(model, ("dense", "cross"))][:12])
        raise PlanError(
            f"hints name {name!r}, which is no layer of the {whose} {model.name!r} that gives floats of known width. "
            f"Expected one of its layers, such as {found}. Fix: Distill(hints={{{LAST_HIDDEN!r}: {LAST_HIDDEN!r}}})."
        )
    return widest if name == LAST_HIDDEN else tensors[0]


def with_hints(taught: Any, teacher: Any, pairs: Sequence[HintPair], weight: float) -> Any:
    """The student's training model, which also reads the teacher's inputs and adds the hints to its loss.

    Args:
        taught: Functional model of the student; shares its layers with what comes back.
        teacher: Functional model; its weights are read, and never trained.
        pairs: As `hint_pairs` gives them.
        weight: Of all hints together.
    """
    inputs = {tensor._keras_history.layer.name: tensor for tensor in taught.inputs}
    given = [_input(inputs, name, spec) for name, spec in model_specs(teacher).items()]
    watched = keras.Model(teacher.inputs, [pair.told for pair in pairs])
    told = tf.nest.flatten(Unseen(watched, name="teacher")(given))
    outputs = list(taught.outputs)
    for number, (pair, tensor) in enumerate(zip(pairs, told, strict=True)):
        outputs[0] = Hint(weight / len(pairs), name=hint_name(number))([outputs[0], pair.said, tensor])
    return keras.Model(inputs, outputs if len(outputs) > 1 else outputs[0], name=taught.name)


def hint_name(number: int) -> str:
    """Name of the layer and metric of a pair."""
    return f"hint_{number}"


def _input(inputs: dict[str, Any], name: str, spec: InputSpec) -> Any:
    """An input of the teacher: the student's of that name, or one more."""
    if name not in inputs:
        inputs[name] = keras.Input(spec.shape, dtype=spec.dtype, name=name)
    tensor = inputs[name]
    if tuple(tensor.shape[1:]) != tuple(spec.shape):
        tensor = keras.layers.Reshape(spec.shape)(tensor)
    return tensor if tensor.dtype == spec.dtype else tf.cast(tensor, spec.dtype)


class HintCurve(keras.callbacks.Callback):
    """Remember how far each hint was after each epoch, and after the first steps.

    Args:
        names: Of the metrics.
    """

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = names
        self.first: dict[str, float] = {}
        self.epochs: list[dict[str, float]] = []

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Remember the first steps."""
        self.first = self.first or {name: float(logs[name]) for name in self._names}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Remember the mean of the epoch."""
        self.epochs.append({name: float(logs[name]) for name in self._names})
