"""One kernel as the product of two, so that what the layer gives changes least."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]
DAMPING = 1e-6  # of the largest eigenvalue: inputs that the sample hardly saw count a little, and not nothing
BLUNTING = 1e-2  # of the mean: outputs that the scores of the sample do not answer to count a little as well
LEAST_SIZE = 1e-4  # of the largest: a direction that inputs hardly have must not get huge weights


@dataclass(frozen=True, eq=False)
class Spectrum:
    """What a kernel gives, along its principal directions.

    Attributes:
        kernel: float64 (inputs, outputs).
        singular_values: Root of the mean square along each direction, descending, (min(inputs, outputs),).
        onto: What takes outputs to their size along the directions, (outputs, min(inputs, outputs)).
        back: What takes those to outputs again: the kernel is kernel @ onto @ back, (min(inputs, outputs), outputs).
    """

    kernel: Matrix
    singular_values: NDArray[np.float64]
    onto: Matrix
    back: Matrix

    @property
    def losses(self) -> NDArray[np.float64]:
        """Share of the energy that is lost by rank, from rank 0 (all of it, 1) to the full rank (none, 0)."""
        squares = self.singular_values**2
        behind = np.concatenate([np.cumsum(squares[::-1])[::-1], [0.0]])
        return behind / behind[0] if behind[0] > 0 else np.zeros(len(behind))

    def expected_losses(self, second: Matrix, slopes: Matrix) -> NDArray[np.float64]:
        """Cross-entropy that is expected to be lost by rank, see `output_slopes`, from rank 0 to the full rank (0).

        Args:
            second: Second moments of what the layer reads, (inputs, inputs).
            slopes: Of what it gives, (outputs, outputs).
        """
        lost = self.kernel @ self.onto
        crossed = (lost.T @ second @ lost) * (self.back @ slopes @ self.back.T)
        corners = np.cumsum(np.cumsum(crossed[::-1, ::-1], axis=0), axis=1)  # of all directions behind each
        return np.append(np.maximum(np.diagonal(corners)[::-1], 0.0) / 2, 0.0)

    def factors(self, rank: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The two kernels, float32 (inputs, rank) and (rank, outputs), whose product is nearest to the kernel.

        The outputs are projected on their first directions, which needs no inverse of the moments. Each direction's
        size, as the inputs make it, is spread over both kernels evenly: int8 has one scale for all that passes between
        them, and one for each output of the second.
        """
        first, second = self.kernel @ self.onto[:, :rank], self.back[:rank]
        least = LEAST_SIZE * max(self.singular_values[0], LEAST_SIZE * np.linalg.norm(first))
        sizes = np.maximum(self.singular_values[:rank], least) / np.linalg.norm(second, axis=1)
        size = np.sqrt(np.where(sizes > 0, sizes, 1.0))
        return (first / size).astype(np.float32), (second * size[:, None]).astype(np.float32)


def spectrum(kernel: NDArray[np.floating], second: Matrix | None = None, slopes: Matrix | None = None) -> Spectrum:
    r"""Directions in which a kernel `W` gives most.

    With `C`, the second moments of what it reads, they minimise :math:`E |x^T W - x^T W'|^2 = |C^{1/2}(W - W')|^2`;
    without, plain singular vectors minimise :math:`|W - W'|^2`, as if inputs were white. With `G`, those of the slopes
    of the scores, an error of the outputs counts by what it moves them: :math:`|C^{1/2}(W - W')G^{1/2}|^2`.

    Args:
        kernel: (inputs, outputs).
        second: Mean of the outer products of the inputs, (inputs, inputs); None for the plain decomposition.
        slopes: See `output_slopes`, (outputs, outputs); None where all outputs count alike.

    Example:
        >>> found = spectrum(np.diag([3.0, 1.0]), np.diag([1.0, 100.0]))
        >>> found.singular_values.round(2).tolist()
        [10.0, 3.0]

    References:
        Eckart & Young, The approximation of one matrix by another of lower rank, 1936. Wang et al., SVD-LLM:
        Truncation-aware Singular Value Decomposition for Large Language Model Compression, ICLR 2025. Hsu et al.,
        Language model compression with weighted low-rank factorization, ICLR 2022.
    """
    wide = np.asarray(kernel, np.float64)
    seen = wide if second is None else _root(second) @ wide
    if slopes is None or not slopes.any():
        _, values, directions = np.linalg.svd(seen, full_matrices=False)
        return Spectrum(wide, values, directions.T, directions)
    axes, roots = _blunted(slopes)
    _, values, directions = np.linalg.svd(seen @ (axes * roots), full_matrices=False)
    return Spectrum(wide, values, (axes * roots) @ directions.T, directions @ (axes / roots).T)


def output_error(kernel: NDArray[np.floating], other: NDArray[np.floating], second: Matrix) -> float:
    """Mean square of the difference of the outputs of two kernels, over that of the outputs of the first."""
    change = np.asarray(kernel, np.float64) - other
    return _energy(change, second) / max(
        _energy(np.asarray(kernel, np.float64), second), float(np.finfo(np.float64).tiny)
    )


def _energy(kernel: Matrix, second: Matrix) -> float:
    return float(np.einsum("io,ij,jo->", kernel, second, kernel, optimize=True))


def _root(second: Matrix) -> Matrix:
    """A matrix R with R^T R = C, damped: float sums leave eigenvalues a little below zero."""
    values, vectors = np.linalg.eigh((second + second.T) / 2)
    floor = DAMPING * max(float(values[-1]), np.finfo(np.float64).tiny)
    root: Matrix = np.sqrt(np.maximum(values, floor))[:, None] * vectors.T
    return root


def _blunted(slopes: Matrix) -> tuple[Matrix, NDArray[np.float64]]:
    """Axes of a matrix, and the roots of its sizes along them, none of which is near zero."""
    values, vectors = np.linalg.eigh((slopes + slopes.T) / 2)
    return vectors, np.sqrt(np.maximum(values, 0.0) + BLUNTING * np.trace(slopes) / len(slopes))
