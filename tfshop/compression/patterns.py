"""Where zeros may lie in a kernel: anywhere, so many of each group of inputs, or whole blocks."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tfshop.errors import PlanError

UNSTRUCTURED = "unstructured"
_GROUPS = re.compile(r"^(\d+):(\d+)$")
_BLOCKS = re.compile(r"^block (\d+)x(\d+)$")


@dataclass(frozen=True)
class Pattern:
    """How the zeros of a kernel, seen as a matrix (inputs, outputs), may lie.

    Attributes:
        block: Inputs and outputs of a block, which goes or stays whole; (1, 1) for single weights.
        kept: How many of each group stay; 0 where there are no groups.
        group: How many inputs in a row make a group.
    """

    block: tuple[int, int] = (1, 1)
    kept: int = 0
    group: int = 0

    @classmethod
    def parse(cls, text: str) -> Pattern:
        """Read "unstructured", "2:4" (two of four stay) or "block 4x4" (inputs x outputs).

        Raises:
            PlanError: For anything else.

        Example:
            >>> Pattern.parse("2:4").share
            0.5
        """
        groups, blocks = (expression.match(str(text)) for expression in (_GROUPS, _BLOCKS))
        if groups and 0 < int(groups[1]) < int(groups[2]):
            return cls(kept=int(groups[1]), group=int(groups[2]))
        if blocks and int(blocks[1]) * int(blocks[2]) > 1:
            return cls(block=(int(blocks[1]), int(blocks[2])))
        if text == UNSTRUCTURED:
            return cls()
        raise PlanError(
            f"pattern is {text!r}. Expected 'unstructured', 'n:m' such as '2:4', of which two of four stay, or blocks "
            "such as 'block 4x4'. Fix: pattern='unstructured'."
        )

    @property
    def is_grouped(self) -> bool:
        """Whether the share of zeros follows from the pattern."""
        return self.group > 0

    @property
    def share(self) -> float | None:
        """Share of zeros that groups make; None where the pattern leaves it open."""
        return 1 - self.kept / self.group if self.is_grouped else None

    @property
    def needs_matrix(self) -> bool:
        """Whether it has to be known which axis of a kernel is that of the inputs."""
        return self.is_grouped or self.block != (1, 1)

    def pooled(self, scores: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Mean score and number of weights of each block, (rows of blocks, columns of blocks).

        The mean says what a weight of the block costs if the block goes: weights that are gone already, of score -inf,
        cost nothing and count 0. A block of which nothing is left has -inf itself.
        """
        if self.block == (1, 1):
            return scores, np.ones(scores.shape, np.int64)
        sizes = self._sums(np.ones(scores.shape))
        gone = np.isneginf(scores)
        means = self._sums(np.where(gone, 0.0, scores)) / sizes
        return np.where(self._sums(gone.astype(np.float64)) == sizes, -np.inf, means), sizes.astype(np.int64)

    def spread(self, blocks: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
        """What holds for each block, for each weight of a matrix of a shape."""
        rows, columns = self.block
        return np.repeat(np.repeat(blocks, rows, axis=0), columns, axis=1)[: shape[0], : shape[1]]

    def protected(self, scores: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Weights that groups keep in any case: the best of each, also of a last group that is not full."""
        if not self.is_grouped:
            return np.zeros(scores.shape, np.bool_)
        missing = -scores.shape[0] % self.group
        padded = np.pad(scores, ((0, missing), (0, 0)), constant_values=-np.inf)
        groups = padded.reshape(-1, self.group, scores.shape[1])
        order = np.argsort(-groups, axis=1, kind="stable")
        best = np.zeros(groups.shape, np.bool_)
        np.put_along_axis(best, order[:, : self.kept], values=True, axis=1)
        return best.reshape(padded.shape)[: scores.shape[0]]

    def _sums(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        rows, columns = self.block
        by_row = np.add.reduceat(values, np.arange(0, values.shape[0], rows), axis=0)
        return np.asarray(np.add.reduceat(by_row, np.arange(0, values.shape[1], columns), axis=1))
