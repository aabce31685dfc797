"""How far other kernels' scores are from an artifact's golden ones: what the tolerance has to cover.

Run: `python benchmarks/golden_kernels.py tflite/demo/*` (seconds). Another processor runs other kernels. LiteRT has
three kinds on this one: XNNPACK's, which `Scorer` uses, its own optimized ones, and plain reference ones; an integer
step rounded the other way shows between them as it does between processors.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import results
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tfshop._console import say
from tfshop.artifact import Artifact

KERNELS = ("BUILTIN", "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "BUILTIN_REF")


def main() -> None:
    """Score every artifact's golden inputs with every kind of kernel, print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifacts", nargs="+", type=Path, help="folders written by tfshop")
    folders = parser.parse_args().artifacts
    gaps = {folder.name: {kind: gap(Artifact.load(folder), kind) for kind in KERNELS} for folder in folders}
    rows = [(name, *("{:.1e}, {:.1e}".format(*found[kind]) for kind in KERNELS)) for name, found in gaps.items()]
    results.show("Largest and mean gap to the golden scores", ("artifact", *map(str.lower, KERNELS)), rows)
    say(f"written: {results.save('golden_kernels', {'largest_gaps': gaps})}")


def gap(artifact: Artifact, kind: str) -> tuple[float, float]:
    """Largest and mean difference of a score to the golden one with one kind of kernel."""
    interpreter: Any = Interpreter(
        model_content=artifact.model_bytes, experimental_op_resolver_type=OpResolverType[kind], num_threads=1
    )
    outputs = interpreter.get_signature_runner()(**artifact.golden.inputs)
    gaps = np.abs(np.ravel(next(iter(outputs.values()))) - artifact.golden.scores)
    return float(gaps.max()), float(gaps.mean())


if __name__ == "__main__":
    main()
