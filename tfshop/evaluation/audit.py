"""What a converted file may not have lost; each refusal names the tensor and the remedy.

It stands here rather than beside the exporter because most of it runs the file: only scores show what is gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfshop.data.split import Split, Splits
from tfshop.errors import ArtifactError, AuditError, ScoringError
from tfshop.evaluation.coded_tables import require_codes
from tfshop.evaluation.metrics import tie_rate
from tfshop.evaluation.scores import outputs_of_targets, target_scores
from tfshop.export.modes import MODES, Mode
from tfshop.runtime import Scorer, lookup_tables, read_graph, walk_from_input, zero_rows
from tfshop.runtime.graph import Graph
from tfshop.training import predict

BATCHES = (1, 7, 512)
PARITY_ROWS = 4096
TIE_ROWS = 65_536
TIE_FACTOR = 10.0
ZERO_ROW_SHARE = 0.01
CURE = (
    "QAT() before the export where the plan has none, more calibration_rows, raw numbers with a transform or a clip "
    "(NumericFeature('price', transform='log1p')),"
)
ZERO_NUMBER_SHARE = 0.1  # in tables of one column


@dataclass(frozen=True)
class Audit:
    """What was checked and found good.

    Attributes:
        parity_gap_max: Largest difference of a probability between the Keras model and the file.
        parity_gap_mean: Mean difference.
        tie_rate: Share of (positive, negative) pairs with equal scores, on a sample of validation; the largest of the
            targets'.
        zeroed_rows: Share of the tables' non-zero rows that became zero.
        operators: How often each kind of operator occurs.
    """

    parity_gap_max: float
    parity_gap_mean: float
    tie_rate: float
    zeroed_rows: float
    operators: dict[str, int]

    @property
    def sentence(self) -> str:
        """One line for a report."""
        return (
            f"audit passed: builtin operators only ({sum(self.operators.values())}), ids reach the tables untouched, "
            f"{self.zeroed_rows:.2%} of the tables' rows became zero, tie rate {self.tie_rate:.1e}, the file differs "
            f"from the Keras model by {self.parity_gap_mean:.1e} on average and {self.parity_gap_max:.1e} at most"
        )


def audit_file(content: bytes, keras_model: Any, data: Splits, *, mode: str, baseline: bytes | None = None) -> Audit:
    """Refuse a file that lost something that matters.

    Args:
        content: Bytes of the `.tflite`.
        keras_model: The model it was converted from.
        data: Splits; a sample of validation is scored.
        mode: Key of `MODES`: what gap to the Keras model is to be expected.
        baseline: The uncompressed file, for the tie rate.

    Raises:
        AuditError: For Flex or custom operators; a file that does not load or score; ids that pass a quantizing
            operator; codes of a table that are not in the file; a table more than 1% (10% with one column) of whose
            non-zero rows became zero; a tie rate over ten times the baseline's and over one negative a positive; a gap
            to the Keras model over what the mode allows.
    """
    structure = audit_structure(content, keras_model, data)
    gap_max, gap_mean = _parity(structure.scorer, keras_model, data, MODES[mode])
    ties = _ties(structure.scorer, data.validation, MODES[mode], baseline, data)
    return Audit(gap_max, gap_mean, ties, structure.zeroed_rows, structure.operators)


@dataclass(frozen=True, eq=False)
class Structure:
    """A file that loads and scores.

    Attributes:
        scorer: Of the file.
        zeroed_rows: Share of the tables' non-zero rows that became zero.
        operators: How often each kind of operator occurs.
    """

    scorer: Scorer
    zeroed_rows: float
    operators: dict[str, int]


def audit_structure(content: bytes, keras_model: Any, data: Splits) -> Structure:
    """What `audit_file` asks of any file, whether it gives probabilities or something else.

    Raises:
        AuditError: For Flex or custom operators; a file that does not load or score; ids that pass a quantizing
            operator; codes of a table that are not in the file; a table more than 1% (10% with one column) of whose
            non-zero rows became zero.
    """
    graph = _readable(content)
    _only_builtins(graph)
    _plain_ids(graph)
    require_codes(graph, keras_model)
    scorer = _loads_and_scores(content, data)
    return Structure(scorer, _tables_kept_rows(graph, keras_model), dict(graph.kinds))


def _readable(content: bytes) -> Graph:
    try:
        return read_graph(content)
    except ArtifactError as error:
        raise AuditError(f"the exported file cannot be read back: {error}") from error


def _only_builtins(graph: Graph) -> None:
    custom = sorted({operator.kind for operator in graph.custom_operators})
    if custom:
        first = graph.custom_operators[0]
        name = graph.tensors[first.outputs[0]].name if first.subgraph == 0 and first.outputs else "a subgraph"
        raise AuditError(
            f"the file needs {', '.join(custom)} (first at tensor {name!r}), which stock LiteRT does not have. "
            "Expected builtin operators only. Fix: replace the layer behind that tensor by Dense, Multiply, Add, "
            "Concatenate or another layer that converts to builtins."
        )


def _plain_ids(graph: Graph) -> None:
    for name, index in graph.inputs.items():
        path = walk_from_input(graph, name)
        if not path.lookups:
            continue
        losses = path.losses
        if graph.tensors[index].dtype == "float32":
            losses = (f"input {name!r} of type float32", *losses)
        if losses:
            raise AuditError(
                f"ids of input {name!r} pass {losses[0]} on their way to the table, where different ids become one. "
                "Expected int32 ids to reach the lookup as they are. Fix: declare the input as int32, and leave the "
                "layers before the Embedding out of QAT(roles=…)."
            )


def _loads_and_scores(content: bytes, data: Splits) -> Scorer:
    try:
        scorer = Scorer(content, schema=data.schema)
        if scorer.fixed_batch is None:
            for batch in BATCHES:
                rows = {name: np.resize(v[:batch], (batch, *v.shape[1:])) for name, v in data.validation.inputs.items()}
                _finite(scorer.score_split(_Rows(rows)), batch)
    except (ArtifactError, ScoringError) as error:
        raise AuditError(f"the exported file does not load and score: {error}") from error
    return scorer


@dataclass(frozen=True, eq=False)
class _Rows:
    inputs: dict[str, NDArray[Any]]


def _finite(scores: Any, batch: int) -> None:
    for values in scores.values() if isinstance(scores, dict) else (scores,):
        if len(values) != batch or not np.isfinite(values).all():
            raise ScoringError(
                f"a batch of {batch} gave {len(values)} scores, some not finite. Expected {batch} finite scores. "
                "Fix: export the model with a free batch dimension; impute missing numbers (NaN in 'numeric') in the "
                "network or before it; look for divisions by zero."
            )


def _tables_kept_rows(graph: Graph, keras_model: Any) -> float:
    """Share of all tables' non-zero rows that became zero; refused above 1% in any table, 10% in one of single numbers.

    A vector of zeros says nothing of its id; a number near zero says hardly less as zero, and of normally distributed
    weights 1.3% lie within half a step of it.
    """
    lost = total = 0
    for original in _keras_tables(keras_model):
        twin = _twin(graph, original)
        if twin is None:
            continue
        name, stored = twin
        alive = ~zero_rows(original)
        gone = alive & zero_rows(stored)
        lost, total = lost + int(gone.sum()), total + int(alive.sum())
        limit = ZERO_ROW_SHARE if original.shape[1] > 1 else ZERO_NUMBER_SHARE
        if gone.sum() > limit * max(alive.sum(), 1):
            raise AuditError(
                f"table {name!r} ({original.shape[0]:,} rows): {gone.sum():,} of {alive.sum():,} non-zero rows became "
                f"zero, {gone.sum() / alive.sum():.1%}. Expected at most {limit:.0%}: one scale for the "
                "whole table is too coarse for its small rows. Fix: Export('float16'), or Export('int16x8'), or "
                "shrink the largest rows by training with a smaller learning rate."
            )
    return lost / max(total, 1)


def _keras_tables(model: Any) -> Iterator[NDArray[np.float32]]:
    """Every matrix the model looks rows up in."""
    for layer in model._flatten_layers(include_self=False):
        if type(layer).__name__ in {"Embedding", "FloatLookup"}:
            yield layer.get_weights()[0]


def _twin(graph: Graph, original: NDArray[np.float32]) -> tuple[str, NDArray[Any]] | None:
    """The file's table of the same shape that is closest to the original."""
    same_shape = [t.tensor for t in lookup_tables(graph) if t.tensor.shape == original.shape and not t.tensor.details]
    stored = [(tensor.name, tensor.values()) for tensor in same_shape]
    return min(stored, key=lambda pair: float(np.abs(pair[1] - original).mean()), default=None)


