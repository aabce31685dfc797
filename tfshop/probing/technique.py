"""What a technique is, and what all of them have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from tfshop.compression.candidate import called
from tfshop.errors import PlanError
from tfshop.evaluation.measured import downloaded_bytes
from tfshop.probing.change import Change
from tfshop.probing.material import Material

Values = NDArray[np.float32]


@dataclass(frozen=True)
class Technique(ABC):
    """A way to change one layer without training, in several strengths.

    Args:
        strengths: Those to try, from the mildest on.

    Raises:
        PlanError: For a strength out of range.
    """

    kind: ClassVar[str]
    nothing: ClassVar[float | None] = None  # the strength at which a layer stays as it is

    strengths: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "strengths", tuple(self.strengths))
        for strength in self.strengths:
            self._require(strength)

    @property
    def name(self) -> str:
        """What tables call it; with settings that matter, so that two that differ have two names."""
        return f"{self.kind} ({', '.join(self._details())})" if self._details() else self.kind

    @abstractmethod
    def setting(self, strength: float) -> str:
        """A strength in words."""

    def refuses(self, material: Material, layer: str, strength: float) -> str | None:
        """Why it cannot treat a layer so; None where it can."""
        return None

    def change(self, material: Material, layer: str, strength: float) -> Change:
        """The layer after it."""
        return Change({}, 0) if strength == self.nothing else self._changed(material, layer, strength)

    @abstractmethod
    def of(self, step: Any) -> Technique:
        """The same with the strength and the settings of a pass.

        Raises:
            PlanError: For a pass whose settings mean nothing for one layer without training.
        """

    @property
    def by_function(self) -> bool:
        """Whether it judges by a function, of which nobody can tell whether it is the one of an earlier run."""
        return callable(getattr(self, "importance", None))

    def joined(self, other: Technique) -> Technique:
        """With the strengths of another of the same name behind its own.

        Raises:
            PlanError: For two functions of one name.
        """
        if getattr(self, "importance", None) != getattr(other, "importance", None):
            raise PlanError(
                f"{self.name} was given twice, with two functions of one name. Expected names that tell them apart. "
                "Fix: measure one after the other, or give one of the functions another __qualname__."
            )
        return replace(self, strengths=tuple(dict.fromkeys((*self.strengths, *other.strengths))))

    def _details(self) -> tuple[str, ...]:
        """Settings that are not the usual ones, in words."""
        return ()

    @abstractmethod
    def _require(self, strength: float) -> None:
        """Refuse a strength out of range."""

    @abstractmethod
    def _changed(self, material: Material, layer: str, strength: float) -> Change:
        """The layer after it, at a strength that changes something."""


@dataclass(frozen=True)
class SmallerDownload(Technique):
    """A technique whose kernels take as much room as before, and less when they are downloaded."""

    def _changed(self, material: Material, layer: str, strength: float) -> Change:
        kernels = self._kernels(material, layer, strength)
        before = sum(material.downloaded(layer)[name] for name in kernels)
        after = sum(downloaded_bytes(values.tobytes()) for values in kernels.values())
        return Change(kernels, before - after)

    @abstractmethod
    def _kernels(self, material: Material, layer: str, strength: float) -> Mapping[str, Values]:
        """All kernels of the layer after it, by key."""


def require(condition: bool, name: str, found: object, expected: str, fix: object) -> None:
    """Raise `PlanError` for a strength, by the name the pass has for it, that is out of range."""
    if not condition:
        raise PlanError(f"{name} is {found!r}. Expected {expected}. Fix: {name}={fix}.")


def require_usual(step: Any, why: str, names: Sequence[str]) -> None:
    """Raise `PlanError` for settings of a pass that are not the usual ones, and mean nothing for one layer alone."""
    usual = {item.name: item.default for item in fields(step)}
    for name in names:
        if (found := getattr(step, name)) != usual[name]:
            raise PlanError(
                f"sensitivity cannot honour {step.name}({name}={found!r}): {why}. Expected {name}={usual[name]!r}. "
                f"Fix: leave {name} out of what sensitivity is given."
            )


def percent(share: float) -> str:
    """A share as people write it."""
    return f"{100 * share:.4g}%"


def told(value: Any) -> str:
    """A name, or the name of a function."""
    return value if isinstance(value, str) else called(value)
