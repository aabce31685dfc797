"""Rules for the constants that stand where features stood."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from tfshop import layers
from tfshop.compression.units.following import Call, Followed, Kept, Rule, blank
from tfshop.compression.units.ledger import NOTHING


def constant_rows(call: Call) -> Followed:
    """Of what it reads only the number of rows matters."""
    return Followed((blank(call.output_shapes[0], len(call.input[0])),))


def constant_parts(call: Call) -> Followed:
    """What is put in stays, what stands around it goes as before."""
    layer, axes = call.layer, call.input
    own = iter(axes[layer.axis])
    length = len(axes[layer.axis]) + len(layer.positions)
    along = tuple(NOTHING if position in set(layer.positions) else next(own) for position in range(length))

    def settings(kept: Kept) -> dict[str, Any]:
        staying = kept.indices(along)
        return {"positions": [staying.index(position) for position in layer.positions]}

    weight = [*axes[1:]]
    weight[layer.axis - 1] = (NOTHING,) * len(layer.positions)
    return Followed(((*axes[: layer.axis], along, *axes[layer.axis + 1 :]),), (tuple(weight),), settings)


RULES: Mapping[type, Rule] = MappingProxyType(
    {
        layers.ConstantRows: constant_rows,
        layers.ConstantParts: constant_parts,
    }
)
