"""A model on its way through a plan, and the passes that take it there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from tfshop.data.schema import Schema
from tfshop.data.split import Splits
from tfshop.errors import PlanError
from tfshop.tables.codec import Codec
from tfshop.training import History
from tfshop.training.outputs import arrange_outputs

PROPERTIES: Mapping[str, str] = MappingProxyType(
    {
        "sparsity": "zeros",
        "pattern": "pattern of zeros",
        "rows": "zeros or shared numbers in tables",
        "clusters": "shared weights",
        "ranges": "ranges",
        "factors": "factors",
        "units": "smaller layers",
        "features": "fewer features",
        "scales": "equal scales",
        "codes": "coded tables",
    }
)
# What stays as long as the network is the same one: a new network alone throws it away.
OF_THE_NETWORK = ("units", "features", "scales", "codes")
WEIGHTS_ALIKE = ("sparsity", "pattern")  # what stays as long as zeros do, where they are
LEFT_OUT = "left_out"  # among the notes of a pass that could not work on what the passes before it left


@dataclass(frozen=True)
class StepRecord:
    """What one pass did.

    Attributes:
        name: The pass.
        settings: Its hyperparameters.
        notes: What it measured: kept epoch, sparsity, layers left alone and why …
        curve: Rows for the picture of its training: step, loss, validation_auc, sparsity.
        seconds: Wall time of the pass; 0 where nobody looked at a clock.
    """

    name: str
    settings: Mapping[str, Any]
    notes: Mapping[str, Any] = field(default_factory=dict)
    curve: tuple[Mapping[str, Any], ...] = ()
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Candidate:
    """A model and what has been done to it.

    Attributes:
        model: Functional tf_keras model, its outputs in the order of the targets: several are put so.
        schema: Fitted schema of the data it was trained on.
        history: One record a pass, in order.
        unquantized: After QAT, the model before it: the exporter tells which of the two makes the better file.
        rows: Rows of coded tables before they were rounded, by the names of the lookups: as they were before coding, or
            what a tuning has made of them since.
    """

    model: Any
    schema: Schema
    history: tuple[StepRecord, ...] = ()
    unquantized: Any = None
    rows: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Have several outputs in the order of the targets, so that passes may rename layers."""
        if len(self.schema.targets) > 1:
            object.__setattr__(self, "model", arrange_outputs(self.model, self.schema))

    def timed(self, seconds: float) -> Candidate:
        """The candidate with the wall time of its last pass."""
        *before, last = self.history
        return replace(self, history=(*before, replace(last, seconds=round(seconds, 3))))

    def without(self, step: Pass, reason: str) -> Candidate:
        """The candidate as it is, with a record that a pass was left out, and why."""
        record = StepRecord(step.name, step_to_dict(step, functions_by_name=True), {LEFT_OUT: reason})
        return replace(self, history=(*self.history, record))

    def advance(
        self,
        step: Pass,
        model: Any,
        *,
        unquantized: Any = None,
        rows: Mapping[str, NDArray[np.float32]] | None = None,
        **record: Any,
    ) -> Candidate:
        """The candidate after `step` turned its model into `model`.

        Args:
            step: The pass.
            model: The new model.
            unquantized: The model before QAT.
            rows: Of tables that the step has coded; None where it coded none.
            **record: `notes` and `curve` of the `StepRecord`.
        """
        made = StepRecord(step.name, step_to_dict(step, functions_by_name=True), **record)
        known = self.rows if rows is None else rows
        return replace(self, model=model, history=(*self.history, made), unquantized=unquantized, rows=known)


@runtime_checkable
class Pass(Protocol):
    """One technique: frozen hyperparameters, a check before training, and a step that leaves its input untouched.

    `makes` and `preserves` name properties of weights, keys of `PROPERTIES`: a plan refuses a pass that does not
    preserve what an earlier one made.
    """

    name: ClassVar[str]
    makes: ClassVar[tuple[str, ...]]
    preserves: ClassVar[tuple[str, ...]]

    def check(self, model: Any, schema: Schema) -> None:
        """Raise `PlanError` for all that can be refused before training."""

    def apply(self, candidate: Candidate, data: Splits, seed: int) -> Candidate:
        """Return the next candidate; same seed, same weights."""


@runtime_checkable
class Foresees(Protocol):
    """A pass after which the network has another shape, or zeros, which can be told before training."""

    def foreseen(self, model: Any, schema: Schema) -> Any:
        """A network of the shape that `apply` will leave, untrained; later steps are checked on it.

        What only data tells is taken as it is in `model`, or so that the most is left: nothing is refused which may
        work. A pass that then cannot work after all is left out, and the record says why.

        Args:
            model: Functional model that passed `check`; left as it is.
            schema: Fitted.
        """


def curve_of(history: History) -> tuple[dict[str, float], ...]:
    """Rows for the picture of a training, one an epoch: epoch, loss, validation_auc."""
    return tuple({"epoch": row.epoch, "loss": row.loss, "validation_auc": row.validation_auc} for row in history.epochs)


def step_to_dict(step: Any, *, functions_by_name: bool = False) -> dict[str, Any]:
    """Hyperparameters of a pass or exporter as plain JSON data.

    Args:
        step: The pass or exporter.
        functions_by_name: Whether functions and models in memory are told of by their names, for records that nobody
            reads back.

    Raises:
        PlanError: For a function or a model in memory, unless its name will do.
    """
    settings = {item.name: _plain(getattr(step, item.name)) for item in fields(step)}
    for name, value in settings.items():
        if not functions_by_name and (found := _in_memory(value)):
            what, fix = ("a function", f"a {name} that has a name of its own")
            if hasattr(found[0], "get_weights"):
                what, fix = ("a model in memory", "save it, and give its path")
            raise PlanError(
                f"{step.name}({name}={called(found[0])}) is {what}, which JSON cannot hold. Expected plain data. Fix: "
                f"{fix}, or keep the plan in Python."
            )
    return {name: _told(value) for name, value in settings.items()}


def called(value: Any) -> str:
    """What to call a value that is no plain data: a model or a function by its name."""
    if hasattr(value, "get_weights"):
        return f"<model {value.name!r}>"
    return str(getattr(value, "__qualname__", type(value).__name__))


def _in_memory(value: Any) -> list[Any]:
    """Models and functions among plain data."""
    if isinstance(value, list):
        return [found for item in value for found in _in_memory(item)]
    if isinstance(value, Mapping):
        return [found for item in value.values() for found in _in_memory(item)]
    return [value] if callable(value) else []


def _told(value: Any) -> Any:
    """Plain data with models and functions by their names."""
    if isinstance(value, list):
        return [_told(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _told(item) for key, item in value.items()}
    return called(value) if callable(value) else value


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        kind = {"name": value.name} if isinstance(value, Codec) else {}  # one of several classes: which one
        return kind | {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def require_fraction(name: str, value: float) -> None:
    """Raise `PlanError` unless 0 <= value < 1."""
    if not _is_number(value) or not 0 <= value < 1:
        raise PlanError(f"{name} is {value!r}. Expected a fraction in [0, 1). Fix: {name}=0.5.")


def require_positive(name: str, value: float) -> None:
    """Raise `PlanError` unless value > 0."""
    if not _is_number(value) or not value > 0:
        raise PlanError(f"{name} is {value!r}. Expected a number above 0. Fix: {name}=1.0.")