def _parity(scorer: Scorer, keras_model: Any, data: Splits, mode: Mode) -> tuple[float, float]:
    sample = data.validation.take(min(PARITY_ROWS, data.validation.num_rows), seed=0)
    expected = data.schema.by_target(predict(keras_model, sample))
    found = _scores(scorer, sample)
    worst = (0.0, 0.0)
    for target, output in outputs_of_targets(scorer.outputs, data.schema).items():
        gaps = np.abs(found[target] - expected[target])
        gap_max, gap_mean = float(gaps.max()), float(gaps.mean())
        if gap_max > mode.max_parity_gap or gap_mean > mode.mean_parity_gap:
            raise AuditError(
                f"output {output!r} of the {mode.name} file differs from the Keras model by {gap_mean:.2e} on average "
                f"and {gap_max:.2e} at most, on {sample.num_rows:,} rows. Expected at most {mode.mean_parity_gap:.0e} "
                f"on average and {mode.max_parity_gap:.0e}. Fix: {_parity_remedy(mode)}"
            )
        worst = (max(worst[0], gap_max), max(worst[1], gap_mean))
    return worst


def _parity_remedy(mode: Mode) -> str:
    if mode.name in {"int8_io", "int16x8"}:
        return "Export('int8'): it keeps raw numbers in float, where this mode gives all columns one integer scale."
    if mode.calibrates:
        return f"{CURE} or Export('float16')."
    return "Export('float32') to see whether the mode or the network is at fault."


