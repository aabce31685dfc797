"""Small questions that tests of several rooms ask."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest


def first_rows(inputs: Mapping[str, np.ndarray], num_rows: int) -> dict[str, np.ndarray]:
    """So many rows of named inputs, repeated from the start where there are fewer."""
    return {name: np.resize(values, (num_rows, *values.shape[1:])) for name, values in inputs.items()}


def keras_scores(model: Any, inputs: Mapping[str, np.ndarray]) -> np.ndarray:
    """Scores of a Keras model, without a data pipeline."""
    return model(dict(inputs), training=False).numpy().reshape(-1)


def same_weights(one: Any, other: Any) -> bool:
    """Whether two models, or two lists of weights, hold exactly the same numbers."""
    first, second = (list(m) if isinstance(m, list) else m.get_weights() for m in (one, other))
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def apply_once(patch: pytest.MonkeyPatch, *kinds: type) -> None:
    """Let passes of some kinds do the same work once: the same settings, network, rows and seed give what they gave."""
    for kind in kinds:
        _apply_once(patch, kind)


def _apply_once(patch: pytest.MonkeyPatch, kind: Any) -> None:
    apply = kind.apply
    done: dict[Any, tuple[Any, ...]] = {}

    def once(step: Any, candidate: Any, data: Any, seed: int) -> Any:
        key = repr(step), id(candidate.model), id(data), seed
        if key not in done:
            done[key] = apply(step, candidate, data, seed), candidate, data  # which live on, so that ids stay theirs
        return done[key][0]

    patch.setattr(kind, "apply", once)


def leave_graphs_as_traced() -> None:
    """Let TensorFlow run graphs without optimizing them first, which pays where a graph runs many times."""
    from tfshop._keras import tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


def exit_code(arguments: Sequence[str]) -> int:
    """The exit code of a command line."""
    from tfshop.cli import main

    before, sys.argv = sys.argv, ["tfshop", *arguments]
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    finally:
        sys.argv = before
    return 0


# For the start of a program: `killed_at(n, work)` forks, and kills the child the n-th time the work asks the system for
# something of interest; False where it came to its end before.
KILLED_AT = """
import os, signal, sys

def killed_at(number, work):
    child = os.fork()
    if child == 0:
        seen = 0
        def hook(event, arguments):
            nonlocal seen
            if event.startswith(("open", "os.", "shutil.", "tempfile.", "pathlib.", "ctypes.")):
                seen += 1
                if seen == number:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        work()
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
"""
