"""What a benchmark measured: plain values that evaluation and report can hold without a runtime."""

from __future__ import annotations

from dataclasses import dataclass

from tfshop.errors import TfshopError


@dataclass(frozen=True)
class LatencyRow:
    """Time of one call at one batch size, in microseconds.

    Args:
        batch_size: Rows scored by one call.
        p50_us: Median time of a call.
        p99_us: Time that 99 of 100 calls stay under.
        runs: Calls timed.

    Raises:
        TfshopError: For a batch, a time or a number of runs that cannot be, and for a p99 under the p50.

    Example:
        >>> LatencyRow(batch_size=128, p50_us=310.0, p99_us=350.0, runs=500).p50_us
        310.0
    """

    batch_size: int
    p50_us: float
    p99_us: float
    runs: int

    def __post_init__(self) -> None:
        """Refuse what no measurement can give."""
        if self.batch_size < 1 or self.runs < 1 or not 0 < self.p50_us <= self.p99_us:
            raise TfshopError(
                f"latency row, batch_size {self.batch_size}, p50_us {self.p50_us}, p99_us {self.p99_us}, "
                f"runs {self.runs}. Expected batch_size >= 1, runs >= 1 and 0 < p50_us <= p99_us. "
                "Fix: time at least one call at this batch."
            )


@dataclass(frozen=True)
class Latency:
    """Times of one file on one machine.

    Args:
        cpu: The processor's name as it calls itself.
        num_threads: Threads the interpreter was given.
        rows: One row a batch size, each batch size once.

    Raises:
        TfshopError: Where a batch size comes twice, or num_threads is under 1.

    Example:
        >>> Latency("a cpu", 1, (LatencyRow(1, 2.0, 3.0, 100),)).at(1).p99_us
        3.0
    """

    cpu: str
    num_threads: int
    rows: tuple[LatencyRow, ...]

    def __post_init__(self) -> None:
        """Refuse what no measurement can give."""
        sizes = [row.batch_size for row in self.rows]
        if self.num_threads < 1 or len(set(sizes)) != len(sizes):
            raise TfshopError(
                f"latency, num_threads {self.num_threads}, batch sizes {sizes}. "
                "Expected num_threads >= 1 and each batch size once. Fix: drop the repeated batch sizes."
            )

    def at(self, batch_size: int) -> LatencyRow | None:
        """The row of one batch size, None where it was not timed."""
        return next((row for row in self.rows if row.batch_size == batch_size), None)