def _ties_remedy(mode: Mode) -> str:
    if mode.calibrates and mode.name != "int8":
        return "Export('int8'), which keeps the head in float."
    return f"{CURE} or Export('float16')."


def _ties(scorer: Scorer, validation: Split, mode: Mode, baseline: bytes | None, data: Splits) -> float:
    sample = validation.take(min(TIE_ROWS, validation.num_rows), seed=0)
    scores, labels = _scores(scorer, sample), sample.labels_by_target
    found = {target: tie_rate(labels[target], scores[target]) for target in labels}
    if baseline is None:
        return max(found.values())
    references = _scores(Scorer(baseline, schema=data.schema), sample)
    for target, output in outputs_of_targets(scorer.outputs, data.schema).items():
        reference = references[target]
        if mode.output_levels:  # so many levels are what was asked for; what is refused is fewer
            reference = np.round(reference * mode.output_levels) / mode.output_levels
        allowed = max(TIE_FACTOR * tie_rate(labels[target], reference), _one_place(labels[target]))
        if found[target] > allowed:
            raise AuditError(
                f"output {output!r}: {found[target]:.2e} of the (positive, negative) pairs have equal scores. Expected "
                f"at most {allowed:.2e}, ten times the baseline's or one negative a positive: tied candidates cannot "
                f"be ranked. Fix: {_ties_remedy(mode)}"
            )
    return max(found.values())


def _one_place(labels: NDArray[Any]) -> float:
    """Tie rate of one tied negative a positive: no rank is unsure by more than a place. Ten times none is none."""
    return 1.0 / max(float((labels == 0).sum()), 1.0)


def _scores(scorer: Scorer, split: Split) -> dict[str, NDArray[np.float64]]:
    return {target: np.clip(v.astype(np.float64), 0.0, 1.0) for target, v in target_scores(scorer, split).items()}
