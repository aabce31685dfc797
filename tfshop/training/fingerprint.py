"""What a training is: two with the same fingerprint take the same steps."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from tfshop._keras import keras
from tfshop.data.mapped import release
from tfshop.data.schema import Schema
from tfshop.data.split import Split

Fingerprint = dict[str, str]

READ_WHOLE = 1 << 29
BLOCKS, BLOCK_ROWS = 64, 4096


def fingerprint(model: Any, train: Split, validation: Split, settings: Mapping[str, Any]) -> Fingerprint:
    """Digests of the network, the schema, the rows and the settings, by name.

    Names that Keras counts up (`dense_7`) do not matter. Of the rows count their number, the batch size, every label
    and every input; of inputs over half a GiB, 64 blocks of 4,096 rows, evenly spread.
    """
    return {
        "network": _digest(_architecture(model)),
        "schema": _digest(_schema(train.schema)),
        "training rows": _digest(_rows(train)),
        "validation rows": _digest(_rows(validation)),
        "settings": _digest(settings),
    }


def digest_of_weights(model: Any) -> str:
    """Digest of a network and all of its weights: two with the same give the same scores."""
    found = hashlib.sha256(_digest(_architecture(model)).encode())
    for weight in model.weights:
        found.update(np.ascontiguousarray(weight.numpy()).data)
    return found.hexdigest()[:16]


def digest_of_rows(split: Split) -> str:
    """Digest of the schema and of every input of a split, labels and batch size apart."""
    checks = {name: _check(array, whole=True) for name, array in split.inputs.items()}
    return _digest([_schema(split.schema), split.num_rows, checks])


def _digest(content: Any) -> str:
    text = json.dumps(content, sort_keys=True, default=_plain)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """Losses and schedules by class and configuration; the rest as it prints."""
    if hasattr(value, "get_config"):
        return [type(value).__name__, value.get_config()]
    return str(value)


def _architecture(model: Any) -> Any:
    shapes = [[list(weight.shape), weight.dtype.name] for weight in model.weights]
    try:
        config = model.get_config()
    except NotImplementedError:  # a layer of somebody else's without get_config
        config = [type(layer).__name__ for layer in model.layers]
    layers = [layer for layer in model.submodules if isinstance(layer, keras.layers.Layer)]
    numbers = {layer.name: f"#{position}" for position, layer in enumerate(layers)}
    return [shapes, _renamed(config, {**numbers, model.name: "#"})]


def _renamed(config: Any, names: Mapping[str, str]) -> Any:
    if isinstance(config, Mapping):
        return {str(key): _renamed(value, names) for key, value in config.items()}
    if isinstance(config, list | tuple):
        return [_renamed(value, names) for value in config]
    return names.get(config, config) if isinstance(config, str) else config


def _schema(schema: Schema) -> Any:
    """Features and table sizes: the vocabularies themselves show in the rows."""
    described = json.loads(schema.replace(vocabularies={}, statistics={}).to_json())
    return [described, dict(schema.tables)]


def _rows(split: Split) -> Any:
    checks = {name: _check(array, whole=array.nbytes <= READ_WHOLE) for name, array in split.inputs.items()}
    return [split.num_rows, split.batch_size, checks, _check(split.labels, whole=True)]


def _check(array: Any, *, whole: bool) -> int:
    """CRC of an array (rows, …), all of it or blocks that are evenly spread."""
    last = max(0, len(array) - BLOCK_ROWS)
    starts = range(0, len(array), BLOCK_ROWS) if whole else [last * n // (BLOCKS - 1) for n in range(BLOCKS)]
    check = 0
    for start in starts:
        check = zlib.crc32(np.ascontiguousarray(array[start : start + BLOCK_ROWS]).tobytes(), check)
    release(array)
    return check
