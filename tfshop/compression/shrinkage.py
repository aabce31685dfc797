"""How much smaller a network is to be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tfshop.errors import PlanError

_EXPECTED = "Expected width, depth, dimension or crosses. Fix: width=0.5."


@dataclass(frozen=True)
class Shrinkage:
    """How much smaller.

    Attributes:
        width: Of the hidden Dense layers: a share as a float in (0, 1], or most units of each.
        depth: Of the towers: a share as a float in (0, 1], or most hidden layers one after the other.
        dimension: Of the widest table, the others in proportion: a share as a float in (0, 1], or its new width.
        crosses: Of a network of ours: a share as a float in (0, 1], or most crosses; None as `depth` has it.

    Raises:
        PlanError: For a value out of range, or none at all.
    """

    width: float | int | None = None
    depth: float | int | None = None
    dimension: float | int | None = None
    crosses: float | int | None = None

    def __post_init__(self) -> None:
        for name, value in self.given().items():
            share = isinstance(value, float) and 0 < value <= 1
            if not share and not (isinstance(value, int) and not isinstance(value, bool) and value >= 1):
                raise PlanError(
                    f"{name} is {value!r}. Expected a share as a float in (0, 1], or a whole number. Fix: {name}=0.5."
                )
        if not self.given():
            raise PlanError(f"shrink was given nothing to shrink. {_EXPECTED}")

    def __str__(self) -> str:
        """As one would type it: "width=0.5, depth=2"."""
        return ", ".join(f"{name}={value!r}" for name, value in self.given().items())

    def given(self) -> dict[str, float | int]:
        """What is to shrink."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def needs_a_table(self) -> bool:
        """Whether a network without tables is refused: most columns beside other sizes ask nothing of it."""
        return isinstance(self.dimension, float) or set(self.given()) == {"dimension"}

    def units(self, width: int) -> int:
        """New width of a hidden layer."""
        return shrunk_size(width, self.width)

    def layers(self, depth: int) -> int:
        """New number of hidden layers."""
        return shrunk_size(depth, self.depth)

    def num_crosses(self, crosses: int) -> int:
        """New number of crosses."""
        return shrunk_size(crosses, self.depth if self.crosses is None else self.crosses)

    def columns(self, width: int, widest: int) -> int:
        """New width of a table."""
        if isinstance(self.dimension, int):
            return max(1, round(width * min(self.dimension, widest) / widest))
        return shrunk_size(width, self.dimension)


def shrunk_size(size: int, wanted: float | int | None) -> int:
    """What is left of a size: all of it, a share, or the most that is wanted."""
    if wanted is None:
        return size
    return max(1, round(size * wanted)) if isinstance(wanted, float) else min(size, wanted)


def settings_of(given: Mapping[str, Any]) -> Shrinkage:
    """`Shrinkage` of plain data.

    Raises:
        PlanError: For a name it does not take.
    """
    unknown = sorted(set(given) - {one.name for one in fields(Shrinkage)})
    if unknown:
        raise PlanError(f"shrink has no {', '.join(unknown)}. {_EXPECTED}")
    return Shrinkage(**given)
