"""How sparsity rises over the steps that will really be run."""

from __future__ import annotations

from dataclasses import dataclass

SCHEDULES = ("polynomial", "constant", "one_shot", "adaptive")
FEWEST_RISING_STEPS = 3  # a rise, its end, and a step after it
RISING_SHARE = 0.6  # of the steps; the rest let the weights that stay recover


@dataclass(frozen=True)
class Rise:
    r"""When masks are updated, and how far they are then.

    .. math:: 1 - (1 - t / T)^3

    Args:
        schedule: "polynomial" rises over the first 60% of the steps; any other is there from the first.
        steps: Of the whole training.
        updates: Most updates of the masks.

    Example:
        >>> {step: round(level, 3) for step, level in Rise("polynomial", steps=10, updates=3).levels.items()}
        {2: 0.704, 4: 0.963, 6: 1.0}

    References:
        Zhu & Gupta, To prune, or not to prune: exploring the efficacy of pruning for model compression, 2017.
    """

    schedule: str
    steps: int
    updates: int

    @property
    def is_flat(self) -> bool:
        """Whether the whole sparsity is there from the first step; too few steps leave no choice."""
        return self.schedule != "polynomial" or self.steps < FEWEST_RISING_STEPS

    @property
    def every(self) -> int:
        """Steps between two updates."""
        return max(1, (self.steps if self.is_flat else self._last) // self.updates)

    @property
    def end(self) -> int:
        """Step of the last update."""
        return max(self.every, self._last // self.every * self.every)

    @property
    def levels(self) -> dict[int, float]:
        """Step to the share of the way to the end, in (0, 1]."""
        if self.is_flat:
            return {0: 1.0}
        return {step: 1 - (1 - step / self.end) ** 3 for step in range(self.every, self.end + 1, self.every)}

    @property
    def _last(self) -> int:
        return max(1, int(self.steps * RISING_SHARE))
