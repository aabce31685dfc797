"""Which output of a file is the probability of which target, and its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tfshop.data.schema import Schema
from tfshop.data.split import Split
from tfshop.errors import ScoringError
from tfshop.runtime import Scorer


def outputs_of_targets(outputs: Sequence[str], schema: Schema) -> dict[str, str]:
    """Target to the name of the file's output that is its probability.

    Of one target that is `probability`, or the first output where none is called so. Several are found by name alone,
    `probability_<target>` or `<target>`: a file keeps its outputs in no order of their own.

    Raises:
        ScoringError: Where a target has no output.

    Example:
        >>> from tfshop.data import IdFeature
        >>> schema = Schema([IdFeature("item")], target=("clicked", "bought"))
        >>> outputs_of_targets(["bought", "clicked"], schema)
        {'clicked': 'clicked', 'bought': 'bought'}
    """
    if len(schema.targets) == 1:
        return {schema.targets[0]: "probability" if "probability" in outputs else outputs[0]}
    found = {}
    for target, name in schema.outputs.items():
        known = [output for output in (name, target) if output in outputs]
        if not known:
            raise ScoringError(
                f"the file has outputs {', '.join(outputs)}, none of them for target {target!r}. Expected {name!r} or "
                f"{target!r}. Fix: name the outputs after the targets and export again; compress() does."
            )
        found[target] = known[0]
    return found


def target_scores(scorer: Scorer, split: Split) -> dict[str, NDArray[np.float32]]:
    """Scores of all rows of a split, float32 (rows,) a target.

    Raises:
        ScoringError: Where the file does not take the data, or has no output for a target.
    """
    return by_target(scorer.score_split(split), scorer.outputs, split.schema)


def by_target(
    scores: NDArray[np.float32] | Mapping[str, NDArray[np.float32]], outputs: Sequence[str], schema: Schema
) -> dict[str, NDArray[np.float32]]:
    """What a scorer gives, as float32 (rows,) a target."""
    found = outputs_of_targets(outputs, schema)
    given = scores if isinstance(scores, Mapping) else {outputs[0]: scores}
    return {target: np.asarray(given[name], dtype=np.float32).reshape(-1) for target, name in found.items()}
