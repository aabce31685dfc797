"""Weights of a Keras 3 model, put by name into the same network written in tf_keras."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from tfshop.errors import ModelError
from tfshop.models.rebuild import is_submodel

IGNORED = frozenset({"seed_generator"})  # of Dropout and initializers: Keras 3 keeps their state, Keras 2 has none
CONTAINERS = ("layers", "_layer_checkpoint_dependencies")  # the second in the first releases of Keras 3
MOST_SHOWN = 5
Arrays = Sequence[np.ndarray]


def weights_from_keras3(source: str | os.PathLike[str] | Mapping[str, Arrays], model: Any) -> Any:
    """Fill a tf_keras model with the weights of a Keras 3 model, layer by layer, by name.

    A layer whose name the file does not have (Keras numbers the names it makes up) gets the weights of the layer of the
    same class at the same place in the file, if their shapes agree.

    Args:
        source: A `.keras` or `.weights.h5` file that Keras 3 wrote, or layer name -> arrays, as
            `{layer.name: layer.get_weights() for layer in keras_3_model.layers}` gives them.
        model: The same network in tf_keras; changed in place.

    Returns:
        The model.

    Raises:
        ModelError: Before anything is changed, where a layer's weights are missing or of another shape, or where the
            file holds weights that no layer takes.

    Example:
        >>> import tf_keras as keras
        >>> x = keras.Input((2,))
        >>> network = keras.Model(x, keras.layers.Dense(1, name="click")(x))
        >>> given = {"click": [np.ones((2, 1)), np.zeros(1)]}
        >>> weights_from_keras3(given, network).get_layer("click").get_weights()[0].tolist()
        [[1.0], [1.0]]
    """
    if isinstance(source, Mapping):
        stored = [Stored(name, name, {"": [np.asarray(a) for a in arrays]}) for name, arrays in source.items()]
        wanted = {layer.name: layer for layer in model.layers if layer.weights}
    else:
        stored = _read(Path(source))
        wanted = {path: layer for path, _, layer in _layers(model) if layer.weights}
    kinds = {path: kind for path, kind, _ in _layers(model)}
    found = _matched(wanted, kinds, [entry for entry in stored if entry.arrays])
    for path, arrays in found.items():
        wanted[path].set_weights(arrays)
    return model


@dataclass(frozen=True, eq=False)
class Stored:
    """Weights of one layer as a file holds them.

    Attributes:
        name: Names of the layer and of the submodels it is in, joined by slashes.
        kind: Their classes, likewise, in snake case.
        arrays: Attribute of the layer that owns them (empty for the layer itself) -> arrays in order.
    """

    name: str
    kind: str
    arrays: Mapping[str, Arrays]

    def fitted_to(self, layer: Any) -> list[np.ndarray] | None:
        """The arrays in the order of `layer.get_weights()`; None where the layer has others."""
        shapes = [tuple(weight.shape) for weight in layer.weights]
        found = list(self.arrays[""]) if set(self.arrays) == {""} else self._by_part(layer)
        return found if [array.shape for array in found] == shapes else None

    def _by_part(self, layer: Any) -> list[np.ndarray]:
        owned = {
            id(weight): array
            for path, arrays in self.arrays.items()
            for weight, array in zip(_own_weights(_part(layer, path)), arrays, strict=False)
        }
        return [owned[id(weight)] for weight in layer.weights if id(weight) in owned]

    def __str__(self) -> str:
        """Name and shapes."""
        return f"{self.name!r} {[a.shape for arrays in self.arrays.values() for a in arrays]}"


def _matched(
    wanted: Mapping[str, Any], kinds: Mapping[str, str], stored: Sequence[Stored]
) -> dict[str, list[np.ndarray]]:
    """Arrays for each layer: by name, the others by class and order."""
    left = {entry.name: entry for entry in stored}
    pairs = {path: left.pop(path) for path in wanted if path in left}
    for path in wanted:
        alike = [entry for entry in left.values() if entry.kind == kinds[path]]
        if path not in pairs and alike:
            pairs[path] = left.pop(alike[0].name)
    found = {path: entry.fitted_to(wanted[path]) for path, entry in pairs.items()}
    wrong = [
        f"{path!r} has {[tuple(weight.shape) for weight in layer.weights]}, the source "
        f"{pairs.get(path, 'nothing for it')}"
        for path, layer in wanted.items()
        if found.get(path) is None
    ]
    wrong += [f"no layer takes {entry}" for entry in left.values()]
    if wrong:
        raise ModelError(
            f"the weights do not fit the network: {'; '.join(wrong[:MOST_SHOWN])}"
            f"{f' and {len(wrong) - MOST_SHOWN} more' if len(wrong) > MOST_SHOWN else ''}. Expected the same layers. "
            "Fix: give the layers of the tf_keras network the names and sizes of the Keras 3 network's."
        )
    return {path: arrays for path, arrays in found.items() if arrays is not None}


def _layers(model: Any, names: str = "", kinds: str = "") -> Iterator[tuple[str, str, Any]]:
    """Name path, class path and layer, submodels opened."""
    for layer in model.layers:
        name, kind = names + layer.name, kinds + _snake_case(type(layer).__name__)
        if is_submodel(layer):
            yield from _layers(layer, f"{name}/", f"{kind}/")
        else:
            yield name, kind, layer


def _read(place: Path) -> list[Stored]:
    """The layers of a `.keras` or `.weights.h5` file."""
    import h5py  # noqa: PLC0415  (a dependency of tensorflow; only these files need it)

    try:
        if zipfile.is_zipfile(place):
            with zipfile.ZipFile(place) as archive:
                content: Any = BytesIO(archive.read("model.weights.h5"))
        else:
            content = place
        with h5py.File(content, "r") as file:
            return list(_stored(file, "", ""))
    except (OSError, KeyError) as error:
        raise ModelError(
            f"{place} cannot be read as weights of Keras 3: {error}. Expected a .keras or .weights.h5 file. "
            "Fix: model.save('ranker.keras') in Keras 3."
        ) from error


def _stored(group: Any, names: str, kinds: str) -> Iterator[Stored]:
    container = next((group[key] for key in CONTAINERS if key in group), None)
    if container is None:
        raise KeyError("it has no group 'layers'")
    for key in sorted(container, key=_counter):
        member = container[key]
        own = member["vars"].attrs.get("name") if "vars" in member else None
        name, kind = names + str(own or key), kinds + _counter(key)[0]
        if any(other in member for other in CONTAINERS):
            yield from _stored(member, f"{name}/", f"{kind}/")
        else:
            yield Stored(name, kind, dict(_arrays(member, "")))


def _arrays(group: Any, path: str) -> Iterator[tuple[str, Arrays]]:
    """Arrays of a layer, by the attribute that owns them."""
    for key, member in group.items():
        if key == "vars":
            if len(member):
                yield path, [np.asarray(member[number]) for number in sorted(member, key=int)]
        elif key not in IGNORED and hasattr(member, "items"):
            yield from _arrays(member, f"{path}/{key}".strip("/"))


def _part(layer: Any, path: str) -> Any:
    """The layer inside a layer that a path of attributes leads to; None where there is none."""
    part = layer
    for key in path.split("/") if path else ():
        if isinstance(part, Sequence):
            kind, number = _counter(key)
            alike = [one for one in part if _snake_case(type(one).__name__) == kind]
            part = alike[number] if number < len(alike) else None
        else:
            part = getattr(part, key, None) or getattr(part, f"_{key}", None)
    return part


def _own_weights(layer: Any) -> list[Any]:
    """Weights of a layer without those of the layers inside it."""
    return [] if layer is None else [*layer._trainable_weights, *layer._non_trainable_weights]


def _counter(key: str) -> tuple[str, int]:
    """`dense_2` -> ("dense", 2), `dense` -> ("dense", 0), as Keras numbers what has one class."""
    found = re.fullmatch(r"(.+?)_(\d+)", key)
    return (found[1], int(found[2])) if found else (key, 0)


def _snake_case(name: str) -> str:
    """As Keras makes names of classes."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
