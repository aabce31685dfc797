"""How a network of somebody else's comes in: from a file, or with the weights of a Keras 3 model."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tfshop._keras import keras
from tfshop._quiet import quiet
from tfshop.errors import ModelError

KINDS = "a .keras or .h5 file, or a SavedModel folder"
# Written by tf_keras itself for what has no public class.
FUNCTIONAL_KINDS = frozenset(
    {"Functional", "TFOpLambda", "SlicingOpLambda", "ClassMethod", "InstanceMethod", "InstanceProperty", "TensorShape"}
)
HOW_FROM_KERAS_3 = (
    "write the same network with `import tf_keras as keras`, and fill it with tfshop.weights_from_keras3(path, model)"
)


def load_model(
    path: str | os.PathLike[str], custom_objects: Mapping[str, Any] | None = None, *, trust_lambdas: bool = False
) -> Any:
    """Load a functional tf_keras model from a `.keras` file, an `.h5` file or a SavedModel folder.

    Args:
        path: The file or folder.
        custom_objects: Classes and functions that the network is made of and that are not registered, by name.
        trust_lambdas: Whether a file may bring Python bytecode along, which runs as soon as it is loaded. A `Lambda`
            around a named function given in `custom_objects` needs no trust.

    Returns:
        The model, not compiled: the loss and optimizer it was saved with are not needed.

    Raises:
        ModelError: For no such file, a model of Keras 3, a layer nobody knows, or bytecode in a file not trusted.

    Example:
        >>> model = load_model("ranker.keras", {"Cross": Cross})  # doctest: +SKIP
    """
    place = Path(path)
    if not place.exists():
        raise ModelError(f"{place} does not exist. Expected {KINDS}. Fix: check the path.")
    _refuse_keras_3(place)
    if not trust_lambdas:
        _refuse_bytecode(place)
    objects = dict(custom_objects or {})
    unknown = sorted(_unknown(_network(_config(place)), objects))
    if unknown:
        raise ModelError(
            f"{place} is made of {', '.join(unknown)}, which Keras does not know. Expected stock layers, registered "
            "ones, or those in custom_objects; nothing is imported that you did not name. Fix: load_model(path, "
            f"custom_objects={{{unknown[0]!r}: {unknown[0]}}})."
        )
    try:
        with quiet():
            model = _loaded(place, objects)
    except (ValueError, TypeError, OSError, KeyError, AttributeError, NotImplementedError, ImportError) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise ModelError(
            f"{place} cannot be loaded: {type(error).__name__}: {(lines or [''])[0][:300].rstrip('.')}. Expected "
            f"{KINDS}, as tf_keras writes them. Fix: name every layer and function of yours in custom_objects."
        ) from error
    if not isinstance(model, keras.Model):
        raise ModelError(
            f"{place} is a SavedModel without its Keras network. Expected one that tf_keras wrote with model.save(). "
            "Fix: build the network in tf_keras, load its weights, and save that."
        )
    return model


def _loaded(place: Path, objects: Mapping[str, Any]) -> Any:
    """The model; bytecode and imports were looked for before."""
    if place.is_dir():
        return keras.models.load_model(str(place), dict(objects), compile=False)
    if zipfile.is_zipfile(place):
        return keras.models.load_model(str(place), dict(objects), compile=False, safe_mode=False)
    config = _config(place)
    if not config:
        raise ValueError("it holds weights alone, without their network")
    with keras.src.saving.serialization_lib.SafeModeScope(False):
        model = keras.models.model_from_config(_plain_functions(config), dict(objects))
    model.load_weights(str(place))
    return model


def _plain_functions(config: Any) -> Any:
    """The configuration with functions by their bare name: the loader of `.h5` files knows no other way."""
    if isinstance(config, dict):
        if config.get("class_name") == "function" and isinstance(config.get("config"), str):
            return config["config"]
        return {key: _plain_functions(value) for key, value in config.items()}
    return [_plain_functions(value) for value in config] if isinstance(config, list) else config


def _network(config: Any) -> Any:
    """A configuration without the loss and optimizer, which are not loaded; those of networks inside would be."""
    if not isinstance(config, dict):
        return config
    return {key: value for key, value in config.items() if key != "compile_config"}


def _unknown(config: Any, objects: Mapping[str, Any]) -> Iterator[str]:
    """Names of classes and functions in a configuration that are neither Keras', nor registered, nor given.

    Keras would import the module that the file names for them.
    """
    if isinstance(config, list):
        for value in config:
            yield from _unknown(value, objects)
    if not isinstance(config, dict):
        return
    kind = config.get("class_name")
    if isinstance(kind, str):
        name = str(config.get("config")) if kind == "function" else kind
        registered = keras.saving.get_registered_object(config.get("registered_name") or name)
        if name not in objects and registered is None and not _is_stock(kind, config):
            yield name
    for value in config.values():
        yield from _unknown(value, objects)


def _is_stock(kind: str, config: Mapping[str, Any]) -> bool:
    if kind.startswith("__"):
        return True
    if config.get("module"):
        return kind != "function" and str(config["module"]).split(".")[0] in {"keras", "tf_keras", "builtins"}
    houses = (keras, keras.layers, keras.initializers, keras.regularizers, keras.constraints, keras.mixed_precision)
    return kind in FUNCTIONAL_KINDS or any(hasattr(house, kind) for house in houses)


def _refuse_keras_3(place: Path) -> None:
    version = str(_metadata(place).get("keras_version", ""))
    if version.startswith("3"):
        raise ModelError(
            f"{place} was written by Keras {version}. Expected a model of tf_keras (Keras 2), which TF-MOT needs. "
            f"Fix: {HOW_FROM_KERAS_3}."
        )


def _metadata(place: Path) -> Mapping[str, Any]:
    """Who wrote a file, as far as it says so."""
    if place.is_dir():
        return {}
    if zipfile.is_zipfile(place):
        with zipfile.ZipFile(place) as archive:
            names = set(archive.namelist())
            return dict(json.loads(archive.read("metadata.json"))) if "metadata.json" in names else {}
    return {"keras_version": _h5_attribute(place, "keras_version")}


def _refuse_bytecode(place: Path) -> None:
    config = _config_text(place)
    if '"__lambda__"' in config or '"function_type": "lambda"' in config:
        raise ModelError(
            f"{place} holds a Lambda layer as Python bytecode, which would run as soon as it is loaded. Expected "
            "layers without code. Fix: load_model(path, trust_lambdas=True) if you know who wrote it, or make the "
            "Lambda a registered layer."
        )


def _config(place: Path) -> Any:
    """The network's configuration; of a SavedModel none: its loader imports nothing, it revives what was traced."""
    return {} if place.is_dir() else json.loads(_config_text(place) or "{}")


def _config_text(place: Path) -> str:
    """The network's configuration as it is stored; of a SavedModel, its Keras metadata."""
    if place.is_dir():
        metadata = place / "keras_metadata.pb"
        return metadata.read_bytes().decode("utf-8", "ignore") if metadata.is_file() else ""
    if zipfile.is_zipfile(place):
        with zipfile.ZipFile(place) as archive:
            return archive.read("config.json").decode("utf-8") if "config.json" in archive.namelist() else ""
    return _h5_attribute(place, "model_config")


def _h5_attribute(place: Path, name: str) -> str:
    import h5py  # noqa: PLC0415  (a dependency of tensorflow; only these files need it)

    try:
        with h5py.File(place, "r") as file:
            value = file.attrs.get(name, "")
    except OSError as error:
        raise ModelError(f"{place} is no model: {error}. Expected {KINDS}. Fix: check the path.") from error
    return value.decode("utf-8") if isinstance(value, bytes) else str(value)
