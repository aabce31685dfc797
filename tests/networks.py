"""What each network of `MODELS` is tested with. A network that is not like the others has a row in `NEEDS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from helpers import first_rows

from tfshop._keras import tf
from tfshop.data import Splits
from tfshop.models import MODELS, SEVERAL_TARGETS

TINY = {"dimension": 4, "hidden": (16, 8)}
KINDS = ("ids", "numerics", "every kind")
# Passes and export modes are tried on one network of each kind of graph; the files of all are tested in tests/models.
SAMPLE = ("mlp", "deepfm", "dcn")


@dataclass(frozen=True)
class Needs:
    """What a network wants, as the conformance tests read it.

    Args:
        kinds: Schemas it works with: keys of the fixture `kinds`. The last one is that of the tests that take one
            schema only, so it should have every feature that the network reads.
        settings: Tiny hyperparameters.
        outputs: Names of the outputs, in the order of the label's columns.
        is_pointwise: Whether it scores a row from ids alone; then 26 of them make at most 150 operators.
    """

    kinds: tuple[str, ...] = KINDS
    settings: Mapping[str, Any] = field(default_factory=lambda: TINY)
    outputs: tuple[str, ...] = ("probability",)
    is_pointwise: bool = True

    @property
    def refused(self) -> tuple[str, ...]:
        """Schemas that the network cannot work with, and has to say so."""
        return tuple(kind for kind in KINDS if kind not in self.kinds)


WITH_FIELDS = ("ids", "every kind")  # networks of products of fields
NO_TOWER = {"dimension": 4}
HISTORY = ("every kind",)  # networks that read the history of an id
SIDES = {"item": ("id_1", "number_1", "image")}
SEVERAL = {
    name: Needs(("two targets",), TINY, ("probability_clicked", "probability_bought"), is_pointwise=False)
    for name in SEVERAL_TARGETS
}
NEEDS: Mapping[str, Needs] = {
    **SEVERAL,
    "logistic_regression": Needs(settings={}),
    "fm": Needs(WITH_FIELDS, NO_TOWER),
    "fwfm": Needs(WITH_FIELDS, NO_TOWER),
    "ffm": Needs(WITH_FIELDS, {"dimension": 2}),
    "afm": Needs(WITH_FIELDS, {"dimension": 4, "attention_width": 4}),
    "nfm": Needs(WITH_FIELDS),
    "pnn": Needs(WITH_FIELDS, {**TINY, "product": "both"}),
    "fnn": Needs(WITH_FIELDS),
    "dlrm": Needs(WITH_FIELDS),
    "dcn": Needs(settings={**TINY, "num_crosses": 2}),
    "dcn_vector": Needs(settings={**TINY, "num_crosses": 2}),
    "dcn_mix": Needs(settings={**TINY, "num_crosses": 2, "num_experts": 2, "rank": 4}),
    "mean_pooling": Needs(HISTORY, is_pointwise=False),
    "din": Needs(HISTORY, {**TINY, "attention_hidden": (8, 4)}, is_pointwise=False),
    "dien": Needs(HISTORY, is_pointwise=False),
    "bst": Needs(HISTORY, is_pointwise=False),
    "two_tower": Needs(HISTORY, {**TINY, **SIDES, "vector_width": 6}, is_pointwise=False),
}


def needs(name: str) -> Needs:
    """The row of a network, or that of a network like the others."""
    return NEEDS.get(name, Needs())


def pointwise() -> tuple[str, ...]:
    """Networks that score a row from ids alone."""
    return tuple(name for name in MODELS if needs(name).is_pointwise)


def outputs_by_name(model: Any, rows: Mapping[str, np.ndarray], *, training: bool = False) -> dict[str, Any]:
    """Tensors (rows, 1) that a model gives, by output name."""
    return dict(zip(model.output_names, tf.nest.flatten(model(dict(rows), training=training)), strict=True))


def keras_outputs(model: Any, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Scores (rows,) of a model, by output name."""
    return {name: output.numpy().reshape(-1) for name, output in outputs_by_name(model, rows).items()}


def file_outputs(scorer: Any, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Scores (rows,) of a file, by output name."""
    scores = scorer(rows)
    return scores if isinstance(scores, dict) else {scorer.outputs[0]: scores}


def batch_of(data: Splits, name: str, num_rows: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Training rows, and their labels (rows, 1) by output name."""
    labels = np.asarray(data.train.labels[:num_rows], np.float32).reshape(num_rows, -1)
    columns = {output: labels[:, [position]] for position, output in enumerate(needs(name).outputs)}
    return first_rows(data.train.inputs, num_rows), columns


def spread(model: Any) -> None:
    """Give a model weights as large as trained ones: fresh ones score 0.5 for every row.

    Tables get a deviation of 0.5, kernels keep the size of what they read, biases and other vectors get 0.2. The
    scales of normalizations are around one, where they begin.
    """
    rng = np.random.default_rng(0)
    for weight in model.weights:
        deviation = 0.5 if "embeddings" in weight.name else 0.2
        if "kernel" in weight.name:
            deviation = float(np.prod(weight.shape[:-1])) ** -0.5
        values = rng.normal(0, deviation, weight.shape)
        is_scale = "gamma" in weight.name
        weight.assign(1 + np.abs(values) if "variance" in weight.name else values + is_scale)
