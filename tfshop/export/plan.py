"""A plan: passes in order, then one exporter, as plain data."""

from __future__ import annotations

import inspect
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from tfshop.compression import PASSES, Pass, Prune, step_to_dict
from tfshop.compression.candidate import PROPERTIES, Foresees, called
from tfshop.data.schema import Schema
from tfshop.errors import PlanError
from tfshop.export.exporter import Export
from tfshop.tables import lookup_layers
from tfshop.tables.reading import codec_in_plan


@dataclass(frozen=True)
class Plan:
    """What is to be done to a model, and which file is to come out.

    Args:
        passes: In the order they run.
        exporter: The last step.

    Raises:
        PlanError: Where the order cannot work, whatever the model.
    """

    passes: tuple[Pass, ...]
    exporter: Export

    def __post_init__(self) -> None:
        for number, step in enumerate(self.passes, 1):
            for maker in reversed(self.passes[: number - 1]):
                _require_preserved(maker, step, number)
        if any("ranges" in step.makes for step in self.passes) and self.exporter.mode not in {"int8", "int8_io"}:
            raise PlanError(
                f"QAT trains for int8, but the plan exports {self.exporter.mode}. Expected Export('int8') or "
                "Export('int8_io'). Fix: change one of the two."
            )

    def check(self, model: Any, schema: Schema) -> None:
        """Raise `PlanError` for all that can be refused before training.

        Each step is checked on the network that the steps before it will leave, as far as that is known.
        """
        steps: tuple[Pass | Export, ...] = (*self.passes, self.exporter)
        pruned: tuple[str, ...] = ()
        for number, step in enumerate(steps, 1):
            try:
                step.check(model, schema)
            except PlanError as error:
                raise PlanError(f"step {number} ({step.name}): {error}") from error
            pruned += step.tables(model) if isinstance(step, Prune) else ()
            model = step.foreseen(model, schema) if isinstance(step, Foresees) else model
            _require_not_coded(pruned, model, step, number)

    def to_dict(self, *, functions_by_name: bool = False) -> dict[str, Any]:
        """Plain data; `Plan.from_dict` gives the same plan back.

        Args:
            functions_by_name: Whether functions among the settings are told of by their names, for records.

        Raises:
            PlanError: For a setting that is a function or a model in memory, unless its name will do.
        """
        passes = [
            {"name": step.name, **step_to_dict(step, functions_by_name=functions_by_name)} for step in self.passes
        ]
        return {"passes": passes, "exporter": {"name": self.exporter.name, **step_to_dict(self.exporter)}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Plan:
        """Inverse of `to_dict`.

        Raises:
            PlanError: For an unknown pass or hyperparameter.
        """
        passes = tuple(_step(PASSES, entry) for entry in data.get("passes", ()))
        return cls(passes, _step({"Export": Export}, {"name": "Export", **data["exporter"]}))

    def to_json(self) -> str:
        """JSON text of `to_dict`."""
        return json.dumps(self.to_dict(), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Inverse of `to_json`."""
        try:
            return cls.from_dict(json.loads(text))
        except (json.JSONDecodeError, KeyError, AttributeError, TypeError) as error:
            raise PlanError(
                f"the plan is not readable: {type(error).__name__}: {error}. Expected JSON with 'passes' and "
                "'exporter'. Fix: write it with Plan.to_json()."
            ) from error

    def with_passes(self, *passes: Pass) -> Plan:
        """The same exporter after other passes."""
        return replace(self, passes=passes)

    def __str__(self) -> str:
        """The plan as one would type it."""
        return f"chain({', '.join(map(_short, (*self.passes, self.exporter)))})"


def chain(*steps: Any) -> Plan:
    """Put passes in order; the last step is the exporter, int8 where none is given.

    Args:
        *steps: Passes, then at most one `Export`.

    Raises:
        PlanError: For something that is no pass, an exporter that is not last, or an order that cannot work.

    Example:
        >>> from tfshop.compression import Prune
        >>> chain(Prune(0.5), Export("int8")).exporter.mode
        'int8'
    """
    exporters = [step for step in steps if isinstance(step, Export)]
    passes = tuple(step for step in steps if not isinstance(step, Export))
    if len(exporters) > 1 or (exporters and steps[-1] is not exporters[0]):
        raise PlanError(f"Export has to be the last step, once. Got {', '.join(map(repr, steps))}.")
    for number, step in enumerate(passes, 1):
        if inspect.isclass(step) or not isinstance(step, Pass):
            raise PlanError(
                f"step {number} is {step!r}, which is no pass. Expected instances of {', '.join(PASSES)}. "
                "Fix: chain(Prune(0.5), Export('int8'))."
            )
    return Plan(passes, exporters[0] if exporters else Export())


def _require_preserved(maker: Pass, step: Pass, number: int) -> None:
    """Raise `PlanError` where a pass would undo what an earlier one made."""
    undone = [PROPERTIES[made] for made in maker.makes if made not in step.preserves]
    if undone:
        fix = f"chain(…, {step.name}(…), {maker.name}(…), Export(…))" if step.name != maker.name else "leave out one"
        raise PlanError(
            f"step {number} ({step.name}) comes after {maker.name} and would undo its {' and '.join(undone)}. "
            f"Expected {step.name} before {maker.name}, once. Fix: {fix}."
        )


def _require_not_coded(pruned: Collection[str], model: Any, step: Pass | Export, number: int) -> None:
    """Raise `PlanError` where a pass codes tables that were pruned: of those named as layers, the model alone tells."""
    coded = [repr(name) for name in lookup_layers(model) if name in pruned]
    if coded:
        raise PlanError(
            f"step {number} ({step.name}) comes after Prune and would undo its zeros in {', '.join(coded)}, which it "
            f"codes. Expected each table to be pruned or coded, not both. Fix: Prune(layers=…) without {coded[0]}, or "
            "codes for other tables alone."
        )


def _short(step: Any) -> str:
    """A step as one would type it: without the settings that are the default, the first of them without its name."""
    defaults = _defaults(step)
    changed = {item.name: getattr(step, item.name) for item in fields(step)}
    first = next(iter(changed))
    shown = [
        _shown(value) if name == first else f"{name}={_shown(value)}"
        for name, value in changed.items()
        if value != defaults[name] or (name == first and isinstance(step, Export))
    ]
    return f"{type(step).__name__}({', '.join(shown)})"


def _defaults(step: Any) -> dict[str, Any]:
    """What its settings are where nobody says otherwise; of a step that cannot do without any, as they are declared."""
    try:
        default = type(step)()
    except PlanError:
        return {item.name: item.default for item in fields(step)}
    return {item.name: getattr(default, item.name) for item in fields(step)}


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_shown, value))}{',' if len(value) == 1 else ''})"
    return called(value) if callable(value) else repr(value)


def _step(known: Mapping[str, Any], entry: Mapping[str, Any]) -> Any:
    settings = dict(entry)
    name = settings.pop("name", None)
    if name not in known:
        raise PlanError(f"no pass is called {name!r}. Expected one of {', '.join(known)}.")
    accepted = inspect.signature(known[name]).parameters
    unknown = sorted(set(settings) - set(accepted))
    if unknown:
        raise PlanError(f"{name} has no hyperparameter {', '.join(unknown)}. Expected some of {', '.join(accepted)}.")
    if "codec" in settings:
        settings["codec"] = codec_in_plan(settings["codec"])
    return known[name](**settings)
