"""The next plan to try when a file missed its limits: less of what hurts, or more of what shrinks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from tfshop.compression import (
    QAT,
    AllocateTables,
    Cluster,
    Distill,
    DropFeatures,
    EncodeTables,
    Equalize,
    LowRank,
    Prune,
    PruneUnits,
    TuneTables,
)
from tfshop.compression.cluster import MOST
from tfshop.compression.low_rank import ENERGY
from tfshop.compression.patterns import Pattern
from tfshop.export import Export, Plan
from tfshop.tables.bits import fewer_bits, more_bits

SPARSITY_STEP = 0.2
LEAST_SPARSITY = 0.15
LEAST_THRESHOLD = 0.01
WIDER = 2.0
WIDEST = 4096
LARGEST_BUDGET = 1 << 22  # of the kernels of towers
LARGEST_FILE = 1 << 31  # bytes: what a flatbuffer can hold
LEAST_LOST = 1e-4  # of a layer's energy
NARROWEST = 2  # a row of two numbers
NARROWEST_SHARE = 1 / 16
LEAST_DROP = 1e-4  # of validation AUC, for features
LEAST_TABLE_DROP = 1e-5  # of validation AUC, for tables before tuning
MOST_TABLE_DROP = 1e-2
LEAST_TABLE_SHARE = 1 / 32  # a bit a number
LEAST_UNTUNED = 2  # bits
TABLES = (EncodeTables, AllocateTables, TuneTables)
SHRINKING = ("float32", "float16", "int8")
# One of our families by its hyperparameters; of any other network the same make with less of whatever it has.
STUDENTS = (
    Distill(),
    Distill(shrink={"width": 0.5, "dimension": 0.5}),
    Distill(shrink={"width": 0.5}),
    Distill(shrink={"dimension": 0.5}),
)


def gentler(plan: Plan, works: Callable[[Plan], bool] = lambda _: True, *, turn: int = 0) -> Plan | None:
    """A plan that loses less; None if there is none.

    More bits for tables, and in turns with that fewer zeros, more units, features and shared values, higher ranks, a
    wider student; without the pass where there is no milder one; then QAT instead of PTQ, float16. Equalize changes no
    score, and stays as long as there are integers.

    Args:
        plan: The plan whose file lost too much.
        works: Whether a network can be taken through a plan to another end.
        turn: How many plans were tried before this one: passes for tables come first in every other turn.

    Example:
        >>> gentler(Plan((Prune(0.8),), Export("int8"))).passes[0].sparsity
        0.6
    """
    return next(filter(works, _gentler(plan, turn)), None)


def smaller(plan: Plan, works: Callable[[Plan], bool] = lambda _: True) -> Plan | None:
    """A plan whose file is smaller; None if there is none.

    A narrower number format, then fewer bits for tables that are coded, then a narrower student. A single bit a number
    is for tables that are tuned.

    Args:
        plan: The plan whose file is too large.
        works: Whether a network can be taken through a plan; the first student that can be built is put in front.
    """
    return next(filter(works, _smaller(plan)), None)


def _gentler(plan: Plan, turn: int) -> Iterator[Plan]:
    """What loses less, in the order in which it is to be tried."""
    for position in _in_turns(plan.passes, turn):
        step = plan.passes[position]
        milder = _milder(step)
        if milder is not None:
            yield _with(plan, position, milder)
        elif isinstance(step, Prune | PruneUnits | DropFeatures | Cluster | LowRank):
            yield _with(plan, position)
        if isinstance(step, Distill):
            yield from (_with(plan, position, fuller) for fuller in _fuller(step))
    if plan.exporter.mode == "int8" and not any(isinstance(step, QAT) for step in plan.passes):
        yield plan.with_passes(*plan.passes, QAT())
    kept = tuple(step for step in plan.passes if not isinstance(step, QAT | Equalize))
    if plan.exporter.mode in {"int8", "int8_io", "int16x8", "dynamic"}:
        yield Plan(kept, _plain(plan.exporter, "float16"))


def _smaller(plan: Plan) -> Iterator[Plan]:
    """What makes a smaller file, in the order in which it is to be tried."""
    if plan.exporter.mode in SHRINKING[:-1]:
        mode = SHRINKING[SHRINKING.index(plan.exporter.mode) + 1]
        yield Plan(plan.passes, _plain(plan.exporter, mode))
    least = 1 if any(isinstance(step, TuneTables) for step in plan.passes) else LEAST_UNTUNED
    for position, step in enumerate(plan.passes):
        coarser = _fewer_bytes(step, least) if isinstance(step, TABLES) else None
        if coarser is not None:
            yield _with(plan, position, coarser)
    if not any(isinstance(step, Distill) for step in plan.passes):
        yield from (plan.with_passes(student, *plan.passes) for student in STUDENTS)
    for position, step in enumerate(plan.passes):
        narrower = _narrower(step) if isinstance(step, Distill) else None
        if narrower is not None:
            yield _with(plan, position, narrower)


def _in_turns(passes: Sequence[Any], turn: int) -> list[int]:
    """Positions of passes, those for tables before the others or behind them."""
    return sorted(range(len(passes)), key=lambda position: isinstance(passes[position], TABLES) == bool(turn % 2))


def _with(plan: Plan, position: int, *steps: Any) -> Plan:
    """The plan with other passes in the place of one."""
    return plan.with_passes(*plan.passes[:position], *steps, *plan.passes[position + 1 :])


def _plain(exporter: Export, mode: str) -> Export:
    """Another number format, without what the first alone reads."""
    return Export(mode, exporter.calibration_rows, strip=exporter.strip)


def _narrower(step: Distill) -> Distill | None:
    """A smaller student; None for one that was given as a model, or cannot be smaller."""
    if step.shrink is not None:
        return replace(step, shrink=_halved(step.shrink)) if _halved(step.shrink) != step.shrink else None
    if not isinstance(step.student, Mapping) or step.student.get("dimension", 16) <= NARROWEST:
        return None
    return replace(step, student=_scaled(step.student, 0.5, dimension=True))


def _halved(shrink: Mapping[str, Any]) -> dict[str, Any]:
    """Half the width and dimension, as a share or a number, down to the narrowest."""
    sizes = {"width", "dimension"}
    return {name: _half(value) if name in sizes and value is not None else value for name, value in shrink.items()}


def _half(size: float | int) -> float | int:
    least = NARROWEST_SHARE if isinstance(size, float) else NARROWEST
    half = size / 2 if isinstance(size, float) else size // 2
    return max(half, min(size, least))


def _doubled(shrink: Mapping[str, Any]) -> dict[str, Any]:
    """Twice the width; never more than the teacher's."""
    return {
        name: value if name != "width" else min(1.0, value * WIDER) if isinstance(value, float) else int(value * WIDER)
        for name, value in shrink.items()
    }


