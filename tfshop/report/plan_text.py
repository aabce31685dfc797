"""How a file was made, as one line a step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KINDS = ("pass", "kind", "type", "name")


def plan_lines(plan: Mapping[str, Any] | None) -> tuple[str, ...]:
    """The steps of a plan as calls: `Prune(sparsity=0.5)`; nothing was done to a file without a plan.

    Plans come as plain data of any version, so whatever is not recognised as a step is shown as `key: value`.

    Example:
        >>> plan_lines({"passes": [{"name": "Prune", "sparsity": 0.5}], "seed": 0})
        ('Prune(sparsity=0.5)', 'seed: 0')
    """
    lines: list[str] = []
    for key, value in (plan or {}).items():
        steps = value if isinstance(value, list | tuple) else [value]
        calls = [_call(step) for step in steps]
        if calls and all(call is not None for call in calls):
            lines += [call for call in calls if call is not None]
        elif value or value == 0:
            lines.append(f"{key}: {value!r}")
    return tuple(lines)


def _call(step: object) -> str | None:
    """A mapping with a kind as `Kind(key=value, ...)`, None for anything else."""
    if not isinstance(step, Mapping):
        return None
    kind_key = next((key for key in KINDS if isinstance(step.get(key), str)), None)
    if kind_key is None:
        return None
    rest = {key: value for key, value in step.items() if key != kind_key}
    if len(rest) == 1 and isinstance(next(iter(rest.values())), Mapping):
        rest = dict(next(iter(rest.values())))
    return f"{step[kind_key]}({', '.join(f'{key}={value!r}' for key, value in rest.items())})"
