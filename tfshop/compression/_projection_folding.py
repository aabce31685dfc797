"""Projections of short rows in the kernels that read them: lookups give fewer numbers, and no projection is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop.compression._number_paths import STRIDE, Laid, Paths
from tfshop.compression._table_codecs import TableCodecs
from tfshop.compression.rebuild import copy_model
from tfshop.models.rebuild import fresh
from tfshop.tables import Codec, LowRankTable, TableLookup

Floats = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Foldings:
    """Which tables give short rows to which kernels.

    Attributes:
        ranks: Tables to the numbers of a short row.
        owners: The table of each slot.
        kernels: Dense layers to what they read.
        targets: Layers that lay numbers out anew to the shape that they need for short rows.
        reasons: Tables whose projection stays, and why.
    """

    ranks: Mapping[str, int] = field(default_factory=dict)
    owners: Sequence[str] = ()
    kernels: Mapping[str, Laid] = field(default_factory=dict)
    targets: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    def readers(self, table: str) -> list[str]:
        """Kernels that a table's projection goes into."""
        return [name for name, laid in self.kernels.items() if any(self.owners[slot] == table for slot in laid.slots)]

    def told(self) -> list[dict[str, Any]]:
        """Plain data: which projection went into which kernels, and which ones stay, and why."""
        folded = [{"layer": name, "folded_into": self.readers(name), "reason": None} for name in self.ranks]
        kept = [{"layer": name, "folded_into": [], "reason": reason} for name, reason in self.reasons.items()]
        return [*folded, *kept]

    def kernel(self, name: str, kernel: Floats, projections: Mapping[str, Floats]) -> Floats:
        """The kernel (inputs, units) of a Dense layer for short rows; projections are (rank, dimension)."""
        laid = self.kernels[name]
        before = {int(label): row for label, row in zip(laid.before, kernel, strict=True)}
        whole: dict[int, NDArray[np.float64]] = {}
        for slot in laid.slots:
            projection = projections[self.owners[slot]].astype(np.float64)
            own = np.stack([before[slot * STRIDE + j] for j in range(projection.shape[1])])
            whole[slot] = projection @ own
        rows = [before[i] if i < 0 else whole[i // STRIDE][i % STRIDE] for i in map(int, laid.after)]
        return np.stack(rows).astype(np.float32)


NOTHING_FOLDED = Foldings()


def foldings(model: Any, asked: TableCodecs) -> Foldings:
    """Which of the tables that are to be stored with a projection can do without.

    Args:
        model: Functional model without submodels, its tables not coded yet.
        asked: The codecs.
    """
    ranks, reasons = {}, {}
    for name, codecs in asked.codecs.items():
        if isinstance(codecs, LowRankTable):
            ranks[name] = min(codecs.rank, int(model.get_layer(name).output_dim))
        elif any(map(_has_projection, [codecs] if isinstance(codecs, Codec) else codecs.values())):
            reasons[name] = "other rows of the table have other lengths, and all go to the same kernel"
    while True:  # a table that cannot leaves what is joined with it longer
        found = Paths(model, ranks)
        reasons |= found.reasons
        if not found.reasons:
            return Foldings(ranks, found.owners, found.kernels, found.targets, reasons)
        ranks = {name: rank for name, rank in ranks.items() if name not in found.reasons}


def with_lookups(
    model: Any, lookups: Mapping[str, TableLookup], folds: Foldings, projections: Mapping[str, Floats]
) -> Any:
    """The model with lookups in the place of its tables, those of short rows before kernels that took projections in.

    Args:
        model: Functional model without submodels; left as it is.
        lookups: By the names of the tables.
        folds: What is folded.
        projections: (rank, dimension) by the names of the tables that give short rows.
    """

    def replace(layer: Any) -> Any:
        if layer.name in lookups:
            return lookups[layer.name]
        key = "target_shape" if hasattr(layer, "target_shape") else "shape"
        return fresh(layer, changes={key: folds.targets[layer.name]} if layer.name in folds.targets else {})

    made = copy_model(model, replace, unfilled=(*lookups, *folds.kernels))
    for name in folds.kernels:
        kernel, *others = model.get_layer(name).get_weights()
        made.get_layer(name).set_weights([folds.kernel(name, kernel, projections), *others])
    return made


def _has_projection(codec: Any) -> bool:
    inside = getattr(codec, "codecs", None) or [getattr(codec, "codec", None)]
    return isinstance(codec, LowRankTable) or any(_has_projection(own) for own in inside if own is not None)