def _higher_ranks(step: LowRank) -> LowRank | None:
    """Twice the rank or budget, or half the energy lost; None where that would be all of it."""
    for name in ("rank", "max_bytes", "max_multiplies"):
        value = getattr(step, name)
        if isinstance(value, Mapping):
            return replace(step, rank={layer: rank * 2 for layer, rank in value.items()}) if _doubles(value) else None
        if value is not None:
            return replace(step, **{name: value * 2}) if _doubles({name: value}) else None
    lost = (1.0 - (ENERGY if step.energy is None else step.energy)) / 2
    return replace(step, energy=round(1.0 - lost, 6)) if lost >= LEAST_LOST else None


def _more_bytes(step: AllocateTables) -> AllocateTables | None:
    """Twice the bytes, or half the AUC to lose; None where that would be all of them, or nothing."""
    if step.max_bytes is not None:
        within = _doubles({"max_bytes": step.max_bytes}, most=LARGEST_FILE)
        return replace(step, max_bytes=step.max_bytes * 2) if within else None
    half = (step.max_auc_drop or 0.0) / 2
    return replace(step, max_auc_drop=half) if half >= LEAST_TABLE_DROP else None


def _more_bits(step: Any) -> Any:
    """Twice the bits a number, of each table; None for codecs that are not counted in bits, and eight of them."""
    return _recoded(step, more_bits)


def _fewer_bytes(step: Any, least: int) -> Any:
    """Half the bits of tables, at least so many, or twice the AUC to lose; None where that would be too few."""
    if not isinstance(step, AllocateTables):
        return _recoded(step, lambda codec: fewer_bits(codec, least))
    if step.max_bytes is not None:
        half = step.max_bytes / 2 if isinstance(step.max_bytes, float) else step.max_bytes // 2
        return replace(step, max_bytes=half) if half >= (LEAST_TABLE_SHARE if isinstance(half, float) else 1) else None
    drop = max(2 * (step.max_auc_drop or 0.0), LEAST_TABLE_DROP)
    return replace(step, max_auc_drop=drop) if drop <= MOST_TABLE_DROP else None


