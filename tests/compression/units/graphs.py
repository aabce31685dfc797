"""Random functional networks, and networks some of whose units are made exactly zero."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tfshop._keras import keras
from tfshop.compression.units.groups import Group
from tfshop.compression.units.trace import Trace
from tfshop.layers import ExpertKernels

layers = keras.layers
ACTIVATIONS = ("relu", "tanh", "linear", "gelu", "swish")  # of zero they give zero
WIDTHS = (4, 6, 8)
INPUTS = {"one": 5, "other": 4}
ORDERS = (("query", "value", "key"), ("key", "value", "query"), ("value", "query"))


class Growth:
    """A network that grows by one random step after the other."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw
        self.inputs = [keras.Input((width,), name=name) for name, width in INPUTS.items()]
        self.tensors = [self._dense(tensor) for tensor in self.inputs]
        self._shared: dict[int, Any] = {}

    def _dense(self, tensor: Any, units: int | None = None) -> Any:
        units = units or self.draw(st.sampled_from(WIDTHS))
        activation = self.draw(st.sampled_from(ACTIVATIONS))
        return layers.Dense(units, activation=activation, use_bias=self.draw(st.booleans()))(tensor)

    def pick(self) -> Any:
        """One of the tensors so far."""
        return self.draw(st.sampled_from(self.tensors))

    def alike(self) -> tuple[Any, Any]:
        """Two tensors of one width; the second is made where there is none."""
        one = self.pick()
        others = [tensor for tensor in self.tensors if tensor.shape[-1] == one.shape[-1] and tensor is not one]
        return one, self.draw(st.sampled_from(others)) if others else self._dense(self.pick(), one.shape[-1])

    def step(self, name: str) -> None:
        """Grow by one tensor."""
        self.tensors.append(getattr(self, name)())

    def dense(self) -> Any:
        return self._dense(self.pick())

    def normalization(self) -> Any:
        return layers.BatchNormalization(scale=self.draw(st.booleans()))(self.pick())

    def dropout(self) -> Any:
        return layers.Dropout(0.3)(self.pick())

    def activation(self) -> Any:
        return layers.Activation(self.draw(st.sampled_from(ACTIVATIONS)))(self.pick())

    def prelu(self) -> Any:
        return layers.PReLU()(self.pick())

    def concatenate(self) -> Any:
        return layers.Concatenate()([self.pick(), self.pick()])

    def add(self) -> Any:
        kind = self.draw(st.sampled_from((layers.Add, layers.Subtract, layers.Average, layers.Maximum)))
        return kind()(list(self.alike()))

    def multiply(self) -> Any:
        return layers.Multiply()(list(self.alike()))

    def broadcast(self) -> Any:
        """A tensor and one value for all its units, put together."""
        kind = self.draw(st.sampled_from((layers.Multiply, layers.Add, layers.Subtract, layers.Maximum)))
        return kind()([self.pick(), self._dense(self.pick(), 1)])

    def dot(self) -> Any:
        return layers.Dot(axes=1, normalize=self.draw(st.booleans()))(list(self.alike()))

    def matrix(self) -> Any:
        """Reshape, a Dense layer over the rows, Flatten."""
        return self._over_rows(lambda rows: rows)

    def permuted(self) -> Any:
        """Likewise over the columns, so that units are positions."""
        return self._over_rows(layers.Permute((2, 1)))

    def _over_rows(self, turned: Callable[[Any], Any]) -> Any:
        tensor = self.pick()
        if tensor.shape[-1] % 2:
            return self._dense(tensor)
        return layers.Flatten()(self._dense(turned(layers.Reshape((2, tensor.shape[-1] // 2))(tensor)), 3))

    def shared(self) -> Any:
        """A Dense layer that others of this width go through too."""
        tensor = self.pick()
        layer = self._shared.setdefault(tensor.shape[-1], layers.Dense(4, activation="relu"))
        return layer(tensor)

    def normalized_rows(self) -> Any:
        """A LayerNormalization, which keeps its width."""
        return layers.LayerNormalization()(self.pick())

    def nested(self) -> Any:
        """A submodel."""
        tensor = self.pick()
        x = keras.Input(tensor.shape[1:])
        hidden = layers.BatchNormalization()(layers.Dense(6, activation="relu")(x))
        return keras.Model(x, layers.Dense(self.draw(st.sampled_from(WIDTHS)))(hidden))(tensor)

    def attention(self) -> Any:
        """Rows of tensors that are given by name, in some order, and a mask or none."""
        given = {name: self._rows() for name in self.draw(st.sampled_from(ORDERS))}
        if self.draw(st.booleans()):
            mask = self._dense(self.draw(st.sampled_from(self.inputs)), 4)
            given["attention_mask"] = layers.Reshape((2, 2))(mask)
        return layers.Flatten()(layers.MultiHeadAttention(2, 3, use_bias=self.draw(st.booleans()))(**given))

    def _rows(self) -> Any:
        tensor = self.pick()
        tensor = self._dense(tensor) if tensor.shape[-1] % 2 else tensor
        return layers.Reshape((2, tensor.shape[-1] // 2))(tensor)

    def learned_activation(self) -> Any:
        """An activation with weights of its own, inside a Dense layer."""
        return layers.Dense(self.draw(st.sampled_from(WIDTHS)), activation=layers.PReLU())(self.pick())

    def frozen(self) -> Any:
        """Layers that do not train."""
        hidden = layers.Dense(self.draw(st.sampled_from(WIDTHS)), trainable=False)(self.pick())
        return layers.BatchNormalization(trainable=False)(hidden)

    def model(self) -> Any:
        """The network, with weights that do something."""
        ends = layers.Concatenate()(self.tensors[-3:])
        model = keras.Model(self.inputs, layers.Dense(1, activation="sigmoid")(ends), name="grown")
        random = np.random.default_rng(self.draw(st.integers(0, 99)))
        for weight in model.weights:
            values = random.normal(0, 0.4, weight.shape)
            weight.assign(1 + np.abs(values) if "variance" in weight.name else values)
        return model


STEPS = (
    "dense",
    "normalization",
    "dropout",
    "activation",
    "prelu",
    "concatenate",
    "add",
    "multiply",
    "broadcast",
    "dot",
    "matrix",
    "permuted",
    "shared",
    "normalized_rows",
    "nested",
)
RARE = ("attention", "learned_activation", "frozen")


PASS_ON = (layers.BatchNormalization, ExpertKernels)


@st.composite
def networks(draw: Any) -> Any:
    """A network of a few random steps."""
    keras.backend.clear_session()
    growth = Growth(draw)
    for name in draw(st.lists(st.sampled_from((*STEPS, *STEPS, *RARE)), min_size=3, max_size=9)):
        growth.step(name)
    return growth.model()


def zeroed(trace: Trace, atoms: Iterable[int]) -> None:
    """Make the units of some atoms exactly zero: what makes them, and what makes something of them under their name."""
    wanted = set(atoms)
    own = {(series.owner, series.entries) for series in trace.ledger.series}
    for layer in trace.model.layers:
        weights = layer.get_weights()
        for weight, axes in zip(weights, trace.weights_of(layer.name), strict=False):
            for number, axis in enumerate(axes):
                makes = (layer.name, axis) in own or isinstance(layer, PASS_ON)
                if isinstance(axis, tuple) and makes:
                    gone = [i for i, entry in enumerate(axis) if wanted & trace.ledger.resolve(entry)]
                    np.moveaxis(weight, number, 0)[gone] = 0.0
        layer.set_weights(weights)


def some_of(groups: Iterable[Group], share: float) -> set[int]:
    """Atoms of each group, so that no layer loses more than a share."""
    taken: set[int] = set()
    for group in groups:
        room = {floor: int(share * len(floor)) for floor in group.floors}
        for atom in group.atoms[::-1]:
            touched = [floor for floor in group.floors if atom in floor]
            if touched and all(room[floor] > 0 for floor in touched):
                taken.add(atom)
                room.update({floor: room[floor] - 1 for floor in touched})
    return taken


def rows(model: Any, num_rows: int = 16) -> dict[str, np.ndarray]:
    """Random rows for a network's float inputs."""
    random = np.random.default_rng(1)
    return {t.name: random.normal(size=(num_rows, *t.shape[1:])).astype(np.float32) for t in model.inputs}
