"""Whether a student learns more from its teacher's scores than from the labels alone, over paired seeds.

Run: `python benchmarks/distillation.py` (about twelve minutes on two cores; `--quick` takes one).

One teacher, mlp 400-400-400 with dimension 16; the student, 100-100-100 with dimension 16, has a ninth of its dense
parameters. For each seed the same initial student is trained twice, with the same most epochs, step size and early
stopping: once by `tfshop.train`, once by `Distill`. Both are scored as float32 files on the test split.

What was tried, on seed 0 and an earlier build of the table, chosen by validation AUC (teacher: 0.9108). With a step
size of 1e-3, the teacher's weight at 0.9 and temperature 1: 0.9083 after four epochs, 0.9090 after five; weight 1.0:
0.9080; temperature 2: 0.9070. A step size of 2e-3 gives 0.9101 after four epochs, 3e-3 gives 0.9108 at the fifth of
six. The student alone reaches 0.9080 after four epochs at 1e-3, and at 2e-3 0.9092 at its third, after which it
overfits; the teacher's scores keep it from that, so it can use more epochs. Taken for both: 2e-3 and at most six
epochs.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import results

import tfshop as ts
from tfshop._console import say
from tfshop.compression import Candidate
from tfshop.compression.roles import layers_with
from tfshop.data.split import Splits
from tfshop.evaluation.measured import Measured, measure_file
from tfshop.report.units import difference_text

TEACHER = {"dimension": 16, "hidden": (400, 400, 400)}
STUDENT = {"dimension": 16, "hidden": (100, 100, 100)}
HEADINGS = ("seed", "alone", "epochs", "distilled", "epochs", "difference, 95% DeLong", "validation")


@dataclass(frozen=True, eq=False)
class Pair:
    """One seed's students.

    Attributes:
        alone: File of the student trained on labels.
        distilled: File of the student trained on the teacher's scores; its differences are to `alone`.
        epochs: The epochs that were kept of each.
    """

    alone: Measured
    distilled: Measured
    epochs: tuple[int, int]


def main() -> None:
    """Train the teacher and the pairs, print the table, write the JSON."""
    options = _options()
    data = ts.datasets.complete_journey(fraction=options.fraction)
    teacher = ts.build_model("mlp", data.schema, seed=0, **TEACHER)
    ts.train(teacher, data, epochs=options.teacher_epochs)
    of_teacher = _file("teacher", teacher, data)
    pairs = [_pair(teacher, data, seed, options) for seed in range(options.seeds)]
    sizes = dense_parameters(teacher), dense_parameters(ts.build_model("mlp", data.schema, **STUDENT))
    differences = [_difference(pair).difference for pair in pairs]
    _show(of_teacher, pairs, sizes, differences)
    content = {
        "settings": vars(options),
        "dense_parameters": {"teacher": sizes[0], "student": sizes[1]},
        "teacher": of_teacher.evaluation.to_dict(),
        "pairs": [_plain(seed, pair) for seed, pair in enumerate(pairs)],
        "mean_difference_low_high": results.mean_interval(differences),
    }
    say(f"written: {results.save('distillation_quick' if options.quick else 'distillation', content)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fraction", type=float, default=1.0, help="of the households, in (0, 1]")
    parser.add_argument("--teacher-epochs", type=int, default=3, help="most epochs of the teacher")
    parser.add_argument("--epochs", type=int, default=6, help="most epochs of each student")
    parser.add_argument("--learning-rate", type=float, default=2e-3, help="step size of each student")
    parser.add_argument("--weight", type=float, default=0.9, help="share of the teacher in the loss")
    parser.add_argument("--temperature", type=float, default=1.0, help="softens the teacher's scores")
    parser.add_argument("--seeds", type=int, default=3, help="how many pairs")
    parser.add_argument("--quick", action="store_true", help="a twentieth of the households: to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.fraction = min(options.fraction, 0.05)
    return options


def _pair(teacher: Any, data: Splits, seed: int, options: argparse.Namespace) -> Pair:
    """The same student, without and with its teacher."""
    say(f"seed {seed}")
    alone = ts.build_model("mlp", data.schema, seed=seed, **STUDENT)
    history = ts.train(alone, data, epochs=options.epochs, learning_rate=options.learning_rate, seed=seed)
    without = _file("alone", alone, data)
    step = ts.Distill(
        STUDENT,
        weight=options.weight,
        temperature=options.temperature,
        epochs=options.epochs,
        learning_rate=options.learning_rate,
    )
    candidate = step.apply(Candidate(teacher, data.schema), data, seed)
    distilled = _file("distilled", candidate.model, data, baseline=without)
    return Pair(without, distilled, (history.kept_epoch, candidate.history[-1].notes["fit"]["kept_epoch"]))


def _file(name: str, model: Any, data: Splits, baseline: Measured | None = None) -> Measured:
    return measure_file(name, ts.Export("float32").to_bytes(model, data), data, baseline=baseline)


def _difference(pair: Pair) -> Any:
    return pair.distilled.evaluation.auc_difference_test


def dense_parameters(model: Any) -> int:
    """Weights and biases of the Dense layers, head included, tables not."""
    return sum(model.get_layer(name).count_params() for name in layers_with(model, ("dense", "cross", "head")))


def _show(teacher: Measured, pairs: Sequence[Pair], sizes: tuple[int, int], differences: Sequence[float]) -> None:
    mean, low, high = results.mean_interval(differences)
    note = (
        f"Test AUC of float32 files. Teacher {teacher.evaluation.test.auc:.4f} "
        f"(validation {teacher.evaluation.validation.auc:.4f}). Dense parameters: teacher {sizes[0]:,}, student "
        f"{sizes[1]:,} ({sizes[1] / sizes[0]:.1%}). Mean difference {mean:+.4f}, 95% t-interval over {len(pairs)} "
        f"seeds [{low:+.4f}, {high:+.4f}]; distilled is better in {int(np.sum(np.array(differences) > 0))}."
    )
    rows = [
        (
            str(seed),
            f"{pair.alone.evaluation.test.auc:.4f}",
            str(pair.epochs[0]),
            f"{pair.distilled.evaluation.test.auc:.4f}",
            str(pair.epochs[1]),
            difference_text(_difference(pair)),
            difference_text(pair.distilled.evaluation.auc_difference_validation),
        )
        for seed, pair in enumerate(pairs)
    ]
    results.show("A student with and without its teacher", HEADINGS, rows, note=note)


def _plain(seed: int, pair: Pair) -> dict[str, Any]:
    return {
        "seed": seed,
        "alone": pair.alone.evaluation.to_dict(),
        "distilled": pair.distilled.evaluation.to_dict(),
        "kept_epochs": {"alone": pair.epochs[0], "distilled": pair.epochs[1]},
    }


if __name__ == "__main__":
    main()