def _recoded(step: Any, change: Callable[[Any], Any]) -> Any:
    """A pass with other codecs; None where nothing changes."""
    if isinstance(step.codec, Mapping):
        codecs = {name: change(codec) or codec for name, codec in step.codec.items()}
        return replace(step, codec=codecs) if codecs != step.codec else None
    codec = None if step.codec is None else change(step.codec)
    return None if codec is None else replace(step, codec=codec)


def _doubles(given: Mapping[str, float], most: int = LARGEST_BUDGET) -> bool:
    """Whether twice each share is still less than all, and twice each number no more than there may be."""
    return all(value * 2 < 1 if isinstance(value, float) else value * 2 <= most for value in given.values())


def _milder(step: Any) -> Any:
    """The pass with less of what hurts; None where there is no such, or nothing to set."""
    milder = next((found for kind, found in _MILDER.items() if isinstance(step, kind)), None)
    return None if milder is None else milder(step)


def _wider(step: Distill) -> Distill | None:
    """A wider student; None for one that was given as a model, or is as wide as is sensible."""
    if step.shrink is not None:
        wider = _doubled(step.shrink)
        within = not isinstance(wider.get("width"), int) or wider["width"] <= WIDEST
        return replace(step, shrink=wider) if wider != step.shrink and wider["width"] != 1.0 and within else None
    if isinstance(step.student, Mapping):
        hidden = step.student.get("hidden", ())
        if hidden and max(hidden) * WIDER <= WIDEST:
            return replace(step, student=_scaled(step.student, WIDER))
    return None


def _fuller(step: Distill) -> Iterator[Distill]:
    """A student with wider tables, then one that reads a feature more."""
    size = (step.shrink or {}).get("dimension")
    if size is not None and _doubles({"dimension": size}, most=WIDEST):
        yield replace(step, shrink={**(step.shrink or {}), "dimension": size * 2})
    if step.without:
        yield replace(step, without=step.without[:-1])


def _more_values(step: Cluster) -> Cluster | None:
    """Twice as many shared values, as far as a byte can number them."""
    return replace(step, clusters=min(MOST, step.clusters * 2)) if step.clusters < MOST else None


def _fewer_zeros(step: Prune) -> Prune | None:
    """A lower sparsity, or a threshold of half the value; a pattern such as 2:4 leaves no choice."""
    if step.threshold is not None:
        lower = replace(step.threshold, value=step.threshold.value / 2)
        return replace(step, threshold=lower) if lower.value >= LEAST_THRESHOLD else None
    if Pattern.parse(step.pattern).is_grouped or step.sparsity - SPARSITY_STEP < LEAST_SPARSITY:
        return None
    sparsity = round(step.sparsity - SPARSITY_STEP, 3)
    return replace(
        step, sparsity=sparsity, layers={name: own and min(own, sparsity) for name, own in step.layers.items()}
    )


def _more_units(step: PruneUnits) -> PruneUnits | None:
    """A lower share, or twice the budget; None where hardly any unit would go."""
    if step.multiplies is not None:
        return replace(step, multiplies=step.multiplies * 2) if step.multiplies * 2 < 1 else None
    share = round(step.share - SPARSITY_STEP, 3)
    return replace(step, share=share) if share >= LEAST_SPARSITY else None


def _more_features(step: DropFeatures) -> DropFeatures | None:
    """All features but the last that was named, or half the loss; None where that leaves nothing to drop."""
    if step.names is not None:
        return replace(step, names=step.names[:-1]) if len(step.names) > 1 else None
    return replace(step, max_auc_drop=step.max_auc_drop / 2) if step.max_auc_drop / 2 >= LEAST_DROP else None


def _scaled(student: Any, factor: float, *, dimension: bool = False) -> dict[str, Any]:
    changed = {**student, "hidden": tuple(max(1, int(width * factor)) for width in student.get("hidden", (100,) * 3))}
    if dimension:
        changed["dimension"] = max(2, int(student.get("dimension", 16) * factor))
    return changed


_MILDER: Mapping[type, Callable[[Any], Any]] = MappingProxyType(
    {
        Prune: _fewer_zeros,
        PruneUnits: _more_units,
        DropFeatures: _more_features,
        Cluster: _more_values,
        LowRank: _higher_ranks,
        AllocateTables: _more_bytes,
        EncodeTables: _more_bits,
        TuneTables: _more_bits,
        Distill: _wider,
    }
)
