"""Layers of a copy, changed one at a time, and what the scores lose by it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop.data.split import Split
from tfshop.evaluation import auc_difference
from tfshop.evaluation.metrics import SMALLEST_PROBABILITY
from tfshop.evaluation.trial import Trial
from tfshop.probing.activations import Activations
from tfshop.probing.change import Change
from tfshop.probing.material import Material
from tfshop.probing.switches import Switches
from tfshop.probing.technique import Technique

Scores = NDArray[np.float32]


class Bench:
    """A network, and the scores it gives to the rows it is judged on.

    Args:
        material: Of the network; its copy is changed for the time of a trial.
        split: The rows, with both classes of each target.
        options: Of `Activations`.
    """

    def __init__(self, material: Material, split: Split, **options: Any) -> None:
        self._material = material
        self._split, self._options = split, options
        self._activations = Activations(material.model, split, **options)
        self._labels = {target: np.asarray(labels).reshape(-1) for target, labels in split.labels_by_target.items()}
        self._at: str | None = None
        self._before: Scores
        self._run: Callable[[], Scores]
        self._switches: Switches

    def trial(self, layer: str, technique: Technique, strength: float) -> Trial:
        """Change a layer, score the rows, and put the layer back."""
        change = technique.change(self._material, layer, strength)
        found = self.changed_scores(layer, change)
        return Trial(
            layer=layer,
            role=self._material.roles[layer],
            technique=technique.name,
            strength=strength,
            setting=technique.setting(strength),
            bytes_saved=change.bytes_saved,
            multiplies_saved=change.multiplies_saved,
            **self._losses(found),
        )

    def changed_scores(self, layer: str, change: Change) -> Scores:
        """Scores (rows, targets) with a layer changed."""
        if self._at != layer:
            self._move_to(layer)
        if change.network is not None:
            return Activations(change.network, self._split, **self._options).outputs()()
        with self._changed(layer, change):
            return self._run()

    def _move_to(self, layer: str) -> None:
        """Keep what the layer reads, and compile what comes behind it."""
        self._switches = Switches(self._material, layer)
        self._activations.move_before([kernel.variable for kernel in self._material.kernels(layer).values()])
        self._run = self._activations.outputs(self._switches.edits)
        self._before = self._run()  # by the same arithmetic, so that no change at all loses exactly nothing
        self._at = layer

    @contextmanager
    def _changed(self, layer: str, change: Change) -> Iterator[None]:
        kernels = self._material.kernels(layer)
        before = {name: kernels[name].variable.numpy() for name in change.kernels}
        try:
            for name, values in change.kernels.items():
                kernels[name].variable.assign(values)
            self._switches.set(change)
            yield
        finally:
            for name, values in before.items():
                kernels[name].variable.assign(values)
            self._switches.set()

    def _losses(self, found: Scores) -> dict[str, Any]:
        """Losses as a `Trial` names them."""
        differences = {}
        log_losses, squares = [], []
        for column, (target, labels) in enumerate(self._labels.items()):
            before, after = self._before[:, column], found[:, column]
            differences[target] = auc_difference(labels, after, before)
            logits = [_logits(scores) for scores in (before, after)]
            log_losses.append(float(np.mean(_cross_entropy(labels, logits[1]) - _cross_entropy(labels, logits[0]))))
            squares.append(float(np.mean((logits[1] - logits[0]) ** 2)))
        return {
            "auc_loss": -_mean(found.difference for found in differences.values()),
            "low": -_mean(found.high for found in differences.values()),
            "high": -_mean(found.low for found in differences.values()),
            "log_loss": _mean(log_losses),
            "logit_error": float(np.sqrt(_mean(squares))),
            "by_target": {target: 0.0 - found.difference for target, found in differences.items()},
        }


def _mean(values: Any) -> float:
    return float(np.mean(list(values)))


def _logits(probabilities: Scores) -> NDArray[np.float64]:
    clipped = np.clip(np.asarray(probabilities, np.float64), SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)
    return np.asarray(np.log(clipped) - np.log1p(-clipped))


def _cross_entropy(labels: NDArray[np.float32], logits: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.logaddexp(0, logits) - labels * logits)
