"""How much each input feature is worth: the validation AUC with what it says taken away, one feature at a time."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from tfshop import _console
from tfshop.data.features import IdFeature, NumericFeature
from tfshop.data.narrowing import columns_of
from tfshop.data.schema import Schema
from tfshop.data.split import Splits
from tfshop.errors import PlanError
from tfshop.training.scoring import mean_auc

HOW = ("permuted", "unknown")
EFFECT_ROWS = 100_000


@dataclass(frozen=True)
class FeatureEffect:
    """What a network loses without a feature.

    Attributes:
        feature: Its name.
        kind: "id", "numeric", "sequence" or "vector".
        auc: On validation rows, without what the feature says; the mean over targets.
        auc_drop: How much lower that is than with it; below zero where the feature does harm.
    """

    feature: str
    kind: str
    auc: float
    auc_drop: float

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def feature_effects(
    model: Any, data: Splits, *, how: str = "permuted", rows: int = EFFECT_ROWS, seed: int = 0
) -> tuple[FeatureEffect, ...]:
    """Take one feature away at a time, and measure the AUC on validation rows.

    Args:
        model: Functional model, trained.
        data: Its validation split is scored, once a feature; the test split is not read.
        how: "permuted": the feature's values of other rows; "unknown": id 0, a missing number, an empty history.
        rows: Most rows to score.
        seed: Of the sample and of the permutation.

    Returns:
        One row a feature, the least useful first.

    Raises:
        PlanError: For another `how`.

    Example:
        >>> for effect in feature_effects(model, data)[:3]:  # doctest: +SKIP
        ...     print(effect.feature, round(effect.auc_drop, 4))

    References:
        Breiman, Random Forests, Machine Learning 2001, section 10.
    """
    measured = EffectMeasure(model, data, how=how, rows=rows, seed=seed)
    features = data.schema.features
    found = []
    with _console.progress("measuring features", len(features)) as advance:
        for feature in features:
            auc = measured.auc_without([feature.name])
            found.append(FeatureEffect(feature.name, feature.kind, auc, measured.auc - auc))
            advance(1)
    return tuple(sorted(found, key=lambda effect: effect.auc_drop))


class EffectMeasure:
    """The AUC of a network without some features.

    Args:
        model: Functional model.
        data: Its validation split is scored.
        how: One of `HOW`.
        rows: Most rows to score.
        seed: Of the sample and of the permutation.
    """

    def __init__(
        self, model: Any, data: Splits, *, how: str = "permuted", rows: int = EFFECT_ROWS, seed: int = 0
    ) -> None:
        require_how(how)
        self._model = model
        self._how = how
        self._sample = data.validation.take(rows, seed=seed)
        self._order = np.random.default_rng(seed).permutation(self._sample.num_rows)
        self.auc = mean_auc(model, self._sample)

    def auc_without(self, names: Collection[str]) -> float:
        """Mean AUC over the targets, without what the named features say."""
        changed = {**self._sample.inputs}
        for key, columns in input_columns(self._sample.schema, names).items():
            values = changed[key].copy()
            unknown = np.nan if key == "numeric" else 0
            values[:, columns] = values[self._order][:, columns] if self._how == "permuted" else unknown
            changed[key] = values
        return mean_auc(self._model, replace(self._sample, inputs=changed))


def require_how(how: str) -> None:
    """Raise `PlanError` for another word than those of `HOW`."""
    if how not in HOW:
        raise PlanError(f"how is {how!r}. Expected one of {', '.join(HOW)}. Fix: how='permuted'.")


def input_columns(schema: Schema, names: Collection[str]) -> Mapping[str, list[int]]:
    """Columns of the packed inputs that hold some features."""
    found: dict[str, list[int]] = {
        "ids": columns_of(schema, names, IdFeature),
        "numeric": columns_of(schema, names, NumericFeature),
    }
    for sequence in schema.sequence_features:
        if sequence.name in names:
            found[sequence.input_name] = list(range(sequence.max_length))
    for vector in schema.vector_features:
        if vector.name in names:
            found[vector.input_name] = list(range(vector.width))
    return {key: columns for key, columns in found.items() if columns}
