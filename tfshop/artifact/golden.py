"""Golden vectors: inputs with the scores that a file gave them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop.data.binding import bind
from tfshop.data.schema import InputSpec
from tfshop.data.split import Split
from tfshop.runtime import Scorer

GOLDEN_ROWS = 100


@dataclass(frozen=True, eq=False)
class Golden:
    """Inputs with the scores the file gave them: whoever integrates the file compares with these.

    Attributes:
        inputs: Arrays (rows, …) by input name of the file.
        scores: float32 (rows,), or (rows, width) of vectors; by output name where the file has several outputs.
    """

    inputs: Mapping[str, NDArray[Any]]
    scores: NDArray[np.float32] | Mapping[str, NDArray[np.float32]]

    @classmethod
    def of(cls, content: bytes, split: Split) -> Golden:
        """A sample of a split with its scores."""
        rows = split.take(GOLDEN_ROWS, seed=0)  # the first rows of a log are often of one user
        scorer = Scorer(content, schema=rows.schema)
        specs = {name: InputSpec(spec.shape, spec.dtype) for name, spec in scorer.inputs.items()}
        inputs = bind(rows.inputs, rows.schema, specs)
        return cls(inputs, scorer(inputs))

    @property
    def by_output(self) -> dict[str, NDArray[np.float32]]:
        """The scores by the name of the output; under the name "" where there is one."""
        return by_output(self.scores)

    @property
    def num_rows(self) -> int:
        """How many rows there are."""
        return min(len(scores) for scores in self.by_output.values())

    def gaps(self, scores: Any) -> tuple[float, float] | None:
        """The largest difference of other scores of the same inputs, and the mean one, of the output that is worst.

        None for no rows, and for other shapes or outputs.
        """
        other = by_output(scores)
        if {name: found.shape for name, found in other.items()} != {n: s.shape for n, s in self.by_output.items()}:
            return None
        if not self.num_rows:
            return None
        gaps = [np.abs(found - self.by_output[name]) for name, found in other.items()]
        return float(np.max([gap.max() for gap in gaps])), float(np.max([gap.mean() for gap in gaps]))

    def to_bytes(self) -> bytes:
        """A NumPy archive: one array an input, and `scores`, or of several outputs `scores_<output>`."""
        buffer = BytesIO()
        arrays: dict[str, Any] = {f"input_{name}": values for name, values in self.inputs.items()}
        arrays.update({f"scores_{name}" if name else "scores": values for name, values in self.by_output.items()})
        np.savez_compressed(buffer, **arrays)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Golden:
        """Inverse of `to_bytes`; no pickled object is accepted."""
        with np.load(BytesIO(content), allow_pickle=False) as archive:
            names = [name for name in archive.files if name.startswith("input_")]
            inputs = {name.removeprefix("input_"): archive[name] for name in names}
            if "scores" in archive.files:
                return cls(inputs, archive["scores"])
            outputs = [name for name in archive.files if name.startswith("scores_")]
            if not outputs:
                raise KeyError("scores")
            return cls(inputs, {name.removeprefix("scores_"): archive[name] for name in outputs})


def by_output(scores: Any) -> dict[str, NDArray[np.float32]]:
    """Scores as a file gives them, by the name of the output; under the name "" where there is one."""
    return dict(scores) if isinstance(scores, Mapping) else {"": scores}
