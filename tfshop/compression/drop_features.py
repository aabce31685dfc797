"""Whole input features: what a network does not need is no longer looked up, multiplied or stored."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from tfshop.compression.candidate import Candidate, curve_of
from tfshop.compression.effects import EffectMeasure, feature_effects, require_how
from tfshop.compression.left_alone import left_alone
from tfshop.compression.masked import zeros_held
from tfshop.compression.teaching import fine_tuned, require_learners
from tfshop.compression.units.compensation import compensate, lacking_bias
from tfshop.compression.units.features import NO_INPUT, FeatureTrace, follow_features
from tfshop.compression.units.following import Kept
from tfshop.compression.units.standing import NO_VALUES, Values, constant_values
from tfshop.compression.units.surgery import shrunk
from tfshop.compression.units.trace import OF_OUTPUT
from tfshop.compression.unread import refuse_unread, refuse_unread_without_training
from tfshop.data.schema import Schema
from tfshop.data.split import Splits
from tfshop.errors import ModelError, PlanError
from tfshop.models.rebuild import inlined
from tfshop.training import FitSettings
from tfshop.training.adoption import require_copyable


@dataclass(frozen=True)
class DropFeatures:
    """Remove features with their rows of the tables and the weights they fed; inputs keep their names and shapes.

    Whoever feeds the file goes on feeding what it fed: the columns of a dropped feature are read by nothing. Where a
    layer cannot do without what a feature gave (a product with another feature, a normalization over all of them, a
    layer without a rule), it reads a constant instead: the mean over training rows, of integers the most frequent
    value. The constants are trained on with the rest; lookups and tables go all the same.

    Args:
        names: Features to drop; None to choose them by `max_auc_drop`.
        max_auc_drop: What validation AUC may lose before fine-tuning, all dropped features together. Features are
            tried one by one, the least useful first.
        how: How a feature's worth is measured, see `feature_effects`.
        compensate: Whether what dropped features gave on average goes into the biases and constants of what read
            them; a Dense layer without a bias gets one for it. Zeros stand for them otherwise.
        epochs: Of fine-tuning; 0 for none.
        learning_rate: Of the fine-tuning.
        distill: Whether the fine-tuning learns from the scores of the model that comes in beside the labels, so that
            it does not overfit.

    Raises:
        PlanError: At construction for a value out of range; in `check` for unknown features, and those that the
            network cannot do without.

    Example:
        >>> DropFeatures(("weekday",)).names
        ('weekday',)

    References:
        Breiman, Random Forests, Machine Learning 2001, section 10 (the worth of a feature by values of other rows).
    """

    name: ClassVar[str] = "DropFeatures"
    makes: ClassVar[tuple[str, ...]] = ("features",)
    preserves: ClassVar[tuple[str, ...]] = (
        "sparsity",
        "rows",
        "factors",
        "units",
        "features",
        "scales",
    )

    names: tuple[str, ...] | None = None
    max_auc_drop: float = 5e-4
    how: str = "permuted"
    compensate: bool = True
    epochs: int = 1
    learning_rate: float = 5e-4
    distill: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.names, str) or (self.names is not None and not len(self.names)):
            raise PlanError(f"names is {self.names!r}. Expected names of features. Fix: DropFeatures(('weekday',)).")
        object.__setattr__(self, "names", None if self.names is None else tuple(self.names))
        if not -1 < self.max_auc_drop < 1:
            raise PlanError(f"max_auc_drop is {self.max_auc_drop!r}. Expected a difference of AUC. Fix: 5e-4.")
        require_how(self.how)
        if self.names is not None:
            refuse_unread(self, ("max_auc_drop", "how"), "the features are named", fix="names=None")
        refuse_unread_without_training(self)
        if self.epochs != 0:
            FitSettings(epochs=self.epochs, learning_rate=self.learning_rate)

    def check(self, model: Any, schema: Schema) -> None:
        """Refuse unknown features, and those that cannot be taken out."""
        require_copyable(model, schema)
        _require_known(self.names or (), schema, self.name)
        flat = inlined(model)
        require_learners(flat, self.epochs, by=self.name)
        if self.names:
            self._smaller(_followed(flat, schema, self.names), self.names)
            return
        features = follow_features(flat, schema)
        if not features.free and set(_stuck(flat, schema, features)) >= {feature.name for feature in schema.features}:
            raise PlanError(
                f"DropFeatures can drop no feature of {model.name!r}: {next(iter(features.held.values()))}. Expected "
                f"a feature that layers with a rule read. {_FIX_FOR_IDS}, or leave DropFeatures out."
            )

    def foreseen(self, model: Any, schema: Schema) -> Any:
        """The network without the features that were named; which others go, validation decides."""
        if self.names is None:
            return model
        return self._smaller(_followed(inlined(model), schema, self.names), self.names)

    def apply(self, candidate: Candidate, data: Splits, seed: int) -> Candidate:
        """Measure, drop, rebuild, and train what is left for a moment."""
        model = inlined(candidate.model)
        effects: tuple[Any, ...] = ()
        dropped = self.names or ()
        if self.names is None:
            effects = feature_effects(model, data, how=self.how, seed=seed)
            tried = [effect.feature for effect in effects if effect.auc_drop <= self.max_auc_drop]
            dropped = self._while_it_holds(model, data, tried, seed)
        features = _followed(model, data.schema, dropped)
        trace, kept = features.trace, _kept(features, dropped)
        means = constant_values(trace, data.train, seed=seed) if self.compensate else NO_VALUES
        smaller = self._smaller(features, dropped, means)
        compensated = compensate(trace, kept, smaller, data.train, seed=seed) if self.compensate else []
        history = None
        if self.epochs:
            told = f"fine-tuning without {len(dropped)} features"
            with zeros_held(smaller):
                history = fine_tuned(smaller, candidate.model, data, self, seed=seed, description=told)
        held = _stuck(model, data.schema, follow_features(model, data.schema))
        by = "replaced by its mean" if self.compensate else "replaced by zeros"
        notes = {
            "dropped": list(dropped),
            "how": {name: by if name in features.replaced else "removed" for name in dropped},
            "effects": [effect.to_dict() for effect in effects],
            "not_to_be_dropped": held,
            "parameters": [model.count_params(), smaller.count_params()],
            "compensated": compensated,
            "left_alone": self._left_alone(model, held),
            "fit": history.to_dict() if history else None,
        }
        return candidate.advance(self, smaller, notes=notes, curve=curve_of(history) if history else ())

    def _smaller(self, features: FeatureTrace, names: Sequence[str], means: Values = NO_VALUES) -> Any:
        """The network; layers get a bias for what they no longer read, where that gave them something on average."""
        biased = lacking_bias(features.trace, _kept(features, names)) if self.compensate else ()
        return _without(features, names, means, biased)

    def _while_it_holds(self, model: Any, data: Splits, tried: Iterable[str], seed: int) -> tuple[str, ...]:
        """Features that can go together, the least useful first."""
        measure = EffectMeasure(model, data, how=self.how, seed=seed)
        chosen: list[str] = []
        for name in tried:
            together = [*chosen, name]
            if len(together) == len(data.schema.features):
                break
            if measure.auc - measure.auc_without(together) <= self.max_auc_drop and _stands(
                model, data.schema, together
            ):
                chosen = together
        return tuple(chosen)

    def _left_alone(self, model: Any, held: Mapping[str, str]) -> list[dict[str, str]]:
        """Nothing where every feature could go; tables of features that could not, otherwise."""
        if not held:
            return []
        why = f"the network cannot do without {', '.join(held)}: {next(iter(held.values()))}"
        tables = [layer.name for layer in model.layers if type(layer).__name__ != "Embedding"]
        return left_alone(model, tables, by=self.name, reason=lambda *_: why)


_FIX_FOR_IDS = "Fix: give each id feature an input of its own, or pick columns of ids with tfshop.layers.ColumnSelect"


def without_features(model: Any, schema: Schema, names: Sequence[str], *, by: str) -> Any:
    """The network without some features, with the weights it has; zeros stand for what it cannot do without.

    Args:
        model: Functional model, which may read some of them, or none; left as it is.
        schema: Fitted.
        names: Of features.
        by: Who asks, for refusals.

    Raises:
        PlanError: For unknown features, and those that the network cannot do without.
    """
    _require_known(names, schema, by)
    flat = inlined(model)
    features = follow_features(flat, schema, names)
    read = [name for name in names if features.held.get(name) != NO_INPUT]
    _require_free(features, schema, read, by)
    return _without(features, read, by=by) if read else model


def _require_known(names: Sequence[str], schema: Schema, by: str) -> None:
    known = [feature.name for feature in schema.features]
    for name in names:
        if name not in known:
            raise PlanError(
                f"{by} is to drop {name!r}, which the schema has not. Expected some of {', '.join(known)}. "
                "Fix: name features as they are declared."
            )


def _followed(model: Any, schema: Schema, names: Sequence[str]) -> FeatureTrace:
    """The trace without some features.

    Raises:
        PlanError: For a feature that the network cannot do without.
    """
    features = follow_features(model, schema, names)
    _require_free(features, schema, names, DropFeatures.name)
    return features


def _require_free(features: FeatureTrace, schema: Schema, names: Sequence[str], by: str) -> None:
    cannot = _cannot_drop(names, features.trace.model, by)
    others = ", ".join(feature.name for feature in schema.features if feature.name not in names) or "none here"
    for name in names:
        if name in features.held:
            if features.held[name] == OF_OUTPUT:
                raise PlanError(
                    f"{cannot}: an output is made of nothing else. Expected features that leave each output something "
                    "to read. Fix: drop fewer."
                )
            raise PlanError(
                f"{cannot}: {name!r} stays, as {features.held[name]}. Expected other features, such as {others}. "
                f"{_FIX_FOR_IDS}; or leave {name!r} in."
            )


def _without(
    features: FeatureTrace,
    names: Sequence[str],
    means: Values = NO_VALUES,
    biased: Collection[str] = (),
    by: str = DropFeatures.name,
) -> Any:
    """The network without some features.

    Raises:
        PlanError: For features that it cannot do without together.
    """
    try:
        return shrunk(features.trace, features.atoms(names), means, biased=biased)
    except (ModelError, ValueError) as error:
        raise PlanError(
            f"{_cannot_drop(names, features.trace.model, by)}: {error} Expected features that leave each layer "
            "something. Fix: drop fewer."
        ) from error


def _cannot_drop(names: Sequence[str], model: Any, by: str) -> str:
    return f"{by} cannot drop {', '.join(map(repr, names))} from {model.name!r}"


def _kept(features: FeatureTrace, names: Sequence[str]) -> Kept:
    return Kept(features.trace.ledger, features.atoms(names))


def _stands(model: Any, schema: Schema, names: Sequence[str]) -> bool:
    try:
        _without(_followed(model, schema, names), names)
    except PlanError:
        return False
    return True


def _stuck(model: Any, schema: Schema, features: FeatureTrace) -> dict[str, str]:
    """Features that not even a constant can stand for, and why."""
    alone = {name: follow_features(model, schema, [name]).held.get(name) for name in features.held}
    return {name: reason for name, reason in alone.items() if reason}
