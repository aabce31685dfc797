"""A planted report: scores with known differences, no network trained."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tfshop.evaluation import Evaluation, auc_difference, best_threshold, measure
from tfshop.report import Report, TrainingCurve, Variant
from tfshop.runtime.latency_types import Latency, LatencyRow

CPU = "AMD EPYC 7763 64-Core Processor"
NAMES = (
    "int8",
    "QAT int8",
    "Prune(0.8) + int8",
    "Distill 100-100-100 dimension 8 + int8",
    "dynamic",
    "Prune(0.5) + QAT + int8_io with per-channel calibration over 4,096 rows",
    "float16",
    "int16x8",
    "int4_tables_with_a_scale_a_row",
    "student without teacher",
    "product quantization 4 codes + Prune(0.9) + int8",
    "$weird$ <name> & |co| [x]",
)


def planted_latency(speedup: float) -> Latency:
    rows = tuple(
        LatencyRow(batch, (9 + 2.1 * batch) / speedup**0.8, (9 + 2.1 * batch) / speedup**0.8 * 1.22, 400)
        for batch in (1, 16, 128, 512)
    )
    return Latency(CPU, 1, rows)


def planted_variant(
    name: str, labels: np.ndarray, scores: np.ndarray, size: int, baseline: np.ndarray | None, latency: Latency | None
) -> Variant:
    half = len(labels) // 2
    threshold = best_threshold(labels[:half], scores[:half])
    groups = np.arange(len(labels)) % 50
    differences = [
        None if baseline is None else auc_difference(labels[part], scores[part], baseline[part])
        for part in (slice(None, half), slice(half, None))
    ]
    evaluation = Evaluation(
        name=name,
        validation=measure(labels[:half], scores[:half], groups[:half], threshold=threshold),
        test=measure(labels[half:], scores[half:], groups[half:], threshold=threshold),
        size_bytes=size,
        gzip_bytes=int(size * (0.5 if "Prune" in name else 0.82)),
        latency=latency,
        auc_difference_validation=differences[0],
        auc_difference_test=differences[1],
        notes=() if baseline is None else ("No id passes a quantise op.", "Parity gap 0.0031, allowed 0.02."),
    )
    tables = int(size * (0.72 if baseline is None else 0.6))
    parts = {"tables": tables, "dense": int(size * 0.2), "rest": size - tables - int(size * 0.2)}
    plan = {
        "passes": [{"name": "Prune", "sparsity": 0.8, "roles": ["dense"]}],
        "exporter": {"name": "Export", "mode": "int8"},
    }
    return Variant(name, evaluation, labels[half:], scores[half:], parts, None if baseline is None else plan)


def planted_report(num_variants: int = 5, num_rows: int = 20_000, *, timed: bool = True) -> Report:
    """Logits with noise that grows from file to file; the last one is clearly worse."""
    rng = np.random.default_rng(0)
    logits = rng.normal(-2, 1.8, num_rows)
    labels = (rng.random(num_rows) < 1 / (1 + np.exp(-logits))).astype(np.float32)
    base = (1 / (1 + np.exp(-logits - rng.normal(0, 0.25, num_rows)))).astype(np.float32)
    baseline = planted_variant("float32", labels, base, 4_212_345, None, planted_latency(1) if timed else None)
    variants = []
    for number, name in enumerate(NAMES[:num_variants]):
        noise = 0.01 + 0.05 * number
        scores = 1 / (1 + np.exp(-np.log(base / (1 - base)) - rng.normal(0, noise, num_rows) - 0.05 * number))
        scores = np.clip(np.round(scores * 256), 1, 255) / 256 if "int8" in name else scores
        size = 4_212_345 // (2 if name == "float16" else 4) + 500 * number
        latency = planted_latency(1.2 + 0.5 * (number % 6)) if timed else None
        variants.append(planted_variant(name, labels, scores.astype(np.float32), size, base, latency))
    return Report(
        title="Promotion response, mlp 400-400-400",
        baseline=baseline,
        variants=tuple(variants),
        curves=planted_curves(),
        dataset="Planted scores, not a real data set: shown only to look at the report itself.",
        limits={"max_auc_drop": 0.001, "max_size_bytes": 1_054_000},
        notes=("Scores are planted.",),
    )


def planted_curves() -> tuple[TrainingCurve, ...]:
    epochs = tuple(
        {"epoch": e, "step": 320 * e, "loss": 0.29 + 0.1 / e, "validation_auc": 0.91 - 0.01 / e} for e in (1, 2)
    )
    pruned = tuple(
        {
            "step": 20 * s,
            "loss": 0.30 + 0.03 * np.exp(-s / 12),
            "sparsity": 0.8 * (1 - (1 - min(s / 24, 1)) ** 3),
            "validation_auc": 0.9095 - 0.002 * np.sin(s / 10) if s % 8 == 0 else None,
        }
        for s in range(1, 33)
    )
    return (TrainingCurve("float32", epochs), TrainingCurve("Prune(0.8) + int8", pruned))


@pytest.fixture(scope="session")
def report() -> Report:
    """Five files beside their baseline."""
    return planted_report()


@pytest.fixture(scope="session")
def make_report() -> Callable[..., Report]:
    """Reports of 2 to 12 files: `make_report(num_variants, num_rows, timed=...)`."""
    return planted_report
